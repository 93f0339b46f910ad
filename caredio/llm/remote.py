"""A model behind an endpoint: its answers, and how likely it finds texts; each stored as it arrives."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from caredio.errors import EndpointError
from caredio.llm import chat, dialects
from caredio.llm.chat import CallFailed
from caredio.llm.client import Client, Endpoint
from caredio.llm.dialects import Dialect
from caredio.llm.prices import Usage
from caredio.llm.spec import Messages, Spec
from caredio.llm.store import Answer, Store

Read = Callable[[Any, Spec], Answer]  # a reply, and who was asked


class Remote:
    """Asks in calls of their own, many at a time."""

    def __init__(self, spec: Spec, endpoint: Endpoint, store: Store, usage: Usage) -> None:
        """Read the environment; nothing is sent yet. `usage`: where what is used is counted.

        Raises:
            EndpointError: no key, and no address of one's own.
            InputError: dollars are limited and the model has no listed price.
        """
        self.spec, self.store, self.client = spec, store, Client(spec, endpoint, usage)
        self._prefixes: dict[str, asyncio.Task[Answer]] = {}  # chats whose own likelihood is being asked for

    async def close(self) -> None:
        """Close the connections; the next call opens new ones."""
        await self.client.close()

    async def generate(self, key: str, messages: Messages, schema: dict[str, Any] | None) -> Answer:
        """Ask, store the answer under `key`, and return it.

        Raises:
            BudgetError, CallFailed, EndpointError: as `Client.post`.
        """
        return await self._ask(key, lambda dialect: dialects.request(self.spec, messages, schema, dialect), chat.read)

    async def likelihood(self, key: str, messages: Messages, completion: str) -> Answer:
        """Store and return log2 p(completion | messages), from the endpoint's log-probabilities of prompts (vLLM).

        It is the difference of two texts' likelihoods: the chat that ends with the completion, and the chat that ends
        where it would begin. The second is asked for once and stored too, so that each further completion costs one
        call.

        Raises:
            BudgetError, CallFailed, EndpointError: as `Client.post`; the endpoint tells no log-probabilities of
                prompts.
        """
        before = await self._prefix(messages)
        whole = [*messages, {"role": "assistant", "content": completion}]
        whole_key = self.spec.likelihood_key(whole, "")
        after = await self._measured(whole_key, whole)
        answer = replace(after, text=f"{float(after.text) - float(before.text):.3f}")
        self.store.put({key: answer})
        return answer

    async def _prefix(self, messages: Messages) -> Answer:
        """log2 p of the chat up to where a completion would begin."""
        key = self.spec.likelihood_key(messages, "")
        if (known := self.store.get(key)) is not None:
            return known
        asking = self._prefixes.get(key)
        if asking is not None:
            return await asking
        asking = asyncio.ensure_future(self._measured(key, messages))
        self._prefixes[key] = asking
        try:
            return await asking
        finally:
            self._prefixes.pop(key, None)

    async def _measured(self, key: str, messages: Messages) -> Answer:
        """log2 p of a chat's own text."""
        return await self._ask(
            key, lambda dialect: dialects.measure(self.spec, messages, dialect), chat.read_likelihood
        )

    async def _ask(self, key: str, request: Callable[[Dialect], dict[str, Any]], read: Read) -> Answer:
        """Send a request, and store what `read` makes of the reply under `key`; a lasting refusal of it likewise."""
        try:
            answer = await self.client.post("/chat/completions", request, lambda reply: read(reply, self.spec))
        except CallFailed as failure:
            if "prompt_logprobs" in failure.said:  # it does not know the word
                raise EndpointError(chat.NO_LIKELIHOOD.format(model=self.spec.model)) from None
            if not failure.final or read is not chat.read:
                raise
            answer = Answer("", failure.final, self.spec.model, 0, 0)
        self.store.put({key: answer})
        return answer
