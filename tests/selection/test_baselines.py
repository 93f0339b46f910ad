"""What a culture's rows can be ranked by instead of their score, against brute-force readings of the papers."""

import random
import tracemalloc

import numpy as np
import pytest
from datasets import Dataset, concatenate_datasets

from caredio import features
from caredio.selection import facility, rank
from caredio.selection.settings import Settings

NAMES = [f"{number:02}" for number in range(24)]


def unit(rows, dim=5, seed=0):
    raw = np.random.default_rng(seed).normal(size=(rows, dim)).astype(np.float32)
    return raw / np.linalg.norm(raw, axis=1, keepdims=True)


def order(ranking, vectors, budget=24, seed=0):
    """Rows best first, as the baseline scores them."""
    responses = ["word " * (row % 7) for row in range(len(vectors))]
    settings = Settings(budget=budget, seed=seed, ranking=ranking)
    scores = rank.BASELINES[ranking](NAMES[: len(vectors)], responses, vectors, settings)
    taken = [row for row, score in enumerate(scores) if score is not None]
    return sorted(taken, key=lambda row: (-scores[row], row))


@pytest.mark.parametrize("seed", range(5))
def test_kcenter_is_gonzalez_traversal_from_the_row_nearest_to_the_mean(seed):
    vectors = unit(24, seed=seed).astype(np.float64)
    distance = [[1 - float(one @ other) for other in vectors] for one in vectors]
    taken = [max(range(24), key=lambda row: float(vectors[row] @ vectors.mean(axis=0)))]
    while len(taken) < 10:
        rest = [row for row in range(24) if row not in taken]
        taken.append(max(rest, key=lambda row: min(distance[row][one] for one in taken)))
    assert order("kcenter", unit(24, seed=seed), budget=10) == taken


@pytest.mark.parametrize("seed", range(5))
def test_facility_location_takes_the_largest_gain_each_time(seed):
    vectors = unit(24, seed=seed).astype(np.float64)
    similar = (1 + vectors @ vectors.T) / 2
    taken = []
    while len(taken) < 10:
        rest = [row for row in range(24) if row not in taken]
        taken.append(max(rest, key=lambda row: similar[[*taken, row]].max(axis=0).sum()))
    assert order("facility_location", unit(24, seed=seed), budget=10) == taken


def test_random_is_a_matter_of_the_seed_and_the_id_alone():
    first = order("random", unit(24))
    assert order("random", unit(24, seed=1)) == first
    assert order("random", unit(24), seed=1) != first
    assert [row for row in first if row < 9] == order("random", unit(9))  # the rest of the table does not matter
    assert sorted(first) == list(range(24))


def test_longest_is_by_characters():
    scores = rank.longest(["a", "b", "c"], ["四个汉字", "words", ""], unit(3), Settings())
    assert scores == [4.0, 5.0, 0.0]


@pytest.mark.parametrize("ranking", ["kcenter", "facility_location"])
@pytest.mark.parametrize("vectors", [np.repeat(unit(3), 4, axis=0), np.zeros((6, 5), np.float32), unit(1)])
def test_equal_rows_are_ranked_too(ranking, vectors):
    assert sorted(order(ranking, vectors)) == list(range(len(vectors)))
    distinct = len(np.unique(vectors, axis=0))
    assert len(np.unique(vectors[order(ranking, vectors)[:distinct]], axis=0)) == distinct


def table():
    """Two cultures of 12 and 3 rows, of which a few are redundant, without another culture, or unmeasured."""
    columns = features.Features({name: kind for name, kind in features.SCORED.items() if name != "drop_reason"})
    rows = [
        {
            **dict.fromkeys(columns),
            "others": [],
            "sample_id": NAMES[row],
            "culture": "japan" if row % 5 else "china",
            "question": f"Why {row}?",
            "response": "because " * (row % 4 + 1),
            "is_center": row % 3 > 0,
            "compared": 4 * (row % 7 > 0),
            "distinctiveness": row / 9 if row % 7 else None,
            "representativeness": 1.0 if row % 3 and row != 8 else None,
        }
        for row in range(15)
    ]
    return Dataset.from_list(rows, features=columns)


VECTORS = Dataset.from_list(
    [
        {"sample_id": name, "sample_embedding": vector, "response_embedding": vector}
        for name, vector in zip(NAMES, unit(24).tolist(), strict=True)
    ],
    features=features.vectors(5),
)


@pytest.mark.parametrize("ranking", rank.BASELINES)
@pytest.mark.parametrize("budget", [1, 5, 100])
def test_a_baseline_ranks_every_row_that_can_be_compared_up_to_the_budget_whatever_the_row_order(ranking, budget):
    settings = Settings(budget=budget, ranking=ranking)
    pool = rank.score(table(), VECTORS, settings)
    ranked = rank.run(pool)
    for culture, rows in (("china", 2), ("japan", 10)):  # without those of `compared` 0
        ranks = [row["rank"] for row in ranked if row["culture"] == culture]
        assert ranks == list(range(1, min(budget, rows) + 1))
    assert set(pool["drop_reason"]) <= {None, "over_budget", "no_other_culture"}
    alone = {row["sample_id"] for row in pool if row["drop_reason"] == "no_other_culture"}
    assert alone == {NAMES[row] for row in (0, 7, 14)}
    for seed in range(3):
        shuffled = table().select(random.Random(seed).sample(range(15), 15))
        assert rank.run(rank.score(shuffled, VECTORS, settings)).to_list() == ranked.to_list()


@pytest.mark.parametrize("ranking", rank.BASELINES)
def test_a_culture_s_ranks_do_not_depend_on_other_cultures(ranking):
    settings = Settings(budget=5, ranking=ranking)
    apart = [
        rank.run(rank.score(table().filter(lambda row, of=of: row["culture"] == of), VECTORS, settings))
        for of in ("china", "japan")
    ]
    together = rank.run(rank.score(table(), VECTORS, settings))
    assert together.to_list() == concatenate_datasets(apart).to_list()


# (rows, numbers a row, seed) -> the first twelve rows, and the gains of eleven, by apricot-select 0.6.1, naive
APRICOT = {
    (24, 5, 0): (
        [14, 16, 22, 1, 23, 12, 18, 5, 0, 2, 7, 10],
        [14.14554, 3.881097, 1.265726, 1.0283, 0.577636, 0.430856, 0.3371, 0.290533, 0.255042, 0.232539, 0.232507],
    ),
    (40, 16, 1): (
        [13, 30, 37, 7, 0, 24, 22, 9, 34, 5, 11, 12],
        [21.260212, 3.39197, 1.774735, 1.184469, 1.043903, 0.771955, 0.666855, 0.657584, 0.603742, 0.579509, 0.466944],
    ),
    (60, 3, 2): (
        [48, 15, 56, 22, 2, 32, 13, 35, 12, 52, 0, 6],
        [31.369248, 14.014797, 4.427318, 2.487146, 1.384248, 1.171882, 0.776261, 0.57505, 0.570514, 0.401534, 0.29152],
    ),
}


@pytest.mark.parametrize("drawn", APRICOT)
@pytest.mark.parametrize("block", [5, 512])
def test_facility_location_is_apricot_s(monkeypatch, drawn, block):
    monkeypatch.setattr(facility, "_BLOCK", block)
    rows, gains = facility.greedy(unit(*drawn), 12)
    assert rows == APRICOT[drawn][0]
    assert gains[:11] == pytest.approx(APRICOT[drawn][1], abs=1e-6)


def test_facility_location_breaks_ties_by_the_order_of_rows():
    square = np.array([[0, 1], [1, 0], [0, -1], [-1, 0]], np.float32)
    # similarities are 1 to itself, 1/2 to a neighbour, 0 to the opposite: each row gains 2, then each of the rest 1
    # (the opposite by itself, a neighbour by half of itself and half of the opposite), then each of the last two 1/2
    assert facility.greedy(square, 4) == ([0, 1, 2, 3], [2.0, 1.0, 0.5, 0.5])
    turned = np.array([[1, 0], [0, 1], [1, 0], [0, 1], [1, 0]], np.float32)
    assert facility.greedy(turned, 5) == ([0, 1, 2, 3, 4], [4.0, 1.0, 0.0, 0.0, 0.0])


def test_facility_location_holds_no_matrix_of_all_pairs():
    vectors = unit(5000, dim=8)  # all pairs are 200 MB
    tracemalloc.start()
    taken, gains = facility.greedy(vectors, 20)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(set(taken)) == 20
    assert gains == sorted(gains, reverse=True)
    assert peak < 100e6
