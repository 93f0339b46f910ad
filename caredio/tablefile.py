"""A user's table out of a file: columns are read one by one, so that one which is not needed raises no error."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from datasets import ClassLabel, Dataset

from caredio import features
from caredio.errors import InputError

_DELIMITERS = (",", ";", "\t", "|")
_DIGITS = 400  # of a JSON integer that becomes a number; Python reads no more than 4,300
_LONGEST = 2**31 - 1  # characters of a csv cell: Python's own limit is 131,072


@dataclass(frozen=True)
class Table:
    """Named columns of equal length, each read when it is asked for."""

    origin: str  # the file or Hub dataset that it comes from, for messages
    names: Sequence[str]  # as they stand there, repeated ones too
    column: Callable[[str], list[Any] | Dataset]  # raises InputError where it cannot be read
    lines: Sequence[int] = ()  # the line that each row starts on, in files that have lines

    def row(self, number: int) -> str:
        """Where row `number` (from 0) stands, for messages."""
        return f"{self.origin}, line {self.lines[number]}" if self.lines else f"{self.origin}, row {number + 1}"

    def cells(self, name: str) -> list[Any]:
        """A column as Python objects; labels are their names.

        Raises:
            InputError: the column stands there twice, or cannot be read.
        """
        column = self._one(name)
        if isinstance(column, list):
            return column
        kind = column.features[name]
        with _readable(self, name):
            cells = column[name][:]
        if isinstance(kind, ClassLabel):  # -1 is no label
            return [kind.names[cell] if cell is not None and cell >= 0 else None for cell in cells]
        return cells

    def arrow(self, name: str) -> pa.ChunkedArray:
        """A column as it is; raises as `cells` does."""
        column = self._one(name)
        with _readable(self, name):
            rows = features.in_memory(pa.table({name: pa.array(column)})) if isinstance(column, list) else column
            return rows.with_format("arrow")[:][name]

    def _one(self, name: str) -> list[Any] | Dataset:
        if self.names.count(name) > 1:
            many = self.names.count(name)
            raise InputError(f"{self.origin}: {many} columns are called {shown(name)}; rename all but one.")
        with _readable(self, name):
            return self.column(name)


@contextmanager
def _readable(table: Table, name: str) -> Iterator[None]:
    """What keeps a column from being read is one sentence."""
    try:
        yield
    except (pa.ArrowException, OSError, TypeError, ValueError, KeyError, ImportError, OverflowError) as error:
        reason = " ".join(str(error).split())[:200].rstrip(".") or type(error).__name__
        raise InputError(f"{table.origin}: column {shown(name)} cannot be read ({reason}).") from None


def shown(name: str) -> str:
    """A column's name as a message may hold it, on one line."""
    return name if name.isprintable() and name.strip() == name != "" else ascii(name)


def of(rows: Dataset, origin: str) -> Table:
    """A dataset as a table."""
    return Table(origin, rows.column_names, lambda name: rows.select_columns([name]))


def table(path: Path) -> tuple[Table, str]:
    """The table in a parquet, csv, json or jsonl file, and the file's sha256.

    A csv file may have ';', tabs or '|' between its cells; its cells are text, so one that says `None` or `NA` is that
    word. Text is UTF-8, with or without a byte order mark.

    Raises:
        InputError: the file is missing, of another kind, or broken; names the line where there is one.
    """
    kind = path.suffix.lower()
    if kind not in READERS:
        raise InputError(
            f"{path}: unknown kind of table {path.suffix!r}; give parquet, csv, json (a list of objects) or jsonl, or"
            " owner/name of a dataset on the Hub."
        )
    try:
        content = path.read_bytes()
    except (OSError, ValueError) as error:  # a name with a NUL is a ValueError
        raise InputError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error}).") from None
    return READERS[kind](str(path), content), hashlib.sha256(content).hexdigest()


def _parquet(origin: str, content: bytes) -> Table:
    try:
        file = pq.ParquetFile(io.BytesIO(content))
        names = file.schema_arrow.names
    except (pa.ArrowException, OSError, ValueError) as error:
        raise InputError(f"{origin}: is not a Parquet file ({str(error).splitlines()[0]}).") from None
    if not file.metadata.num_rows:
        raise InputError(f"{origin}: holds no rows.")

    return Table(origin, names, lambda name: features.in_memory(file.read(columns=[name]).select([name])))


def text(origin: str, content: bytes) -> str:
    """The content of a text file, without the byte order mark that spreadsheets and editors write first.

    Raises:
        InputError: it is not UTF-8.
    """
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise InputError(f"{origin}: is not UTF-8 text but UTF-16; save it as UTF-8.")
    try:
        return content.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise InputError(f"{origin}: is not UTF-8 text (byte {error.start}); save it as UTF-8.") from None


def _csv(origin: str, content: bytes) -> Table:
    decoded = text(origin, content)
    if "\0" in decoded:
        line = decoded[: decoded.index("\0")].count("\n") + 1
        raise InputError(f"{origin}, line {line}: holds a NUL character; save the file as UTF-8 text.")
    records = _records(origin, decoded)
    _, header = records[0] if records else (0, [])
    names = [name.strip() for name in header]
    lines, rows = [], []
    for line, cells in records[1:]:
        if len(cells) != len(names):
            raise InputError(
                f"{origin}, line {line}: not valid CSV: holds {len(cells)} fields, and the header {len(names)} names;"
                " put a field that holds the delimiter, a quote or a line's end between quotes."
            )
        lines.append(line)
        rows.append(cells)
    if not rows:
        raise InputError(f"{origin}: holds no rows.")

    def column(name: str) -> list[str]:
        place = names.index(name)
        return [cells[place] for cells in rows]

    return Table(origin, names, column, lines)


def _records(origin: str, decoded: str) -> list[tuple[int, list[str]]]:
    """(line it starts on, cells) of every record that is no blank line, the header first."""
    limit, found, start = csv.field_size_limit(_LONGEST), [], 1  # the limit is one of the whole process
    try:
        first = next((line for line in io.StringIO(decoded, newline="") if line.strip()), "")
        delimiter = max(_DELIMITERS, key=lambda mark: len(next(csv.reader([first], delimiter=mark))))
        reader = csv.reader(io.StringIO(decoded, newline=""), delimiter=delimiter, strict=True)
        for cells in reader:
            if any(cell.strip() for cell in cells) or len(cells) > 1:
                found.append((start, cells))
            start = reader.line_num + 1
    except csv.Error as error:
        raise InputError(f"{origin}, line {start}: not valid CSV ({error}).") from None
    finally:
        csv.field_size_limit(limit)
    return found


def _json(origin: str, content: bytes) -> Table:
    decoded = text(origin, content)
    try:
        rows = _parsed(decoded)
    except json.JSONDecodeError as error:
        hint = "; a file with an object on each line is called .jsonl" if error.msg == "Extra data" else ""
        raise InputError(f"{origin}, line {error.lineno}: not valid JSON ({error.msg}{hint}).") from None
    except RecursionError:
        raise InputError(f"{origin}: JSON nested too deep to be read.") from None
    if not isinstance(rows, list):
        found = (
            f"an object of {', '.join(map(shown, list(rows)[:5]))}" if rows and isinstance(rows, dict) else repr(rows)
        )
        raise InputError(f"{origin}: expected a list of objects, found {found[:200]}; put the list alone in the file.")
    return _objects(origin, rows, [f"{origin}, row {number}" for number in range(1, len(rows) + 1)], ())


def _jsonl(origin: str, content: bytes) -> Table:
    rows, lines = [], []
    for number, line in enumerate(text(origin, content).split("\n"), start=1):
        line = line.lstrip("\ufeff")  # of files put one after the other
        if not line.strip():
            continue
        try:
            rows.append(_parsed(line))
        except json.JSONDecodeError as error:
            what = f"{error.msg} at column {error.colno}"
            raise InputError(f"{origin}, line {number}: not valid JSON ({what}).") from None
        except RecursionError:
            raise InputError(f"{origin}, line {number}: JSON nested too deep to be read.") from None
        lines.append(number)
    return _objects(origin, rows, [f"{origin}, line {number}" for number in lines], lines)


class _Object(dict[str, Any]):
    """A JSON object, and the keys that it uses more than once."""

    twice: frozenset[str] = frozenset()


def _parsed(decoded: str) -> Any:
    def pairs(found: list[tuple[str, Any]]) -> dict[str, Any]:
        made = _Object(found)
        if len(made) < len(found):
            keys = [key for key, _ in found]
            made.twice = frozenset(key for key in made if keys.count(key) > 1)
        return made

    def integer(digits: str) -> int | str:
        return int(digits) if len(digits) <= _DIGITS else digits

    return json.loads(decoded, object_pairs_hook=pairs, parse_int=integer)


def _objects(origin: str, rows: list[Any], places: list[str], lines: Sequence[int]) -> Table:
    if not rows:
        raise InputError(f"{origin}: holds no rows.")
    for row, place in zip(rows, places, strict=True):
        if not isinstance(row, dict):
            raise InputError(f"{place}: expected an object, found {type(row).__name__}.")

    def column(name: str) -> list[Any]:
        for row, place in zip(rows, places, strict=True):
            if name in row.twice:
                raise InputError(f"{place}: key {shown(name)} is used twice.")
        return [row.get(name) for row in rows]

    return Table(origin, list(dict.fromkeys(name for row in rows for name in row)), column, lines)


READERS = {".parquet": _parquet, ".csv": _csv, ".json": _json, ".jsonl": _jsonl}
