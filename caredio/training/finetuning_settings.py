"""The settings of a fine-tuning behind an API."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TypedDict

from caredio import settings
from caredio.errors import InputError
from caredio.settings import setting

SFT, DPO = "sft", "dpo"


@dataclass(frozen=True)
class Settings(settings.Settings):
    """The settings of a fine-tuning; what is None is left to the endpoint."""

    method: str = setting(
        SFT,
        "sft learns the culture's answers, dpo prefers them to other cultures'",
        "finetuned",
        choices=(SFT, DPO),
        everyday=True,
    )
    budget: int | None = setting(
        None, "train on the best N rows of each culture by rank; default: all", "finetuned", everyday=True
    )
    epochs: int | None = setting(
        None, "passes over the rows; default: the endpoint's choice", "finetuned", everyday=True
    )
    batch_size: int | None = setting(None, "rows of a training step; default: the endpoint's choice", "finetuned")
    learning_rate_multiplier: float | None = setting(
        None, "factor of the endpoint's own learning rate; default: its choice", "finetuned"
    )
    beta: float | None = setting(None, "strength of DPO's KL penalty; default: the endpoint's choice", "finetuned")
    suffix: str | None = setting(
        None, "part of the tuned model's name; default: caredio and the culture", "finetuned", everyday=True
    )
    seed: int = setting(0, "seed of every draw", "finetuned", everyday=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("budget", "epochs", "batch_size", "learning_rate_multiplier", "beta"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise InputError(f"{name} is {value}; use a number above 0, or leave it out.")
        if self.beta is not None and self.method != DPO:
            raise InputError(f"beta is DPO's, and the method is {self.method}; leave it out, or use method dpo.")
        if self.suffix is not None and not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", self.suffix):
            raise InputError(f"suffix is {self.suffix!r}; use up to 64 letters, digits, - and _.")


class Options(TypedDict, total=False):
    """`Settings` as named parameters; `seed` is a parameter of the verb."""

    method: str
    budget: int | None
    epochs: int | None
    batch_size: int | None
    learning_rate_multiplier: float | None
    beta: float | None
    suffix: str | None
