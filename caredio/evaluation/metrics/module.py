"""A metric as a module of the package `evaluate`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import evaluate
from datasets import Features


def metric(function: Callable[..., float], *features: dict[str, Any]) -> type[evaluate.Metric]:
    """A class that `evaluate.load` finds, whose `compute` gives {name: what the function gives}.

    Args:
        function: takes `predictions` and `references`; what else it takes is given to `compute` by name.
        features: what the two columns may hold, in the order in which they are tried.
    """

    class Plain(evaluate.Metric):
        def _info(self) -> evaluate.MetricInfo:
            described = (function.__doc__ or "").partition("Args:")
            choices = [Features(columns) for columns in features]
            return evaluate.MetricInfo(
                description=described[0].strip(),
                citation="",
                inputs_description=f"Args:{described[2]}",
                features=choices[0] if len(choices) == 1 else choices,
            )

        def _compute(self, predictions: Any, references: Any, **others: Any) -> dict[str, float]:
            return {function.__name__: function(predictions, references, **others)}

    return Plain
