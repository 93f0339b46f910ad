"""The pictures of a release, which its card shows: a PNG for the page and an SVG for print each."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from caredio import plots
from caredio.report import counts, map, phrases, scores
from caredio.report.figures import Tables

FOLDER = "figures"


class Figure(NamedTuple):
    """A picture of a release: its path in it, and what it shows."""

    path: str
    about: str


def of_dataset(
    folder: Path,
    splits: Mapping[str, Mapping[str, int]],
    tables: Tables,
    distinctive: Mapping[str, list[tuple[str, float]]],
) -> list[Figure]:
    """Draw the figures of a dataset's release; what has nothing to show is left out.

    Args:
        folder: the release.
        splits: config -> split -> rows.
        tables: of the run.
        distinctive: the phrases of each culture, as `phrases.distinctive` gives them.
    """
    place = folder / FOLDER
    place.mkdir(exist_ok=True)
    ranked = tables.ranked
    drawn = [
        ("Rows of each culture", counts.draw(splits, place / "counts")),
        ("Scores of each culture's rows", scores.draw(ranked, tables.pool, place / "scores")),
        ("Map of the ranked responses", map.draw(tables.vectors, ranked, place / "map")),
        ("Phrases that tell the cultures' answers apart", phrases.draw(distinctive, place / "phrases")),
    ]
    return [_figure(files[0], about) for about, files in drawn if files]


def of_model(folder: Path, record: Mapping[str, Any]) -> list[Figure]:
    """Draw the loss of a training into a model's release; none where training.json keeps no losses.

    Args:
        folder: the release.
        record: training.json.
    """
    losses = (record.get("result") or {}).get("losses")
    if not losses:
        return []
    (folder / FOLDER).mkdir(exist_ok=True)
    named = ", ".join(record.get("cultures") or ()) or str(record["recipe"])
    files = plots.losses({named: losses}, folder / FOLDER / "loss")
    return [_figure(files[0], "Loss at each logged step")]


def _figure(file: Path, about: str) -> Figure:
    return Figure(f"{FOLDER}/{file.name}", about)
