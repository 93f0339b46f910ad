"""The one event loop in which models are asked, in a thread of its own.

`Dataset.map` makes a new event loop for every stage. Limits, connections and calls in flight outlive a stage, so they
live in this one, and whoever asks from another loop or thread waits for it here.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import functools
import threading
from collections.abc import Callable, Coroutine, Iterable
from concurrent.futures import Future
from typing import Any, TypeVar

_T = TypeVar("_T")


class Stopped(Exception):  # noqa: N818 (what a stage that was interrupted ends with)
    """The calls of this stage were stopped."""


@functools.cache
def _loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()

    def run_on() -> None:
        while True:  # a task that ends with one of these has told whoever waits for it, and stops the loop
            with contextlib.suppress(KeyboardInterrupt, SystemExit):
                loop.run_forever()

    threading.Thread(target=run_on, name="caredio models", daemon=True).start()
    return loop


def start(coroutine: Coroutine[Any, Any, _T]) -> Future[_T]:
    """The future result of `coroutine`, which runs in the loop of the models; any thread may call this."""
    return asyncio.run_coroutine_threadsafe(coroutine, _loop())


def run(coroutine: Coroutine[Any, Any, _T]) -> _T:
    """The result of `coroutine`; an interrupt of the waiting thread cancels it."""
    calls = Calls()
    future = start(calls.kept(coroutine))
    try:
        return future.result()
    except BaseException:
        calls.stop()
        raise


async def enter(coroutine: Coroutine[Any, Any, _T]) -> _T:
    """The result of `coroutine`, from whichever loop; cancelling the caller cancels it."""
    if asyncio.get_running_loop() is _loop():
        return await coroutine
    return await asyncio.wrap_future(start(coroutine))


async def ordinary(coroutine: Coroutine[Any, Any, _T]) -> _T:
    """The result of `coroutine`; what would end the loop of all others is `Stopped`, with its cause."""
    try:
        return await coroutine
    except (KeyboardInterrupt, SystemExit) as error:
        raise Stopped from error


async def together(coroutines: Iterable[Coroutine[Any, Any, _T]]) -> list[_T]:
    """The results of `coroutines`, in order; the first to fail stops the others."""
    tasks = [asyncio.ensure_future(ordinary(coroutine)) for coroutine in coroutines]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()


def at_exit(close: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run `close()` in the loop of the models before the interpreter ends, if it takes no longer than a second."""

    def close_now() -> None:
        with contextlib.suppress(Exception):  # connections that end with the process anyway
            start(close()).result(timeout=1.0)

    atexit.register(close_now)


class Calls:
    """The calls of one stage, which can be stopped together."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()
        self.stopped = False
        self.failure: Exception | None = None  # the first, which stopped the others

    async def kept(self, coroutine: Coroutine[Any, Any, _T]) -> _T:
        """The result of `coroutine`, which `stop` and the failure of another cancel; runs in the loop of the models."""
        task = asyncio.ensure_future(coroutine)
        self._tasks.add(task)
        try:
            if self.stopped:
                task.cancel()
            return await task
        except Exception as error:
            if not self.stopped:
                self.stopped, self.failure = True, error
                for other in self._tasks:
                    other.cancel()
            raise
        finally:
            task.cancel()
            self._tasks.discard(task)

    def stop(self) -> None:
        """Cancel what is in flight and refuse what would follow; returns once nothing is left in flight."""
        self.stopped = True
        start(self._cancelled()).result()

    async def _cancelled(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
