"""Pictures of a comparison: each culture with intervals, models asked about other cultures, what was forgotten, and
what more rows bring.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

from caredio import plots
from caredio.evaluation.formats import line
from caredio.evaluation.measurements import RAW, WITH_ROLE_PLAY, Number
from caredio.evaluation.paired import of_seeds
from caredio.evaluation.table import Column, Comparison

_ROW, _WIDTH, _SQUARE = 0.32, 6.4, 0.55  # inches of a row, of a picture, of a square
_MARGIN = 0.05  # of the width, that is left beside the outermost points
_SPREAD = 0.6  # of a row, over which systems lie


class Point(NamedTuple):
    """One number in a row of dots."""

    value: float
    low: float | None = None
    high: float | None = None


def draw(compared: Comparison, folder: Path) -> list[Path]:
    """The files of all pictures, a PNG and an SVG each.

    Args:
        folder: where they go.
    """
    files = []
    for column in compared.columns:
        if column.main and column.cultural:
            rows = {part: _points(column, own) for part, own in sorted(column.numbers.items())}
            file = folder / _name(column.benchmark, column.metric)
            files += dots(rows, compared.systems, file, column.title, _unit(column))
            files += budgets(column, folder / _name("budgets", column.benchmark, column.metric))
    general = [column for column in compared.columns if column.main and not column.cultural]
    if general:
        rows = {column.title: _points(column, column.cells) for column in general}
        units = {_unit(column) for column in general}
        title, x = "general benchmarks: what training cost", units.pop() if len(units) == 1 else "score"
        files += dots(rows, compared.systems, folder / "general", title, x)
    for (system, benchmark, metric), numbers in compared.across.items():
        column = next(one for one in compared.columns if (one.benchmark, one.metric) == (benchmark, metric))
        shown = {key: (column.scale * one.value, column.shown(one.value)) for key, one in numbers.items()}
        files += squares(shown, folder / _name("across", system, benchmark, metric), f"{column.title}: {system}")
    return files


@plots.style()
def dots(rows: Mapping[str, Mapping[str, Point]], systems: Sequence[str], file: Path, title: str, x: str) -> list[Path]:
    """The files of a picture with a row for each culture or benchmark, and in it each system with its interval.

    Seeds of a method are points of one colour without intervals, as so few are no sample. A system without a point has
    no place in the rows and in the legend.

    Args:
        rows: name -> system -> its number.
        systems: in the order in which they are shown.
        file: its path, without the ending.
        title: above it.
        x: what the numbers are.
    """
    figure = plots.figure(_WIDTH, _ROW * len(rows) + 1.2)
    methods = {name: method for method, names in of_seeds(systems).items() for name in names}
    drawn = [name for name in systems if any(name in points for points in rows.values())]
    labels = list(dict.fromkeys(methods.get(name, name) for name in drawn))
    axis = figure.subplots()
    for place, label in enumerate(labels):
        offset = _SPREAD * ((place + 0.5) / len(labels) - 0.5)
        names = [name for name in drawn if methods.get(name, name) == label]
        found = [
            (row + offset, points[name]) for row, points in enumerate(rows.values()) for name in names if name in points
        ]
        _scatter(axis, found, label, f"C{place % len(plots.COLORS)}", bars=label in systems)
    axis.set_yticks(range(len(rows)), [*map(line, rows)], fontsize="x-small")
    axis.set_ylim(len(rows) - 0.5, -0.5)  # the first row is at the top
    axis.margins(x=_MARGIN)
    axis.set_xlabel(line(x), fontsize="small")
    axis.set_title(line(title), fontsize="small")
    axis.tick_params(axis="x", labelsize="x-small")
    figure.legend(loc="outside lower center", ncols=4, fontsize="x-small")
    return plots.save(figure, file)


def budgets(column: Column, file: Path) -> list[Path]:
    """The files of a picture of a number by how many rows were trained on, one axis a culture and one line a ranking.

    Of a culture without a ranking at two budgets there is none. Seeds are points, and the line is through their means;
    raw is the line without a budget. Adapters of two models or by two recipes are no seeds: each has lines of its own.

    Args:
        file: its path, without the ending.
    """
    drawn = {line(part): found for part, own in sorted(column.numbers.items()) if (found := _budgets(column, own))}
    return plots.lines(drawn, file, "rows trained on", line(column.title))


def _budgets(column: Column, own: Mapping[str, Number]) -> list[plots.Line]:
    """A culture's lines; none where no ranking has two budgets."""
    by_ranking: dict[str, dict[int, list[float]]] = {}
    trained = [one for one in own.values() if one.budget]
    bases, recipes = len({one.base for one in trained}) > 1, len({one.recipe for one in trained}) > 1
    for system, one in own.items():
        if one.budget and not one.alone:
            part = WITH_ROLE_PLAY if system.endswith(WITH_ROLE_PLAY) else ""
            recipe = f", {one.recipe or 'recipe not known'}" if recipes else ""
            base = f" of {one.base[:8] or 'whole weights'}" if bases else ""
            values = by_ranking.setdefault(f"{one.ranking or 'ranking not known'}{recipe}{base}{part}", {})
            values.setdefault(one.budget, []).append(column.scale * one.value)
    found = {ranking: values for ranking, values in sorted(by_ranking.items()) if len(values) > 1}
    lines = []
    for ranking, values in found.items():
        x = sorted(values)
        points = tuple((budget, value) for budget in x for value in values[budget] if len(values[budget]) > 1)
        lines.append(plots.Line(line(ranking), x, [fmean(values[budget]) for budget in x], points=points))
    if lines and RAW in own and not own[RAW].alone:
        ends = min(one.x[0] for one in lines), max(one.x[-1] for one in lines)
        lines.append(plots.Line(RAW, ends, [column.scale * own[RAW].value] * 2, dashed=True))
    return lines


@plots.style()
def squares(numbers: Mapping[tuple[str, str], tuple[float, str]], file: Path, title: str) -> list[Path]:
    """The files of a picture with a square for each culture's model and each culture that it was asked about.

    Args:
        numbers: (culture of the model, culture asked about) -> its number, and that as text.
        file: its path, without the ending.
        title: above it.
    """
    models, asked = sorted({model for model, _ in numbers}), sorted({culture for _, culture in numbers})
    figure = plots.figure(_SQUARE * len(asked) + 2.2, _SQUARE * len(models) + 1.8)
    axis = figure.subplots()
    nothing = float("nan"), ""
    axis.imshow([[numbers.get((model, one), nothing)[0] for one in asked] for model in models], cmap="viridis")
    for (model, culture), (_, text) in numbers.items():
        place = asked.index(culture), models.index(model)
        axis.text(*place, text, ha="center", va="center", fontsize="x-small", color="white", **_OUTLINE)
    axis.set_xticks(range(len(asked)), asked, rotation=45, ha="right", fontsize="x-small")
    axis.set_yticks(range(len(models)), models, fontsize="x-small")
    axis.set_xlabel("asked about", fontsize="small")
    axis.set_ylabel("model of", fontsize="small")
    axis.set_title(line(title), fontsize="small")
    return plots.save(figure, file)


_OUTLINE = {"bbox": {"facecolor": "black", "alpha": 0.4, "linewidth": 0, "pad": 1}}  # behind a number on a colour


def _unit(column: Column) -> str:
    """What the numbers of a column are."""
    return "per cent" if column.scale == 100 else column.title


def _points(column: Column, found: Mapping[str, Any]) -> dict[str, Point]:
    """The points of cells, or of measurements, as the column shows numbers."""
    scale = column.scale
    return {
        name: Point(scale * one.value, *(None if end is None else scale * end for end in (one.low, one.high)))
        for name, one in found.items()
    }


def _scatter(axis: Any, found: Sequence[tuple[float, Point]], label: str, color: str, bars: bool) -> None:
    heights, points = [height for height, _ in found], [point for _, point in found]
    axis.plot([point.value for point in points], heights, "o", markersize=3, color=color, label=line(label))
    for height, point in found:
        if bars and point.low is not None and point.high is not None:
            axis.plot([point.low, point.high], [height, height], linewidth=1, color=color)


def _name(*parts: str) -> str:
    """A file's name, of letters, digits, `_` and `-`."""
    return re.sub(r"[^\w-]+", "_", "-".join(parts)).strip("_")
