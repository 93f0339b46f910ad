"""Figures of bars that lie under each other, each under its name and with its number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from caredio import plots

WIDTH = 4.2  # inches, which a phone still shows at a size that can be read
ROW = 0.22  # inches of a bar
_PARTS = (plots.COLORS[0], plots.COLORS[5], plots.COLORS[6])


class Bar(NamedTuple):
    """A bar of one or more parts."""

    name: str
    values: Sequence[float]
    text: str  # its number, beside it
    space: bool = False  # above it


def figure(bars: Sequence[Bar], title: str, parts: Sequence[str] = ()) -> Any:
    """The figure; None where there are no bars.

    Args:
        bars: from the top.
        title: above them.
        parts: what the parts of a bar are, where they are several.
    """
    if not bars:
        return None
    places = _places(bars)
    drawing = plots.figure(WIDTH, ROW * (places[-1] + 1) + 0.5 + 0.25 * bool(parts))
    axis = drawing.subplots()
    handles = []
    left = [0.0] * len(bars)
    for part in range(max(len(bar.values) for bar in bars)):
        widths = [bar.values[part] if part < len(bar.values) else 0.0 for bar in bars]
        handles.append(axis.barh(places, widths, left=left, height=0.72, color=_PARTS[part], linewidth=0))
        left = [sum(pair) for pair in zip(left, widths, strict=True)]
    longest = max(left) or 1.0
    for place, bar, end in zip(places, bars, left, strict=True):
        axis.text(end + 0.012 * longest, place, bar.text, va="center", fontsize=7)
    axis.set_xlim(0, 1.16 * longest)  # the numbers stand within
    axis.set_ylim(places[-1] + 0.6, -0.6)
    axis.set_yticks(places, [bar.name for bar in bars], fontsize=7)
    axis.set_xticks([])
    axis.tick_params(axis="y", length=0)
    axis.spines["bottom"].set_visible(False)
    drawing.suptitle(title, fontsize=9)
    if parts:
        drawing.legend(handles, parts, loc="outside lower center", ncols=len(parts), fontsize=7)
    return drawing


def _places(bars: Sequence[Bar]) -> list[float]:
    places: list[float] = []
    place = 0.0
    for bar in bars:
        place += 0.6 * (bar.space and bool(places))
        places.append(place)
        place += 1
    return places


def names(known: Mapping[str, str]) -> dict[str, str]:
    """Culture -> how a figure calls it: its name, or its slug where no font draws that."""
    return {culture: plots.label(culture, slug) for culture, slug in known.items()}
