"""How likely a model finds texts, as a `Dataset.map`: what the information scores are made of."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from datasets import Dataset, Features, Value

from caredio.errors import EndpointError
from caredio.llm.ask import MAX_FAILED, outside_the_loop
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
    left, failed = len(calls), 0

    async def measure(row: dict[str, int]) -> dict[str, float | None]:
        nonlocal left, failed
        try:
            return {"bits": await model.likelihood(*calls[row["call"]])}
        except CallFailed as error:
            failed += 1
            if failed > MAX_FAILED * len(calls):
                raise EndpointError(
                    f"{desc}: {failed} of {len(calls)} calls got no answer ({error.told}), more than {MAX_FAILED:.0%}."
                    " What arrived is stored: mend the endpoint or wait, then run the same command again."
                ) from None
            return {"bits": None}
        finally:
            left -= 1
            if not left:
                await model.close()  # in the loop it lived in, which ends with the map

    if not calls:
        return np.empty(0)
    asked = Dataset.from_dict({"call": range(len(calls))})
    columns = Features({"bits": Value("float64")})
    told = outside_the_loop(
        lambda: asked.map(
            measure,
            remove_columns=["call"],
            features=columns,
            desc=desc,
            load_from_cache_file=False,
            new_fingerprint=f"{asked._fingerprint[:24]}bits",
        )
    )
    return np.array(told["bits"][:], dtype=np.float64)
