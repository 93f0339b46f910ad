"""The scores of answers, each a plain function: numbers or texts in, one float out.

Every function takes one prediction and one reference a question and gives the score of all of them; give lists of one
for the score of one question. The same names are modules of the package `evaluate`: `evaluate.load(path(name))`.
"""

from __future__ import annotations

from pathlib import Path

from caredio.errors import InputError, did_you_mean
from caredio.evaluation.metrics.choices import accuracy, all_right
from caredio.evaluation.metrics.distributions import culturespa_similarity, js_similarity, modal_accuracy
from caredio.evaluation.metrics.likelihoods import bits_per_byte, margin, margin_per_byte
from caredio.evaluation.metrics.short_answers import sem_b, sem_w

__all__ = [
    "accuracy",
    "all_right",
    "bits_per_byte",
    "culturespa_similarity",
    "js_similarity",
    "margin",
    "margin_per_byte",
    "modal_accuracy",
    "path",
    "sem_b",
    "sem_w",
]
NAMES = tuple(name for name in __all__ if name != "path")


def path(name: str) -> str:
    """The folder that `evaluate.load` reads a metric from, by its name.

    Raises:
        InputError: there is no such metric.
    """
    if name not in NAMES:
        raise InputError(f"{name!r} is no metric; there are {', '.join(NAMES)}{did_you_mean(name, NAMES) or '.'}")
    return str(Path(__file__).with_name(name))
