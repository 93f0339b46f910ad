"""How near a model's answers to survey questions are to those of a culture."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from caredio.errors import InputError
from caredio.evaluation.metrics import shapes

Shares = Sequence[float] | NDArray[np.float64]


def js_similarity(predictions: Sequence[Shares], references: Sequence[Shares]) -> float:
    """The mean over questions of 1 - Jensen-Shannon distance, base 2, of two distributions over the options.

    The similarity of Durmus et al. (arXiv 2306.16388, GlobalOpinionQA). The distance is the square root of the
    divergence, and with base 2 it is 0 for equal distributions and 1 for disjoint ones, as
    `scipy.spatial.distance.jensenshannon(p, q, base=2)`. Shares are divided by their sum. Base e gives other numbers.

    Args:
        predictions: a list of the options' shares for each question; questions may differ in their options.
        references: the culture's shares, in the same order of options.

    Raises:
        InputError: another shape, a negative share, or shares that sum to zero.
    """
    return float(np.mean([1 - _distance(*pair) for pair in _pairs("js_similarity", predictions, references)]))


def _distance(left: NDArray[np.float64], right: NDArray[np.float64]) -> float:
    middle = (left + right) / 2
    divergence = sum(
        np.sum(shares[shares > 0] * np.log2(shares[shares > 0] / middle[shares > 0])) for shares in (left, right)
    )
    return float(np.sqrt(max(divergence / 2, 0.0)))  # rounding may give -1e-17 for equal ones


def modal_accuracy(predictions: Sequence[Shares], references: Sequence[Shares]) -> float:
    """The share of questions whose most likely option is the one that most people of the culture chose.

    Where people's top options tie, each of them is right. Where the model's tie, the score is what drawing one of them
    evenly would give, so that a uniform prediction has the score of a guess and not that of the first option.

    Args:
        predictions: as in `js_similarity`.
        references: as in `js_similarity`.

    Raises:
        InputError: as `js_similarity`.
    """
    scores = []
    for predicted, people in _pairs("modal_accuracy", predictions, references):
        chosen = predicted == predicted.max()
        scores.append((people[chosen] == people.max()).mean())
    return float(np.mean(scores))


def culturespa_similarity(predictions: Sequence[float], references: Sequence[float], options: Sequence[float]) -> float:
    """1 - |a - g| / |n - 1|, Euclidean lengths over all questions: CultureSPA's score (arXiv 2410.12971).

    `a` holds the model's option numbers, `g` the culture's, n the numbers of options; |n - 1| is how far apart they can
    be. It belongs to a set of questions: the mean of single questions' scores is another number.

    Args:
        predictions: the number of the option that the model chose, for each question.
        references: the number of the option that most people of the culture chose.
        options: how many options each question has.

    Raises:
        InputError: another shape, or no question with two options.
    """
    shapes.paired("culturespa_similarity", predictions=predictions, references=references, options=options)
    chosen = shapes.numbers("culturespa_similarity", "predictions", predictions)
    people = shapes.numbers("culturespa_similarity", "references", references)
    widest = shapes.numbers("culturespa_similarity", "options", options) - 1
    if widest.min() < 0 or not widest.any():
        raise InputError("culturespa_similarity: options must count at least one, and two in some question.")
    return float(1 - np.linalg.norm(chosen - people) / np.linalg.norm(widest))


def _pairs(
    metric: str, predictions: Sequence[Shares], references: Sequence[Shares]
) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """A question's two distributions, each with sum 1."""
    shapes.paired(metric, predictions=predictions, references=references)
    for place, pair in enumerate(zip(predictions, references, strict=True)):
        where = f"the shares of question {place}"
        left, right = (shapes.numbers(metric, where, shares) for shares in pair)
        if len(left) != len(right):
            raise InputError(
                f"{metric}: question {place} has {len(left)} predicted shares and {len(right)} of people; give one for "
                "each option, in the same order."
            )
        if min(left.min(initial=0), right.min(initial=0)) < 0 or not (left.any() and right.any()):
            raise InputError(f"{metric}: {where} must not be negative, and not all zero.")
        yield left / left.sum(), right / right.sum()
