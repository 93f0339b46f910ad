"""What more rows bring: trainings of nested budgets, ours against rows by chance, measured on questions none learned.

Every arm takes the same number of steps from the same weights with the same seed, so that a larger budget is other rows
and not a longer training (seed 001, Figure 2, which says nothing of steps). Budgets are nested: the rows of a smaller
one are the first of a larger one's.

    curve/<culture>/<ranking>-<budget>/     an arm
    curve/<culture>/rows/<ranking>/         the rows it takes the first of
    curve/curve.jsonl  curve.md  curve.png  curve.svg
"""

from __future__ import annotations

import json
import logging
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset

from caredio import checkpoints, cultures, disk, features, packages, plots, yamlfile
from caredio.errors import InputError
from caredio.llm.local import model_path
from caredio.llm.spec import LOCAL_MODEL
from caredio.runs import Run
from caredio.training import arms, bootstrap, curve_report, heldout, nested, pipeline, views
from caredio.training.arms import Arm
from caredio.training.heldout import Loss
from caredio.training.nested import ALL, BY_CHANCE, EVERY, OURS, SELECTED, UNTRAINED, Point, Pool
from caredio.training.options import Curve, Train
from caredio.training.pipeline import Schedule, Source

log = logging.getLogger("caredio")

_METHODS = ("sft", "dpo", "kto", "simpo")  # those whose models are measured by the likelihood of answers
_FILE = "heldout.json"


@dataclass(frozen=True)
class Curves:
    """What `curve` measured.

    Attributes:
        path: its folder.
        table: a line an arm and kind of held-out answers, as curve.jsonl holds them.
        text: curve.md.
        pictures: files.
    """

    path: Path
    table: list[dict[str, Any]]
    text: str
    pictures: list[Path]

    def __str__(self) -> str:
        return f"{self.text.rstrip()}\n\n{self.path} holds it, with curve.jsonl and the picture"


class Curving:
    """Curves whose arguments are checked: their plan, or their run."""

    def __init__(
        self,
        data: Path | str,
        chosen: Sequence[str] | None,
        out: Path | str | None,
        budgets: Sequence[int],
        rankings: Sequence[str],
        train: Train,
        curve: Curve,
    ) -> None:
        packages.require("training", "train", *pipeline.PACKAGES)
        self.data, self.train, self.curve = Path(data), train, curve
        self.method, self.budgets = pipeline.method(train), _rising(budgets)
        runs = {Path(one).name: Path(one) for one in rankings if (Path(one) / "run.json").is_file()}
        self.names = _checked([Path(one).name if Path(one) in runs.values() else one for one in rankings], runs)
        if train.method not in _METHODS:
            raise InputError(f"method is {train.method!r}; curve trains by {', '.join(_METHODS)}.")
        if set(self.method.own_flags) & {"max_steps", "budget"}:
            raise InputError("max_steps and budget are not flags to give here; curve takes --steps and --budgets.")
        self.path = pipeline.folder(data, out, "curve")
        self.steps = curve.steps or math.ceil(self.budgets[-1] / arms.rows_per_step(self.method.values))
        self.pools = _pools(Path(data), chosen, curve.test_share, runs)
        self.rows: dict[tuple[str, str], Dataset] = {}
        self.arms = {
            point: self._arm(point)
            for culture, found in self.pools.items()
            for point in nested.points(
                culture, self.names, self.budgets, curve.seeds, nested.held(found, [*self.names, ALL])
            )
        }
        self.records = {point: arms.finished(arm) for point, arm in self.arms.items()}

    def _arm(self, point: Point) -> Arm:
        if (key := (point.culture, point.rows)) not in self.rows:
            ranked = nested.order(self.pools[point.culture], point.ranking, point.seed)
            self.rows[key] = self._table(ranked)
        source = Source(point.culture, str(self._place(*key)), "default")
        folder, budget = self.path / point.culture / point.arm, 0 if point.ranking == ALL else point.budget
        given = {"budget": budget, "max_steps": self.steps}
        return self.method.arm(f"{point.culture}, {point.arm}", folder, source, self.rows[key], **given)

    def _table(self, ranked: Dataset) -> Dataset:
        """What the recipe reads of ranked rows: pairs are made as those of the run were."""
        table = self.method.recipe.table
        if table == "ranked":
            return views.sft(ranked)
        with Run(self.data, create=False) as run:
            pairs = views.of_run(run, ranked, *views.settings_of(run))
        return pairs if table == "preference" else views.unpaired(pairs)

    def _place(self, culture: str, rows: str) -> Path:
        return self.path / culture / "rows" / rows

    def plan(self) -> Schedule:
        if self.train.timed:  # which reads rows
            self._write()
        return pipeline.schedule(list(self.arms.values()), list(self.records.values()), self.train)

    def result(self) -> Curves:
        with pipeline.working(self.path):
            self._write()
            for point, arm in self.arms.items():
                self.records[point] = pipeline.run(arm, self.records[point], self.train)
            measured = self._measured()
            table = [line for group in measured for line in curve_report.lines(group, measured[group])]
            text = self._text(measured)
            with disk.replacing(self.path / "curve.jsonl") as content:
                content.write("".join(json.dumps(line) + "\n" for line in table).encode())
            with disk.replacing(self.path / "curve.md") as content:
                content.write(text.encode())
            found = {f"{culture}, {kind}": curve_report.drawn(sums) for (culture, kind), sums in measured.items()}
            pictures = plots.lines(found, self.path / "curve", "rows", "bits a byte of held-out answers")
        return Curves(self.path, table, text, pictures)

    def _write(self) -> None:
        """The rows of every ranking as a folder that `load_dataset` reads; equal ones are left, as they are cached."""
        for key, table in self.rows.items():
            pipeline.keep(table, self._place(*key))

    def _measured(self) -> dict[tuple[str, str], dict[Point, np.ndarray]]:
        """(culture, kind of held-out answers) -> arm -> what `bootstrap.by_question` returns."""
        base, found = _Base(self.method.values), defaultdict[tuple[str, str], dict[Point, np.ndarray]](dict)
        for culture, own in self.pools.items():
            begun = Point(culture, UNTRAINED, None, 0)
            for point in (begun, *(point for point in self.arms if point.culture == culture)):
                losses = base.losses(self.path / culture / point.arm, own.held_out, point is not begun)
                for kind in (EVERY, SELECTED):
                    if rows := own.measured(kind):
                        questions = [own.held_out[row]["question_id"] for row in rows]
                        sums = bootstrap.by_question(questions, [losses[row] for row in rows])
                        found[culture, kind][point] = sums
        return dict(found)

    def _text(self, measured: Mapping[tuple[str, str], Mapping[Point, np.ndarray]]) -> str:
        values = self.method.values
        head = _HEAD.format(
            recipe=self.method.recipe.name,
            model=values["model_name_or_path"],
            steps=self.steps,
            rows=arms.rows_per_step(values),
            share=self.curve.test_share,
            draws=bootstrap.DRAWS,
        )
        parts = [curve_report.section(culture, kind, sums) for (culture, kind), sums in measured.items()]
        return head + "".join(parts)


_HEAD = """# What more rows bring

Each arm is {model} trained by {recipe} in {steps} steps of {rows} rows, from the same weights with the same seed, so a
larger budget is other rows and not a longer training; a smaller budget's rows are the first of a larger one's. Random
rankings are drawn from all rows that could have been ranked; a line of several seeds is their mean.

Measured on the answers to a share of {share} of the questions, whose rows no arm learned: all that could have been
ranked, and apart those that the run ranked. A ranking has the advantage on answers like those it prefers. Bits a byte
and nats a token are of the answer with its end marker, lower is better; in brackets the 95 % interval of {draws}
bootstrap draws of the questions.
"""


class _Base:
    """The base model, loaded when something is to be measured, and what is measured of it and of its adapters."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        name = values["model_name_or_path"]
        self._source = str(model_path()) if name == LOCAL_MODEL else str(name)
        self._origin = {"revision": values.get("model_revision")}
        self._dtype = str(values.get("dtype", "auto"))
        self._model: heldout.Model | None = None

    def losses(self, folder: Path, rows: Dataset, trained: bool) -> list[Loss]:
        """Of the model in a folder, or of the base model; kept in the folder."""
        weights = folder if trained else checkpoints.folder(self._source, self._origin["revision"])
        told = rows.select_columns(["prompt", "completion"])
        made_from = {"rows": pipeline.rows_sha256(told), "weights": checkpoints.sha256(weights)}
        if (file := folder / _FILE).is_file():
            held = json.loads(file.read_text(encoding="utf-8"))
            if held["made_from"] == made_from:
                return [Loss(*loss) for loss in held["losses"]]
        log.info("%s  measured on %d answers", folder, len(rows))
        if trained and not checkpoints.is_adapter(folder):
            losses = heldout.Model(str(folder), self._dtype).losses(told)
        else:
            if self._model is None:
                self._model = heldout.Model(self._source, self._dtype, **self._origin)
            losses = self._model.losses(told, folder if trained else None)
        with disk.writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
        with disk.replacing(file) as content:
            content.write(json.dumps({"made_from": made_from, "losses": losses}).encode())
        return losses


def _rising(budgets: Sequence[int]) -> list[int]:
    if not budgets or not all(isinstance(one, int) and not isinstance(one, bool) and one > 0 for one in budgets):
        raise InputError(f"budgets are {budgets!r}; give numbers of rows, such as 100,200,500,1000.")
    return sorted(set(budgets))


def _checked(rankings: Sequence[str], runs: Mapping[str, Path]) -> list[str]:
    columns = {name: kind for name, kind in features.SCORED.items() if name != "rank"}  # which is ours
    numbers = [name for name, kind in columns.items() if getattr(kind, "dtype", "") in ("float64", "int32")]
    known = [OURS, *BY_CHANCE, *numbers]
    if twice := next((name for name in runs if name in (*known, ALL, UNTRAINED)), None):
        raise InputError(f"{runs[twice]}: a run cannot be called as a ranking is; rename its folder.")
    return list(yamlfile.pick(list(rankings), {name: name for name in (*known, *runs)}, "ranking"))


def _pools(data: Path, chosen: Sequence[str] | None, share: float, others: Mapping[str, Path]) -> dict[str, Pool]:
    if not (data / "run.json").is_file():
        raise InputError(f"{data}: is no run folder; curve ranks the pool of a run in other ways.")
    with Run(data, create=False) as run:
        scored, ranked = run.table("scored"), run.table("ranked")
    tables = {}
    for name, place in others.items():
        with Run(place, create=False) as run:
            tables[name] = run.table("ranked")
    names = {slug: name for name, slug in cultures.slugs(ranked["culture"][:]).items()}
    found = {}
    for slug in yamlfile.pick(chosen, {slug: slug for slug in sorted(names)}, "culture"):
        own, best = (views.of_culture(table, names[slug]) for table in (scored, ranked))
        theirs = {name: views.of_culture(table, names[slug]) for name, table in tables.items()}
        found[slug] = nested.pool(own, best, share, slug, theirs)
    return found
