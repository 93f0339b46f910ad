"""Models behind an OpenAI-compatible endpoint (OpenAI, Azure, vLLM, TGI, llama.cpp, Ollama, ...)."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlsplit

from caredio.errors import EndpointError, InputError
from caredio.llm import chat
from caredio.llm.access import Access
from caredio.llm.budget import Budget
from caredio.llm.chat import CallFailed
from caredio.llm.pace import Pace
from caredio.llm.prices import Usage
from caredio.llm.spec import Messages, Spec
from caredio.llm.store import Answer, Store

Read = Callable[[Any, Spec], Answer]  # a reply, and who was asked
_FIRST_BACKOFF, _LONGEST_BACKOFF = 0.5, 30.0  # seconds before a failed call is tried again


@dataclass(frozen=True)
class Endpoint:
    """How to reach a model and how hard to press it. Never part of a key: the same model elsewhere answers the same."""

    base_url: str = field(
        default="", metadata={"help": "address of the endpoint, such as http://localhost:8000/v1 [$OPENAI_BASE_URL]"}
    )
    concurrency: int = field(default=64, metadata={"help": "most calls in flight"})
    requests_per_minute: int = field(default=0, metadata={"help": "most calls a minute; 0 sets no limit"})
    tokens_per_minute: int = field(default=0, metadata={"help": "most tokens a minute; 0 sets no limit"})
    timeout: float = field(default=120.0, metadata={"help": "seconds one attempt may take"})
    retries: int = field(
        default=5, metadata={"help": "attempts after the first, with growing pauses; being told to slow down is none"}
    )
    batch: bool = field(
        default=False, metadata={"help": "ask through the Batch API: half the price, answers within a day"}
    )
    max_cost: float = field(
        default=0.0, metadata={"help": "US dollars this command may spend, by the listed prices; 0 sets no limit"}
    )
    max_total_tokens: int = field(
        default=0, metadata={"help": "tokens this command may use, prompts and answers; 0 sets no limit"}
    )

    def __post_init__(self) -> None:
        if self.concurrency < 1 or self.timeout <= 0 or self.retries < 0:
            raise InputError("concurrency must be at least 1, timeout above 0 and retries at least 0.")
        for name in ("requests_per_minute", "tokens_per_minute", "max_cost", "max_total_tokens"):
            if getattr(self, name) < 0:
                raise InputError(f"{name} is {getattr(self, name)}; use a limit above 0, or 0 for none.")
        if self.base_url and urlsplit(self.base_url).scheme not in ("http", "https"):
            raise InputError(f"base_url {self.base_url!r} is no address; write it as http://host:port/v1.")


class Client:
    """Asks an endpoint, at most `endpoint.concurrency` calls at a time and within its limits a minute."""

    def __init__(self, spec: Spec, endpoint: Endpoint, store: Store, budget: Budget) -> None:
        """Read the environment; nothing is sent yet.

        Raises:
            EndpointError: no key, and no address of one's own.
        """
        self.spec, self.endpoint, self.store, self.budget = spec, endpoint, store, budget
        self.access = Access(spec, endpoint.base_url)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._prefixes: dict[str, asyncio.Task[Answer]] = {}  # chats whose own likelihood is being asked for

    def _open(self) -> None:
        """A connection pool and bounds for the running loop (each `Dataset.map` brings its own loop)."""
        loop = asyncio.get_running_loop()
        if self._loop is loop:
            return
        endpoint = self.endpoint
        self._openai = self.access.open(endpoint.concurrency)
        self._bound = asyncio.Semaphore(endpoint.concurrency)
        self._pace = Pace(endpoint.requests_per_minute, endpoint.tokens_per_minute, endpoint.retries)
        self._prefixes = {}
        self._loop = loop

    async def close(self) -> None:
        """Close the running loop's connections; the next call opens new ones."""
        if self._loop is asyncio.get_running_loop():
            self._loop = None
            await self._openai.close()

    async def generate(self, key: str, messages: Messages, schema: dict[str, Any] | None) -> Answer:
        """Ask, store the answer under `key`, and return it.

        Raises:
            BudgetError: it could cost more than is left.
            CallFailed: the retries are spent.
            EndpointError: no call can succeed (key refused, model unknown, quota used up).
        """
        return await self._ask(key, chat.request(self.spec, messages, schema, self.access.openai), chat.read)

    async def likelihood(self, key: str, messages: Messages, completion: str) -> Answer:
        """Store and return log2 p(completion | messages), from the endpoint's log-probabilities of prompts (vLLM).

        It is the difference of two texts' likelihoods: the chat that ends with the completion, and the chat that ends
        where it would begin. The second is asked for once and stored too, so that each further completion costs one
        call.

        Raises:
            BudgetError, CallFailed, EndpointError: as `generate`; the endpoint tells no log-probabilities of prompts.
        """
        before, paid = await self._prefix(messages)
        whole = [*messages, {"role": "assistant", "content": completion}]
        whole_key = self.spec.likelihood_key(whole, "")
        after = await self._ask(whole_key, chat.measure(self.spec, whole), chat.read_likelihood)
        answer = replace(
            after,
            text=f"{float(after.text) - float(before.text):.3f}",
            prompt_tokens=after.prompt_tokens + paid * before.prompt_tokens,
            completion_tokens=after.completion_tokens + paid * before.completion_tokens,
        )
        self.store.put({key: answer})
        return answer

    async def _prefix(self, messages: Messages) -> tuple[Answer, bool]:
        """log2 p of the chat up to where a completion would begin, and whether it was this caller who asked."""
        key = self.spec.likelihood_key(messages, "")
        if (known := self.store.get(key)) is not None:
            return known, False
        self._open()
        if key in self._prefixes:
            return await self._prefixes[key], False
        asked = self._ask(key, chat.measure(self.spec, messages), chat.read_likelihood)
        self._prefixes[key] = asyncio.ensure_future(asked)
        try:
            return await self._prefixes[key], True
        finally:
            del self._prefixes[key]

    async def _ask(self, key: str, body: dict[str, Any], read: Read) -> Answer:
        """Send a request within the bounds, and store what `read` makes of the reply under `key`."""
        self._open()
        most = chat.most(body)
        async with self._bound, self.budget.hold(most) as used:
            answer = await self._answer(body, most, read)
            used.add(chat.used(answer) if answer.prompt_tokens else most)  # not every server counts
            self.store.put({key: answer})
        return answer

    async def _answer(self, body: dict[str, Any], most: Usage, read: Read) -> Answer:
        """Send until there is an answer; a refusal for going too fast slows all calls and costs this one no attempt."""
        expected = most.prompt_tokens / 4 + most.completion_tokens
        attempts = 0
        while True:
            left = await self._pace.turn(expected)
            try:
                answer = await self._attempt(body, read)
            except CallFailed as failure:
                slowed = str(failure) == chat.TOO_FAST
                if slowed and self._pace.refused(left, failure.wait):
                    continue
                if slowed or not failure.passing or attempts == self.endpoint.retries:
                    raise
                backoff = min(_FIRST_BACKOFF * 2.0**attempts, _LONGEST_BACKOFF)
                attempts += 1
                await asyncio.sleep(max(backoff * random.uniform(0.5, 1.0), failure.wait))
            else:
                self._pace.answered(left, answer.prompt_tokens + answer.completion_tokens - expected)
                return answer

    async def _attempt(self, body: dict[str, Any], read: Read) -> Answer:
        import aiohttp
        import httpx2
        import openai

        try:
            async with asyncio.timeout(self.endpoint.timeout):
                # the package's own way around its typed replies, which cost more time than the rest of a call
                reply = await self._openai.post("/chat/completions", cast_to=httpx2.Response, body=body)
            return read(reply.json(), self.spec)
        except (openai.OpenAIError, aiohttp.ClientError, TimeoutError, ValueError) as error:
            if "prompt_logprobs" in str(error):  # it does not know the word
                raise EndpointError(chat.NO_LIKELIHOOD.format(model=self.spec.model)) from None
            raise self.access.failure(error) from None
