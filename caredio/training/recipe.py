"""The recipes: the table each reads, TRL's trainer that it runs, and the YAML to begin with.

The scripts and the YAML files are package data (`caredio.recipes`), so an installed wheel has them too.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

from caredio.errors import InputError


@dataclass(frozen=True)
class Recipe:
    """One way of training.

    Attributes:
        name: of the script, without `.py`, and in training.json.
        about: what it does, in one sentence.
        table: the table of a run folder that it reads; of a release it is the config `<culture>` where the table is
            `ranked`, else `<culture>-<table>`.
        columns: what the trainer reads of it, the prompt first.
        yaml: the file to begin with, in the folder of the recipes.
        trainer: module and class of TRL's trainer.
        config: class of that trainer's arguments, in the same module.
        defaults: flags whose default is not TRL's.
        shuffled: whether the recipe shuffles the rows by seed, because its trainer reads them in their order.
    """

    name: str
    about: str
    table: str
    columns: tuple[str, ...]
    yaml: str
    trainer: tuple[str, str]
    config: str
    defaults: Mapping[str, Any] = field(default_factory=dict)
    shuffled: bool = False

    @property
    def answers(self) -> tuple[str, ...]:
        """The columns that hold what may follow the prompt."""
        return tuple(column for column in self.columns[1:] if column != "label")

    @property
    def script(self) -> Path:
        """The file that `accelerate launch` starts."""
        return folder() / f"{self.name}.py"

    def classes(self) -> tuple[Any, Any]:
        """TRL's trainer and the class of its arguments.

        Raises:
            InputError: the installed TRL has no such trainer.
            ModuleNotFoundError: TRL, or a package that it needs, is not installed.
        """
        module, trainer = self.trainer
        try:
            found = importlib.import_module(module)
            return getattr(found, trainer), getattr(found, self.config)
        except (AttributeError, ModuleNotFoundError) as error:
            if isinstance(error, ModuleNotFoundError) and not str(error.name).startswith("trl."):
                raise
            raise InputError(
                f"recipe {self.name}: the installed TRL has no {module}.{trainer}; install the release that "
                "constraints.txt names."
            ) from None


SFT = Recipe(
    "sft",
    "learns the culture's own answers, word by word",
    "ranked",
    ("prompt", "completion"),
    "smollm2-135m/sft-lora.yaml",
    ("trl", "SFTTrainer"),
    "SFTConfig",
)
DPO = Recipe(
    "dpo",
    "prefers the culture's answer to another culture's answer to the same question, next to the model it began as",
    "preference",
    ("prompt", "chosen", "rejected"),
    "smollm2-135m/dpo-lora.yaml",
    ("trl", "DPOTrainer"),
    "DPOConfig",
)
KTO = Recipe(
    "kto",
    "learns from single answers, each marked as the culture's own or not",
    "unpaired",
    ("prompt", "completion", "label"),
    "smollm2-135m/kto-lora.yaml",
    ("trl", "KTOTrainer"),
    "KTOConfig",
    {"desirable_weight": None},  # by which both kinds of answers count alike
    shuffled=True,
)
SIMPO = Recipe(
    "simpo",
    "prefers the culture's answer per token and by a margin, without a reference model",
    "preference",
    ("prompt", "chosen", "rejected"),
    "smollm2-135m/simpo-lora.yaml",
    ("trl.experimental.cpo", "CPOTrainer"),
    "CPOConfig",
    {"loss_type": "simpo", "cpo_alpha": 0.0},
)
REWARD = Recipe(
    "reward",
    "gives an answer one number, higher for the culture's own: a preference model, to choose the best of several",
    "preference",
    ("prompt", "chosen", "rejected"),
    "smollm2-135m/reward-lora.yaml",
    ("trl", "RewardTrainer"),
    "RewardConfig",
    {"lora_task_type": "SEQ_CLS"},
)
RECIPES = {recipe.name: recipe for recipe in (SFT, DPO, KTO, SIMPO, REWARD)}


def folder() -> Path:
    """Where the scripts and their YAML files are, of an installed package too."""
    return Path(str(resources.files("caredio.recipes")))
