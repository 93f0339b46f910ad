"""A table of one's own made into candidates: every row meets what others said to the same question.

own rows -> candidates. The others are drawn by seed: up to `compared` cultures, one answer each (seed 001, Eq. 1). The
panel is what the row's own culture said besides.
"""

from __future__ import annotations

import hashlib
import random
import re
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
from datasets import Dataset, Features, Value

from caredio import features
from caredio.errors import InputError

_PANEL = 8  # answers of its own culture that a row keeps


@dataclass(frozen=True)
class Config:
    compared: int = field(default=4, metadata={"help": "other cultures whose answers distinctiveness compares"})
    seed: int = field(default=0, metadata={"help": "seed of every draw"})

    def __post_init__(self) -> None:
        if self.compared < 1:
            raise InputError("compared must be at least 1: distinctiveness needs another culture.")


def run(table: Dataset, config: Config) -> Dataset:
    """Make candidates of rows with `question`, `response` and `culture`.

    Args:
        table: rows of text; equal `question_id`s are the same question asked in several cultures. Without that column
            the same question is the same text. Other columns of `features.CANDIDATES` are taken over, the rest is left.

    Returns:
        `features.CANDIDATES` and `drop_reason` (empty, duplicate). Rows of a question that no other culture answered
        have no others; distinct.py says so.

    Raises:
        InputError: a column is missing, or there is no row.
    """
    table = _typed(table)
    if "question_id" not in table.column_names and "question" in table.column_names:
        ids = [hashlib.sha256((text or "").strip().encode()).hexdigest()[:16] for text in table["question"]]
        table = table.add_column("question_id", ids)
    table = features.require(table, features.OWN, "the table")
    for culture in sorted({name.strip() for name in table["culture"] if name}):
        if culture and not re.fullmatch(r"[^\W_][\w .-]*", culture):  # it will name a file and a config
            raise InputError(f"the table: culture {culture!r} must be letters, digits, spaces, '_', '.' or '-' only.")
    rows: list[dict[str, Any]] = []
    first: dict[str, tuple[str, int]] = {}  # sample_id -> (question_id, row) of the copy that is kept
    said: dict[str, dict[str, list[tuple[str, str]]]] = defaultdict(lambda: defaultdict(list))
    for place, row in enumerate(table):
        row |= {name: (row[name] or "").strip() for name in features.OWN}
        row["sample_id"] = features.sample_id(row["culture"], row["question"], row["response"])
        row["drop_reason"] = None if all(row[name] for name in features.OWN) else "empty"
        if row["drop_reason"] is None:
            copy = (row["question_id"], place)
            first[row["sample_id"]] = min(first.get(row["sample_id"], copy), copy)
        rows.append(row)
    for place, row in enumerate(rows):
        if row["drop_reason"] is None and first[row["sample_id"]][1] != place:
            row["drop_reason"] = "duplicate"
        if row["drop_reason"] is None:
            said[row["question_id"]][row["culture"]].append((row["sample_id"], row["response"]))
    records = [
        {
            **{name: row.get(name) for name in features.CANDIDATES},
            "others": others(said[row["question_id"]], row, config) if row["drop_reason"] is None else [],
            "panel": panel(said[row["question_id"]], row, config) if row["drop_reason"] is None else [],
            "drop_reason": row["drop_reason"],
        }
        for row in rows
    ]
    columns = Features({**features.CANDIDATES, "drop_reason": Value("string")})
    return features.table(records, columns)


def _typed(table: Dataset) -> Dataset:
    """The columns that candidates have, as candidates have them."""
    for name in features.CANDIDATES:
        if name in table.column_names and name not in ("others", "panel"):
            try:
                table = table.cast_column(name, features.CANDIDATES[name])
            except (pa.ArrowException, TypeError, ValueError, AttributeError):
                raise InputError(
                    f"the table: column {name} holds {table.features[name]}, where {features.CANDIDATES[name]} was"
                    " wanted; rename or remove it."
                ) from None
    return table


def others(said: dict[str, list[tuple[str, str]]], row: dict[str, Any], config: Config) -> list[dict[str, Any]]:
    """One answer each of up to `config.compared` other cultures, out of culture -> [(sample_id, response)].

    The draw depends on the seed and the row alone, not on the order of the table.
    """
    draw = random.Random(f"{config.seed}/{row['sample_id']}")
    rest = sorted(culture for culture in said if culture != row["culture"])
    found = []
    for culture in draw.sample(rest, min(config.compared, len(rest))):
        sample_id, response = draw.choice(sorted(said[culture]))
        found.append({"culture": culture, "sample_id": sample_id, "response": response, "shown": False})
    return found


def panel(said: dict[str, list[tuple[str, str]]], row: dict[str, Any], config: Config) -> list[dict[str, Any]]:
    """Up to `_PANEL` other answers of the row's culture, out of culture -> [(sample_id, response)].

    Drawn, as the others are: each of a survey's answers with all the rest would be a table of their square.
    """
    draw = random.Random(f"{config.seed}/{row['sample_id']}/panel")
    rest = sorted(answer for answer in said[row["culture"]] if answer[0] != row["sample_id"])
    return [
        {"persona": None, "sample_id": sample_id, "response": response}
        for sample_id, response in draw.sample(rest, min(_PANEL, len(rest)))
    ]
