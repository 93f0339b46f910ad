"""Eq. 1 by hand and against scikit-learn; which others are compared, and what happens without any."""

import math

import numpy as np
import pytest
from datasets import Dataset
from sklearn.metrics.pairwise import cosine_similarity

from caredio import features
from caredio.errors import InputError
from caredio.selection import distinct
from caredio.selection.settings import Settings


def tables(others, vectors):
    """Candidates a, b, ... with their others' names (upper case: shown), and response vectors by name."""
    rows = [
        {
            **dict.fromkeys(features.CANDIDATES),
            "sample_id": name,
            "question_id": f"q-{name}",
            "question": f"What of {name}?",
            "culture": "japan",
            "others": [
                {"culture": f"c{place}", "sample_id": one.lower(), "response": one, "shown": one.isupper()}
                for place, several in enumerate(of.split())
                for one in several.split("+")  # what one culture said
            ],
        }
        for name, of in others.items()
    ]
    embedded = [
        {"sample_id": name, "sample_embedding": None, "response_embedding": vector} for name, vector in vectors.items()
    ]
    return (
        Dataset.from_list(rows, features=features.CANDIDATES),
        Dataset.from_list(embedded, features=features.vectors(len(next(iter(vectors.values()))))),
    )


def scores(others, vectors, compared=4):
    table = distinct.run(*tables(others, vectors), Settings(distinctiveness="cosine", compared=compared))
    return {row["sample_id"]: (row["distinctiveness"], row["compared"]) for row in table}


PLANE = {
    "a": [1.0, 0.0],
    "same": [1.0, 0.0],
    "right": [0.0, 1.0],
    "opposite": [-1.0, 0.0],
    "near": [0.6, 0.8],
    "far": [-0.6, 0.8],
}


@pytest.mark.parametrize(
    ("others", "expected"),
    [
        ("same", (0.0, 1)),
        ("opposite", (2.0, 1)),
        ("right", (1.0, 1)),
        ("near", (0.4, 1)),
        ("same right opposite near", (0.85, 4)),  # (0 + 1 + 2 + .4) / 4
        ("far far", (1.6, 2)),
        ("near right opposite", (3.4 / 3, 3)),
        ("opposite+near+far right", (0.7, 2)),  # of the first culture's answers near is the nearest
        ("opposite+same", (0.0, 1)),
        ("", (None, 0)),
    ],
)
def test_equation_1_by_hand(others, expected):
    d, compared = scores({"a": others, "right": "same"}, PLANE)["a"]
    assert (d if d is None else pytest.approx(d, abs=1e-6)) == expected[0]
    assert compared == expected[1]


def test_equation_1_against_scikit_learn_however_many_rows_at_once(monkeypatch):
    rng = np.random.default_rng(0)
    raw = rng.normal(size=(40, 24)).astype(np.float32)
    names = [f"n{row}" for row in range(40)]
    vectors = dict(zip(names, (raw / np.linalg.norm(raw, axis=1, keepdims=True)).tolist(), strict=True))
    drawn = {name: rng.choice(40, size=4, replace=False) for name in names[:25]}
    found = scores({name: " ".join(names[row] for row in rows) for name, rows in drawn.items()}, vectors)
    similar = cosine_similarity(raw)
    for row, (name, others) in enumerate(drawn.items()):
        assert found[name][0] == pytest.approx(np.mean([1 - similar[row, other] for other in others]), abs=1e-5)
    assert len({round(d, 6) for d, _ in found.values()}) == 25
    monkeypatch.setattr(distinct, "_AT_ONCE", 7)
    assert found == scores({name: " ".join(names[row] for row in rows) for name, rows in drawn.items()}, vectors)


def test_cosine_is_the_mean_over_rows():
    assert distinct.cosine(np.array([0.0, 1.0]), np.array([[0.0, 1.0], [0.0, -1.0], [1.0, 0.0]])) == pytest.approx(1.0)


def compared(others, most):
    found = distinct.compared_to({"others": others}, most)
    return ["+".join(other["sample_id"] for other in culture) for culture in found]


def test_those_shown_are_never_compared():
    others = [{"sample_id": name, "shown": name.isupper(), "culture": name, "response": ""} for name in "AbCde"]
    assert compared(others, 4) == compared(others, 9) == ["b", "d", "e"]
    assert compared(others, 2) == ["b", "d"]
    assert compared(others, None) == ["b", "d", "e"]
    assert compared(others[:1], 4) == []


def test_of_a_culture_that_was_shown_another_answer_is_compared():
    others = [{"sample_id": name, "shown": name == "a1", "culture": name[0], "response": ""} for name in ("a1", "a2")]
    assert compared(others, 4) == ["a2"]


def test_a_culture_s_answers_count_as_one():
    others = [{"sample_id": name, "shown": False, "culture": name[0], "response": ""} for name in ("a1", "b1", "a2")]
    assert compared(others, 1) == ["a1+a2"]
    assert compared(others, 4) == ["a1+a2", "b1"]


def test_a_shown_answer_does_not_count():
    assert scores({"a": "OPPOSITE same near"}, PLANE, compared=2)["a"] == (pytest.approx(0.2, abs=1e-6), 2)
    assert scores({"a": "OPPOSITE same near"}, PLANE, compared=3)["a"] == (pytest.approx(0.2, abs=1e-6), 2)


def test_a_row_without_others_is_null_beside_rows_that_have_some():
    candidates, vectors = tables({"a": "right", "near": ""}, PLANE)
    table = distinct.run(candidates, vectors, Settings(distinctiveness="cosine"))
    assert table["distinctiveness"][:] == [1.0, None]
    assert table["compared"][:] == [1, 0]
    for name in ("distinctiveness", "compared"):
        assert table.features[name] == features.SCORED[name]
    assert table.remove_columns(["distinctiveness", "compared"]).to_list() == candidates.to_list()


def test_no_row_with_others_is_an_error_that_names_questions():
    candidates, vectors = tables({"a": "", "near": "", "far": "", "right": ""}, PLANE)
    with pytest.raises(InputError, match=r"'What of a\?', 'What of near\?', 'What of far\?'\).*same question_id"):
        distinct.run(candidates, vectors, Settings(distinctiveness="cosine"))


def test_dropped_rows_are_not_scored():
    candidates, vectors = tables({"a": "right", "nowhere": "right"}, PLANE)
    table = distinct.run(
        candidates.add_column("drop_reason", [None, "empty"]), vectors, Settings(distinctiveness="cosine")
    )
    assert table["sample_id"][:] == ["a"]


def test_an_answer_that_was_not_embedded_is_named():
    with pytest.raises(InputError, match="no response_embedding for 1 samples, such as nowhere"):
        scores({"a": "right nowhere"}, PLANE)


def test_compared_is_positive():
    with pytest.raises(InputError, match="compared"):
        Settings(compared=0)


@pytest.mark.parametrize(
    ("own", "others", "length", "expected"),
    [
        (-8.0, [-8.0, -8.0, -8.0], 4, 0.0),  # cultures that say it equally
        (-8.0, [-10.0, -12.0], 4, (-8 - math.log2((2**-10 + 2**-12) / 2)) / 4),
        (-8.0, [-8.0, -900.0, -900.0, -900.0], 4, 0.5),  # one other is enough: at most log2(4) bits are left
        (-5000.0, [-5004.0], 2, 2.0),  # beyond what a float's exponent holds
        (-8.0, [math.nan, -12.0], 4, 1.0),
        (-8.0, [math.nan], 4, None),
        (math.nan, [-8.0], 4, None),
    ],
)
def test_information_by_hand(own, others, length, expected):
    found = distinct.information(own, np.array(others), length)
    assert found == (None if expected is None else pytest.approx(expected))
