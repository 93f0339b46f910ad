"""The settings of `train` and `curve`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypedDict

from caredio import settings
from caredio.errors import InputError
from caredio.settings import setting
from caredio.training.recipe import RECIPES


@dataclass(frozen=True)
class Train(settings.Settings):
    """The settings of a training by `accelerate launch`."""

    method: str = setting("sft", "the recipe", "trained curve", choices=tuple(RECIPES), everyday=True)
    recipe: str | None = setting(
        None,
        "YAML of the recipe: a file, or one that `caredio recipes` lists; default: the method's first for the model",
        "trained curve",
        everyday=True,
    )
    model: str | None = setting(
        None, "base model, by name or folder; default: the YAML's", "trained curve", everyday=True
    )
    flags: str = setting("", "further flags of the recipe, as they are given after --", "trained curve")
    accelerate_config: str | None = setting(
        None,
        "file of accelerate's, or the name of one of TRL's such as fsdp2; default: the CPU's where there is no GPU,"
        " else accelerate's own",
        "trained curve",
    )
    timed: bool = setting(
        False, "with --dry-run, take one step to tell the hours of all", "trained curve", counts=False
    )


@dataclass(frozen=True)
class Budget(settings.Settings):
    """The setting of `train` alone."""

    budget: int | None = setting(
        None, "best rows of each culture; default: the YAML's; 0 takes all", "trained", everyday=True
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.budget is not None and self.budget < 0:
            raise InputError(f"budget is {self.budget}; give a number of rows, or 0 for all.")


@dataclass(frozen=True)
class Curve(settings.Settings):
    """The settings of `curve` alone."""

    seeds: int = setting(3, "how many random rankings", "curve", everyday=True)
    steps: int | None = setting(
        None,
        "steps of every arm; default: those in which the largest budget is seen once",
        "curve",
        everyday=True,
    )
    test_share: float = setting(0.05, "share of the questions that no arm learns and all are measured on", "curve")

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("seeds", "steps"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InputError(f"{name} is {value}; give at least 1.")
        if not 0 < self.test_share < 1:
            raise InputError(f"test_share is {self.test_share}; use a share between 0 and 1.")


class _Options(TypedDict, total=False):
    method: str
    recipe: str | None
    model: str | None
    flags: str
    accelerate_config: str | None
    timed: bool


class TrainOptions(_Options, total=False):
    """`Train` and `Budget` as named parameters."""

    budget: int | None


class CurveOptions(_Options, total=False):
    """`Train` and `Curve` as named parameters."""

    seeds: int
    steps: int | None
    test_share: float
