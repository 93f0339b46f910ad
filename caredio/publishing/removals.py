"""Rows that were removed on request: they are in no release from then on.

A removed sample_id is kept in the run folder (`removed.txt`, an id a line) and in release.json. Nothing of its row is
in a release: not where it was ranked, in the pool or the vectors, nor where it stood beside other rows, in `others`,
`panel` or the rejected side of a pair. Scores of the rows that stay are those that the run computed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datasets import Dataset

from caredio import disk, tablefile
from caredio.errors import InputError
from caredio.training import style, views

FILE = "removed.txt"
_BESIDE = ("others", "panel")  # columns of other answers, each with a sample_id
_NAMED = 3  # unknown ids that a message names


@dataclass(frozen=True)
class LeftOut:
    """The sample_ids that a release leaves out.

    Attributes:
        rejected: those that raters rejected and nobody asked to remove.
        gone: those that are of the run, and would be in the release; the others are of other runs.
    """

    removed: Sequence[str] = ()
    rejected: Sequence[str] = ()
    gone: frozenset[str] = frozenset()


def read(file: Path) -> list[str]:
    """The sample_ids in a file: one a line, or the column `sample_id` of a parquet, csv, json or jsonl table.

    Raises:
        InputError: the file cannot be read, or holds none.
    """
    if file.suffix.lower() in tablefile.READERS:
        table, _ = tablefile.table(file)
        if "sample_id" not in table.names:
            raise InputError(f"{file}: has no column sample_id; found {', '.join(table.names)}.")
        cells = table.cells("sample_id")
    else:
        try:
            content = file.read_bytes()
        except OSError as error:
            raise InputError(f"{file}: cannot be read ({error.strerror}).") from None
        cells = tablefile.text(str(file), content).splitlines()
    found = list(dict.fromkeys(str(cell).strip() for cell in cells if cell is not None and str(cell).strip()))
    if not found:
        raise InputError(f"{file}: holds no sample_id; give one a line, or a table with that column.")
    return found


def remembered(out: Path) -> list[str]:
    """What was removed from the releases of a run, in order."""
    file = out / FILE
    return read(file) if file.exists() and file.read_bytes().strip() else []


def remember(out: Path, names: Iterable[str]) -> None:
    """Keep sample_ids in a run folder, beside those that are there."""
    before = remembered(out)
    if new := sorted(set(names) - set(before)):
        with disk.replacing(out / FILE) as content:
            content.write("".join(f"{name}\n" for name in sorted({*before, *new})).encode())


def named(pool: Dataset) -> frozenset[str]:
    """The sample_ids in a pool: of its rows, and of the answers beside them."""
    return frozenset((*pool["sample_id"][:], *(name for name, *_ in _beside(pool))))


def check(asked: Iterable[str], known: Collection[str], file: Path) -> None:
    """See that each sample_id is known: of the run or of the release that it is added to, or removed before.

    Raises:
        InputError: one is not; names the first.
    """
    if unknown := [name for name in asked if name not in known]:
        more = f" and {len(unknown) - _NAMED} more" if len(unknown) > _NAMED else ""
        raise InputError(
            f"{file}: {', '.join(map(repr, unknown[:_NAMED]))}{more} {'is' if len(unknown) == 1 else 'are'} no"
            " sample_id of this run; take them from the column sample_id of the release or the run."
        )


def without(tables: Mapping[str, Dataset], names: Iterable[str]) -> dict[str, Dataset]:
    """`ranked`, `scored`, `vectors` and `preference` without these sample_ids, ranked from 1 again.

    Raises:
        InputError: no ranked row is left.
    """
    removed = frozenset(names)
    if not removed:
        return dict(tables)
    pairs = tables["preference"]
    unwanted = _texts(tables["scored"], removed)
    sides = zip(pairs["rejected_culture"][:], pairs["question_id"][:], pairs["rejected"][:], strict=True)
    kept = [
        place
        for place, (culture, question, said) in enumerate(sides)
        if (culture, question, style.text(said)) not in unwanted
    ]
    ranked = views.ranked_anew(_cleared(tables["ranked"], removed))
    if not len(ranked):
        raise InputError("every ranked row is removed or rejected, so that nothing is left to release; keep some.")
    pool = _cleared(tables["scored"], removed)
    ranks = dict(zip(ranked["sample_id"][:], ranked["rank"][:], strict=True))
    return {
        **tables,
        "ranked": ranked,
        "scored": views.with_ranks(pool, [ranks.get(name) for name in pool["sample_id"][:]]),
        "vectors": _kept(tables["vectors"], removed),
        "preference": views.pairs_of(ranked, pairs.select(kept)),
    }


def see_none(pool: Dataset, names: Collection[str], place: str) -> None:
    """See that nothing removed stands in a pool that is to stay as it is.

    Raises:
        InputError: it does; names the first.
    """
    removed = frozenset(names)
    own = zip(pool["sample_id"][:], pool["culture"][:], strict=True)
    beside = ((name, culture) for name, culture, *_ in _beside(pool))
    found = next((one for one in (*own, *beside) if one[0] in removed), None) if removed else None
    if found:
        raise InputError(
            f"{place}: holds {found[0]} of {found[1]}, which is to be removed, in cultures that would stay as they are;"
            " remove it from that release first, by the run that it was made of, or publish all cultures from one run."
        )


def _kept(table: Dataset, removed: Collection[str]) -> Dataset:
    return table.select([row for row, name in enumerate(table["sample_id"][:]) if name not in removed])


def _cleared(table: Dataset, removed: Collection[str]) -> Dataset:
    """The rows that stay, without removed answers beside them."""
    table = _kept(table, removed)
    if not any(name in removed for name, *_ in _beside(table)):
        return table

    def cleared(row: dict[str, Any]) -> dict[str, Any]:
        return {
            column: row[column] and [one for one in row[column] if one["sample_id"] not in removed]
            for column in _BESIDE
        }

    return table.map(cleared, features=table.features, desc="removed answers")


def _beside(table: Dataset) -> Iterator[tuple[str, str, str, str]]:
    """(sample_id, culture, question_id, response) of every answer beside the rows."""
    for culture, question, others, panel in zip(
        *(table[column] for column in ("culture", "question_id", *_BESIDE)), strict=True
    ):
        yield from ((one["sample_id"], one["culture"], question, one["response"]) for one in others or ())
        yield from ((one["sample_id"], culture, question, one["response"]) for one in panel or ())


def _texts(pool: Dataset, removed: Collection[str]) -> set[tuple[str, str, str]]:
    """(culture, question_id, response) of what is removed, where no row that stays says the same."""
    own = zip(*(pool[column] for column in ("sample_id", "culture", "question_id", "response")), strict=True)
    gone: set[tuple[str, str, str]] = set()
    left: set[tuple[str, str, str]] = set()
    for name, culture, question, response in (*own, *_beside(pool)):
        (gone if name in removed else left).add((culture, question, response))
    return gone - left
