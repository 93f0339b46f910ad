"""Methods and benchmarks in one table: means over the same questions, cultures that improve, and marks of tests.

A column is one metric of one variant of a benchmark. Its mean is over the questions that all systems were asked
(comparable.py), of the cultures that every system was asked about; the others are named. Tests are paired (paired.py),
and Holm's within a column.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import combinations
from math import inf
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

import numpy as np

from caredio.errors import InputError
from caredio.evaluation import benchmark as declarations
from caredio.evaluation import formats, measurements, paired
from caredio.evaluation.benchmark import LIKELIHOOD, RATING, VARIANTS, Metric, is_share, named
from caredio.evaluation.benchmark import metric as declared_metric
from caredio.evaluation.measurements import BESIDE, RAW, ROLE_PLAY, WITH_ROLE_PLAY, Number
from caredio.evaluation.paired import LEVEL, Scores, SignTest, Test
from caredio.evaluation.results import MEANINGS
from caredio.intervals import ALIKE, wilson

BASELINES = "every baseline"
MARKS = {RAW: "*", ROLE_PLAY: "†", BASELINES: "‡"}  # better than these
WORSE = "↓"  # than raw
OWN = "°"  # over a system's own questions, whose scores are not there
ALONE = "≠"  # not comparable, as no question is shared
_POINTS = 20.0  # of the average, for a point of PRISM's rating
_OF_AVERAGE = (  # benchmark and metric, of the poster's average, with what a unit of it counts there
    ("culturalbench_easy", "acc", 100.0),
    ("culturalbench_hard", "acc", 100.0),
    ("prism", RATING, _POINTS),
    ("globalopinionqa", "modal_acc", 100.0),
    ("wvs", "modal_acc", 100.0),
)
AVERAGE = (
    "the mean of CulturalBench-Easy, CulturalBench-Hard, GlobalOpinionQA and WVS (per cent right) and PRISM's rating"
    " x 20"
)


class Cell(NamedTuple):
    """A system's mean in a column; p-values are Holm's."""

    value: float
    n: int
    low: float | None = None
    high: float | None = None
    tests: Mapping[str, Test] = {}  # against raw, role-play and every baseline
    improved: SignTest | None = None  # cultures, against raw
    own: bool = False  # whether it is over the system's own questions, as samples lack

    @property
    def shown_improved(self) -> str:
        """Cultures that improve of all, with a mark where that is no chance; empty where nothing is compared."""
        if self.improved is None:
            return ""
        asked = self.improved.better + self.improved.worse + self.improved.equal
        return f"{self.improved.better}/{asked}{MARKS[RAW] if self.improved.p < LEVEL else ''}"


@dataclass(frozen=True)
class Column:
    """One metric of a benchmark."""

    benchmark: str  # with its variant
    metric: str
    title: str
    higher: bool  # is better
    scale: float  # 100 where it is shown in per cent
    cultural: bool
    parts: tuple[str, ...]  # cultures, or tasks, that the mean is of
    numbers: Mapping[str, Mapping[str, Number]]  # part -> system
    cells: Mapping[str, Cell]
    main: bool = True  # whether it stands in the table of methods
    power: str = ""
    notes: tuple[str, ...] = ()

    def marks(self, system: str) -> str:
        """What a system's number is marked with."""
        if system not in self.cells:
            return ""
        return marks(self.cells[system].tests, self.higher) + OWN * self.cells[system].own

    @property
    def sampled(self) -> bool:
        """Whether the scores of a system's questions are there."""
        return any(one.scores is not None for own in self.numbers.values() for one in own.values())

    def sign(self, found: Cell | Number | None) -> str:
        """What a number is marked with that is not over the questions which the systems share."""
        if isinstance(found, Number):
            return ALONE if found.alone else OWN if found.scores is None and self.sampled else ""
        return OWN if found and found.own else ""

    def shown(self, value: float | None) -> str:
        """A number of the column as text."""
        return "-" if value is None else f"{self.scale * value:.{1 if self.scale == 100 else 3}f}"


@dataclass(frozen=True)
class Comparison:
    """What folders hold, compared; `str` of it is a table."""

    systems: tuple[str, ...]
    columns: tuple[Column, ...]
    averages: Mapping[str, Mapping[str, Cell]]  # its name -> system
    across: Mapping[tuple[str, str, str], Mapping[tuple[str, str], Number]]  # system, benchmark, metric -> model, asked
    notes: tuple[str, ...] = field(default=())

    def __str__(self) -> str:
        return self.to("text").rstrip("\n")

    def to(self, format: str) -> str:
        """The table in one of `formats.FORMATS`."""
        return formats.write(self, format)

    def shown_average(self, name: str, system: str) -> str:
        """A system's average with its marks."""
        cell = self.averages[name][system]
        return f"{cell.value:.2f}{marks(cell.tests)}"

    @property
    def legend(self) -> list[str]:
        """Sentences on what numbers and marks mean, of those that are there."""
        return _legend(self)


def build(folders: Sequence[Path | str], cultures: Sequence[str] | None = None, seed: int = 0) -> Comparison:
    """The table of what folders hold.

    Args:
        folders: as `measurements.gather`.
        cultures: slugs of those that count; all by default.
        seed: of the sign-flips and intervals that are drawn.

    Raises:
        InputError: as `measurements.gather`, or nothing is there of these cultures.
    """
    every, notes = measurements.gather(folders)
    if cultures is not None:
        every = [one for one in every if not one.cultural or one.part in cultures]
        if unknown := sorted(set(cultures) - {one.part for one in every}):
            raise InputError(f"nothing was measured on {', '.join(unknown)}; leave that out of cultures.")
    numbers = [one for one in every if not one.of]
    systems = _ordered(numbers)
    columns = [
        _column(benchmark, metric, numbers, systems, seed)
        for benchmark, metric in sorted(dict.fromkeys((one.benchmark, one.metric) for one in numbers), key=_declared)
    ]
    columns = _with_main(columns)
    averages = {name: found for name, among in _averages(columns) if (found := _average(among, systems, seed))}
    notes += list(
        {
            (column.benchmark, note): f"{column.title}: {note}" for column in reversed(columns) for note in column.notes
        }.values()
    )[::-1]
    notes += [*_seeds(systems, columns), *_beside(columns, systems)]
    if not averages:
        notes += _no_average(columns)
    return Comparison(tuple(systems), tuple(columns), averages, _across(every), tuple(dict.fromkeys(notes)))


def _legend(table: Comparison) -> list[str]:
    shown = "".join(
        [*(column.marks(name) for column in table.columns for name in column.cells), *_average_marks(table)]
    )
    found = [f"{mark} better than {name}" for name, mark in MARKS.items() if mark in shown]
    found += [f"{WORSE} worse than {RAW}"] * (WORSE in shown)
    tested = f"p < {LEVEL} in paired tests on the same questions, Holm's within a column"
    lines = [f"{', '.join(found)}: {tested}."] if found else []
    signs = {column.sign(one) for column in table.columns for own in column.numbers.values() for one in own.values()}
    if OWN in signs:
        lines.append(f"{OWN}: over the system's own questions, as it has no samples that tell which others share.")
    if ALONE in signs:
        lines.append(f"{ALONE}: not comparable, as no question was asked of all.")
    if any(cell.improved for column in table.columns for cell in column.cells.values()):
        lines.append(
            f"% Imp. C.: cultures with a better number than {RAW}, of those that both have; {MARKS[RAW]} p < {LEVEL} by"
            " the sign test over these, Holm's within a column."
        )
    for column in table.columns:
        kind = "cultures" if column.cultural else "tasks"
        if column.main and len(column.parts) > 1:
            lines.append(f"{column.title}: the mean over the questions that all share, of {len(column.parts)} {kind}.")
    lines += _kinds([column for column in table.columns if column.main and column.sampled])
    lines += [f"{column.title}: lower is better." for column in table.columns if column.main and not column.higher]
    lines += [f"{name}: {AVERAGE}." for name in table.averages]
    declared = dict.fromkeys(
        declarations.declared()[one.benchmark][0]
        for one in table.columns
        if one.main and one.benchmark in declarations.declared()
    )
    lines += [f"{one.title}: {one.notes}" for one in declared if one.notes]
    lines += [
        f"{one.title}: its reader was tested on rows in the published format alone." for one in declared if not one.real
    ]
    lines += [f"{name}: {MEANINGS[name]}." for name in table.systems if name in MEANINGS]
    return lines + [column.power for column in table.columns if column.main and column.power]


def _kinds(columns: Sequence[Column]) -> list[str]:
    """A sentence on the intervals of columns whose scores are there."""
    wilsons = [column.title for column in columns if column.scale == 100 and _right_or_wrong(column.numbers)]
    drawn = [column.title for column in columns if column.title not in wilsons]
    shared = ", and a bootstrap over questions of all cultures where these share some" * bool(wilsons)
    found = [f"Wilson's of {', '.join(wilsons)}, whose scores are right or wrong{shared}"] if wilsons else []
    found += [
        f"a bootstrap over questions of {', '.join(drawn)} (of equal scores Wilson's of a share, and else none);"
        " `caredio evaluate` has Wilson's, which is wider, of every share"
    ] * bool(drawn)
    return [f"95 % intervals: {'; '.join(found)}."] if found else []


def _average_marks(table: Comparison) -> list[str]:
    return [marks(cell.tests) for cells in table.averages.values() for cell in cells.values()]


def marks(tests: Mapping[str, Test], higher: bool = True) -> str:
    """The marks of tests: what a system is better than, and whether it is worse than raw."""
    sign = 1 if higher else -1
    found = [MARKS[name] for name, test in tests.items() if test.p < LEVEL and sign * test.difference > 0]
    worse = RAW in tests and tests[RAW].p < LEVEL and sign * tests[RAW].difference < 0
    return "".join(found) + (WORSE if worse else "")


def _ordered(numbers: Sequence[Number]) -> list[str]:
    """The systems: raw and role-play first, then folder by folder, those who know nothing last and as they are told."""
    constants, told = {one.system for one in numbers if one.constant}, list(MEANINGS)
    first, folders = {RAW: 0, ROLE_PLAY: 1}, list(dict.fromkeys(one.folder for one in numbers))
    place: dict[str, int] = {}
    for one in numbers:
        place[one.system] = min(folders.index(one.folder), place.get(one.system, len(folders)))
    return sorted(
        place,
        key=lambda name: (
            name in constants,
            told.index(name) if name in told else first.get(name, 2),
            place[name],
            "" if name in constants else name,
        ),
    )


def _declared(column: tuple[str, str]) -> int:
    """The place of a benchmark among those that are declared; others stand behind them, as they were found."""
    known = list(declarations.declared())
    return known.index(column[0]) if column[0] in known else len(known)


def _column(benchmark: str, metric: str, every: Sequence[Number], systems: Sequence[str], seed: int) -> Column:
    numbers: dict[str, dict[str, Number]] = {}
    for one in every:
        if (one.benchmark, one.metric) == (benchmark, metric):
            numbers.setdefault(one.part, {})[one.system] = one
    asked = [name for name in systems if any(name in own and not own[name].constant for own in numbers.values())]
    parts = tuple(
        part
        for part in sorted(numbers)
        if all(name in numbers[part] and not numbers[part][name].alone for name in asked)
    )
    first = next(iter(next(iter(numbers.values())).values()))
    title, scale = _title(benchmark, metric, [one for own in numbers.values() for one in own.values()])
    bits = _right_or_wrong(numbers)
    if not bits:
        numbers = {part: {name: _drawn(one) for name, one in own.items()} for part, own in numbers.items()}
    scores = {name: _scores(numbers, parts, name) for name in asked}
    cells = {
        name: _cell(numbers, parts, name, scores.get(name), scale == 100, bits, seed)
        for name in systems
        if parts and all(name in numbers[part] for part in parts)
    }
    known = {name: found for name, found in scores.items() if found and metric not in BESIDE}
    if known and parts:
        for name, tests in _tested(known, first.higher, seed).items():
            cells[name] = cells[name]._replace(tests=tests)
    if first.cultural and metric not in BESIDE:
        for name, improved in _improved(numbers, cells.keys() & {*asked}, first.higher).items():
            cells[name] = cells[name]._replace(improved=improved)
    power = _power(known, title, scale)
    notes = _column_notes(numbers, parts, asked)
    if any(cell.improved for cell in cells.values()):
        notes += _unsampled_notes(numbers, [name for name in asked if name != RAW])
    return Column(
        benchmark, metric, title, first.higher, scale, first.cultural, parts, numbers, cells, True, power, notes
    )


def _title(benchmark: str, metric: str, numbers: Sequence[Number]) -> tuple[str, float]:
    """The heading of a column, and what a number is shown times."""
    one, variant = declarations.declared().get(benchmark, (None, ""))
    found = declared_metric(benchmark, metric)
    scores = [score for number in numbers for score in (number.scores or {"": number.value}).values()]
    scale = 100.0 if is_share(benchmark, metric, scores) else 1.0
    own = next((number.title for number in numbers if number.title), "")  # of a table of one's own
    if one is None and not own:
        return f"{benchmark}, {metric}", scale
    if one is None:
        variant = next((name for name in VARIANTS if name and benchmark.endswith(f"_{name}")), LIKELIHOOD)
        every = (known for other, way in declarations.declared().values() for known in other.metrics(way))
        found = next((known for known in every if known.name == metric), None)
    title = f"{one.title if one else own}{variant and f', {variant}'}"
    return declarations.heading(title, found or Metric(metric, metric)), scale


def _right_or_wrong(numbers: Mapping[str, Mapping[str, Number]]) -> bool:
    """Whether every score that is there is right or wrong, and nothing between."""
    return {score for own in numbers.values() for one in own.values() for score in (one.scores or {}).values()} <= {
        0,
        1,
    }


def _drawn(number: Number) -> Number:
    """The number with the interval of a bootstrap also where its own scores happen to be right or wrong alone."""
    if not number.scores or set(number.scores.values()) != {0, 1}:
        return number
    low, high = paired.interval({"": number.scores})
    return replace(number, low=low, high=high)


def _scores(numbers: Mapping[str, Mapping[str, Number]], parts: Sequence[str], system: str) -> Scores | None:
    """A system's scores by part and question; None where a part has none."""
    found = {part: numbers[part][system].scores for part in parts}
    return {part: scores for part, scores in found.items() if scores} if found and all(found.values()) else None


def _cell(
    numbers: Mapping[str, Mapping[str, Number]],
    parts: Sequence[str],
    system: str,
    scores: Scores | None,
    share: bool,
    bits: bool,
    seed: int,
) -> Cell:
    """The mean over all questions of the parts."""
    own = [numbers[part][system] for part in parts]
    n = sum(one.n for one in own)
    value = sum(one.n * one.value for one in own) / n if n else fmean(one.value for one in own)
    low, high = (own[0].low, own[0].high) if len(own) == 1 else _interval(scores, value, share, bits, seed)
    beside = any(one.scores is not None for part in parts for one in numbers[part].values())
    return Cell(value, n, low, high, own=beside and any(one.scores is None for one in own))


def _interval(
    scores: Scores | None, value: float, share: bool, bits: bool, seed: int
) -> tuple[float | None, float | None]:
    """As `intervals.of_mean`, with questions drawn jointly for all cultures that are asked them.

    Args:
        bits: whether every score of the column is right or wrong, so that all its systems have one kind of interval.
    """
    if not scores:
        return None, None
    n = sum(map(len, scores.values()))
    questions = paired.count(scores)
    found = paired.interval(scores, seed)
    alike = found[1] - found[0] < ALIKE
    if share and (alike or (bits and n == questions)):
        return wilson(value, questions)
    return (None, None) if alike else found


def _tested(scores: Mapping[str, Scores], higher: bool, seed: int) -> dict[str, dict[str, Test]]:
    """System -> reference -> its test, with Holm's p-values over all of them."""
    sign = 1 if higher else -1
    found: list[tuple[str, str, Test]] = []

    @cache
    def between(one: str, other: str) -> Test:
        if one > other:  # each pair once
            turned = between(other, one)
            return turned._replace(difference=-turned.difference)
        return paired.compare(scores[one], scores[other], seed)

    for name in scores:
        if name == RAW:
            continue
        references = [one for one in (RAW, ROLE_PLAY) if one in scores and one != name]
        found += [(name, one, between(name, one)) for one in references]
        if name != ROLE_PLAY and (rivals := _rivals(name, scores)):
            tests = [between(name, rival) for rival in rivals]
            # all are beaten only if the hardest is, so that no p-value is picked among several
            lost = [test._replace(p=1.0) for test in tests if sign * test.difference <= 0]
            found.append((name, BASELINES, lost[0] if lost else max(tests, key=lambda test: test.p)))
    adjusted = paired.holm([test.p for _, _, test in found])
    tests_of: dict[str, dict[str, Test]] = {}
    for (name, reference, test), p in zip(found, adjusted, strict=True):
        tests_of.setdefault(name, {})[reference] = test._replace(p=p)
    return tests_of


def _rivals(system: str, systems: Iterable[str]) -> list[str]:
    """The systems of other methods: not raw, role-play, another seed, or the same with a part to play."""
    seeds = {name: method for method, names in paired.of_seeds(systems).items() for name in names}

    def method(name: str) -> str:
        return seeds.get(name, name).removesuffix(WITH_ROLE_PLAY)

    return [name for name in systems if name not in (RAW, ROLE_PLAY) and method(name) != method(system)]


def _improved(numbers: Mapping[str, Mapping[str, Number]], systems: Set[str], higher: bool) -> dict[str, SignTest]:
    """System -> how many cultures it is better on than raw, with Holm's p-values over the systems.

    Each system is tested over the cultures that it and raw have, whatever others have.
    """
    sign, found = 1 if higher else -1, {}
    for name in sorted(systems - {RAW}):
        every = [_difference(own[name], own[RAW]) for own in numbers.values() if name in own and RAW in own]
        known = [sign * one for one in every if one is not None]
        if len(known) > 1:
            found[name] = paired.sign_test(known)
    adjusted = paired.holm([one.p for one in found.values()])
    return {name: one._replace(p=p) for (name, one), p in zip(found.items(), adjusted, strict=True)}


def _difference(one: Number, other: Number) -> float | None:
    """Of two numbers of a part, on the questions that both answered; None where there are none.

    Where a number has no samples, the questions count as the same if they are as many.
    """
    if one.scores and other.scores:
        common = paired.differences({"": one.scores}, {"": other.scores})
        return paired.mean(common) if common else None
    return paired.mean({"": {"": one.value - other.value}}) if one.n == other.n else None


def _unsampled_notes(numbers: Mapping[str, Mapping[str, Number]], systems: Sequence[str]) -> tuple[str, ...]:
    """Sentences on the cultures whose numbers have no samples, in the sign test, without the column's title."""
    notes = []
    for name in systems:
        pairs = {part: (own[name], own[RAW]) for part, own in sorted(numbers.items()) if name in own and RAW in own}
        alone = {part: pair for part, pair in pairs.items() if not all(one.scores for one in pair)}
        counted = [part for part, (one, other) in alone.items() if one.n == other.n]
        if counted:
            notes.append(
                f"% Imp. C. of {name} takes {len(counted)} of {len(pairs)} cultures from numbers without samples: as"
                f" many questions as {RAW}'s, not known to be the same."
            )
        notes += [
            f"% Imp. C. of {name} leaves out {part}, as without samples {one.n} questions are not {RAW}'s {other.n}."
            for part, (one, other) in alone.items()
            if one.n != other.n
        ]
    return tuple(notes)


def _power(scores: Mapping[str, Scores], title: str, scale: float) -> str:
    """What the questions of a column can show."""
    if len(scores) < 2:
        return ""
    one, other = list(scores.values())[:2]
    values = [score for own in scores.values() for questions in own.values() for score in questions.values()]
    common = paired.differences(other, one)
    n = paired.count(common)
    if not n:
        return ""
    if set(values) <= {0, 1}:
        return f"{title}: {paired.power_sentence(n)}"
    deviation = float(np.std(paired.clusters(common) * n))
    return (
        f"{title}: {paired.power_sentence(n, scale * deviation, scale if scale == 100 else inf)}" if deviation else ""
    )


def _column_notes(
    numbers: Mapping[str, Mapping[str, Number]], parts: Sequence[str], asked: Sequence[str]
) -> tuple[str, ...]:
    """Sentences on what a column leaves out, without its title."""
    notes = []
    for part in sorted(set(numbers) - set(parts)):
        own = numbers[part]
        if lacking := ", ".join(name for name in asked if name not in own):
            notes.append(f"{part} is not in the mean, as {lacking} has no number on it.")
        if alone := [name for name in asked if name in own and own[name].alone]:
            one, other = next(
                (
                    pair
                    for pair in combinations(alone, 2)
                    if not {*_questions(own[pair[0]])} & {*_questions(own[pair[1]])}
                ),
                ("all", "systems"),
            )
            who = f"{one} and {other}" if other in own else "all systems"
            of = ", ".join(f"{name} {own[name].n}" for name in alone)
            notes.append(f"{part} is not in the mean, as {who} share no question of it ({of}); not comparable.")
    every = [numbers[part] for part in parts]
    left = {name: sum(own[name].left for own in every) for name in asked}
    if any(left.values()):
        n = max(sum(own[name].n for own in every) for name in asked if left[name])
        of = ", ".join(
            f"{name} {count} of {count + sum(own[name].n for own in every)}" for name, count in left.items() if count
        )
        notes.append(f"the mean is over the {n} question{'s' * (n != 1)} that all systems share; left out: {of}.")
    return tuple(notes)


def _questions(number: Number) -> Mapping[str, float]:
    return number.scores or {}


def _with_main(columns: Sequence[Column]) -> list[Column]:
    """The columns, of each benchmark the first in the table of methods, those of the average, and what is no share."""
    first: dict[str, str] = {}
    found = []
    for column in columns:
        if column.metric not in BESIDE:
            first.setdefault(column.benchmark, column.metric)
        declared = declared_metric(column.benchmark, column.metric)
        main = first.get(column.benchmark) == column.metric or bool(declared and not declared.share)
        main |= any(_is(column, *wanted[:2], variant) for wanted in _OF_AVERAGE for variant in VARIANTS)
        found.append(replace(column, main=main and column.metric not in BESIDE))
    return found


def _is(column: Column, benchmark: str, metric: str, variant: str) -> bool:
    """Whether a column is one of the average's in a variant; PRISM's answers are always written, and then rated."""
    if column.metric != metric:
        return False
    return (
        column.benchmark.startswith(f"{benchmark}_")
        if metric == RATING
        else column.benchmark == named(benchmark, variant)
    )


def _averages(columns: Sequence[Column]) -> list[tuple[str, list[tuple[Column, float]]]]:
    """The averages that can be had: its name, and its columns with what a unit counts, never of several variants."""
    found = []
    for variant in VARIANTS:
        among = [
            (column, unit)
            for benchmark, metric, unit in _OF_AVERAGE
            for column in columns
            if _is(column, benchmark, metric, variant)
        ]
        if [column.metric for column, _ in among] == [metric for _, metric, _ in _OF_AVERAGE]:
            found.append((f"Average{variant and f', {variant}'}", among))
    return found


def _average(among: Sequence[tuple[Column, float]], systems: Sequence[str], seed: int) -> dict[str, Cell]:
    """System -> the average, with its test against raw where all columns have samples."""
    found: dict[str, Cell] = {}
    p: dict[str, float] = {}
    questions: dict[str, int] = {}
    for system in systems:
        own = [(column.cells[system], unit) for column, unit in among if system in column.cells]
        if len(own) < len(among):
            continue
        value = fmean(unit * cell.value for cell, unit in own)
        found[system] = Cell(value, sum(cell.n for cell, _ in own))
        pairs = [
            (_source(c.benchmark), _scores(c.numbers, c.parts, system), _scores(c.numbers, c.parts, RAW), unit)
            for c, unit in among
            if RAW in c.cells
        ]
        if system != RAW and len(pairs) == len(among) and all(one and other for _, one, other, _ in pairs):
            flips = paired.joined(
                (source, paired.differences(one, other), unit / len(among))
                for source, one, other, unit in pairs
                if one and other
            )
            p[system], questions[system] = paired.sign_flips(flips, seed), len(flips)
    for system, adjusted in zip(p, paired.holm(list(p.values())), strict=True):
        difference = found[system].value - found[RAW].value
        test = Test(difference, found[system].n, questions[system], adjusted, "sign-flips")
        found[system] = found[system]._replace(tests={RAW: test})
    return found


def _source(benchmark: str) -> str:
    """The data that a column's questions are of: CulturalBench-Easy and -Hard ask the same ones."""
    return declarations.declared()[benchmark][0].source if benchmark in declarations.declared() else benchmark


def _no_average(columns: Sequence[Column]) -> list[str]:
    """A sentence on what the average lacks, where one of its columns is there."""
    there = [base for base, metric, _ in _OF_AVERAGE for one in columns for v in VARIANTS if _is(one, base, metric, v)]
    if not there:
        return []
    lacking = [base for base, _, _ in _OF_AVERAGE if base not in there]
    rated = [one.benchmark for one in columns if _is(one, "prism", RATING, LIKELIHOOD)]
    why = f"missing: {', '.join(lacking)}" if lacking else "they are not here in one variant"
    if len(rated) > 1 and not lacking:
        why = f"PRISM is rated in {' and '.join(rated)}, and none of these is the one to take; keep one"
    return [f"No average is given: it is {AVERAGE}; {why}."]


def _seeds(systems: Sequence[str], columns: Sequence[Column]) -> list[str]:
    """Sentences with the numbers of a method's seeds, which are too few for an interval."""
    return [
        f"{column.title}: {method} with {len(points)} seeds: {', '.join(points)}; points, as so few cannot be"
        " bootstrapped."
        for method, names in paired.of_seeds(systems).items()
        for column in columns
        if column.main
        for points in [[column.shown(column.cells[name].value) for name in names if name in column.cells]]
        if len(points) > 1
    ]


def _beside(columns: Sequence[Column], systems: Sequence[str]) -> list[str]:
    """Sentences on how replies are."""
    return [
        f"{column.title}{', per cent' if column.scale == 100 else ''}: "
        + ", ".join(f"{name} {column.shown(column.cells[name].value)}" for name in systems if name in column.cells)
        + "."
        for column in columns
        if column.metric in BESIDE and column.cells
    ]


def _across(
    numbers: Iterable[Number],
) -> dict[tuple[str, str, str], dict[tuple[str, str], Number]]:
    """System, benchmark, metric -> the culture of a model, the culture asked about -> its number."""
    every = [one for one in numbers if one.cultural and not one.constant]
    wanted = {(one.system, one.benchmark, one.metric) for one in every if one.of}
    found: dict[tuple[str, str, str], dict[tuple[str, str], Number]] = {}
    for one in every:
        key = (one.system, one.benchmark, one.metric)
        if key in wanted:
            found.setdefault(key, {})[one.of or one.part, one.part] = one
    return found
