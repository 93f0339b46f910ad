"""What a command may spend: it stops before it spends more, and loses nothing that is paid for."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple

from caredio.errors import BudgetError, InputError
from caredio.llm.prices import Usage, cost


class Rate(NamedTuple):
    """What sets a call's price."""

    model: str
    batch: bool = False


class Budget:
    """Limits on dollars and tokens, for all the calls of one command, whichever models they go to.

    A call in flight holds the most it can cost. One that does not fit waits, as those in flight will cost less than
    they hold; when none is left in flight, the command ends.
    """

    def __init__(self, max_cost: float = 0.0, max_total_tokens: int = 0) -> None:
        """Limits in US dollars and tokens, 0 for none."""
        self.max_cost, self.max_total_tokens = max_cost, max_total_tokens
        self.spent: dict[Rate, Usage] = {}
        self._held: dict[Rate, Usage] = {}
        self._waiting: deque[tuple[Rate, Usage, asyncio.Future[None]]] = deque()

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
    async def hold(self, rate: Rate, most: Usage) -> AsyncIterator[Usage]:
        """Room for a call that uses at most `most`; the block adds what it did use to the `Usage` it is given.

        Raises:
            BudgetError: there is no room, and nothing in flight that could leave some.
        """
        if self._waiting or not self._fits(rate, most):
            turn = asyncio.get_running_loop().create_future()
            self._waiting.append((rate, most, turn))
            self._next()
            try:
                await turn
            except asyncio.CancelledError:
                if turn.done() and not turn.cancelled():  # room was made, too late
                    _add(self._held, rate, most, -1)
                raise
        else:
            _add(self._held, rate, most)
        used = Usage()
        try:
            yield used
        finally:
            _add(self._held, rate, most, -1)
            _add(self.spent, rate, used)
            self._next()

    def _fits(self, rate: Rate, most: Usage) -> bool:
        if not (self.max_cost or self.max_total_tokens):
            return True
        total: dict[Rate, Usage] = {}
        for usages in (self.spent, self._held, {rate: most}):
            for of, usage in usages.items():
                _add(total, of, usage)
        if self.max_total_tokens and _tokens(total) > self.max_total_tokens:
            return False
        return not self.max_cost or (_dollars(total) or 0.0) <= self.max_cost

    def _next(self) -> None:
        """Let those who wait longest go on, as far as there is room; end their wait when there will never be."""
        while self._waiting:
            rate, most, turn = self._waiting[0]
            if not turn.done():  # else its map was stopped
                if self._fits(rate, most):
                    _add(self._held, rate, most)
                    turn.set_result(None)
                elif any(usage.calls for usage in self._held.values()):
                    return
                else:
                    turn.set_exception(BudgetError(self._told()))
            self._waiting.popleft()

    def _told(self) -> str:
        calls, dollars = sum(usage.calls for usage in self.spent.values()), _dollars(self.spent)
        spent = f"{calls:,} calls used {_tokens(self.spent):,} tokens" + (
            "" if dollars is None else f", ${dollars:,.4f}"
        )
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
