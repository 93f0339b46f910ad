"""A table of results as text, Markdown, CSV, HTML and LaTeX.

CSV has one row for each system, column and culture with unrounded numbers, and what the marks of the others are made
of; the others show the table of methods, then a table for each column by culture, and the sentences that belong to
them.
"""

from __future__ import annotations

import csv
import html
import io
import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from caredio.errors import InputError, did_you_mean
from caredio.evaluation.side_by_side import plain

if TYPE_CHECKING:
    from caredio.evaluation.measurements import Number
    from caredio.evaluation.table import Cell, Column, Comparison

_WIDE = 110  # characters of a line of text, from which a table goes on below
_NONE = "-"
_CSV = (
    *("system", "benchmark", "metric", "culture", "n", "value", "low", "high"),
    *("difference_to_raw", "p_raw", "p_role_play", "p_every_baseline"),
    *("cultures_improved", "cultures_compared", "p_improved"),
    *("higher_is_better", "difference_to_role_play", "difference_to_every_baseline"),
    "comparable",  # False is marked as not comparable
    "own_questions",  # True is marked as over the system's own questions
    "model_of",  # the culture whose model was asked, where it was asked about others too
)
_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    **{one: f"\\{one}" for one in "&%$#_{}"},
    "*": r"$^{*}$",
    "†": r"$^{\dagger}$",
    "‡": r"$^{\ddagger}$",
    "↓": r"$^{\downarrow}$",
    "°": r"$^{\circ}$",
    "≠": r"$\neq$",
}
_MARKDOWN = re.compile(r"([\\`*_\[\]<>|~#$&])")


class Grid(NamedTuple):
    """A table of texts; its first column names the rows."""

    title: str
    head: list[str]
    rows: list[list[str]]


def write(table: Comparison, format: str) -> str:
    """The table in a format; it ends with a line break.

    Raises:
        InputError: there is no such format.
    """
    check(format)
    return FORMATS[format](table)


def check(format: str) -> None:
    """See that there is such a format.

    Raises:
        InputError: there is none.
    """
    if format not in FORMATS:
        hint = did_you_mean(format, FORMATS) or f"; there are {', '.join(FORMATS)}."
        raise InputError(f"{format!r} is no format of results{hint}")


def grids(table: Comparison) -> list[Grid]:
    """The table of methods, a table by culture for each column, and one for each model asked about other cultures."""
    made = [_methods(table), *(_by_part(table, column) for column in table.columns if column.main)]
    made += [_across(table, *key) for key in table.across]
    return [Grid(line(one.title), [*map(line, one.head)], [[*map(line, row)] for row in one.rows]) for one in made]


def line(text: str) -> str:
    """Text on one line, without what a terminal would obey or what turns writing around."""
    return " ".join(plain(text).split())


def _notes(table: Comparison) -> list[str]:
    return [line(one) for one in (*table.legend, *table.notes)]


def _methods(table: Comparison) -> Grid:
    columns = [column for column in table.columns if column.main]
    head, rows = ["Method"], {name: [name] for name in table.systems}
    for column in columns:
        head.append(column.title)
        for name in table.systems:
            cell = column.cells.get(name)
            rows[name].append(f"{column.shown(cell.value)}{column.marks(name)}" if cell else _NONE)
        if any(cell.improved for cell in column.cells.values()):
            head.append("% Imp. C.")
            for name in table.systems:
                cell = column.cells.get(name)
                rows[name].append((cell and cell.shown_improved) or _NONE)
    for name, cells in table.averages.items():
        head.append(name)
        for system in table.systems:
            rows[system].append(table.shown_average(name, system) if system in cells else _NONE)
    return Grid("Methods and benchmarks", head, list(rows.values()))


def _by_part(table: Comparison, column: Column) -> Grid:
    """A column's numbers by culture, or by task, with 95 % intervals."""
    names = [name for name in table.systems if any(name in own for own in column.numbers.values())]
    rows = []
    for part in sorted(column.numbers):
        own = column.numbers[part]
        counts = sorted({own[name].n for name in names if name in own})
        cells = [_interval(column, own.get(name)) for name in names]
        rows.append([part or column.benchmark, "-".join(map(str, dict.fromkeys((counts[0], counts[-1])))), *cells])
    if len(column.parts) > 1:
        cells = [_interval(column, column.cells.get(name)) for name in names]
        n = max(cell.n for cell in column.cells.values())
        rows.append([f"all {len(column.parts)}", str(n), *cells])
    return Grid(column.title, ["Culture" if column.cultural else "Task", "n", *names], rows)


def _interval(column: Column, found: Any) -> str:
    """A number with its interval, of a cell or of a measurement."""
    if found is None:
        return _NONE
    sign = column.sign(found)
    if found.low is None or found.high is None:
        return f"{column.shown(found.value)}{sign}"
    return f"{column.shown(found.value)}{sign} [{column.shown(found.low)}, {column.shown(found.high)}]"


def _across(table: Comparison, system: str, benchmark: str, metric: str) -> Grid:
    """How each culture's model does on each culture."""
    found = table.across[system, benchmark, metric]
    column = _column(table, benchmark, metric)
    models, asked = sorted({model for model, _ in found}), sorted({culture for _, culture in found})
    rows = [
        [model, *(column.shown(found[model, one].value if (model, one) in found else None) for one in asked)]
        for model in models
    ]
    return Grid(f"{column.title}: {system}, model by culture asked about", ["Model of", *asked], rows)


def _column(table: Comparison, benchmark: str, metric: str) -> Column:
    return next(one for one in table.columns if (one.benchmark, one.metric) == (benchmark, metric))


def _text(table: Comparison) -> str:
    blocks = ["\n".join([grid.title, *_lines(grid)]) for grid in grids(table)]
    notes = _notes(table)
    return "\n\n".join([*blocks, *(["\n".join(notes)] if notes else [])]) + "\n"


def _lines(grid: Grid) -> Iterator[str]:
    """The lines of a grid, which goes on below where it is too wide."""
    widths = [max(len(one) for one in column) for column in zip(grid.head, *grid.rows, strict=True)]
    places, start = list(range(1, len(widths))), 0
    while start < len(places) or not places:
        end, width = start, widths[0]
        while end < len(places) and (end == start or width + widths[places[end]] + 2 <= _WIDE):
            width += widths[places[end]] + 2
            end += 1
        if start:
            yield ""
        for row in (grid.head, *grid.rows):
            cells = [f"{row[place]:>{widths[place]}}" for place in places[start:end]]
            yield "  ".join([f"{row[0]:{widths[0]}}", *cells]).rstrip()
        if not places:
            return
        start = end


def _markdown(table: Comparison) -> str:
    blocks = []
    for grid in grids(table):
        rule = ["---", *["---:"] * (len(grid.head) - 1)]
        rows = [[_escaped(one) for one in row] for row in (grid.head, *grid.rows)]
        lines = ["| " + " | ".join(row) + " |" for row in (rows[0], rule, *rows[1:])]
        blocks.append("\n".join([f"**{_escaped(grid.title)}**", "", *lines]))
    notes = [f"- {_escaped(note)}" for note in _notes(table)]
    return "\n\n".join([*blocks, *(["\n".join(notes)] if notes else [])]) + "\n"


def _escaped(text: str) -> str:
    """Text that Markdown shows as it is."""
    return _MARKDOWN.sub(r"\\\1", text)


def _html(table: Comparison) -> str:
    lines = ["<!doctype html>", '<html lang="en">', '<meta charset="utf-8">', "<title>Results</title>"]
    for grid in grids(table):
        lines += ["<table>", f"<caption>{html.escape(grid.title)}</caption>"]
        lines += ["<tr>" + "".join(f"<th>{html.escape(one)}</th>" for one in grid.head) + "</tr>"]
        for first, *others in grid.rows:
            cells = "".join(f"<td>{html.escape(one)}</td>" for one in others)
            lines.append(f"<tr><th>{html.escape(first)}</th>{cells}</tr>")
        lines.append("</table>")
    lines += [f"<p>{html.escape(note)}</p>" for note in _notes(table)]
    return "\n".join([*lines, "</html>"]) + "\n"


def _latex(table: Comparison) -> str:
    blocks = []
    for grid in grids(table):
        rows = [_row_in_latex(row) for row in (grid.head, *grid.rows)]
        lines = [rf"\begin{{tabular}}{{l{'r' * (len(grid.head) - 1)}}}", r"\hline", rows[0], r"\hline"]
        lines += [*rows[1:], r"\hline", r"\end{tabular}"]
        blocks.append("\n".join([rf"\par {_in_latex(grid.title)}\par", *lines]))
    notes = [rf"\par\footnotesize {_in_latex(note)}" for note in _notes(table)]
    return "\n\n".join([*blocks, *(["{" + "\n".join(notes) + r"\par}"] if notes else [])]) + "\n"


def _row_in_latex(row: list[str]) -> str:
    """A row of a table; a bracket that begins one would be read as the room that the row above is to leave."""
    text = " & ".join(map(_in_latex, row))
    return f"{'{}' if text.startswith('[') else ''}{text} \\\\"


def _in_latex(text: str) -> str:
    return "".join(_LATEX.get(one, one) for one in text)


def _csv(table: Comparison) -> str:
    content = io.StringIO()
    writer = csv.DictWriter(content, _CSV, lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _cell(value) for name, value in row.items()} for row in rows(table))
    return content.getvalue()


def _cell(value: Any) -> Any:
    """A cell that no spreadsheet takes for a formula: text that begins like one begins with an apostrophe."""
    if not isinstance(value, str):
        return value
    text = line(value)
    return f"'{text}" if text.startswith(("=", "+", "-", "@")) else text


def rows(table: Comparison) -> list[dict[str, Any]]:
    """A row for each system, column and culture, and one for all cultures that the mean is of, with unrounded numbers.

    p-values are Holm's; what was not compared is None.
    """
    found: list[dict[str, Any]] = []
    for column in table.columns:
        common = {"benchmark": column.benchmark, "metric": column.metric, "higher_is_better": column.higher}
        for part, own in sorted(column.numbers.items()):
            found += [
                {"system": name, **common, "culture": part, **_number(column, own[name])}
                for name in table.systems
                if name in own
            ]
        found += [
            {"system": name, **common, "culture": "all", **_numbers(cell), **_signs(column, cell)}
            for name in table.systems
            if (cell := column.cells.get(name))
        ]
    for (system, benchmark, metric), across in table.across.items():
        column = _column(table, benchmark, metric)
        common = {"system": system, "benchmark": benchmark, "metric": metric, "higher_is_better": column.higher}
        found += [
            {**common, "culture": culture, "model_of": model, **_number(column, one)}
            for (model, culture), one in sorted(across.items())
            if one.of
        ]
    for title, cells in table.averages.items():
        common = {"benchmark": title, "metric": "average", "culture": "all", "higher_is_better": True}
        found += [{"system": name, **common, **_numbers(cells[name])} for name in table.systems if name in cells]
    return [{name: row.get(name) for name in _CSV} for row in found]


def _number(column: Column, one: Number) -> dict[str, Any]:
    """A part's number under the names of the columns of CSV."""
    return {"n": one.n, "value": one.value, "low": one.low, "high": one.high, **_signs(column, one)}


def _signs(column: Column, found: Cell | Number) -> dict[str, bool]:
    """Which questions a number is over, as its marks tell."""
    sign = column.sign(found)
    return {"comparable": sign != "≠", "own_questions": sign == "°"}


def _numbers(cell: Cell) -> dict[str, Any]:
    """A cell's numbers under the names of the columns of CSV."""
    found: dict[str, Any] = {"n": cell.n, "value": cell.value, "low": cell.low, "high": cell.high}
    for name, test in cell.tests.items():
        reference = name.replace(" ", "_").replace("-", "_")
        found |= {f"p_{reference}": test.p, f"difference_to_{reference}": test.difference}
    if cell.improved:
        found["cultures_improved"] = cell.improved.better
        found["cultures_compared"] = cell.improved.better + cell.improved.worse + cell.improved.equal
        found["p_improved"] = cell.improved.p
    return found


FORMATS: dict[str, Callable[[Comparison], str]] = {
    "text": _text,
    "markdown": _markdown,
    "csv": _csv,
    "html": _html,
    "latex": _latex,
}
