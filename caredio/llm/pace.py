"""When the next call may leave: an endpoint's limits, and its refusals, slow all calls alike."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

_UNUSED = 1.0  # seconds of quota that may be saved up, so that a late start is made good
_MINUTE = 60.0 + _UNUSED  # seconds that a minute's quota is spread over: no window of 60 seconds sees more
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 30.0  # seconds, where the endpoint does not say how long
_PATIENCE = 600.0  # seconds that an endpoint may ask for; beyond, a call has failed
_QUOTA = 120.0  # seconds of refusals in a row: quotas are renewed each minute, so two have gone by


class RateLimiter:
    """Limits a minute (0 for none) and pauses, for all calls through an Endpoint; times are the loop's, in seconds.

    Each quota is a leaky bucket: a call takes up its share of a minute, per request or per token.
    """

    def __init__(self, requests_per_minute: int = 0, tokens_per_minute: int = 0, patience: int = 5) -> None:
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
        """Whether a call that was refused for the rate may be sent again; `wait`: seconds asked for, 0 where not said.

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


def retry_after(headers: Mapping[str, str]) -> float:
    """Seconds an answer's headers ask to wait, 0 when they do not say (RFC 9110, 10.2.3; OpenAI's retry-after-ms)."""
    if "retry-after-ms" in headers:
        said, unit = headers["retry-after-ms"], 1000
    else:
        said, unit = headers.get("retry-after", ""), 1
    try:
        seconds = float(said) / unit
    except ValueError:
        try:
            seconds = parsedate_to_datetime(said).timestamp() - time.time()
        except ValueError:
            return 0.0
    return seconds if seconds > 0 else 0.0
