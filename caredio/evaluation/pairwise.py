"""Two replies compared in both orders: what the pair of verdicts says, and the win rate at equal length.

A verdict that changes with the order is the order's, not the reply's: such a pair is a tie, and counted among
`position_flips`. Judges tend to prefer the longer reply. The length-controlled win rate is the one that a logistic
regression of wins on the difference in length gives for no difference, as AlpacaEval's does (Dubois et al. 2024;
without its term for a question's difficulty):

    P(win) = sigmoid(a + b tanh(d / s)),   d: characters more than the rival's, s: their standard deviation

so the rate is sigmoid(a). A tie counts as half a win and half a loss; b has the L2 penalty of scikit-learn's default.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from caredio.intervals import ALIKE, wilson

TIE = 0.5


class Outcome(NamedTuple):
    """What the verdicts on a pair say of a system: 1 it wins, 0 it loses, 0.5 neither."""

    win: float
    flipped: bool


class Pair(NamedTuple):
    """A question that two systems answered, and how the first fares in the mean of its draws."""

    question: str
    win: float
    longer: int  # characters more than the rival's reply


class Rate(NamedTuple):
    """A win rate with its 95 % interval; None where it cannot be had."""

    value: float | None
    low: float | None
    high: float | None


def outcome(first: float | None, second: float | None) -> Outcome | None:
    """What two verdicts say of a system, the one where it was shown first, the other where it was shown second.

    Args:
        first, second: how the system fares in it; None where the judge's answer was no verdict.

    Returns:
        None where one of them is missing.
    """
    if first is None or second is None:
        return None
    return Outcome(first if first == second else TIE, first != second)


def win_rate(pairs: Sequence[Pair], drawn: np.ndarray) -> Rate:
    """The share of wins, ties as halves.

    Args:
        drawn: how often each pair counts, once in the first line, as drawn in the others (`ratings.drawn`).
    """
    wins = np.array([pair.win for pair in pairs])
    found = rate((drawn @ wins) / drawn.sum(axis=1))
    if len(drawn) > 1 and found.value is not None and found.low is None:  # all pairs end alike
        return Rate(found.value, *wilson(found.value, len({pair.question for pair in pairs})))
    return found


def length_controlled(pairs: Sequence[Pair], drawn: np.ndarray) -> Rate:
    """The win rate at equal length. Takes what `win_rate` does; None where all pairs end alike."""
    wins = np.array([pair.win for pair in pairs])
    longer = np.array([pair.longer for pair in pairs], dtype=float)
    spread = longer.std()
    lengths = np.tanh(longer / spread) if spread else np.zeros(len(pairs))
    found = [_at_equal_length(wins, lengths, weights) for weights in drawn]
    return rate(np.array(found))


def _at_equal_length(wins: np.ndarray, lengths: np.ndarray, weights: np.ndarray) -> float:
    """sigmoid(a) of the regression; nan where all end alike, so that it has no end."""
    from sklearn.linear_model import LogisticRegression

    won, lost = weights * wins, weights * (1 - wins)
    if not won.any() or not lost.any():
        return math.nan
    twice = np.concatenate([lengths, lengths])[:, None]
    ends = np.repeat([1, 0], len(wins))
    model = LogisticRegression().fit(twice, ends, sample_weight=np.concatenate([won, lost]))
    return float(1 / (1 + np.exp(-model.intercept_[0])))


def rate(values: np.ndarray) -> Rate:
    """The first of the values, and the 2.5th and 97.5th percentile of those of the others that are defined.

    Equal draws are no certainty, and have no interval.
    """
    if np.isnan(values[0]):
        return Rate(None, None, None)
    others = values[1:][~np.isnan(values[1:])]
    if not len(others) or len(others) < 0.9 * (len(values) - 1):
        return Rate(float(values[0]), None, None)
    low, high = np.percentile(others, (2.5, 97.5))
    if high - low < ALIKE:
        return Rate(float(values[0]), None, None)
    return Rate(float(values[0]), float(low), float(high))
