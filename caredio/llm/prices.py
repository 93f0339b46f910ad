"""What calls use, and what that costs by the dated list in `prices.yaml`."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from importlib import resources
from typing import Any

import yaml


@dataclass
class Usage:
    """What a stretch of calls used: tokens are those of requests made, not of answers found in the store.

    `calls` are the requests that cost something, or may have, `failed` those whose retries are spent. `uncounted` is
    how many of `calls` the endpoint told no tokens of; they are taken to have used the most they could.
    """

    calls: int = 0
    stored: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    failed: int = 0
    uncounted: int = 0

    def add(self, other: Usage, sign: int = 1) -> None:
        """Count `other` too, or no longer (sign -1)."""
        for name, value in vars(other).items():
            setattr(self, name, getattr(self, name) + sign * value)


@functools.cache
def _list() -> dict[str, Any]:
    return yaml.safe_load(resources.files(__package__).joinpath("prices.yaml").read_text(encoding="utf-8"))


def noted() -> str:
    """The day the prices were written down."""
    return str(_list()["noted"])


def cost(model: str, usage: Usage, batch: bool = False) -> float | None:
    """US dollars for the calls made (through the Batch API?); None where the model has no listed price."""
    price = _list()["models"].get(model)
    if price is None:
        return None
    dollars = (usage.prompt_tokens * price["input"] + usage.completion_tokens * price["output"]) / 1e6
    return dollars * _list()["batch"] if batch else dollars
