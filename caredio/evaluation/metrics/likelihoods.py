"""What a model thinks of people's answers: bits per byte, and the margin over other regions' answers.

Log-likelihoods are sums over an answer's tokens, in nats, as lm-eval's `loglikelihood` gives them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from caredio.errors import InputError
from caredio.evaluation.metrics import shapes


def bits_per_byte(
    predictions: Sequence[float], references: Sequence[str], weights: Sequence[float] | None = None
) -> float:
    """Bits that a model needs for a byte of people's answers; lower is better.

    The weighted sum of the answers' bits over the weighted sum of their UTF-8 bytes, as lm-eval's `bits_per_byte`, with
    a weight for each answer.

    Args:
        predictions: each answer's log-likelihood.
        references: the answers' texts.
        weights: how many annotators gave each; default: one.

    Raises:
        InputError: another shape, an empty text, or weights that are negative or all zero.
    """
    weights = [1.0] * len(references) if weights is None else weights
    shapes.paired("bits_per_byte", predictions=predictions, references=references, weights=weights)
    counts = shapes.numbers("bits_per_byte", "weights", weights)
    if counts.min() < 0 or not counts.any():
        raise InputError("bits_per_byte: weights must not be negative, and not all zero.")
    bits = -shapes.numbers("bits_per_byte", "predictions", predictions) / math.log(2)
    return float(counts @ bits / (counts @ _bytes("bits_per_byte", references)))


def margin(predictions: Sequence[float], references: Sequence[Sequence[float]]) -> float:
    """The mean over questions of: log-likelihood of the region's own answer minus the mean of its rivals', in nats.

    Rivals are other regions' majority answers to the same question. Each question counts once, whatever the number of
    its rivals; the mean is that of log-likelihoods, not the log of a mean. A model's margin minus the raw model's is
    what training added, and no style of answering decides it, since own and rival answers have the same style.

    Args:
        predictions: the log-likelihood of the own answer, for each question.
        references: the log-likelihoods of the rivals, for each question.

    Raises:
        InputError: another shape, or a question without rivals.
    """
    return float(np.mean(_margins("margin", predictions, references)))


def margin_per_byte(
    predictions: Sequence[float],
    references: Sequence[Sequence[float]],
    texts: Sequence[str],
    rivals: Sequence[Sequence[str]],
) -> float:
    """`margin` of log-likelihoods that are divided by their answers' UTF-8 bytes first: nats a byte.

    Args:
        predictions: as in `margin`.
        references: as in `margin`.
        texts: the own answer, for each question.
        rivals: the rivals' answers, for each question.

    Raises:
        InputError: as `margin`, or an empty text.
    """
    name = "margin_per_byte"
    shapes.paired(name, predictions=predictions, references=references, texts=texts, rivals=rivals)
    own = shapes.numbers(name, "predictions", predictions) / _bytes(name, texts)
    others = []
    for place, (values, answers) in enumerate(zip(references, rivals, strict=True)):
        shapes.paired(f"{name}, question {place}", references=values, rivals=answers)
        others.append(shapes.numbers(name, f"references of question {place}", values) / _bytes(name, answers))
    return float(np.mean(_margins(name, own, others)))


def _margins(
    metric: str, own: Sequence[float] | NDArray[np.float64], rivals: Sequence[Sequence[float] | NDArray[np.float64]]
) -> NDArray[np.float64]:
    shapes.paired(metric, predictions=own, references=rivals)
    means = []
    for place, values in enumerate(rivals):
        if not len(values):
            raise InputError(f"{metric}: question {place} has no rival; leave it out.")
        means.append(shapes.numbers(metric, f"references of question {place}", values).mean())
    return shapes.numbers(metric, "predictions", own) - np.array(means)


def _bytes(metric: str, texts: Sequence[str]) -> NDArray[np.float64]:
    lengths = np.array([len(text.encode()) for text in texts], dtype=float)
    if not lengths.all():
        raise InputError(f"{metric}: an answer is empty; leave it out.")
    return lengths
