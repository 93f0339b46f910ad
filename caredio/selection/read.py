"""A table of one's own, out of a file."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from datasets import Dataset

from caredio import features
from caredio.errors import InputError


def table(path: Path) -> tuple[Dataset, str]:
    """The rows of a parquet, csv, json or jsonl file and the file's sha256.

    Numbers become text; everything else stays as it is, so a cell that says `None` or `NA` is that word.

    Raises:
        InputError: the file is missing, of another kind, or broken; names the line where there is one.
    """
    if path.suffix not in READERS:
        raise InputError(
            f"{path}: unknown kind of table {path.suffix!r}; give parquet, csv, json (a list of objects) or jsonl, or"
            " owner/name of a dataset on the Hub."
        )
    try:
        content = path.read_bytes()
        if path.suffix != ".parquet":
            content.decode("utf-8")
        rows = READERS[path.suffix](path)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error}).") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: is not UTF-8 text (byte {error.start}).") from None
    if not len(rows):
        raise InputError(f"{path}: holds no rows.")
    return rows, hashlib.sha256(content).hexdigest()


def _parquet(path: Path) -> Dataset:
    try:
        table = pq.read_table(path)
        for place, field in enumerate(table.schema):
            if pa.types.is_integer(field.type) or pa.types.is_floating(field.type):
                table = table.set_column(place, field.name, table[field.name].cast(pa.string()))
        return features.in_memory(table)
    except pa.ArrowInvalid as error:
        raise InputError(f"{path}: is not a Parquet file ({str(error).splitlines()[0]}).") from None


def _csv(path: Path) -> Dataset:
    try:
        frame = pd.read_csv(path, dtype=str, keep_default_na=False)
        if not isinstance(frame.index, pd.RangeIndex):
            raise InputError(f"{path}, line 2: holds more fields than the header has names.")
    except (pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise InputError(f"{path}: is not valid CSV ({' '.join(str(error).split())}).") from None
    return Dataset.from_pandas(frame, preserve_index=False)


def _json(path: Path) -> Dataset:
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise InputError(f"{path}, line {error.lineno}: not valid JSON ({error.msg}).") from None
    if not isinstance(rows, list):
        raise InputError(f"{path}: expected a list of objects, found {type(rows).__name__}.")
    return _dataset(path, [_row(row, f"{path}, row {number}") for number, row in enumerate(rows, start=1)])


def _jsonl(path: Path) -> Dataset:
    rows = []
    for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), start=1):
        if not line.strip():
            continue
        where = f"{path}, line {number}"
        try:
            rows.append(_row(json.loads(line), where))
        except json.JSONDecodeError as error:
            raise InputError(f"{where}: not valid JSON ({error.msg} at column {error.colno}).") from None
    return _dataset(path, rows)


def _dataset(path: Path, rows: list[dict[str, Any]]) -> Dataset:
    columns = {}
    for name in dict.fromkeys(name for row in rows for name in row):
        try:
            columns[name] = pa.array([row.get(name) for row in rows])
        except (pa.ArrowException, TypeError):
            raise InputError(f"{path}: column {name} holds values of several types.") from None
    return features.in_memory(pa.table(columns))


def _row(row: Any, where: str) -> dict[str, Any]:
    """An object whose numbers are text."""
    if not isinstance(row, dict):
        raise InputError(f"{where}: expected an object, found {type(row).__name__}.")
    try:
        json.dumps(row, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise InputError(f"{where}: holds half a character (a lone surrogate).") from None
    return {
        key: str(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else value
        for key, value in row.items()
    }


READERS = {".parquet": _parquet, ".csv": _csv, ".json": _json, ".jsonl": _jsonl}
