"""Rows longer than `--max_length`: those that TRL would cut are counted, those that it would drop are left out."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

from datasets import Dataset

from caredio.errors import InputError
from caredio.training.recipe import Recipe

log = logging.getLogger("caredio")

_LOUD = 0.01  # share of the rows from which on it is a warning
_AT_ONCE = 1000  # rows whose tokens are held


def fitting(rows: Dataset, recipe: Recipe, tokenizer: Any, training: Any, what: str) -> tuple[Dataset, dict[str, int]]:
    """The rows of which something is left to learn within `--max_length`, and how many are cut and dropped.

    A prompt that fills `max_length` leaves no answer to learn from. A preference model scores whole answers: a pair
    with a side that is too long is dropped.

    Args:
        what: whose rows these are, for the messages.

    Raises:
        InputError: no row is left.
    """
    limit = training.max_length
    if limit is None or getattr(training, "packing", False):
        return rows, {"rows_cut": 0, "rows_dropped": 0}
    keeps_end = getattr(training, "truncation_mode", "keep_start") == "keep_end"
    cut: set[int] = set()
    dropped: set[int] = set()
    for row, prompt, whole in _tokens(rows, recipe, tokenizer):
        if len(whole) > limit:
            gone = recipe.name == "reward" or (not keeps_end and _shared(prompt, whole) >= limit)
            (dropped if gone else cut).add(row)
    cut -= dropped
    if len(dropped) == len(rows):
        raise InputError(f"{what}: --max_length {limit} leaves nothing to learn in any of {len(rows)} rows; raise it.")
    if len(cut) + len(dropped) > _LOUD * len(rows):
        text = "%s: of %d rows, --max_length %d cuts %d short and leaves %d out; raise it to keep them whole"
        log.warning(text, what, len(rows), limit, len(cut), len(dropped))
    left = rows.select([row for row in range(len(rows)) if row not in dropped]) if dropped else rows
    return left, {"rows_cut": len(cut), "rows_dropped": len(dropped)}


def _tokens(rows: Dataset, recipe: Recipe, tokenizer: Any) -> Iterator[tuple[int, list[int], list[int]]]:
    """For each row and each of its answers: its number, the prompt's tokens, and those of both, as TRL makes them."""
    for start in range(0, len(rows), _AT_ONCE):
        batch = rows[start : start + _AT_ONCE]
        prompts = _encoded(batch["prompt"], tokenizer, add_generation_prompt=True)
        for column in recipe.answers:
            wholes = [prompt + answer for prompt, answer in zip(batch["prompt"], batch[column], strict=True)]
            numbers = range(start, start + len(wholes))
            yield from zip(numbers, prompts, _encoded(wholes, tokenizer), strict=True)


def _encoded(texts: list[Any], tokenizer: Any, **how: Any) -> list[list[int]]:
    if isinstance(texts[0], str):
        return tokenizer(texts)["input_ids"]
    return tokenizer.apply_chat_template(texts, tokenize=True, return_dict=True, **how)["input_ids"]


def _shared(prompt: list[int], whole: list[int]) -> int:
    """How many tokens the two have in common from the start."""
    same = (one == other for one, other in zip(prompt, whole, strict=False))
    return next((number for number, equal in enumerate(same) if not equal), min(len(prompt), len(whole)))
