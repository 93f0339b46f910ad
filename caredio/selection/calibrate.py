"""theta for an embedder: the lowest that lumps no culture's samples together.

candidates, vectors -> a table of thresholds. The same cosine means something else in every embedding space, so theta is
read off the sizes of clusters: at the lowest threshold where no culture's largest cluster holds over 5 % of its
samples, most is grouped and nothing lumped.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
from datasets import Dataset

from caredio import features
from caredio.errors import InputError
from caredio.selection import cluster
from caredio.selection.embed import matrix
from caredio.selection.settings import Settings


@dataclass(frozen=True)
class Calibration:
    """What clusters look like at each theta. `str(calibration)` is the table that the command prints."""

    embedder: str
    distributions: dict[float, dict[str, dict[str, Any]]]  # theta -> culture -> as `cluster.distribution`

    def __repr__(self) -> str:
        return str(self)

    @property
    def theta(self) -> float | None:
        """The lowest theta at which no culture's largest cluster is above 5 % and its singletons are at most 80 %."""
        for theta, cultures in sorted(self.distributions.items()):
            largest, singletons = _worst(cultures)
            if largest <= cluster.LARGEST and singletons <= cluster.MOST_SINGLETONS:
                return theta
        return None

    def __str__(self) -> str:
        lines = [f"{'theta':<8}{'clusters':>10}{'largest cluster':>18}{'singletons':>13}   (of the worst culture)"]
        for theta, cultures in sorted(self.distributions.items()):
            largest, singletons = _worst(cultures)
            clusters = sum(one["clusters"] for one in cultures.values())
            lines.append(f"{theta:<8.2f}{clusters:>10,}{largest:>18.1%}{singletons:>13.1%}")
        if self.theta is None:
            lines.append("No theta keeps every culture's largest cluster at 5 % and its singletons at 80 %.")
        else:
            lines.append(f"theta {self.theta:.2f} fits {self.embedder} on these samples.")
        return "\n".join(lines)


def _worst(cultures: dict[str, dict[str, Any]]) -> tuple[float, float]:
    return max(one["largest"] for one in cultures.values()), max(one["singletons"] for one in cultures.values())


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


def run(candidates: Dataset, vectors: Dataset, settings: Settings) -> Calibration:
    """Cluster each culture's candidates at every theta.

    Args:
        candidates: `features.CANDIDATES`; cultures of fewer than 100 samples say little and are left out.
        vectors: `features.vectors`.

    Raises:
        InputError: no culture has enough samples.
    """
    candidates = features.require(candidates, features.columns("sample_id culture"), "candidates")
    names, of = np.array(candidates["sample_id"][:]), np.array(candidates["culture"][:])
    link = cluster.LINKAGES[settings.linkage]
    thetas = np.arange(settings.lowest, settings.highest + settings.step / 2, settings.step).round(4).tolist()
    distributions: dict[float, dict[str, dict[str, Any]]] = {theta: {} for theta in thetas}
    for culture in cultures(candidates):
        unit = matrix(vectors, "sample_embedding", sorted(names[of == culture].tolist()))
        for theta in thetas:
            distributions[theta][culture] = cluster.distribution(np.bincount(link(unit, theta)).tolist())
    return Calibration(settings.embedder, distributions)
