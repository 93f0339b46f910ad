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


class Described(NamedTuple):
    """A column: its type in words, its meaning, and in which kinds of config it stands."""

    name: str
    type: str
    meaning: str
    kinds: list[str]


def described(kinds: Mapping[str, Features]) -> list[Described]:
    """Every column once, in the order in which it is met.

    Args:
        kinds: what a kind of config is called -> its columns.
    """
    met: dict[str, Described] = {}
    for kind, columns in kinds.items():
        for name, type_ in columns.items():
            meaning = features.COLUMNS[name].meaning
            met.setdefault(name, Described(name, _type(type_), meaning, [])).kinds.append(kind)
    return list(met.values())


def _type(feature: Any) -> str:
    """A column's type in words: int32, string, list of {role, content}."""
    if isinstance(feature, List):
        length = f"{feature.length} " if feature.length > 0 else ""
        return f"list of {length}{_type(feature.feature)}"
    if isinstance(feature, Value):
        return str(feature.dtype)
    return f"{{{', '.join(feature)}}}"
