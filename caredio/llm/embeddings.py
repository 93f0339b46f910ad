"""Embeddings from an OpenAI-compatible endpoint: requests as large as it takes, made as a `Dataset.map`."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from datasets import Features, Value

from caredio.errors import EndpointError
from caredio.llm.cache import Vectors, vector_key
from caredio.llm.limits import CallFailed
from caredio.llm.model import Model
from caredio.llm.prices import cost
from caredio.llm.remote import Remote
from caredio.llm.rows import gather
from caredio.llm.settings import Endpoint
from caredio.llm.spec import Spec

log = logging.getLogger("caredio")

# what one request may hold, by OpenAI's reference: texts, and tokens, of which every one is at least a byte
TEXTS, BYTES = 2048, 300_000
_IN_FLIGHT = 8  # requests this large are bound by tokens a minute, not by their number


class Embeddings:
    """texts -> float32[n, d] by `model`; called again, it sends only what is not stored.

    The key comes from `OPENAI_API_KEY`, or Azure's; a named endpoint may go without one.
    """

    def __init__(self, model: str, endpoint: Endpoint, store: Vectors | None = None, provider: str = "openai") -> None:
        """Read the environment; nothing is sent yet. `provider`: `azure`, where `model` is the name of a deployment.

        Raises:
            EndpointError: no key, and no address of one's own.
            InputError: the store cannot be opened, or dollars are limited and the model has no listed price.
        """
        self.model, self.spec = model, Spec(model=model, provider=provider)
        own = endpoint.for_role("embedder")
        self.address = "base_url" if own is endpoint else "embedder_base_url"
        self.store = store or Vectors()
        self._asked = Model(self.spec, Remote(self.spec, own, "embedder", self.address), self.store, own.limits)
        self.usage = self._asked.usage  # what was used
        self._at_once = min(_IN_FLIGHT, own.concurrency)

    def __call__(self, texts: list[str]) -> np.ndarray:
        """The vectors of distinct `texts`, in their order.

        Raises:
            BudgetError: the next request could cost more than is left. What arrived is stored.
            EndpointError: the endpoint refuses, fails after its retries, or answers with something else. So it is.
        """
        keys = [vector_key(self.spec, text) for text in texts]
        missing = self.store.missing(keys)
        waiting = [text for text, key in zip(texts, keys, strict=True) if key in missing]
        self.usage.stored += len(texts) - len(waiting)
        if waiting:
            self._embed(list(batches(waiting)))
        log.info("%s: %d texts, %d of them stored before", self.model, len(texts), len(texts) - len(waiting))
        return self.store.get(keys)

    def used(self) -> dict[str, Any]:
        """What was used, and what that costs in US dollars (None where the model has no listed price)."""
        return {**asdict(self.usage), "cost_usd": cost(self.model, self.usage)}

    def _embed(self, requests: list[list[str]]) -> None:
        """Ask for the vectors of texts; the first request to fail is raised once the others are done."""
        failures: list[CallFailed] = []

        async def asked(texts: list[str]) -> dict[str, Any]:
            try:
                await self._asked.embed(texts)
            except CallFailed as failure:
                failures.append(failure)
            return {"texts": len(texts)}

        gather(requests, asked, Features({"texts": Value("int32")}), "embedded", 1, self._at_once)
        if failures:
            raise EndpointError(
                f"embedder {self.spec.provider}:{self.model} got no answer ({failures[0].description}). Vectors that"
                f" arrived are stored; check embedder and {self.address}, and run the same command again."
            )


def batches(texts: Sequence[str]) -> Iterator[list[str]]:
    """`texts` in order, as many at a time as one request may hold."""
    batch: list[str] = []
    size = 0
    for text in texts:
        length = len(text.encode())
        if batch and (len(batch) == TEXTS or size + length > BYTES):
            yield batch
            batch, size = [], 0
        batch.append(text)
        size += length
    if batch:
        yield batch
