"""Representativeness r: how central to the culture a cluster's centre is (seed 001, 3.3).

clustered -> + representativeness.
"""

from __future__ import annotations

from typing import Any

from datasets import Dataset, Features

from caredio import features


def size(row: dict[str, Any]) -> dict[str, Any]:
    """r = the size of the centre's cluster (seed 001, 3.3 'Cluster size'); null where the row is not a centre."""
    return {"representativeness": float(row["cluster_size"]) if row["is_center"] else None}


def run(clustered: Dataset) -> Dataset:
    """Add `representativeness` to rows with cluster_size and is_center."""
    needed = Features({name: features.SCORED[name] for name in ("cluster_size", "is_center")})
    clustered = features.require(clustered, needed, "clustered candidates")
    columns = Features({**clustered.features, "representativeness": features.SCORED["representativeness"]})
    return clustered.map(size, features=columns, desc="representativeness")
