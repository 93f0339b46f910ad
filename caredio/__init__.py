"""CAReDiO: small, right datasets that align language models to a culture.

    import caredio

    result = caredio.select("answers.parquet", budget=200)
    result.ranked, result.pool, result.preference

    print(caredio.plan(caredio.build, ["mexico"], ["food"], per_topic=30, model="gpt-4.1-mini"))
    result = caredio.build(["mexico"], ["food"], per_topic=30, model="gpt-4.1-mini", out="runs/mexico")

The rooms are packages of their own: `synthesis`, `selection`, `training`, `evaluation`, `publishing`; `features` says
what every column means.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from caredio.errors import CaredioError, EndpointError, InputError

if TYPE_CHECKING:
    from caredio.api import (
        browse,
        build,
        calibrate,
        curve,
        diff,
        evaluate,
        export,
        finetune,
        judge,
        plan,
        plot,
        prefer,
        publish,
        rate,
        ratings,
        results,
        select,
        synthesize,
        train,
        verify,
    )
    from caredio.llm.rows import ask
    from caredio.messages import quiet
    from caredio.result import Result

_HOMES = {"ask": "caredio.llm.rows", "Result": "caredio.result", "quiet": "caredio.messages"} | dict.fromkeys(
    [
        "browse",
        "build",
        "calibrate",
        "curve",
        "diff",
        "evaluate",
        "export",
        "finetune",
        "judge",
        "plan",
        "plot",
        "prefer",
        "publish",
        "rate",
        "ratings",
        "results",
        "select",
        "synthesize",
        "train",
        "verify",
    ],
    "caredio.api",
)

__all__ = [
    "CaredioError",
    "EndpointError",
    "InputError",
    "Result",
    "ask",
    "browse",
    "build",
    "calibrate",
    "curve",
    "diff",
    "evaluate",
    "export",
    "finetune",
    "judge",
    "plan",
    "plot",
    "prefer",
    "publish",
    "quiet",
    "rate",
    "ratings",
    "results",
    "select",
    "synthesize",
    "train",
    "verify",
]


def __getattr__(name: str) -> Any:
    """What is exported is imported when it is first used: `import caredio` takes no time."""
    if name not in _HOMES:
        raise AttributeError(f"module 'caredio' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
