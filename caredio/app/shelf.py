"""What is looked at: a run, a release or a release on the Hub, as one table of all its rows.

Nothing is locked or written. The table holds the short columns of every row, in the order they are listed; a row's
other columns are read from its file when it is opened. Files stay open, so a run that is made anew meanwhile changes
nothing here.
"""

from __future__ import annotations

import json
import re
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from caredio import features, packages
from caredio.errors import EndpointError, InputError
from caredio.runs import in_use

RUN, RELEASE = "run.json", "release.json"
SHORT = features.columns(
    "sample_id question_id culture language topic_id level question response generator round weight cluster"
    " cluster_size is_center representativeness distinctiveness compared score rank drop_reason"
)
STAGES = ("ranked", "scored", "candidates")  # where a row can stand; rejects have the stage that dropped them
ON_HUB = re.compile(r"(?P<name>[\w.-]+/[\w.-]+)(@(?P<revision>\S+))?")
# Hebrew points; Arabic's signs, and the line that only widens a word
_VOWELS = r"[\x{0591}-\x{05bd}\x{05bf}\x{05c1}\x{05c2}\x{05c4}\x{05c5}\x{05c7}\x{0640}\x{064b}-\x{0652}\x{0670}]+"
_SLUG = re.compile(r"[a-z][a-z0-9_]*")  # a config of a release without a view behind it
_LARGE = ("*-vectors/*", "*-preference/*", "*-unpaired/*", "all/*")  # what a list of rows does without


@dataclass(frozen=True)
class _File:
    """A Parquet file that stays open."""

    rows: pq.ParquetFile
    stage: str  # of its rows; "" where that depends on the row

    def short(self) -> pa.Table:
        """Its short columns; those it lacks are null."""
        there = [name for name in SHORT if name in self.rows.schema_arrow.names]
        read = self.rows.read(columns=there, use_threads=False)
        types = SHORT.arrow_schema
        cells = [
            read[name].cast(types.field(name).type) if name in there else pa.nulls(len(read), types.field(name).type)
            for name in SHORT
        ]
        return pa.table(cells, schema=types)

    def row(self, number: int) -> dict[str, Any]:
        """A row with all its columns."""
        group, before = 0, 0
        while number >= before + self.rows.metadata.row_group(group).num_rows:
            before += self.rows.metadata.row_group(group).num_rows
            group += 1
        return self.rows.read_row_group(group, use_threads=False).slice(number - before, 1).to_pylist()[0]


@dataclass(frozen=True)
class Shelf:
    """Rows to look at.

    Attributes:
        name: what the place is called: a folder, or owner/name@revision.
        folder: where its files lie.
        record: what run.json or release.json holds.
        rows: a row for each sample, best first: the columns of `SHORT`, and `key` (its name in a link), `stage`
            (ranked, scored or candidates; of a dropped row, the stage that dropped it), `split` (of a release: train
            or test), `file` and `line` (where the rest of it stands).
    """

    name: str
    folder: Path
    record: Mapping[str, Any]
    rows: pa.Table
    _files: Sequence[_File] = field(repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    @cached_property
    def _places(self) -> dict[str, int]:
        keys = self.rows["key"].to_pylist()
        return dict(zip(reversed(keys), range(len(keys) - 1, -1, -1), strict=True))

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def is_run(self) -> bool:
        """Whether it is a run folder, which holds more than a release."""
        return "stages" in self.record

    def place(self, key: str) -> int | None:
        """The number of the row with this key, or None."""
        return self._places.get(key)

    def row(self, number: int) -> dict[str, Any]:
        """A row with all columns of its file, and `key`, `stage` and `split`."""
        short = self.rows.slice(number, 1).to_pylist()[0]
        with self._lock:  # a file is read by one thread at a time
            whole = self._files[short["file"]].row(short["line"])
        return {**whole, **{name: short[name] for name in ("key", "stage", "split", *SHORT)}}

    def cells(self, numbers: Sequence[int] | np.ndarray, *names: str) -> list[dict[str, Any]]:
        """Short columns of some rows."""
        return self.rows.select(list(names)).take(pa.array(numbers, pa.int64())).to_pylist()

    def values(self, name: str) -> list[str]:
        """The different values of a column of text, sorted."""
        return sorted(value for value in pc.unique(self.rows[name]).to_pylist() if value)

    def of(self, **wanted: Any) -> np.ndarray:
        """The numbers of the rows that have these values in these columns; None asks for nothing."""
        mask = np.ones(len(self), bool)
        for name, value in wanted.items():
            if value is not None:
                mask &= pc.fill_null(pc.equal(self.rows[name], value), False).to_numpy()
        return mask.nonzero()[0]

    @cached_property
    def _texts(self) -> pa.ChunkedArray:
        both = (pc.fill_null(self.rows[name].cast(pa.large_string()), "") for name in ("question", "response"))
        return _alike(pc.binary_join_element_wise(*both, pa.scalar("\n", pa.large_string())))

    def search(self, text: str, **wanted: Any) -> np.ndarray:
        """The numbers of the rows whose question or response holds each word of `text`, in any case and normal form.

        Words in quotation marks are searched as they stand there. `wanted` is as `of` takes it.
        """
        found = self.of(**wanted)
        for quoted, word in re.findall(r'"([^"]+)"|(\S+)', text):
            among = self._texts.take(pa.array(found))
            found = found[pc.match_substring(among, _alike(pa.scalar(quoted or word)).as_py()).to_numpy()]
        return found

    @cached_property
    def vectors(self) -> tuple[list[str], np.ndarray]:
        """(keys, unit vectors of question and response) of the rows that have one; of none, no rows.

        Raises:
            InputError, EndpointError: they lie on the Hub, and cannot be fetched.
        """
        if (found := ON_HUB.fullmatch(self.name)) and not Path(self.name).exists():
            _fetched(found["name"], found["revision"], ["*-vectors/*"])
        files = sorted(self.folder.glob("vectors/*.parquet" if self.is_run else "*-vectors/*.parquet"))
        keys: list[str] = []
        parts: list[np.ndarray] = []
        for file in files:
            with file.open("rb") as content:
                read = pq.ParquetFile(content).read(["sample_id", "sample_embedding"], use_threads=False)
            here = pc.is_in(read["sample_id"], self.rows["key"].combine_chunks())
            read = read.filter(pc.and_(here, pc.is_valid(read["sample_embedding"]))).combine_chunks()
            if len(read):
                keys += read["sample_id"].to_pylist()
                parts.append(pc.list_flatten(read["sample_embedding"]).to_numpy().reshape(len(read), -1))
        if not parts:
            return [], np.empty((0, 0), np.float32)
        _, once = np.unique(np.array(keys), return_index=True)  # of a release, other cultures' too in each file
        return [keys[place] for place in once], np.concatenate(parts)[once]


def _alike(text: Any) -> Any:
    """Arrow text in one form, in lower case and without vowel signs.

    A letter and its marks may be one character or several, wide or narrow.
    """
    return pc.replace_substring_regex(pc.utf8_lower(pc.utf8_normalize(text, "NFKC")), _VOWELS, "")


def open(place: Path | str) -> Shelf:
    """The rows of a run folder, a release's folder, or `owner/name@tag` of a release on the Hub.

    Raises:
        InputError: there is nothing of that kind, or it holds no rows.
        EndpointError: the Hub cannot be reached, or refuses.
    """
    folder, name = Path(place), str(place)
    if not folder.exists():
        found = ON_HUB.fullmatch(name)
        if not found:
            raise InputError(f"{place}: is no run, no release and no owner/name of one on the Hub; check the name.")
        folder = _fetched(found["name"], found["revision"])
        if not (folder / RELEASE).exists():
            raise InputError(f"{place}: holds no release ({RELEASE} is missing); `caredio publish` makes one.")
    record = _record(folder)
    files = list(_run_files(folder, record) if (folder / RUN).exists() else _release_files(folder))
    parts = [_listed(file, number) for number, file in enumerate(files)]
    rows = pa.concat_tables([part for part in parts if len(part)] or [_empty()])
    if not len(rows):
        raise InputError(f"{place}: holds no rows to look at; run `caredio select --out {folder}` first.")
    if (folder / RUN).exists():
        return Shelf(name, folder, record, _ordered(rows), files)
    rows = _ordered(_replaced(rows, "split", _splits(folder, rows)))
    return Shelf(name, folder, record, _replaced(rows, "rank", _ranks(rows)), files)


def _record(folder: Path) -> dict[str, Any]:
    file = next((folder / name for name in (RUN, RELEASE) if (folder / name).is_file()), None)
    if file is None:
        raise InputError(f"{folder}: is no run and no release ({RUN} and {RELEASE} are missing); check the name.")
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
        if not isinstance(record, dict):
            raise ValueError(record)
    except (OSError, ValueError):
        raise InputError(f"{file}: is damaged; make the run or the release again.") from None
    if record.get("kind", "dataset") != "dataset":
        raise InputError(f"{folder}: is the release of a model, which holds no rows; name that of a dataset.")
    return record


def _run_files(folder: Path, record: Mapping[str, Any]) -> Iterator[_File]:
    """The pool, or the candidates where nothing is ranked yet, and what each stage dropped that they were made from."""
    for stage in ("scored", "candidates"):
        if files := sorted((folder / stage).glob("*.parquet")):
            yield from (_opened(file, "" if stage == "scored" else stage) for file in files)
            break
    used = in_use(record["stages"])
    for file in sorted(folder.glob("*/rejects/*.parquet")):
        if file.parts[-3] in used:
            yield _opened(file, file.parts[-3])


def _release_files(folder: Path) -> Iterator[_File]:
    """The pools; of a release without them, the splits."""
    pools = sorted(folder.glob("*-pool/*.parquet"))
    for file in pools or sorted(file for file in folder.glob("*/*.parquet") if _is_split(file)):
        yield _opened(file, "")


def _is_split(file: Path) -> bool:
    return bool(_SLUG.fullmatch(file.parent.name)) and file.parent.name != "all"


def _opened(file: Path, stage: str) -> _File:
    try:
        # pyarrow takes every name for UTF-8, whatever the locale
        return _File(pq.ParquetFile(file.open("rb")), stage)
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{file}: cannot be read ({' '.join(str(error).split())[:200]}); make it again.") from None


def _listed(file: _File, number: int) -> pa.Table:
    """A file's short columns, with where each row stands."""
    rows = file.short()
    of_pool = pc.if_else(pc.is_valid(rows["drop_reason"]), "scored", "ranked")
    stage = pa.array([file.stage] * len(rows)) if file.stage else of_pool
    lines = pa.array(np.arange(len(rows)))
    nameless = pa.array([f"{file.stage or 'row'}-{number}-{line}" for line in range(len(rows))])
    for name, cells in (
        ("key", pc.if_else(pc.is_in(stage, pa.array(STAGES)), pc.coalesce(rows["sample_id"], nameless), nameless)),
        ("stage", stage),
        ("split", pa.nulls(len(rows), pa.string())),
        ("file", pa.array([number] * len(rows), pa.int32())),
        ("line", lines),
    ):
        rows = rows.append_column(name, cells)
    return rows


def _empty() -> pa.Table:
    return pa.table({name: [] for name in SHORT})


def _splits(folder: Path, rows: pa.Table) -> pa.Array:
    """train or test of each ranked row of a release."""
    held_out: set[str] = set()
    for file in folder.glob("*/test.parquet"):
        if _is_split(file):
            with file.open("rb") as content:
                ids = pq.ParquetFile(content).read(["sample_id"], use_threads=False)["sample_id"]
                held_out.update(ids.to_pylist())
    ranked = pc.equal(rows["stage"], "ranked")
    test = pc.is_in(rows["sample_id"], pa.array(sorted(held_out), pa.string()))
    return pc.if_else(ranked, pc.if_else(test, "test", "train"), pa.scalar(None, pa.string())).combine_chunks()


def _ranks(rows: pa.Table) -> pa.Array:
    """Ranks of the rows of a release in order, as its splits count them; a pool counts over both."""
    counts: Counter[tuple[str, str]] = Counter()
    ranks = rows["rank"].to_pylist()
    for place, (culture, split) in enumerate(
        zip(*(rows[name].to_pylist() for name in ("culture", "split")), strict=True)
    ):
        if split is not None and ranks[place] is not None:
            counts[culture, split] += 1
            ranks[place] = counts[culture, split]
    return pa.array(ranks, rows["rank"].type)


def _replaced(rows: pa.Table, name: str, cells: pa.Array) -> pa.Table:
    return rows.set_column(rows.schema.get_field_index(name), name, cells)


def _ordered(rows: pa.Table) -> pa.Table:
    """Ranked rows by rank, then dropped ones by score, then what did not come so far."""
    order = {stage: place for place, stage in enumerate(STAGES)}
    stage = pa.array([order.get(stage, len(order)) for stage in rows["stage"].to_pylist()])
    keyed = rows.append_column("_stage", stage)
    places = pc.sort_indices(
        keyed,
        sort_keys=[("_stage", "ascending"), ("rank", "ascending"), ("score", "descending"), ("culture", "ascending")],
    )
    return rows.take(places).combine_chunks()


def _fetched(name: str, revision: str | None, patterns: Sequence[str] | None = None) -> Path:
    """The folder that a dataset on the Hub is kept in here, once its files are there.

    Args:
        patterns: what is fetched; by default all that a list of rows needs.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, RepositoryNotFoundError

    what = f"{name}{(revision and f'@{revision}') or ''}"
    left_out = list(_LARGE) if patterns is None else None
    wanted = None if patterns is None else list(patterns)
    try:
        folder = snapshot_download(
            name, repo_type="dataset", revision=revision, allow_patterns=wanted, ignore_patterns=left_out
        )
    except RepositoryNotFoundError:
        raise InputError(
            f"{what}: there is no such folder here, and no such dataset on the Hub; check the name."
        ) from None
    except LocalEntryNotFoundError:
        raise EndpointError(f"{what}: the Hub cannot be reached, and nothing of it is kept here; try again.") from None
    except HfHubHTTPError as error:
        reason = " ".join(str(error.server_message or error).split())[:200]
        raise EndpointError(f"{what}: the Hub refused ({reason}); check the name and HF_TOKEN.") from None
    except packages.unreachable(OSError, ValueError) as error:
        raise EndpointError(f"{what}: cannot be fetched from the Hub ({type(error).__name__}); try again.") from None
    return Path(folder)
