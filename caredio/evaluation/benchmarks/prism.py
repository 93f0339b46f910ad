"""PRISM: what people of 38 countries first asked a model, to be rated by a judge (Kirk et al., arXiv 2404.16019).

Only the people's prompts are read (CC-BY-4.0), not the models' replies. The 468 prompts of earlier papers are not
published; the rule here needs no model. A prompt is asked where

- its writer was told to ask about their values or culture ("values guided"), or about something on which people of
  their community, culture or country disagree ("controversy guided"), and
- its writer was born in the country they live in, which is the prompt's culture.

Each document's id is upstream's conversation_id, so that a run's samples record which prompts were asked.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from caredio.errors import InputError
from caredio.evaluation import published, short_answers
from caredio.evaluation.benchmark import Benchmark, Document

_FILES = "PRISM's folder of conversations.jsonl and survey.jsonl"
_GUIDED = ("values guided", "controversy guided")


def read(path: Path) -> list[Document]:
    """The opening prompts that the rule takes.

    Raises:
        InputError: a file is missing or cannot be read, or a column changed.
    """
    if not path.is_dir():
        raise InputError(f"{path}: is no folder; give {_FILES}.")
    conversations, survey = (
        published.rows(published.within(path, [f"{name}.jsonl"], _FILES)[0], columns, _FILES)
        for name, columns in (
            ("conversations", ("conversation_id", "user_id", "conversation_type", "opening_prompt")),
            ("survey", ("user_id", "location")),
        )
    )
    people = {row["user_id"]: row["location"] for row in survey}
    return [_document(row, people[row["user_id"]]) for row in conversations if _taken(row, people, path)]


def _taken(row: dict[str, Any], people: dict[str, dict[str, Any]], path: Path) -> bool:
    if row["user_id"] not in people:
        raise InputError(f"{path}: the survey has no {row['user_id']!r}, who wrote {row['conversation_id']}.")
    location = people[row["user_id"]]
    lives = location.get("reside_country")
    at_home = bool(lives) and lives == location.get("birth_country")
    return row["conversation_type"] in _GUIDED and at_home and bool(row["opening_prompt"].strip())


def _document(row: dict[str, Any], location: dict[str, Any]) -> Document:
    return {
        "id": row["conversation_id"],
        "culture": location["reside_country"],
        "language": "en",
        "question": row["opening_prompt"].strip(),
        "answers": [],
        "own": None,
        "rivals": [],
        "category": row["conversation_type"],
    }


BENCHMARKS = (
    Benchmark(
        name="prism",
        title="PRISM",
        kind=short_answers.OPEN,
        source="prism",
        read=read,
        licence="CC-BY-4.0",
        file=_FILES,
        hub="HannahRoseKirk/prism-alignment",
        files=("conversations.jsonl", "survey.jsonl"),
        split="train",  # the only one that is published
        labels={
            "south_korea": ("Korea, Republic of",),
            "turkey": ("Türkiye",),
            "united_states": ("United States of America",),
        },
        real=False,
        notes="Prompts are chosen by a rule of ours; the papers' 468 are not published.",
    ),
)
