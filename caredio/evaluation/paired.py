"""Whether two systems differ on the same questions: tests, intervals, and what a number of questions can show.

Answers to one question are not independent: two systems share the question, cultures that are asked the same one share
it too, and so do items that ask it with other options. So differences are taken within questions, and a question is
one draw for all cultures that it is asked about, and for all its items. lm-eval's standard error of a group takes its
tasks as independent, and a difference of two such numbers throws the pairing away.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from math import fsum, inf, sqrt
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from scipy import stats

from caredio import intervals

Scores = Mapping[str, Mapping[str, float]]  # culture -> question id -> score
WITHIN = "\x1f"  # between the id of a question and that of one of its items, in what stands for an id

RESAMPLES = 9999  # of a test; the smallest p-value of drawn sign-flips is 1 / 10,000
DRAWS = 2000  # of an interval
LEVEL = 0.05
POWER = 0.8
DIFFERING = 0.15  # share of pairs, where nobody knows better
_SEED = re.compile(r"\s*\(seed[\s_=-]*\d+\)|[\s_.-]*(?<![a-z])seed[\s_=-]*\d+")
_AT_ONCE = 4_000_000  # numbers in memory
_DIGITS = 12  # behind which sums of equal numbers in another order differ


class Test(NamedTuple):
    """A comparison of two systems."""

    difference: float  # mean over all answers that both gave
    n: int  # of those answers
    questions: int  # ids, each counted once for all cultures that share it
    p: float  # two-sided
    method: str


class SignTest(NamedTuple):
    """How many cultures a system is better on."""

    better: int
    worse: int
    equal: int
    p: float  # two-sided; cultures without a difference count for neither side


def compare(one: Scores, other: Scores, seed: int = 0) -> Test:
    """The test of `one` minus `other` on the questions that both answered: McNemar's where each is one bit, else
    sign-flips. p is 1 where there are none.

    Args:
        seed: of the sign-flips that are drawn, where there are too many to try all.
    """
    common = differences(one, other)
    n = sum(len(questions) for questions in common.values())
    flips = clusters(common)
    if n == 0:
        return Test(0.0, 0, 0, 1.0, "no common questions")
    difference = mean(common)
    if n == len(flips) and _bits(one, common) and _bits(other, common):
        signs = np.sign(flips)
        better, worse = int((signs > 0).sum()), int((signs < 0).sum())
        return Test(difference, n, n, mcnemar(better, worse), "McNemar, exact")
    exact = 2 ** np.count_nonzero(flips) <= RESAMPLES
    return Test(difference, n, len(flips), sign_flips(flips, seed), f"sign-flips, {'exact' if exact else 'drawn'}")


def differences(one: Scores, other: Scores) -> dict[str, dict[str, float]]:
    """Culture -> question id -> `one` minus `other`, of the questions that both answered."""
    found = {
        culture: {name: score - other[culture][name] for name, score in mine.items() if name in other[culture]}
        for culture, mine in one.items()
        if culture in other
    }
    return {culture: questions for culture, questions in found.items() if questions}


def mean(scores: Scores) -> float:
    """The mean over all answers, without what rounding adds: equal systems differ by nothing."""
    every = [score for questions in scores.values() for score in questions.values()]
    return round(fsum(every) / max(len(every), 1), _DIGITS)


def clusters(scores: Scores) -> np.ndarray:
    """What each question id adds to the mean over all answers; they sum to that mean."""
    return joined([("", scores, 1.0)])


def joined(parts: Iterable[tuple[str, Scores, float]]) -> np.ndarray:
    """What each question id adds to a sum of means.

    Args:
        parts: of each mean, what its questions are of, its scores, and what it is times. An id is one question in all
            means that are of the same.
    """
    added: dict[tuple[str, str], list[float]] = {}
    for source, scores, weight in parts:
        n = sum(len(questions) for questions in scores.values())
        for questions in scores.values():
            for name, score in questions.items():
                added.setdefault((source, question(name)), []).append(weight * score / n)
    sums = np.array([fsum(added[key]) for key in sorted(added)])
    return np.where(np.abs(sums) < 10**-_DIGITS, 0.0, sums)  # what rounding leaves is no difference


def question(name: str) -> str:
    """The question of an id, which is that before `WITHIN` where it has several items."""
    return name.partition(WITHIN)[0]


def count(scores: Scores) -> int:
    """How many questions there are, whatever their items and cultures."""
    return len({question(name) for questions in scores.values() for name in questions})


def sign_flips(values: np.ndarray, seed: int = 0) -> float:
    """The two-sided p-value of a sum, were each value as likely with the other sign.

    All flips are tried where there are no more than `RESAMPLES`, else as many are drawn. Zeros change nothing.
    """
    moving = values[values != 0]
    if len(moving) < 2:
        return 1.0  # one value is as far from zero with either sign
    found = stats.permutation_test(
        (moving,),
        np.sum,
        permutation_type="samples",
        vectorized=True,
        n_resamples=RESAMPLES,
        batch=max(1, _AT_ONCE // (4 * len(moving))),
        random_state=np.random.default_rng(seed),
    )
    return float(found.pvalue)


def mcnemar(better: int, worse: int) -> float:
    """The exact two-sided p-value of pairs of which one is right: `better` times the first, `worse` times the other."""
    return float(stats.binomtest(better, better + worse).pvalue) if better + worse else 1.0


def sign_test(by_culture: Iterable[float]) -> SignTest:
    """The sign test of a system's differences on cultures."""
    signs = [float(np.sign(one)) for one in by_culture]
    better, worse = signs.count(1.0), signs.count(-1.0)
    return SignTest(better, worse, signs.count(0.0), mcnemar(better, worse))


def holm(p: Sequence[float]) -> list[float]:
    """p-values adjusted so that the chance of any false one among them stays below the level (Holm 1979)."""
    adjusted, largest = [0.0] * len(p), 0.0
    for rank, place in enumerate(sorted(range(len(p)), key=lambda place: p[place])):
        largest = max(largest, min(1.0, (len(p) - rank) * p[place]))
        adjusted[place] = largest
    return adjusted


def interval(scores: Scores, seed: int = 0) -> tuple[float, float]:
    """The 95 % percentile interval of the mean over all answers, question ids drawn anew.

    An id is drawn once for all cultures that are asked it, so that a draw's mean is the sum of its scores over their
    number, which varies too. Ids are not drawn within sets of cultures: a set that shares one question never varies.
    """
    asked: dict[str, list[float]] = {}
    for questions in scores.values():
        for name, score in questions.items():
            asked.setdefault(question(name), []).append(score)
    answers = [asked[name] for name in sorted(asked)]
    sums, counts = np.array([fsum(own) for own in answers]), np.array([len(own) for own in answers])
    rng, n, means = np.random.default_rng(seed), len(answers), []
    step = max(1, _AT_ONCE // n)
    for start in range(0, DRAWS, step):
        drawn = rng.multinomial(n, np.full(n, 1 / n), size=min(step, DRAWS - start))
        means.append((drawn @ sums) / (drawn @ counts))
    low, high = np.quantile(np.concatenate(means), [0.025, 0.975])
    return float(low), float(high)


def of_mean(scores: Mapping[str, float], share: bool) -> tuple[float | None, float | None]:
    """As `intervals.of_mean`, of scores by question id, with the items of a question drawn together."""
    own, n = list(scores.values()), count({"": scores})
    if n == len(own):
        return intervals.of_mean(own, share)
    low, high = interval({"": scores})
    if high - low < intervals.ALIKE:
        return intervals.wilson(fsum(own) / len(own), n) if share else (None, None)
    return low, high


def detectable(n: int, differing: float = DIFFERING, power: float = POWER) -> float:
    """The difference of two shares that n pairs show at p < 0.05 with a probability of `power`.

    A pair differs by -1, 0 or 1, in `differing` of the cases by something: the variance of its difference is that share
    at most, and (z_0.975 + z_power) sqrt(differing / n) the difference (Connor 1987, without its second term).
    """
    return _normal(power) * sqrt(differing / n)


def power_sentence(n: int, deviation: float | None = None, most: float = inf) -> str:
    """What n questions can show, with what that takes for granted.

    Args:
        deviation: of the differences between two systems, where a score is more than one bit.
        most: the largest difference that scores can have, in what the deviation is in.
    """
    points = 100 * detectable(n) if deviation is None else _normal(POWER) * deviation / sqrt(n)
    if 2.0 ** (1 - n) >= LEVEL or points > (100 if deviation is None else most):  # the smallest p-value of any n signs
        return f"n = {n}: no difference can be shown with so few questions."
    found = f"found at {100 * POWER:.0f} % if"
    if deviation is None:
        return f"n = {n}: {points:.1f} points are {found} {100 * DIFFERING:.0f} % of pairs differ."
    return f"n = {n}: {points:.3g} is {found} differences of pairs deviate by {deviation:.3g}, as here."


def of_seeds(systems: Iterable[str]) -> dict[str, list[str]]:
    """Method -> its systems, of those that were trained with several seeds: names equal but for `seed` and a number.

    Two or three seeds are no sample to bootstrap: they are to be shown as points.
    """
    found: dict[str, list[str]] = {}
    for name in systems:
        if _SEED.search(name):
            found.setdefault(_SEED.sub("", name), []).append(name)
    return {method: names for method, names in found.items() if len(names) > 1}


def _normal(power: float) -> float:
    return NormalDist().inv_cdf(1 - LEVEL / 2) + NormalDist().inv_cdf(power)


def _bits(scores: Scores, among: Scores) -> bool:
    return all(scores[culture][name] in (0, 1) for culture, questions in among.items() for name in questions)
