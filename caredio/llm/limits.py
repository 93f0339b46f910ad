"""Limits that calls share: places, requests and tokens a minute, retries, and what a command may spend.

A command stops before it spends more than it may, and loses nothing that is paid for.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from caredio.errors import BudgetError, InputError
from caredio.llm.prices import cost

if TYPE_CHECKING:
    from caredio.journal import Journal

_TOO_FAST = (429, 529)  # statuses that ask every caller to slow down
_FEW = 2  # retries of what passes soon or not at all
_UNUSED = 1.0  # seconds of quota that may be saved up, so that a late start is made good
_MINUTE = 60.0 + _UNUSED  # seconds that a minute's quota is spread over: no window of 60 seconds sees more
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 30.0  # seconds before a call is tried again, where the endpoint names none
_PATIENCE = 600.0  # seconds that an endpoint may ask for; beyond, a call has failed
_QUOTA = 120.0  # seconds of refusals in a row: quotas are renewed each minute, so two have gone by
_SHOWN = 300  # characters of a server's words in a message


@dataclass(eq=False)
class CallFailed(Exception):  # noqa: N818 (a row's fate, not the run's)
    """One call got no answer, its retries spent; `str(error)` is the row's drop_reason."""

    reason: str  # what happened, in a few words
    retryable: bool = False  # the same call may succeed later, in `wait` seconds if the endpoint names a time
    wait: float = 0.0
    server_message: str = ""
    status: int | None = None  # of HTTP, or the one that an error object holds
    final: str = ""  # the reason to drop the row for, where the endpoint will always refuse this prompt and no other
    hopeless: bool = False  # no other call can succeed either
    few: bool = False  # it passes within a few attempts or not at all
    cause: str = ""  # what lies underneath, or what an address leads to
    rephrased: bool = False  # it is known by now how to ask instead

    def __str__(self) -> str:
        return f"endpoint: {self.reason}"

    @property
    def description(self) -> str:
        """The reason, its cause, and the endpoint's words."""
        cause = f" ({self.cause})" if self.cause else ""
        return f"{self}{cause}, which says: {self.server_message[:_SHOWN]}" if self.server_message else f"{self}{cause}"


class RateLimiter:
    """Limits a minute and pauses, for all calls through an Endpoint; times are the loop's, in seconds.

    Each quota is a leaky bucket: a call takes up its share of a minute, per request or per token.
    """

    def __init__(
        self, requests_per_minute: int | None = None, tokens_per_minute: int | None = None, patience: int = 5
    ) -> None:
        """Limits; and how many refusals in a row, no call answered in between, are pauses at the least (0: none is).

        Beyond those, calls are given up once the refusals have lasted longer than quotas take to be renewed.
        """
        self._request = _MINUTE / requests_per_minute if requests_per_minute else 0.0
        self._token = _MINUTE / tokens_per_minute if tokens_per_minute else 0.0
        self._free = [0.0, 0.0]  # when what is used of requests and tokens will have been earned
        self._patience = patience
        self._paused, self._until = 0.0, 0.0  # when the last pause began, and when it ends
        self._refusals, self._refused_at = 0, 0.0  # in a row, and when the first of them came

    async def acquire(self, tokens: float) -> float:
        """Wait until a call of about so many tokens may leave; returns that time."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        leaves = max(now, *self._free)
        costs = (self._request, tokens * self._token)
        self._free = [max(free, now - _UNUSED) + cost for free, cost in zip(self._free, costs, strict=True)]
        if leaves > now:
            await asyncio.sleep(leaves - now)
        while (wait := self._until - loop.time()) > 0:
            await asyncio.sleep(wait + random.random() * min(wait, _FIRST_PAUSE))  # not all at once
        return loop.time()

    def answered(self, sent_at: float, tokens: float) -> None:
        """Count the answer to a call, which used so many tokens more (fewer, if negative) than were acquired."""
        self._free[1] += tokens * self._token
        if sent_at >= self._paused:
            self._refusals = 0

    def refused(self, sent_at: float, wait: float) -> bool:
        """Whether a call that was refused for the rate may be sent again; `wait`: seconds asked for, 0 for none.

        The refusals of calls that left together are one refusal, and pause all of them.
        """
        if wait > _PATIENCE:
            return False
        now = asyncio.get_running_loop().time()
        if sent_at >= self._paused:
            if not self._refusals:
                self._refused_at = now
            if self._refusals >= self._patience and (not self._patience or now - self._refused_at > _QUOTA):
                return False
            self._refusals += 1
            self._paused = now
            wait = wait or min(_FIRST_PAUSE * 2.0 ** (self._refusals - 1), _LONGEST_PAUSE)
        self._until = max(self._until, now + wait)
        return True


@dataclass
class Usage:
    """What a stretch of calls used: tokens are those of requests made, not of answers found in the store.

    `calls` are the requests that cost something, or may have, `failed` those whose retries are spent. `uncounted` is
    how many of `calls` the endpoint told no tokens of; they are taken to have used the most they could.
    """

    calls: int = 0
    stored: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    failed: int = 0
    uncounted: int = 0

    def add(self, other: Usage, sign: int = 1) -> None:
        """Count `other` too, or no longer (sign -1)."""
        for name, value in vars(other).items():
            setattr(self, name, getattr(self, name) + sign * value)


class Rate(NamedTuple):
    """What sets a call's price."""

    model: str
    batch: bool = False


@dataclass
class Held:
    """What an attempt holds of a budget. `used` is what it cost; None is unknown, and counts as its upper bound."""

    used: Usage | None = None


class Budget:
    """Limits on dollars and tokens, for all the calls of one command, whichever models they go to.

    An attempt in flight holds the most it can cost. One that does not fit waits, as those in flight will cost less than
    they hold; when none is left in flight, the command ends. An attempt whose cost is never known (no reply, or a reply
    without a count) keeps what it held.
    """

    def __init__(self, max_cost: float | None = None, max_total_tokens: int | None = None) -> None:
        """Limits in US dollars and tokens."""
        self.max_cost, self.max_total_tokens = max_cost, max_total_tokens
        self.spent: dict[Rate, Usage] = {}
        self.journal: Journal | None = None  # where spending is written down as it happens
        self._held: dict[Rate, Usage] = {}
        self._first, self._freed = asyncio.Lock(), asyncio.Event()  # of those who wait, and of what they wait for
        self._number = itertools.count()

    def check(self, rate: Rate) -> None:
        """See that the limits can be kept for a model.

        Raises:
            InputError: dollars are limited and the model has no listed price.
        """
        if self.max_cost and cost(rate.model, Usage()) is None:
            raise InputError(f"no price is known for {rate.model}, so max_cost cannot be kept; use max_total_tokens.")

    def total(self) -> tuple[int, float | None]:
        """Tokens and US dollars spent so far; no dollars where a model has no listed price."""
        return _tokens(self.spent), _dollars(self.spent)

    @asynccontextmanager
    async def hold(self, rate: Rate, upper_bound: Usage, usage: Usage | None = None) -> AsyncIterator[Held]:
        """Room for an attempt that uses at most `upper_bound`; the block says in `Held.used` what it did use.

        Args:
            usage: where what is used is counted too.

        Raises:
            BudgetError: there is no room, and nothing in flight that could leave some.
        """
        await self._room(rate, upper_bound)
        number, held = next(self._number), Held(Usage())
        try:
            if self.journal:
                self.journal.held(number, rate, upper_bound)
            held.used = None
            yield held
        finally:
            used = held.used
            if used is None:
                used = Usage(1, 0, upper_bound.prompt_tokens, upper_bound.completion_tokens, uncounted=1)
            _add(self._held, rate, upper_bound, -1)
            _add(self.spent, rate, used)
            if usage is not None:
                usage.add(used)
            self._freed.set()
            if self.journal:
                self.journal.used(number, used)

    async def _room(self, rate: Rate, upper_bound: Usage) -> None:
        """Wait until the attempt fits beside those in flight, and hold its cost; who comes first is served first."""
        async with self._first:
            while not self._fits(rate, upper_bound):
                if not any(usage.calls for usage in self._held.values()):
                    raise BudgetError(self._exhausted())
                self._freed.clear()
                await self._freed.wait()
            _add(self._held, rate, upper_bound)

    def _fits(self, rate: Rate, upper_bound: Usage) -> bool:
        if not (self.max_cost or self.max_total_tokens):
            return True
        total: dict[Rate, Usage] = {}
        for of, usage in itertools.chain(self.spent.items(), self._held.items(), [(rate, upper_bound)]):
            _add(total, of, usage)
        if self.max_total_tokens and _tokens(total) > self.max_total_tokens:
            return False
        return not self.max_cost or (_dollars(total) or 0.0) <= self.max_cost

    def _exhausted(self) -> str:
        calls, dollars = sum(usage.calls for usage in self.spent.values()), _dollars(self.spent)
        uncounted = sum(usage.uncounted for usage in self.spent.values())
        spent = f"{calls:,} calls used {_tokens(self.spent):,} tokens"
        spent += "" if dollars is None else f", ${dollars:,.4f}"
        if uncounted:
            spent += f" ({uncounted:,} of them without a count from the endpoint, taken at their upper bound)"
        given = (("max_cost", self.max_cost), ("max_total_tokens", self.max_total_tokens))
        limits = [f"{name} {limit:.12g}" for name, limit in given if limit]
        return (
            f"{spent}, and the next could go beyond {' or '.join(limits)}; every answer is stored, and the same command"
            " with a higher limit goes on from here."
        )


class Backend:
    """Turns a request into a reply: `Remote` over HTTP, `Batch` in files, `LocalModel` on this machine.

    It neither repeats requests nor keeps and counts replies: that is done for it.
    """

    price: Rate | None = None  # of its requests; None where they cost nothing and no limit holds
    rate_limited = False  # requests hold one of the endpoint's places and keep to its limits a minute
    whole_chats = False  # it returns the likelihood of chats, not of completions

    def upper_bound(self, request: Any) -> Usage:
        """The most that a request can use."""
        return Usage()

    async def send(self, request: Any, held: Held) -> Any:
        """The reply; `held.used` is set where it is known and the reply does not say it. Raises as `Limits.send`."""
        raise NotImplementedError

    async def close(self) -> None:
        """Release the connections; the next request opens new ones."""


class Limits:
    """What all calls through an Endpoint share, whichever model, stage or role they are for."""

    def __init__(self, concurrency: int, rate: RateLimiter, retries: int, budget: Budget) -> None:
        self.in_flight = asyncio.Semaphore(concurrency)
        self.rate, self.retries, self.budget = rate, retries, budget
        self.dialects: dict[str, Any] = {}  # of each model's server, as far as it is found out

    async def send(self, backend: Backend, request: Any, usage: Usage) -> Any:
        """The backend's reply to a request, within the limits; `usage` is where what it used is counted.

        A failed attempt is repeated where it may pass: as often as `retries` say, and for as long as a quota takes to
        be renewed where the endpoint asks to slow down.

        Raises:
            BudgetError: an attempt could cost more than is left.
            CallFailed: the retries are spent.
            EndpointError: no call can succeed (key refused, model unknown, quota used up).
        """
        if backend.price is None:
            reply = await backend.send(request, Held())
            usage.add(_used(reply))
            return reply
        attempts = 0
        async with self.in_flight if backend.rate_limited else contextlib.nullcontext():
            while True:
                upper_bound = backend.upper_bound(request)
                expected = upper_bound.prompt_tokens / 4 + upper_bound.completion_tokens
                sent_at = await self.rate.acquire(expected) if backend.rate_limited else 0.0
                try:
                    async with self.budget.hold(backend.price, upper_bound, usage) as held:
                        reply = await backend.send(request, held)
                        if held.used is None and reply.prompt_tokens:  # not every server counts
                            held.used = _used(reply)
                except CallFailed as failure:
                    if failure.rephrased or (backend.rate_limited and self._refused(failure, sent_at)):
                        continue
                    if not self._again(failure, attempts, backend.rate_limited):
                        raise
                    backoff = min(_FIRST_PAUSE * 2.0**attempts, _LONGEST_PAUSE)
                    attempts += 1
                    if backend.rate_limited:  # else it goes into the next batch, with all others
                        await asyncio.sleep(max(backoff * random.uniform(0.5, 1.0), failure.wait))
                else:
                    if backend.rate_limited:
                        self.rate.answered(sent_at, reply.prompt_tokens + reply.completion_tokens - expected)
                    return reply

    def _refused(self, failure: CallFailed, sent_at: float) -> bool:
        """Whether the endpoint asked to slow down, and the call may wait for that: which is no attempt."""
        return failure.status in _TOO_FAST and failure.retryable and self.rate.refused(sent_at, failure.wait)

    def _again(self, failure: CallFailed, attempts: int, rate_limited: bool) -> bool:
        """Whether a call that failed after so many retries is tried once more."""
        retries = min(_FEW, self.retries) if failure.few else self.retries
        return failure.retryable and attempts < retries and not (rate_limited and failure.status in _TOO_FAST)


def _used(reply: Any) -> Usage:
    return Usage(1, 0, reply.prompt_tokens, reply.completion_tokens)


def _add(usages: dict[Rate, Usage], rate: Rate, usage: Usage, sign: int = 1) -> None:
    usages.setdefault(rate, Usage()).add(usage, sign)


def _tokens(usages: dict[Rate, Usage]) -> int:
    return sum(usage.prompt_tokens + usage.completion_tokens for usage in usages.values())


def _dollars(usages: dict[Rate, Usage]) -> float | None:
    """None where a model has no listed price."""
    total = 0.0
    for rate, usage in usages.items():
        dollars = cost(rate.model, usage, rate.batch)
        if dollars is None:
            return None
        total += dollars
    return total


def retry_after(headers: Mapping[str, str]) -> float:
    """Seconds an answer's headers ask to wait, 0 when they do not say (RFC 9110, 10.2.3; OpenAI's retry-after-ms)."""
    if "retry-after-ms" in headers:
        stated, unit = headers["retry-after-ms"], 1000
    else:
        stated, unit = headers.get("retry-after", ""), 1
    try:
        seconds = float(stated) / unit
    except ValueError:
        try:
            seconds = parsedate_to_datetime(stated).timestamp() - time.time()
        except ValueError:
            return 0.0
    return seconds if seconds > 0 else 0.0
