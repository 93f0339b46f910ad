"""Two runs or releases side by side: the same question in both, and what changed between them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import NamedTuple

from caredio.app.markup import badge, link, number, prose, table, text
from caredio.app.opened import placed
from caredio.app.shelf import Shelf
from caredio.publishing.diff import Standing, rescored

KINDS = ("changed", "added", "removed", "rescored", "same")
ROWS = 50  # of a page
_COLUMNS = ("culture", "question_id", "key", "language", "question", "response", "score", "rank", "split")


# (culture, question_id) -> key -> (number of the row, how it stands)
_Slots = dict[tuple[str, str], dict[str, tuple[int, Standing]]]


class Pair(NamedTuple):
    """A row of the first, of the second, or both, of one culture and question; numbers of rows."""

    kind: str
    culture: str
    before: int | None
    after: int | None


def pairs(before: Shelf, after: Shelf) -> list[Pair]:
    """The ranked rows of both (candidates where nothing is ranked), by culture and question.

    A sample that both hold is the same, or rescored; one that stands where another stood is changed.
    """
    old, new = _by_question(before), _by_question(after)
    anew = _rescored(old, new)
    found: list[Pair] = []
    for slot in dict.fromkeys([*new, *old]):
        was, now = old.get(slot, {}), new.get(slot, {})
        for key in was.keys() & now.keys():
            (one, _), (other, _) = was.pop(key), now.pop(key)
            found.append(Pair("rescored" if key in anew[slot[0]] else "same", slot[0], one, other))
        left = [place for place, _ in was.values()], [place for place, _ in now.values()]
        both = list(zip(*left, strict=False))
        found += [Pair("changed", slot[0], one, other) for one, other in both]
        found += [Pair("removed", slot[0], one, None) for one in left[0][len(both) :]]
        found += [Pair("added", slot[0], None, other) for other in left[1][len(both) :]]
    return sorted(found, key=lambda pair: KINDS.index(pair.kind))


def _by_question(shelf: Shelf) -> _Slots:
    stage = "ranked" if len(shelf.of(stage="ranked")) else "candidates"
    places = shelf.of(stage=stage)
    found: _Slots = defaultdict(dict)
    for place, row in zip(places.tolist(), shelf.cells(places, *_COLUMNS), strict=True):
        standing = Standing(row["split"], row["rank"], row["score"])
        found[row["culture"], row["question_id"]][row["key"]] = (place, standing)
    return found


def _rescored(old: _Slots, new: _Slots) -> dict[str, set[str]]:
    """Culture -> the keys in both whose score or rank differs."""
    both: dict[str, dict[str, tuple[Standing, Standing]]] = defaultdict(dict)
    for slot in old.keys() & new.keys():
        for key in old[slot].keys() & new[slot].keys():
            both[slot[0]][key] = (old[slot][key][1], new[slot][key][1])
    return {culture: rescored(standings) for culture, standings in both.items()}


def counts(found: list[Pair]) -> str:
    """The HTML of how many rows of each culture are of each kind."""
    tally: dict[str, dict[str, int]] = defaultdict(lambda: dict.fromkeys(KINDS, 0))
    for pair in found:
        tally[pair.culture][pair.kind] += 1
    rows = [[text(culture), *(number(of[kind]) for kind in KINDS)] for culture, of in sorted(tally.items())]
    return table(["culture", *KINDS], rows, "counts")


def listed(found: list[Pair], before: Shelf, after: Shelf) -> str:
    """The HTML of some pairs, each row beside the other."""
    rows = [
        [
            f"{badge(pair.kind, pair.kind)} {text(pair.culture)}",
            f'<div data-side="before">{_side(before, pair.before)}</div>',
            f'<div data-side="after">{_side(after, pair.after)}</div>',
        ]
        for pair in found
    ]
    return table(["", before.name, after.name], rows, "pairs")


def _side(shelf: Shelf, place: int | None) -> str:
    if place is None:
        return "–"
    (row,) = shelf.cells([place], *_COLUMNS)
    head = f"{placed(row)}, score {number(row['score'])}"
    return f"{link(row['key'], head)}{prose(row['question'], row['language'])}{prose(row['response'], row['language'])}"


def matching(
    found: list[Pair], before: Shelf, after: Shelf, kind: str | None, culture: str | None, words: str
) -> list[Pair]:
    """The pairs of a kind and a culture, one of whose rows holds the words."""
    there = [set(shelf.search(words).tolist()) if words else None for shelf in (before, after)]
    return list(_matching(found, kind, culture, there))


def _matching(found: list[Pair], kind: str | None, culture: str | None, there: list[set[int] | None]) -> Iterator[Pair]:
    for pair in found:
        right = kind in (None, pair.kind) and culture in (None, pair.culture)
        sides = zip((pair.before, pair.after), there, strict=True)
        if right and any(places is None or place in places for place, places in sides):
            yield pair
