"""A table of one's own as a benchmark, declared in a YAML file.

name: street_food
title: Street food
kind: choice                  # or judgements, distribution, answers
file: street_food.csv         # beside the YAML file; csv, json, jsonl or parquet
licence: CC-BY-4.0
columns: {question: item, options: [a, b, c], key: right}     # those whose names differ
labels: {south_korea: [ROK]}  # slug -> what the table calls the culture besides its name
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from caredio import contents, yamlfile
from caredio.errors import InputError, did_you_mean
from caredio.evaluation import own_rows
from caredio.evaluation.benchmark import VARIANTS, Benchmark
from caredio.evaluation.own_rows import KINDS, Declared

_NEEDED = ("name", "title", "kind", "file", "licence")
_OPTIONAL = ("columns", "culture", "keys", "labels")
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_ENDS = tuple(f"_{end}" for end in (*filter(None, VARIANTS), "role_play"))  # that tell how a task is asked


def read(file: Path) -> Benchmark:
    """The benchmark that a YAML file declares; its table is read when its questions are.

    Raises:
        InputError: the file is missing or declares no benchmark; the message names the line.
    """
    return _read(file, file.resolve(), contents.of_file(file) if file.is_file() else "")


@lru_cache(maxsize=64)
def _read(file: Path, place: Path, hashed: str) -> Benchmark:
    entry = _Entry(file, yamlfile.mapping(file))
    entry.check()
    kind = KINDS[entry.text("kind")]
    labels = entry.labels()
    declared = Declared(kind.name, entry.columns(), entry.text("culture"), entry.text("keys"), labels)
    return Benchmark(
        name=entry.text("name"),
        title=entry.text("title"),
        kind=kind,
        source=f"own_{entry.text('name')}",
        read=own_rows.reader(declared),
        licence=entry.text("licence"),
        file=f"the file that {file} names",
        local=place.parent / entry.text("file"),
        labels=labels,
        version=_version(declared),
        declared_in=place,
    )


def _version(declared: Declared) -> str:
    """What tells one reading of a table from another."""
    text = json.dumps(declared, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


class _Entry:
    """The keys of a declaration, each checked when it is asked for."""

    def __init__(self, file: Path, found: yamlfile.Mapped) -> None:
        self._file, self._values, self._lines = file, found.values, found.lines

    def check(self) -> None:
        """See that what is needed is there and nothing else. Raises as `read` does."""
        for key in self._values:
            if key not in (*_NEEDED, *_OPTIONAL):
                near = did_you_mean(key, [*_NEEDED, *_OPTIONAL])
                raise self._wrong(key, f"unknown key {key!r}{near or f'; the keys are {self._known()}.'}")
        if missing := [key for key in _NEEDED if key not in self._values]:
            raise InputError(f"{self._file}: lacks {', '.join(missing)}; the keys are {self._known()}.")
        for key in (*_NEEDED, "culture", "keys"):
            self.text(key)
        name, ends = self.text("name"), ", ".join(_ENDS)
        if not _NAME.fullmatch(name) or name.endswith(_ENDS):
            raise self._wrong(
                "name", f"name must be lower-case letters, digits and '_', and not end in {ends}, found {name!r}."
            )
        self._among("kind", KINDS)
        if self.text("keys"):
            self._among("keys", own_rows.KEYS)

    def text(self, key: str) -> str:
        """A value that is text; empty where it is not there and need not be."""
        value = self._values.get(key, "" if key in _OPTIONAL else None)
        if not isinstance(value, str) or (key in self._values and not value.strip()):
            raise self._wrong(key, f"{key} must be text that is not empty, found {value!r}.")
        return value.strip()

    def columns(self) -> dict[str, str | tuple[str, ...]]:
        """Field -> the column that holds it, or several."""
        fields = own_rows.FIELDS[self.text("kind")]
        found: dict[str, str | tuple[str, ...]] = {}
        for field, value in self._mapping("columns").items():
            if field not in fields:
                near = did_you_mean(str(field), fields) or f"; of {self.text('kind')} they are {', '.join(fields)}."
                raise self._wrong(f"columns.{field}", f"unknown column {field!r}{near}")
            if field == "culture" and self.text("culture"):
                raise self._wrong("columns.culture", "culture is one for the whole table already; leave one out.")
            listed = tuple(value) if isinstance(value, list) else (value,)
            if not listed or not all(isinstance(one, str) and one for one in listed):
                raise self._wrong(f"columns.{field}", f"{field} must name a column or list some, found {value!r}.")
            if isinstance(value, list) and field not in own_rows.LISTS:
                raise self._wrong(f"columns.{field}", f"{field} is one column, found {value!r}.")
            found[field] = listed if isinstance(value, list) else value
        return found

    def labels(self) -> dict[str, tuple[str, ...]]:
        """Slug -> spellings."""
        found = {}
        for slug, value in self._mapping("labels").items():
            listed = tuple(value) if isinstance(value, list) else (value,)
            if not _NAME.fullmatch(str(slug)) or not listed or not all(isinstance(one, str) for one in listed):
                raise self._wrong(
                    f"labels.{slug}",
                    f"labels must be lines of a culture's slug and its spellings, found {slug}: {value!r}.",
                )
            found[slug] = listed
        return found

    def _mapping(self, key: str) -> dict[str, Any]:
        value = self._values.get(key, {})
        if not isinstance(value, dict):
            raise self._wrong(key, f"{key} must be 'name: value' lines, found {value!r}.")
        return value

    def _among(self, key: str, known: Mapping[str, Any]) -> None:
        if self.text(key) not in known:
            near = did_you_mean(self.text(key), known) or f"; there are {', '.join(known)}."
            raise self._wrong(key, f"{self.text(key)!r} is no value of {key}{near}")

    def _wrong(self, key: str, what: str) -> InputError:
        line = self._lines.get(key) or self._lines.get(key.partition(".")[0])
        return InputError(f"{self._file}{f', line {line}' if line else ''}: {what}")

    def _known(self) -> str:
        return ", ".join((*_NEEDED, *_OPTIONAL))
