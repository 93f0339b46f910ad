"""What a run's scores were made by, as a release keeps it, and the scores made anew by that.

Each step is made of the columns of the step before as they stand, by the code that selects: clusters of the vectors, r
of the clusters, d of the vectors, score and rank of r and d, or the rank of scores that cannot be made anew.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from datasets import Dataset, Features

from caredio import features
from caredio.errors import InputError
from caredio.runs import Run, version
from caredio.selection import cluster, distinct, rank, rds, represent
from caredio.selection.settings import ASKING, ASKING_D, Settings
from caredio.settings import of_stage

_TOLERANCE = 1e-5  # of scores, which other machines' arithmetic moves
_CLUSTERS = ("cluster", "cluster_size", "is_center")
_RANKS = ("score", "rank", "drop_reason")


@dataclass(frozen=True)
class Scoring:
    """What scores are made by.

    Attributes:
        cultures: whose rows they are of, as the column names them; in a release to which they were added, others have
            the scores of the release before.
        settings: those that count.
        theta: the similarity above which clusters merged.
        version: of this package.
    """

    cultures: list[str]
    settings: dict[str, Any]
    theta: float
    version: str

    @classmethod
    def of_run(cls, run: Run) -> Scoring:
        """That of a run's pool."""
        entry = run.stages["scored"]
        config = entry["made_from"]["config"] or {}
        # no path goes into a release; of scores that ask a model, nothing can be made anew
        names = [one.name for one in of_stage("scored", Settings) if one.metadata.get("counts", True) is not False]
        kept = {name: config[name] for name in names if name in config}
        kept["score"] = config.get("combine", kept["score"])
        cultures = sorted(set(run.table("scored")["culture"][:]))
        return cls(cultures, kept, entry["theta"], entry["made_from"]["version"])

    @classmethod
    def of_record(cls, record: Any) -> Scoring | None:
        """That which release.json holds; None where it holds none, as of older versions."""
        try:
            return cls(
                list(record["cultures"]), dict(record["settings"]), float(record["theta"]), str(record["version"])
            )
        except (KeyError, TypeError, ValueError):
            return None

    def record(self) -> dict[str, Any]:
        """What release.json holds of it."""
        return asdict(self)

    @property
    def asks(self) -> list[str]:
        """The columns that a model was asked for."""
        asked = self.settings.get("representativeness") in ASKING
        return [*(["representativeness"] if asked else []), *(["distinctiveness"] if self._d_asked else [])]

    @property
    def given(self) -> str:
        """The ranking whose scores were read from more than a release holds; empty where there is none."""
        ranking = self.settings.get("ranking")
        return ranking if ranking in rank.MEASURED else ""

    @property
    def _d_asked(self) -> bool:
        return self.settings.get("distinctiveness") in ASKING_D

    def chosen(self) -> Settings:
        """The settings; what asks a model is as if it did not, so that what it gave is taken as it stands.

        Raises:
            InputError: another version's, which this one does not know.
        """
        given = dict(self.settings)
        if "representativeness" in self.asks:
            given["representativeness"] = "size"
        if "distinctiveness" in self.asks:
            given["distinctiveness"] = "cosine"
        if self.given == rds.NAME:  # whose file is no part of a release
            given["validation"] = "known"
        try:
            return Settings(**given)
        except (TypeError, InputError):
            raise InputError(
                f"scores were made by caredio {self.version}, whose settings {version()} does not know; verify with"
                " that version."
            ) from None


def differences(pool: Dataset, vectors: Dataset, scoring: Scoring) -> Iterator[tuple[str, list[int], Any, Any]]:
    """(column, rows that differ, what the first holds, what it would hold) of the pool's columns, made anew.

    Args:
        pool: `features.SCORED` of all cultures.
        vectors: `features.vectors` of these rows and of the answers beside them.

    Raises:
        InputError: a vector is missing, or the settings are another version's.
    """
    chosen, held = scoring.chosen(), pool.with_format("arrow")[:]
    candidates = features.conform(pool, features.CANDIDATES)
    clustered = features.conform(pool, Features({**features.CANDIDATES, **_kinds(_CLUSTERS)}))
    measured = Features({**clustered.features, **_kinds(("representativeness", "distinctiveness", "compared"))})
    measured_by = dict(zip(pool["sample_id"][:], pool["score"][:], strict=True)) if scoring.given else None
    made: Mapping[tuple[str, ...], Any] = {
        _CLUSTERS: lambda: cluster.run(candidates, vectors, chosen, scoring.theta),
        ("representativeness",): lambda: represent.run(clustered, vectors, chosen),
        ("distinctiveness", "compared"): lambda: distinct.run(clustered, vectors, chosen),
        _RANKS: lambda: rank.score(features.conform(pool, measured), vectors, chosen, measured_by),
    }
    for columns, make in made.items():
        if set(columns) & set(scoring.asks):
            continue
        anew = make()
        for name in columns:
            old, new = held[name].to_pylist(), anew[name][:]
            if wrong := [row for row, pair in enumerate(zip(old, new, strict=True)) if not _equal(*pair)]:
                yield name, wrong, old[wrong[0]], new[wrong[0]]


def _kinds(names: tuple[str, ...]) -> Features:
    return Features({name: features.SCORED[name] for name in names})


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, float) and isinstance(other, float):
        return bool(np.isclose(one, other, rtol=_TOLERANCE, atol=_TOLERANCE, equal_nan=True))
    return bool(one == other)
