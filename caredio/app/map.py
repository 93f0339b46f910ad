"""The map: samples as points, near each other where their embeddings are (the first two principal components)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from caredio.app.markup import number, text
from caredio.app.shelf import Shelf

POINTS = 3000  # that are drawn
_NAMED = 6  # cultures whose names stand in the picture
_WIDTH, _HEIGHT, _EDGE = 900, 640, 30
# Okabe and Ito's colours, told apart by people who see few; a second round of cultures has squares, a third triangles
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8A7A00", "#555555")


class Map(NamedTuple):
    """Where samples lie.

    Attributes:
        places: numbers of their rows, best first.
        points: two coordinates of each, in the picture.
        shares: of the embeddings' variance that either axis holds.
        left_out: how many more have an embedding.
    """

    places: np.ndarray
    points: np.ndarray
    shares: Sequence[float]
    left_out: int


def drawn(shelf: Shelf) -> Map | None:
    """The map of a shelf's best rows; None where it has no embeddings of three rows."""
    keys, vectors = shelf.vectors
    if len(keys) < 3:
        return None
    places = np.array([shelf.place(key) for key in keys])
    order = places.argsort()  # rows come best first
    flat, shares = projected(vectors[order])
    low, high = flat.min(axis=0), flat.max(axis=0)
    size = np.array([_WIDTH, _HEIGHT]) - 2 * _EDGE
    points = _EDGE + (flat - low) / np.where(high > low, high - low, 1) * size
    return Map(places[order][:POINTS], points[:POINTS], shares, max(0, len(keys) - POINTS))


def projected(vectors: np.ndarray) -> tuple[np.ndarray, list[float]]:
    """(n, 2) coordinates on the first two principal components, and the share of variance of either."""
    centred = vectors - vectors.mean(axis=0)
    values, axes = np.linalg.eigh((centred.T @ centred).astype(np.float64))
    axes = axes[:, [-1, -2]]
    axes *= np.sign(axes[np.abs(axes).argmax(axis=0), [0, 1]])  # so that equal vectors give an equal map
    total = float(values.clip(0).sum()) or 1.0
    return centred @ axes, [float(values[-1]) / total, float(values[-2]) / total]


def svg(shelf: Shelf, there: Map, found: np.ndarray, opened: str = "") -> str:
    """The picture: rows that were found in their culture's colour and shape, others pale, the one that is open ringed.

    Args:
        found: numbers of rows.
        opened: key of a row.
    """
    cultures = shelf.values("culture")
    look = {culture: (_COLOURS[n % len(_COLOURS)], n // len(_COLOURS) % 3) for n, culture in enumerate(cultures)}
    bright = set(found.tolist())
    cells = shelf.cells(there.places, "key", "culture", "response")
    pale: list[str] = []
    coloured: list[str] = []
    ring = ""
    for place, (x, y), row in zip(there.places.tolist(), there.points, cells, strict=True):
        colour, shape = look[row["culture"]]
        kind = "" if place in bright else ' class="pale"'
        title = f"{row['culture']}: {(row['response'] or '')[:120]}"
        mark = (
            f'<path d="{_mark(x, y, shape)}" fill="{colour}"{kind} data-row="{text(row["key"])}"><title>{text(title)}'
        )
        (coloured if place in bright else pale).append(f"{mark}</title></path>")
        if row["key"] == opened:
            ring = f'<circle cx="{x:.0f}" cy="{y:.0f}" r="12" class="ring"/>'
    labels = _labels(shelf, there, bright)
    said = " and ".join(f"{100 * share:.0f} %" for share in there.shares)
    more = f" The best {POINTS:,} rows are drawn; {there.left_out:,} more are not." if there.left_out else ""
    return (
        f'<svg class="map" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="Map of samples">{"".join(pale)}'
        f'{"".join(coloured)}{ring}{labels}</svg><p class="note">Samples near each other have similar embeddings; the'
        f" axes hold {said} of their variance, so distances here are rough. Click a point to read its row.{more}</p>"
        f"{_legend(look, shelf, there, bright)}"
    )


def _mark(x: float, y: float, shape: int) -> str:
    """A circle, a square or a triangle around a point."""
    at = f"M{x:.0f} {y:.0f}"
    return at + ("m-5 0a5 5 0 1 0 10 0a5 5 0 1 0-10 0", "m-4-4h9v9h-9z", "m-6 5l6-11 6 11z")[shape]


def _labels(shelf: Shelf, there: Map, bright: set[int]) -> str:
    """Each culture's name at the mean of its points that were found, where these are few."""
    cultures = np.array([row["culture"] for row in shelf.cells(there.places, "culture")])
    shown = np.array([place in bright for place in there.places.tolist()])
    labels: list[str] = []
    if len(named := sorted(set(cultures[shown]))) > _NAMED:  # they would lie over each other; the legend names them
        return ""
    for culture in named:
        x, y = there.points[shown & (cultures == culture)].mean(axis=0)
        labels.append(f'<text x="{x:.0f}" y="{y:.0f}">{text(culture)}</text>')
    return "".join(labels)


def _legend(look: dict[str, tuple[str, int]], shelf: Shelf, there: Map, bright: set[int]) -> str:
    counts: dict[str, int] = dict.fromkeys(look, 0)
    for place, row in zip(there.places.tolist(), shelf.cells(there.places, "culture"), strict=True):
        counts[row["culture"]] += place in bright
    items = "".join(
        f'<li><svg width="14" height="14" viewBox="0 0 14 14"><path d="{_mark(7, 7, shape)}" fill="{colour}"/></svg> '
        f"<bdi>{text(culture)}</bdi> {number(counts[culture])}</li>"
        for culture, (colour, shape) in look.items()
        if counts[culture]
    )
    return f'<ul class="legend">{items}</ul>'
