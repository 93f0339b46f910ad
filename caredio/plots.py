"""Pictures: how all of them look and are written, and those of a training. Each is a PNG and an SVG.

Text is drawn in a font that has its characters. Where no installed font has them, `label` gives what is drawn instead;
a picture within a page (`inline`) keeps the text, for which a browser finds a font.
"""

from __future__ import annotations

import functools
import io
import math
import re
import unicodedata
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from caredio import disk

_WIDTH, _HEIGHT, _ACROSS = 3.2, 2.4, 4  # inches of an axis, axes in a row
_FORMATS = ("png", "svg")
_FONT = "DejaVu Sans"  # which matplotlib brings
INK = "#333332"  # of text and axes; in a page it is the page's own colour of text
# Okabe and Ito's, which people with any colour vision tell apart
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f7f7f")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")  # a second sign of what a colour says


class Line(NamedTuple):
    """One line of a picture: points with, where known, the ends of their intervals."""

    label: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] = ()
    high: Sequence[float] = ()
    points: Sequence[tuple[float, float]] = ()  # beside the line, such as those of seeds whose mean it shows
    dashed: bool = False  # without marks, such as a level to compare with


@contextmanager
def style(texts: Iterable[str] = (), page: bool = False) -> Iterator[None]:
    """Within the block, figures are made and saved in the look of this package.

    Args:
        texts: what is written into them, for which fonts are looked up.
        page: the picture is for a page: its text stays text.
    """
    import matplotlib
    from cycler import cycler

    ink = dict.fromkeys(("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"), INK)
    look: Any = {
        **ink,
        "axes.prop_cycle": cycler(color=COLORS),
        "axes.spines.top": False,
        "axes.spines.right": False,
        "font.family": _families("".join(texts))[0],
        "font.size": 8,
        "legend.frameon": False,
        "svg.fonttype": "none" if page else "path",
        "svg.hashsalt": "caredio",  # equal pictures are equal files
        "text.parse_math": False,  # a dollar sign is one
    }
    with matplotlib.rc_context(look), warnings.catch_warnings():
        if page:
            warnings.filterwarnings("ignore", r"Glyph \d+ .* missing from")  # a browser has it
        yield


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


@style()
def lines(found: Mapping[str, Sequence[Line]], file: Path, x: str, y: str) -> list[Path]:
    """The files of a picture with one small axis for each entry; none where nothing is to be drawn.

    Args:
        found: title -> its lines.
        file: its path, without the ending.
        x, y: what the axes show.
    """
    if not (axes := _axes(found)):
        return []
    for axis, (title, drawn) in zip(axes, found.items(), strict=False):
        _draw(axis, title, drawn)
    axes[0].figure.supxlabel(x, fontsize="small")
    axes[0].figure.supylabel(y, fontsize="small")
    return save(axes[0].figure, file)


@style()
def points(found: Mapping[str, Sequence[Line]], names: Sequence[str], file: Path) -> list[Path]:
    """The files of a picture with one small axis for each entry: values of `names` with their intervals.

    Args:
        found: title -> its lines, whose x are places in `names`.
        names: what is compared.
        file: its path, without the ending.
    """
    if not (axes := _axes(found)):
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


def _axes(found: Mapping[str, Any]) -> list[Any]:
    """An axis for each entry of a new figure; none where nothing is to be drawn."""
    if not found:
        return []
    across = min(len(found), _ACROSS)
    down = math.ceil(len(found) / across)
    axes = list(figure(_WIDTH * across, _HEIGHT * down).subplots(down, across, squeeze=False).flat)
    for axis in axes[len(found) :]:
        axis.set_axis_off()
    return axes


def figure(width: float, height: float) -> Any:
    """An empty picture of some inches."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def label(text: str, otherwise: str = "", longest: int = 28) -> str:
    """Text as a picture can show it: one line of some characters, or `otherwise` where no font draws it.

    Without `otherwise` the characters that are not drawn are question marks.
    """
    import matplotlib

    seen = "".join(char for char in text if unicodedata.category(char)[0] != "C" or char.isspace())
    line = " ".join(seen.split())
    missing = set() if matplotlib.rcParams["svg.fonttype"] == "none" else _families(line)[1]
    if missing:
        line = otherwise or "".join("?" if char in missing else char for char in line)
    line = line if len(line) <= longest else f"{line[: longest - 1]}…"
    return f" {line}" if line.startswith("_") else line  # matplotlib leaves `_name` out of legends


def drawable(text: str) -> bool:
    """Whether an installed font has every character."""
    return not _families(text)[1]


def _families(text: str) -> tuple[list[str], frozenset[str]]:
    """The fonts that draw a text together, and the characters that none has."""
    from matplotlib import get_data_path

    own = _characters(f"{get_data_path()}/fonts/ttf/DejaVuSans.ttf")
    return _found(frozenset(char for char in text if char.isprintable() and not char.isspace()) - own)


@functools.lru_cache(maxsize=1024)
def _found(wanted: frozenset[str]) -> tuple[list[str], frozenset[str]]:
    families, missing = [_FONT], wanted
    for family, file in _installed() if missing else ():
        if missing & _characters(file):
            families.append(family)
            missing -= _characters(file)
    return families, missing


@functools.cache
def _installed() -> list[tuple[str, str]]:
    """The upright regular fonts besides ours, and their files; none that draws a box for every character."""
    from matplotlib.font_manager import fontManager

    regular = {font.name: font.fname for font in fontManager.ttflist if (font.style, font.weight) == ("normal", 400)}
    return sorted(one for one in regular.items() if one[0] != _FONT and not one[0].startswith("Last Resort"))


@functools.cache
def _characters(file: str) -> frozenset[str]:
    from matplotlib.font_manager import get_font

    return frozenset(map(chr, get_font(file).get_charmap()))


def drawn(make: Callable[[], Any], file: Path, texts: Iterable[str] = ()) -> list[Path]:
    """The files of a figure that `make` makes in the look of this package; none where it makes none."""
    with style(texts):
        made = make()
        return save(made, file) if made else []


def inline(make: Callable[[], Any], title: str) -> str:
    """A figure as an SVG element for a page, in the page's own colour of text; empty where `make` makes none.

    Args:
        title: what it shows, for who does not see it.
    """
    import html

    with style(page=True):
        if not (made := make()):
            return ""
        content = io.StringIO()
        made.savefig(content, format="svg", dpi=200, transparent=True, metadata={"Date": None, "Creator": None})
    svg = content.getvalue()
    svg = svg[svg.index("<svg ") :]
    svg = re.sub(r"<metadata>.*?</metadata>|<style .*?</style>|<!--.*?-->", "", svg, flags=re.DOTALL)
    used = set(re.findall(r"""(?:xlink:href="|url\()#([^")]+)""", svg))
    svg = re.sub(r' id="([^"]*)"', lambda one: one[0] if one[1] in used else "", svg)
    svg = svg.replace(INK, "currentColor")
    return svg.replace("<svg ", f'<svg role="img" aria-label="{html.escape(title)}" ', 1).strip()


def save(drawing: Any, file: Path) -> list[Path]:
    """The files of a picture; `file` is its path, without the ending."""
    with style():
        return [_save(drawing.savefig, file.with_name(f"{file.name}.{kind}"), kind) for kind in _FORMATS]


def _save(savefig: Callable[..., None], file: Path, kind: str) -> Path:
    with disk.replacing(file) as content:
        savefig(content, format=kind, dpi=200, metadata={"Date": None} if kind == "svg" else None)
    return file
