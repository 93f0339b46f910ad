"""Judgements by hand: how statements are asked, read and scored, and what knowing nothing scores."""

from __future__ import annotations

from fractions import Fraction
from itertools import product
from typing import Any

import pytest

from caredio import prompts
from caredio.evaluation import judgements
from caredio.evaluation.benchmark import COT, GENERATED, LIKELIHOOD

PROMPT = prompts.load("judgements")


def document(*truth: bool) -> dict[str, Any]:
    return {"question": "What costs $5?", "statements": [f"{{{{s{n}}}}}" for n in range(len(truth))], "truth": [*truth]}


def test_statements_as_they_have_always_been_asked() -> None:
    """By likelihood as CulturalBench's own prompt; written as stored answers of models behind an API were."""
    asked = "Question: What costs $5?\nAnswer: {{s%d}}\nIs this answer true or false for this question? You must choose"
    likelihood, written, reasoned = (
        judgements.turns(document(True, False), PROMPT, variant) for variant in (LIKELIHOOD, GENERATED, COT)
    )
    assert likelihood == [f"{asked % n} either True or False.\nJudgement:" for n in range(2)]
    assert written == [
        f"{asked % n} either True or False. Answer with that word alone, and nothing else." for n in range(2)
    ]
    assert [turn.startswith(f"{asked % n} either True or False. Think ") for n, turn in enumerate(reasoned)] == [
        True
    ] * 2


def test_a_judgement_is_the_likelier_word_and_a_tie_is_false() -> None:
    found = [-1.0, -2.0, -3.0, -2.0] * 2
    assert judgements.by_likelihoods(document(True, False, True, False), found) == {"acc": 1, "judgement_acc": 1}
    assert judgements.by_likelihoods(document(True, True, True, False), found) == {"acc": 0, "judgement_acc": 0.75}
    assert judgements.by_likelihoods(document(False), [-1.0, -1.0]) == {"acc": 1, "judgement_acc": 1}


def test_a_reply_that_is_neither_word_is_wrong_whatever_is_true() -> None:
    right = ["True", " false.", "**TRUE**", "False"]
    four = document(True, False, True, False)
    assert judgements.by_replies(four, right) == {"acc": 1, "judgement_acc": 1, "unparsed": 0}
    for wrong in ("", "It is false.", "True or False", "No"):
        found = judgements.by_replies(four, [*right[:3], wrong])
        assert found == {"acc": 0, "judgement_acc": 0.75, "unparsed": 0.25}


def test_chance_is_the_mean_over_every_guess() -> None:
    truth = (True, False, True, False)
    guesses = list(product([True, False], repeat=4))
    right = [[guess == true for guess, true in zip(judged, truth, strict=True)] for judged in guesses]
    assert judgements.baselines([document(*truth)], [])["chance"] == {
        "acc": Fraction(sum(map(all, right)), len(guesses)),
        "judgement_acc": Fraction(sum(map(sum, right)), 4 * len(guesses)),
    }


def test_always_false_by_hand() -> None:
    found = judgements.baselines([document(False, True, True, False), document(True, False, False, False)], [])
    assert found["always False"] == {"acc": 0, "judgement_acc": pytest.approx((2 + 3) / 8)}
    assert judgements.baselines([document(False, False)], [])["always False"] == {"acc": 1, "judgement_acc": 1}
