"""How far a judge and people agree on the same replies: correlations and Krippendorff's alpha, with intervals.

Pearson's, Spearman's and Kendall's (tau-b) coefficients compare the judge with the mean of the people who rated a
reply; alpha (interval distance) takes the judge and each person as a rater, and leaves out what only one of them rated.
The coefficients are scipy's. Intervals are percentiles of a bootstrap over questions, since the replies of several
systems to one question are alike.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

import numpy as np
from scipy import stats

from caredio import tablefile
from caredio.errors import InputError
from caredio.selection import source

DRAWS, _ENDS = 500, (2.5, 97.5)
_DEFINED = 0.9  # share of draws in which a coefficient is to be defined, for an interval
_IDS = ("id", "sample")  # the columns that name a reply's question, the first that is there
_RATING = "rating"  # how the columns of ratings begin
ALPHA, AMONG = "Krippendorff's alpha", "Krippendorff's alpha, people alone"


class Rated(NamedTuple):
    """A reply as people rated it."""

    question: str  # its id
    system: str | None  # None where the file does not say
    culture: str | None
    ratings: tuple[float | None, ...]  # one a rater, in the order of the columns
    where: str  # the row, for messages


class Item(NamedTuple):
    """A reply that a judge and people rated."""

    question: str
    judge: float
    people: tuple[float | None, ...]


class Agreement(NamedTuple):
    """A coefficient over `n` replies, with its 95 % interval; None where it is not defined."""

    measure: str
    n: int
    value: float | None
    low: float | None
    high: float | None

    def __str__(self) -> str:
        if self.value is None:
            return f"{self.measure}: not defined, as replies are too few or all rated alike (n={self.n})"
        ends = "" if self.low is None else f" [{self.low:.3f}, {self.high:.3f}]"
        return f"{self.measure}: {self.value:.3f}{ends} (n={self.n})"


def load(file: Path, lowest: int, highest: int) -> list[Rated]:
    """The rows of a table of people's ratings (parquet, csv, json or jsonl).

    Its columns: `id` (or `sample`), of the question; `rating`, and of further raters any that begin so; `system` and
    `culture` where ids do not tell replies apart.

    Args:
        lowest, highest: the ends of the judge's scale.

    Raises:
        InputError: the file cannot be read, a column is missing, or a cell is no rating on the scale.
    """
    table, _ = tablefile.table(file)
    named = next((name for name in _IDS if name in table.names), None)
    raters = [name for name in table.names if name.startswith(_RATING)]
    if named is None or not raters:
        lacks = " or ".join(_IDS) if named is None else _RATING
        raise InputError(f"{file}: column {lacks} is missing; found {', '.join(map(tablefile.shown, table.names))}.")
    columns = {name: source.text(table, name).to_pylist() for name in (named, *raters)}
    about = {
        name: source.text(table, name).to_pylist() if name in table.names else [None] * len(columns[named])
        for name in ("system", "culture")
    }
    rows = []
    for place, question in enumerate(columns[named]):
        where = table.row(place)
        if not question:
            raise InputError(f"{where}: column {named} is empty; name the question that was replied to.")
        cells = tuple(_number(columns[name][place], lowest, highest, f"{where}, column {name}") for name in raters)
        rows.append(Rated(question, about["system"][place], about["culture"][place], cells, where))
    return rows


def _number(cell: str | None, lowest: int, highest: int, where: str) -> float | None:
    """A rating; None of an empty cell."""
    if cell is None or not cell.strip():
        return None
    try:
        number = float(cell)
    except ValueError:
        number = math.nan
    if not lowest <= number <= highest:
        raise InputError(f"{where}: {cell!r} is no rating from {lowest} to {highest}, which is the judge's scale.")
    return number


def places(rated: Sequence[Rated], replies: Sequence[tuple[str, str, str]]) -> list[int | None]:
    """For each row of people's ratings the place of the reply that it is about; None where there is no such reply.

    Args:
        replies: question, system and culture of each.

    Raises:
        InputError: a row may be about several replies, or no row is about one.
    """
    by_question: dict[str, list[int]] = {}
    for place, (question, _, _) in enumerate(replies):
        by_question.setdefault(question, []).append(place)
    found: list[int | None] = []
    for row in rated:
        fitting = [
            place
            for place in by_question.get(row.question, ())
            if row.system in (None, replies[place][1]) and row.culture in (None, replies[place][2])
        ]
        if len(fitting) > 1:
            whose = ", ".join(" on ".join(filter(None, replies[place][1:])) for place in fitting)
            raise InputError(
                f"{row.where}: {row.question!r} has replies of {whose}; say which one in a column system or culture."
            )
        found.append(fitting[0] if fitting else None)
    if not any(place is not None for place in found):
        raise InputError(
            f"{rated[0].where}: neither this row nor another is about a reply that is judged; check the ids."
        )
    return found


def items(
    rated: Sequence[Rated],
    found: Sequence[int | None],
    replies: Sequence[tuple[str, str, str]],
    ratings: Sequence[float | None],
) -> list[Item]:
    """The replies that a judge and people rated; rows about one reply are raters of it.

    Args:
        rated: people's rows.
        found: the place of the reply of each, as `places` says.
        replies: as it takes them.
        ratings: the judge's, of each reply; None where it gave none.
    """
    people: dict[int, list[float | None]] = {}
    for row, place in zip(rated, found, strict=True):
        if place is not None:
            people.setdefault(place, []).extend(row.ratings)
    return [
        Item(replies[place][0], rating, tuple(given))
        for place, given in sorted(people.items())
        if (rating := ratings[place]) is not None
    ]


def agreement(items: Sequence[Item], seed: int = 0) -> list[Agreement]:
    """The coefficients over the replies that both the judge and a person rated.

    Args:
        items: the replies.
        seed: of the bootstrap.
    """
    items = [item for item in items if any(rating is not None for rating in item.people)]
    several = any(sum(rating is not None for rating in item.people) > 1 for item in items)
    measures = {**_CORRELATIONS, ALPHA: _with_judge, **({AMONG: _alone} if several else {})}
    return _with_intervals(measures, items, seed)


def among(replies: Sequence[Item], seed: int = 0) -> list[Agreement]:
    """The coefficients over the replies that several people rated, without a judge.

    Correlations are those of each two people on what both rated, as the mean over such pairs, weighted by how much that
    is.

    Args:
        replies: `judge` is not looked at.
        seed: of the bootstrap.
    """
    several = [item for item in replies if sum(rating is not None for rating in item.people) > 1]
    measures = {ALPHA: _alone, **{name: _of_pairs(of) for name, of in _COEFFICIENTS.items()}}
    return _with_intervals(measures, several, seed)


def _with_intervals(
    measures: Mapping[str, Callable[[Sequence[Item]], float]], items: Sequence[Item], seed: int
) -> list[Agreement]:
    found = {name: _safely(measure, items) for name, measure in measures.items()}
    drawn: dict[str, list[float]] = {name: [] for name in measures}
    for sample in _resampled(items, seed):
        for name, measure in measures.items():
            drawn[name].append(_safely(measure, sample))
    return [_value(name, len(items), found[name], drawn[name]) for name in measures]


def _of_pairs(of: Callable[..., tuple[float, float]]) -> Callable[[Sequence[Item]], float]:
    def measure(items: Sequence[Item]) -> float:
        people = np.array([item.people for item in items], dtype=float)  # None is nan
        found, shared = [], []
        for one, other in combinations(people.T, 2):
            both = ~np.isnan(one) & ~np.isnan(other)
            value = of(one[both], other[both])[0] if both.sum() > 1 else math.nan
            if not math.isnan(value):
                found.append(value)
                shared.append(both.sum())
        return float(np.average(found, weights=shared)) if found else math.nan

    return measure


def _resampled(items: Sequence[Item], seed: int) -> Sequence[list[Item]]:
    """The items of questions drawn with replacement, `DRAWS` times."""
    by_question: dict[str, list[Item]] = {}
    for item in items:
        by_question.setdefault(item.question, []).append(item)
    groups = list(by_question.values())
    if not groups:
        return []
    places = np.random.default_rng(seed).integers(len(groups), size=(DRAWS, len(groups)))
    return [[item for place in line for item in groups[place]] for line in places]


def _value(name: str, n: int, value: float, drawn: Sequence[float]) -> Agreement:
    if math.isnan(value):
        return Agreement(name, n, None, None, None)
    defined = [one for one in drawn if not math.isnan(one)]
    if len(defined) < _DEFINED * DRAWS:
        return Agreement(name, n, value, None, None)
    low, high = np.percentile(defined, _ENDS)
    return Agreement(name, n, value, float(low), float(high))


def _safely(measure: Callable[[Sequence[Item]], float], items: Sequence[Item]) -> float:
    """A coefficient; nan where it is not defined."""
    with warnings.catch_warnings(), np.errstate(invalid="ignore", divide="ignore"):
        warnings.simplefilter("ignore")  # scipy's, of a side that does not vary
        try:
            return float(measure(items))
        except (ValueError, ZeroDivisionError):  # too few replies
            return math.nan


def _correlation(of: Callable[..., tuple[float, float]]) -> Callable[[Sequence[Item]], float]:
    def measure(items: Sequence[Item]) -> float:
        people = [fmean(rating for rating in item.people if rating is not None) for item in items]
        return of([item.judge for item in items], people)[0]

    return measure


_COEFFICIENTS = {"Pearson": stats.pearsonr, "Spearman": stats.spearmanr, "Kendall": stats.kendalltau}
_CORRELATIONS = {name: _correlation(of) for name, of in _COEFFICIENTS.items()}


def _with_judge(items: Sequence[Item]) -> float:
    return alpha([(item.judge, *item.people) for item in items])


def _alone(items: Sequence[Item]) -> float:
    return alpha([item.people for item in items])


def alpha(ratings: Sequence[Sequence[float | None]]) -> float:
    """Krippendorff's alpha, interval, of replies' ratings, one a rater; nan where all are alike, as chance is then too.

    1 - Do/De: the mean square difference within replies, each weighted by its ratings, over that of all ratings.
    """
    units = [given for row in ratings if len(given := [one for one in row if one is not None]) > 1]
    values = np.array([rating for unit in units for rating in unit], dtype=float)
    if not len(values) or values.min() == values.max():
        return math.nan
    within = sum(_squares(np.array(unit, dtype=float)) / (len(unit) - 1) for unit in units)
    return float(1 - within * (len(values) - 1) / _squares(values))


def _squares(values: np.ndarray) -> float:
    """The sum of the squared differences of all ordered pairs."""
    return float(2 * len(values) * ((values - values.mean()) ** 2).sum())
