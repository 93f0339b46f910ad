"""What calls cost by the list prices in the `genai-prices` package, which asks no network.

What it does not list of fine-tuning stands in `TUNING`.

Models are found by name: OpenAI's, whoever serves them, or one that carries its maker's name, as claude-... does; what
has any other name has no price. Prompts count in full, so where an endpoint takes less for cached ones the bill is
lower.
"""

from __future__ import annotations

import functools
import re
from importlib import metadata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from caredio.llm.limits import Usage

_BATCH = 0.5  # share of the list price that a Batch API takes
# Base model -> US dollars for a million tokens trained on, and of the tuned model's prompts and of its answers, which
# genai-prices does not list. From openai.com/api/pricing as it stood in the last quarter of 2025.
TUNING = {
    "gpt-4.1-2025-04-14": (25.0, 3.0, 12.0),
    "gpt-4.1-mini-2025-04-14": (5.0, 0.8, 3.2),
    "gpt-4.1-nano-2025-04-14": (1.5, 0.2, 0.8),
}
TUNING_LIST = "openai.com/api/pricing of the last quarter of 2025"


def price_list() -> str:
    """The list that costs are computed by: its package and version, which has been current on one day."""
    return f"genai-prices {metadata.version('genai-prices')}"


def cost(model: str, usage: Usage, batch: bool = False) -> float | None:
    """US dollars for the calls made (through the Batch API?); None where the model has no listed price."""
    prices = _prices(model)
    if prices is None:
        return None
    dollars = (usage.prompt_tokens * prices[0] + usage.completion_tokens * prices[1]) / 1e6
    return dollars * _BATCH if batch else dollars


def base_of(model: str) -> str:
    """The model that a tuned one (`ft:base:owner:suffix:id`) was made from; any other's own name."""
    return model.split(":")[1] if re.fullmatch(r"ft:[^:]+:.*", model) else model


def training_cost(model: str, tokens: int) -> float | None:
    """US dollars for a fine-tuning of `model` on so many tokens, all epochs together; None where no price is known."""
    prices = TUNING.get(base_of(model))
    return tokens * prices[0] / 1e6 if prices else None


@functools.cache
def _prices(model: str) -> tuple[float, float] | None:
    """US dollars for a million tokens of prompts, and of answers."""
    from genai_prices import Usage as Tokens
    from genai_prices import calc_price

    sample = Tokens(input_tokens=1000, output_tokens=1000)  # as one short call, since long ones may cost more a token
    for provider in ("openai", None):  # None: the maker that the name shows
        try:
            found = calc_price(sample, model, provider_id=provider)
        except LookupError:
            continue
        if found.input_price:  # what is not paid by tokens has no price here
            return float(found.input_price * 1000), float(found.output_price * 1000)
    return TUNING[base_of(model)][1:] if base_of(model) != model and base_of(model) in TUNING else None
