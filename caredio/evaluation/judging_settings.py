"""The settings of a judge."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypedDict

from caredio import settings
from caredio.errors import InputError
from caredio.settings import setting

AUTO = "auto"
# rubric -> the ends of its scale; its text is the prompt judge_<rubric>.txt
SCALES = {"entities": (1, 10), "norms": (1, 10), "literacy": (1, 10), "quality": (1, 5), "awareness": (1, 5)}


@dataclass(frozen=True)
class Settings(settings.Settings):
    """The settings of a judge."""

    benchmark: str | None = setting(
        None, "benchmark whose replies are judged, such as care; default: every one", "judged", everyday=True
    )
    rubric: str = setting(
        AUTO,
        "criteria and scale; auto takes those of the benchmark, or of the question's category",
        "judged",
        choices=(AUTO, *SCALES),
        everyday=True,
    )
    against: str | None = setting(
        None,
        "system that each other one is compared with, both orders asked; default: each reply is rated alone",
        "judged",
        everyday=True,
    )
    repeats: int = setting(1, "times each reply is judged", "judged", everyday=True)
    temperature: float | None = setting(
        0.0, "sampling temperature of the judge; none leaves it to the endpoint", "judged", everyday=True
    )
    column: str | None = setting(
        None, "name of a second judge, which makes its ratings a benchmark of their own", "judged"
    )
    question_field: str = setting("question", "field of a sample's document that holds the question", "judged")
    reference_field: str | None = setting(
        None, "field that holds the reference; default: answers, answer, or none", "judged"
    )
    seed: int = setting(0, "of the order in which replies are judged, and of intervals", "judged", counts=False)
    prompts: str | None = setting(None, "folder whose judge_*.txt state criteria and form", "judged", counts=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.repeats < 1:
            raise InputError(f"repeats is {self.repeats}; a reply is judged at least once.")
        if self.column is not None and not (self.column.isascii() and self.column.replace("_", "").isalnum()):
            raise InputError(f"column is {self.column!r}; use letters, digits and _, as it is part of a file's name.")


class Options(TypedDict, total=False):
    """`Settings` as named parameters; `seed` and `prompts` are parameters of the verb."""

    benchmark: str | None
    rubric: str
    against: str | None
    repeats: int
    temperature: float | None
    column: str | None
    question_field: str
    reference_field: str | None
