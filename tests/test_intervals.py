from __future__ import annotations

import pytest

from caredio.intervals import of_mean, wilson


def test_wilson_by_hand() -> None:
    # z^2 = 3.8415; (0.5 + 0.1921 -+ 1.96 * sqrt(0.025 + 0.0096)) / 1.3841
    assert wilson(0.5, 10) == pytest.approx((0.23659, 0.76341), abs=1e-5)
    assert wilson(0, 8) == pytest.approx((0, 3.8415 / 11.8415), abs=1e-5)  # z^2 / (n + z^2)
    assert wilson(1, 8) == pytest.approx((8 / 11.8415, 1), abs=1e-5)


@pytest.mark.parametrize(("right", "n"), [(0, 1), (1, 7), (20, 59), (58, 59), (59, 59)])
def test_wilson_is_scipys(right: int, n: int) -> None:
    stats = pytest.importorskip("scipy.stats")
    interval = stats.binomtest(right, n).proportion_ci(method="wilson")
    assert wilson(right / n, n) == pytest.approx((interval.low, interval.high), abs=1e-12)


def test_the_interval_of_a_mean_is_scipys() -> None:
    stats = pytest.importorskip("scipy.stats")
    values = [0.2, 1.4, -0.3, 0.9, 0.1, 2.2, 0.7, 0.4, 1.1, -0.8]
    theirs = stats.bootstrap((values,), lambda x, axis: x.mean(axis=axis), method="percentile", rng=1)
    assert of_mean(values) == pytest.approx(tuple(theirs.confidence_interval), abs=0.05)
    assert of_mean(values) == of_mean(values)
    assert of_mean([0.4]) == (None, None)


def test_equal_values_are_no_certainty() -> None:
    assert of_mean([2.5, 2.5]) == (None, None)
    assert of_mean([0.1 + 0.2, 0.3, 0.3]) == (None, None)
    assert of_mean([0.25, 0.25], share=True) == wilson(0.25, 2)
    assert of_mean([0.5], share=True) == wilson(0.5, 1)
    assert of_mean([1, 0, 1], share=True) == wilson(2 / 3, 3)
    assert of_mean([1, 0, 1]) == (0, 1)  # of what is no share, such as a count
