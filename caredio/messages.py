"""What a person reads while a verb works: lines of stages, drops and warnings, on stderr."""

from __future__ import annotations

import contextlib
import logging
import sys

from caredio.markdown import inert

LEVELS = ("debug", "info", "warning", "error")
_OTHERS = ("transformers", "sentence_transformers", "httpx2", "httpx", "openai", "datasets", "lm_eval", "bitsandbytes")
log = logging.getLogger("caredio")


class _Inert(logging.Formatter):
    """Lines in which texts of tables are text: no escape sequence of theirs reaches the terminal."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        return inert(super().format(record))


class _ToStderr(logging.StreamHandler):
    """Writes to what is stderr at the time, as a notebook replaces it."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)
        self.setFormatter(_Inert("%(message)s"))

    @property
    def stream(self):  # type: ignore[no-untyped-def]
        return sys.stderr

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line, above a bar where one shows."""
        bars = getattr(sys.modules.get("tqdm"), "tqdm", None)  # not loaded for lines alone
        with bars.external_write_mode(file=self.stream) if bars else contextlib.nullcontext():
            super().emit(record)


def _is_no_retry(record: logging.LogRecord) -> bool:
    """Whether a line of huggingface_hub is none of those about a server that it does not reach and tries again, after
    which a sentence of ours says so."""
    text = record.getMessage()
    return not (text.startswith("Retrying in ") or (text.startswith("'") and "' thrown while requesting " in text))


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
    hub = logging.getLogger("huggingface_hub.utils._http")
    hub.removeFilter(_is_no_retry)
    hub.addFilter(_is_no_retry)
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # its lines about cancelled calls say nothing to a user


def begin() -> None:
    """`show`, unless the program has its own handlers or has chosen a level."""
    if not log.handlers and not log.level and not logging.getLogger().handlers:
        show()


def quiet(on: bool = True) -> None:
    """From here on show warnings and errors alone, and no bars, as `--quiet` does; `quiet(False)` shows them again."""
    begin()
    log.setLevel(logging.WARNING if on else logging.INFO)
