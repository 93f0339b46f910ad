"""Linkage against scikit-learn and scipy, against exact arithmetic where there are ties, and by hand."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.cluster.hierarchy import fcluster
from scipy.cluster.hierarchy import linkage as scipy_linkage
from sklearn.cluster import AgglomerativeClustering
from sklearn.metrics.pairwise import cosine_similarity

from caredio.selection import linkage

HALF = [0.5, 0.75**0.5]  # at 60 degrees to [1, 0]: their similarity is 0.5 in every precision


def unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def partition(labels):
    return {frozenset(np.flatnonzero(labels == label).tolist()) for label in set(labels)}


def numbered_by_first_member(labels):
    names = list(dict.fromkeys(labels))
    return [names.index(label) for label in labels]


def scikit_learn(vectors, theta):
    model = AgglomerativeClustering(n_clusters=None, metric="cosine", linkage="average", distance_threshold=1 - theta)
    return model.fit_predict(vectors)


def exact(vectors, theta):
    """The greedy algorithm in rational numbers; ties go to the pair of lowest first members."""
    sums = [[Fraction(float(value)) for value in vector] for vector in vectors]
    members = [[row] for row in range(len(vectors))]
    while len(members) > 1:
        best, left, right = max(
            (
                Fraction(sum(a * b for a, b in zip(sums[left], sums[right], strict=True)))
                / (len(members[left]) * len(members[right])),
                -left,
                -right,
            )
            for left in range(len(members))
            for right in range(left + 1, len(members))
        )
        if best <= Fraction(theta):
            break
        left, right = -left, -right
        members[left] += members.pop(right)
        sums[left] = [a + b for a, b in zip(sums[left], sums.pop(right), strict=True)]
    return [next(label for label, group in enumerate(members) if row in group) for row in range(len(vectors))]


def planted(rng, n, d, noise):
    """Rows around a few centres of very different weight, as texts on a few themes are."""
    weights = 1 / np.arange(1, n // 8 + 3)
    themes = unit(rng.normal(size=(len(weights), d)) + 0.5)
    of = rng.choice(len(themes), size=n, p=weights / weights.sum())
    return unit(themes[of] + noise * rng.normal(size=(n, d)) / d**0.5)


@pytest.mark.parametrize("theta", [-0.4, 0.0, 0.3, 0.5, 0.7, 0.75, 0.9, 0.99])
@pytest.mark.parametrize("noise", [0.3, 0.8, 1.5])
def test_same_partition_as_scikit_learn(theta, noise):
    rng = np.random.default_rng([int(100 * noise), int(100 * theta) + 100])
    merged = 0
    for n, d in [(2, 2), (5, 2), (30, 3), (40, 8), (90, 16), (150, 32), (260, 64)]:
        vectors = planted(rng, n, d, noise)
        labels = linkage.average(vectors, theta)
        assert partition(labels) == partition(scikit_learn(vectors, theta))
        merged += n - len(set(labels))
    assert merged or theta > 0.9, "nothing merged, so nothing was compared"


def test_same_partition_as_scikit_learn_on_shapeless_vectors():
    rng = np.random.default_rng(7)
    for _ in range(60):
        n, d, theta = int(rng.integers(2, 80)), int(rng.integers(2, 12)), float(rng.uniform(-0.3, 0.95))
        vectors = unit(rng.normal(size=(n, d)))
        assert partition(linkage.average(vectors, theta)) == partition(scikit_learn(vectors, theta))


def test_same_partition_as_scikit_learn_for_float32_rows_in_several_blocks(monkeypatch):
    monkeypatch.setattr(linkage, "_BLOCK", 7)
    rng = np.random.default_rng(11)
    for theta in (0.2, 0.6, 0.8):
        vectors = planted(rng, 120, 16, 0.8).astype(np.float32)
        assert partition(linkage.average(vectors, theta)) == partition(scikit_learn(vectors.astype(np.float64), theta))


def test_average_not_single_nor_complete_linkage():
    # 0, 30, 60 and 90 degrees: 0-30 and 60-90 merge at cos 30 = .866; the two pairs are (2 cos 60 + cos 30 + 0) / 4
    angles = np.radians([0, 30, 61, 90])
    fan = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    pairs = [cosine_similarity(fan)[left, right] for left in (0, 1) for right in (2, 3)]
    between = float(np.mean(pairs))
    assert min(pairs) < between < max(pairs)
    assert linkage.average(fan, between - 1e-9).tolist() == [0, 0, 0, 0]
    assert linkage.average(fan, between + 1e-9).tolist() == [0, 0, 1, 1]
    assert linkage.average(fan, 0.9).tolist() == [0, 1, 2, 3]


def test_the_best_pair_merges_first():
    # the row at 50 degrees would join the one at 20 (30 apart), but that one first joins 0 (20 apart), and then
    # 50 is 30 and 50 away from the two: (cos 30 + cos 50) / 2 = .754
    angles = np.radians([50, 20, 0])
    fan = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    assert linkage.average(fan, 0.76).tolist() == [0, 1, 1]
    assert linkage.average(fan, 0.75).tolist() == [0, 0, 0]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("rows", [[[1, 0], HALF], [[1, 0], HALF, [1, 0]], [HALF, [1, 0], [1, 0], [1, 0], [1, 0]]])
def test_similarity_equal_to_theta_does_not_merge(dtype, rows):
    vectors = np.array(rows, dtype=dtype)
    expected = numbered_by_first_member([tuple(row) for row in rows])
    assert linkage.average(vectors, 0.5).tolist() == expected
    assert linkage.average(vectors, np.nextafter(0.5, 0)).tolist() == [0] * len(rows)


def test_ties_and_equality_are_those_of_exact_arithmetic():
    rng = np.random.default_rng(1)
    wrong = []
    for _ in range(300):
        n, theta = int(rng.integers(2, 14)), float(rng.choice([0, 0.25, 0.5, 0.125]))
        vectors = rng.choice([-0.5, 0.5], size=(n, 4))  # unit vectors whose similarities are multiples of 0.5
        labels = linkage.average(vectors, theta).tolist()
        if labels != exact(vectors, theta):
            wrong.append((theta, (2 * vectors).astype(int).tolist(), labels, exact(vectors, theta)))
    assert not wrong, f"{len(wrong)} of 300 sets differ, such as {wrong[0]}"


def test_labels_are_numbered_by_first_member():
    rng = np.random.default_rng(3)
    for _ in range(20):
        labels = linkage.average(planted(rng, 40, 6, 0.8), 0.6).tolist()
        assert labels == numbered_by_first_member(labels)


def test_duplicates_are_one_cluster_each():
    rng = np.random.default_rng(5)
    rows = unit(rng.normal(size=(6, 300)))[[0, 1, 2, 0, 3, 1, 0, 4, 5, 5, 1, 0]]
    assert linkage.average(rows, 0.9).tolist() == [0, 1, 2, 0, 3, 1, 0, 4, 5, 5, 1, 0]


@pytest.mark.parametrize("n", [1, 2, 5, 60])
def test_equal_rows_are_one_cluster(n):
    rows = np.tile(unit(np.arange(1.0, 8.0)[None]), (n, 1)).astype(np.float32)
    assert linkage.average(rows, 0.99).tolist() == [0] * n


def test_a_vector_of_zeros_joins_nobody():
    rows = np.array([[0, 0], [1, 0], [0, 0], [1, 0]], dtype=np.float32)
    assert linkage.average(rows, 0.5).tolist() == [0, 1, 2, 1]


@pytest.mark.parametrize("held", [0, 1, 4])
def test_more_pairs_than_are_held_change_nothing(monkeypatch, held):
    monkeypatch.setattr(linkage, "_HELD", held)
    monkeypatch.setattr(linkage, "_BLOCK", 16)
    rng = np.random.default_rng(held)
    for theta in (-0.2, 0.1, 0.4, 0.7):
        vectors = planted(rng, 130, 16, 0.8)
        assert partition(linkage.average(vectors, theta)) == partition(scikit_learn(vectors, theta))
        ties = rng.choice([-0.5, 0.5], size=(13, 4))
        assert linkage.average(ties, 0.25).tolist() == exact(ties, 0.25)


@pytest.mark.parametrize("held", [0, 4, 64])
def test_pairs_found_earlier_are_not_copied_at_every_block(monkeypatch, held):
    """Bytes that numpy is asked to make, in 1,275 blocks: of the order of the pairs that may be held, not of both."""
    monkeypatch.setattr(linkage, "_HELD", held)
    monkeypatch.setattr(linkage, "_BLOCK", 8)
    vectors = planted(np.random.default_rng(37), 400, 16, 0.8)
    made = []

    def counting(function):
        def counted(*args, **settings):
            made.append(result := function(*args, **settings))
            return result

        return counted

    with monkeypatch.context() as patch:
        for name in ("concatenate", "empty"):
            patch.setattr(np, name, counting(getattr(np, name)))
        linkage._above(vectors, np.ones(400), 0.3)
    found = 24 * np.count_nonzero(np.triu(vectors @ vectors.T > 0.3, 1))
    assert found > 300_000
    assert sum(one.nbytes for one in made) < 8 * found


@settings(deadline=None)
@given(st.lists(st.integers(0, 9), max_size=30), st.integers(0, 20))
def test_held_pairs_are_those_added_in_their_order(sizes, room):
    held, parts = linkage._Held(room), []
    for start, size in enumerate(sizes):
        parts.append(linkage.Pairs(np.arange(size) + start, np.arange(size) - start, np.arange(size) / 7))
        held.add(parts[-1])
    for column, found in enumerate(held.pairs()):
        assert found.tolist() == [value for part in parts for value in part[column].tolist()]
    assert held.count == sum(sizes)


@pytest.mark.parametrize("dense", [0.0, 1.0])
def test_ruling_pairs_out_loses_none(monkeypatch, dense):
    monkeypatch.setattr(linkage, "_DENSE", dense)  # always, and never, the whole block
    monkeypatch.setattr(linkage, "_AXES", 4)
    rng = np.random.default_rng(23)
    vectors = planted(rng, 300, 64, 1.2).astype(np.float32)
    similar = vectors.astype(np.float64) @ vectors.T.astype(np.float64)
    for theta in (0.1, 0.4, 0.6):
        pairs = linkage._Search(vectors.astype(np.float64), np.ones(300)).above(0, 0, theta)
        expected = np.argwhere(np.triu(similar > theta, 1))
        assert np.stack([pairs.left, pairs.right], axis=1).tolist() == expected.tolist()
        assert len(expected) > 20


@pytest.mark.parametrize("theta", [0.2, 0.4, 0.6, 0.8])
def test_single_linkage_is_that_of_scipy(monkeypatch, theta):
    monkeypatch.setattr(linkage, "_BLOCK", 32)
    rng = np.random.default_rng(29)
    for n, d in [(2, 2), (40, 8), (150, 16), (200, 64)]:
        vectors = planted(rng, n, d, 0.5)
        expected = fcluster(scipy_linkage(vectors, "single", "cosine"), 1 - theta, "distance")
        labels = linkage.single(vectors, theta)
        assert labels.tolist() == numbered_by_first_member(expected)
        assert len(set(labels)) < n


def test_single_linkage_chains_and_is_strict():
    angles = np.radians([0, 60, 120, 200])
    fan = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    assert linkage.single(fan, 0.49).tolist() == [0, 0, 0, 1]
    assert linkage.average(fan, 0.49).tolist() == [0, 0, 1, 2]
    rows = np.array([[1, 0], HALF, [1, 0]])
    assert linkage.single(rows, 0.5).tolist() == [0, 1, 0]
    assert linkage.single(rows, np.nextafter(0.5, 0)).tolist() == [0, 0, 0]


def test_row_order_changes_neither_linkage_of_tie_free_rows():
    rng = np.random.default_rng(31)
    vectors = planted(rng, 200, 24, 0.8)
    for link in (linkage.average, linkage.single):
        labels, order = link(vectors, 0.6), rng.permutation(200)
        shuffled = link(vectors[order], 0.6)
        assert shuffled.tolist() == numbered_by_first_member(labels[order])
        assert 10 < len(set(labels)) < 190


@pytest.mark.parametrize("link", [linkage.average, linkage.single])
def test_no_rows_have_no_clusters(link):
    assert link(np.empty((0, 3)), 0.5).tolist() == []
