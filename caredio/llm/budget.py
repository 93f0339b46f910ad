"""What a command may spend: it stops before it spends more, and loses nothing that is paid for."""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from caredio.errors import BudgetError, InputError
from caredio.llm.prices import Usage, cost

if TYPE_CHECKING:
    from caredio.llm.journal import Journal


class Rate(NamedTuple):
    """What sets a call's price."""

    model: str
    batch: bool = False


@dataclass
class Held:
    """What an attempt holds of a budget. `used` is what it cost; None is unknown, and counts as the most it can be."""

    used: Usage | None = None


class Budget:
    """Limits on dollars and tokens, for all the calls of one command, whichever models they go to.

    An attempt in flight holds the most it can cost. One that does not fit waits, as those in flight will cost less than
    they hold; when none is left in flight, the command ends. An attempt whose cost is never known (no reply, or a reply
    without a count) keeps what it held.
    """

    def __init__(self, max_cost: float = 0.0, max_total_tokens: int = 0) -> None:
        """Limits in US dollars and tokens, 0 for none."""
        self.max_cost, self.max_total_tokens = max_cost, max_total_tokens
        self.spent: dict[Rate, Usage] = {}
        self.journal: Journal | None = None  # where spending is written down as it happens
        self._held: dict[Rate, Usage] = {}
        self._waiting: deque[tuple[Rate, Usage, asyncio.Future[None]]] = deque()
        self._number = itertools.count()

    def check(self, rate: Rate) -> None:
        """See that the limits can be kept for a model.

        Raises:
            InputError: dollars are limited and the model has no listed price.
        """
        if self.max_cost and cost(rate.model, Usage()) is None:
            raise InputError(
                f"no price is known for {rate.model}, so --max-cost cannot be kept; use --max-total-tokens."
            )

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
            self._next()
            if self.journal:
                self.journal.used(number, used)

    def add(self, rate: Rate, used: Usage, usage: Usage) -> None:
        """Count what was held by an earlier command, as a batch that is collected now; `usage` as in `hold`."""
        _add(self.spent, rate, used)
        usage.add(used)
        if self.journal:
            number = next(self._number)
            self.journal.held(number, rate, used)
            self.journal.used(number, used)

    async def _room(self, rate: Rate, upper_bound: Usage) -> None:
        """Wait until the attempt fits beside those in flight, and hold its cost."""
        if not self._waiting and self._fits(rate, upper_bound):
            _add(self._held, rate, upper_bound)
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append((rate, upper_bound, turn))
        self._next()
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # room was made, too late
                _add(self._held, rate, upper_bound, -1)
            raise

    def _fits(self, rate: Rate, upper_bound: Usage) -> bool:
        if not (self.max_cost or self.max_total_tokens):
            return True
        total: dict[Rate, Usage] = {}
        for usages in (self.spent, self._held, {rate: upper_bound}):
            for of, usage in usages.items():
                _add(total, of, usage)
        if self.max_total_tokens and _tokens(total) > self.max_total_tokens:
            return False
        return not self.max_cost or (_dollars(total) or 0.0) <= self.max_cost

    def _next(self) -> None:
        """Let those who wait longest go on, as far as there is room; end their wait when there will never be."""
        while self._waiting:
            rate, upper_bound, turn = self._waiting[0]
            if not turn.done():  # else its caller was stopped
                if self._fits(rate, upper_bound):
                    _add(self._held, rate, upper_bound)
                    turn.set_result(None)
                elif any(usage.calls for usage in self._held.values()):
                    return
                else:
                    turn.set_exception(BudgetError(self._exhausted()))
            self._waiting.popleft()

    def _exhausted(self) -> str:
        calls, dollars = sum(usage.calls for usage in self.spent.values()), _dollars(self.spent)
        uncounted = sum(usage.uncounted for usage in self.spent.values())
        spent = f"{calls:,} calls used {_tokens(self.spent):,} tokens" + (
            "" if dollars is None else f", ${dollars:,.4f}"
        )
        if uncounted:
            spent += f" ({uncounted:,} of them without a count from the endpoint, taken at their most)"
        limits = [f"--max-cost {self.max_cost:g}"] * bool(self.max_cost)
        limits += [f"--max-total-tokens {self.max_total_tokens}"] * bool(self.max_total_tokens)
        return (
            f"{spent}, and the next could go beyond {' or '.join(limits)}; every answer is stored, and the same command"
            " with a higher limit goes on from here."
        )


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
