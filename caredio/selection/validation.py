"""Questions with known answers, by culture: what in-context representativeness is measured on.

A csv file in the form of BLEnD's multiple-choice questions (columns country, prompt, choices, answer_idx).
CulturalBench is kept whole for testing.
"""

from __future__ import annotations

import csv
import hashlib
import json
from collections import defaultdict
from pathlib import Path
from typing import Any, NamedTuple

from caredio import cultures, prompts
from caredio.errors import InputError
from caredio.prompts import Prompt

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


def read(path: Path | str, folders: str | None = None) -> dict[str, list[Item]]:
    """The items of a file by country, as a slug, asked as the prompt of the `folders`, or the shipped one, does.

    Raises:
        InputError: names the file, and the row and column of a mistake; there is no row.
    """
    items: dict[str, list[Item]] = defaultdict(list)
    template = prompts.load("validation", folders)
    try:
        with Path(path).open(encoding="utf-8-sig", newline="") as file:  # spreadsheets write a mark first
            reader = csv.DictReader(file)
            missing = [name for name in _COLUMNS if name not in (reader.fieldnames or [])]
            if missing:
                raise InputError(f"{path}: column {', '.join(missing)} is missing; found {reader.fieldnames}.")
            for number, row in enumerate(reader, start=1):
                items[cultures.slug((row["country"] or "").strip())].append(
                    _item(row, f"{path}, row {number}", template)
                )
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}).") from None
    except UnicodeDecodeError:
        raise InputError(f"{path}: is not UTF-8 text.") from None
    except csv.Error as error:
        raise InputError(f"{path}: is not valid CSV ({error}).") from None
    if not items:
        raise InputError(f"{path}: holds no questions.")
    return dict(items)


def digest(path: Path | str, folders: str | None = None) -> str:
    """The hash of a file's items, by which a changed file is known. Raises as `read` does."""
    return hashlib.sha256(json.dumps(read(path, folders), sort_keys=True).encode()).hexdigest()


def of(items: dict[str, list[Item]], culture: str, path: str) -> list[Item]:
    """The items of a culture.

    Raises:
        InputError: there are none.
    """
    slug = cultures.slug(culture)
    found = items.get(slug) or items.get(_SHORT.get(slug, ""))
    if not found:
        raise InputError(f"{path}: no question on {culture}; found {', '.join(sorted(items))}.")
    return found


def _item(row: dict[str, Any], place: str, template: Prompt) -> Item:
    try:
        choices = json.loads(row["choices"])
        options = [f"{letter}. {text}" for letter, text in choices.items()]
    except (ValueError, AttributeError, TypeError):
        raise InputError(f"{place}: choices is no JSON object of letter and text.") from None
    question = (row["prompt"] or "").split(" Without any explanation")[0].strip()  # BLEnD goes on with a format
    if not question:
        raise InputError(f"{place}: prompt is empty.")
    if row["answer_idx"] not in choices or not set(choices) <= set(SCHEMA["properties"]["answer"]["enum"]):
        raise InputError(f"{place}: answer_idx {row['answer_idx']!r} is none of the choices {', '.join(choices)}.")
    return Item(template.part("user", question=question, options="\n".join(options)), row["answer_idx"])
