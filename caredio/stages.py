"""A stage declares once what it reads, writes, asks and is set by; what runs, fingerprints and checks it walks that."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from caredio import features, progress
from caredio.settings import Settings, counted, recorded

if TYPE_CHECKING:
    from datasets import Dataset, Features

    from caredio.llm.model import Model
    from caredio.runs import Run


@dataclass(frozen=True)
class Stage:
    """What a stage is.

    Attributes:
        name: by which settings name it, and of its table.
        reads: table -> the columns it reads of it, with spaces between.
        writes: the columns of its table; None where they depend on the data.
        prompts: the prompt files it uses.
        modules: which compute it; their constants count.
        split_by: column of cultures by which the table is written as one file each.
    """

    name: str
    reads: Mapping[str, str]
    writes: Features | None
    modules: tuple[str, ...]
    prompts: tuple[str, ...] = ()
    split_by: str | None = None

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
            extra: what else counts.

        Raises:
            InputError: every row was dropped; says why, and what to change.
        """
        made_from = self._made_from(rooms, model, source, after, extra)
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
            "prompt": self.prompts if model else (),
            "prompts_from": next((found for room in rooms if (found := getattr(room, "prompts", None))), None),
            "source": source,
            "code": [sys.modules[module] for module in self.modules],
        }
