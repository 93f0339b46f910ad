"""How likely a model finds texts, as a `Dataset.map`: what the information scores are made of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from datasets import Features, Value

from caredio.llm import loop
from caredio.llm.ask import MAX_FAILED, Failures, gather
from caredio.llm.chat import CallFailed
from caredio.llm.model import Model
from caredio.llm.spec import Messages

WITHOUT_EFFECT = ("MAX_FAILED",)  # on what a stage makes (fingerprints.py)

Call = tuple[Messages, str]  # the chat so far, and the turn whose likelihood is asked for


def likelihoods(calls: Sequence[Call], model: Model, desc: str) -> np.ndarray:
    """log2 p(completion | messages) of each call: float64[n], in bits; nan where a call got no answer.

    Raises:
        EndpointError: more than 5 % of the calls got no answer, or the endpoint tells no log-probabilities.
    """
    failures = Failures(desc, len(calls), MAX_FAILED)

    async def bits(call: Call) -> dict[str, Any]:
        try:
            return {"bits": await model.likelihood(*call)}
        except CallFailed as error:
            failures.count(error)
            return {"bits": None}

    async def measured(start: int, count: int) -> list[dict[str, Any]]:
        return await loop.together(map(bits, calls[start : start + count]))

    if not calls:
        return np.empty(0)
    found = gather(len(calls), measured, Features({"bits": Value("float64")}), desc)
    return found["bits"].to_numpy()
