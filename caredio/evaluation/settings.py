"""The settings of an evaluation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypedDict

from caredio import settings
from caredio.errors import InputError
from caredio.settings import setting


@dataclass(frozen=True)
class Settings(settings.Settings):
    """The settings of an evaluation."""

    culturalbench: str | None = setting(
        None, "copy of CulturalBench-Easy.csv, or 'sample'; default: fetched from the Hub", "results", everyday=True
    )
    limit: int | None = setting(
        None, "questions asked about a culture, from the first on; default: all", "results", everyday=True
    )
    batch_size: int = setting(8, "prompts the model reads at once", "results")
    device: str | None = setting(None, "cpu, cuda, ...; default: cuda where there is one", "results")
    prompts: str | None = setting(
        None,
        "folder whose systems.txt tells the model its part, and multiple_choice.txt asks one behind an API",
        "results",
        counts=False,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.limit is not None and self.limit < 1:
            raise InputError(f"limit is {self.limit}; give a number of questions, or leave it out for all.")
        if self.batch_size < 1:
            raise InputError("batch_size must be at least 1 prompt.")


class Options(TypedDict, total=False):
    """`Settings` as named parameters; `prompts` is a parameter of the verb."""

    culturalbench: str | None
    limit: int | None
    batch_size: int
    device: str | None
