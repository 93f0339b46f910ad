"""Intervals of shares and of means."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from statistics import NormalDist

ALIKE = 1e-12  # nearer values differ by rounding
_RESAMPLES = 2_000


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


def of_mean(values: Sequence[float], share: bool = False, seed: int = 0) -> tuple[float | None, float | None]:
    """The 95 % interval of a mean over questions: Wilson's of answers that are right or wrong, else the bootstrap's.

    Equal values drawn anew are equal, which is no certainty: of a share the interval is Wilson's, and else there is
    none.

    Args:
        share: whether a value is within 0 and 1 by what it is.
    """
    import numpy as np

    alike = bool(values) and max(values) - min(values) < ALIKE
    if share and values and (alike or set(values) <= {0, 1}):
        return wilson(float(np.mean(values)), len(values))
    if alike or not values:
        return None, None
    sample = np.asarray(values, dtype=float)
    drawn = np.random.default_rng(seed).integers(len(sample), size=(_RESAMPLES, len(sample)))
    low, high = np.quantile(sample[drawn].mean(axis=1), [0.025, 0.975])
    return float(low), float(high)
