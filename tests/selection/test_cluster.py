"""Clusters, centres and their report, by hand."""

import logging

import numpy as np
import pytest
from datasets import Dataset
from sklearn.metrics.pairwise import cosine_similarity

from caredio import features
from caredio.errors import InputError
from caredio.selection import cluster, linkage
from caredio.selection.embedders import MINILM
from caredio.selection.settings import Settings, threshold


def unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def planted(rng, n, d, noise):
    """Rows around a few centres of very different weight, as texts on a few themes are."""
    weights = 1 / np.arange(1, n // 8 + 3)
    themes = unit(rng.normal(size=(len(weights), d)) + 0.5)
    of = rng.choice(len(themes), size=n, p=weights / weights.sum())
    return unit(themes[of] + noise * rng.normal(size=(n, d)) / d**0.5)


def test_a_centre_is_most_similar_to_the_rest():
    rng = np.random.default_rng(9)
    for _ in range(30):
        vectors = planted(rng, 60, 12, 0.8)
        labels = linkage.average(vectors, 0.5)
        similar = cosine_similarity(vectors)
        np.fill_diagonal(similar, 0)
        found = cluster.centers(vectors.astype(np.float32), labels, np.ones(len(labels)))
        assert labels[found].tolist() == list(range(labels.max() + 1))
        for label, center in enumerate(found):
            rows = np.flatnonzero(labels == label)
            if len(rows) > 2:
                assert center == rows[similar[np.ix_(rows, rows)].sum(axis=1).argmax()]


def test_the_middle_of_three_is_the_centre():
    angles = np.radians([0, 40, 20, 90, 95, 97])
    fan = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    assert cluster.centers(fan, np.array([0, 0, 0, 1, 1, 1]), np.ones(6)).tolist() == [2, 4]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_of_a_pair_the_first_is_the_centre(dtype):
    rng = np.random.default_rng(13)
    pairs = [unit(rng.normal(size=(2, 384))).astype(dtype) for _ in range(50)]
    assert [int(cluster.centers(pair, np.zeros(2, int), np.ones(2))[0]) for pair in pairs] == [0] * 50


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
    clustered = cluster.run(candidates, vectors, Settings(), 0.9)
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


def test_a_weight_counts_as_so_many_equal_rows():
    weights = [1.0, 1.0, 4.0, 1.0, 9.0, 2.0]
    candidates, vectors = tables(list("abcdef"), FAN)
    weighted = candidates.remove_columns("weight").add_column("weight", weights)
    clustered = found(cluster.run(weighted, vectors, Settings(), 0.9))
    assert {name: value[:2] for name, value in clustered.items()} == {
        **{"e": (0, 9.0), "b": (1, 6.0), "c": (1, 6.0), "d": (1, 6.0), "a": (2, 3.0), "f": (2, 3.0)}
    }
    assert {name for name, value in clustered.items() if value[2]} == {"e", "c", "f"}  # c stands at the edge
    copies = [name for name, weight in zip(range(6), weights, strict=True) for _ in range(int(weight))]
    labels = np.array([0, 1, 1, 1, 2, 0])
    fan = np.array(FAN)
    of_copies = cluster.centers(fan[copies], labels[copies], np.ones(len(copies)))
    assert [copies[row] for row in of_copies] == cluster.centers(fan, labels, np.array(weights)).tolist() == [5, 2, 4]


def test_of_a_pair_run_takes_the_lower_sample_id():
    candidates, vectors = tables(["f", "a"], [FAN[5], FAN[0]])
    clustered = cluster.run(candidates, vectors, Settings(), 0.9)
    assert found(clustered) == {"a": (0, 2, True), "f": (0, 2, False)}


def test_run_keeps_cultures_apart():
    cultures = ["japan", "japan", "china", "japan", "china", "china"]
    candidates, vectors = tables(list("abcdef"), [FAN[1]] * 6, cultures)
    clustered = cluster.run(candidates, vectors, Settings(), 0.9)
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
        again = found(cluster.run(candidates, shuffled, Settings(), 0.4))
        first = first or again
        assert again == first
    assert len({value[0] for value in first.values()}) > 3


def test_run_leaves_dropped_rows_and_replaces_old_clusters():
    candidates, vectors = tables(list("abc"), FAN[:3])
    candidates = candidates.add_column("drop_reason", [None, "empty", None]).add_column("cluster", [9, 9, 9])
    clustered = cluster.run(candidates, vectors, Settings(), 0.9)
    assert found(clustered) == {"a": (0, 1, True), "c": (1, 1, True)}


def test_run_takes_the_embedder_s_theta():
    # 0.72: above the theta of text-embedding-3, below MiniLM's
    candidates, vectors = tables(["a", "b"], [[1, 0], [0.72, (1 - 0.72**2) ** 0.5]])
    sizes = {}
    for embedder in ("openai:text-embedding-3-small", MINILM):
        settings = Settings(embedder=embedder)
        sizes[embedder] = found(cluster.run(candidates, vectors, settings, threshold(settings)))["a"][1]
    assert sizes == {"openai:text-embedding-3-small": 2, MINILM: 1}


def test_run_names_a_candidate_without_a_vector():
    candidates, vectors = tables(["a", "b"], FAN[:2])
    with pytest.raises(InputError, match="sample_embedding for 1 samples, such as b"):
        cluster.run(candidates, vectors.select([0]), Settings(), 0.9)


def test_theta_is_the_settings_or_the_embedder_s():
    assert threshold(Settings(embedder="openai:text-embedding-3-small")) == 0.7
    assert threshold(Settings(embedder=MINILM)) == 0.75
    assert threshold(Settings(theta=0.6, embedder=MINILM)) == 0.6
    assert threshold(Settings(theta=0.0, embedder="mine")) == 0.0
    with pytest.raises(InputError, match=r"'mine'.*theta"):
        threshold(Settings(embedder="mine"))


@pytest.mark.parametrize("theta", [1.01, -1.01, 70, float("nan")])
def test_theta_is_a_cosine(theta):
    with pytest.raises(InputError, match="theta is"):
        Settings(theta=theta)


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
        ([2] * 10 + [1] * 90, ["japan: 90 % of the clusters hold one sample; a lower theta"]),
        ([2] * 20 + [1] * 80, []),  # 80 % is not above it
        ([5] * 20, []),  # nor is 5 %
        ([6] + [2] * 47, ["japan: one cluster holds 6 % of the samples; a higher theta"]),
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


def test_the_linkage_is_the_settings():
    candidates, vectors = tables(list("abc"), [[np.cos(angle), np.sin(angle)] for angle in np.radians([0, 50, 100])])
    sizes = {
        name: sorted(cluster.run(candidates, vectors, Settings(linkage=name), 0.6)["cluster_size"])
        for name in cluster.LINKAGES
    }
    assert sizes == {"average": [1, 2, 2], "single": [3, 3, 3]}
    with pytest.raises(InputError, match=r"^linkage is 'ward'; use average, single\.$"):
        Settings(linkage="ward")
