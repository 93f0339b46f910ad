"""Where the cultures' answers lie: embeddings of responses in two dimensions (seed 001, Figure 3 a)."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from datasets import Dataset

from caredio import cultures, plots
from caredio.report import bars
from caredio.selection.embed import matrix

_MOST = 400  # points of a culture; its centroid is of all its rows
_FEW = 100  # points of a culture, up to which they are drawn large
_PANELS = 4  # side by side
_BOX = np.array([-0.49, 0.49, 0.49, -0.49, -0.49]), np.array([-0.49, -0.49, 0.49, 0.49, -0.49])  # around a panel
_MARGIN = 0.06  # of the map's width, beside the outermost points


class Map(NamedTuple):
    """Two principal components of responses."""

    points: dict[str, np.ndarray]  # culture -> float64[n, 2], in the order of the rows
    shares: tuple[float, float]  # of the variance

    def centroids(self) -> dict[str, np.ndarray]:
        """Culture -> the mean of its points."""
        return {culture: points.mean(axis=0) for culture, points in self.points.items()}


def place(vectors: Dataset, rows: Dataset) -> Map:
    """Where rows lie on the map.

    Each component points to where its largest loading is positive, so that equal rows have equal maps.

    Args:
        vectors: `features.vectors`.
        rows: sample_id and culture; those without a vector are left out.
    """
    has = set(vectors["sample_id"][:])
    found = [one for one in zip(rows["sample_id"][:], rows["culture"][:], strict=True) if one[0] in has]
    if not found:
        return Map({}, (0.0, 0.0))
    every = matrix(vectors, "response_embedding", [name for name, _ in found]).astype(np.float64)
    every -= every.mean(axis=0)
    values, loadings = np.linalg.eigh(every.T @ every)
    loadings = loadings[:, [-1, -2]] if len(values) > 1 else np.hstack([loadings, np.zeros_like(loadings)])
    loadings = loadings * np.sign(loadings[np.abs(loadings).argmax(axis=0), range(2)])
    total = float(np.square(every).sum())
    points = every @ loadings
    share = tuple(float(np.square(points[:, one]).sum()) / total if total else 0.0 for one in range(2))
    named = np.array([culture for _, culture in found], dtype=object)
    return Map({name: points[named == name] for name in sorted(set(named))}, (share[0], share[1]))


def draw(vectors: Dataset, rows: Dataset, file: Path) -> list[Path]:
    """The files of a picture of the map: rows as points, and each culture's centroid; none where no row has a vector.

    Args:
        vectors, rows: as `place` takes them.
        file: its path, without the ending.
    """
    return plots.drawn(lambda: figure(place(vectors, rows)), file, rows.unique("culture"))


def figure(found: Map) -> Any:
    """As `draw`: cultures in one panel as far as colours tell them apart, else a panel for each before all others."""
    if not found.points:
        return None
    named = bars.names(cultures.slugs(found.points))
    return _together(found, named) if len(named) <= len(plots.COLORS) else _apart(found, named)


def _together(found: Map, named: dict[str, str]) -> Any:
    drawing = plots.figure(bars.WIDTH, bars.WIDTH)
    axis = drawing.subplots()
    handles = []
    signs = list(zip(plots.COLORS, plots.MARKERS, strict=True))
    for (_, points), (color, marker) in zip(found.points.items(), signs, strict=False):
        shown = points[:_MOST]
        size, alpha = (14, 0.8) if len(shown) <= _FEW else (8, 0.5)
        axis.scatter(*shown.T, s=size, c=color, marker=marker, alpha=alpha, linewidths=0, rasterized=True)
    for (_, centre), (color, marker) in zip(found.centroids().items(), signs, strict=False):
        handles.append(
            axis.scatter(*centre, s=80, c=color, marker=marker, edgecolors="white", linewidths=1.2, zorder=3)
        )
    axis.set_xticks([])
    axis.set_yticks([])
    axis.margins(_MARGIN)
    across, up = (f"component {number}: {share:.1%} of the variance" for number, share in enumerate(found.shares, 1))
    axis.set_xlabel(across, fontsize=8)
    axis.set_ylabel(up, fontsize=8)
    drawing.suptitle("Responses, and each culture's centroid (large)", fontsize=9)
    drawing.legend(handles, list(named.values()), loc="outside lower center", ncols=3, fontsize=7, markerscale=0.7)
    return drawing


def _apart(found: Map, named: dict[str, str]) -> Any:
    down = math.ceil(len(named) / _PANELS)
    side = bars.WIDTH / _PANELS
    drawing = plots.figure(bars.WIDTH, down * (side + 0.12) + 0.6)
    axis = drawing.subplots()
    every = np.concatenate([points[:_MOST] for points in found.points.values()])
    low, high = every.min(axis=0), every.max(axis=0)
    unit = max(float((high - low).max()), 1e-9) * (1 + 2 * _MARGIN)
    step = 1.0, 1.12  # of a panel, whose name stands above it
    middle = (low + high) / 2
    corners = [
        np.array([step[0] * (number % _PANELS), -step[1] * (number // _PANELS)]) for number in range(len(found.points))
    ]
    own = [(points - middle) / unit + corner for points, corner in zip(found.points.values(), corners, strict=True)]
    behind = np.concatenate([(every - middle) / unit + corner for corner in corners])
    front, centres = np.concatenate([points[:_MOST] for points in own]), np.array([one.mean(axis=0) for one in own])
    axis.scatter(*behind.T, s=1.2, c="#7f7f7f", alpha=0.25, linewidths=0, rasterized=True)
    axis.scatter(*front.T, s=4, c=plots.COLORS[0], alpha=0.7, linewidths=0, rasterized=True)
    axis.scatter(*centres.T, s=42, c=plots.COLORS[1], marker="X", edgecolors="white", linewidths=0.8, zorder=3)
    for culture, (x, y) in zip(found.points, corners, strict=True):
        axis.plot(x + _BOX[0], y + _BOX[1], color=plots.INK, linewidth=0.4)
        axis.text(x, y + 0.505, named[culture], ha="center", va="bottom", fontsize=7)
    axis.set_xlim(-0.5, step[0] * (_PANELS - 1) + 0.5)
    axis.set_ylim(-step[1] * (down - 1) - 0.5, 0.64)
    axis.set_axis_off()
    across, up = (f"{share:.1%}" for share in found.shares)
    drawing.suptitle("Responses of each culture (blue) among all, and its centroid (x)", fontsize=9)
    drawing.supxlabel(f"component 1: {across} of the variance; component 2, upwards: {up}", fontsize=7)
    return drawing
