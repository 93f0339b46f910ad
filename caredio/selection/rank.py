"""The ranked split: s = r * d, best first, until the budget is used (seed 001, 3.3 'Selection Strategy').

scored -> scored with score and drop_reason; scored -> ranked.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from datasets import Dataset, Features, Value

from caredio import features
from caredio.errors import InputError


@dataclass(frozen=True)
class Config:
    budget: int = field(default=1000, metadata={"help": "most rows a culture keeps"})

    def __post_init__(self) -> None:
        if self.budget < 1:
            raise InputError("budget must be at least 1 row a culture.")


def product(r: float | None, d: float | None) -> float | None:
    """s = r * d (seed 001, 3.3); null where one of them is."""
    return None if r is None or d is None else r * d


def score(scored: Dataset, config: Config) -> Dataset:
    """Add `score` and `drop_reason`; the pool a culture's ranked split is taken from.

    drop_reason: redundant (not its cluster's centre), no_other_culture (nothing to compare with), over_budget.
    """
    needed = Features(
        {
            name: features.SCORED[name]
            for name in ("sample_id", "culture", "representativeness", "distinctiveness", "is_center")
        }
    )
    scored = features.require(scored, needed, "scored candidates")
    scores, reasons = [], []
    for center, r, d in zip(
        *(scored[name] for name in ("is_center", "representativeness", "distinctiveness")), strict=True
    ):
        scores.append(product(r, d))
        reasons.append("redundant" if not center else "no_other_culture" if d is None else None)
    taken: Counter[str] = Counter()
    ids, cultures = scored["sample_id"][:], scored["culture"][:]
    order = sorted(range(len(scored)), key=lambda row: _order(scores[row], ids[row]))
    for row in order:
        if reasons[row] is None:
            taken[cultures[row]] += 1
            if taken[cultures[row]] > config.budget:
                reasons[row] = "over_budget"
    columns = Features({"score": features.SCORED["score"], "drop_reason": Value("string")})
    return features.beside(scored, Dataset.from_dict({"score": scores, "drop_reason": reasons}, features=columns))


def run(pool: Dataset) -> Dataset:
    """The rows of the pool without a drop_reason, by culture and falling score, with rank, prompt and completion.

    Returns:
        `features.RANKED`; rank counts from 1 within the culture, ties broken by sample_id.
    """
    kept = features.require(pool, features.SCORED, "scored candidates")
    keys = [
        (culture, *_order(score, sample_id))
        for culture, score, sample_id in zip(kept["culture"], kept["score"], kept["sample_id"], strict=True)
    ]
    kept = kept.select(sorted(range(len(kept)), key=keys.__getitem__))
    ranks = features.count_within(kept["culture"])
    columns = Features({name: features.RANKED[name] for name in ("rank", "prompt", "completion")})
    added = {
        "rank": ranks,
        "prompt": [[{"role": "user", "content": text}] for text in kept["question"]],
        "completion": [[{"role": "assistant", "content": text}] for text in kept["response"]],
    }
    return features.beside(kept, Dataset.from_dict(added, features=columns)).select_columns(list(features.RANKED))


def _order(score: float | None, sample_id: str) -> tuple[float, str]:
    return (float("inf") if score is None else -score, sample_id)
