"""The door to a language model: look in the store, else call, store, return."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from caredio.errors import InputError
from caredio.llm import loop
from caredio.llm.batch import Batch
from caredio.llm.chat import CallFailed
from caredio.llm.client import Endpoint
from caredio.llm.faults import CONTENT_FILTER, PROMPT_TOO_LONG
from caredio.llm.prices import Usage, cost
from caredio.llm.remote import Remote
from caredio.llm.spec import EMBEDDED, Messages, Spec
from caredio.llm.store import Answer, Store

log = logging.getLogger("caredio")

_DRAWS = 1_000_000  # of a seed: more than the draws that a stage numbers
_ANY = -1  # in the key of what holds for every draw
_REFUSALS = (CONTENT_FILTER, PROMPT_TOO_LONG)  # of a prompt, which no other draw changes


class Backend(Protocol):
    """Who answers: `Remote` over HTTP, `Batch` in files, `Embedded` on this machine.

    Each stores what it answers, and counts what it uses.
    """

    async def generate(self, key: str, messages: Messages, schema: dict[str, Any] | None) -> Answer: ...

    async def likelihood(self, key: str, messages: Messages, completion: str) -> Answer: ...

    async def close(self) -> None: ...


class Model:
    """A model with a memory. `complete` is safe to call many times at once; equal calls are made once.

    Whoever asks, calls are made in the one loop of `caredio.llm.loop`.
    """

    def __init__(
        self,
        spec: Spec,
        backend: Backend,
        store: Store,
        usage: Usage | None = None,
        *,
        batch: bool = False,
        seed: int = 0,
    ) -> None:
        """A model behind `backend`.

        Args:
            usage: where the backend counts what it uses.
            batch: calls go through a Batch API, at its price and in its time.
            seed: other seeds, other draws.
        """
        self.spec, self.backend, self.store, self.batch, self.seed = spec, backend, store, batch, seed
        self.usage = Usage() if usage is None else usage
        self._in_flight: dict[str, asyncio.Future[Answer]] = {}

    async def complete(self, messages: Messages, schema: dict[str, Any] | None = None, draw: int = 0) -> Answer:
        """The answer to `messages`, constrained to a JSON `schema` where one is given.

        Raises:
            CallFailed: this call got no answer.
            EndpointError: no call will.
        """
        key = self.spec.key(messages, schema, draw + self.seed * _DRAWS)
        refused = self.spec.key(messages, schema, _ANY)
        return await loop.enter(self._known(key, lambda: self.backend.generate(key, messages, schema), refused))

    async def likelihood(self, messages: Messages, completion: str) -> float:
        """log2 p(completion | messages), in bits: how likely the model finds `completion` as the next turn.

        Raises:
            CallFailed: this call got no answer.
            EndpointError: no call will, as where the endpoint tells no log-probabilities.
        """
        key = self.spec.likelihood_key(messages, completion)
        answer = await loop.enter(self._known(key, lambda: self.backend.likelihood(key, messages, completion)))
        return float(answer.text)

    async def _known(self, key: str, call: Callable[[], Coroutine[Any, Any, Answer]], refused: str = "") -> Answer:
        """The stored answer, that of an equal call in flight, or that of a new call.

        Args:
            refused: the key under which it is stored that the endpoint refuses the prompt, whichever the draw.
        """
        answer = self.store.get(key) or (self.store.get(refused) if refused else None)
        if answer is not None:
            self.usage.stored += 1
            return answer
        flight = self._in_flight.get(key)
        if flight is not None:
            return await flight
        task = asyncio.ensure_future(loop.ordinary(call()))
        self._in_flight[key] = task
        try:
            answer = await task
        except CallFailed:
            self.usage.failed += 1
            raise
        finally:
            del self._in_flight[key]
        if refused and not answer.text and answer.finish_reason in _REFUSALS and not answer.prompt_tokens:
            self.store.put({refused: answer})
        return answer

    def take_usage(self) -> Usage:
        """What was used since the last call of this method."""
        taken = replace(self.usage)
        self.usage.add(taken, -1)
        return taken

    def cost(self, usage: Usage) -> float | None:
        """US dollars for what was used; None where the model has no listed price."""
        dollars = cost(self.spec.model, usage, self.batch)
        return None if dollars is None else round(dollars, 6)

    async def close(self) -> None:
        """Release the connections; the next call opens new ones."""
        await loop.enter(self.backend.close())


def connect(spec: Spec, endpoint: Endpoint | None = None, store: Path | str | None = None, seed: int = 0) -> Model:
    """The model that `spec` names: the embedded one by default, else behind an OpenAI-compatible endpoint.

    Args:
        spec: model and sampling.
        endpoint: where and how to reach it.
        store: file of stored answers; by default one for all runs of this user.
        seed: of the sampling: each has draws of its own, 0 those of a model without one.

    Raises:
        EndpointError: a key is needed and not there.
        InputError: the store cannot be opened; the embedded model's packages are not installed; a cost is limited that
            cannot be known.
    """
    kept, endpoint, usage = Store(store), endpoint or Endpoint(), Usage()
    if spec.model == EMBEDDED and spec.provider == "embedded":
        if endpoint.batch:
            raise InputError("the embedded model has no Batch API; leave out --batch, or name another with --model.")
        from caredio.llm.local import Embedded

        return Model(spec, Embedded(spec, kept, usage), kept, usage, seed=seed)
    if endpoint.batch:
        return Model(spec, Batch(spec, endpoint, kept, usage), kept, usage, batch=True, seed=seed)
    if submitted := kept.submitted():
        log.warning("%d submitted calls are not collected yet: --batch does; without it they are paid again", submitted)
    return Model(spec, Remote(spec, endpoint, kept, usage), kept, usage, seed=seed)
