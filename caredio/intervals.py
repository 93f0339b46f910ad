"""Intervals of shares."""

from __future__ import annotations

from math import sqrt
from statistics import NormalDist


def wilson(value: float, n: int) -> tuple[float, float]:
    """The 95 % score interval of a share `value` of `n` (Wilson 1927; Brown, Cai and DasGupta 2001, eq. 4).

    (p + z^2/2n -+ z sqrt(p(1-p)/n + z^2/4n^2)) / (1 + z^2/n). Where a question has several judgements, or pairs, n
    counts questions: those of one are not independent, and as the mean of a variable within 0 and 1 varies no more than
    that of a coin with the same mean, the interval errs on the wide side.
    """
    z = NormalDist().inv_cdf(0.975)
    middle = value + z * z / (2 * n)
    half = z * sqrt(value * (1 - value) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    return max(0.0, (middle - half) / scale), min(1.0, (middle + half) / scale)
