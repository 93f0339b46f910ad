"""A release or a run, opened as the tables of its configs: from a folder, or by its name on the Hub."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
from datasets import Dataset

from caredio import cultures, features, runs
from caredio.errors import InputError
from caredio.publishing import hub
from caredio.publishing.record import RECORD
from caredio.publishing.scoring import Scoring
from caredio.runs import Run
from caredio.training import views

_NAME = re.compile(r"(?!\.)[\w.-]+/[\w.-]+(@[\w./-]+)?")
EVERY = "every"  # of a run, whose vectors are one table
# table of a run -> the view that a release makes of it
_OF_RUN = {"ranked": "", "scored": "pool", "preference": "preference", "unpaired": "unpaired"}


class Finding(NamedTuple):
    """What is not as it should be, where, and by which check it was found."""

    check: str
    place: str
    said: str

    def __str__(self) -> str:
        return f"{self.place}: {self.said}"


class Unchecked(NamedTuple):
    """Why a check, or the rest of it, cannot be made."""

    why: str


@dataclass(frozen=True)
class Released:
    """What is in a release, or in a run.

    Attributes:
        folder: where it lies; of a name on the Hub, the copy on this machine.
        record: release.json; of a run nothing.
        tables: (config, split) -> table. Of a run every row is in the split `train`.
        scoring: what its scores were made by; None where the release does not say.
        contrasted: whether rejected answers were given in contrast to the chosen ones, so that no other table holds
            them; None where the release does not say.
        unread: of the tables that cannot be read.
    """

    place: str
    folder: Path
    record: dict[str, Any]
    tables: dict[tuple[str, str], Dataset]
    scoring: Scoring | None
    contrasted: bool | None = None
    unread: list[Finding] = field(default_factory=list)

    @property
    def card(self) -> str | None:
        """The README.md; None of a run."""
        file = self.folder / "README.md"
        if not self.record or not file.is_file():
            return None
        return file.read_text(encoding="utf-8", errors="replace")

    def of(self, *wanted: str) -> Iterator[tuple[str, str, Dataset]]:
        """(config, split, table) of the views of these names: `pool`, ..., or "" for the ranked rows of a culture."""
        for (config, split), table in self.tables.items():
            if config != "all" and view(config) in wanted:
                yield config, split, table


def view(config: str) -> str:
    """What a config is of its culture: `pool` of `china-pool`, nothing of `china` and `all`."""
    return config.partition("-")[2]


def opened(place: Path | str) -> Released:
    """A release folder, a run folder, or a release on the Hub: `owner/name`, `owner/name@v1.0.0`.

    Raises:
        InputError: there is no such thing, or it is neither.
        EndpointError: the Hub does not give it.
    """
    folder = Path(place)
    if (folder / RECORD).is_file():
        return _release(str(place), folder)
    if (folder / "run.json").is_file():
        return _run(str(place), folder)
    if folder.exists():
        raise InputError(f"{place}: holds neither {RECORD} nor run.json; name a release, a run or owner/name@v1.0.0.")
    if not _NAME.fullmatch(str(place)):
        raise InputError(f"{place}: no such folder; name a release, a run, or owner/name@v1.0.0 on the Hub.")
    return _release(str(place), hub.named(str(place), whole=True).path)


def _release(place: str, folder: Path) -> Released:
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        kind, scored = record["kind"], record.get("scored")
        if kind not in ("dataset", "model"):
            raise ValueError(kind)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise InputError(
            f"{folder / RECORD}: is damaged; restore it, or release the run into another folder."
        ) from None
    tables: dict[tuple[str, str], Dataset] = {}
    unread = []
    for file in sorted(folder.glob("*/[!.]*.parquet")) if kind == "dataset" else []:
        try:
            tables[file.parent.name, file.stem] = runs.read([file])
        except (OSError, pa.ArrowException, ValueError, TypeError) as error:
            why = (str(error).splitlines() or [type(error).__name__])[0][:200]
            unread.append(Finding("files", f"{file.parent.name}/{file.name}", f"cannot be read ({why})"))
    return Released(place, folder, record, tables, Scoring.of_record(scored), record.get("contrasted"), unread)


def _run(place: str, folder: Path) -> Released:
    tables: dict[tuple[str, str], Dataset] = {}
    unread = []
    with Run(folder, create=False) as run:
        for stage in ("ranked", "scored", "vectors"):
            if stage not in run.stages:
                run.check(stage)
        for stage in (*_OF_RUN, "vectors"):
            try:
                found = run.table(stage) if stage in run.stages else None
            except InputError as error:
                unread.append(Finding("files", place, str(error).removeprefix(f"{folder / stage}: ")))
                continue
            if found is not None and stage == "vectors":
                tables[f"{EVERY}-vectors", "train"] = found
            elif found is not None:
                for culture, slug in cultures.slugs(found["culture"][:]).items():
                    name = f"{slug}-{_OF_RUN[stage]}".rstrip("-")
                    tables[name, "train"] = views.of_culture(found, culture)
        contrasted = views.settings_of(run)[1]
        return Released(place, folder, {}, tables, Scoring.of_run(run), contrasted, unread)


def columns_of(config: str, table: Dataset) -> features.Features:
    """The columns that features.py declares for a config."""
    declared = {"": features.RANKED, "pool": features.SCORED, "preference": features.PREFERENCE}
    declared["unpaired"] = features.UNPAIRED
    if view(config) in declared:
        return declared[view(config)]
    kind = table.features.get("response_embedding")
    return features.vectors(getattr(kind, "length", -1))
