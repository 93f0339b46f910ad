"""A run folder: every stage's table, and `run.json`, which says what they were made from.

    runs/x/run.json                 configuration, versions, counts, drops, tokens, cost: one entry per stage
    runs/x/<stage>/*.parquet        the stage's table
    runs/x/<stage>/rejects/*.parquet   the rows it gave up, with drop_reason

A stage whose fingerprint (its inputs' hashes, its Config, the model's Spec, its prompt files, the package's version) is
that of a finished entry is read, not run. Files are replaced atomically and the entry is written last.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import platform
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, is_dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import yaml
from datasets import Dataset, Features
from filelock import FileLock, Timeout

from caredio import cultures, features, prompts
from caredio.errors import InputError
from caredio.llm.model import Model

log = logging.getLogger("caredio")

_ROWS = 10_000  # of a row group, which is encoded at once


def version() -> str:
    """The installed version of this package."""
    return metadata.version("caredio")


class Run:
    """A run folder held by this process (a second one is told so)."""

    def __init__(self, out: Path | str) -> None:
        """Open or create the folder.

        Raises:
            InputError: it cannot be written, another process works in it, or its run.json is damaged.
        """
        self.path = Path(out)
        self._file = self.path / "run.json"
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock = FileLock(self.path / ".lock")
            self._lock.acquire(timeout=0)
        except Timeout:
            raise InputError(f"{self.path}: another process is working here; wait, or name another --out.") from None
        except OSError as error:
            raise InputError(f"{self.path}: cannot be written ({error.strerror}); name another --out.") from None
        try:
            self.stages: dict[str, Any] = json.loads(self._file.read_text())["stages"] if self._file.exists() else {}
        except (ValueError, KeyError, TypeError):
            raise InputError(f"{self._file}: is not a run's record; remove it or name another --out.") from None

    def __enter__(self) -> Run:
        return self

    def __exit__(self, *exc: object) -> None:
        self._lock.release()

    def table(self, stage: str) -> Dataset:
        """The table a finished stage wrote.

        Raises:
            InputError: there is none.
        """
        folder = self.path / stage
        files = sorted(folder.glob("*.parquet"))
        if stage not in self.stages or not files:
            raise InputError(f"{folder}: no finished {stage} table; run the stage that writes it first.")
        return read(files)

    def stage(
        self,
        name: str,
        compute: Callable[[], Dataset | tuple[Dataset, dict[str, Any]]],
        *,
        columns: Features | None = None,
        after: Sequence[str] = (),
        config: Any = None,
        model: Model | None = None,
        prompt: str | Sequence[str] = (),
        source: str | dict[str, Any] = "",
        split_by: str | None = None,
    ) -> Dataset:
        """The stage's table: read when its fingerprint is unchanged, else computed and written.

        Args:
            name: the stage's folder.
            compute: makes the table, dropped rows included; may return a report for run.json beside it.
            columns: the table's Features; None takes the table's own.
            after: stages whose tables it reads.
            config: the stage's Config (or several).
            model: the model it asks.
            prompt: the prompt file it uses, or several.
            source: hash of other input, alone or in a description of it.
            split_by: column of cultures by which the table is written as one file each, with a README that makes
                every culture's slug a config of `load_dataset`.
        """
        made_from = {
            "inputs": {stage: self.stages[stage]["sha256"] for stage in after},
            "source": source,
            "config": _plain(config),
            "model": asdict(model.spec) if model else None,
            "prompt": [prompts.load(name).sha for name in ([prompt] if isinstance(prompt, str) else prompt)],
            "version": version(),
        }
        fingerprint = hashlib.sha256(json.dumps(made_from, sort_keys=True).encode()).hexdigest()
        folder = self.path / name
        entry = self.stages.get(name, {})
        if entry.get("fingerprint") == fingerprint and entry["complete"]:
            files = sorted(folder.glob("*.parquet"))
            if sha256(files) == entry["sha256"]:
                log.info("%-10s %6d rows, unchanged", name, entry["rows"])
                return read(files)
        started = time.monotonic()
        if model:
            model.take_usage()
        made = compute()
        table, report = made if isinstance(made, tuple) else (made, {})
        del made  # a whole dataset's answers need not be held twice
        self.stages.pop(name, None)
        self._save()
        dropped = features.rejected(table)
        drops = Counter(dropped["drop_reason"]) if len(dropped) else Counter()
        pool = columns is not None and "drop_reason" in columns  # a table that keeps what was dropped
        if not pool:
            table = features.kept(table)
        if columns is not None:
            table = features.conform(table, columns)
        shutil.rmtree(folder, ignore_errors=True)
        files = _write(table, folder, name, split_by)
        if len(dropped) and not pool:
            _write(dropped, folder / "rejects", name, None)
        usage = model.take_usage() if model else None
        rows = len(table)
        del table, dropped
        self.stages[name] = {
            "fingerprint": fingerprint,
            "complete": not (usage and usage.failed),
            "rows": rows,
            "dropped": dict(sorted(drops.items())),
            "sha256": sha256(files),
            "seconds": round(time.monotonic() - started, 1),
            **({"usage": {**asdict(usage), "cost_usd": model.cost(usage)}} if model and usage else {}),
            **report,
            "made_from": made_from,
        }
        self._save()
        log.info("%-10s %6d rows%s in %.0f s", name, rows, _told(drops), time.monotonic() - started)
        return read(files)

    def _save(self) -> None:
        record = {
            "caredio": version(),
            "python": platform.python_version(),
            "packages": {name: metadata.version(name) for name in ("datasets", "transformers", "torch", "openai")},
            "stages": self.stages,
        }
        _replace(self._file, json.dumps(record, indent=2, ensure_ascii=False) + "\n")


def read(files: Sequence[Path]) -> Dataset:
    """The table in Parquet files that this package wrote, in memory."""
    return features.in_memory(pa.concat_tables([pq.read_table(file) for file in files]))


def _write(table: Dataset, folder: Path, name: str, split_by: str | None) -> list[Path]:
    """Write `table` under `folder`; equal tables give equal bytes (no fingerprint is kept in the file)."""
    folder.mkdir(parents=True, exist_ok=True)
    arrow = table.with_format("arrow")[:].cast(table.features.arrow_schema)
    parts = {name: arrow}
    if split_by:
        named = cultures.slugs(table[split_by])
        parts = {slug: arrow.filter(pc.equal(arrow[split_by], value)) for value, slug in named.items()} or parts
    for value, part in parts.items():
        file = folder / f"{value}.parquet"
        making = file.with_suffix(".making")
        pq.write_table(part, making, row_group_size=_ROWS)
        os.replace(making, file)
    if split_by:
        _replace(folder / "README.md", head(config(value, {"train": folder / f"{value}.parquet"}) for value in parts))
    return sorted(folder.glob("*.parquet"))


def config(name: str, splits: Mapping[str, Path]) -> dict[str, Any]:
    """What `load_dataset(folder, name)` reads: the entry of a card's `configs`, for a file a split.

    The description holds the files' hash: `datasets` caches a folder by its card alone, so with an equal card it would
    go on loading a table that has changed.
    """
    files = [{"split": split, "path": file.name} for split, file in splits.items()]
    return {"config_name": name, "description": f"sha256 {sha256(list(splits.values()))}", "data_files": files}


def head(configs: Iterable[dict[str, Any]], **metadata: Any) -> str:
    """The YAML head of a dataset's README."""
    text = yaml.safe_dump({**metadata, "configs": list(configs)}, sort_keys=False, allow_unicode=True)
    return f"---\n{text}---\n"


def sha256(files: Sequence[Path]) -> str:
    """The hash of files, names and contents, in the order given."""
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.name.encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()


def _replace(file: Path, text: str) -> None:
    making = file.with_suffix(".making")
    making.write_text(text, encoding="utf-8")
    os.replace(making, file)


def _plain(config: Any) -> Any:
    if is_dataclass(config) and not isinstance(config, type):
        return asdict(config)
    if isinstance(config, Mapping):
        return {key: _plain(value) for key, value in config.items()}
    if isinstance(config, (list, tuple)):
        return [_plain(item) for item in config]
    return config


def _told(drops: Counter[str]) -> str:
    if not drops:
        return ""
    reasons = ", ".join(f"{count} {reason}" for reason, count in drops.most_common())
    return f", {drops.total()} dropped ({reasons})"
