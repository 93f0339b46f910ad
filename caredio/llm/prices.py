"""What calls cost, by the dated list in `prices.yaml`."""

from __future__ import annotations

import functools
from importlib import resources

import yaml

from caredio.llm.model import Usage


@functools.cache
def _prices() -> dict[str, dict[str, float]]:
    return yaml.safe_load(resources.files(__package__).joinpath("prices.yaml").read_text(encoding="utf-8"))


def cost(model: str, usage: Usage) -> float | None:
    """US dollars for the calls made; None where the model has no listed price."""
    price = _prices().get(model)
    if price is None:
        return None
    return round((usage.prompt_tokens * price["input"] + usage.completion_tokens * price["output"]) / 1e6, 6)
