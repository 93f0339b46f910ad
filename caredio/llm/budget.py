"""What a command may spend: it stops before it spends more, and loses nothing that is paid for."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from caredio.errors import BudgetError, InputError
from caredio.llm.prices import Usage, cost


class Budget:
    """Limits on dollars and tokens, for all the calls of one command.

    A call in flight holds the most it can cost. One that does not fit waits, as those in flight will cost less than
    they hold; when none is left in flight, the command ends.
    """

    def __init__(self, model: str, max_cost: float = 0.0, max_total_tokens: int = 0, batch: bool = False) -> None:
        """Limits in US dollars and tokens, 0 for none.

        Raises:
            InputError: dollars are limited and the model has no listed price.
        """
        if max_cost and cost(model, Usage()) is None:
            raise InputError(f"no price is known for {model}, so --max-cost cannot be kept; use --max-total-tokens.")
        self.model, self.max_cost, self.max_total_tokens, self.batch = model, max_cost, max_total_tokens, batch
        self.spent = Usage()
        self._held = Usage()
        self._waiting: deque[tuple[Usage, asyncio.Future[None]]] = deque()

    @asynccontextmanager
    async def hold(self, most: Usage) -> AsyncIterator[Usage]:
        """Room for a call that uses at most `most`; the block adds what it did use to the `Usage` it is given.

        Raises:
            BudgetError: there is no room, and nothing in flight that could leave some.
        """
        if self._waiting or not self._fits(most):
            turn = asyncio.get_running_loop().create_future()
            self._waiting.append((most, turn))
            self._next()
            try:
                await turn
            except asyncio.CancelledError:
                if turn.done() and not turn.cancelled():  # room was made, too late
                    self._held.add(most, -1)
                raise
        else:
            self._held.add(most)
        used = Usage()
        try:
            yield used
        finally:
            self._held.add(most, -1)
            self.spent.add(used)
            self._next()

    def _fits(self, most: Usage) -> bool:
        total = Usage()
        for usage in (self.spent, self._held, most):
            total.add(usage)
        tokens = total.prompt_tokens + total.completion_tokens
        if self.max_total_tokens and tokens > self.max_total_tokens:
            return False
        return not self.max_cost or (cost(self.model, total, self.batch) or 0.0) <= self.max_cost

    def _next(self) -> None:
        """Let those who wait longest go on, as far as there is room; end their wait when there will never be."""
        while self._waiting:
            most, turn = self._waiting[0]
            if not turn.done():  # else its map was stopped
                if self._fits(most):
                    self._held.add(most)
                    turn.set_result(None)
                elif self._held.calls:
                    return
                else:
                    turn.set_exception(BudgetError(self._told()))
            self._waiting.popleft()

    def _told(self) -> str:
        tokens = self.spent.prompt_tokens + self.spent.completion_tokens
        dollars = cost(self.model, self.spent, self.batch)
        spent = f"{self.spent.calls:,} calls used {tokens:,} tokens" + ("" if dollars is None else f", ${dollars:,.4f}")
        limits = [f"--max-cost {self.max_cost:g}"] * bool(self.max_cost)
        limits += [f"--max-total-tokens {self.max_total_tokens}"] * bool(self.max_total_tokens)
        return (
            f"{spent}, and the next could go beyond {' or '.join(limits)}; every answer is stored, and the same command"
            " with a higher limit goes on from here."
        )
