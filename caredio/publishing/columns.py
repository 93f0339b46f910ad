"""The columns of a release, as its card and its Croissant file describe them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from datasets import Features, List, Value

from caredio import features

# of a ranked row, what somebody who looks in for the first time is shown
MAIN = (
    *("prompt", "completion", "culture", "rank", "score", "representativeness", "distinctiveness"),
    *("question", "response", "others", "question_id", "sample_id"),
)
# what columns mean where the rows are those of a table of one's own, which no model of the run wrote
_OF_A_TABLE = {
    "culture": "the culture, as the table calls it",
    "response": "the answer, as the table has it",
    "universal_question": "the table's column of that name",
    "generator": "what the table names as the writer",
    "model_revision": "the table's column of that name",
    "others": "answers of other cultures to this question, of the table",
    "panel": "other answers of the same culture to this question, of the table",
    "weight": "how many people gave the answer, as the table's weight says, added up over equal rows; else 1",
}


class Described(NamedTuple):
    """A column: its type in words, its meaning, and in which kinds of config it stands."""

    name: str
    type: str
    meaning: str
    kinds: list[str]


def meaning(name: str, of_a_table: bool) -> str:
    """What a column means, of rows that were written for the release or are a table's of one's own."""
    return _OF_A_TABLE.get(name, features.COLUMNS[name].meaning) if of_a_table else features.COLUMNS[name].meaning


def described(kinds: Mapping[str, Features], of_a_table: bool) -> list[Described]:
    """Every column once, in the order in which it is met.

    Args:
        kinds: what a kind of config is called -> its columns.
        of_a_table: whether the rows are a table's of one's own.
    """
    met: dict[str, Described] = {}
    for kind, columns in kinds.items():
        for name, type_ in columns.items():
            new = Described(name, _type(type_), meaning(name, of_a_table), [])
            met.setdefault(name, new).kinds.append(kind)
    return list(met.values())


def _type(feature: Any) -> str:
    """A column's type in words: int32, string, list of {role, content}."""
    if isinstance(feature, List):
        length = f"{feature.length} " if feature.length > 0 else ""
        return f"list of {length}{_type(feature.feature)}"
    if isinstance(feature, Value):
        return str(feature.dtype)
    return f"{{{', '.join(feature)}}}"
