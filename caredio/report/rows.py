"""What a page shows of each culture: its best rows, each beside what other cultures answered."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from datasets import Dataset

_SHOWN = 6  # rows of a culture
_CULTURES = 3  # whose answers stand beside a row; those of others are folded
_ANSWERS = 3  # of another culture, where they are short
_SHORT, _LONGEST = 60, 1200  # characters of an answer that is short; of any text


class Answer(NamedTuple):
    """What another culture answered."""

    culture: str
    texts: list[str]


class Row(NamedTuple):
    """A ranked row as a page shows it."""

    rank: int
    score: str
    question: str
    response: str
    beside: list[Answer]
    folded: list[Answer]


def best(ranked: Dataset) -> dict[str, list[Row]]:
    """Culture -> its first rows."""
    names = ["culture", "rank", "score", "question", "response", "others"]
    found: dict[str, list[Row]] = {}
    first = [number for number, rank in enumerate(ranked["rank"][:]) if rank <= _SHOWN]
    rows: Iterable[Mapping[str, Any]] = ranked.select(first).select_columns(names)
    for row in sorted(rows, key=lambda one: (one["culture"], one["rank"])):
        found.setdefault(row["culture"], []).append(_row(row))
    return found


def _row(row: Mapping[str, Any]) -> Row:
    given: dict[str, list[str]] = {}
    for other in row["others"] or ():
        texts = given.setdefault(other["culture"], [])
        if other["response"] not in texts:
            texts.append(other["response"])
    answers = [Answer(culture, _few(texts)) for culture, texts in given.items()]
    score = "" if row["score"] is None else f"{row['score']:.3g}"
    own = clipped(row["question"]), clipped(row["response"])
    return Row(row["rank"], score, *own, answers[:_CULTURES], answers[_CULTURES:])


def _few(texts: list[str]) -> list[str]:
    """The first text and, as far as they are short, the next ones."""
    shown = [clipped(texts[0])]
    for text in texts[1:_ANSWERS]:
        if max(len(text), len(texts[0])) > _SHORT:
            break
        shown.append(text)
    return shown


def clipped(text: str) -> str:
    """Text of no more than some characters."""
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} …"
