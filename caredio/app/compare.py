"""Two runs or releases side by side: the same question in both, and what changed between them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator
from typing import NamedTuple

from caredio.app.markup import badge, link, number, prose, table, text
from caredio.app.opened import placed
from caredio.app.shelf import Shelf
from caredio.publishing.diff import Standing, rescored

KINDS = ("changed", "added", "removed", "rescored", "same")
ROWS = 50  # of a page
_COLUMNS = ("culture", "question_id", "key", "language", "question", "response", "score", "rank", "split")


# culture -> key -> (number of the row, its question_id, how it stands)
_Rows = dict[str, dict[str, tuple[int, str, Standing]]]


class Pair(NamedTuple):
    """A row of the first, of the second, or both, of one culture and question; numbers of rows."""

    kind: str
    culture: str
    before: int | None
    after: int | None


def pairs(before: Shelf, after: Shelf) -> list[Pair]:
    """The ranked rows of both (candidates where nothing is ranked), by culture.

    A sample that both hold is the same, or rescored, whatever its question is called; of the others, one that stands
    where another stood to the same question is changed. So `caredio diff` pairs them too.
    """
    old, new = _by_culture(before), _by_culture(after)
    found: list[Pair] = []
    for culture in dict.fromkeys([*new, *old]):
        was, now = old.get(culture, {}), new.get(culture, {})
        both = {key: (was[key][-1], now[key][-1]) for key in now if key in was}
        anew = rescored(both)
        found += [Pair("rescored" if key in anew else "same", culture, was[key][0], now[key][0]) for key in both]
        lost, gained = (_by_question(side, both) for side in (was, now))
        for question in dict.fromkeys([*gained, *lost]):
            left = lost.get(question, []), gained.get(question, [])
            changed = list(zip(*left, strict=False))
            found += [Pair("changed", culture, one, other) for one, other in changed]
            found += [Pair("removed", culture, one, None) for one in left[0][len(changed) :]]
            found += [Pair("added", culture, None, other) for other in left[1][len(changed) :]]
    return sorted(found, key=lambda pair: KINDS.index(pair.kind))


def _by_culture(shelf: Shelf) -> _Rows:
    stage = "ranked" if len(shelf.of(stage="ranked")) else "candidates"
    places = shelf.of(stage=stage)
    found: _Rows = defaultdict(dict)
    for place, row in zip(places.tolist(), shelf.cells(places, *_COLUMNS), strict=True):
        standing = Standing(row["split"], row["rank"], row["score"])
        found[row["culture"]][row["key"]] = (place, row["question_id"], standing)
    return found


def _by_question(rows: dict[str, tuple[int, str, Standing]], known: Collection[str]) -> dict[str, list[int]]:
    """question_id -> the rows to it that are not known."""
    found: dict[str, list[int]] = defaultdict(list)
    for key, (place, question, _) in rows.items():
        if key not in known:
            found[question].append(place)
    return found


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
