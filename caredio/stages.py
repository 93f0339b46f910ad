"""A stage declares once what it reads, writes, asks and is set by; runs, fingerprints, checks and plans follow that."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pyarrow as pa
from datasets.fingerprint import generate_random_fingerprint

from caredio import features, progress, prompts
from caredio.settings import Settings, counted, recorded

if TYPE_CHECKING:
    from datasets import Dataset, Features

    from caredio.cultures import Culture
    from caredio.llm.model import Model
    from caredio.llm.plan import Step
    from caredio.llm.spec import Spec
    from caredio.runs import Run
    from caredio.selection.settings import Settings as Selection
    from caredio.synthesis.settings import Settings as Synthesis
    from caredio.topics import Topic


@dataclass(frozen=True)
class Expected:
    """The rows that are expected of a table; of a culture, where the table has rows of each.

    `upper_bound`: rows at most. `others`, `panel`: how many answers of other cultures and of people there are to the
    question of a row; `shown`: how many of the others' are shown, and not compared with.
    `measured`: whether the rows' likelihoods as each culture are asked for while they are written.
    """

    rows: int
    upper_bound: int = 0
    culture: str = ""
    others: int = 0
    panel: int = 0
    shown: int = 0
    measured: bool = False

    @property
    def compared(self) -> int:
        """How many others' answers the answer to the question of a row is compared with."""
        return self.others - self.shown

    def times(self, number: int) -> Expected:
        """The rows of a table that has `number` of them for each of these."""
        return replace(self, rows=number * self.rows, upper_bound=number * self.upper_bound)


def in_all(parts: Iterable[Expected]) -> Expected:
    """The rows of all parts of a table."""
    parts = list(parts)
    return Expected(sum(part.rows for part in parts), sum(part.upper_bound for part in parts))


@dataclass(frozen=True)
class Planning:
    """What a stage's calls are counted from: settings, who is asked about what, and the rows of the tables before it.

    Attributes:
        rows: table -> the rows that are expected of it, one entry a culture where it has rows of each.
        candidates: the table of that name, where it is known already.
        evidence: the texts of the pieces of evidence.
        batch: whether a Batch API is asked.
    """

    spec: Spec
    settings: Synthesis
    selection: Selection
    targets: Sequence[Culture] = ()
    topics: Sequence[Topic] = ()
    cultures: Mapping[str, Culture] = field(default_factory=dict)
    rows: Mapping[str, Sequence[Expected]] = field(default_factory=dict)
    candidates: Dataset | None = None
    evidence: Sequence[str] = ()
    batch: bool = False


class Planned(NamedTuple):
    """The requests of a stage, as steps of a plan, and the rows that are expected of its table."""

    steps: Sequence[Step]
    rows: Sequence[Expected] = ()


@dataclass(frozen=True)
class Stage:
    """What a stage is.

    Attributes:
        name: by which settings name it, and of its table.
        reads: table -> the columns it reads of it, with spaces between.
        writes: the columns of its table; None where they depend on the data.
        prompts: the prompt files it uses, besides those of every stage that asks (`prompts.SHARED`).
        modules: which compute it; their constants count.
        split_by: column of cultures by which the table is written as one file each.
        calls: how often it asks a model, and for what, before it does; None where it asks none.
        writes_to: its table, where that has another name.
    """

    name: str
    reads: Mapping[str, str]
    writes: Features | None
    modules: tuple[str, ...]
    prompts: tuple[str, ...] = ()
    split_by: str | None = None
    calls: Callable[[Planning], Planned] | None = field(default=None, metadata={"counts": False})
    writes_to: str = field(default="", metadata={"counts": False})

    def table(self, dataset: Dataset, name: str) -> Dataset:
        """The rows of a table that it reads which were not dropped before.

        Raises:
            InputError: a column that it reads is missing, or no row is left.
        """
        columns = features.columns(self.reads[name])
        return features.require(dataset, columns, f"stage {self.name}, table {name}")

    def run(
        self,
        run: Run,
        compute: Callable[[], Dataset | tuple[Dataset, dict[str, Any]]],
        rooms: Sequence[Settings] = (),
        *,
        table: str = "",
        model: Model | None = None,
        source: str | dict[str, Any] = "",
        after: Sequence[str] | None = None,
        prompts: Sequence[str] = (),
        **extra: Any,
    ) -> Dataset:
        """Its table in a run: read when nothing that counts has changed, else computed and written.

        Args:
            compute: makes the table, dropped rows included; may return a report for run.json beside it.
            rooms: the settings, of which it reads its own.
            table: its folder, where that has another name than the stage.
            model: the model it asks.
            source: hash of other input, or a description that holds it.
            after: the tables it was made from, where they have other names.
            prompts: the prompt files it uses beside its own.
            extra: what else counts.

        Raises:
            InputError: every row was dropped; says why, and what to change.
        """
        made_from = self._made_from(rooms, model, source, after, extra)
        if model:
            made_from["prompt"] = (*made_from["prompt"], *prompts)
        with progress.stage(self.name):
            return run.stage(table or self.name, compute, split_by=self.split_by, **made_from)

    def holds(
        self,
        run: Run,
        table: str,
        rooms: Sequence[Settings] = (),
        *,
        source: str | dict[str, Any] = "",
        after: Sequence[str] | None = None,
    ) -> bool:
        """Whether a finished table of a run was made as `run` with the same arguments would make it."""
        return run.holds(table, **self._made_from(rooms, None, source, after, {}))

    def _made_from(
        self,
        rooms: Sequence[Settings],
        model: Model | None,
        source: str | dict[str, Any],
        after: Sequence[str] | None,
        extra: Mapping[str, Any],
    ) -> dict[str, Any]:
        return {
            "columns": self.writes,
            "model": model,
            "after": list(self.reads if after is None else after),
            "config": {**recorded(self.name, rooms), **extra},
            "counts": {**counted(self.name, rooms), **extra},
            "prompt": (*self.prompts, *prompts.SHARED) if model else (),
            "prompts_from": next((found for room in rooms if (found := getattr(room, "prompts", None))), None),
            "source": source,
            "code": [sys.modules[module] for module in self.modules],
        }


def fan_out(
    dataset: Dataset, rows_of: Callable[[dict[str, Any]], Iterable[Mapping[str, Any]]], columns: Features, desc: str
) -> Dataset:
    """The rows that `rows_of` makes of each row, in order, as a table of `columns`: a batched map, held in memory.

    Its fingerprint is drawn, as what the function uses (all cultures, another table) need not be hashed.
    """
    if not len(dataset):
        return features.table([], columns)

    def batch(given: Mapping[str, list[Any]]) -> dict[str, list[Any]]:
        cells = dict(given)
        rows = [
            made
            for values in zip(*cells.values(), strict=True)
            for made in rows_of(dict(zip(cells, values, strict=True)))
        ]
        return {name: [row.get(name) for row in rows] for name in columns}

    with tempfile.TemporaryDirectory(prefix="caredio-", ignore_cleanup_errors=True) as folder:
        # by way of a file, as a table that is written to memory takes twice its size
        file = str(Path(folder, "rows.arrow"))
        dataset.map(
            batch,
            batched=True,
            remove_columns=dataset.column_names,
            features=columns,
            load_from_cache_file=False,
            cache_file_name=file,
            new_fingerprint=generate_random_fingerprint(),
            desc=desc,
        )
        with pa.OSFile(file) as written:
            return features.in_memory(pa.ipc.open_stream(written).read_all())


def planned(stages: Iterable[Stage], planning: Planning) -> tuple[list[Step], Planning]:
    """The steps of `stages` in their order, each planned with the rows of those before it; and all of these rows."""
    steps: list[Step] = []
    for stage in stages:
        if stage.calls:
            asked, rows = stage.calls(planning)
            steps += [replace(step, made_by=stage.name) for step in asked]
            planning = replace(planning, rows={**planning.rows, stage.writes_to or stage.name: rows})
    return steps, planning
