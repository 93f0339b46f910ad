"""The screen and the picture of `caredio quickstart --train`: three measures of three models on two regions."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import NamedTuple

from caredio import plots
from caredio.evaluation import paired, short_answers
from caredio.intervals import ALIKE
from caredio.quickstart_training import HELD_OUT, OURS, RANDOM, RAW, Trial

Scores = Mapping[str, float]  # question -> score
ByArm = Mapping[str, Mapping[str, Scores]]  # arm -> metric -> scores, of one region's questions
DIFFERENCE = "ours - random"
_ARMS = {RAW: "raw model", RANDOM: "random rows", OURS: "our rows"}
_LABEL, _CELL = 19, 23


class Measure(NamedTuple):
    """A line of the table."""

    metric: str
    label: str
    gained: bool = False  # over the raw model, question by question
    digits: int = 2
    unit: float = 1.0
    higher_is_better: bool = True


MEASURES = (
    Measure("margin", "margin, nats", True),
    Measure("margin_per_byte", "  nats per byte", True, 3),
    Measure("bits_per_byte", "bits per byte", higher_is_better=False),
    Measure("sem_b", "SEM-B, %", False, 1, 100.0),
)


class Value(NamedTuple):
    """A mean over questions with its 95 % interval."""

    value: float
    low: float
    high: float
    n: int

    def text(self, digits: int) -> str:
        if self.high - self.low < ALIKE:  # equal values drawn anew, which is no certainty
            return f"{self.value:.{digits}f}"
        return f"{self.value:.{digits}f} [{self.low:.{digits}f}, {self.high:.{digits}f}]"


def values(measure: Measure, arms: ByArm) -> dict[str, Value]:
    """Arm, or `DIFFERENCE` -> its value; a gain has none of the raw model."""
    found = {arm: metrics[measure.metric] for arm, metrics in arms.items()}
    raw = found[RAW]
    if measure.gained:
        found = {arm: _less(scores, raw) for arm, scores in found.items() if arm != RAW}
    found[DIFFERENCE] = _less(found[OURS], found[RANDOM])
    return {name: _value(scores, measure.unit) for name, scores in found.items()}


def _less(one: Scores, other: Scores) -> Scores:
    return paired.differences({"": one}, {"": other}).get("", {})


def _value(scores: Scores, unit: float) -> Value:
    scaled = {name: unit * score for name, score in scores.items()}
    return Value(mean(scaled.values()), *paired.interval({"": scaled}), len(scaled))


def screen(trial: Trial, found: Mapping[str, ByArm], pictures: Sequence[Path]) -> str:
    """What is printed.

    Args:
        trial: what was trained.
        found: region -> the scores of every arm on its questions.
        pictures: files.
    """
    lines = ["", *_opening(trial), ""]
    lines.append(f"{'':<{_LABEL}}" + "".join(f"{name:<{_CELL}}" for name in (*_ARMS.values(), DIFFERENCE)))
    for region, arms in found.items():
        lines += _block(region, trial.region, arms)
    lines += ["", *_meaning(), "", *_conclusion(trial, found), "", *_places(trial, pictures)]
    return "\n".join(line.rstrip() for line in lines)


def _block(region: str, trained: str, arms: ByArm) -> list[str]:
    n = len(arms[RAW]["margin"])
    whose = "its own" if region == trained else "another region's"
    lines = [f"{title(region)}: {n} held-out questions, {whose}"]
    for measure in MEASURES:
        shown = values(measure, arms)
        row = [shown[name].text(measure.digits) if name in shown else "0" for name in (*_ARMS, DIFFERENCE)]
        fewer = shown[OURS].n < n
        label = f"  {measure.label}{f', n = {shown[OURS].n}' * fewer}"
        lines.append(f"{label:<{_LABEL}}" + "".join(f"{cell:<{_CELL}}" for cell in row))
    return lines


def _opening(trial: Trial) -> list[str]:
    rows, size, flags = len(trial.learned[OURS]), trial.size, trial.method.values
    asked = len(set(trial.people.answers["question_id"][:]))
    text = (
        f"Training on {title(trial.region)}: {flags['model_name_or_path']} by {trial.method.yaml.name}, {size.steps}"
        f" steps of {flags['per_device_train_batch_size']} rows at a rate of {float(flags['learning_rate']):g}, once on"
        f" the {rows} best rows and once on {rows} random ones of the"
        f" {trial.could_be_ranked} that could have been ranked. {HELD_OUT:.0%} of the {asked} questions were held out"
        " by their ids: no row of theirs is learned, or was there when rows were ranked."
    )
    return textwrap.wrap(text, 100)


def _meaning() -> list[str]:
    written = short_answers.TOKENS
    return [
        "margin         log-likelihood of the region's own majority answer less that of other regions' (the mean),",
        "               less the raw model's margin: above 0 training moved the model towards the region, and no",
        "               style of answering decides it",
        "bits per byte  of people's answers, weighted by annotators; lower is better; brevity lowers it too",
        f"SEM-B          share of written answers (at most {written} tokens) that hold one of people's",
        "[ ]            95 % interval, questions drawn anew; differences are taken question by question",
    ]


def _conclusion(trial: Trial, found: Mapping[str, ByArm]) -> list[str]:
    own = {measure: values(measure, found[trial.region]) for measure in MEASURES}
    told = ", ".join(f"{one.label.strip()} {_compared(one, own[one][DIFFERENCE])}" for one in MEASURES)
    sem = next(one for one in MEASURES if one.metric == "sem_b")
    trained = [own[sem][arm].value for arm in (RANDOM, OURS)]
    fell = max(trained) < own[sem][RAW].value
    text = (
        f"On {title(trial.region)}'s own questions, our rows against random ones: {told}."
        + " Either training made written answers hit people's less often than the raw model's (SEM-B)." * fell
        + f" On {title(trial.other)}'s questions nothing is wanted: they tell what of a gain is the region's own."
        " One region, trained once on one draw of random rows, proves nothing: single regions go either way. What"
        " compares regions, budgets and draws, by bits per byte of held-out answers:"
    )
    rows = trial.size.rows
    alike = f"--steps {trial.size.steps} --test-share {HELD_OUT} -- {trial.train.flags}"
    return [
        *textwrap.wrap(text, 100),
        f"  caredio curve {trial.out.parent} --budgets {rows // 8},{rows // 4},{rows // 2} {alike}",
        f"  caredio curve runs/blend --budgets {rows // 4},{rows // 2},{rows} {alike}",
        "      on all 16 regions, where `caredio select` ranked all of BLEnD into runs/blend, as the README shows",
    ]


def _compared(measure: Measure, difference: Value) -> str:
    """What an interval of `DIFFERENCE` says."""
    if difference.low <= 0 <= difference.high:
        return "may differ by chance (the interval contains 0)"
    return "better" if (difference.value > 0) is measure.higher_is_better else "worse"


def _places(trial: Trial, pictures: Sequence[Path]) -> list[str]:
    lines = [f"  {trial.out}/models/    the two adapters; {trial.out}/measured/ what they and the raw model answered"]
    return ["Where it lies", *lines, f"  {pictures[0]}"]


def draw(trial: Trial, found: Mapping[str, ByArm]) -> list[Path]:
    """The files of the picture: an axis a measure, in it the arms on each region's questions."""
    axes = {}
    for measure in MEASURES:
        lines = []
        for shift, (region, arms) in zip((-0.1, 0.1), found.items(), strict=True):
            shown = values(measure, arms)
            there = [(place, shown[arm]) for place, arm in enumerate(_ARMS) if arm in shown]
            x = [place + shift for place, _ in there]
            y, low, high = ([value[part] for _, value in there] for part in range(3))
            lines.append(plots.Line(title(region), x, y, low, high))
        axes[f"{measure.label.strip()}{', gained' * measure.gained}"] = lines
    return plots.points(axes, list(_ARMS.values()), trial.out / trial.region)


def title(culture: str) -> str:
    """A culture's name on the screen."""
    return culture.replace("_", " ").title()
