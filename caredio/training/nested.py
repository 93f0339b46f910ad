"""Nested budgets of a culture's rows by one ranking or another, apart from the questions that are held out."""

from __future__ import annotations

import logging
import math
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from datasets import Dataset

from caredio import features
from caredio.errors import InputError
from caredio.publishing.split import is_test

log = logging.getLogger("caredio")

OURS, RANDOM, ONE_EACH, ALL, UNTRAINED = "ours", "random", "one_per_question", "all", "untrained"
BY_CHANCE = (RANDOM, ONE_EACH)
EVERY, SELECTED = "all answers", "ranked answers"  # of the held-out questions


class Point(NamedTuple):
    """An arm by what it stands for; without a ranking's seed where it has none."""

    culture: str
    ranking: str
    seed: int | None
    budget: int

    @property
    def rows(self) -> str:
        """What the folder of its rows is called."""
        return self.ranking if self.seed is None else f"{self.ranking}-{self.seed}"

    @property
    def arm(self) -> str:
        """What its own folder is called."""
        return self.ranking if self.ranking in (ALL, UNTRAINED) else f"{self.rows}-{self.budget}"


@dataclass(frozen=True)
class Pool:
    """What a run holds of a culture.

    Attributes:
        learned: the rows that arms learn from: those that could have been ranked, of questions that are not held out.
        ranked: of these, the run's ranked split, best first.
        held_out: rows of the held-out questions.
        selected: which of them the run ranked.
        others: ranked splits of other runs, by their names.
    """

    learned: Dataset
    ranked: Dataset
    held_out: Dataset
    selected: list[bool]
    others: Mapping[str, Dataset] = field(default_factory=dict)

    def measured(self, kind: str) -> list[int]:
        """The held-out rows of a kind."""
        return [row for row, selected in enumerate(self.selected) if selected or kind == EVERY]


def by_chance(names: Sequence[str], seed: int) -> list[int]:
    """Rows in an order drawn by seed, of their sample_ids alone: a row more changes nothing among the others."""
    return sorted(range(len(names)), key=lambda row: (random.Random(f"{seed}/{names[row]}").random(), names[row]))


def one_each(order: Sequence[int], questions: Sequence[str]) -> list[int]:
    """An order in which the first row of each question comes before all second ones, and so on."""
    counts: dict[int, int] = dict(zip(order, features.count_within(questions[row] for row in order), strict=True))
    return sorted(order, key=counts.__getitem__)


def by_column(values: Sequence[float | None], names: Sequence[str]) -> list[int]:
    """Rows by a falling value, those without one last; ties break on sample_id."""
    return sorted(
        range(len(names)), key=lambda row: (math.inf if (value := values[row]) is None else -value, names[row])
    )


def as_ranked(rows: Dataset) -> Dataset:
    """Rows in their order as a ranked table: rank, prompt and completion beside them."""
    added = {
        "rank": list(range(1, len(rows) + 1)),
        "prompt": [[{"role": "user", "content": text}] for text in rows["question"][:]],
        "completion": [[{"role": "assistant", "content": text}] for text in rows["response"][:]],
    }
    kinds = features.columns("rank prompt completion")
    return features.beside(rows, Dataset.from_dict(added, features=kinds)).select_columns(list(features.RANKED))


def pool(
    scored: Dataset, ranked: Dataset, share: float, culture: str, others: Mapping[str, Dataset] | None = None
) -> Pool:
    """A culture's rows, those of the held-out questions apart.

    Args:
        scored, ranked: its rows in the run's tables.
        others: its rows in the ranked splits of other runs.
        share: of the questions that are held out.

    Raises:
        InputError: none is held out, or nothing is left.
    """
    able = [row for row, compared in enumerate(scored["compared"][:]) if compared]
    scored, best = scored.select(able).remove_columns("drop_reason"), set(ranked["sample_id"][:])
    out = [is_test(name, share) for name in scored["question_id"][:]]
    held_out = as_ranked(scored.select([row for row, test in enumerate(out) if test]))
    learned = scored.select([row for row, test in enumerate(out) if not test])
    if not len(held_out) or not len(learned):
        what = "no question is held out" if len(learned) else "every question is held out"
        raise InputError(f"{culture}: with --test-share {share} {what} of {len(set(scored['question_id']))}.")
    selected = [name in best for name in held_out["sample_id"][:]]
    ranks = {name: _learnable(table, share) for name, table in (others or {}).items()}
    return Pool(learned, _learnable(ranked, share), held_out, selected, ranks)


def _learnable(ranked: Dataset, share: float) -> Dataset:
    kept = [row for row, name in enumerate(ranked["question_id"][:]) if not is_test(name, share)]
    return as_ranked(ranked.select(kept).remove_columns(["rank", "prompt", "completion"]))


def held(found: Pool, rankings: Iterable[str]) -> dict[str, int]:
    """Ranking -> how many rows it has."""
    own = {OURS: found.ranked, **found.others}
    return {name: len(own.get(name, found.learned)) for name in rankings}


def order(found: Pool, ranking: str, seed: int | None) -> Dataset:
    """The rows of a culture by a ranking, with rank from 1."""
    if ranking == OURS or ranking in found.others:
        return found.others.get(ranking, found.ranked)
    names = found.learned["sample_id"][:]
    if ranking in (*BY_CHANCE, ALL):
        rows = by_chance(names, seed or 0)
        rows = one_each(rows, found.learned["question_id"][:]) if ranking == ONE_EACH else rows
    else:
        rows = by_column(found.learned[ranking][:], names)
    return as_ranked(found.learned.select(rows))


def points(
    culture: str, rankings: Sequence[str], budgets: Sequence[int], seeds: int, held: Mapping[str, int]
) -> list[Point]:
    """The arms of a culture: every budget that a ranking has rows for, by chance once a seed, and all rows.

    Args:
        held: ranking -> how many rows it has.
    """
    found = []
    for ranking in rankings:
        draws: Iterable[int | None] = range(seeds) if ranking in BY_CHANCE else (None,)
        found += [Point(culture, ranking, seed, n) for n in budgets if n <= held[ranking] for seed in draws]
        if above := [str(n) for n in budgets if n > held[ranking]]:
            log.warning("%s: %s has %d rows; left out: %s", culture, ranking, held[ranking], ", ".join(above))
    return [*found, Point(culture, ALL, None, held[ALL])]
