"""Pictures of a training: its loss, and what more rows bring. Each is a PNG and an SVG; needs the extra `plot`."""

from __future__ import annotations

import importlib.util
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from caredio import disk

log = logging.getLogger("caredio")

_WIDTH, _HEIGHT, _ACROSS = 3.2, 2.4, 4  # inches of an axis, axes in a row
_FORMATS = ("png", "svg")


class Line(NamedTuple):
    """One line of a picture: points with, where known, the ends of their intervals."""

    label: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] = ()
    high: Sequence[float] = ()
    points: Sequence[tuple[float, float]] = ()  # beside the line, such as those of seeds whose mean it shows
    dashed: bool = False  # without marks, such as a level to compare with


def losses(found: Mapping[str, Sequence[Sequence[float]]], file: Path) -> list[Path]:
    """The files of a picture of the loss at each logged step, one axis a culture.

    Args:
        found: culture -> (step, loss).
        file: its path, without the ending.
    """
    drawn = {
        name: [Line("", [one[0] for one in points], [one[1] for one in points])]
        for name, points in found.items()
        if points
    }
    return lines(drawn, file, "step", "loss")


def lines(found: Mapping[str, Sequence[Line]], file: Path, x: str, y: str) -> list[Path]:
    """The files of a picture with one small axis for each entry; none where nothing is to be drawn, or no matplotlib.

    Args:
        found: title -> its lines.
        file: its path, without the ending.
        x, y: what the axes show.
    """
    if not (axes := _axes(found, file)):
        return []
    for axis, (title, drawn) in zip(axes, found.items(), strict=False):
        _draw(axis, title, drawn)
    axes[0].figure.supxlabel(x, fontsize="small")
    axes[0].figure.supylabel(y, fontsize="small")
    return save(axes[0].figure, file)


def points(found: Mapping[str, Sequence[Line]], names: Sequence[str], file: Path) -> list[Path]:
    """The files of a picture with one small axis for each entry: values of `names` with their intervals.

    Args:
        found: title -> its lines, whose x are places in `names`.
        names: what is compared.
        file: its path, without the ending.
    """
    if not (axes := _axes(found, file)):
        return []
    for axis, (title, drawn) in zip(axes, found.items(), strict=False):
        for line in drawn:
            ends = [[y - low for y, low in zip(line.y, line.low, strict=True)]]
            ends += [[high - y for y, high in zip(line.y, line.high, strict=True)]]
            axis.errorbar(line.x, line.y, yerr=ends, fmt="o", markersize=3, linewidth=1, label=line.label)
        axis.set_xticks(range(len(names)), names)
        axis.set_xlim(-0.5, len(names) - 0.5)
        _finish(axis, title, drawn)
    return save(axes[0].figure, file)


def _draw(axis: Any, title: str, drawn: Sequence[Line]) -> None:
    for line in drawn:
        look = {"linestyle": "--", "color": "gray"} if line.dashed else {"marker": "o", "markersize": 3}
        (shown,) = axis.plot(line.x, line.y, linewidth=1, label=line.label, **look)
        if line.points:
            axis.plot(*zip(*line.points, strict=True), "x", markersize=4, color=shown.get_color())
        if line.low:
            axis.fill_between(line.x, line.low, line.high, alpha=0.2, color=shown.get_color(), linewidth=0)
    _finish(axis, title, drawn)


def _finish(axis: Any, title: str, drawn: Sequence[Line]) -> None:
    axis.set_title(title, fontsize="small")
    axis.tick_params(labelsize="x-small")
    if any(line.label for line in drawn):
        axis.legend(fontsize="x-small")


def _axes(found: Mapping[str, Any], file: Path) -> list[Any]:
    """An axis for each entry of a new figure; none where nothing is to be drawn, or no matplotlib."""
    if not found:
        return []
    across = min(len(found), _ACROSS)
    down = math.ceil(len(found) / across)
    if (drawing := figure(_WIDTH * across, _HEIGHT * down, file)) is None:
        return []
    axes = list(drawing.subplots(down, across, squeeze=False).flat)
    for axis in axes[len(found) :]:
        axis.set_axis_off()
    return axes


def figure(width: float, height: float, file: Path) -> Any:
    """An empty picture of some inches; None where there is no matplotlib, which a line about `file` tells."""
    if importlib.util.find_spec("matplotlib") is None:
        log.info("%s.png is not drawn: pip install 'caredio[plot]'", file)
        return None
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def save(drawing: Any, file: Path) -> list[Path]:
    """The files of a picture; `file` is its path, without the ending."""
    import matplotlib

    with matplotlib.rc_context({"svg.hashsalt": "caredio"}):  # equal pictures are equal files
        return [_save(drawing.savefig, file.with_name(f"{file.name}.{kind}"), kind) for kind in _FORMATS]


def _save(savefig: Callable[..., None], file: Path, kind: str) -> Path:
    with disk.replacing(file) as content:
        savefig(content, format=kind, dpi=150, metadata={"Date": None} if kind == "svg" else None)
    return file
