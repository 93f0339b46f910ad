"""Ranked rows as the tables TRL's trainers read: SFT, and preference with other cultures' answers rejected.

Seed 001, 3.4: "SFT or DPO where the responses generated for other cultures can be regarded as dispreferred ones".
"""

from __future__ import annotations

from typing import Any

from datasets import Dataset

from caredio import features, prompts
from caredio.errors import InputError
from caredio.stages import Stage

STAGE = Stage(
    "preference", {"ranked": " ".join(features.RANKED)}, features.PREFERENCE, modules=(__name__,), split_by="culture"
)


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
    """
    ranked = _best(ranked, budget)
    return ranked.map(
        pair,
        batched=True,
        remove_columns=[name for name in ranked.column_names if name not in features.PREFERENCE],
        features=features.PREFERENCE,
        desc="preference",
    ).select_columns(list(features.PREFERENCE))


def interleaved(ranked: Dataset, names: dict[str, str], folders: str | None = None) -> Dataset:
    """Every culture's rows by rank, in turn, each prompt led by a system line that names the culture.

    Without that line equal prompts would carry contradictory completions. Rank stays within the culture.

    Args:
        names: culture slug -> name; a culture that is not among them is named by its slug.
        folders: of prompts, whose `views.txt` is the system line.

    Returns:
        `features.RANKED`.
    """
    template = prompts.load("views", folders)
    order = sorted(range(len(ranked)), key=list(zip(ranked["rank"], ranked["culture"], strict=True)).__getitem__)

    def with_system(row: dict[str, Any]) -> dict[str, Any]:
        system = {"role": "system", "content": template.part("system", name=names.get(row["culture"], row["culture"]))}
        return {"prompt": [system, *row["prompt"]]}

    if not len(ranked):
        return ranked
    return ranked.select(order).map(with_system, features=features.RANKED, desc="all")


def ranked_anew(ranked: Dataset) -> Dataset:
    """Rows taken out of a ranked table, ranked from 1 again within each culture; their order is kept."""
    ranks = features.count_within(ranked["culture"])
    fresh = Dataset.from_dict({"rank": ranks}, features=features.Features({"rank": features.RANKED["rank"]}))
    return features.beside(ranked, fresh).select_columns(list(features.RANKED))


def of_culture(dataset: Dataset, culture: str) -> Dataset:
    """The rows of one culture."""
    return dataset.select([row for row, name in enumerate(dataset["culture"]) if name == culture])


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
        for other in _one_each(row["others"])
        if other["response"] != row["response"]
    ]
    return {name: [one[name] for one in pairs] for name in features.PREFERENCE}


def _one_each(others: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The first answer of each culture: several would weigh the cultures by how much they said."""
    first: dict[str, dict[str, Any]] = {}
    for other in others:
        first.setdefault(other["culture"], other)
    return list(first.values())


def _best(ranked: Dataset, budget: int | None) -> Dataset:
    ranked = features.require(ranked, features.RANKED, "ranked rows")
    if budget is None:
        return ranked
    if budget < 1:
        raise InputError(f"budget is {budget}; take at least 1 row a culture.")
    return ranked.select([row for row, rank in enumerate(ranked["rank"]) if rank <= budget])
