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


def test_references_are_near_ones_first_then_others_of_the_culture():
    rows, known = kin()
    for row in (row for name, row in rows.items() if name != "z"):
        near = {f"p-{row['sample_id']}", *known.mates(row)}
        for seed in range(5):
            placebo = known.on_another_question(row, random.Random(seed))
            assert placebo["question_id"] != row["question_id"]
            found = names(represent.references(row, placebo, known, Settings(references=6, seed=seed)))
            free = near - {placebo["sample_id"]}
            assert len(set(found)) == 6
            assert set(found[: len(free)]) == free
            assert not {row["sample_id"], placebo["sample_id"], "z"} & set(found)


def test_references_are_drawn_by_the_seed():
    rows, known = kin()
    placebo = known.samples["i"]
    drawn = {
        tuple(names(represent.references(rows["a"], placebo, known, Settings(references=6, seed=seed))))
        for seed in (0, 0, 1, 2)
    }
    assert len(drawn) == 3


def test_a_culture_with_one_question_has_no_placebo():
    rows, known = kin()
    assert known.on_another_question(rows["z"], random.Random(0)) is None


def test_placebo_and_references_do_not_depend_on_the_order_of_the_table():
    def drawn(shuffle):
        rows, known = kin(shuffle)
        placebo = {name: known.on_another_question(rows[name], random.Random(name)) for name in "abcdefghij"}
        wanted = Settings(references=5)
        return placebo, {name: represent.references(rows[name], placebo[name], known, wanted) for name in placebo}

    assert drawn(1) == drawn(2) == drawn(3)


def test_every_sample_on_another_question_is_drawn_as_often():
    rows, known = kin()
    counts = Counter(known.on_another_question(rows["e"], random.Random(seed))["sample_id"] for seed in range(8000))
    assert set(counts) == set("abcdghij")  # all of the culture but e and f, which share a question
    assert all(abs(count - 1000) < 150 for count in counts.values())  # five standard deviations


def test_every_free_sample_is_drawn_as_often():
    _, known = kin()
    left_out = {"a", "d", "e", "j", "z", "p-a"}
    pairs = Counter()
    for seed in range(6000):
        drawn = names(known.any_but(left_out, "japan", 2, random.Random(seed)))
        assert len(set(drawn)) == 2
        pairs.update(drawn)
    assert set(pairs) == set("bcfghi")
    assert all(abs(count - 2000) < 185 for count in pairs.values())
    assert sorted(names(known.any_but(left_out, "japan", 99, random.Random(0)))) == list("bcfghi")
    assert known.any_but(set("abcdefghij"), "japan", 3, random.Random(0)) == []


def test_a_row_s_draws_read_a_few_samples_and_not_the_whole_culture():
    class Counting(list):
        reads = 0

        def __getitem__(self, place):
            Counting.reads += 1
            return super().__getitem__(place)

        def __iter__(self):
            Counting.reads += len(self)
            return super().__iter__()

    rows = [
        {
            "sample_id": f"s{number:04d}",
            "culture": "japan",
            "question_id": f"q{number // 2}",
            "question": "Who?",
            "response": "I.",
            "cluster": number,
            "panel": [],
        }
        for number in range(2000)
    ]
    known = represent.CultureIndex(clustered(rows))
    known.cultures["japan"] = Counting(known.cultures["japan"])
    for row in rows[::100]:
        placebo = known.on_another_question(row, random.Random(row["sample_id"]))
        assert len(represent.references(row, placebo, known, Settings(references=8))) == 8
    assert Counting.reads == 20 * (1 + 8)
