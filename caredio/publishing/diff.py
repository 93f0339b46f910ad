"""Two releases, or runs, side by side: rows that were added, removed, changed or scored anew, by culture.

A changed row answers the same question as the same culture and has another sample_id; a row that is scored anew has the
same sample_id and another score, or another place among the rows that both have. Where a culture has several rows to a
question, they are paired in the order of rank.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow.parquet as pq

from caredio import disk, runs
from caredio.errors import InputError
from caredio.markdown import shortened
from caredio.publishing import record
from caredio.publishing.record import RECORD, VIEWS
from caredio.runs import Run

KINDS = ("added", "removed", "changed", "rescored")  # as they are counted
_LISTED = (("changed", "added", "removed"), ("rescored",))  # what a row says before what it scores
_WORDS = {"added": "added", "removed": "removed", "changed": "changed", "rescored": "scored anew"}
_COLUMNS = ("culture", "question_id", "sample_id", "rank", "score", "question", "response")
# of scores, relative and absolute: texts that are embedded in other batches have vectors of other last digits
_TOLERANCE = 1e-6
_FIRST = 3  # rows of each kind that are shown
# what release.json holds of what the publisher stated, and what it is called
_STATED = {
    "license": "licence",
    "attribution": "attribution",
    "terms": "terms",
    "reviewed_by": "reviewers",
    "authors": "authors",
    "test_share": "test share",
}
Schema = Mapping[str, Mapping[str, str]]  # view -> column -> type


class Row(NamedTuple):
    """What a row is known by, and what of it is shown."""

    culture: str
    question_id: str
    sample_id: str
    rank: int
    score: float
    question: str
    response: str
    split: str = ""  # of a release, within which it counts ranks; a run counts them over all


class Standing(NamedTuple):
    """Where a row stands in its culture; a split is None or empty where ranks count over all rows."""

    split: str | None
    rank: int | None
    score: float | None


@dataclass(frozen=True)
class Rows:
    """How the ranked rows of a culture differ: (before, after), of which an added row has no former."""

    added: list[tuple[None, Row]] = field(default_factory=list)
    removed: list[tuple[Row, None]] = field(default_factory=list)
    changed: list[tuple[Row, Row]] = field(default_factory=list)
    rescored: list[tuple[Row, Row]] = field(default_factory=list)

    def counts(self) -> dict[str, int]:
        """Kind -> rows; kinds without any are left out."""
        return {kind: len(getattr(self, kind)) for kind in KINDS if getattr(self, kind)}


@dataclass(frozen=True)
class Side:
    """One of the two: its name in messages, ranked rows by culture's slug, columns by view, and its configs."""

    name: str
    kind: str  # dataset or model
    rows: Mapping[str, list[Row]]
    schema: Schema
    configs: frozenset[str]
    files: Mapping[str, str]  # path -> sha256
    pairs: int | None = None  # None where it is not known
    splits: Mapping[str, int] | None = None  # ranked rows of each; None of a run, which has none
    stated: Mapping[str, Any] = field(default_factory=dict)  # of `_STATED`, what release.json holds


@dataclass(frozen=True)
class Diff:
    """How `after` differs from `before`; `str` of it is what `caredio diff` prints.

    Attributes:
        cultures: by slug, those whose ranked rows differ.
        new, gone: cultures that only one of them has.
        columns: sentences on columns that differ.
        configs_gone: configs that only `before` has.
        files: path -> added, removed or changed, of all files but release.json; of runs, of the ranked tables.
        pairs: how many preference pairs the two have; None where that is not known.
        described: sentences on splits, and on what the publisher stated, that differ.
    """

    before: str
    after: str
    cultures: dict[str, Rows]
    new: list[str]
    gone: list[str]
    columns: list[str]
    configs_gone: list[str]
    files: dict[str, str]
    pairs: tuple[int | None, int | None] = (None, None)
    described: Sequence[str] = ()

    @property
    def data_differs(self) -> bool:
        """Whether a table or weights differ, and not only what describes them."""
        return any(name.endswith((".parquet", ".safetensors")) for name in self.files)

    def lines(self) -> list[str]:
        """The changelog: a line on the whole, and one for each culture that differs."""
        total = {kind: sum(len(getattr(rows, kind)) for rows in self.cultures.values()) for kind in KINDS}
        head = _counted({kind: count for kind, count in total.items() if count}) or (
            "the ranked rows are the same" if self.data_differs else "the data is the same"
        )
        lines = [f"since {self.before}: {head}"]
        before, after = self.pairs
        lines += [f"pairs: {before:,} before, {after:,} now"] if None not in self.pairs and before != after else []
        lines += [f"{slug} is new: {_counted(self.cultures[slug].counts())}" for slug in self.new]
        lines += [f"{slug} is gone" for slug in self.gone]
        rest = {slug: rows for slug, rows in self.cultures.items() if slug not in (*self.new, *self.gone)}
        lines += [f"{slug}: {_counted(rows.counts())}" for slug, rows in rest.items()]
        return [*lines, *self.columns, *self.described]

    def __str__(self) -> str:
        shown = [
            line for kinds in _LISTED for slug, rows in self.cultures.items() for line in _examples(slug, rows, kinds)
        ]
        files = [f"  {what:<8} {name}" for name, what in self.files.items() if not self.cultures]
        return "\n".join([f"{self.before} -> {self.after}", *self.lines(), *shown, *files])


def compare(before: Path, after: Path, names: tuple[str, str] | None = None) -> Diff:
    """How the release or run in the folder `after` differs from that in `before`.

    Args:
        names: how the two are called; by default by version, or by folder.

    Raises:
        InputError: a folder holds neither, or one holds a dataset and the other a model.
    """
    old, new = side(before), side(after)
    if names:
        old, new = (replace(one, name=name) for name, one in zip(names, (old, new), strict=True))
    if old.kind != new.kind:
        raise InputError(f"{before} and {after}: one holds a dataset and the other a model; name two of a kind.")
    slugs = sorted({*old.rows, *new.rows})
    compared = {slug: _compared(old.rows.get(slug, []), new.rows.get(slug, [])) for slug in slugs}
    return Diff(
        old.name,
        new.name,
        {slug: rows for slug, rows in compared.items() if rows.counts()},
        [slug for slug in slugs if slug not in old.rows],
        [slug for slug in slugs if slug not in new.rows],
        list(_columns(old.schema, new.schema)),
        sorted(old.configs - new.configs),
        _files(old.files, new.files),
        (old.pairs, new.pairs),
        [*_splits(old.splits, new.splits), *_stated(old.stated, new.stated)],
    )


def side(folder: Path) -> Side:
    """What of a release or a run is compared.

    Raises:
        InputError: the folder holds neither.
    """
    if not (folder / RECORD).exists():
        return _run(folder)
    release = record.read(folder)
    configs = release.record.get("rows", {})
    paths = {
        name: [disk.named(folder, name) / f"{split}.parquet" for split in splits] for name, splits in configs.items()
    }
    rows = {
        name: [row for path in paths[name] for row in _rows(path, path.stem)]
        for name in record.ranked_configs(release.record)
    }
    files = release.record.get("files", {})
    found = release.record.get("columns") or schema(paths)
    kind = str(release.record.get("kind", "dataset"))
    pairs = sum(sum(splits.values()) for name, splits in configs.items() if view_of(name) == "preference")
    splits: Counter[str] = Counter(row.split for ranked in rows.values() for row in ranked)
    stated = {name: release.record[name] for name in _STATED if name in release.record}
    named = release.version or release.place
    return Side(named, kind, rows, found, frozenset(configs), files, pairs, splits, stated)


def _run(folder: Path) -> Side:
    if not (folder / "run.json").exists():
        raise InputError(
            f"{folder}: holds neither a release ({RECORD}) nor a run (run.json); name such a folder, or owner/name@tag."
        )
    with Run(folder, create=False) as run:
        run.check("ranked")
        pairs = run.stages.get("preference", {}).get("rows")
    files = sorted((folder / "ranked").glob("*.parquet"))
    rows = {file.stem: _rows(file) for file in files}
    hashes = {f"ranked/{disk.name(Path(file.name))}": runs.sha256([file]) for file in files}
    columns_of = schema({name: [folder / "ranked" / f"{name}.parquet"] for name in rows})
    return Side(folder.as_posix(), "dataset", rows, columns_of, frozenset(rows), hashes, pairs)


def _rows(path: Path, split: str = "") -> list[Row]:
    """The ranked rows of a file, which holds a split of a release.

    Raises:
        InputError: it cannot be read.
    """
    try:
        with path.open("rb") as content:
            table = pq.ParquetFile(content).read(columns=list(_COLUMNS), use_threads=False)  # as runs.read does
    except (OSError, ValueError) as error:  # Arrow's errors are such
        reason = " ".join(str(error).split())[:150]
        raise InputError(
            f"{path}: is missing or damaged ({reason}); restore it, or name another folder to release into."
        ) from None
    return [Row(**row, split=split) for row in table.to_pylist()]


def schema(paths: Mapping[str, Iterable[Path]]) -> dict[str, dict[str, str]]:
    """View -> column -> type, out of the files that are there."""
    found: dict[str, dict[str, str]] = {}
    for name, files in paths.items():
        view = view_of(name)
        if view not in found and (there := [file for file in files if file.exists()]):
            with there[0].open("rb") as content:
                found[view] = columns(pq.read_schema(content))
    return found


def columns(schema: Any) -> dict[str, str]:
    """Column -> type of an Arrow schema."""
    return {one.name: str(one.type) for one in schema}


def view_of(config: str) -> str:
    """The view that a config is: `ranked` (of a culture or all), preference, unpaired, pool or vectors."""
    view = config.rpartition("-")[2]
    return view if view in VIEWS and config != view else "ranked"


def _compared(before: Iterable[Row], after: Iterable[Row]) -> Rows:
    """How the rows of one culture differ."""
    old, new = ({row.sample_id: row for row in rows} for rows in (before, after))
    both = {name: (_standing(old[name]), _standing(new[name])) for name in new if name in old}
    anew = rescored(both)
    rows = Rows(rescored=[(old[name], new[name]) for name in both if name in anew])
    lost, gained = (
        _by_question(row for name, row in one.items() if name not in other) for one, other in ((old, new), (new, old))
    )
    for question in dict.fromkeys([*gained, *lost]):
        was, now = lost.get(question, []), gained.get(question, [])
        pairs = min(len(was), len(now))
        rows.changed.extend(zip(was, now, strict=False))
        rows.removed.extend((row, None) for row in was[pairs:])
        rows.added.extend((None, row) for row in now[pairs:])
    return rows


def rescored(both: Mapping[str, tuple[Standing, Standing]]) -> set[str]:
    """The rows of a culture that have another score, or another place among those that both sides have.

    A row that is added or removed moves no other, and ranks are compared within the splits of both sides, so that they
    need not count alike.

    Args:
        both: sample_id -> how the row stands before and after.
    """
    found = {name for name, (was, now) in both.items() if not _equal(was.score, now.score)}
    groups: dict[tuple[str | None, str | None], list[str]] = defaultdict(list)
    for name, (was, now) in both.items():
        groups[was.split, now.split].append(name)
    for names in groups.values():
        old, new = (sorted(names, key=lambda name: both[name][side].rank or 0) for side in (0, 1))
        found.update(one for one, other in zip(old, new, strict=True) if one != other)
    return found


def _equal(one: float | None, other: float | None) -> bool:
    """Whether two scores are one, but for the noise of arithmetic."""
    if one is None or other is None:
        return one is other
    return math.isclose(one, other, rel_tol=_TOLERANCE, abs_tol=_TOLERANCE)


def _standing(row: Row) -> Standing:
    return Standing(row.split, row.rank, row.score)


def _by_question(rows: Iterable[Row]) -> dict[str, list[Row]]:
    found = defaultdict(list)
    for row in sorted(rows, key=lambda row: row.rank):
        found[row.question_id].append(row)
    return found


def _columns(before: Schema, after: Schema) -> Iterator[str]:
    for view in sorted(before.keys() & after.keys()):
        old, new = before[view], after[view]
        for name in sorted({*old, *new}):
            if name not in old:
                yield f"columns of {view}: {name} is new"
            elif name not in new:
                yield f"columns of {view}: {name} is gone"
            elif old[name] != new[name]:
                yield f"columns of {view}: {name} is of another type"


def _splits(before: Mapping[str, int] | None, after: Mapping[str, int] | None) -> Iterator[str]:
    """Sentences on splits that have more or fewer rows."""
    if before is None or after is None:
        return
    for split in sorted({*before, *after}, reverse=True):
        counts = [f"{side[split]:,}" if side.get(split) else "none" for side in (before, after)]
        if counts[0] != counts[1]:
            yield f"rows of {split}: {counts[0]} before, {counts[1]} now"


def _stated(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    """Sentences on what the publisher stated otherwise; a text is named, and shown where it is short by its kind."""
    for name in (name for name in _STATED if name in before and name in after):
        if (old := before[name]) != (new := after[name]):
            short = name in ("license", "test_share")
            said = ["none" if one is None else str(one) if short else "one" for one in (old, new)]
            yield (
                f"{_STATED[name]}: another one"
                if said[0] == said[1]
                else (f"{_STATED[name]}: {said[0]} before, {said[1]} now")
            )


def _files(before: Mapping[str, str], after: Mapping[str, str]) -> dict[str, str]:
    kinds = {
        name: "added" if name not in before else "removed" if name not in after else "changed"
        for name in sorted({*before, *after})
        if before.get(name) != after.get(name)
    }
    return kinds


def _counted(counts: Mapping[str, int]) -> str:
    """Kinds in words: 3 rows added, 1 removed."""
    words = [f"{count:,} {_WORDS[kind]}" for kind, count in counts.items()]
    return ", ".join(words).replace(" ", f" {'row' if next(iter(counts.values()), 0) == 1 else 'rows'} ", 1)


def _examples(slug: str, rows: Rows, kinds: Iterable[str]) -> Iterator[str]:
    """The first rows of each of some kinds, on a line or two each."""
    for kind in kinds:
        pairs = getattr(rows, kind)
        for before, after in pairs[:_FIRST]:
            row = after or before
            yield f"  {slug}, {_WORDS[kind]}: {shortened(row.question)}"
            if kind == "rescored":
                yield f"      {_scores(before, after)}, {_ranks(before, after)}"
            else:
                yield from (
                    f"    {mark} {shortened(one.response)}" for mark, one in (("-", before), ("+", after)) if one
                )
        if len(pairs) > _FIRST:
            yield f"  {slug}, {_WORDS[kind]}: and {len(pairs) - _FIRST:,} more"


def _scores(before: Row, after: Row) -> str:
    """The score, or both, in as many digits as tell them apart."""
    if _equal(before.score, after.score):
        return f"score {_digits(after.score, 4)}"
    pairs = ((_digits(before.score, digits), _digits(after.score, digits)) for digits in range(4, 9))
    one, other = next(pair for pair in pairs if pair[0] != pair[1])
    return f"score {one} -> {other}"


def _digits(score: float | None, digits: int) -> str:
    return "none" if score is None else f"{score:.{digits}g}"


def _ranks(before: Row, after: Row) -> str:
    """The rank, or both, named by their splits where one side counts otherwise than the other."""
    if before.split != after.split:
        return " -> ".join(f"{row.split} rank {row.rank}".strip() for row in (before, after))
    ranks = dict.fromkeys((before.rank, after.rank))
    return f"{f'{after.split} rank'.strip()} {' -> '.join(map(str, ranks))}"
