"""The settings of what training reads besides the ranked rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypedDict

from caredio import settings
from caredio.errors import InputError
from caredio.settings import setting

REJECTED = ("all", "hardest", "one")
ORIGINS = ("native", "foreign", "mixed")


@dataclass(frozen=True)
class Settings(settings.Settings):
    """The settings of the views, by stage."""

    rejected: str = setting(
        "all",
        "whose answers a row's own is preferred over: all other cultures', the one most like it, or one drawn by seed",
        "preference",
        choices=REJECTED,
    )
    pairs: int = setting(3, "all: most preference pairs of a row; of more, those drawn by seed", "preference")
    length_ratio: float = setting(
        0.25,
        "share of the longer side's characters by which the sides of a pair may differ; 1 is no limit",
        "preference",
    )
    origin: str | None = setting(
        None,
        "of rated responses, the questions: on the raters' own culture, on others, or half of each, equally many;"
        " default: every question",
        "rated_preference",
        choices=ORIGINS,
    )
    seed: int = setting(0, "seed of every draw", "preference rated_preference", everyday=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.pairs < 1:
            raise InputError(f"pairs is {self.pairs}; it must be at least 1.")
        if not 0 <= self.length_ratio <= 1:
            raise InputError(f"length_ratio is {self.length_ratio}; use a share from 0 to 1, which is no limit.")


class ViewOptions(TypedDict, total=False):
    """Those of the `Settings` that views of ranked rows take, as named parameters."""

    rejected: str
    pairs: int
    length_ratio: float


class RatedOptions(TypedDict, total=False):
    """Those of the `Settings` that views of rated responses take, as named parameters."""

    origin: str | None


class Options(ViewOptions, RatedOptions, total=False):
    """`Settings` as named parameters; `seed` is a parameter of the verbs."""
