"""People's short answers: what is asked of a document, and its scores worked by hand."""

from __future__ import annotations

import math
from typing import Any

import pytest

from caredio import prompts
from caredio.evaluation import short_answers
from caredio.evaluation.benchmark import COT, GENERATED, LIKELIHOOD

DOCUMENT: dict[str, Any] = {
    "id": "Al-en-01",
    "culture": "china",
    "question": "What is eaten for breakfast?",
    "answers": [{"text": "rice porridge", "weight": 3, "also": ["congee"]}, {"text": "buns", "weight": 1, "also": []}],
    "own": "rice porridge",
    "rivals": [
        {"culture": "uk", "text": "toast"},
        {"culture": "us", "text": "cereal"},
        {"culture": "iran", "text": "toast"},
    ],
}


def test_each_text_is_asked_once_people_s_answers_first() -> None:
    assert short_answers.choices(DOCUMENT) == ["rice porridge", "buns", "toast", "cereal"]
    assert short_answers.choices({**DOCUMENT, "own": None, "rivals": []}) == ["rice porridge", "buns"]


def test_scores_are_bits_of_people_s_answers_and_the_margin_over_the_rivals() -> None:
    scores = short_answers.by_likelihoods(DOCUMENT, [-13.0, -8.0, -10.0, -12.0])
    bits = (3 * 13.0 + 1 * 8.0) / math.log(2)
    assert scores == pytest.approx(
        {
            "bits_per_byte": bits / (3 * len("rice porridge") + len("buns")),
            "margin": -13.0 - (-10.0 - 12.0 - 10.0) / 3,  # two regions say toast
            "margin_per_byte": -13.0 / 13 - (-10.0 / 5 - 12.0 / 6 - 10.0 / 5) / 3,
        }
    )


@pytest.mark.parametrize("lacking", [{"own": None}, {"rivals": []}, {"rivals": None}])
def test_a_question_without_own_answer_or_rivals_has_no_margin(lacking: dict[str, Any]) -> None:
    document = {**DOCUMENT, **lacking}
    found = [-1.0] * len(short_answers.choices(document))
    assert list(short_answers.by_likelihoods(document, found)) == ["bits_per_byte"]


def test_a_reply_is_right_where_it_holds_a_wording_of_an_answer() -> None:
    def score(reply: str) -> dict[str, float]:
        return short_answers.by_replies(DOCUMENT, [reply])

    assert score("Rice porridge.") == {"sem_b": 1.0, "sem_w": 1.0, "unparsed": 0.0}
    assert score("some congee")["sem_b"] == 1.0
    assert score("steamed buns") == pytest.approx({"sem_b": 1.0, "sem_w": 1 / 3, "unparsed": 0.0})
    assert score("toast") == {"sem_b": 0.0, "sem_w": 0.0, "unparsed": 0.0}
    assert score(" \n") == {"sem_b": 0.0, "sem_w": 0.0, "unparsed": 1.0}


def test_likelihoods_follow_the_bare_question_and_a_written_answer_is_asked_to_be_short() -> None:
    prompt = prompts.load(short_answers.KIND.prompt)
    (bare,), (written,), (reasoned,) = (
        short_answers.turns(DOCUMENT, prompt, variant) for variant in (LIKELIHOOD, GENERATED, COT)
    )
    assert bare.strip() == DOCUMENT["question"]
    assert written.startswith(f"{DOCUMENT['question']}\nAnswer in a few words")
    assert '"Answer:"' in reasoned


def test_an_open_question_is_asked_as_it_is_and_its_reply_only_counted() -> None:
    kind = short_answers.OPEN
    assert kind.choices is None
    assert [part.strip() for part in kind.turns(DOCUMENT, prompts.load(kind.prompt), GENERATED)] == [
        DOCUMENT["question"]
    ]
    assert kind.by_replies(DOCUMENT, [" a reply "]) == {"characters": 7.0, "unparsed": 0.0}
    assert kind.by_replies(DOCUMENT, [""])["unparsed"] == 1.0
