"""A table of one's own, from a file or the Hub, with its columns named as selection names them.

file or Hub dataset -> question_id, question, response, culture, and what else it holds. Text may stand in chat
messages, as TRL's datasets have it: the last user turn is the question, the assistant's answer to it the response.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
from datasets import ClassLabel, Dataset, List, Value

from caredio import features
from caredio.errors import InputError
from caredio.selection import read

# where text is looked for when no column is named
_USUAL = {
    "question": ("question", "prompt", "messages"),
    "response": ("response", "completion", "messages"),
    "culture": ("culture",),
    "id": ("question_id",),
}
_SPEAKER = {"question": "user", "response": "assistant"}
_BY = ("id", "text")


@dataclass(frozen=True)
class Config:
    config: str = field(default="", metadata={"help": "of a Hub dataset: the config, where it has several"})
    split: str = field(default="train", metadata={"help": "of a Hub dataset: the split"})
    revision: str = field(default="", metadata={"help": "of a Hub dataset: branch, tag or commit"})
    question_column: str = field(
        default="", metadata={"help": "text or chat messages; default: question, else prompt, else messages"}
    )
    response_column: str = field(
        default="", metadata={"help": "text or chat messages; default: response, else completion, else messages"}
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
        Rows with question, response, culture and, unless questions match by their text, question_id; other columns
        stay. The record holds the table's name, its hash (sha256 of the file, commit of the Hub) and the Config.

    Raises:
        InputError: there is no such table, or a column is missing or holds no text.
    """
    if Path(name).suffix in read.READERS or Path(name).exists() or not re.fullmatch(r"[\w.-]+/[\w.-]+", name):
        rows, sha256 = read.table(Path(name))
        record = {"table": Path(name).name, "sha256": sha256}
    else:
        rows, commit = _fetched(name, config)
        record = {"table": name, "commit": commit}
    asked = {key: value for key, value in asdict(config).items() if value != getattr(Config, key)}
    return renamed(rows, config, name), {**record, **asked}


def renamed(rows: Dataset, config: Config, where: str) -> Dataset:
    """`rows` with question, response, culture and question_id out of the columns that the Config, or custom, names.

    Raises:
        InputError: a column is not there, or holds neither text nor chat messages; `where` names the table.
    """
    columns = {}
    for what in ("question", "response"):
        columns[what] = _text(rows, _column(rows, what, config, where), _SPEAKER[what], where)
    columns["culture"] = _text(rows, _column(rows, "culture", config, where), "", where)
    if config.match_by == "id" or config.id_column or (not config.match_by and _USUAL["id"][0] in rows.column_names):
        columns["question_id"] = _text(rows, _column(rows, "id", config, where), "", where)
    left = rows.with_format("arrow")[:].drop_columns([name for name in features.OWN if name in rows.column_names])
    return features.in_memory(pa.table({**dict(zip(left.column_names, left.columns, strict=True)), **columns}))


def turn(messages: list[dict[str, Any]] | None, role: str) -> str | None:
    """What `role` says last, in chat messages: of the user the question, of the assistant the answer that follows it.

    None where the conversation has no such turn, or stops before it.
    """
    said: str | None = None
    for message in messages or []:
        if message["role"] == role:
            said = message["content"]
        elif message["role"] == "user":
            said = None  # a question after it: that was the answer to another one
    return said


def _column(rows: Dataset, what: str, config: Config, where: str) -> str:
    given = getattr(config, f"{what}_column")
    names = (given,) if given else _USUAL[what]
    for name in names:
        if name in rows.column_names:
            return name
    flag = "" if given else f"; name yours with --{what}-column"
    raise InputError(f"{where}: no column {' or '.join(names)}; found {', '.join(rows.column_names)}{flag}.")


def _text(rows: Dataset, name: str, role: str, where: str) -> pa.ChunkedArray:
    """A column as text: strings, numbers, the names of labels, or what `role` says in chat messages."""
    kind = rows.features[name]
    column = rows.select_columns([name]).with_format("arrow")[:][name]
    if isinstance(kind, ClassLabel):
        return pa.chunked_array([pa.array(kind.names).take(chunk) for chunk in column.chunks], pa.string())
    if isinstance(kind, Value) and re.match("string|large_string|null|u?int|float", kind.dtype):
        return column.cast(pa.string())
    messages = isinstance(kind, List) and isinstance(kind.feature, dict) and {"role", "content"} <= kind.feature.keys()
    if role and messages and kind.feature["content"] in (Value("string"), Value("large_string"), Value("null")):
        return pa.chunked_array([pa.array([turn(chat, role) for chat in column.to_pylist()], pa.string())])
    wanted = "text or chat messages were" if role else "text was"
    raise InputError(f"{where}: column {name} holds {kind}, where {wanted} wanted.")


def _fetched(name: str, config: Config) -> tuple[Dataset, str]:
    """A split of a Hub dataset, and the commit it is of.

    Raises:
        InputError: the Hub has no such thing, or cannot be reached.
    """
    import httpx2
    from datasets import load_dataset
    from datasets.exceptions import DatasetsError
    from huggingface_hub import HfApi

    try:
        commit = HfApi().dataset_info(name, revision=config.revision or None).sha
        rows = load_dataset(name, config.config or None, split=config.split, revision=commit)
    except (OSError, ValueError, RuntimeError, DatasetsError, httpx2.TransportError) as error:
        said = (getattr(error, "server_message", "") or str(error) or type(error).__name__).strip().splitlines()[0]
        raise InputError(
            f"{name}: neither a file nor a split that the Hub gives ({said.rstrip('.')}); check the name, --config,"
            " --split and --revision, and HF_TOKEN where it is private."
        ) from None
    if not len(rows):
        raise InputError(f"{name}: split {config.split} holds no rows.")
    return rows, str(commit)
