"""What a person sees while a verb works: stage lines, drops and warnings on stderr, and no bars of other libraries."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Iterator

LEVELS = ("debug", "info", "warning", "error")
_OTHERS = ("transformers", "sentence_transformers", "httpx2", "httpx", "openai", "datasets", "lm_eval")
log = logging.getLogger("caredio")
_stages_show = False


class _ToStderr(logging.StreamHandler):
    """Writes to what is stderr at the time, as a notebook replaces it."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)
        self.setFormatter(logging.Formatter("%(message)s"))

    @property
    def stream(self):  # type: ignore[no-untyped-def]
        return sys.stderr


def show(level: str = "info", quiet: bool = False) -> None:
    """Show this package's lines from `level` on, and of other libraries what is an error.

    Args:
        quiet: warnings and errors alone, and no bars.
    """
    if not any(isinstance(handler, _ToStderr) for handler in log.handlers):
        log.addHandler(_ToStderr())
        log.propagate = bool(logging.getLogger().handlers)  # a program's own handlers go on receiving them
    log.setLevel(logging.WARNING if quiet else level.upper())
    for library in _OTHERS:
        logging.getLogger(library).setLevel(logging.ERROR)
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # its lines about cancelled calls say nothing to a user


def begin() -> None:
    """`show`, unless the program has its own handlers or has chosen a level."""
    if not log.handlers and not log.level and not logging.getLogger().handlers:
        show()


@contextlib.contextmanager
def only_stage_bars() -> Iterator[None]:
    """Until the block ends, no bars of `datasets` for casting, flattening or writing; those of stages that ask show."""
    global _stages_show
    import datasets

    shown = not datasets.are_progress_bars_disabled()
    before, _stages_show = _stages_show, shown and log.level <= logging.INFO
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        _stages_show = before
        if shown:
            datasets.enable_progress_bars()


@contextlib.contextmanager
def stage_bar() -> Iterator[None]:
    """Until the block ends, the bar of a map shows, where `only_stage_bars` hid it."""
    if not _stages_show:
        yield
        return
    import datasets

    datasets.enable_progress_bars()
    try:
        yield
    finally:
        datasets.disable_progress_bars()
