"""Files of benchmarks as their authors publish them, and the sentence where one is something else."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from caredio import tablefile
from caredio.errors import InputError


def rows(file: Path, columns: Sequence[str], wanted: str) -> list[dict[str, Any]]:
    """The rows of a csv, json, jsonl or Parquet file, with the columns alone. Cells of a csv file are text.

    Args:
        columns: those that every row must have.
        wanted: what the file should be, for messages.

    Raises:
        InputError: it cannot be read, holds no rows, or lacks a column.
    """
    table, _ = tablefile.table(file)
    if missing := [name for name in columns if name not in table.names]:
        raise InputError(f"{file}: lacks {', '.join(missing)}; give {wanted}.")
    found = [dict(zip(columns, cells, strict=True)) for cells in zip(*map(table.cells, columns), strict=True)]
    for number, row in enumerate(found):
        if empty := [name for name in columns if row[name] is None]:
            raise InputError(f"{table.row(number)}: lacks {', '.join(empty)}; give {wanted}.")
    return found


def read_json(file: Path, wanted: str) -> Any:
    """What a JSON file holds.

    Args:
        wanted: what the file should be, for messages.

    Raises:
        InputError: it cannot be read.
    """
    try:
        return json.loads(file.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise InputError(f"{file}: cannot be read ({error.strerror or error}); give {wanted}.") from None
    except json.JSONDecodeError as error:
        raise InputError(f"{file}, line {error.lineno}: is no JSON from there on; give {wanted}.") from None
    except (ValueError, RecursionError):
        raise InputError(f"{file}: is no JSON in UTF-8; give {wanted}.") from None


def difference(error: Exception) -> str:
    """What a file lacks or holds otherwise, by the error that reading it raised."""
    return f"it lacks {error}" if isinstance(error, KeyError) else "a value is of another kind"


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
