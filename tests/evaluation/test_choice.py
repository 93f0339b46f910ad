"""Multiple choice by hand: how it is asked, read and scored, and what knowing nothing scores."""

from __future__ import annotations

from itertools import product
from statistics import mean
from typing import Any

import pytest

from caredio import prompts
from caredio.evaluation import choice
from caredio.evaluation.benchmark import COT, GENERATED, LIKELIHOOD

PROMPT = prompts.load("choice")
HEAD = "To answer the following multiple-choice question, you should choose one option only among A, B, C and D.\n"
SHOWN = "Question: What costs $a?\nA. rice\nB. {{x}}\nC. $c\nD. None\n"
DOCUMENT: dict[str, Any] = {"id": "7", "question": "What costs $a?", "options": ["rice", "{{x}}", "$c", "None"]}


def document(key: int, **more: Any) -> dict[str, Any]:
    return {**DOCUMENT, "key": key, **more}


def test_the_question_as_it_has_always_been_asked() -> None:
    """By likelihood as CulturalBench's own prompt; written as stored answers of models behind an API were."""
    (asked,) = choice.turns(document(0), PROMPT, LIKELIHOOD)
    assert asked == f"{HEAD}{SHOWN}Answer:"
    (asked,) = choice.turns(document(0), PROMPT, GENERATED)
    assert asked == f"{HEAD}{SHOWN}Answer with the letter of the option alone, and nothing else."
    (asked,) = choice.turns(document(0), PROMPT, COT)
    assert asked.startswith(f"{HEAD}{SHOWN}Think step by step ")


def test_letters_are_as_many_as_options_or_the_documents_own() -> None:
    (asked,) = choice.turns({"question": "Which?", "options": ["x", "y", "z"]}, PROMPT, LIKELIHOOD)
    assert asked.splitlines()[0].endswith("only among A, B and C.")
    assert asked.splitlines()[2:] == ["A. x", "B. y", "C. z", "Answer:"]
    own = {"question": "Which?", "options": ["x", "y"], "letters": ["1", "2"], "key": 1}
    (asked,) = choice.turns(own, PROMPT, LIKELIHOOD)
    assert asked.splitlines()[2:] == ["1. x", "2. y", "Answer:"]
    assert choice.by_replies(own, ["(2)"]) == {"acc": 1, "unparsed": 0}


def test_orders_show_the_same_options_in_other_places() -> None:
    rotated = document(2, orders=choice.rotations(4))
    asked = [turn.splitlines()[2:6] for turn in choice.turns(rotated, PROMPT, LIKELIHOOD)]
    assert [[line[3:] for line in turn] for turn in asked] == [
        ["rice", "{{x}}", "$c", "None"],
        ["{{x}}", "$c", "None", "rice"],
        ["$c", "None", "rice", "{{x}}"],
        ["None", "rice", "{{x}}", "$c"],
    ]
    assert {tuple(line[0] for line in turn) for turn in asked} == {tuple("ABCD")}


@pytest.mark.parametrize(("key", "letter"), [*product(range(4), range(4))])
def test_over_rotations_a_letter_gains_nothing_and_knowledge_everything(key: int, letter: int) -> None:
    rotated = document(key, orders=choice.rotations(4))
    always = [0.0 if place == letter else -1.0 for place in range(4)] * 4
    assert choice.by_likelihoods(rotated, always) == {"acc": 0.25}
    assert choice.by_replies(rotated, ["ABCD"[letter]] * 4) == {"acc": 0.25, "unparsed": 0}
    knows = [0.0 if order[place] == key else -1.0 for order in rotated["orders"] for place in range(4)]
    assert choice.by_likelihoods(rotated, knows) == {"acc": 1}


def test_of_equally_likely_letters_the_first_counts() -> None:
    assert choice.by_likelihoods(document(1), [-3.0, -1.0, -1.0, -2.0]) == {"acc": 1}
    assert choice.by_likelihoods(document(2), [-3.0, -1.0, -1.0, -2.0]) == {"acc": 0}


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        *(("B", "B"), (" b) ", "B"), ("`B`", "B"), ("__B__", "B"), ("- B", "B"), ("B B", None), ("A/B", None)),
        *(("E", None), ("AB", None), ("Answer: B", None), ("B²", None), ("**", None), ("", None), ("2", None)),
    ],
)
def test_a_letter_is_read_alone(text: str, letter: str | None) -> None:
    assert choice.read(text, "ABCD") == letter


def test_what_is_not_read_is_wrong_and_counted() -> None:
    assert choice.by_replies(document(1), ["B"]) == {"acc": 1, "unparsed": 0}
    assert choice.by_replies(document(1), ["A"]) == {"acc": 0, "unparsed": 0}
    assert choice.by_replies(document(1), ["The answer is B."]) == {"acc": 0, "unparsed": 1}
    rotated = document(1, orders=choice.rotations(4))
    assert choice.by_replies(rotated, ["B", "B", "?", ""]) == {"acc": 0.25, "unparsed": 0.5}


def test_chance_is_the_mean_over_every_guess() -> None:
    own = [document(0), {**document(1), "options": ["x", "y"]}]
    guesses = [mean(float(guess == one["key"]) for guess in range(len(one["options"]))) for one in own]
    assert choice.baselines(own, []) == {"chance": {"acc": mean(guesses)}}


def test_the_fixed_letter_is_chosen_without_the_cultures_own_key() -> None:
    # the culture's own key is nearly all B; the others' is C, by one
    own, others = [*[document(1)] * 5, document(2)], [*[document(2)] * 3, *[document(1)] * 2]
    assert choice.baselines(own, others)["fixed letter"] == {"acc": pytest.approx(1 / 6)}
    assert choice.baselines(own[:5], others)["fixed letter"] == {"acc": 0}
    assert choice.baselines(own, [document(3), document(1)])["fixed letter"] == {"acc": pytest.approx(5 / 6)}  # a tie


def test_over_rotations_the_fixed_letter_is_chance() -> None:
    rotated = [document(key, orders=choice.rotations(4)) for key in (0, 0, 3)]
    assert choice.baselines(rotated, rotated) == {"chance": {"acc": 0.25}, "fixed letter": {"acc": 0.25}}
