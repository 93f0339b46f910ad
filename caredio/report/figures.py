"""The figures of a run, by name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from datasets import Dataset

from caredio import plots
from caredio.report import cost, counts, drops, phrases, scores
from caredio.report import map as on_map
from caredio.runs import Run

_ROWS = 500  # of a culture, whose phrases are counted


class Figure(NamedTuple):
    """One figure: `make` makes it in a block of `plots.style`, or returns None where there is nothing to draw."""

    title: str
    make: Callable[[], Any]
    texts: Sequence[str]  # what is written into it


class Tables(NamedTuple):
    """What figures are made of."""

    ranked: Dataset
    pool: Dataset
    vectors: Dataset

    def cultures(self) -> list[str]:
        """Those that have rows, in their order."""
        return sorted({*self.ranked.unique("culture"), *self.pool.unique("culture")})

    def responses(self) -> dict[str, list[str]]:
        """Culture -> the responses of its first rows."""
        found: dict[str, list[str]] = {}
        columns = (self.ranked[name][:] for name in ("culture", "response", "rank"))
        for culture, response, rank in zip(*columns, strict=True):
            if rank <= _ROWS:
                found.setdefault(culture, []).append(response)
        return found

    def splits(self) -> dict[str, dict[str, int]]:
        """Culture -> its rows that are ranked, and those that the selection left out."""
        chosen = Counter(self.ranked["culture"][:])
        every = zip(self.pool["culture"][:], self.pool["drop_reason"][:], strict=True)
        left_out = Counter(culture for culture, reason in every if reason is not None)
        return {one: {"ranked": chosen[one], "left out": left_out[one]} for one in self.cultures()}


def read(run: Run) -> Tables:
    """The tables of an open run.

    Raises:
        InputError: its ranked rows, its scored rows or its vectors are missing or out of date.
    """
    return Tables(*(run.table(name) for name in ("ranked", "scored", "vectors")))


def of(tables: Tables, report: Mapping[str, Any]) -> dict[str, Figure]:
    """The figures of a run, without its phrases, which a page shows as text.

    Args:
        tables: its tables.
        report: stage -> its entry in run.json.
    """
    ranked, pool, vectors = tables
    known, split = tables.cultures(), tables.splits()
    reasons = [reason for entry in report.values() for reason in entry["dropped"]]
    return {
        "counts": Figure("Rows of each culture", lambda: counts.figure(split), known),
        "scores": Figure("Scores of each culture's rows", lambda: scores.figure(ranked, pool), known),
        "map": Figure("Map of responses", lambda: on_map.figure(on_map.place(vectors, ranked)), known),
        "drops": Figure("Rows dropped, by stage and reason", lambda: drops.figure(report), reasons),
        "cost": Figure("Cost of each stage", lambda: cost.figure(report), list(report)),
    }


def draw(tables: Tables, report: Mapping[str, Any], folder: Path) -> list[Path]:
    """The files of a run's figures, its phrases included, a PNG and an SVG each.

    Args:
        tables, report: as `of` takes them.
        folder: where they go.
    """
    made = of(tables, report)
    files = [file for name, one in made.items() for file in plots.drawn(one.make, folder / name, one.texts)]
    return files + phrases.draw(phrases.distinctive(tables.responses()), folder / "phrases")
