"""The figures of the validity study are those that its benchmark printed, and its statistics are worked by hand."""

import re
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(Path(__file__).parent))
validity_people, statistics = pytest.importorskip("validity_people"), pytest.importorskip("validity_statistics")
INTERVAL = re.compile(r"[+-]?\d\.\d{3} \[[^\]]*\]")


def intervals(text):
    """The figures with their intervals, without the spaces that line up a column."""
    return [re.sub(r"\s", "", one) for one in INTERVAL.findall(text)]


@pytest.mark.parametrize("page", ["docs/validity.md", "README.md"])
def test_figures_are_those_that_were_printed(page):
    files = (Path(__file__).parent / "validity").glob("*.txt")
    printed = {one for file in files for one in intervals(file.read_text())}
    text = (ROOT / page).read_text()
    if page == "README.md":
        text = text.split("| gain over the line named, 95 % interval |")[1].split("\n\n")[0]
    found = intervals(text)
    assert len(found) > 10
    assert [one for one in found if one not in printed] == []


def test_halves_share_no_region_and_no_question(published):
    folder = published("blend/annotations")
    tune, confirm = (validity_people.read(folder, half) for half in ("tune", "confirm"))
    for name in ("culture", "question_id"):
        assert not {row[name] for row in tune} & {row[name] for row in confirm}
    assert [row["count"] for row in tune[:50]] != sorted((row["count"] for row in tune[:50]), reverse=True)


def test_weight_and_label_are_all_of_the_people():
    rows = [{"count": count} for count in (1, 2, 5, 9)] * 50
    split = validity_people.annotators(rows, 0)
    assert all(row["weight"] + row["label"] == row["count"] and row["weight"] >= 1 for row in split)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [(["the malls"], ["shopping mall"], True), (["tea"], ["coffee"], False), (["soda", "coke"], ["Coke"], True)],
)
def test_what_is_the_same_answer(one, other, same):
    assert validity_people.same({"forms": one}, {"forms": other}) is same


def test_elsewhere_is_a_share_of_people():
    of = {"question_id": "q", "count": 1}
    row = of | {"culture": "a", "response": "tea", "forms": ["tea"]}
    there = [
        of | {"culture": "b", "response": "green tea", "forms": ["green tea"], "count": 3},
        of | {"culture": "b", "response": "milk", "forms": ["milk"]},
    ]
    assert validity_people.Elsewhere([row, *there]).shares(row, ["b", "c"]) == [0.75]


def test_aucs_and_pairs_count_ties_half():
    labels, scores = np.array([True, False, True, False]), np.array([2.0, 1.0, 1.0, 0.0])
    clusters = statistics.Clusters(["p", "p", "q", "q"], ["a", "b", "a", "b"])
    assert clusters.aucs(labels, scores)[0] == (1 + 1 + 0.5 + 1) / 4
    assert statistics.concordant(labels, scores) == (3.5, 4)


def test_draws_take_questions_and_regions_jointly():
    clusters = statistics.Clusters(["p", "p", "q"], ["a", "b", "a"])
    values, numbers = np.array([1.0, 0.0, 1.0]), np.ones(3)
    found = clusters.means(values, numbers)
    assert found[0] == pytest.approx(2 / 3)
    of_questions, of_regions = clusters.times
    p, q = of_questions[0]
    a, b = of_regions[0]
    assert p + q == a + b == 2
    assert found[1] == pytest.approx((p * a + q * a) / (p * a + p * b + q * a), nan_ok=True)
