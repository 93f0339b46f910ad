"""Survey questions against scipy's distance, and by hand."""

from __future__ import annotations

from math import log
from typing import Any

import pytest
from scipy.spatial.distance import jensenshannon

from caredio import prompts
from caredio.evaluation import distribution
from caredio.evaluation.benchmark import GENERATED, LIKELIHOOD, LOGPROBS

PEOPLE = [0.5, 0.3, 0.2, 0.0]
DOCUMENT: dict[str, Any] = {"question": "How much?", "options": ["a", "b", "c", "d"], "shares": PEOPLE}


def similarity(shares: list[float], people: list[float] = PEOPLE) -> Any:
    return pytest.approx(1 - jensenshannon(shares, people, base=2))


@pytest.mark.parametrize("shares", [[0.5, 0.3, 0.2, 0.0], [0.25] * 4, [0.0, 0.0, 0.0, 1.0], [0.1, 0.2, 0.3, 0.4]])
def test_the_similarity_is_scipys_of_the_softmax(shares: list[float]) -> None:
    found = [log(share) - 7 if share else -1e9 for share in shares]
    scores = distribution.by_likelihoods(DOCUMENT, found)
    assert scores["js_similarity"] == similarity(shares)
    modes = [place for place, share in enumerate(shares) if share == max(shares)]
    assert scores["modal_acc"] == modes.count(0) / len(modes)  # of equal ones, one by chance


def test_the_ends_of_the_scale_are_one_and_zero() -> None:
    sure = {**DOCUMENT, "shares": [1.0, 0.0, 0.0, 0.0]}
    assert distribution.by_likelihoods(sure, [0.0, -1e9, -1e9, -1e9]) == {"js_similarity": 1, "modal_acc": 1}
    assert distribution.by_likelihoods(sure, [-1e9, 0.0, -1e9, -1e9]) == {"js_similarity": 0, "modal_acc": 0}


def test_drawn_letters_are_counted_and_what_is_none_is_an_option_that_nobody_chose() -> None:
    draws = len(distribution.turns(DOCUMENT, prompts.load("choice"), GENERATED))
    assert draws == 10
    assert len(distribution.turns(DOCUMENT, prompts.load("choice"), LIKELIHOOD)) == 1
    scores = distribution.by_replies(DOCUMENT, ["A"] * 5 + ["b"] * 3 + [" C."] * 2)
    assert scores == {"js_similarity": similarity(PEOPLE), "modal_acc": 1, "unparsed": 0}
    scores = distribution.by_replies(DOCUMENT, ["A"] * 4 + ["I cannot choose."] * 6)
    assert scores == {"js_similarity": similarity([0.4, 0, 0, 0, 0.6], [*PEOPLE, 0]), "modal_acc": 0, "unparsed": 0.6}
    assert distribution.by_replies(DOCUMENT, ["?"] * 10) == {"js_similarity": 0, "modal_acc": 0, "unparsed": 1}


def told(**shares: float) -> list[dict[str, Any]]:
    return [{"token": token, "logprob": log(share)} for token, share in shares.items()]


def test_shares_of_a_first_token_are_its_letters_as_replies_are_read() -> None:
    assert len(distribution.turns(DOCUMENT, prompts.load("choice"), LOGPROBS)) == 1
    tokens = told(**{"A": 0.3, " a": 0.1, "**B": 0.2, "(C": 0.05, "E": 0.1, "An": 0.1, "A B": 0.02, "\n": 0.03})
    shares = distribution.shares(DOCUMENT, tokens)
    assert shares == pytest.approx([0.4, 0.2, 0.05, 0])
    scores = distribution.by_shares(DOCUMENT, shares)
    assert scores["unparsed"] == pytest.approx(0.35)
    assert scores["js_similarity"] == similarity([0.4, 0.2, 0.05, 0, 0.35], [*PEOPLE, 0])
    assert scores["modal_acc"] == 1
    assert distribution.shares({**DOCUMENT, "letters": ["1", "2", "3", "4"]}, told(**{" 2": 0.5})) == [0, 0.5, 0, 0]


def test_a_first_token_that_is_no_letter_or_beyond_one_by_rounding() -> None:
    assert distribution.by_shares(DOCUMENT, distribution.shares(DOCUMENT, [])) == {
        **{"js_similarity": 0, "modal_acc": 0, "unparsed": 1},
    }
    scores = distribution.by_shares(DOCUMENT, [0.5000001, 0.3, 0.2, 0.0])
    assert scores == {"js_similarity": pytest.approx(1, abs=1e-3), "modal_acc": 1, "unparsed": 0}


def test_baselines_by_hand() -> None:
    own = [DOCUMENT, {**DOCUMENT, "shares": [0.0, 0.5, 0.5]}]
    others = [{**DOCUMENT, "shares": [0.1, 0.8, 0.1]}, {**DOCUMENT, "shares": [0.2, 0.8]}, DOCUMENT]
    found = distribution.baselines(own, others)
    uniform = [1 - jensenshannon([1 / 4] * 4, PEOPLE, base=2), 1 - jensenshannon([1 / 3] * 3, [0, 0.5, 0.5], base=2)]
    assert found["uniform"]["js_similarity"] == pytest.approx(sum(uniform) / 2)
    assert found["uniform"]["modal_acc"] == pytest.approx((1 / 4 + 2 / 3) / 2)  # two of three are people's modes
    assert found["fixed letter"] == {"modal_acc": 0.5}  # B, of which two are one of the modes
    assert set(distribution.baselines(own, [])) == {"uniform"}
