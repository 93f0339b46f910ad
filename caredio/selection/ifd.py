"""Table stage (all calls are asked at once): the baseline `ifd`, Instruction-Following Difficulty by likelihoods.

Li et al., 2024, arXiv 2308.12032.

A score is the model's loss on a response after its question, over that on the response alone; what is above 1 is left
out, as there: the question is of no help to the model. The model is not tuned on a part of the rows before.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from datasets import Dataset

from caredio.errors import InputError
from caredio.llm import plan
from caredio.llm.model import Model
from caredio.llm.rows import Call, likelihoods
from caredio.selection.conditioning import Conditioning
from caredio.stages import Planning

NAME, LEFT_OUT = "ifd", "question_of_no_help"  # the ranking, and the drop_reason of a row above HIGHEST
HIGHEST = 1.0
_DECIMALS = 9  # of a ratio: beyond are rounding errors


def difficulty(after_question: float, alone: float) -> float | None:
    """IFD = log2 p(y | x, c) / log2 p(y | c), the ratio of the mean losses a token, as the tokens are the same.

    Bits, 0 at most; None where one is unknown (nan) or the response alone is certain.
    """
    if np.isnan(after_question) or np.isnan(alone) or alone >= 0:
        return None
    return round(after_question / alone, _DECIMALS)


def calls(rows: Iterable[dict[str, Any]], conditioning: Conditioning = Conditioning()) -> list[list[Call]]:
    """For each row, the calls that `difficulty` is read from: after its question, and where nothing was asked."""
    return [
        [(conditioning.chat(row["culture"], [], asked), row["response"]) for asked in (row["question"], "")]
        for row in rows
    ]


def steps(planning: Planning) -> list[plan.Step]:
    """The requests for the difficulty of every row."""
    settings, spec = planning.selection, planning.spec
    if settings.ranking != NAME:
        return []
    conditioning = Conditioning(prompts=settings.prompts)
    if planning.candidates is not None:
        return [plan.of_calls("difficulty", calls(planning.candidates, conditioning), spec)]
    candidates = planning.rows["candidates"]
    rows = sum(one.rows for one in candidates)
    chat = plan.tokens(conditioning.chat("", [], plan.SAMPLE["question"]))
    chats = rows + len(candidates)  # of each question, and of each culture one without
    return [plan.likelihoods("difficulty", 2 * rows, chats, chat, spec)]


def scores(pool: Dataset, model: Model | None, conditioning: Conditioning = Conditioning()) -> dict[str, float | None]:
    """sample_id -> `difficulty` of the rows that another culture's can be compared with.

    Raises:
        InputError: no model was given.
        EndpointError: the model cannot be asked.
    """
    if model is None:
        raise InputError(f"ranking {NAME} asks a model, and none was given.")
    columns = ["sample_id", "culture", "question", "response", "compared"]
    rows = [row for row in pool.select_columns(columns) if row["compared"]]
    asked = calls(rows, conditioning)
    bits = likelihoods([call for row in asked for call in row], model, "difficulty").reshape(-1, 2)
    return {row["sample_id"]: difficulty(*map(float, pair)) for row, pair in zip(rows, bits, strict=True)}
