"""Table stage (clustering): clusters of a culture's samples (seed 001, 3.3).

candidates, vectors -> + cluster, cluster_size, is_center. Samples merge while the mean similarity between two clusters
is above theta; of each cluster only the member most similar to the rest, its centre, can be selected.
"""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from datasets import Dataset, Features

from caredio import features
from caredio.selection import linkage
from caredio.selection.embed import matrix
from caredio.selection.engine import Engine, Local
from caredio.selection.settings import Settings

log = logging.getLogger("caredio")

LINKAGES = {"average": linkage.average, "single": linkage.single}
ENOUGH = 100  # samples below which shares say little
MOST_SINGLETONS, LARGEST = 0.8, 0.05  # shares above which theta is too high, and too low
WITHOUT_EFFECT = ("ENOUGH", "MOST_SINGLETONS", "LARGEST")


def centers(unit: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Row of each label's centre: the member with the highest mean similarity to the rest, first on ties.

    A row of weight k counts as k equal rows, of which it is one itself.
    """
    unit = unit.astype(np.float64)  # in float32, rounding would decide which of a pair is the centre
    count = labels.max() + 1
    sums = np.zeros((count, unit.shape[1]))
    np.add.at(sums, labels, weights[:, None] * unit)
    to_rest = (unit * sums[labels]).sum(axis=1) - (unit * unit).sum(axis=1)
    order = np.lexsort((np.arange(len(labels)), -to_rest.round(9), labels))
    return order[np.unique(labels[order], return_index=True)[1]]


def clusters(
    unit: np.ndarray, theta: float, link: str, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A culture's float[n, d] unit vectors -> each one's cluster (0 = largest), its size; the rows of the centres.

    A cluster's size is the sum of its rows' weights; which rows it holds does not depend on them.
    """
    labels = LINKAGES[link](unit, theta)
    sizes = np.bincount(labels, weights=weights)
    largest = np.argsort(-sizes, kind="stable")
    number = np.empty_like(largest)
    number[largest] = np.arange(len(largest))
    return number[labels], sizes[labels], centers(unit, labels, weights)


def run(
    candidates: Dataset, vectors: Dataset, settings: Settings, theta: float, engine: Engine | None = None
) -> Dataset:
    """Cluster each culture's candidates by their sample_embedding.

    Args:
        candidates: `features.CANDIDATES`.
        vectors: `features.vectors`.
        theta: the similarity above which clusters merge (`settings.threshold`).
        engine: where it runs, one task a culture.

    Returns:
        candidates with cluster (0 = the culture's largest), cluster_size and is_center. Row order changes nothing:
        samples are taken in the order of their sample_id.
    """
    candidates = features.require(candidates, features.columns("sample_id culture"), "candidates")
    ids = np.array(candidates["sample_id"][:])
    cultures, weights = np.array(candidates["culture"][:]), np.array(features.weights(candidates))
    found: dict[str, np.ndarray] = {
        "cluster": np.zeros(len(ids), np.int32),
        "cluster_size": np.zeros(len(ids)),
        "is_center": np.zeros(len(ids), bool),
    }
    of_culture = [np.flatnonzero(cultures == culture) for culture in sorted(set(cultures))]
    of_culture = [rows[np.argsort(ids[rows])] for rows in of_culture]
    matrices = (
        (matrix(vectors, "sample_embedding", ids[rows].tolist()), theta, settings.linkage, weights[rows])
        for rows in of_culture
    )
    for rows, (number, size, center) in zip(of_culture, (engine or Local()).tasks(clusters, matrices), strict=True):
        found["cluster"][rows] = number
        found["cluster_size"][rows] = size
        found["is_center"][rows[center]] = True
    columns = Features({**candidates.features, **{name: features.SCORED[name] for name in found}})
    added = Dataset.from_dict({name: values.tolist() for name, values in found.items()})
    return features.conform(features.beside(candidates, added), columns)


def describe(settings: Mapping[str, Any], theta: float) -> str:
    """A sentence for the card on the clusters: settings as run.json holds them, and the theta that held."""
    return (
        f"Clusters: `{settings['linkage']}` linkage over question and response, within a culture, above a similarity of"
        f" {theta:g}."
    )


def report(clustered: Dataset) -> dict[str, Any]:
    """Per culture: samples, clusters, the share of singletons and the largest cluster's share; warns of a bad theta.

    Above 80 % singletons almost nothing is grouped and size says nothing; a cluster over 5 % lumps unlike samples.
    """
    distributions = {}
    members: dict[str, Counter[int]] = defaultdict(Counter)
    for culture, number in zip(clustered["culture"][:], clustered["cluster"][:], strict=True):
        members[culture][number] += 1
    for culture, sizes in sorted(members.items()):
        distributions[culture] = distribution(list(sizes.values()))
        if distributions[culture]["samples"] < ENOUGH:
            continue
        if distributions[culture]["singletons"] > MOST_SINGLETONS:
            share = 100 * distributions[culture]["singletons"]
            log.warning("%s: %.0f %% of the clusters hold one sample; a lower theta groups more.", culture, share)
        if distributions[culture]["largest"] > LARGEST:
            share = 100 * distributions[culture]["largest"]
            log.warning("%s: one cluster holds %.0f %% of the samples; a higher theta splits it.", culture, share)
    return distributions


def distribution(sizes: Sequence[int]) -> dict[str, Any]:
    """Of clusters' sizes: samples, clusters, the share of clusters of one, and the largest's share of the samples."""
    samples = sum(sizes)
    return {
        "samples": samples,
        "clusters": len(sizes),
        "singletons": round(sum(size == 1 for size in sizes) / len(sizes), 4),
        "largest": round(max(sizes) / samples, 4),
    }
