"""When the next call may leave: an endpoint's limits, and its refusals, slow all calls alike."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

_UNUSED = 1.0  # seconds of quota that may be saved up, so that a late start is made good
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 60.0  # seconds, where the endpoint does not say how long
_PATIENCE = 600.0  # seconds that an endpoint may ask for; beyond, a call has failed


class Pace:
    """Limits a minute (0 for none) and pauses, for the calls of one event loop; times are the loop's, in seconds.

    Each quota is a leaky bucket: a call takes up `60 / limit` seconds of it, per request or per token.
    """

    def __init__(self, requests_per_minute: int = 0, tokens_per_minute: int = 0, patience: int = 5) -> None:
        """Limits; and how many refusals in a row, no call answered in between, until calls are given up."""
        self._request = 60 / requests_per_minute if requests_per_minute else 0.0
        self._token = 60 / tokens_per_minute if tokens_per_minute else 0.0
        self._free = [0.0, 0.0]  # when what is used of requests and tokens will have been earned
        self._patience = patience
        self._paused, self._until = 0.0, 0.0  # when the last pause began, and when it ends
        self._refusals = 0

    async def turn(self, tokens: float) -> float:
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

    def answered(self, left: float, tokens: float) -> None:
        """A call that left at `left` came back, and used so many tokens more (fewer, if negative) than was said."""
        self._free[1] += tokens * self._token
        if left >= self._paused:
            self._refusals = 0

    def refused(self, left: float, wait: float) -> bool:
        """A call that left at `left` was told to come later, in `wait` seconds (0: not said). Whether it may.

        The refusals of calls that left together are one refusal, and pause all of them.
        """
        if wait > _PATIENCE:
            return False
        now = asyncio.get_running_loop().time()
        if left >= self._paused:
            if self._refusals == self._patience:
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
