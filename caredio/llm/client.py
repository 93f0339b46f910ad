"""Requests to an OpenAI-compatible endpoint (OpenAI, Azure, vLLM, TGI, llama.cpp, Ollama, ...)."""

from __future__ import annotations

import asyncio
import functools
import logging
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from caredio.errors import InputError
from caredio.llm import chat, dialects, loop
from caredio.llm.access import Access, check_address
from caredio.llm.budget import Budget, Rate
from caredio.llm.chat import CallFailed
from caredio.llm.dialects import Dialect
from caredio.llm.pace import RateLimiter
from caredio.llm.prices import Usage
from caredio.llm.spec import Spec

log = logging.getLogger("caredio")

_FIRST_BACKOFF, _LONGEST_BACKOFF = 0.5, 30.0  # seconds before a failed call is tried again
_TOO_FAST = (429, 529)  # statuses that ask every caller to slow down
_FEW = 2  # retries of what passes soon or not at all


class Limits:
    """What all calls through one Endpoint share, whichever model, stage or role they are for."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.in_flight = asyncio.Semaphore(endpoint.concurrency)
        self.dialects: dict[str, Dialect] = {}  # of each model, as far as it is found out
        self.rate = RateLimiter(endpoint.requests_per_minute, endpoint.tokens_per_minute, endpoint.retries)
        self.budget = Budget(endpoint.max_cost, endpoint.max_total_tokens)


@dataclass(frozen=True)
class Endpoint:
    """How to reach models and how hard to press them. Never part of a key: the same model elsewhere answers the same.

    Calls through one Endpoint share its limits.
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
    requests_per_minute: int = field(default=0, metadata={"help": "most requests a minute; 0 sets no limit"})
    tokens_per_minute: int = field(default=0, metadata={"help": "most tokens a minute; 0 sets no limit"})
    timeout: float = field(default=120.0, metadata={"help": "seconds one attempt may take"})
    retries: int = field(
        default=5,
        metadata={"help": "attempts after the first, with growing pauses; waiting for a quota to be renewed is none"},
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
    def limits(self) -> Limits:
        """What the calls through this object share."""
        return Limits(self)

    @property
    def budget(self) -> Budget:
        """What they may spend together."""
        return self.limits.budget


class Reply(Protocol):
    """What a reply was read as."""

    @property
    def prompt_tokens(self) -> int: ...

    @property
    def completion_tokens(self) -> int: ...


_R = TypeVar("_R", bound=Reply)


class Client:
    """Sends requests within the endpoint's limits. Everything but the constructor runs in the loop of the models."""

    def __init__(self, spec: Spec, endpoint: Endpoint, usage: Usage, flag: str = "--model") -> None:
        """Read the environment; nothing is sent yet.

        Args:
            usage: where what is used is counted.
            flag: what the user named the model by.

        Raises:
            EndpointError: no key, and no address of one's own.
            InputError: dollars are limited and the model has no listed price.
        """
        self.endpoint, self.usage, self.price = endpoint, usage, Rate(spec.model)
        self.access = Access(spec, endpoint.base_url, flag, endpoint.api_key_variable)
        endpoint.budget.check(self.price)
        self._openai: Any = None

    @property
    def dialect(self) -> Dialect:
        """What the model's server takes in a request, as far as it is found out."""
        known, endpoint = self.endpoint.limits.dialects, self.endpoint
        first = dialects.start(self.access.openai, endpoint.system_role, endpoint.token_limit)
        return known.setdefault(self.price.model, first)

    async def close(self) -> None:
        """Close the connections; the next call opens new ones."""
        if self._openai is not None:
            connections, self._openai = self._openai, None
            await connections.close()

    async def post(self, path: str, request: Callable[[Dialect], dict[str, Any]], read: Callable[[Any], _R]) -> _R:
        """What `read` makes of the reply to a request.

        A failed attempt is repeated where it may pass: as often as the endpoint's `retries` say, and for as long as a
        quota takes to be renewed where the endpoint asks to slow down.

        Args:
            request: the body in a dialect; what the server does not take is left out, and asked without.
            read: raises `CallFailed` or `ValueError` where the reply is not what was wanted.

        Raises:
            BudgetError: an attempt could cost more than is left.
            CallFailed: the retries are spent.
            EndpointError: no call can succeed (key refused, model unknown, quota used up).
        """
        limits, attempts = self.endpoint.limits, 0
        async with limits.in_flight:
            while True:
                dialect = self.dialect
                body = request(dialect)
                upper_bound = chat.most(body)
                expected = upper_bound.prompt_tokens / 4 + upper_bound.completion_tokens
                sent_at = await limits.rate.acquire(expected)
                try:
                    reply = await self._attempt(path, body, upper_bound, read)
                except CallFailed as failure:
                    if self._learnt(dialect, failure):
                        continue
                    failure = self.access.failure(failure)  # raises where no call can succeed
                    too_fast = failure.status in _TOO_FAST
                    if too_fast and failure.passing and limits.rate.refused(sent_at, failure.wait):
                        continue
                    if too_fast or not failure.passing or attempts == self._retries(failure):
                        raise
                    backoff = min(_FIRST_BACKOFF * 2.0**attempts, _LONGEST_BACKOFF)
                    attempts += 1
                    await asyncio.sleep(max(backoff * random.uniform(0.5, 1.0), failure.wait))
                else:
                    limits.rate.answered(sent_at, reply.prompt_tokens + reply.completion_tokens - expected)
                    return reply

    def _retries(self, failure: CallFailed) -> int:
        return min(_FEW, self.endpoint.retries) if failure.few else self.endpoint.retries

    def _learnt(self, asked_in: Dialect, failure: CallFailed) -> bool:
        """Whether the server refused how a call was asked, and it is known by now how to ask instead."""
        if self.dialect == asked_in and (other := dialects.learn(asked_in, failure.status, failure.said)):
            self.endpoint.limits.dialects[self.price.model] = other
            log.info("%s: %s", self.access.host, failure.said)
        return self.dialect != asked_in

    async def _attempt(self, path: str, body: dict[str, Any], upper_bound: Usage, read: Callable[[Any], _R]) -> _R:
        """One request, whose cost is held before it leaves: its real cost after a reply, the most after none.

        Raises:
            CallFailed: there is no answer.
        """
        import aiohttp
        import httpx2
        import openai

        if self._openai is None:
            self._openai = self.access.open(self.endpoint.concurrency)
            loop.at_exit(self.close)
        async with self.endpoint.budget.hold(self.price, upper_bound, self.usage) as held:
            try:
                async with asyncio.timeout(self.endpoint.timeout):
                    # the package's own way around its typed replies, which cost more time than the rest of a call
                    reply = await self._openai.post(path, cast_to=httpx2.Response, body=body)
                answer = read(chat.parse(reply.content, reply.headers.get("content-type", "")))
            except (CallFailed, openai.OpenAIError, aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
                if _unsent(error) or (isinstance(error, openai.APIStatusError) and chat.unbilled(error.status_code)):
                    held.used = Usage()
                raise self.access.describe(error) from None
            if answer.prompt_tokens:  # not every server counts
                held.used = Usage(1, 0, answer.prompt_tokens, answer.completion_tokens)
        return answer


def _unsent(error: BaseException | None) -> bool:
    """Whether a failure came before any of the request was sent."""
    import aiohttp

    while error is not None:  # aiohttp's own word: what stands over it calls a dropped connection a timeout too
        if isinstance(error, (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)):
            return True
        error = error.__cause__ or error.__context__
    return False
