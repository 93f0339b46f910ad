"""Wins in both orders, and at equal length: by hand, and by a regression written out here."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest

from caredio.evaluation.pairwise import Pair, length_controlled, outcome, win_rate
from caredio.intervals import wilson


def once(pairs: list[Pair]) -> np.ndarray:
    return np.ones((1, len(pairs)))


@pytest.mark.parametrize(
    ("first", "second", "found"),
    [
        *((1, 1, (1, False)), (0, 0, (0, False)), (0.5, 0.5, (0.5, False))),
        *((1, 0, (0.5, True)), (0, 1, (0.5, True)), (1, 0.5, (0.5, True)), (0.5, 0, (0.5, True))),
        *((None, 1, None), (0, None, None), (None, None, None)),
    ],
)
def test_a_verdict_counts_where_both_orders_agree(
    first: float | None, second: float | None, found: tuple[float, bool] | None
) -> None:
    assert outcome(first, second) == found


def test_ties_are_halves() -> None:
    pairs = [Pair("a", 1, 0), Pair("b", 0.5, 0), Pair("c", 0, 0), Pair("d", 1, 0)]
    assert win_rate(pairs, once(pairs)) == (pytest.approx(2.5 / 4), None, None)
    drawn = np.vstack([np.ones(4), np.tile([4, 0, 0, 0], (20, 1)), np.tile([0, 0, 4, 0], (20, 1))])
    assert win_rate(pairs, drawn) == (pytest.approx(2.5 / 4), 0, 1)


def test_pairs_that_all_end_alike_are_no_certainty() -> None:
    ties = [Pair("a", 0.5, 3), Pair("b", 0.5, -2), Pair("b", 0.5, 1)]
    drawn = np.vstack([np.ones(3), np.tile([1, 1, 1], (20, 1)), np.tile([2, 0, 0], (20, 1))])
    assert win_rate(ties, drawn) == (0.5, *wilson(0.5, 2))  # of two questions
    assert length_controlled(ties, drawn) == (pytest.approx(0.5), None, None)


def regression(pairs: list[Pair], penalty: float = 1.0) -> float:
    """sigmoid(a) by Newton's method: the penalised likelihood's slope in a and b, and its curvature, written out."""
    spread = float(np.std([pair.longer for pair in pairs]))
    data = [(math.tanh(pair.longer / spread), pair.win) for pair in pairs]
    a = b = 0.0
    for _ in range(60):
        rates = [(x, win, 1 / (1 + math.exp(-a - b * x))) for x, win in data]
        slope_a = sum(win - rate for _, win, rate in rates)
        slope_b = sum(x * (win - rate) for x, win, rate in rates) - penalty * b
        aa = sum(rate * (1 - rate) for _, _, rate in rates)
        ab = sum(x * rate * (1 - rate) for x, _, rate in rates)
        bb = sum(x * x * rate * (1 - rate) for x, _, rate in rates) + penalty
        determinant = aa * bb - ab * ab
        a, b = (
            a + (bb * slope_a - ab * slope_b) / determinant,
            b + (aa * slope_b - ab * slope_a) / determinant,
        )
    return 1 / (1 + math.exp(-a))


def drawn_pairs(seed: int, edge: float, by_length: float, n: int = 200) -> list[Pair]:
    """Replies that are mostly longer than the rival's; a win's odds are e^(edge + by_length * how much)."""
    draw, pairs = random.Random(seed), []
    for number in range(n):
        longer = round(draw.gauss(150, 200))
        wins = draw.random() < 1 / (1 + math.exp(-edge - by_length * math.tanh(longer / 200)))
        pairs.append(Pair(str(number), float(wins), longer))
    return pairs


@pytest.mark.parametrize("edge", [0.0, 1.0, -1.0])
def test_what_length_won_is_taken_out(edge: float) -> None:
    pairs = drawn_pairs(7, edge, 2.5)
    raw, equal = win_rate(pairs, once(pairs)).value, length_controlled(pairs, once(pairs)).value
    assert equal == pytest.approx(regression(pairs), abs=1e-3)
    assert raw is not None
    assert equal is not None
    assert equal < raw - 0.05  # the system is longer
    assert equal == pytest.approx(1 / (1 + math.exp(-edge)), abs=0.1)


def test_where_length_says_nothing_the_rate_is_the_win_rate() -> None:
    pairs = [Pair(str(number), [1, 0.5, 0, 1][number % 4], 30) for number in range(40)]
    assert length_controlled(pairs, once(pairs)).value == pytest.approx(2.5 / 4, abs=1e-4)


def test_where_all_end_alike_there_is_no_rate_at_equal_length() -> None:
    pairs = [Pair(str(number), 1, number) for number in range(9)]
    assert length_controlled(pairs, once(pairs)) == (None, None, None)
    assert win_rate(pairs, once(pairs)).value == 1
