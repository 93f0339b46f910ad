"""What the metrics expect of their input, and the sentence where it is another."""

from __future__ import annotations

from collections.abc import Sized
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caredio.errors import InputError


def paired(metric: str, **columns: Sized) -> None:
    """See that the columns hold one entry a question, and that there is a question.

    Raises:
        InputError: they do not.
    """
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) > 1:
        found = " and ".join(f"{length} {name.replace('_', ' ')}" for name, length in lengths.items())
        raise InputError(f"{metric}: found {found}; give one of each for a question.")
    if not all(lengths.values()):
        raise InputError(f"{metric}: there is no question; give one prediction and one reference for each.")


def numbers(metric: str, name: str, values: Any) -> NDArray[np.float64]:
    """A list of finite numbers, as an array.

    Raises:
        InputError: it is another shape, or holds something else.
    """
    try:
        array = np.asarray(values, dtype=float)
    except (TypeError, ValueError):
        array = np.full(1, np.nan)
    if array.ndim != 1 or not np.isfinite(array).all():
        raise InputError(f"{metric}: {name} must be a flat list of finite numbers, found {str(values)[:80]}.")
    return array
