"""Questions with known answers, by culture: what in-context representativeness is measured on.

A csv file in the form of BLEnD's multiple-choice questions (columns country, prompt, choices, answer_idx).
CulturalBench is kept whole for testing.
"""

from __future__ import annotations

import csv
import json
from collections import defaultdict
from pathlib import Path
from typing import Any, NamedTuple

from caredio.errors import InputError

_COLUMNS = ("country", "prompt", "choices", "answer_idx")
_SHORT = {"united_kingdom": "uk", "united_states": "us"}
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"answer": {"type": "string", "enum": list("ABCDEFGH")}},
    "required": ["answer"],
    "additionalProperties": False,
}


class Item(NamedTuple):
    question: str  # with its options, one a line
    key: str  # the letter of the right option


def read(path: Path | str) -> dict[str, list[Item]]:
    """The items of a file by country, in lower case with underscores.

    Raises:
        InputError: names the file, and the row and column of a mistake.
    """
    items: dict[str, list[Item]] = defaultdict(list)
    try:
        with Path(path).open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            missing = [name for name in _COLUMNS if name not in (reader.fieldnames or [])]
            if missing:
                raise InputError(f"{path}: column {', '.join(missing)} is missing; found {reader.fieldnames}.")
            for number, row in enumerate(reader, start=1):
                country = (row["country"] or "").strip().lower().replace(" ", "_")
                items[country].append(_item(row, f"{path}, row {number}"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}).") from None
    except UnicodeDecodeError:
        raise InputError(f"{path}: is not UTF-8 text.") from None
    return dict(items)


def of(items: dict[str, list[Item]], culture: str, path: str) -> list[Item]:
    """The items of a culture.

    Raises:
        InputError: there are none.
    """
    found = items.get(culture) or items.get(_SHORT.get(culture, ""))
    if not found:
        raise InputError(f"{path}: no question on {culture}; found {', '.join(sorted(items))}.")
    return found


def _item(row: dict[str, Any], where: str) -> Item:
    try:
        choices = json.loads(row["choices"])
        options = [f"{letter}. {text}" for letter, text in choices.items()]
    except (ValueError, AttributeError, TypeError):
        raise InputError(f"{where}: choices is no JSON object of letter and text.") from None
    if row["answer_idx"] not in choices or not set(choices) <= set(SCHEMA["properties"]["answer"]["enum"]):
        raise InputError(f"{where}: answer_idx {row['answer_idx']!r} is none of the choices {', '.join(choices)}.")
    # BLEnD's prompt goes on with a format of its own after the question
    question = row["prompt"].split(" Without any explanation")[0].strip()
    return Item("\n".join([question, *options, 'Answer with JSON: {"answer": letter}']), row["answer_idx"])
