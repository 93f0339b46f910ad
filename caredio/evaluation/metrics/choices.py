"""Choices and judgements: shares that are right."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from caredio.errors import InputError
from caredio.evaluation.metrics import shapes


def accuracy(predictions: Sequence[Any], references: Sequence[Any]) -> float:
    """The share of predictions that equal their reference: letters, option numbers or truth values.

    Raises:
        InputError: the lists differ in length, or are empty.
    """
    shapes.paired("accuracy", predictions=predictions, references=references)
    right = sum(bool(found == wanted) for found, wanted in zip(predictions, references, strict=True))
    return right / len(predictions)


def all_right(predictions: Sequence[Sequence[bool]], references: Sequence[Sequence[bool]]) -> float:
    """The share of questions whose judgements are all right: CulturalBench-Hard (Chiu et al., arXiv 2410.02677).

    A question is the list of its judgements. Averaging single judgements instead is another measure: a model that
    always says False has three of four right, and no question.

    Raises:
        InputError: the lists differ in length, or are empty; or a question's judgements do.
    """
    shapes.paired("all_right", predictions=predictions, references=references)
    right = 0
    for place, (judged, truth) in enumerate(zip(predictions, references, strict=True)):
        if len(judged) != len(truth) or not len(truth):
            raise InputError(
                f"all_right: question {place} has {len(judged)} judgements and {len(truth)} references; give one "
                "judgement for each statement."
            )
        right += all(bool(found) == bool(wanted) for found, wanted in zip(judged, truth, strict=True))
    return right / len(predictions)
