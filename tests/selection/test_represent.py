"""Representativeness is the size of a centre's cluster, and nothing elsewhere."""

import math
import random
from collections import Counter

import numpy as np
import pytest
from datasets import Dataset
from scipy.special import logsumexp

from caredio import features
from caredio.errors import InputError
from caredio.selection import represent
from caredio.selection.settings import Settings


def clustered(rows):
    empty = dict.fromkeys(features.SCORED) | {"others": []}
    columns = features.Features(
        {name: features.SCORED[name] for name in (*features.CANDIDATES, "cluster", "cluster_size", "is_center")}
    )
    return Dataset.from_list(
        [{name: value for name, value in {**empty, **row}.items() if name in columns} for row in rows],
        features=columns,
    )


def sized(table):
    return represent.run(table, NO_VECTORS, Settings(representativeness="size"))


NO_VECTORS = features.table([], features.vectors(2))
ROWS = [
    {"sample_id": "a", "cluster_size": 3, "is_center": False},
    {"sample_id": "b", "cluster_size": 3, "is_center": True},
    {"sample_id": "c", "cluster_size": 1, "is_center": True},
    {"sample_id": "d", "cluster_size": 3, "is_center": False},
]


def test_r_is_the_size_of_the_centre_s_cluster():
    table = sized(clustered(ROWS))
    assert table["representativeness"][:] == [None, 3.0, 1.0, None]
    assert table.features["representativeness"] == features.SCORED["representativeness"]
    assert table.remove_columns("representativeness").to_list() == clustered(ROWS).to_list()


def test_a_table_without_centres_keeps_the_column_s_type():
    table = sized(clustered(ROWS[:1]))
    assert table["representativeness"][:] == [None]
    assert table.features["representativeness"] == features.SCORED["representativeness"]


def test_old_scores_are_replaced():
    old = clustered(ROWS).add_column("representativeness", [9.0] * 4)
    assert sized(old)["representativeness"][:] == [None, 3.0, 1.0, None]


def test_dropped_rows_stay_behind():
    table = clustered(ROWS).add_column("drop_reason", [None, None, "empty", None])
    assert sized(table)["sample_id"][:] == ["a", "b", "d"]


@pytest.mark.parametrize("missing", ["cluster", "cluster_size", "is_center"])
def test_a_missing_column_is_named(missing):
    with pytest.raises(InputError, match=f"column {missing} is missing"):
        sized(clustered(ROWS).remove_columns(missing))


UNIT = np.array([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8], [-1.0, 0.0]])


def density(response, others, **kappa):
    """Typicality of one response among others, which also hold the response itself."""
    return represent.typicality(response[None], np.stack([response, *others]), np.array([0]), **kappa)[0]


def test_typicality_by_hand():
    assert density(UNIT[0], UNIT[[0, 0, 0]]) == pytest.approx(0, abs=1e-12)
    # cosines 0 and .6 at kappa 5: exp(-5), exp(-2)
    expected = math.log2((math.exp(-5) + math.exp(-2)) / 2)
    assert density(UNIT[0], UNIT[[1, 2]], kappa=5.0) == pytest.approx(expected)
    assert density(UNIT[0], UNIT[[3, 3]], kappa=2000.0) == pytest.approx(-4000 / math.log(2))


def test_typicality_against_scipy(monkeypatch):
    monkeypatch.setattr(represent, "_BLOCK", 7)
    raw = np.random.default_rng(0).normal(size=(30, 16))
    unit = raw / np.linalg.norm(raw, axis=1, keepdims=True)
    rows = np.array([0, 4, 29, 3, 11, 12, 13, 14, 15])
    found = represent.typicality(unit[rows], unit, rows)
    for row, value in zip(rows, found, strict=True):
        others = np.delete(unit, row, axis=0)
        distance = ((others - unit[row]) ** 2).sum(axis=1)  # of unit vectors, 2 (1 - cos)
        assert value == pytest.approx((logsumexp(-represent.KAPPA * distance / 2) - math.log(29)) / math.log(2))


def test_a_weight_counts_as_so_many_equal_rows_of_which_one_is_read_among_the_others():
    weights = np.array([3, 1, 2, 1])
    copies = np.repeat(np.arange(4), weights)
    first = np.array([0, 3, 4, 6])
    of_copies = represent.typicality(UNIT[:4], UNIT[copies], first)
    found = represent.typicality(UNIT[:4], UNIT[:4], np.arange(4), weights=weights.astype(float))
    assert found == pytest.approx(of_copies, abs=1e-12)
    # cosines 0 and .6 at kappa 5, by two people and by a half; a share of a person is left out as a whole
    shares = represent.typicality(UNIT[:1], UNIT[:3], np.array([0]), 5.0, np.array([0.25, 2.0, 0.5]))
    assert shares == pytest.approx(math.log2((2 * math.exp(-5) + 0.5 * math.exp(-2)) / 2.5))


@pytest.mark.parametrize("count", [0, 1])
def test_a_density_needs_two_others(count):
    assert np.isnan(density(UNIT[0], UNIT[1 : 1 + count]))


NAN = math.nan


@pytest.mark.parametrize(
    ("sample", "placebo", "lengths", "expected"),
    [
        ([-10.0, -30.0], [-20.0, -20.0], [5, 10], (2.0 - 1.0) / 2),
        ([-10.0, NAN, -9.0], [-20.0, -1.0, NAN], [5, 1, 1], 2.0),
        ([NAN], [-1.0], [1], None),
        ([], [], [], None),
    ],
)
def test_informed_by_hand(sample, placebo, lengths, expected):
    assert represent.informed(*map(np.array, (sample, placebo, lengths))) == expected


def kin(shuffle=3):
    """a to j of one culture: a to d are one cluster; two rows a question; z is of another culture."""
    rows = [
        {
            "sample_id": name,
            "culture": "china" if name == "z" else "japan",
            "question_id": f"q{place // 2}",
            "question": f"{place // 2}?",
            "response": name.upper(),
            "cluster": 0 if place < 4 else place,
            "panel": [{"persona": None, "sample_id": f"p-{name}", "response": "panel"}],
        }
        for place, name in enumerate("abcdefghijz")
    ]
    random.Random(shuffle).shuffle(rows)
    return {row["sample_id"]: row for row in clustered(rows)}, represent.CultureIndex(clustered(rows))


def names(told):
    return [one["sample_id"] for one in told]


def test_references_are_the_first_of_one_order_that_neither_the_row_nor_its_placebo_touches():
    rows, known = kin()
    for seed in range(5):
        wanted = Settings(references=3, seed=seed)
        order = known.reference_order("japan", seed)
        assert sorted(order) == list("abcdefghij")
        for name in "abcdefghij":
            stead = represent.placebo(rows[name], known, wanted)
            assert stead["question_id"] != rows[name]["question_id"]
            shown = [rows[name], rows[stead["sample_id"]]]
            left = [
                one
                for one in order
                if rows[one]["question_id"] not in {row["question_id"] for row in shown}
                and rows[one]["cluster"] not in {row["cluster"] for row in shown}
            ]
            found = represent.references(rows[name], stead, known, wanted)
            assert names(found) == left[:3]
            assert [one["response"] for one in found] == [name.upper() for name in names(found)]


def many(questions=40, weights=(1.0, 1.0), topics=None):
    """Of one culture, so many questions, of each as many answers as there are weights."""
    return [
        {
            "sample_id": f"s{number:03d}{place}",
            "culture": "japan",
            "question_id": f"q{number:03d}",
            "topic_id": topics(number) if topics else None,
            "question": f"{number}?",
            "response": "I.",
            "weight": weight,
            "cluster": len(weights) * number + place,
            "panel": [],
        }
        for number in range(questions)
        for place, weight in enumerate(weights)
    ]


def test_the_rows_of_a_culture_share_their_references():
    rows = many()
    known = represent.CultureIndex(clustered(rows))
    wanted = Settings(references=8)
    used = Counter()
    for row in rows:
        found = represent.references(row, represent.placebo(row, known, wanted), known, wanted)
        assert len({one["question_id"] for one in found}) == 8
        used.update(names(found))
    order = known.reference_order("japan", 0)
    assert set(used) == set(order[:10])  # eight, and one each in place of what the row and its placebo touch
    # 2 of the 80 rows are on a reference's question, and about as many placebos
    assert all(used[name] > 80 - 2 - 12 for name in order[:8])


def test_no_question_has_a_second_reference_before_each_has_one_and_topics_take_turns():
    rows = many(12, (1.0, 1.0, 1.0), topics=lambda number: "food" if number < 9 else "time")
    by_name = {row["sample_id"]: row for row in rows}
    orders = set()
    for seed in range(20):
        order = [by_name[name] for name in represent.CultureIndex(clustered(rows)).reference_order("japan", seed)]
        for start in (0, 12, 24):
            assert len({row["question_id"] for row in order[start : start + 12]}) == 12
        assert all(
            {one["topic_id"], two["topic_id"]} == {"food", "time"}
            for one, two in zip(order[:6:2], order[1:6:2], strict=True)
        )
        assert {row["topic_id"] for row in order[6:12]} == {"food"}
        orders.add(tuple(row["sample_id"] for row in order))
    assert len(orders) == 20


def test_an_answer_is_its_question_s_reference_as_often_as_people_gave_it():
    known = represent.CultureIndex(clustered(many(1, (3.0, 1.0))))
    first = Counter(known.reference_order("japan", seed)[0] for seed in range(4000))
    assert abs(first["s0000"] - 3000) < 5 * math.sqrt(4000 * 0.75 * 0.25)


def test_rows_that_join_a_table_leave_the_others_in_their_order():
    few, more = (represent.CultureIndex(clustered(many(n))).reference_order("japan", 0) for n in (20, 40))
    assert [name for name in more if name in set(few)] == few


def test_a_culture_with_one_question_has_no_placebo():
    rows, known = kin()
    assert known.on_another_question(rows["z"], random.Random(0)) is None


def test_placebo_and_references_do_not_depend_on_the_order_of_the_table():
    def drawn(shuffle):
        rows, known = kin(shuffle)
        wanted = Settings(references=2)
        stead = {name: represent.placebo(rows[name], known, wanted) for name in "abcdefghij"}
        return stead, {name: represent.references(rows[name], stead[name], known, wanted) for name in stead}

    assert drawn(1) == drawn(2) == drawn(3)


def test_every_sample_on_another_question_is_drawn_as_often():
    rows, known = kin()
    counts = Counter(known.on_another_question(rows["e"], random.Random(seed))["sample_id"] for seed in range(8000))
    assert set(counts) == set("abcdghij")  # all of the culture but e and f, which share a question
    assert all(abs(count - 1000) < 150 for count in counts.values())  # five standard deviations


class Reading(dict):
    """A dict that writes down what is read of it."""

    def __init__(self, of, read):
        super().__init__(of)
        self.read = read

    def __getitem__(self, name):
        self.read.append(name)
        return super().__getitem__(name)


def test_a_row_s_draws_read_a_few_samples_and_not_the_whole_culture():
    class Counting(list):
        reads = 0

        def __getitem__(self, place):
            Counting.reads += 1
            return super().__getitem__(place)

        def __iter__(self):
            Counting.reads += len(self)
            return super().__iter__()

    rows = many(1000)
    known = represent.CultureIndex(clustered(rows))
    known.cultures["japan"] = Counting(known.cultures["japan"])
    order = known.reference_order("japan", 0)  # all of the culture, once
    assert known.reference_order("japan", 0) is order
    read, Counting.reads = [], 0
    known.cluster = Reading(known.cluster, read)
    for row in rows[::100]:
        stead = represent.placebo(row, known, Settings())
        assert len(represent.references(row, stead, known, Settings(references=8))) == 8
    assert Counting.reads == 20
    assert len(read) <= 20 * (2 + 8 + 4)
