"""How each culture's scores are distributed, those of the ranked rows in front of those of the pool."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset

from caredio import cultures, plots
from caredio.report import bars

_BINS = 40
_STRIP = 0.42  # inches of a culture
_FULL = 0.86  # of a strip, that the highest column fills


def draw(ranked: Dataset, pool: Dataset, file: Path) -> list[Path]:
    """The files of a picture with a histogram for each culture: pool and, in colour, the ranked rows in it.

    Args:
        ranked: `features.RANKED`, or rows with culture and score.
        pool: `features.SCORED`, likewise; rows without a score are left out.
        file: its path, without the ending.
    """
    return plots.drawn(lambda: figure(ranked, pool), file, [*ranked.unique("culture"), *pool.unique("culture")])


def figure(ranked: Dataset, pool: Dataset) -> Any:
    """As `draw`; None where no row has a score."""
    found, chosen = _scores(pool), _scores(ranked)
    found |= {culture: scores for culture, scores in chosen.items() if culture not in found}
    if not found:
        return None
    every = np.concatenate(list(found.values()))
    low, high = float(every.min()), float(every.max())
    edges = np.linspace(low, high, _BINS + 1) if low < high else np.linspace(low - 0.5, low + 0.5, _BINS + 1)
    named = bars.names(cultures.slugs(found))
    drawing = plots.figure(bars.WIDTH, _STRIP * len(found) + 1.0)
    axis = drawing.subplots()
    for place, culture in enumerate(sorted(found)):
        base = len(found) - 1 - place
        counted = np.histogram(found[culture], edges)[0]
        height = _FULL / counted.max()
        behind = axis.stairs(base + height * counted, edges, baseline=base, fill=True, color="#7f7f7f", alpha=0.45)
        inside = np.histogram(chosen.get(culture, []), edges)[0]
        front = axis.stairs(base + height * inside, edges, baseline=base, fill=True, color=plots.COLORS[0])
        axis.axhline(base, color=plots.INK, linewidth=0.4)
    axis.set_yticks(range(len(found)), [named[culture] for culture in sorted(found, reverse=True)], fontsize=7)
    axis.tick_params(axis="y", length=0)
    axis.tick_params(axis="x", labelsize=7)
    axis.spines["left"].set_visible(False)
    axis.set_ylim(-0.05, len(found))
    axis.set_xlabel("score", fontsize=8)
    drawing.suptitle("Scores of each culture's rows (heights are each culture's own)", fontsize=9)
    handles = [behind, front]
    drawing.legend(handles, ["every row with a score", "ranked"], loc="outside lower center", ncols=2, fontsize=7)
    return drawing


def _scores(rows: Dataset) -> dict[str, np.ndarray]:
    """Culture -> its finite scores."""
    if not len(rows):
        return {}
    scores = np.array([np.nan if score is None else score for score in rows["score"][:]], np.float64)
    names = np.array(rows["culture"][:], dtype=object)
    finite = np.isfinite(scores)
    return {name: scores[finite & (names == name)] for name in dict.fromkeys(names[finite].tolist())}
