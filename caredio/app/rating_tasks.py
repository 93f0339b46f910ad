"""What an annotator is asked about: the answers to a question, or a row of each of two datasets; and what one can say.

`rate`: the answers to a question, the culture's own among others', each from 1 to 10, and put in an order. `compare`: a
row of one dataset beside one of another; which is more accurate, and which more salient. Who wrote an answer is not
shown, and the order in which they stand first is drawn for each annotator.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise, zip_longest
from pathlib import Path
from typing import Any

from caredio.app.shelf import Shelf
from caredio.errors import InputError
from caredio.publishing import removals

RATE, COMPARE = "rate", "compare"
MEASURES = ("accuracy", "salience")  # of a comparison
SAME = "same"  # neither row has more of a measure
LOWEST, HIGHEST = 1, 10
MOST, OWN = 6, 3  # answers of a task; of them, rows of the culture
_LONGEST_COMMENT = 2_000  # characters


@dataclass(frozen=True)
class Item:
    """An answer to be judged."""

    sample_id: str
    culture: str
    source: str  # the dataset it is of
    question: str
    response: str


@dataclass(frozen=True)
class Task:
    """What stands on a page at once."""

    task_id: str
    kind: str
    culture: str
    question_id: str
    level: str | None
    items: tuple[Item, ...]

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> Task:
        """The task of a record that `dataclasses.asdict` made."""
        return cls(**{**record, "items": tuple(Item(**item) for item in record["items"])})

    def shown(self, annotator: str) -> tuple[Item, ...]:
        """The items in the order in which an annotator sees them first."""
        items = list(self.items)
        random.Random(f"{annotator}/{self.task_id}").shuffle(items)
        return tuple(items)

    def seen(self, annotator: str) -> str:
        """The task_id, and a hash of the answers as an annotator sees them: what a click is about."""
        shown = [[item.sample_id, item.question, item.response] for item in self.shown(annotator)]
        return f"{self.task_id}-{hashlib.sha256(json.dumps(shown).encode()).hexdigest()[:16]}"


@dataclass(frozen=True)
class Said:
    """What an annotator says of a task.

    Attributes:
        ratings: sample_id -> 1 to 10.
        order: sample_ids, the best first; empty where the annotator moved none.
        untrue: sample_id -> comment, of what is not true here.
        verdicts: measure -> sample_id of the row that has more of it, or `SAME`.
    """

    ratings: Mapping[str, int] = field(default_factory=dict)
    order: tuple[str, ...] = ()
    untrue: Mapping[str, str] = field(default_factory=dict)
    verdicts: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> Said:
        """What `dataclasses.asdict` made a record of."""
        return cls(**{**record, "order": tuple(record["order"])})

    def done(self, task: Task) -> bool:
        """Whether all is said that is asked: a rating of each answer that is true, or both verdicts."""
        if task.kind == COMPARE:
            return set(self.verdicts) == set(MEASURES)
        return all(item.sample_id in self.ratings or item.sample_id in self.untrue for item in task.items)

    def contradictions(self, task: Task) -> list[tuple[str, str]]:
        """(sample_id, sample_id) of neighbours in the annotator's order whose ratings say the opposite."""
        rated = [name for name in self.order if name in self.ratings]
        return [(one, other) for one, other in pairwise(rated) if self.ratings[one] < self.ratings[other]]


def clicked(task: Task, said: Said, annotator: str, click: Mapping[str, Any]) -> Said:
    """What an annotator says after a click.

    Args:
        click: `item` (its place among `shown`) and one of `rate` (1 to 10, or None), `move` (its new place in the
            order) and `untrue` (a comment, or None); or `verdict`, a measure, and `side` (left, right or same).

    Raises:
        InputError: it is no such click.
    """
    if not isinstance(click, Mapping):
        raise InputError(f"{click!r} is no click.")
    shown = task.shown(annotator)
    if "verdict" in click:
        return _verdict(task, said, shown, click)
    place = click.get("item")
    if type(place) is not int or not 0 <= place < len(shown):
        raise InputError(f"item is {place!r}; {len(shown)} are shown.")
    name = shown[place].sample_id
    if "rate" in click and task.kind == RATE:
        return replace(said, ratings=_with(said.ratings, name, _rating(click["rate"])))
    if "move" in click and task.kind == RATE:
        order = [one for one in said.order or (item.sample_id for item in shown) if one != name]
        order.insert(_number(click["move"], 0, len(order)), name)
        return replace(said, order=tuple(order))
    if "untrue" in click:
        return replace(said, untrue=_with(said.untrue, name, _comment(click["untrue"])))
    raise InputError(f"{', '.join(map(repr, click)) or 'nothing'} is no click of a task to {task.kind}.")


def _verdict(task: Task, said: Said, shown: Sequence[Item], click: Mapping[str, Any]) -> Said:
    measure, side = click["verdict"], click.get("side")
    sides = {"left": shown[0].sample_id, "right": shown[-1].sample_id, SAME: SAME}
    if task.kind != COMPARE or measure not in MEASURES or side not in sides:
        raise InputError(f"{measure!r}, {side!r} is no verdict of a task to {task.kind}.")
    return replace(said, verdicts={**said.verdicts, measure: sides[side]})


def _with(before: Mapping[str, Any], name: str, value: Any) -> dict[str, Any]:
    """A mapping with a value, or without one."""
    return {key: kept for key, kept in {**before, name: value}.items() if kept is not None}


def _rating(value: Any) -> int | None:
    return None if value is None else _number(value, LOWEST, HIGHEST)


def _number(value: Any, lowest: int, highest: int) -> int:
    if type(value) is not int or not lowest <= value <= highest:
        raise InputError(f"{value!r} is no whole number from {lowest} to {highest}.")
    return value


def _comment(value: Any) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str):
        raise InputError(f"a comment is {value!r}; it is text.")
    return value.encode("utf-8", "replace").decode()[:_LONGEST_COMMENT].strip()


@dataclass(frozen=True)
class _Row:
    """A ranked row of a shelf, short."""

    shelf: Shelf
    number: int
    sample_id: str
    question_id: str
    level: str | None
    question: str
    response: str

    def item(self, culture: str) -> Item:
        return Item(self.sample_id, culture, source(self.shelf), self.question, self.response)


class Tasks:
    """The tasks of a culture, those on the best rows first; what a task shows besides is read when it is opened.

    `own`: each task with its datasets' rows of the culture alone. `names`: their task_ids.
    """

    def __init__(self, tasks: Sequence[tuple[Task, _Row]]) -> None:
        """Take each task with its own rows, and the first of these."""
        self.own = [task for task, _ in tasks]
        self.names = [task.task_id for task in self.own]
        self._firsts = [first for _, first in tasks]
        self._whole: dict[int, Task] = {}

    def __len__(self) -> int:
        return len(self.own)

    def __getitem__(self, number: int) -> Task:
        if number not in self._whole:
            task = self.own[number]
            if task.kind == RATE:
                others = _others(task, self._firsts[number])
                task = replace(task, items=tuple(_different([*task.items, *others])))
            self._whole[number] = task
        return self._whole[number]


def rating(culture: str, shelf: Shelf, other: Shelf | None = None) -> Tasks:
    """The answers to each question of a culture's ranked rows, and those that another dataset has to the same text."""
    rows = _ranked(shelf, culture)
    also: dict[str, list[_Row]] = defaultdict(list)
    for row in _ranked(other, culture) if other else ():
        also[_text(row.question)].append(row)
    by_question: dict[str, list[_Row]] = {}
    for row in rows:
        by_question.setdefault(_text(row.question), []).append(row)
    return Tasks(
        [_task(RATE, culture, part) for text, own in by_question.items() for part in _parts([*own, *also[text]])]
    )


def comparing(culture: str, shelf: Shelf, other: Shelf) -> Tasks:
    """A row of each dataset, on the same question where both have it, else of the same place in the ranks."""
    left, right = _ranked(shelf, culture), _ranked(other, culture)
    of_question = {row.question_id: row for row in reversed(right)}
    pairs = [(row, of_question[row.question_id]) for row in left if row.question_id in of_question]
    if not pairs:
        pairs = list(zip(left, right, strict=False))
    return Tasks([_task(COMPARE, culture, pair) for pair in pairs if pair[0].sample_id != pair[1].sample_id])


def _parts(rows: Sequence[_Row]) -> Iterator[Sequence[_Row]]:
    """Rows of a question, as many at a time as a task holds."""
    yield from (rows[start : start + OWN] for start in range(0, len(rows), OWN))


def _task(kind: str, culture: str, rows: Sequence[_Row]) -> tuple[Task, _Row]:
    """A task on some rows, and the first of them."""
    named = "\x1f".join([kind, culture, *(row.sample_id for row in rows)])
    items = [row.item(culture) for row in rows]
    shown = tuple(_different(items) if kind == RATE else items)
    first = rows[0]
    name = hashlib.sha256(named.encode()).hexdigest()[:16]
    return Task(name, kind, culture, first.question_id, first.level, shown), first


def source(shelf: Shelf) -> str:
    """What a dataset is called in exports: owner/name of the Hub, or the last two folders."""
    return "/".join(Path(shelf.name).parts[-2:])


def _ranked(shelf: Shelf, culture: str) -> list[_Row]:
    """A culture's ranked rows, the best first, without those that are removed from releases."""
    places = shelf.of(culture=culture, stage="ranked")
    cells = shelf.cells(places, "sample_id", "question_id", "level", "question", "response")
    rows = [_Row(shelf, int(place), **row) for place, row in zip(places, cells, strict=True)]
    removed = _removed(shelf)
    return [row for row in rows if row.sample_id not in removed]


def _removed(shelf: Shelf) -> set[str]:
    return set(removals.remembered(shelf.folder)) if shelf.is_run else set()


def _others(task: Task, first: _Row) -> list[Item]:
    """Answers of other cultures to the question, one of each in turn, as many as fit; which ones is drawn."""
    by_culture: dict[str, list[Item]] = defaultdict(list)
    removed = _removed(first.shelf)
    for other in first.shelf.row(first.number).get("others") or ():
        if other["culture"] != task.culture and other["sample_id"] not in removed:
            said = Item(other["sample_id"], other["culture"], source(first.shelf), first.question, other["response"])
            by_culture[other["culture"]].append(said)
    draw = random.Random(task.task_id)
    for items in by_culture.values():
        draw.shuffle(items)
    groups = list(by_culture.values())
    draw.shuffle(groups)
    return [item for turn in zip_longest(*groups) for item in turn if item is not None][: MOST - len(task.items)]


def _different(items: Sequence[Item]) -> Iterator[Item]:
    """The items without those that say what an earlier one says."""
    seen: set[str] = set()
    for item in items:
        if (said := _text(item.response)) not in seen:
            seen.add(said)
            yield item


def _text(text: str) -> str:
    return " ".join(text.casefold().split())
