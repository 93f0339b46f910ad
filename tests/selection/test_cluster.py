"""Average linkage against scikit-learn, against exact arithmetic where there are ties, and by hand."""

import logging
from fractions import Fraction

import numpy as np
import pytest
from datasets import Dataset
from sklearn.cluster import AgglomerativeClustering
from sklearn.metrics.pairwise import cosine_similarity

from caredio import features
from caredio.errors import InputError
from caredio.selection import cluster
from caredio.selection.embed import MINILM

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
        labels = cluster.average_linkage(vectors, theta)
        assert partition(labels) == partition(scikit_learn(vectors, theta))
        merged += n - len(set(labels))
    assert merged or theta > 0.9, "nothing merged, so nothing was compared"


def test_same_partition_as_scikit_learn_on_shapeless_vectors():
    rng = np.random.default_rng(7)
    for _ in range(60):
        n, d, theta = int(rng.integers(2, 80)), int(rng.integers(2, 12)), float(rng.uniform(-0.3, 0.95))
        vectors = unit(rng.normal(size=(n, d)))
        assert partition(cluster.average_linkage(vectors, theta)) == partition(scikit_learn(vectors, theta))


def test_same_partition_as_scikit_learn_for_float32_rows_in_several_blocks(monkeypatch):
    monkeypatch.setattr(cluster, "_BLOCK", 7)
    rng = np.random.default_rng(11)
    for theta in (0.2, 0.6, 0.8):
        vectors = planted(rng, 120, 16, 0.8).astype(np.float32)
        assert partition(cluster.average_linkage(vectors, theta)) == partition(
            scikit_learn(vectors.astype(np.float64), theta)
        )


def test_average_not_single_nor_complete_linkage():
    # 0, 30, 60 and 90 degrees: 0-30 and 60-90 merge at cos 30 = .866; the two pairs are (2 cos 60 + cos 30 + 0) / 4
    angles = np.radians([0, 30, 61, 90])
    fan = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    pairs = [cosine_similarity(fan)[left, right] for left in (0, 1) for right in (2, 3)]
    between = float(np.mean(pairs))
    assert min(pairs) < between < max(pairs)
    assert cluster.average_linkage(fan, between - 1e-9).tolist() == [0, 0, 0, 0]
    assert cluster.average_linkage(fan, between + 1e-9).tolist() == [0, 0, 1, 1]
    assert cluster.average_linkage(fan, 0.9).tolist() == [0, 1, 2, 3]


def test_the_best_pair_merges_first():
    # the row at 50 degrees would join the one at 20 (30 apart), but that one first joins 0 (20 apart), and then
    # 50 is 30 and 50 away from the two: (cos 30 + cos 50) / 2 = .754
    angles = np.radians([50, 20, 0])
    fan = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    assert cluster.average_linkage(fan, 0.76).tolist() == [0, 1, 1]
    assert cluster.average_linkage(fan, 0.75).tolist() == [0, 0, 0]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("rows", [[[1, 0], HALF], [[1, 0], HALF, [1, 0]], [HALF, [1, 0], [1, 0], [1, 0], [1, 0]]])
def test_similarity_equal_to_theta_does_not_merge(dtype, rows):
    vectors = np.array(rows, dtype=dtype)
    expected = numbered_by_first_member([tuple(row) for row in rows])
    assert cluster.average_linkage(vectors, 0.5).tolist() == expected
    assert cluster.average_linkage(vectors, np.nextafter(0.5, 0)).tolist() == [0] * len(rows)


def test_ties_and_equality_are_those_of_exact_arithmetic():
    rng = np.random.default_rng(1)
    wrong = []
    for _ in range(300):
        n, theta = int(rng.integers(2, 14)), float(rng.choice([0, 0.25, 0.5, 0.125]))
        vectors = rng.choice([-0.5, 0.5], size=(n, 4))  # unit vectors whose similarities are multiples of 0.5
        labels = cluster.average_linkage(vectors, theta).tolist()
        if labels != exact(vectors, theta):
            wrong.append((theta, (2 * vectors).astype(int).tolist(), labels, exact(vectors, theta)))
    assert not wrong, f"{len(wrong)} of 300 sets differ, such as {wrong[0]}"


def test_labels_are_numbered_by_first_member():
    rng = np.random.default_rng(3)
    for _ in range(20):
        labels = cluster.average_linkage(planted(rng, 40, 6, 0.8), 0.6).tolist()
        assert labels == numbered_by_first_member(labels)


def test_duplicates_are_one_cluster_each():
    rng = np.random.default_rng(5)
    rows = unit(rng.normal(size=(6, 300)))[[0, 1, 2, 0, 3, 1, 0, 4, 5, 5, 1, 0]]
    assert cluster.average_linkage(rows, 0.9).tolist() == [0, 1, 2, 0, 3, 1, 0, 4, 5, 5, 1, 0]


@pytest.mark.parametrize("n", [1, 2, 5, 60])
def test_equal_rows_are_one_cluster(n):
    rows = np.tile(unit(np.arange(1.0, 8.0)[None]), (n, 1)).astype(np.float32)
    assert cluster.average_linkage(rows, 0.99).tolist() == [0] * n
    assert cluster.centers(rows, np.zeros(n, int)).tolist() == [0]


def test_a_vector_of_zeros_joins_nobody():
    rows = np.array([[0, 0], [1, 0], [0, 0], [1, 0]], dtype=np.float32)
    assert cluster.average_linkage(rows, 0.5).tolist() == [0, 1, 2, 1]


def test_a_centre_is_most_similar_to_the_rest():
    rng = np.random.default_rng(9)
    for _ in range(30):
        vectors = planted(rng, 60, 12, 0.8)
        labels = cluster.average_linkage(vectors, 0.5)
        similar = cosine_similarity(vectors)
        np.fill_diagonal(similar, 0)
        found = cluster.centers(vectors.astype(np.float32), labels)
        assert labels[found].tolist() == list(range(labels.max() + 1))
        for label, center in enumerate(found):
            rows = np.flatnonzero(labels == label)
            if len(rows) > 2:
                assert center == rows[similar[np.ix_(rows, rows)].sum(axis=1).argmax()]


def test_the_middle_of_three_is_the_centre():
    angles = np.radians([0, 40, 20, 90, 95, 97])
    fan = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    assert cluster.centers(fan, np.array([0, 0, 0, 1, 1, 1])).tolist() == [2, 4]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_of_a_pair_the_first_is_the_centre(dtype):
    rng = np.random.default_rng(13)
    pairs = [unit(rng.normal(size=(2, 384))).astype(dtype) for _ in range(50)]
    assert [int(cluster.centers(pair, np.zeros(2, int))[0]) for pair in pairs] == [0] * 50


def tables(rows, vectors, cultures=None):
    """Candidates called `rows` with `vectors` as their sample embeddings."""
    cultures = cultures or ["japan"] * len(rows)
    records = [
        {**dict.fromkeys(features.CANDIDATES), "others": [], "sample_id": name, "culture": culture}
        for name, culture in zip(rows, cultures, strict=True)
    ]
    embedded = [
        {"sample_id": name, "sample_embedding": vector, "response_embedding": vector}
        for name, vector in zip(rows, np.asarray(vectors).tolist(), strict=True)
    ]
    return (
        Dataset.from_list(records, features=features.CANDIDATES),
        Dataset.from_list(embedded, features=features.vectors(len(vectors[0]))),
    )


def found(table):
    columns = ("cluster", "cluster_size", "is_center")
    return {row["sample_id"]: tuple(row[name] for name in columns) for row in table}


FAN = [[np.cos(angle), np.sin(angle)] for angle in np.radians([0, 90, 80, 100, 180, 5])]


def test_run_numbers_clusters_from_the_largest():
    candidates, vectors = tables(list("abcdef"), FAN)
    clustered = cluster.run(candidates, vectors, cluster.Config(theta=0.9), MINILM)
    numbers = {name: value[:2] for name, value in found(clustered).items()}
    assert numbers == {"b": (0, 3), "c": (0, 3), "d": (0, 3), "a": (1, 2), "f": (1, 2), "e": (2, 1)}
    centers = {name for name, value in found(clustered).items() if value[2]}
    assert centers - {"a", "f"} == {"b", "e"}
    assert len(centers) == 3
    assert clustered["sample_id"][:] == list("abcdef")
    assert {name: clustered.features[name] for name in ("cluster", "cluster_size", "is_center")} == {
        name: features.SCORED[name] for name in ("cluster", "cluster_size", "is_center")
    }
    assert clustered.remove_columns(["cluster", "cluster_size", "is_center"]).to_list() == candidates.to_list()


def test_of_a_pair_run_takes_the_lower_sample_id():
    candidates, vectors = tables(["f", "a"], [FAN[5], FAN[0]])
    clustered = cluster.run(candidates, vectors, cluster.Config(theta=0.9), MINILM)
    assert found(clustered) == {"a": (0, 2, True), "f": (0, 2, False)}


def test_run_keeps_cultures_apart():
    cultures = ["japan", "japan", "china", "japan", "china", "china"]
    candidates, vectors = tables(list("abcdef"), [FAN[1]] * 6, cultures)
    clustered = cluster.run(candidates, vectors, cluster.Config(theta=0.9), MINILM)
    assert found(clustered) == {
        "a": (0, 3, True),
        "b": (0, 3, False),
        "d": (0, 3, False),
        "c": (0, 3, True),
        "e": (0, 3, False),
        "f": (0, 3, False),
    }


def test_row_order_changes_nothing_even_with_ties():
    rng = np.random.default_rng(17)
    names = [f"{number:04x}" for number in rng.permutation(60)]
    cultures = [("japan", "china")[number % 2] for number in range(60)]
    rows = rng.choice([-0.5, 0.5], size=(60, 4))
    first = None
    for _ in range(6):
        order = rng.permutation(60)
        candidates, vectors = tables([names[row] for row in order], rows[order], [cultures[row] for row in order])
        shuffled = vectors.select(rng.permutation(60))
        again = found(cluster.run(candidates, shuffled, cluster.Config(theta=0.4), MINILM))
        first = first or again
        assert again == first
    assert len({value[0] for value in first.values()}) > 3


def test_run_leaves_dropped_rows_and_replaces_old_clusters():
    candidates, vectors = tables(list("abc"), FAN[:3])
    candidates = candidates.add_column("drop_reason", [None, "empty", None]).add_column("cluster", [9, 9, 9])
    clustered = cluster.run(candidates, vectors, cluster.Config(theta=0.9), MINILM)
    assert found(clustered) == {"a": (0, 1, True), "c": (1, 1, True)}


def test_run_takes_the_embedder_s_theta():
    # 0.72: above the theta of text-embedding-3, below MiniLM's
    candidates, vectors = tables(["a", "b"], [[1, 0], [0.72, (1 - 0.72**2) ** 0.5]])
    assert found(cluster.run(candidates, vectors, cluster.Config(), "openai:text-embedding-3-small"))["a"][1] == 2
    assert found(cluster.run(candidates, vectors, cluster.Config(), MINILM))["a"][1] == 1


def test_run_names_a_candidate_without_a_vector():
    candidates, vectors = tables(["a", "b"], FAN[:2])
    with pytest.raises(InputError, match="sample_embedding for 1 samples, such as b"):
        cluster.run(candidates, vectors.select([0]), cluster.Config(), MINILM)


def test_theta_is_the_config_s_or_the_embedder_s():
    assert cluster.theta(cluster.Config(), "openai:text-embedding-3-small") == 0.7
    assert cluster.theta(cluster.Config(), MINILM) == 0.75
    assert cluster.theta(cluster.Config(theta=0.6), MINILM) == 0.6
    assert cluster.theta(cluster.Config(theta=0.0), "mine") == 0.0
    with pytest.raises(InputError, match=r"'mine'.*--theta"):
        cluster.theta(cluster.Config(), "mine")


@pytest.mark.parametrize("theta", [1.01, -1.01, 70, float("nan")])
def test_theta_is_a_cosine(theta):
    with pytest.raises(InputError, match="theta is"):
        cluster.Config(theta=theta)


def clustered(**sizes):
    """A table whose cultures have clusters of the given sizes."""
    cells = [(culture, number) for culture, of in sizes.items() for number, size in enumerate(of) for _ in range(size)]
    return Dataset.from_dict({"culture": [cell[0] for cell in cells], "cluster": [cell[1] for cell in cells]})


def test_report_counts_per_culture():
    told = cluster.report(clustered(japan=[5, 3, 1, 1], china=[1]))
    assert told == {
        "china": {"samples": 1, "clusters": 1, "singletons": 1.0, "largest": 1.0},
        "japan": {"samples": 10, "clusters": 4, "singletons": 0.5, "largest": 0.5},
    }
    assert list(told) == ["china", "japan"]


@pytest.mark.parametrize(
    ("sizes", "words"),
    [
        ([2] * 10 + [1] * 90, ["japan: 90 % of the clusters hold one sample; a lower --theta"]),
        ([2] * 20 + [1] * 80, []),  # 80 % is not above it
        ([5] * 20, []),  # nor is 5 %
        ([6] + [2] * 47, ["japan: one cluster holds 6 % of the samples; a higher --theta"]),
        ([20] + [1] * 80, ["japan: 99 % of the clusters", "japan: one cluster holds 20 %"]),
        ([50] + [1] * 49, []),  # fewer than 100 samples say little
    ],
)
def test_report_warns_of_a_theta_that_does_not_fit(caplog, sizes, words):
    with caplog.at_level(logging.WARNING, logger="caredio"):
        cluster.report(clustered(japan=sizes))
    messages = [record.getMessage() for record in caplog.records]
    assert len(messages) == len(words)
    assert all(message.startswith(word) for message, word in zip(messages, words, strict=True))
