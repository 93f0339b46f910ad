"""Requests to an OpenAI-compatible endpoint (OpenAI, Azure, vLLM, TGI, llama.cpp, Ollama, ...)."""

from __future__ import annotations

import asyncio
import functools
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from caredio.errors import InputError
from caredio.llm import chat, dialects
from caredio.llm.access import Access, check_address
from caredio.llm.budget import Budget, Rate
from caredio.llm.chat import CallFailed
from caredio.llm.pace import Pace
from caredio.llm.prices import Usage
from caredio.llm.spec import Spec

_FIRST_BACKOFF, _LONGEST_BACKOFF = 0.5, 30.0  # seconds before a failed call is tried again


@dataclass(frozen=True)
class Endpoint:
    """How to reach models and how hard to press them. Never part of a key: the same model elsewhere answers the same.

    One object is one purse: all that is asked through it counts against its limits.
    """

    base_url: str = field(
        default="", metadata={"help": "address of the endpoint, such as http://localhost:8000/v1 [$OPENAI_BASE_URL]"}
    )
    api_key_variable: str = field(
        default="",
        metadata={"help": "environment variable that holds the endpoint's key; OPENAI_API_KEY goes to OpenAI alone"},
    )
    system_role: str = field(
        default=dialects.AUTO,
        metadata={
            "help": "role of the system text; user puts it into the first user turn, auto does so where it must",
            "choices": dialects.SYSTEM_ROLES,
        },
    )
    token_limit: str = field(
        default=dialects.AUTO,
        metadata={"help": "what the endpoint calls max_tokens; auto finds out", "choices": dialects.TOKEN_LIMITS},
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
        for name, choices in (("system_role", dialects.SYSTEM_ROLES), ("token_limit", dialects.TOKEN_LIMITS)):
            if getattr(self, name) not in choices:
                raise InputError(f"{name} is {getattr(self, name)!r}; use {', '.join(choices)}.")
        check_address(self.base_url)

    @functools.cached_property
    def budget(self) -> Budget:
        """What the calls through this endpoint may spend together."""
        return Budget(self.max_cost, self.max_total_tokens)


class Reply(Protocol):
    """What a reply was read as."""

    @property
    def prompt_tokens(self) -> int: ...

    @property
    def completion_tokens(self) -> int: ...


_R = TypeVar("_R", bound=Reply)


class Client:
    """Sends requests, at most `endpoint.concurrency` at a time and within the endpoint's limits."""

    def __init__(self, spec: Spec, endpoint: Endpoint, flag: str = "--model") -> None:
        """Read the environment; nothing is sent yet. `flag`: what the user named the model by.

        Raises:
            EndpointError: no key, and no address of one's own.
            InputError: dollars are limited and the model has no listed price.
        """
        self.endpoint, self.rate = endpoint, Rate(spec.model)
        self.access = Access(spec, endpoint.base_url, flag)
        endpoint.budget.check(self.rate)
        self._loop: asyncio.AbstractEventLoop | None = None

    def _open(self) -> None:
        """A connection pool and bounds for the running loop (each `Dataset.map` brings its own loop)."""
        loop = asyncio.get_running_loop()
        if self._loop is loop:
            return
        endpoint = self.endpoint
        self._openai = self.access.open(endpoint.concurrency)
        self._bound = asyncio.Semaphore(endpoint.concurrency)
        self._pace = Pace(endpoint.requests_per_minute, endpoint.tokens_per_minute, endpoint.retries)
        self._loop = loop

    async def close(self) -> None:
        """Close the running loop's connections; the next call opens new ones."""
        if self._loop is asyncio.get_running_loop():
            self._loop = None
            await self._openai.close()

    async def post(self, path: str, body: dict[str, Any], most: Usage, read: Callable[[Any], _R]) -> _R:
        """What `read` makes of the reply to `body`, which uses at most `most`.

        Args:
            read: raises `CallFailed` or `ValueError` where the reply is not what was wanted.

        Raises:
            BudgetError: it could cost more than is left.
            CallFailed: the retries are spent.
            EndpointError: no call can succeed (key refused, model unknown, quota used up).
        """
        self._open()
        async with self._bound, self.endpoint.budget.hold(self.rate, most) as used:
            reply = await self._answer(path, body, most, read)
            # not every server counts
            used.add(Usage(1, 0, reply.prompt_tokens, reply.completion_tokens) if reply.prompt_tokens else most)
        return reply

    async def _answer(self, path: str, body: dict[str, Any], most: Usage, read: Callable[[Any], _R]) -> _R:
        """Send until there is an answer; a refusal for going too fast slows all calls and costs this one no attempt."""
        expected = most.prompt_tokens / 4 + most.completion_tokens
        attempts = 0
        while True:
            left = await self._pace.turn(expected)
            try:
                reply = await self._attempt(path, body, read)
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
                self._pace.answered(left, reply.prompt_tokens + reply.completion_tokens - expected)
                return reply

    async def _attempt(self, path: str, body: dict[str, Any], read: Callable[[Any], _R]) -> _R:
        import aiohttp
        import httpx2
        import openai

        try:
            async with asyncio.timeout(self.endpoint.timeout):
                # the package's own way around its typed replies, which cost more time than the rest of a call
                reply = await self._openai.post(path, cast_to=httpx2.Response, body=body)
            return read(reply.json())
        except (openai.OpenAIError, aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise self.access.failure(error) from None
