"""Table stage (rows are taken by those taken before): `rds`, how RDS+ selects rows towards questions with answers.

Ivison et al., 2025, arXiv 2503.01807.

Its target set are the validation questions of a culture, each with its right answer. RDS+ compares hidden states of a
language model, pooled with weights that rise with the position; here they are the vectors of the run's embedder, which
may be such a model.
"""

from __future__ import annotations

import random
from collections.abc import Iterable

import numpy as np
from datasets import Dataset

from caredio.llm import plan
from caredio.selection import embed, validation
from caredio.selection.measure import unit
from caredio.selection.settings import Settings
from caredio.stages import Planning

NAME = "rds"


def round_robin(similarities: np.ndarray, budget: int) -> list[int]:
    """The rows taken, in their order, of float[targets, rows]: each target in turn offers its next nearest row.

    A target whose row was taken before passes. Of equals the first comes first.
    """
    nearest = np.argsort(-similarities, axis=1, kind="stable")[:, :budget]
    return list(dict.fromkeys(nearest.T.ravel().tolist()))[:budget]


def targets(cultures: Iterable[str], settings: Settings) -> dict[str, list[str]]:
    """Culture -> its questions with their right answers, in the form in which samples are embedded; some, by seed.

    Raises:
        InputError: the validation file is not what was wanted, or has nothing on a culture.
    """
    file, found = settings.validation or "", {}
    items = validation.answered(file)
    for culture in cultures:
        known = validation.of(items, culture, file)
        draw = random.Random(f"{settings.seed}/{culture}")
        drawn = draw.sample(known, min(settings.validation_items, len(known)))
        found[culture] = [embed.sample(*item) for item in drawn]
    return found


def steps(planning: Planning) -> list[plan.Step]:
    """The requests for the vectors of the targets, where an endpoint makes them."""
    if planning.selection.ranking != NAME:
        return []
    cultures = dict.fromkeys(one.culture for one in planning.rows["candidates"])
    texts = [text for own in targets(cultures, planning.selection).values() for text in own]
    return embed.asked_for("target set", planning.selection.embedder, list(dict.fromkeys(texts)))


def scores(pool: Dataset, vectors: Dataset, settings: Settings, encode: embed.Encoder) -> dict[str, float | None]:
    """sample_id -> minus how many rows of its culture are taken before; None of those that are not taken.

    Of the rows that another culture's can be compared with.

    Raises:
        InputError: as `targets`.
    """
    of_culture: dict[str, list[str]] = {}
    names = ("culture", "sample_id", "compared")
    for culture, name, compared in sorted(zip(*(pool[name][:] for name in names), strict=True)):
        if compared:
            of_culture.setdefault(culture, []).append(name)
    texts = targets(of_culture, settings)
    of_targets = unit(encode, [text for own in texts.values() for text in own])
    found: dict[str, float | None] = {}
    start = 0
    for culture, own in of_culture.items():
        stop = start + len(texts[culture])
        among = embed.matrix(vectors, "sample_embedding", own)
        taken = round_robin(of_targets[start:stop] @ among.T, settings.budget)
        found |= dict.fromkeys(own) | {own[row]: float(-place) for place, row in enumerate(taken)}
        start = stop
    return found
