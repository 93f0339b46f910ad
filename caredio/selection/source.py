"""Table stage (columns are read whole): a user's table, from a file or the Hub, with the names of selection's columns.

file or Hub dataset -> question_id, question, response, culture, and of weight, `features.TAKEN`, the vectors and
drop_reason what it has. No other column is read. Text may stand in chat messages, as TRL's datasets have it: the last
user turn is the question, the assistant's answer to it the response.
"""

from __future__ import annotations

import decimal
import hashlib
import logging
import math
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from datasets import Dataset

from caredio import features, packages, tablefile
from caredio.errors import InputError
from caredio.selection.settings import Settings
from caredio.settings import of_stage

log = logging.getLogger("caredio")

# the columns that are looked for when none is named
_USUAL = {
    "question": ("question", "prompt", "messages", "conversations"),
    "response": ("response", "completion", "messages", "conversations"),
    "culture": ("culture",),
    "id": ("question_id",),
    "weight": ("weight",),
}
_SPEAKER = {"question": "user", "response": "assistant"}
# who is who in chats, by the names that datasets give them
_ROLES = {"user": "user", "human": "user", "prompter": "user"} | dict.fromkeys(
    ("assistant", "gpt", "model", "bot", "chatbot", "chatgpt", "ai"), "assistant"
)
_VECTORS = ("sample_embedding", "response_embedding")
_SHOWN = 20  # column names in a message


def run(data: Dataset | Any | str, settings: Settings) -> tuple[Dataset, dict[str, Any]]:
    """The rows of a table, and what they are, for run.json and the card.

    Args:
        data: a Dataset, a pandas DataFrame, or the name of a file or of a Hub dataset.

    Returns:
        Rows as `renamed` makes them. The record holds the table's name, its hash (sha256 of the file, commit of the
        Hub), the settings, and under `columns_left` why each of the other columns was left.

    Raises:
        InputError: there is no such table, or a column is missing or holds no text.
    """
    if not isinstance(data, str):
        return _in_memory(data, settings)
    table, record = opened(data, settings)
    made, left = renamed(table, settings)
    if left:
        log.info("%s: %s", data, "; ".join(f"column {column} {why}" for column, why in list(left.items())[:_SHOWN]))
    return made, {**record, **described(settings), **({"columns_left": left} if left else {})}


def opened(name: str, settings: Settings) -> tuple[tablefile.Table, dict[str, Any]]:
    """The table in a file or of a Hub dataset, and its name and hash (sha256 of the file, commit of the Hub).

    Raises:
        InputError: there is no such table.
    """
    if Path(name).suffix.lower() in tablefile.READERS or _exists(name) or not re.fullmatch(r"[\w.-]+/[\w.-]+", name):
        table, sha256 = tablefile.table(Path(name))
        place = hashlib.sha256(os.fsencode(Path(name).resolve())).hexdigest()[:16]  # no path goes into a record
        return table, {"table": Path(name).name, "place": place, "sha256": sha256}
    rows, commit = _fetched(name, settings)
    return tablefile.of(rows, name), {"table": name, "commit": commit}


def _in_memory(data: Any, settings: Settings) -> tuple[Dataset, dict[str, Any]]:
    """As `run`, of a table that the caller holds, which is known by the hash of what is read of it."""
    if hasattr(data, "to_parquet") and hasattr(data, "iloc"):  # a DataFrame, without importing pandas
        data = _of_frame(data, settings)
    if not isinstance(data, Dataset):
        held = f", holding {', '.join(map(str, data))}; give one of its splits" if isinstance(data, dict) else ""
        raise InputError(
            f"the table is a {type(data).__name__}{held}, where a Dataset, a DataFrame or a name was wanted."
        )
    if not len(data):
        raise InputError("the table holds no rows.")
    made, left = _candidates(data) or renamed(tablefile.of(data, "the table"), settings)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, made.features.arrow_schema) as stream:
        stream.write_table(made.with_format("arrow")[:])
    record = {"table": "a table in memory", "sha256": hashlib.sha256(sink.getvalue()).hexdigest()}
    return made, {**record, **described(settings), **({"columns_left": left} if left else {})}


def _of_frame(frame: Any, settings: Settings) -> Dataset:
    """The columns of a DataFrame that may be read, as text where they mix kinds of scalars.

    Raises:
        InputError: two of them have one name, or one holds what no table can.
    """
    named = {getattr(settings, f"{what}_column") for what in _USUAL}
    wanted = {*named, *(name for names in _USUAL.values() for name in names), *_VECTORS, *features.TAKEN}
    columns: dict[str, pa.Array] = {}
    for place, name in enumerate(map(str, frame.columns)):
        if name not in wanted and name not in features.CANDIDATES:
            continue
        if name in columns:
            raise InputError(f"the table: two columns are called {tablefile.shown(name)}; rename one of them.")
        cells = frame.iloc[:, place]
        try:
            columns[name] = pa.array(cells, from_pandas=True)
        except (pa.ArrowException, ValueError, TypeError, NotImplementedError):
            columns[name] = _scalars(cells, name)
    if not columns:
        found = [tablefile.shown(str(name)) for name in frame.columns[:_SHOWN]]
        raise InputError(f"the table: no column that is read; found {', '.join(found)}.")
    return Dataset(pa.table(columns))


def _scalars(cells: Iterable[Any], name: str) -> pa.Array:
    """Cells of several kinds of scalars as text."""
    try:
        return pa.array([None if cell is None or cell != cell else str(cell) for cell in cells], pa.string())
    except (UnicodeError, ValueError, TypeError, pa.ArrowException):
        raise InputError(f"the table: column {tablefile.shown(name)} holds what no table can; make it text.") from None


def _candidates(data: Dataset) -> tuple[Dataset, dict[str, str]] | None:
    """The table as `features.CANDIDATES`, where it has their columns with their types."""
    if any(data.features.get(name) != kind for name, kind in features.CANDIDATES.items()):
        return None
    return features.conform(data, features.CANDIDATES), {}


def described(settings: Settings) -> dict[str, Any]:
    """The settings that describe a table, where they are not the defaults."""
    names = [one.name for one in of_stage("table", settings) if getattr(settings, one.name) != one.default]
    return {name: getattr(settings, name) for name in names}


def renamed(table: tablefile.Table, settings: Settings) -> tuple[Dataset, dict[str, str]]:
    """`table` with question, response, culture and question_id out of the columns that the settings, or custom, name.

    Returns:
        These columns as text, question_id only where questions do not match by their text; weight as a number, where
        there is one; those of `features.TAKEN` that hold text, the vectors, and drop_reason. Then name -> why it was
        left, of every other column.

    Raises:
        InputError: a column is not there, or holds neither text nor chat messages, or of weight no number from 0 on.
    """
    whats = {"question": "question", "response": "response", "culture": "culture"}
    if settings.match_by == "id" or settings.id_column or (not settings.match_by and _USUAL["id"][0] in table.names):
        whats["question_id"] = "id"
    names = {own: _column(table, what, settings) for own, what in whats.items()}
    columns = texts(table, settings)
    columns |= {own: text(table, names[own]) for own in names if own not in columns}
    if settings.weight_column or _USUAL["weight"][0] in table.names:
        names["weight"] = _column(table, "weight", settings)
        columns["weight"] = weights(table, names["weight"])
    left = {}
    for name in dict.fromkeys(table.names):
        if name in names.values():
            continue
        try:
            if name in _VECTORS:
                columns[name] = table.arrow(name)
            elif name in features.TAKEN:
                columns[name] = text(table, name)
            else:
                left[tablefile.shown(name)] = "is not read"
        except InputError as error:
            left[tablefile.shown(name)] = f"is left out ({str(error).rstrip('.')})"
    return features.in_memory(pa.table(columns)), left


def texts(table: tablefile.Table, settings: Settings) -> dict[str, pa.Array]:
    """The question and the response of every row, out of text or chat messages.

    Raises:
        InputError: a column is not there, or holds neither.
    """
    names = {own: _column(table, own, settings) for own in _SPEAKER}
    chats = names["question"] == names["response"]
    return {own: text(table, name, _SPEAKER[own], chats) for own, name in names.items()}


def turn(messages: Any, role: str) -> str | None:
    """What `role` writes last, in chat messages: of the user the question, of the assistant the answer that follows it.

    None where the conversation has no such turn, or stops before it.
    """
    answer: str | None = None
    for speaker, content in _turns(messages):
        who = _ROLES.get(speaker.lower())
        if who == role:
            answer = content or answer  # a call of a tool has no content
        elif who == "user":
            answer = None  # a question after it: that was the answer to another one
    return answer


def _turns(messages: Any) -> list[tuple[str, str | None]]:
    """(role, text) of every message: of objects with role and content, or from and value, or of lists by key.

    Raises:
        TypeError: they are none of these.
    """
    if isinstance(messages, Mapping):  # a list per key, as older versions of datasets made them
        keys = list(messages)
        messages = [dict(zip(keys, each, strict=True)) for each in zip(*messages.values(), strict=True)]
    turns = []
    for message in messages or []:
        if not isinstance(message, Mapping):
            raise TypeError
        role = message.get("role") or message.get("from")
        content = message.get("content") if message.get("content") is not None else message.get("value")
        if not isinstance(role, str):
            raise TypeError
        turns.append((role, _text_of(content)))
    return turns


def _text_of(content: Any) -> str | None:
    """A message's text; of content in parts, its text parts."""
    if content is None or isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise TypeError
    parts = []
    for part in content:
        if isinstance(part, str):
            parts.append(part)
        elif isinstance(part, Mapping):
            words = part.get("text") if part.get("type") in (None, "text", "input_text", "output_text") else None
            parts.append(words if isinstance(words, str) else "")
        else:
            raise TypeError
    return "".join(parts)


def _column(table: tablefile.Table, what: str, settings: Settings) -> str:
    given = getattr(settings, f"{what}_column")
    names = (given,) if given else _USUAL[what]
    for name in names:
        if name in table.names:
            return name
    flag = "" if given else f"; name yours with --{what}-column"
    found = [tablefile.shown(name) for name in table.names]
    there = ", ".join(found[:_SHOWN]) + (f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else "")
    raise InputError(f"{table.origin}: no column {' or '.join(names)}; found {there}{flag}.")


def text(table: tablefile.Table, name: str, role: str = "", chats: bool = False) -> pa.Array:
    """A column as text: strings, numbers, the names of labels, or what `role` writes in chat messages.

    Args:
        role: user or assistant, where the column may hold chats; empty takes text only.
        chats: the column must hold chats: the other role is read from it too.

    Raises:
        InputError: a cell holds something else, or no cell a turn of `role`; names the row, or the roles.
    """
    cells = table.cells(name)
    found: list[str | None] = []
    for row, cell in enumerate(cells):
        try:
            found.append(turn(cell, role) if role and isinstance(cell, (list, dict)) else _plain(cell, chats))
            (found[-1] or "").encode()
        except UnicodeEncodeError:
            raise InputError(
                f"{table.row(row)}: column {tablefile.shown(name)} holds half a character (a lone surrogate)."
            ) from None
        except (TypeError, ValueError, AttributeError):
            wanted = "chat messages were" if chats else "text or chat messages were" if role else "text was"
            raise InputError(
                f"{table.row(row)}: column {tablefile.shown(name)} holds {_kind(cell)}, where {wanted} wanted."
            ) from None
    if not any(found):
        roles = sorted({speaker for cell in cells if isinstance(cell, (list, dict)) for speaker, _ in _turns(cell)})
        if not roles or role in {_ROLES.get(speaker.lower()) for speaker in roles}:
            return pa.array(found, pa.string())  # there are turns, though none with text
        raise InputError(
            f"{table.origin}: no turn of the {role} in column {tablefile.shown(name)}; roles found are"
            f" {', '.join(map(tablefile.shown, roles[:_SHOWN]))}."
        )
    return pa.array(found, pa.string())


def weights(table: tablefile.Table, name: str) -> pa.Array:
    """A column of counts as numbers, null where a cell is empty.

    Raises:
        InputError: a cell holds no number from 0 on; names the row.
    """
    found: list[float | None] = []
    for row, cell in enumerate(table.cells(name)):
        try:
            written = (_plain(cell, chats=False) or "").strip()
            found.append(float(written) if written else None)
            if found[-1] is not None and not 0 <= found[-1] < math.inf:
                raise ValueError
        except (TypeError, ValueError):
            held = tablefile.shown(cell[:_SHOWN]) if isinstance(cell, str) else cell
            held = held if isinstance(held, (str, int, float)) else _kind(cell)
            raise InputError(
                f"{table.row(row)}: column {tablefile.shown(name)} holds {held}, where a number from 0 on was wanted,"
                " how many people gave the row; rename the column if it says something else."
            ) from None
    return pa.array(found, pa.float64())


def _plain(cell: Any, chats: bool) -> str | None:
    if cell is None or (isinstance(cell, (float, np.floating, decimal.Decimal)) and cell != cell):
        return None  # pandas writes NaN where there is nothing
    if isinstance(cell, str) and not chats:
        return cell
    if isinstance(cell, (int, float, np.number, decimal.Decimal)) and not isinstance(cell, bool) and not chats:
        return str(cell)
    raise TypeError


def _kind(cell: Any) -> str:
    kinds = {str: "text", bool: "true or false", list: "a list", dict: "an object"}
    return next((name for kind, name in kinds.items() if isinstance(cell, kind)), type(cell).__name__)


def _exists(name: str) -> bool:
    try:
        return Path(name).exists()
    except (OSError, ValueError):  # too long a name, or a NUL in it
        return False


def _fetched(name: str, settings: Settings) -> tuple[Dataset, str]:
    """A split of a Hub dataset, and the commit it is of.

    Raises:
        InputError: the Hub has no such thing, or cannot be reached.
    """
    from datasets import load_dataset
    from datasets.exceptions import DatasetsError
    from huggingface_hub import HfApi

    try:
        commit = HfApi().dataset_info(name, revision=settings.revision).sha
        rows = load_dataset(name, settings.dataset_config, split=settings.split, revision=commit)
    except packages.unreachable(OSError, ValueError, TypeError, KeyError, RuntimeError, DatasetsError) as error:
        answer = (getattr(error, "server_message", "") or str(error) or type(error).__name__).strip().splitlines()[0]
        raise InputError(
            f"{name}: neither a file nor a split that the Hub gives ({answer.rstrip('.')}); check the name,"
            " dataset_config, split and revision, and HF_TOKEN where it is private."
        ) from None
    if not len(rows):
        raise InputError(f"{name}: split {settings.split} holds no rows.")
    return rows, str(commit)
