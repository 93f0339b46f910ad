"""What the verbs do, a file each: a class checks the arguments, then tells their `plan()`, or runs them: `result()`."""

from __future__ import annotations

import importlib
import inspect
from typing import Any

from caredio.errors import InputError

PLANNED = {
    "synthesize": "Synthesizing",
    "select": "Selecting",
    "build": "Building",
    "evaluate": "Evaluating",
    "judge": "Judging",
    "train": "Training",
    "curve": "Curving",
    "finetune": "Tuning",
    "publish": "Publishing",
}


def plan(verb: str, given: dict[str, Any]) -> Any:
    """The plan of a verb with these arguments, by name.

    Raises:
        InputError: the verb has no plan, or as the verb raises.
    """
    if verb not in PLANNED:
        raise InputError(
            "only synthesize, select, build, evaluate and judge ask a model, train, curve and finetune train one, and"
            " publish releases what they made; plan takes one of them."
        )
    prepare = getattr(importlib.import_module(f"{__name__}.{verb}"), PLANNED[verb])
    own = {name: given.pop(name) for name in inspect.signature(prepare).parameters if name != "given"}
    return prepare(**own, given=given).plan()
