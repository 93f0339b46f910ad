"""A run folder: every stage's table, and `run.json`, which says what they were made from.

    runs/x/run.json                 configuration, versions, counts, drops, tokens, cost: one entry per stage; the
                                    cultures, topics and prompts that were used; what all commands spent
    runs/x/<stage>/*.parquet        the stage's table
    runs/x/<stage>/rejects/*.parquet   the rows it gave up, with drop_reason
    runs/x/prompts/*.txt            the prompts that were used, for later commands; a file that is changed counts
    runs/x/.new/<stage>/            a table that waits to take the place of another

A stage whose fingerprint is that of a finished entry is read, not run. The fingerprint is of what changes its result
alone (fingerprints.py): its inputs' hashes, settings, module constants, contents of files, the model's Spec, its prompt
files, the package's version.

A table is written beside the old one. Where it would replace a table that can be read, it waits until the command has
ended well, and all that waits takes its place together: a command that fails leaves the run as it was, and goes on from
what waits when it is run again. `run.json` names the tables that are being moved, so that a command that was killed
meanwhile is completed by the next.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import platform
import shutil
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, is_dataclass
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import yaml
from datasets import Dataset, Features
from filelock import FileLock, Timeout

from caredio import cultures as culture_files
from caredio import disk, features, fingerprints, journal, packages, prompts, reasons
from caredio import topics as topic_files
from caredio.cultures import Culture
from caredio.errors import InputError
from caredio.journal import Journal
from caredio.llm.limits import Budget
from caredio.llm.model import Model
from caredio.synthesis.pipeline import STAGES
from caredio.topics import Topic

log = logging.getLogger("caredio")

_ROWS = 10_000  # of a row group, which is encoded at once
_PART = 1 << 20  # bytes hashed at once
_NEW = ".new"
PROMPTS = "prompts"
_SYNTHESIZED = tuple(stage.writes_to or stage.name for stage in STAGES)
# table -> command; else select
_WRITTEN_BY = dict.fromkeys(_SYNTHESIZED, "synthesize") | {"results": "evaluate", "rated": "prefer"}


def version() -> str:
    """The installed version of this package."""
    return metadata.version("caredio")


def behind(stages: Mapping[str, Any], *names: str) -> dict[str, Any]:
    """The entries in run.json of stages and of all that their tables were made from, in the order they ran."""
    found, waiting = set(names), list(names)
    while waiting:
        inputs = [stage for stage in stages[waiting.pop()]["made_from"]["inputs"] if stage in stages.keys() - found]
        found.update(inputs)
        waiting += inputs
    return {stage: entry for stage, entry in stages.items() if stage in found}


def in_use(stages: Mapping[str, Any]) -> dict[str, Any]:
    """The entries in run.json without those of a synthesis that its candidates and pairs were not made from.

    Such tables stand in a run that was built again with a step left out; a build with it takes them up.
    """
    if "candidates" not in stages:
        return dict(stages)
    return behind(stages, "candidates", *(name for name in stages if name not in _SYNTHESIZED))


class Run:
    """A run folder held by this process; a second process is refused.

    `stages` are the entries of the tables that can be read here: those that stand in the folder and, in their place,
    those of this command that wait.
    """

    def __init__(self, out: Path | str, create: bool = True) -> None:
        """Open the folder; `create` makes one that is not there, else it is as one without tables.

        Raises:
            InputError: it cannot be written, another process works in it, or its run.json is damaged.
        """
        self.path = Path(out)
        self._file = self.path / "run.json"
        self._new = self.path / _NEW
        self._lock: FileLock | None = None
        if create or self.path.exists():
            self._acquire()
        try:
            self._open()
        except BaseException:
            self._release()
            raise

    def _acquire(self) -> None:
        lock = FileLock(self.path / ".lock")
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            lock.acquire(timeout=0)
        except Timeout:
            raise InputError(
                f"{self.path}: another process is working here; wait, or name another run folder."
            ) from None
        except OSError as error:
            raise InputError(f"{self.path}: cannot be written ({error.strerror}); name another run folder.") from None
        self._lock = lock

    def _release(self) -> None:
        if self._lock:
            self._lock.release()

    def _open(self) -> None:
        """Read the record, and complete what a killed command was moving."""
        record = _record(self._file)
        self._standing: dict[str, Any] = record["stages"]
        self._spending: dict[str, Any] = record.get("spending", journal.NOTHING)
        self._budget: Budget | None = None
        self._kept_used: dict[str, Any] = record.get("used", {})
        for stage in record.get("moving", ()):
            self._move(stage)
        if record.get("moving"):
            self._save()
        self._add_spending()  # of a command that was killed
        self._beside: dict[str, Any] = _waiting(self._new / "run.json")
        self._held: list[str] = []  # stages of this command that wait
        self._touched: set[str] = set()  # stages of this command
        self._prompts_used: dict[str, str] = {}  # texts of the prompts of this command
        self._checked: set[tuple[Path, str]] = set()  # folders whose files were compared with their hash
        self.stages = dict(self._standing)
        self.used = dict(self._kept_used)

    def __enter__(self) -> Run:
        return self

    def __exit__(self, kind: type[BaseException] | None, *exc: object) -> None:
        try:
            self._end_spending()
            if kind is None:
                if self._held or self.used != self._kept_used:
                    self._keep_used()
                    self._settle(self._held)
                self._clean()
        finally:
            self._release()

    def charge(self, budget: Budget) -> None:
        """Write down what `budget` spends from now on, as it happens; run.json adds up the commands on this run.

        Raises:
            InputError: another run is charged with it at this moment.
        """
        if self._budget is None and self._lock:
            if budget.journal is not None:
                raise InputError(
                    f"{budget.journal.path.parent}: is charged with what this Endpoint spends until its command ends;"
                    " give each run that goes on at the same time an Endpoint of its own."
                )
            self._budget = budget
            budget.journal = Journal(journal.file_of(self._spending, self.path))

    def _end_spending(self) -> None:
        if self._budget and self._budget.journal:
            self._budget.journal.close()
            self._budget.journal = None
        charged, self._budget = self._budget is not None, None
        self._add_spending()
        if charged and (models := self._spending["models"]):
            calls, tokens, dollars = journal.totals(models)
            cost = "" if dollars is None else f", ${dollars:,.4f}"
            log.info("spent by all commands on this run: %s calls, %s tokens%s", f"{calls:,}", f"{tokens:,}", cost)

    def _add_spending(self) -> None:
        if (total := journal.added(self._spending, self.path)) != self._spending:
            self._spending = total
            self._save()
        journal.remove(total, self.path)

    def table(self, stage: str) -> Dataset:
        """The table a finished stage wrote.

        Raises:
            InputError: there is none, or what it was made from is no longer what stands there, all the way down.
        """
        self.check(stage)
        return features.current(read(self._files(stage)))

    def rejects(self, stage: str) -> list[Path]:
        """The files of the rows that a finished stage dropped; none where it dropped none, or keeps them."""
        folder = (self._new if stage in self._held else self.path) / stage / "rejects"
        return sorted(folder.glob("*.parquet"))

    def check(self, stage: str) -> None:
        """See that a table can be read. Raises as `table` does."""
        if wrong := self._wrong(stage):
            raise InputError(wrong)

    def _wrong(self, stage: str, standing: bool = False) -> str | None:
        """Why a table cannot be read, as a sentence; of several reasons the one furthest up the line.

        Args:
            standing: look at what stands in the folder alone, not at what waits.
        """
        stages, files = (self._standing if standing else self.stages), self._files(stage, standing)
        entry, folder = stages.get(stage), self.path / stage
        if entry is None or not files:
            return f"{folder}: no finished {stage} table; run {self._command(stage)} first."
        for source, sha in entry["made_from"]["inputs"].items():
            if wrong := self._wrong(source, standing):
                return wrong
            if stages[source]["sha256"] != sha:
                return (
                    f"{folder}: is out of date, as it was made from other {source} than stand here now; run"
                    f" {self._command(stage)} again."
                )
        if (files[0].parent, entry["sha256"]) not in self._checked and sha256(files) != entry["sha256"]:
            return f"{folder}: holds other files than run.json records; run {self._command(stage)} again."
        self._checked.add((files[0].parent, entry["sha256"]))
        return None

    def _command(self, stage: str) -> str:
        """The command that writes a stage."""
        if stage == "candidates" and (table := self._table_name()) is not None:
            return f"`caredio select {table or 'TABLE'} --out {self.path}`"
        return f"`caredio {_WRITTEN_BY.get(stage, 'select')} --out {self.path}`"

    def _files(self, stage: str, standing: bool = False) -> list[Path]:
        waits = stage in self._held and not standing
        return sorted(((self._new if waits else self.path) / stage).glob("*.parquet"))

    def _table_name(self) -> str | None:
        """The table that the candidates were made of; None where they were synthesised, or there are none."""
        entry = self.stages.get("candidates")
        if entry is None or entry["made_from"]["inputs"]:
            return None
        return str((entry["made_from"].get("source") or {}).get("table", ""))

    def claim(self, source: Mapping[str, Any] | None) -> None:
        """See that the run's candidates may be replaced by those of a table (`source`, its record) or, None, by ours.

        The same table with other content may: what was made from it is then out of date. So may one with other name and
        the same content.

        Raises:
            InputError: they come from elsewhere.
        """
        if "rated" in self.stages:
            raise InputError(f"{self.path}: holds what `caredio prefer` made of rated responses; name another --out.")
        table = self._table_name()
        if table is None and not any(stage in self.stages for stage in _SYNTHESIZED):
            return
        if table is None and source is None:
            return
        if table is not None and source is not None:
            before = self.stages["candidates"]["made_from"].get("source") or {}
            there = [(one.get("table"), one.get("place", source.get("place"))) for one in (source, before)]
            named = "place" in source or "commit" in source  # a table in memory is known by its content alone
            if (named and there[0] == there[1]) or source.get("sha256", 0) == before.get("sha256", 1):
                return
        holds = "what `caredio synthesize` wrote" if table is None else f"the candidates of {table or 'a table'}"
        raise InputError(f"{self.path}: holds {holds}, which this command would replace; name another run folder.")

    def cultures(self, file: Path | str | None = None) -> dict[str, Culture]:
        """The cultures that the run was built with, by slug; of a run that has none, the shipped ones.

        Args:
            file: YAML of cultures that the run does not know.

        Raises:
            InputError: the file changes a culture of the run.
        """
        own, known = _cultures(self.used), culture_files.load(file)
        shipped = culture_files.load() if own else {}
        for slug in own.keys() & known.keys():
            if known[slug] not in (shipped.get(slug), own[slug]):
                raise InputError(
                    f"{file}: {slug!r} differs from what {self.path} was built with; leave it out, or build with the"
                    " file in another run folder."
                )
        return {**known, **own}

    def use(self, cultures: Mapping[str, Culture], topics: Mapping[str, Topic] | None = None) -> None:
        """Record what later commands on this run take the cultures and topics from."""
        self.used["cultures"] = _plain([asdict(culture) for culture in cultures.values()])
        if topics is not None:
            self.used["topics"] = [asdict(topic) for topic in topics.values()]

    def report(self) -> dict[str, Any]:
        """Stage -> rows, what was dropped and why, seconds, usage and cost, and what else the stage reports."""
        left_out = ("fingerprint", "made_from", "sha256", "complete")
        return {
            name: {key: value for key, value in entry.items() if key not in left_out}
            for name, entry in self.stages.items()
        }

    @property
    def spending(self) -> dict[str, Any]:
        """What all commands on this run spent: `models` has a row for each model and price."""
        return self._spending

    def hashes(self) -> dict[str, str]:
        """Stage -> the hash of its table."""
        return {name: entry["sha256"] for name, entry in self.stages.items()}

    def holds(self, name: str, **made_from: Any) -> bool:
        """Whether a finished stage was made as `stage`, given the same, would make it."""
        return self._holds(name, self._made_from(**made_from)[1])

    def _holds(self, name: str, fingerprint: str) -> bool:
        entry = self.stages.get(name)
        return bool(
            entry
            and entry["fingerprint"] == fingerprint
            and entry["complete"]
            and sha256(self._files(name)) == entry["sha256"]
        )

    def stage(
        self,
        name: str,
        compute: Callable[[], Dataset | tuple[Dataset, dict[str, Any]]],
        *,
        columns: Features | None = None,
        split_by: str | None = None,
        model: Model | None = None,
        grows: bool = False,
        **made_from: Any,
    ) -> Dataset:
        """The stage's table: read when its fingerprint is unchanged, else computed and written.

        Args:
            name: the stage's folder.
            compute: makes the table, dropped rows included; may return a report for run.json beside it.
            columns: the table's Features; None takes the table's own.
            split_by: column of cultures by which the table is written as one file each, with a README that makes every
                culture's slug a config of `load_dataset`.
            model: the model it asks.
            grows: the table holds all of the one before, and takes its place even if the command fails later.
            made_from: what it is made from besides; see `_made_from`.

        Raises:
            InputError: every row was dropped; says why, and what to change.
        """
        record, fingerprint = self._made_from(columns=columns, model=model, **made_from)
        self._touched.add(name)
        if self._holds(name, fingerprint) or self._take_up(name, fingerprint):
            self.use_prompts(record["prompts"], made_from.get("prompts_from"))
            entry = self.stages[name]
            log.info("%-10s %6d rows, unchanged", name, entry["rows"])
            reasons.require_left(name, entry["rows"], entry["dropped"])
            return read(self._files(name))
        started = time.monotonic()
        if model:
            model.take_usage()
        made = compute()
        table, report = made if isinstance(made, tuple) else (made, {})
        del made  # a whole dataset's answers need not be held twice
        dropped = features.rejected(table)
        drops = Counter(dropped["drop_reason"][:]) if len(dropped) else Counter()
        pool = columns is not None and "drop_reason" in columns  # a table that keeps what was dropped
        if not pool:
            table = features.kept(table)
        if columns is not None:
            table = features.conform(table, columns)
        folder = self._new / name
        shutil.rmtree(folder, ignore_errors=True)
        files = _write(table, folder, name, split_by)
        if len(dropped) and not pool:
            _write(dropped, folder / "rejects", name, None)
        usage = model.take_usage() if model else None
        rows = len(table)
        del table, dropped
        self._beside[name] = {
            "fingerprint": fingerprint,
            "complete": not (usage and usage.failed),
            "rows": rows,
            "dropped": dict(sorted(drops.items())),
            "sha256": sha256(files),
            "seconds": round(time.monotonic() - started, 1),
            **({"usage": {**asdict(usage), "cost_usd": model.cost(usage)}} if model and usage else {}),
            **report,
            "made_from": record,
        }
        self._save_beside()
        self.use_prompts(record["prompts"], made_from.get("prompts_from"))
        self._place(name, grows)
        log.info("%-10s %6d rows%s in %.0f s", name, rows, _drops_in_words(drops), time.monotonic() - started)
        reasons.require_left(name, rows, drops)  # the rejects stand in the folder
        return read(self._files(name))

    def _made_from(
        self,
        columns: Features | None = None,
        after: Sequence[str] = (),
        config: Any = None,
        counts: Any = None,
        model: Model | None = None,
        prompt: str | Sequence[str] = (),
        prompts_from: str | None = None,
        source: str | dict[str, Any] = "",
        code: Sequence[ModuleType] = (),
    ) -> tuple[dict[str, Any], str]:
        """What a stage is made from, for run.json, and the fingerprint of what of it changes the result.

        Args:
            columns: the table's Features.
            after: stages whose tables it reads.
            config: its settings, for the record.
            counts: what of them changes its result; by default all.
            model: the model it asks.
            prompt: the prompt file it uses, or several.
            prompts_from: the folders that they are taken from first.
            source: hash of other input, alone or in a description of it.
            code: modules that compute it, whose constants count.
        """
        asked = [prompts.load(name, prompts_from) for name in ([prompt] if isinstance(prompt, str) else prompt)]
        seed = {"seed": model.seed} if model and model.seed else {}
        spec = {**asdict(model.spec), **seed} if model else None
        made_from = {
            "inputs": {stage: self.stages[stage]["sha256"] for stage in after},
            "source": source,
            "config": _plain(config),
            "model": spec,
            "prompt": [one.sha for one in asked],
            "version": version(),
        }
        known_by = source
        if isinstance(source, dict) and "sha256" in source:  # whatever the file is called, and wherever it lies
            known_by = {key: value for key, value in source.items() if key not in ("table", "place")}
        hashed = {
            **made_from,
            "source": known_by,
            "config": fingerprints.counted(config if counts is None else counts),
            "prompt": prompts.counting(asked),
            "model": fingerprints.counted({**model.spec.as_stored(), **seed}) if model else None,
            "columns": repr(columns),
            "constants": fingerprints.constants([*code, *_answering(model)]),
            "weights": [module.weights() for module in _answering(model) if hasattr(module, "weights")],
        }
        fingerprint = hashlib.sha256(json.dumps(hashed, sort_keys=True).encode()).hexdigest()
        own = [one.name for one in asked if not one.shipped]
        return made_from | {"prompts": [one.name for one in asked], "own_prompts": own}, fingerprint

    def use_prompts(self, names: Iterable[str], folders: str | None) -> None:
        """Record the texts of the prompts that were used, which later commands on this run take."""
        texts = {name: prompts.load(name, folders).text for name in names}
        if texts:
            self._prompts_used |= texts
            self.used["prompts"] = {**self.used.get("prompts", {}), **texts}

    def _keep_used(self) -> None:
        """Let later commands know what this one used: its prompts as files, which a user may change."""
        self._kept_used = dict(self.used)
        if self._prompts_used:
            prompts.keep(self.path / PROMPTS, self._prompts_used)

    def _take_up(self, name: str, fingerprint: str) -> bool:
        """Take up a table that waits since a command that failed, if it is what is wanted."""
        entry = self._beside.get(name)
        if not entry or entry["fingerprint"] != fingerprint or not entry["complete"]:
            return False
        if sha256(sorted((self._new / name).glob("*.parquet"))) != entry["sha256"]:
            return False
        self._place(name)
        return True

    def _place(self, name: str, grows: bool = False) -> None:
        """Put a new table where its stage's stands, or let it wait where that would make a table unreadable."""
        entry, old = self._beside[name], self._standing.get(name)
        loses = not grows and old and old["sha256"] != entry["sha256"] and not self._wrong(name, standing=True)
        self.stages[name] = entry
        if loses or any(stage in self._held for stage in entry["made_from"]["inputs"]):
            self._held += [] if name in self._held else [name]
            return
        if not self._kept_used:
            self._keep_used()
        self._settle([name])

    def _settle(self, stages: Iterable[str]) -> None:
        """Let new tables take their places: all of them, if need be once the next command opens the folder."""
        stages = list(stages)
        self._standing |= {stage: self._beside[stage] for stage in stages}
        self._save(moving=stages)
        for stage in stages:
            self._move(stage)
        self._held = [stage for stage in self._held if stage not in stages]
        if stages:
            self._save()

    def _clean(self) -> None:
        """Remove what waits of the stages that this command has dealt with."""
        for stage in self._touched & self._beside.keys():
            shutil.rmtree(self._new / stage, ignore_errors=True)
            del self._beside[stage]
        if not self._beside:
            shutil.rmtree(self._new, ignore_errors=True)
        elif self._touched:
            self._save_beside()

    def _move(self, stage: str) -> None:
        new, folder, old = self._new / stage, self.path / stage, self._new / f"{stage}.old"
        if new.exists():
            shutil.rmtree(old, ignore_errors=True)
            with disk.writing(folder):
                if folder.exists():
                    os.replace(folder, old)
                os.replace(new, folder)
        shutil.rmtree(old, ignore_errors=True)

    def _save_beside(self) -> None:
        _replace(self._new / "run.json", json.dumps({"stages": self._beside}, ensure_ascii=False) + "\n")

    def _save(self, moving: Sequence[str] = ()) -> None:
        record = {
            "caredio": version(),
            "python": platform.python_version(),
            "packages": packages.versions("datasets", "transformers", "torch", "openai"),
            "stages": self._standing,
            "used": self._kept_used,
            "spending": self._spending,
            **({"moving": list(moving)} if moving else {}),
        }
        _replace(self._file, json.dumps(record, indent=2, ensure_ascii=False) + "\n")


def known(
    out: Path | str | None, cultures_file: Path | str | None = None, topics_file: Path | str | None = None
) -> tuple[dict[str, Culture], dict[str, Topic]]:
    """All cultures and topics that a synthesis into `out` knows: the shipped ones and a file's.

    Without a file they are those that the run in `out` was built with, where there is one.

    Raises:
        InputError: a file is not what was wanted, or the run's record is damaged.
    """
    used = _record(Path(out) / "run.json").get("used", {}) if out is not None else {}
    cultures, topics = _cultures(used), _topics(used)
    return (
        culture_files.load(cultures_file) if cultures_file or not cultures else cultures,
        topic_files.load(topics_file) if topics_file or not topics else topics,
    )


def prompt_folders(out: Path | str | None, given: str | None) -> str | None:
    """Where a command on a run takes its prompts from: the folders it was given, then those of the run."""
    own = Path(out) / PROMPTS if out is not None else None
    return prompts.JOIN.join(filter(None, (given, str(own) if own and own.is_dir() else ""))) or None


def _record(file: Path) -> dict[str, Any]:
    """What run.json holds; of none, no stages.

    Raises:
        InputError: it is damaged.
    """
    if not file.exists():
        return {"stages": {}}
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
        for stage, entry in record["stages"].items():
            entry["fingerprint"], entry["complete"], entry["rows"], entry["sha256"]
            entry["made_from"]["inputs"].items()
            if isinstance(entry["made_from"].get("source"), dict) and "config" in entry["made_from"]["source"]:
                entry["made_from"]["source"]["dataset_config"] = entry["made_from"]["source"].pop("config")  # older
            entry["made_from"]["config"] = _flat(entry["made_from"].get("config"))
            if stage.endswith("candidates") and (source := entry["made_from"].get("source")):
                source.items()
        _cultures(record.get("used", {})), _topics(record.get("used", {}))
        dict(record.get("used", {}).get("prompts", {}))
        journal.added(record.get("spending", journal.NOTHING), file.parent)
        if not set(record.get("moving", ())) <= record["stages"].keys():
            raise ValueError("moving")
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise InputError(f"{file}: is not a run's record; remove it or name another run folder.") from None
    return record


# groups of settings in older records
_GROUPS = frozenset(
    (
        *("questions", "roleplay", "adapt", "contrast", "personas", "optimize", "checks"),
        *("match", "embed", "cluster", "represent", "distinct", "rank"),
    )
)


def _flat(config: Any) -> Any:
    """A stage's settings by name, out of a record that has them in groups too."""
    if not isinstance(config, dict):
        return config
    found: dict[str, Any] = {}
    for key, value in config.items():
        found |= _flat(value) if key in _GROUPS and isinstance(value, dict) else {key: value}
    return found


def _waiting(file: Path) -> dict[str, Any]:
    """The entries of the tables that wait; none where their record is damaged, so that they are made again."""
    try:
        return _record(file)["stages"]
    except InputError:
        return {}


def _cultures(used: dict[str, Any]) -> dict[str, Culture]:
    made: dict[str, Culture] = {}
    for entry in used.get("cultures", ()):
        fields: dict[str, Any] = {key: tuple(item) if isinstance(item, list) else item for key, item in entry.items()}
        made[entry["slug"]] = Culture(**fields)
    return made


def _topics(used: dict[str, Any]) -> dict[str, Topic]:
    return {entry["topic_id"]: Topic(**entry) for entry in used.get("topics", ())}


def _answering(model: Model | None) -> list[ModuleType]:
    """The module of who answers a model's calls: constants and weights of the embedded one count."""
    return [sys.modules[type(model.backend).__module__]] if model else []


def read(files: Sequence[Path]) -> Dataset:
    """The table in Parquet files that this package wrote, in memory."""
    return features.in_memory(pa.concat_tables([_read(file) for file in files]))


def _read(file: Path) -> pa.Table:
    with file.open("rb") as content:  # pyarrow takes every name for UTF-8, whatever the locale
        parquet = pq.ParquetFile(content)
        # In row groups, as the whole file at once needs half more memory; in this thread, as one of Arrow's that lets
        # go of a Python file while Python ends aborts it (github.com/apache/arrow/issues/34314).
        groups = [parquet.read_row_group(group, use_threads=False) for group in range(parquet.num_row_groups)]
    return pa.concat_tables(groups or [parquet.schema_arrow.empty_table()])


def _write(table: Dataset, folder: Path, name: str, split_by: str | None) -> list[Path]:
    """Write `table` under `folder`; equal tables give equal bytes (no fingerprint is kept in the file).

    Raises:
        InputError: the disk refuses.
    """
    with disk.writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    arrow = table.with_format("arrow")[:].cast(table.features.arrow_schema)
    parts = {name: arrow}
    if split_by:
        named = culture_files.slugs(table[split_by][:])
        parts = {slug: arrow.filter(pc.equal(arrow[split_by], value)) for value, slug in named.items()} or parts
    for value, part in parts.items():
        with disk.replacing(_named(folder, value)) as content:
            pq.write_table(part, content, row_group_size=_ROWS)
    if split_by:
        _replace(folder / "README.md", head(config(value, {"train": _named(folder, value)}) for value in parts))
    return sorted(folder.glob("*.parquet"))


def _named(folder: Path, value: str) -> Path:
    return disk.named(folder, f"{value}.parquet")


def config(name: str, splits: Mapping[str, Path]) -> dict[str, Any]:
    """What `load_dataset(folder, name)` reads: the entry of a card's `configs`, for a file a split.

    The description holds the files' hash: `datasets` caches a folder by its card alone, so with an equal card it would
    go on loading a table that has changed.
    """
    files = [{"split": split, "path": disk.name(Path(file.name))} for split, file in splits.items()]
    return {"config_name": name, "description": f"sha256 {sha256(list(splits.values()))}", "data_files": files}


def head(configs: Iterable[dict[str, Any]], **metadata: Any) -> str:
    """The YAML head of a dataset's README."""
    text = yaml.safe_dump({**metadata, "configs": list(configs)}, sort_keys=False, allow_unicode=True)
    return f"---\n{text}---\n"


def sha256(files: Sequence[Path]) -> str:
    """The hash of files, names and contents, in the order given."""
    digest = hashlib.sha256()
    for file in files:
        digest.update(os.fsencode(file.name) + b"\0")
        with file.open("rb") as content:
            while part := content.read(_PART):
                digest.update(part)
    return digest.hexdigest()


def _replace(file: Path, text: str) -> None:
    with disk.replacing(file) as content:
        content.write(text.encode())


def _plain(config: Any) -> Any:
    if is_dataclass(config) and not isinstance(config, type):
        return asdict(config)
    if isinstance(config, Mapping):
        return {key: _plain(value) for key, value in config.items()}
    if isinstance(config, (list, tuple)):
        return [_plain(item) for item in config]
    return config


def _drops_in_words(drops: Counter[str]) -> str:
    if not drops:
        return ""
    reasons = ", ".join(f"{count} {reason}" for reason, count in drops.most_common())
    return f", {drops.total()} dropped ({reasons})"
