"""Distinctiveness d: how far a response is from what other cultures say to the same question (seed 001, Eq. 1).

candidates, vectors -> + distinctiveness, compared.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from datasets import Dataset, Features

from caredio import features
from caredio.errors import InputError
from caredio.selection.embed import matrix
from caredio.selection.engine import Engine, Local


@dataclass(frozen=True)
class Config:
    compared: int = field(default=4, metadata={"help": "other cultures whose answers distinctiveness compares"})

    def __post_init__(self) -> None:
        if self.compared < 1:
            raise InputError("compared must be at least 1: distinctiveness needs another culture.")


def cosine(response: np.ndarray, others: np.ndarray) -> float:
    """d = mean over i of (1 - cos(e, e_i)), Eq. 1: unit float[d] and float[k, d] -> 0 (same) to 2 (opposite)."""
    return float((1.0 - others.astype(np.float64) @ response.astype(np.float64)).mean())


def compared_to(row: dict[str, Any], config: Config) -> list[str]:
    """sample_ids of up to `config.compared` others: those not shown in the contrastive prompt, then those that were."""
    ordered = sorted(row["others"], key=lambda other: other["shown"])
    return [other["sample_id"] for other in ordered[: config.compared]]


def scorer(unit: np.ndarray) -> Callable[[pa.Table], pa.Table]:
    """Over float32[n, d] responses: rows of them (`own`: int, `others`: list<int>) -> `distinctiveness`."""

    def score(rows: pa.Table) -> pa.Table:
        pairs = zip(rows["own"].to_pylist(), rows["others"].to_pylist(), strict=True)
        scores = [cosine(unit[own], unit[others]) if others else None for own, others in pairs]
        return pa.table({"distinctiveness": pa.array(scores, pa.float64())})

    return score


def run(candidates: Dataset, vectors: Dataset, config: Config, engine: Engine | None = None) -> Dataset:
    """Add `distinctiveness` and `compared` (how many others it is the mean over).

    Where no other culture answered the question, distinctiveness is null and compared 0.

    Raises:
        InputError: no row at all has another culture's answer; names some rows.
    """
    candidates = features.require(candidates, features.CANDIDATES, "candidates")
    against = [compared_to(row, config) for row in candidates.select_columns(["others"])]
    if not any(against):
        some = ", ".join(candidates["question_id"][:3])
        raise InputError(
            f"no question was answered by two cultures (such as question_id {some}): distinctiveness compares answers"
            " to the same question, so give them the same question_id or the same text."
        )
    used = list(dict.fromkeys([*candidates["sample_id"], *(other for others in against for other in others)]))
    place = {name: row for row, name in enumerate(used)}
    unit = matrix(vectors, "response_embedding", used)
    rows = pa.table(
        {
            "own": [place[name] for name in candidates["sample_id"]],
            "others": pa.array([[place[other] for other in others] for others in against], pa.list_(pa.int64())),
        }
    )
    scores = (engine or Local()).batches(scorer, unit, rows)["distinctiveness"].to_pylist()
    columns = Features({name: features.SCORED[name] for name in ("distinctiveness", "compared")})
    added = {"distinctiveness": scores, "compared": [len(others) for others in against]}
    return features.beside(candidates, Dataset.from_dict(added, features=columns))
