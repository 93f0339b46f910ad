"""What calls cost, against prices that the providers publish."""

import subprocess
import sys
from importlib import metadata

import pytest

from caredio.llm.limits import Usage
from caredio.llm.prices import base_of, cost, price_list, training_cost

MILLIONS = Usage(calls=3, prompt_tokens=2_000_000, completion_tokens=1_000_000)


@pytest.mark.parametrize(
    ("model", "dollars"),  # 2 x prompt + 1 x answer, US dollars per million tokens, as published
    [
        ("gpt-4o", 2 * 2.50 + 10.00),
        ("gpt-4o-mini", 2 * 0.15 + 0.60),
        ("gpt-4.1", 2 * 2.00 + 8.00),
        ("gpt-4.1-mini", 2 * 0.40 + 1.60),
        ("gpt-4.1-nano", 2 * 0.10 + 0.40),
        ("gpt-5", 2 * 1.25 + 10.00),
        ("gpt-5-mini", 2 * 0.25 + 2.00),
        ("gpt-5-nano", 2 * 0.05 + 0.40),
        ("text-embedding-3-small", 2 * 0.02),
        ("text-embedding-3-large", 2 * 0.13),
        ("gpt-4o-2024-08-06", 2 * 2.50 + 10.00),  # a dated name of gpt-4o
        ("claude-3-haiku-20240307", 2 * 0.25 + 1.25),
        ("ft:gpt-4o-2024-08-06:org::a1", 2 * 3.75 + 15.00),
        ("ft:gpt-4.1-2025-04-14:org:suffix:a1", 2 * 3.00 + 12.00),
        ("ft:gpt-4.1-mini-2025-04-14:org::a1", 2 * 0.80 + 3.20),
    ],
)
def test_list_prices_and_half_of_them_in_batches(model, dollars):
    assert cost(model, MILLIONS) == pytest.approx(dollars)
    assert cost(model, MILLIONS, batch=True) == pytest.approx(dollars / 2)
    assert cost(model, Usage()) == 0.0


@pytest.mark.parametrize(
    "model", ["", "m", "gpt-4o-minni", "ft:gpt-4o-mini:us::a1", "ft:mine:us::a1", "ft:", "meta-llama/Llama-3.1-8B"]
)
def test_a_model_without_a_listed_price_has_none(model):
    assert cost(model, MILLIONS) is None


def test_a_fine_tuning_costs_what_is_listed_for_its_base():
    assert training_cost("gpt-4.1-2025-04-14", 2_000_000) == 50.0
    assert training_cost("ft:gpt-4.1-mini-2025-04-14:org::a1", 3_000_000) == 15.0
    assert training_cost("gpt-4.1", 1) is None
    assert base_of("ft:gpt-4.1-2025-04-14:org:suffix:a1") == "gpt-4.1-2025-04-14"
    assert [base_of(name) for name in ("gpt-4.1", "ft:", "ft:x", "soft:x:y")] == ["gpt-4.1", "ft:", "ft:x", "soft:x:y"]


def test_many_tokens_of_short_calls_are_not_priced_as_one_long_call():
    # from 200,000 tokens a prompt on, gemini-2.5-pro costs twice as much a token
    assert cost("gemini-2.5-pro", Usage(1000, 0, 1_000_000, 0)) == pytest.approx(1.25)


def test_the_list_is_known_by_its_version_and_asks_no_network():
    script = """
import socket, sys

def refuse(*arguments, **more):
    sys.exit("a connection was opened")

socket.socket.connect = socket.create_connection = socket.getaddrinfo = refuse
from caredio.llm import limits, prices

assert "genai_prices" not in sys.modules
print(prices.price_list(), prices.cost("gpt-4o", limits.Usage(1, 0, 1000, 0)), prices.cost("m", limits.Usage()))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == f"genai-prices {metadata.version('genai-prices')} 0.0025 None\n"
    assert price_list() in done.stdout
