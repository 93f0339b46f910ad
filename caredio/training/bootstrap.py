"""The held-out loss of arms with its interval: a bootstrap over questions, as rows of one question are alike."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from caredio.training.heldout import Loss

DRAWS, _SEED, _ENDS = 1000, 0, (2.5, 97.5)


class Value(NamedTuple):
    """A measure and its 95 % interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


def by_question(questions: Sequence[str], losses: Sequence[Loss]) -> np.ndarray:
    """Sums of nats, tokens and bytes, a line a question, in the order of their ids."""
    place = {name: row for row, name in enumerate(sorted(set(questions)))}
    sums = np.zeros((len(place), 3))
    for name, loss in zip(questions, losses, strict=True):
        sums[place[name]] += loss
    return sums


def per_token(arms: Sequence[np.ndarray]) -> Value:
    """Nats a token, the mean of arms; of one arm its own.

    Args:
        arms: as `by_question` returns them, of the same questions.
    """
    return _value(arms, 1, 1.0)


def per_byte(arms: Sequence[np.ndarray]) -> Value:
    """Bits a byte of the answers' text, the mean of arms."""
    return _value(arms, 2, math.log(2))


def difference(arms: Sequence[np.ndarray], others: Sequence[np.ndarray]) -> Value:
    """Bits a byte of arms less those of others, on the same drawn questions; below 0 the former predict better."""
    drawn = _drawn(len(arms[0]))
    one, two = (_ratios(group, 2, math.log(2), drawn) for group in (arms, others))
    return _interval(one - two)


def _value(arms: Sequence[np.ndarray], column: int, unit: float) -> Value:
    return _interval(_ratios(arms, column, unit, _drawn(len(arms[0]))))


def _drawn(questions: int) -> np.ndarray:
    """How often each question counts: once in the first line, which is the measure, as drawn in the others."""
    drawn = np.random.default_rng(_SEED).multinomial(questions, np.full(questions, 1 / questions), size=DRAWS)
    return np.vstack([np.ones(questions), drawn])


def _ratios(arms: Sequence[np.ndarray], column: int, unit: float, drawn: np.ndarray) -> np.ndarray:
    return np.mean([(drawn @ sums[:, 0]) / (drawn @ sums[:, column]) / unit for sums in arms], axis=0)


def _interval(values: np.ndarray) -> Value:
    low, high = np.percentile(values[1:], _ENDS)
    return Value(float(values[0]), float(low), float(high))
