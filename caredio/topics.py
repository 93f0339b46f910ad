"""The cultural topics questions are written on: `topics.yaml`, or the user's own file on top of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from caredio import yamlfile
from caredio.errors import InputError

SHIPPED = Path(__file__).with_name("topics.yaml")
LEVELS = ("values", "norms", "practices", "customs")
_TYPES = {"topic_id": str, "level": str, "topic": str, "description": str}


@dataclass(frozen=True)
class Topic:
    """One of the 38 topics, on one of four levels from shared values to daily customs (seed 001, A.1)."""

    topic_id: str
    level: str
    topic: str
    description: str


def load(path: Path | str | None = None) -> dict[str, Topic]:
    """All known topics by topic_id; entries of `path` add to the shipped ones or override their fields.

    Raises:
        InputError: names the file and line of a mistake.
    """
    entries = yamlfile.layered([SHIPPED, *([Path(path)] if path else [])], _TYPES, key="topic_id")
    for entry, where in entries.values():
        if entry["level"] not in LEVELS:
            raise InputError(f"{where}: level must be one of {', '.join(LEVELS)}, found {entry['level']!r}.")
    return {topic_id: Topic(**entry) for topic_id, (entry, _) in entries.items()}
