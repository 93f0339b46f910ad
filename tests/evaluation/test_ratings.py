"""What a judge found, in groups: by hand."""

from __future__ import annotations

from statistics import fmean
from typing import Any

import numpy as np
import pytest

from caredio.evaluation import ratings
from caredio.evaluation.ratings import Arm, Judged


def rated(question: str, rating: float | None, category: str | None = None, scope: str | None = None) -> dict[str, Any]:
    answers = [{"reply": 0, "swapped": False, "value": rating, "why": None if rating is not None else "no_rating"}]
    about = {"category": category, "scope": scope, "answers": answers, "characters": [40]}
    numbers = {"rating": rating} if rating is not None else {}
    return {"doc": {"id": question}, "doc_hash": "x", "judged": about, "unparsed": float(rating is None), **numbers}


def won(question: str, win: float | None, longer: int = 0, flips: int = 0) -> dict[str, Any]:
    about = {"category": None, "scope": None, "answers": [], "flips": flips, "longer": longer}
    return {"doc": {"id": question}, "doc_hash": "x", "judged": about, **({"win": win} if win is not None else {})}


CARE = [
    Arm("care_judged", "trained", "china", [rated("a", 9, "Literacy", "Nationwide"), rated("b", 7, "Opinion")]),
    Arm("care_judged", "raw", "china", [rated("a", 3, "Literacy", "Nationwide"), rated("b", None, "Opinion")]),
    Arm("care_judged", "raw", "japan", [rated("c", 6, "Literacy"), rated("d", 8, "Opinion", "Sub-nationwide")]),
]


def test_means_by_culture_category_and_scope_leave_out_what_is_not_rated() -> None:
    found = {
        (one["culture"], one["by"], one["value"], one["system"]): (one["mean"], one["n"]) for one in ratings.lines(CARE)
    }
    assert found == {
        ("", "all", "", "raw"): (pytest.approx(17 / 3), 3),
        ("", "all", "", "trained"): (8, 2),
        ("", "category", "Literacy", "raw"): (4.5, 2),
        ("", "category", "Literacy", "trained"): (9, 1),
        ("", "category", "Opinion", "raw"): (8, 1),
        ("", "category", "Opinion", "trained"): (7, 1),
        ("", "scope", "Nationwide", "raw"): (3, 1),
        ("", "scope", "Nationwide", "trained"): (9, 1),
        ("", "scope", "Sub-nationwide", "raw"): (8, 1),
        ("china", "all", "", "raw"): (3, 1),
        ("china", "all", "", "trained"): (8, 2),
        ("china", "category", "Literacy", "raw"): (3, 1),
        ("china", "category", "Literacy", "trained"): (9, 1),
        ("china", "category", "Opinion", "raw"): (None, 0),
        ("china", "category", "Opinion", "trained"): (7, 1),
        ("japan", "all", "", "raw"): (7, 2),
        ("japan", "category", "Literacy", "raw"): (6, 1),
        ("japan", "category", "Opinion", "raw"): (8, 1),
    }


def test_a_group_that_is_all_there_is_is_not_shown_twice() -> None:
    assert {one["by"] for one in ratings.lines([CARE[0]._replace(rows=CARE[0].rows[:1])])} == {"all"}


def test_intervals_draw_questions_and_not_replies() -> None:
    """A question that several cultures are asked is drawn with all its replies."""
    counts = ratings.drawn(["a", "b", "a", "c"], seed=3)
    assert counts.shape == (ratings.DRAWS + 1, 4)
    assert counts[0].tolist() == [1, 1, 1, 1]
    assert (counts[:, 0] == counts[:, 2]).all()
    assert (counts[1:, [0, 1, 3]].sum(axis=1) == 3).all()
    many = [Arm("x", "raw", f"c{place}", [rated(str(n), n % 5 + 1) for n in range(25)]) for place in range(4)]
    (alone,) = (one for one in ratings.lines(many[:1]))
    joint = next(one for one in ratings.lines(many) if one["culture"] == "")
    assert (joint["low"], joint["high"]) == pytest.approx((alone["low"], alone["high"]))  # and no narrower
    # near the normal interval of 25 values with variance 2
    assert (alone["high"] - alone["low"]) / 2 == pytest.approx(1.96 * np.sqrt(2 / 25), rel=0.1)
    assert ratings.lines(many[:1], seed=1) != ratings.lines(many[:1])


def test_wins_of_each_system_over_the_rival() -> None:
    rows = [won("a", 1, 5), won("b", 0.5, -5, flips=1), won("c", None), won("d", 0, 9)]
    (found,) = ratings.lines([Arm("care_against_raw", "trained", "china", rows, "raw")])
    assert found["win_rate"] == 0.5
    assert (found["n"], found["unparsed"], found["position_flips"], found["against"]) == (3, 1, 1, "raw")
    assert found["win_rate_low"] == 0
    assert found["win_rate_high"] == 1
    assert 0 < found["length_controlled"] < 1
    text = str(Judged("j", (found,), 8, {"no_verdict": 2}))
    assert "trained                  50.0 [0.0, 100.0] over raw, " in text
    assert "n=3, 1 flips, 1 left out" in text
    assert "A verdict that changes with the order of the replies is a tie." in text


def test_a_table_by_hand() -> None:
    asked, why = ratings.unparsed(CARE)
    assert (asked, why) == (6, {"no_rating": 1})
    text = str(Judged("judge-1", ratings.lines(CARE), asked, why, notes=("left out: x.",))).splitlines()
    assert text[0] == "care_judged, judged by judge-1"
    assert [line for line in text if not line.startswith("    ")] == [
        "care_judged, judged by judge-1",
        "  all",
        "  all, category: Literacy",
        "  all, category: Opinion",
        "  all, scope: Nationwide",
        "  all, scope: Sub-nationwide",
        "  china",
        "  china, category: Literacy",
        "  china, category: Opinion",
        "  japan",
        "  japan, category: Literacy",
        "  japan, category: Opinion",
        "Mean rating with the 95 % interval of a bootstrap over questions.",
        "1 of 6 answers of the judge are left out (1 no_rating): the judge does not end as it is asked to: name a more"
        " capable one.",
        "left out: x.",
    ]
    assert text[2].startswith("    raw                      5.67 [3.00, 8.00] n=3, 1 left out, 40 characters")


def test_equal_ratings_have_no_interval() -> None:
    (found,) = ratings.lines([Arm("care_judged", "raw", "", [rated("a", 4), rated("b", 4)])])
    assert (found["mean"], found["low"], found["high"]) == (4, None, None)
    assert "raw                      4.00 n=2," in str(Judged("judge-1", (found,), 2, {}))


def test_what_draws_disagree_on() -> None:
    def draws(*values: float | None) -> dict[str, Any]:
        answers = [{"reply": 0, "swapped": False, "value": value, "why": None} for value in values]
        return {"judged": {"answers": answers}}

    rows = [draws(3, 5, 3), draws(4, 4), draws(7, None), draws(9, 8, None)]
    assert ratings.disagreement([Arm("x", "raw", "", rows)]) == (pytest.approx(2 / 3), pytest.approx(fmean([2, 0, 1])))
    assert ratings.disagreement([Arm("x", "raw", "", [draws(3)])]) == (None, None)
    # a comparison in the other order is another question
    both = {
        "judged": {"answers": [{"reply": 0, "swapped": side, "value": float(side), "why": None} for side in (0, 1)]}
    }
    assert ratings.disagreement([Arm("x", "raw", "", [both])]) == (None, None)


def test_what_another_s_samples_hold_is_shown_on_one_line_and_obeyed_by_no_terminal() -> None:
    rows = [rated("a", 4, "Food\x1b[2J\n  all"), rated("b", 5, "Dress")]
    found = ratings.lines([Arm("care_judged", "org/\x1b]0;x\x07m", "", rows)])
    text = str(Judged("j\x1b[1m", found, 2, {}, notes=("left\x1b[1m out",)))
    assert "\x1b" not in text
    assert [line for line in text.splitlines() if line == "  all"] == ["  all"]
    assert "  all, category: Food all" in text.splitlines()
