"""What a page shows of each culture: its best rows, each beside what other cultures answered."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from datasets import Dataset

from caredio import features

_SHOWN = 6  # rows of a culture
_CULTURES = 3  # whose answers stand beside a row; those of others are folded
_ANSWERS = 3  # of another culture, where they are short
_SHORT, _LONGEST = 60, 1200  # characters of an answer that is short; of any text


class Answer(NamedTuple):
    """What another culture answered: some texts, who gave each (empty where nobody was counted), and how many more."""

    culture: str
    texts: list[tuple[str, str]]
    more: int = 0


class Row(NamedTuple):
    """A ranked row as a page shows it."""

    rank: int
    score: str
    question: str
    response: str
    people: str
    beside: list[Answer]
    folded: list[Answer]


def best(ranked: Dataset, pool: Dataset | None = None) -> dict[str, list[Row]]:
    """Culture -> its first rows.

    Args:
        pool: the scored rows of a table of one's own, of which other cultures' answers are taken, the most frequent
            first; else they are those beside the row.
    """
    names = ["culture", "question_id", "rank", "score", "question", "response", "others"]
    found: dict[str, list[Row]] = {}
    first = [number for number, rank in enumerate(ranked["rank"][:]) if rank <= _SHOWN]
    rows: Iterable[Mapping[str, Any]] = ranked.select(first).select_columns(names)
    answers = _answers(pool, set(ranked.select(first)["question_id"][:])) if pool is not None else {}
    counted = pool is not None and any(weight != 1 for weight in features.weights(pool))
    for row in sorted(rows, key=lambda one: (one["culture"], one["rank"])):
        found.setdefault(row["culture"], []).append(_row(row, answers, counted))
    return found


def _answers(pool: Dataset, questions: set[str]) -> dict[tuple[str, str], Counter[str]]:
    """(question_id, culture) -> each answer and how many people gave it."""
    found: dict[tuple[str, str], Counter[str]] = {}
    columns = (pool[name][:] for name in ("question_id", "culture", "response"))
    for question, culture, response, weight in zip(*columns, features.weights(pool), strict=True):
        if question in questions:
            found.setdefault((question, culture), Counter())[response] += weight
    return found


def _row(row: Mapping[str, Any], answers: Mapping[tuple[str, str], Counter[str]], counted: bool) -> Row:
    given: dict[str, dict[str, float]] = {}
    for other in row["others"] or ():
        every = answers.get((row["question_id"], other["culture"]))
        if every is None:
            given.setdefault(other["culture"], {}).setdefault(other["response"], 1)
        elif other["culture"] not in given:
            given[other["culture"]] = dict(every.most_common())
    beside = [_few(culture, texts, counted) for culture, texts in given.items()]
    score = "" if row["score"] is None else f"{row['score']:.3g}"
    own = clipped(row["question"]), clipped(row["response"])
    weight = answers.get((row["question_id"], row["culture"]), Counter()).get(row["response"])
    people = _people(weight) if counted and weight else ""
    return Row(row["rank"], score, *own, people, beside[:_CULTURES], beside[_CULTURES:])


def _few(culture: str, texts: Mapping[str, float], counted: bool) -> Answer:
    """The first text and, as far as they are short, the next ones."""
    shown: list[tuple[str, str]] = []
    for text, weight in list(texts.items())[:_ANSWERS]:
        if shown and max(len(text), len(shown[0][0])) > _SHORT:
            break
        shown.append((clipped(text), _people(weight) if counted else ""))
    return Answer(culture, shown, len(texts) - len(shown))


def _people(weight: float) -> str:
    """A weight in words; one that is no whole number counts no people."""
    if not float(weight).is_integer():
        return f"weight {weight:.3g}"
    return f"{weight:,.0f} {'person' if weight == 1 else 'people'}"


def clipped(text: str) -> str:
    """Text of no more than some characters."""
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} …"
