"""Ranked rows as the tables TRL's trainers read: SFT, and preference with other cultures' answers rejected.

Seed 001, 3.4: "SFT or DPO where the responses generated for other cultures can be regarded as dispreferred ones".
"""

from __future__ import annotations

from typing import Any

from datasets import Dataset

from caredio import features
from caredio.errors import InputError


def sft(ranked: Dataset, budget: int | None = None) -> Dataset:
    """The best `budget` rows of each culture (all when None) as prompt and completion, in the order of `ranked`.

    Returns:
        sample_id, culture, rank, prompt, completion: TRL trains on the completion only.
    """
    ranked = _best(ranked, budget)
    return ranked.select_columns(["sample_id", "culture", "rank", "prompt", "completion"])


def preference(ranked: Dataset, budget: int | None = None) -> Dataset:
    """The best `budget` rows of each culture as prompt, chosen and rejected: one row for each other culture's answer.

    Returns:
        `features.PREFERENCE`, in the order of `ranked`. An answer equal to the chosen one is no contrast and left out.

    Raises:
        InputError: no row has another culture's answer.
    """
    ranked = _best(ranked, budget)
    pairs = ranked.map(
        pair,
        batched=True,
        remove_columns=[name for name in ranked.column_names if name not in features.PREFERENCE],
        features=features.PREFERENCE,
        desc="preference",
    )
    if not len(pairs):
        raise InputError("no row has an answer of another culture, so there is nothing to prefer over.")
    return pairs.select_columns(list(features.PREFERENCE))


def pair(batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
    """Batch of ranked rows -> batch of (prompt, chosen, rejected)."""
    rows = [dict(zip(batch, values, strict=True)) for values in zip(*batch.values(), strict=True)]
    pairs = [
        {
            **{name: row[name] for name in ("sample_id", "question_id", "culture", "rank", "prompt")},
            "chosen": row["completion"],
            "rejected": [{"role": "assistant", "content": other["response"]}],
            "rejected_culture": other["culture"],
        }
        for row in rows
        for other in row["others"]
        if other["response"] != row["response"]
    ]
    return {name: [one[name] for one in pairs] for name in features.PREFERENCE}


def _best(ranked: Dataset, budget: int | None) -> Dataset:
    ranked = features.require(ranked, features.RANKED, "ranked rows")
    if budget is None:
        return ranked
    return ranked.select([row for row, rank in enumerate(ranked["rank"]) if rank <= budget])
