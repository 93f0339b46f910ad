"""Files of benchmarks as their authors publish them, and the sentence where one is something else."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet

from caredio.errors import InputError


def rows(file: Path, columns: Iterable[str], wanted: str) -> list[dict[str, Any]]:
    """The rows of a csv, json, jsonl or Parquet file, by its suffix. Cells of a csv file are text as it stands there.

    Args:
        columns: those that every row must have.
        wanted: what the file should be, for messages.

    Raises:
        InputError: it cannot be read, holds no rows, or lacks a column.
    """
    try:
        found = _READERS[file.suffix.lower()](file)
    except KeyError:
        raise InputError(f"{file}: is neither csv, json, jsonl nor Parquet; give {wanted}.") from None
    except OSError as error:
        raise InputError(f"{file}: cannot be read ({error.strerror or error}); give {wanted}.") from None
    except (ValueError, csv.Error, pyarrow.ArrowException) as error:  # JSON and Unicode errors are ValueErrors
        raise InputError(f"{file}: is not the {file.suffix[1:]} file that it is named as ({error}).") from None
    if not isinstance(found, list) or not all(isinstance(row, dict) for row in found):
        raise InputError(f"{file}: is not a list of rows; give {wanted}.")
    if not found:
        raise InputError(f"{file}: holds no rows; give {wanted}.")
    for number, row in enumerate(found, start=1):
        if missing := [name for name in columns if row.get(name) is None]:
            raise InputError(f"{file}, row {number}: lacks {', '.join(missing)}; give {wanted}.")
    return found


def within(path: Path, patterns: Iterable[str], wanted: str) -> list[Path]:
    """The files at a path: itself where it is a file, else those of its folders that match one of the patterns.

    Raises:
        InputError: none matches.
    """
    if path.is_file():
        return [path]
    found = sorted({file for pattern in patterns for file in path.rglob(pattern) if file.is_file()})
    if not found:
        raise InputError(f"{path}: holds no {' and no '.join(patterns)}; give {wanted}.")
    return found


def _csv(file: Path) -> list[dict[str, Any]]:
    with file.open(newline="", encoding="utf-8-sig") as lines:
        return list(csv.DictReader(lines))


def _lines(file: Path) -> Iterator[Any]:
    with file.open(encoding="utf-8") as lines:
        yield from (json.loads(line) for line in lines if line.strip())


_READERS = {
    ".csv": _csv,
    ".json": lambda file: json.loads(file.read_text(encoding="utf-8")),
    ".jsonl": lambda file: list(_lines(file)),
    ".parquet": lambda file: pyarrow.parquet.read_table(file).to_pylist(),
}
