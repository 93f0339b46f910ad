"""Questions with known answers, by culture: what in-context representativeness is measured on, and rds selects by.

A csv file in the form of BLEnD's multiple-choice questions (columns country, prompt, choices, answer_idx).
CulturalBench is kept whole for testing.
"""

from __future__ import annotations

import csv
import hashlib
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from caredio import cultures, prompts
from caredio.errors import InputError

_COLUMNS = ("country", "prompt", "choices", "answer_idx")
_SHORT = {"united_kingdom": "uk", "united_states": "us"}
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"answer": {"type": "string", "enum": list("ABCDEFGH")}},
    "required": ["answer"],
    "additionalProperties": False,
}


_T = TypeVar("_T")


class Item(NamedTuple):
    question: str  # with its options, one a line, to be answered with JSON
    key: str  # the letter of the right option
    letters: tuple[str, ...]  # of the options
    by_letter: str  # the question with its options, to be answered with a letter alone


class _Row(NamedTuple):
    culture: str  # a slug
    question: str
    choices: dict[str, str]  # letter -> option
    key: str


def read(path: Path | str, folders: str | None = None) -> dict[str, list[Item]]:
    """The items of a file by country, as a slug, asked as the prompt of the `folders`, or the shipped one, does.

    Raises:
        InputError: names the file, and the row and column of a mistake; there is no row.
    """
    items: dict[str, list[Item]] = defaultdict(list)
    in_json, by_letter = prompts.load("validation", folders), prompts.load("choice", folders)
    for row in _rows(path):
        asked = {
            "question": row.question,
            "options": "\n".join(f"{letter}. {text}" for letter, text in row.choices.items()),
        }
        *first, last = row.choices
        letters = f"{', '.join(first)} and {last}" if first else last
        alone = by_letter.part("generated", letters=letters, **asked)
        items[row.culture].append(Item(in_json.part("user", **asked), row.key, tuple(row.choices), alone))
    return dict(items)


def answered(path: Path | str) -> dict[str, list[tuple[str, str]]]:
    """The questions of a file by country, as a slug, each with its right answer. Raises as `read` does."""
    found: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for row in _rows(path):
        found[row.culture].append((row.question, str(row.choices[row.key])))
    return dict(found)


def digest(path: Path | str, folders: str | None = None) -> str:
    """The hash of a file's items, by which a changed file is known. Raises as `read` does."""
    return hashlib.sha256(json.dumps(read(path, folders), sort_keys=True).encode()).hexdigest()


def of(items: Mapping[str, list[_T]], culture: str, path: str) -> list[_T]:
    """The items of a culture.

    Raises:
        InputError: there are none.
    """
    slug = cultures.slug(culture)
    found = items.get(slug) or items.get(_SHORT.get(slug, ""))
    if not found:
        raise InputError(f"{path}: no question on {culture}; found {', '.join(sorted(items))}.")
    return found


def _rows(path: Path | str) -> Iterator[_Row]:
    count = 0
    try:
        with Path(path).open(encoding="utf-8-sig", newline="") as file:  # spreadsheets write a mark first
            reader = csv.DictReader(file)
            missing = [name for name in _COLUMNS if name not in (reader.fieldnames or [])]
            if missing:
                raise InputError(f"{path}: column {', '.join(missing)} is missing; found {reader.fieldnames}.")
            for count, row in enumerate(reader, start=1):
                yield _row(row, f"{path}, row {count}")
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}).") from None
    except UnicodeDecodeError:
        raise InputError(f"{path}: is not UTF-8 text.") from None
    except csv.Error as error:
        raise InputError(f"{path}: is not valid CSV ({error}).") from None
    if not count:
        raise InputError(f"{path}: holds no questions.")


def _row(row: dict[str, Any], place: str) -> _Row:
    try:
        choices = dict(json.loads(row["choices"]).items())
    except (ValueError, AttributeError, TypeError):
        raise InputError(f"{place}: choices is no JSON object of letter and text.") from None
    question = (row["prompt"] or "").split(" Without any explanation")[0].strip()  # BLEnD goes on with a format
    if not question:
        raise InputError(f"{place}: prompt is empty.")
    if row["answer_idx"] not in choices or not set(choices) <= set(SCHEMA["properties"]["answer"]["enum"]):
        raise InputError(f"{place}: answer_idx {row['answer_idx']!r} is none of the choices {', '.join(choices)}.")
    return _Row(cultures.slug((row["country"] or "").strip()), question, choices, row["answer_idx"])
