"""What a judge found: means of ratings or win rates, by culture, category and geographic scope, with intervals.

All numbers come from judged samples as judge.py writes them. Intervals are percentiles of a bootstrap over questions,
jointly for all cultures that are asked them. What the judge did not rate is left out of every mean, and counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

import numpy as np

from caredio import reasons
from caredio.evaluation import formats, pairwise, samples
from caredio.evaluation.agreement import Agreement
from caredio.evaluation.pairwise import Pair, Rate
from caredio.evaluation.side_by_side import order

DRAWS = 1000
REGRESSIONS = 200  # of these draws, for the interval of the rate at equal length
RATING, WIN, UNPARSED = "rating", "win", "unparsed"  # metrics of judged samples
ALL = "all"
GROUPS = (ALL, "category", "scope")  # within all cultures, and within each


class Arm(NamedTuple):
    """The judged samples of a system on a benchmark and a culture."""

    benchmark: str  # of the judged samples
    system: str
    culture: str
    rows: Sequence[Mapping[str, Any]]
    rival: str = ""  # whom it is compared with


@dataclass(frozen=True)
class Judged:
    """What a judge found; `str` of it is a table.

    `lines`: a dict for each benchmark, culture (empty: all together), category or scope (`by`, `value`) and system: n,
    unparsed, and of ratings `mean`, of comparisons `win_rate` and `length_controlled`, with `_low` and `_high`.
    `unparsed`: reason -> how many of the judge's answers were none. `asked`: how many answers there are.
    `changed`: of what was judged several times, the share where answers differ; `spread`: the mean of highest less
    lowest.
    """

    judge: str
    lines: tuple[dict[str, Any], ...]
    asked: int
    unparsed: Mapping[str, int]
    changed: float | None = None
    spread: float | None = None
    agreement: tuple[Agreement, ...] = ()
    unmatched: int = 0  # of people's rows
    written: tuple[Path, ...] = ()
    notes: tuple[str, ...] = field(default=())

    def __str__(self) -> str:
        shown: list[str] = []
        title = ("", "")
        for line in self.lines:
            group = line["culture"] or ALL
            group += f", {line['by']}: {formats.line(line['value'])}" if line["value"] else ""
            if title != (line["benchmark"], group):
                if title[0] != line["benchmark"]:
                    shown.append(formats.line(f"{line['benchmark']}, judged by {self.judge}"))
                title = (line["benchmark"], group)
                shown.append(f"  {group}")
            shown.append(f"    {_cells(line)}")
        return "\n".join([*shown, *self._footer()])

    def _footer(self) -> Iterator[str]:
        if any(WIN in line["metric"] for line in self.lines):
            yield "Per cent of questions won, ties as halves, with the 95 % interval of a bootstrap over questions;"
            yield "Wilson's where all questions end alike."
            yield "A verdict that changes with the order of the replies is a tie."
        else:
            yield "Mean rating with the 95 % interval of a bootstrap over questions."
        if self.unparsed:
            why = ", ".join(f"{count} {reason}" for reason, count in Counter(self.unparsed).most_common())
            total = sum(self.unparsed.values())
            advice = reasons.advice(self.unparsed)
            yield f"{total} of {self.asked} answers of the judge are left out ({why}){advice and f': {advice}'}."
        if self.changed is not None:
            yield f"Of what was judged several times, answers to {100 * self.changed:.1f} % differ; highest and lowest"
            yield f"lie {self.spread:.2f} apart on average."
        yield from map(str, self.agreement)
        if self.unmatched:
            yield f"{self.unmatched} rows of people's ratings are about no reply that the judge rated."
        yield from map(formats.line, self.notes)


def _cells(line: Mapping[str, Any]) -> str:
    left = f", {line['unparsed']} left out" if line["unparsed"] else ""
    system = formats.line(line["system"])
    if line["metric"] == RATING:
        ends = "" if line["low"] is None else f" [{line['low']:.2f}, {line['high']:.2f}]"
        text = f"{line['mean']:.2f}{ends}" if line["n"] else "-"
        return f"{system:24} {text} n={line['n']}{left}, {line['characters']:.0f} characters"
    won, equal = (_percent(line, name) for name in ("win_rate", "length_controlled"))
    flips = f"{line['position_flips']} flips"
    return (
        f"{system:24} {won} over {formats.line(line['against'])}, {equal} at equal length, n={line['n']}, {flips}{left}"
    )


def _percent(line: Mapping[str, Any], name: str) -> str:
    if line[name] is None:
        return "-"
    ends = (
        "" if line[f"{name}_low"] is None else f" [{100 * line[f'{name}_low']:.1f}, {100 * line[f'{name}_high']:.1f}]"
    )
    return f"{100 * line[name]:.1f}{ends}"


def lines(arms: Sequence[Arm], seed: int = 0) -> tuple[dict[str, Any], ...]:
    """A line for each benchmark, group and system: of all cultures together, then of each where there are several."""
    found = []
    for benchmark in dict.fromkeys(arm.benchmark for arm in arms):
        every = [arm for arm in arms if arm.benchmark == benchmark]
        cultures = sorted({arm.culture for arm in every if arm.culture})
        for culture in ["", *(cultures if len(cultures) > 1 else [])]:
            own = [arm for arm in every if culture in ("", arm.culture)]
            for (by, value), group in _groups(own).items():
                about = {"benchmark": benchmark, "culture": culture, "by": by, "value": value}
                found += [
                    {**about, "system": system, **_numbers(rows, rival, not culture and by == ALL, seed)}
                    for (system, rival), rows in sorted(group.items(), key=lambda one: order(one[0][0]))
                ]
    return tuple(found)


def _groups(arms: Sequence[Arm]) -> dict[tuple[str, str], dict[tuple[str, str], list[Mapping[str, Any]]]]:
    """What is grouped by, and its value -> system and rival -> rows. A group that is all there is, is left out."""
    found: dict[tuple[str, str], dict[tuple[str, str], list[Mapping[str, Any]]]] = {}
    for by in GROUPS:
        values = sorted({value for arm in arms for row in arm.rows if (value := _value(row, by)) is not None})
        for value in values if by == ALL or len(values) > 1 else []:
            group = found.setdefault((by, value), {})
            for arm in arms:
                if rows := [row for row in arm.rows if _value(row, by) == value]:
                    group.setdefault((arm.system, arm.rival), []).extend(rows)
    return found


def _value(row: Mapping[str, Any], by: str) -> str | None:
    return "" if by == ALL else row["judged"][by]


def _numbers(rows: Sequence[Mapping[str, Any]], rival: str, whole: bool, seed: int) -> dict[str, Any]:
    """What a group's rows come to; `whole`: the group is all of them."""
    metric = WIN if rival else RATING
    kept = [row for row in rows if metric in row]
    questions = [samples.question(row) for row in kept]
    counts = drawn(questions, seed)
    about = {"metric": metric, "n": len(kept), "unparsed": len(rows) - len(kept)}
    if metric == RATING:
        mean = _mean([row[RATING] for row in kept], counts)
        lengths = [length for row in rows for length in row["judged"]["characters"]]
        return about | {"mean": mean.value, "low": mean.low, "high": mean.high, "characters": fmean(lengths)}
    pairs = [Pair(name, row[WIN], row["judged"]["longer"]) for name, row in zip(questions, kept, strict=True)]
    nothing = Rate(None, None, None)
    found = {
        "win_rate": pairwise.win_rate(pairs, counts) if pairs else nothing,
        # a regression a draw: an interval over all alone, of fewer of them
        "length_controlled": pairwise.length_controlled(pairs, counts[: 1 + (REGRESSIONS if whole else 0)])
        if pairs
        else nothing,
    }
    about |= {"against": rival, "position_flips": sum(row["judged"]["flips"] for row in rows)}
    for name, one in found.items():
        about |= {name: one.value, f"{name}_low": one.low, f"{name}_high": one.high}
    return about


def _mean(values: Sequence[float], counts: np.ndarray) -> Rate:
    if not values:
        return Rate(None, None, None)
    return pairwise.rate((counts @ np.array(values)) / counts.sum(axis=1))


def drawn(questions: Sequence[str], seed: int) -> np.ndarray:
    """How often each row counts: once in the first line, in the others as often as its question is drawn."""
    place = {name: number for number, name in enumerate(dict.fromkeys(questions))}
    if not place:
        return np.ones((1, 0))
    shares = np.full(len(place), 1 / len(place))
    counts = np.random.default_rng(seed).multinomial(len(place), shares, size=DRAWS)
    return np.vstack([np.ones(len(questions)), counts[:, [place[name] for name in questions]]])


def unparsed(arms: Sequence[Arm]) -> tuple[int, dict[str, int]]:
    """How many answers the judge gave, and of those that are none, reason -> how many."""
    answers = [answer for arm in arms for row in arm.rows for answer in row["judged"]["answers"]]
    return len(answers), dict(Counter(answer["why"] for answer in answers if answer["why"]))


def disagreement(arms: Sequence[Arm]) -> tuple[float | None, float | None]:
    """Of what was judged several times, the share where answers differ, and how far these lie apart in the mean.

    A comparison in the other order is another question. None where nothing was judged twice.
    """
    ranges = []
    for arm in arms:
        for row in arm.rows:
            of_a_question: dict[Any, list[float]] = {}
            for answer in row["judged"]["answers"]:
                if answer["value"] is not None:
                    of_a_question.setdefault((answer["reply"], answer["swapped"]), []).append(answer["value"])
            ranges += [max(values) - min(values) for values in of_a_question.values() if len(values) > 1]
    if not ranges:
        return None, None
    return fmean(one > 0 for one in ranges), fmean(ranges)
