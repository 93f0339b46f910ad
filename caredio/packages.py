"""Packages that only some steps need: asked for where such a step begins, loaded there and nowhere else."""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module, metadata

from caredio.errors import InputError


def require(step: str, extra: str, *names: str, instead: str = "") -> None:
    """See that the packages of a step are installed, without loading them.

    Args:
        step: what needs them, for the message.
        extra: the extra of this package that brings them.
        instead: what else helps, for the message.

    Raises:
        InputError: one is missing.
    """
    for name in names:
        if importlib.util.find_spec(name) is None:
            hint = f"pip install 'caredio[{extra}]'"
            raise InputError(f"{step} needs {name}, which is not installed: {hint}{instead and f', {instead}'}.")


def versions(*names: str) -> dict[str, str]:
    """Name -> version of those that are installed."""
    return {name: metadata.version(name) for name in names if importlib.util.find_spec(name)}


def quiet_transformers() -> None:
    """Load transformers without its progress bar for reading weights, which takes no time: the stages' bars stay."""
    import transformers

    transformers.utils.logging.disable_progress_bar()


@contextmanager
def quiet_peft() -> Iterator[None]:
    """Until the block ends, no warning that PEFT still uses a name which transformers has renamed."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"`is_gradient_checkpointing` is deprecated", FutureWarning)
        yield


def unreachable(*others: type[Exception]) -> tuple[type[Exception], ...]:
    """`others`, and what huggingface_hub raises where the Hub cannot be reached (its HTTP client was httpx once)."""
    clients = (import_module(name) for name in ("httpx2", "httpx") if importlib.util.find_spec(name))
    return (*others, *(client.TransportError for client in clients))
