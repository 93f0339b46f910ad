"""A table of one's own, from a file or the Hub, with its columns named as selection names them.

file or Hub dataset -> question_id, question, response, culture, and of `features.TAKEN`, the vectors and drop_reason
what it has. No other column is read. Text may stand in chat messages, as TRL's datasets have it: the last user turn is
the question, the assistant's answer to it the response.
"""

from __future__ import annotations

import decimal
import hashlib
import logging
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from datasets import Dataset

from caredio import features, packages
from caredio.errors import InputError
from caredio.selection import read

log = logging.getLogger("caredio")

# where text is looked for when no column is named
_USUAL = {
    "question": ("question", "prompt", "messages", "conversations"),
    "response": ("response", "completion", "messages", "conversations"),
    "culture": ("culture",),
    "id": ("question_id",),
}
_SPEAKER = {"question": "user", "response": "assistant"}
# who is who in chats, by the names that datasets give them
_ROLES = {"user": "user", "human": "user", "prompter": "user"} | dict.fromkeys(
    ("assistant", "gpt", "model", "bot", "chatbot", "chatgpt", "ai"), "assistant"
)
_VECTORS = ("sample_embedding", "response_embedding")
_SHOWN = 20  # column names in a message
_BY = ("id", "text")


@dataclass(frozen=True)
class Config:
    config: str = field(default="", metadata={"help": "of a Hub dataset: the config, where it has several"})
    split: str = field(default="train", metadata={"help": "of a Hub dataset: the split"})
    revision: str = field(default="", metadata={"help": "of a Hub dataset: branch, tag or commit"})
    question_column: str = field(
        default="", metadata={"help": "text or chat messages; default: question, prompt, messages or conversations"}
    )
    response_column: str = field(
        default="", metadata={"help": "text or chat messages; default: response, completion, messages or conversations"}
    )
    culture_column: str = field(default="", metadata={"help": "default: culture"})
    id_column: str = field(default="", metadata={"help": "question ids; default: question_id"})
    match_by: str = field(
        default="",
        metadata={
            "help": "what makes two questions the same: their id or their text; default: the id where there is one",
            "choices": _BY,
        },
    )

    def __post_init__(self) -> None:
        if self.match_by not in ("", *_BY):
            raise InputError(f"match_by is {self.match_by!r}; use {' or '.join(_BY)}.")
        if self.match_by == "text" and self.id_column:
            raise InputError("id_column says to match by id and match_by by text; give one of them.")


def run(name: str, config: Config) -> tuple[Dataset, dict[str, Any]]:
    """The rows of the file or Hub dataset `name`, and what they are, for run.json and the card.

    Returns:
        Rows as `renamed` makes them. The record holds the table's name, its hash (sha256 of the file, commit of the
        Hub), the Config, and under `columns_left` why each of the other columns was left.

    Raises:
        InputError: there is no such table, or a column is missing or holds no text.
    """
    if Path(name).suffix.lower() in read.READERS or _exists(name) or not re.fullmatch(r"[\w.-]+/[\w.-]+", name):
        table, sha256 = read.table(Path(name))
        place = hashlib.sha256(os.fsencode(Path(name).resolve())).hexdigest()[:16]  # no path goes into a record
        record: dict[str, Any] = {"table": Path(name).name, "place": place, "sha256": sha256}
    else:
        rows, commit = _fetched(name, config)
        table = read.of(rows, name)
        record = {"table": name, "commit": commit}
    asked = {key: value for key, value in asdict(config).items() if value != getattr(Config, key)}
    made, left = renamed(table, config)
    if left:
        log.info("%s: %s", name, "; ".join(f"column {column} {why}" for column, why in list(left.items())[:_SHOWN]))
    return made, {**record, **asked, **({"columns_left": left} if left else {})}


def renamed(table: read.Table, config: Config) -> tuple[Dataset, dict[str, str]]:
    """`table` with question, response, culture and question_id out of the columns that the Config, or custom, names.

    Returns:
        These columns as text, question_id only where questions do not match by their text; those of `features.TAKEN`
        that hold text, the vectors, and drop_reason. Then name -> why it was left, of every other column.

    Raises:
        InputError: a column is not there, or holds neither text nor chat messages.
    """
    whats = {"question": "question", "response": "response", "culture": "culture"}
    if config.match_by == "id" or config.id_column or (not config.match_by and _USUAL["id"][0] in table.names):
        whats["question_id"] = "id"
    names = {own: _column(table, what, config) for own, what in whats.items()}
    chats = names["question"] == names["response"]
    columns: dict[str, pa.Array] = {
        own: text(table, names[own], _SPEAKER.get(own, ""), chats) for own in ("question", "response")
    }
    columns |= {own: text(table, names[own]) for own in names if own not in columns}
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
                left[read.shown(name)] = "is not read"
        except InputError as error:
            left[read.shown(name)] = f"is left out ({str(error).rstrip('.')})"
    return features.in_memory(pa.table(columns)), left


def turn(messages: Any, role: str) -> str | None:
    """What `role` says last, in chat messages: of the user the question, of the assistant the answer that follows it.

    None where the conversation has no such turn, or stops before it.
    """
    said: str | None = None
    for speaker, content in _turns(messages):
        who = _ROLES.get(speaker.lower())
        if who == role:
            said = content or said  # a call of a tool has no content
        elif who == "user":
            said = None  # a question after it: that was the answer to another one
    return said


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
        turns.append((role, _said(content)))
    return turns


def _said(content: Any) -> str | None:
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


def _column(table: read.Table, what: str, config: Config) -> str:
    given = getattr(config, f"{what}_column")
    names = (given,) if given else _USUAL[what]
    for name in names:
        if name in table.names:
            return name
    flag = "" if given else f"; name yours with --{what}-column"
    found = [read.shown(name) for name in table.names]
    there = ", ".join(found[:_SHOWN]) + (f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else "")
    raise InputError(f"{table.where}: no column {' or '.join(names)}; found {there}{flag}.")


def text(table: read.Table, name: str, role: str = "", chats: bool = False) -> pa.Array:
    """A column as text: strings, numbers, the names of labels, or what `role` says in chat messages.

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
                f"{table.row(row)}: column {read.shown(name)} holds half a character (a lone surrogate)."
            ) from None
        except (TypeError, ValueError, AttributeError):
            wanted = "chat messages were" if chats else "text or chat messages were" if role else "text was"
            raise InputError(
                f"{table.row(row)}: column {read.shown(name)} holds {_kind(cell)}, where {wanted} wanted."
            ) from None
    if not any(found):
        roles = sorted({speaker for cell in cells if isinstance(cell, (list, dict)) for speaker, _ in _turns(cell)})
        if not roles or role in {_ROLES.get(speaker.lower()) for speaker in roles}:
            return pa.array(found, pa.string())  # there are turns, though none with text
        raise InputError(
            f"{table.where}: no turn of the {role} in column {read.shown(name)}; roles found are"
            f" {', '.join(map(read.shown, roles[:_SHOWN]))}."
        )
    return pa.array(found, pa.string())


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


def _fetched(name: str, config: Config) -> tuple[Dataset, str]:
    """A split of a Hub dataset, and the commit it is of.

    Raises:
        InputError: the Hub has no such thing, or cannot be reached.
    """
    from datasets import load_dataset
    from datasets.exceptions import DatasetsError
    from huggingface_hub import HfApi

    try:
        commit = HfApi().dataset_info(name, revision=config.revision or None).sha
        rows = load_dataset(name, config.config or None, split=config.split, revision=commit)
    except packages.unreachable(OSError, ValueError, TypeError, KeyError, RuntimeError, DatasetsError) as error:
        said = (getattr(error, "server_message", "") or str(error) or type(error).__name__).strip().splitlines()[0]
        raise InputError(
            f"{name}: neither a file nor a split that the Hub gives ({said.rstrip('.')}); check the name, --config,"
            " --split and --revision, and HF_TOKEN where it is private."
        ) from None
    if not len(rows):
        raise InputError(f"{name}: split {config.split} holds no rows.")
    return rows, str(commit)
