"""Statistics of `human_validity.py`, with intervals by a bootstrap over questions and over regions, drawn jointly."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.stats import rankdata

DRAWS = 1000


class Interval(NamedTuple):
    value: float
    low: float
    high: float


class Clusters:
    """The question and the region of each row or cell, and how often each draw of the bootstrap takes them."""

    def __init__(self, questions: Sequence[str], regions: Sequence[str]) -> None:
        self.question = np.unique(questions, return_inverse=True)[1]
        self.region = np.unique(regions, return_inverse=True)[1]

    @functools.cached_property
    def times(self) -> tuple[np.ndarray, np.ndarray]:
        """int[DRAWS, questions] and int[DRAWS, regions]."""
        draw = np.random.default_rng(0)
        counts = []
        for places in (self.question, self.region):
            number = places.max() + 1
            counts.append(draw.multinomial(number, np.full(number, 1 / number), size=DRAWS))
        return counts[0], counts[1]

    def means(self, values: np.ndarray, numbers: np.ndarray) -> np.ndarray:
        """sum(values) / sum(numbers), first of all rows, then of each draw."""
        shape = self.question.max() + 1, self.region.max() + 1
        sums, counts = np.zeros(shape), np.zeros(shape)
        np.add.at(sums, (self.question, self.region), values)
        np.add.at(counts, (self.question, self.region), numbers)
        of_questions, of_regions = self.times
        drawn = ((of_questions @ sums) * of_regions).sum(1) / ((of_questions @ counts) * of_regions).sum(1)
        return np.concatenate([[sums.sum() / counts.sum()], drawn])

    def aucs(self, labels: np.ndarray, scores: np.ndarray) -> np.ndarray:
        """The area under the ROC curve over all rows, ties counted half, then of each draw."""
        group = np.unique(scores.round(9), return_inverse=True)[1]
        size = group.max() + 1
        ones = np.ones(len(labels), int)
        found = [_auc(labels, group, size, ones)]
        of_questions, of_regions = self.times
        found += [
            _auc(labels, group, size, by_question[self.question] * by_region[self.region])
            for by_question, by_region in zip(of_questions, of_regions, strict=True)
        ]
        return np.array(found)


def _auc(labels: np.ndarray, group: np.ndarray, size: int, times: np.ndarray) -> float:
    ones = np.bincount(group, weights=times * labels, minlength=size)
    zeros = np.bincount(group, weights=times * ~labels, minlength=size)
    below = np.cumsum(zeros) - zeros
    return float((ones * (below + zeros / 2)).sum() / (ones.sum() * zeros.sum()))


def interval(values: np.ndarray) -> Interval:
    """The value of all rows, and the 95 % interval of the draws that have one."""
    drawn = values[1:][np.isfinite(values[1:])]
    low, high = np.percentile(drawn, [2.5, 97.5])
    return Interval(float(values[0]), float(low), float(high))


def spearman(scores: np.ndarray, labels: np.ndarray) -> float:
    """Spearman's correlation; 0 for a constant score, which says nothing."""
    scores = scores.round(9)
    return float(np.corrcoef(rankdata(scores), rankdata(labels))[0, 1]) if np.ptp(scores) else 0.0


def concordant(labels: np.ndarray, scores: np.ndarray) -> tuple[float, int]:
    """(pairs of a positive and a negative that the scores order rightly, ties counted half; all such pairs)."""
    ones, ranks = int(labels.sum()), rankdata(scores.round(9))
    return float(ranks[labels].sum() - ones * (ones + 1) / 2), ones * (len(labels) - ones)


def line(label: str, own: np.ndarray, base: np.ndarray | None = None) -> str:
    """A line of a table: a value with its interval, and the paired difference to `base` with its own."""
    text = "  {:<40}{:>7.3f} [{:6.3f}, {:6.3f}]".format(label, *interval(own))
    return text if base is None else text + "   {:+.3f} [{:+.3f}, {:+.3f}]".format(*interval(own - base))


def gain(label: str, difference: np.ndarray) -> str:
    """A line of a paired difference alone."""
    return "    {:<63}{:+.3f} [{:+.3f}, {:+.3f}]".format(label, *interval(difference))
