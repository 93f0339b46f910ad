"""theta for an embedder: the lowest that lumps no culture's samples together.

candidates, vectors -> a table of thresholds. The same cosine means something else in every embedding space, so theta is
read off the sizes of clusters: at the lowest threshold where no culture's largest cluster holds over 5 % of its
samples, most is grouped and nothing lumped.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from datasets import Dataset

from caredio import features
from caredio.errors import InputError
from caredio.selection import cluster
from caredio.selection.embed import matrix


@dataclass(frozen=True)
class Config:
    lowest: float = field(default=0.5, metadata={"help": "lowest theta tried"})
    highest: float = field(default=0.95, metadata={"help": "highest theta tried"})
    step: float = field(default=0.01, metadata={"help": "distance between those tried"})
    linkage: str = field(
        default="average", metadata={"help": "linkage that theta is for", "choices": tuple(cluster.LINKAGES)}
    )

    def __post_init__(self) -> None:
        if self.linkage not in cluster.LINKAGES:
            raise InputError(f"linkage is {self.linkage!r}; use {' or '.join(cluster.LINKAGES)}.")
        if not -1 <= self.lowest < self.highest <= 1 or self.step <= 0:
            raise InputError("theta is tried from lowest to highest, -1 to 1, in steps above 0.")


@dataclass(frozen=True)
class Calibration:
    """What clusters look like at each theta. `str(calibration)` is the table that the command prints."""

    embedder: str
    told: dict[float, dict[str, dict[str, Any]]]  # theta -> culture -> as `cluster.distribution`

    @property
    def theta(self) -> float | None:
        """The lowest theta at which no culture's largest cluster is above 5 % and its singletons are at most 80 %."""
        for theta, cultures in sorted(self.told.items()):
            largest, singletons = _worst(cultures)
            if largest <= cluster.LARGEST and singletons <= cluster.MOST_SINGLETONS:
                return theta
        return None

    def __str__(self) -> str:
        lines = [f"{'theta':<8}{'clusters':>10}{'largest cluster':>18}{'singletons':>13}   (of the worst culture)"]
        for theta, cultures in sorted(self.told.items()):
            largest, singletons = _worst(cultures)
            clusters = sum(told["clusters"] for told in cultures.values())
            lines.append(f"{theta:<8.2f}{clusters:>10,}{largest:>18.1%}{singletons:>13.1%}")
        if self.theta is None:
            lines.append("No theta keeps every culture's largest cluster at 5 % and its singletons at 80 %.")
        else:
            lines.append(f"--theta {self.theta:.2f} fits {self.embedder} on these samples.")
        return "\n".join(lines)


def _worst(cultures: dict[str, dict[str, Any]]) -> tuple[float, float]:
    return max(told["largest"] for told in cultures.values()), max(told["singletons"] for told in cultures.values())


def cultures(candidates: Dataset) -> list[str]:
    """The cultures that theta is calibrated on.

    Raises:
        InputError: no culture has enough samples.
    """
    rows = Counter(candidates["culture"][:])
    found = [culture for culture in sorted(rows) if rows[culture] >= cluster.ENOUGH]
    if not found:
        raise InputError(f"theta is calibrated on cultures of at least {cluster.ENOUGH} samples, and there is none.")
    return found


def run(candidates: Dataset, vectors: Dataset, config: Config, embedder: str) -> Calibration:
    """Cluster each culture's candidates at every theta.

    Args:
        candidates: `features.CANDIDATES`; cultures of fewer than 100 samples say little and are left out.
        vectors: `features.vectors`.

    Raises:
        InputError: no culture has enough samples.
    """
    candidates = features.require(candidates, features.CANDIDATES, "candidates")
    names, of = np.array(candidates["sample_id"]), np.array(candidates["culture"])
    link = cluster.LINKAGES[config.linkage]
    thetas = np.arange(config.lowest, config.highest + config.step / 2, config.step).round(4).tolist()
    told: dict[float, dict[str, dict[str, Any]]] = {theta: {} for theta in thetas}
    for culture in cultures(candidates):
        unit = matrix(vectors, "sample_embedding", sorted(names[of == culture].tolist()))
        for theta in thetas:
            told[theta][culture] = cluster.distribution(np.bincount(link(unit, theta)).tolist())
    return Calibration(embedder, told)
