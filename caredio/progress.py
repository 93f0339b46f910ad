"""The bar of a command: how many planned calls have their answer, the time that is left, and what they cost so far.

A verb opens it with its plan, a stage says which part of the plan it is, and each answer is counted when it ends. There
is one bar at a time. It shows in a terminal and in a notebook; where stderr is a file, a line a minute counts instead.
"""

from __future__ import annotations

import contextlib
import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from typing import Any

from caredio import messages

_FORMAT = "{desc}{percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} {unit} [{elapsed}<{remaining}{postfix}]"
_SMOOTHING = 0.1  # weight of the last tenth of a second in the rate that the time left is computed by
_TICK = 1.0  # seconds
_EVERY = 60.0  # seconds between two lines, where no bar shows
_LOCK = threading.Lock()
_current: ContextVar[Progress | None] = ContextVar("progress", default=None)
_blocks, _datasets_show = 0, False  # of `only_own_bars`: how many are open, and whether `datasets` showed bars before


class Progress:
    """Counts the answers of each stage of a plan. The bar is made when the first model is asked."""

    def __init__(self, planned: Mapping[str, int], spent: Callable[[], str] = str, name: str = "", unit: str = "calls"):
        """A count of no answers.

        Args:
            planned: stage -> its calls.
            spent: what the command spent so far, in words.
            name: of the command.
            unit: what is counted.
        """
        self._planned, self._spent, self._name, self._unit = dict(planned), spent, name, unit
        self._done = dict.fromkeys(planned, 0.0)
        self._stage = ""  # in progress
        self._bar: Any = None
        self._drawn = 0.0  # when, for how far an answer is
        self._lock = threading.Lock()

    def asks(self, desc: str) -> str:
        """What of the plan calls of this description belong to; the bar bears the description."""
        with self._lock:
            if self._bar is None:
                from tqdm.auto import tqdm

                self._bar = tqdm(
                    desc=self._title(desc),
                    total=sum(self._planned.values()),
                    initial=self._count(),
                    unit=self._unit,
                    smoothing=_SMOOTHING,
                    miniters=1,
                    dynamic_ncols=True,
                    bar_format=_FORMAT,
                )
            self._bar.last_print_t = time.time()  # the time since the last answer was no waiting for the next
            self._bar.set_description(self._title(desc))
            return desc if desc in self._planned else self._stage or desc

    def detail(self, text: str) -> None:
        """Let the bar say how far an answer is, until the next one has ended."""
        with self._lock:
            if self._bar is not None:
                due = time.monotonic() - self._drawn >= self._bar.mininterval
                self._drawn = time.monotonic() if due else self._drawn
                self._bar.set_postfix_str(", ".join(filter(None, (self._spent(), text))), refresh=due)

    def answered(self, stage: str, calls: float) -> None:
        """Count calls of a stage, up to what is planned for it."""
        with self._lock:
            if stage in self._planned:
                self._done[stage] = min(self._planned[stage], self._done[stage] + calls)
            self._bar.set_postfix_str(self._spent(), refresh=False)
            self._bar.update(self._count() - self._bar.n)

    @contextlib.contextmanager
    def ticking(self) -> Iterator[None]:
        """Until the block ends, the bar is drawn each second, for the clock and the answers it did not draw at once."""
        ended = threading.Event()

        def tick() -> None:
            while not ended.wait(_TICK):
                with self._lock:
                    self._bar.refresh()

        ticker = threading.Thread(target=tick, name="caredio progress", daemon=True)
        ticker.start()
        try:
            yield
        finally:
            ended.set()
            ticker.join()

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """The block of a stage; once it has ended, all its calls are done."""
        self._stage = name
        if self._bar is not None:
            self._bar.set_description(self._title(name))
        try:
            yield
        finally:
            self._stage = ""
        with self._lock:
            self._done |= {name: float(self._planned[name])} if name in self._planned else {}
            if self._bar is not None and not self._bar.disable:
                # calls that were not made say nothing of the rate
                self._bar.last_print_n += self._count() - self._bar.n
                self._bar.n = self._count()
                self._bar.refresh()

    def close(self) -> None:
        """Let the bar stand as it is."""
        if self._bar is not None:
            self._bar.set_postfix_str(self._spent(), refresh=False)
            if self._name:
                self._bar.set_description(self._name, refresh=False)
            self._bar.close()

    def _title(self, desc: str) -> str:
        return f"{self._name}, {desc}" if self._name else desc

    def _count(self) -> int:
        return int(sum(self._done.values()) + 0.001)  # parts of calls that add up to a whole one


@contextlib.contextmanager
def command(
    name: str, plan: Callable[[], Mapping[str, int]], spent: Callable[[], str] = str, unit: str = "calls"
) -> Iterator[None]:
    """Until the block ends, one bar counts the calls of a command.

    Args:
        name: of the command.
        plan: stage -> calls; computed if a bar shows.
        spent: what the command spent so far, in words.
        unit: what is counted, in place of calls.
    """
    messages.begin()
    planned = {stage: calls for stage, calls in plan().items() if calls} if shown() else {}
    if not planned:
        yield
        return
    progress = Progress(planned, spent, name, unit)
    before = _current.set(progress)
    try:
        yield
    finally:
        _current.reset(before)
        progress.close()


@contextlib.contextmanager
def stage(name: str) -> Iterator[None]:
    """The block of a stage: once it has ended, so have its calls of the plan."""
    progress = _current.get()
    with progress.stage(name) if progress else contextlib.nullcontext():
        yield


@contextlib.contextmanager
def asking(desc: str, total: int, calls: int, unit: str = "calls") -> Iterator[Callable[[], None]]:
    """Until the block ends, what is yielded is called when one of `total` answers has ended.

    They count in the bar of the command; where none is open, in one of their own; where bars do not show, in a line a
    minute.

    Args:
        desc: what the bar says.
        calls: that the answers take.
        unit: what is counted, in place of calls.
    """
    progress = _current.get()
    own = progress is None and shown()
    if own:
        progress = Progress({desc: calls}, unit=unit)
    with only_own_bars():
        if progress is None:
            with _lines(desc, total, unit) as answered:
                yield answered
            return
        weight, stage = calls / total, progress.asks(desc)
        try:
            with progress.ticking():
                yield lambda: progress.answered(stage, weight)
        finally:
            if own:
                progress.close()


@contextlib.contextmanager
def _lines(desc: str, total: int, unit: str) -> Iterator[Callable[[], None]]:
    """Until the block ends, a line each minute tells how many answers have ended; what is yielded counts one."""
    ended, done = threading.Event(), 0

    def answered() -> None:
        nonlocal done
        done += 1

    def tell() -> None:
        while not ended.wait(_EVERY):
            messages.log.info("%s: %d of %d %s", desc, done, total, unit)

    teller = threading.Thread(target=tell, name="caredio progress", daemon=True)
    teller.start()
    try:
        yield answered
    finally:
        ended.set()
        teller.join()


def tell(title: str) -> None:
    """A line about what begins, where no bar names it."""
    if not shown():
        messages.log.info("%s", title)


def detail(text: str) -> None:
    """Let the bar of the command, where one shows, say how far an answer is that is being written."""
    if progress := _current.get():
        progress.detail(text)


def shown() -> bool:
    """Whether bars show: in a terminal or a notebook, unless the user has hidden them."""
    import datasets

    enabled = _datasets_show if _blocks else not datasets.are_progress_bars_disabled()
    seen = sys.stderr is not None and (sys.stderr.isatty() or type(sys.stderr).__module__.startswith("ipykernel"))
    return seen and enabled and messages.log.level <= logging.INFO


@contextlib.contextmanager
def only_own_bars() -> Iterator[None]:
    """Until the block ends, no bars of `datasets` for mapping, casting, flattening or writing."""
    global _blocks, _datasets_show
    import datasets

    with _LOCK:
        if not _blocks:
            _datasets_show = not datasets.are_progress_bars_disabled()
            datasets.disable_progress_bars()
        _blocks += 1
    try:
        yield
    finally:
        with _LOCK:
            _blocks -= 1
            if not _blocks and _datasets_show:
                datasets.enable_progress_bars()
