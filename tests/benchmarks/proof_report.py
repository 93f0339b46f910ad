"""The tables of the proof: what each arm gained over the raw model, and the contrasts that docs/proof.md names.

A region counts once: means are means of regions' means. Tests are exact sign-flips over regions, adjusted by Holm's
method over the contrasts; intervals (95 %) are of a bootstrap over question ids, each drawn once for all regions.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, NamedTuple

import numpy as np

from caredio.evaluation import paired

REGIONS = {
    "tune": ("china", "mexico", "west_java", "uk", "iran", "ethiopia"),
    "confirm": (
        *("algeria", "assam", "azerbaijan", "greece", "indonesia", "north_korea", "northern_nigeria"),
        *("south_korea", "spain", "us"),
    ),
}
RAW, OWN, EFFECT = "raw", "own", "own minus partner"
MAIN_SEED = 42
NULL, MENDED = "random_question", "support"


class Contrast(NamedTuple):
    """One arm less another, by the margin."""

    one: str
    other: str
    of: str  # OWN or EFFECT


CONTRASTS = (
    Contrast(MENDED, NULL, OWN),
    Contrast(MENDED, NULL, EFFECT),
    Contrast(MENDED, "random_person", OWN),
    Contrast(MENDED, "size", OWN),
)
_LIKELY = (("margin_per_byte", 1), ("bits_per_byte", 1))  # and what they are times
SECONDARY = {"tune": _LIKELY, "confirm": (*_LIKELY, ("sem_b", 100))}
NO_WORSE = -0.5  # nats: above it a lower end is no worse
Records = Mapping[tuple[str, str, int], Mapping[str, Any]]


class Estimate(NamedTuple):
    """A mean of regions' means."""

    by_region: dict[str, float]
    value: float
    low: float
    high: float
    p: float

    def __str__(self) -> str:
        return f"{self.value:+.2f} [{self.low:+.2f}, {self.high:+.2f}]"


def partner(half: str, region: str) -> str:
    """The region on whose questions a region's model is scored too: the next one, after the last the first."""
    regions = REGIONS[half]
    return regions[(regions.index(region) + 1) % len(regions)]


def read(results: Path) -> list[dict[str, Any]]:
    """The whole lines of the results."""
    if not results.is_file():
        return []
    lines = results.read_text(encoding="utf-8").splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.endswith("\n")]


def key(record: Mapping[str, Any]) -> tuple[str, str, int]:
    """By which a fit is known."""
    return record["arm"], record["region"], record["seed"]


def line(record: Mapping[str, Any]) -> str:
    """A fit that has ended, without what the raw model does."""
    own = fmean(one["margin"] for one in record["own"].values())
    about = {name: record.get(name) for name in ("rows", "completion_tokens", "loss", "cpu_seconds")}
    return f"{record['arm']} {record['region']} seed {record['seed']}: margin {own:.3f}, {about}"


def report(found: Iterable[Mapping[str, Any]], half: str) -> str:
    """The tables of a half.

    Raises:
        SystemExit: fits of the confirm half are missing, whose results are read once, when all are there.
    """
    records = {key(one): one for one in found}
    arms = list(dict.fromkeys(arm for arm, _, seed in records if arm != RAW and seed == MAIN_SEED))
    missing = [(arm, region) for arm in arms for region in REGIONS[half] if (arm, region, MAIN_SEED) not in records]
    if half == "confirm" and missing:
        raise SystemExit(f"{len(missing)} fits are missing, such as {missing[0]}; the same command goes on with them.")
    arms = [arm for arm in arms if arm not in {arm for arm, _ in missing}]
    parts = [gained(records, half, arms), contrasts(records, half, arms), others(records, half, arms)]
    return "\n\n".join([*parts, seeds(records, half), *([f"not all regions yet: {missing}"] if missing else [])])


def gained(records: Records, half: str, arms: Sequence[str]) -> str:
    """What each arm gained on its own questions, and beyond its partner's, by region."""
    lines = [f"margin over the raw model, nats ({half})", _row("", [*REGIONS[half], "mean", "tokens"])]
    for of in (OWN, EFFECT):
        for arm in arms:
            made = estimate(parts(records, half, arm, RAW, of))
            tokens = fmean(records[arm, region, MAIN_SEED]["completion_tokens"] for region in REGIONS[half])
            cells = [f"{value:+.2f}" for value in made.by_region.values()]
            lines.append(_row(f"{arm}, {of}", [*cells, str(made), f"{tokens:.0f}"]))
    return "\n".join(lines)


def contrasts(records: Records, half: str, arms: Sequence[str]) -> str:
    """Those that were named beforehand, then every other arm against the null."""
    named = [one for one in CONTRASTS if {one.one, one.other} <= set(arms)]
    made = [estimate(parts(records, half, *one)) for one in named]
    lines = ["contrasts named beforehand: nats, p of sign-flips over regions, p by Holm"]
    for one, found, holm in zip(named, made, paired.holm([found.p for found in made]), strict=True):
        no_worse = "; no worse" if found.low > NO_WORSE else ""
        lines.append(_told(one, found) + f"   p {found.p:.3f}, {holm:.3f}{no_worse}")
    lines += ["", f"every arm less `{NULL}`, not tested"]
    rest = [Contrast(arm, NULL, of) for of in (OWN, EFFECT) for arm in arms if arm != NULL and NULL in arms]
    lines += [_told(one, estimate(parts(records, half, *one))) for one in rest]
    return "\n".join(lines)


def others(records: Records, half: str, arms: Sequence[str]) -> str:
    """The secondary measures, less the raw model's."""
    lines = ["less the raw model: " + ", ".join(metric for metric, _ in SECONDARY[half])]
    for arm in arms:
        cells = []
        for metric, times in SECONDARY[half]:
            made = estimate(parts(records, half, arm, RAW, OWN, metric))
            cells.append(f"{times * made.value:+.3f} [{times * made.low:+.3f}, {times * made.high:+.3f}]")
        lines.append(_row(arm, cells, 26))
    return "\n".join(lines)


def seeds(records: Records, half: str) -> str:
    """The standard deviation of a fit's own margin between seeds, with the arms and regions it is of."""
    found = {}
    for arm, region in dict.fromkeys((arm, region) for arm, region, _ in records):
        those = [one for one in records if one[:2] == (arm, region)]
        if len(those) > 1:
            gains = [estimate(_gain(records, half, arm, region, seed, OWN)).value for *_, seed in those]
            found[arm, region] = stdev(gains)
    if not found:
        return "seeds: one each"
    pooled = fmean(value**2 for value in found.values()) ** 0.5
    each = ", ".join(f"{arm} {region} {value:.2f}" for (arm, region), value in found.items())
    return f"seeds: standard deviation of a region's margin {pooled:.2f} nats ({each})"


Parts = dict[str, tuple[dict[str, float], dict[str, float]]]  # region -> differences: own questions, its partner's


def parts(records: Records, half: str, one: str, other: str, of: str, metric: str = "margin") -> Parts:
    """What one arm scores less another, question by question; `RAW` stands for the model as it is."""
    found: Parts = {}
    for region in REGIONS[half]:
        sides = _gain(records, half, one, region, MAIN_SEED, of, metric)[region]
        if other != RAW:
            base = _gain(records, half, other, region, MAIN_SEED, of, metric)[region]
            sides = _less(sides[0], base[0]), _less(sides[1], base[1])
        found[region] = sides
    return found


def _gain(records: Records, half: str, arm: str, region: str, seed: int, of: str, metric: str = "margin") -> Parts:
    """What a fit scores less the raw model."""
    made = records[arm, region, seed]
    sides = [("own", region)] + ([("partner", partner(half, region))] if of == EFFECT else [])
    gains: list[dict[str, float]] = [{}, {}]
    for place, (side, asked) in enumerate(sides):
        raw = records[RAW, asked, MAIN_SEED]["own"]
        scores = {name: one[metric] for name, one in made[side].items() if metric in one}
        gains[place] = {name: score - raw[name][metric] for name, score in scores.items()}
    return {region: (gains[0], gains[1])}


def estimate(found: Parts) -> Estimate:
    """The mean over regions of: the mean over own questions, less that over the partner's where there are any."""
    by_region = {region: _mean(own) - _mean(other) for region, (own, other) in found.items()}
    values = np.array(list(by_region.values()))
    low, high = paired.interval(weighed(found))
    return Estimate(by_region, float(values.mean()), low, high, paired.sign_flips(values))


def weighed(found: Parts) -> dict[str, dict[str, float]]:
    """The same differences, times what makes their mean over all answers that of the estimate."""
    total = sum(len(own) + len(other) for own, other in found.values())
    made = {}
    for region, sides in found.items():
        for name, sign, scores in (("own", 1, sides[0]), ("partner", -1, sides[1])):
            if scores:
                factor = sign * total / (len(found) * len(scores))
                made[f"{region}/{name}"] = {question: factor * score for question, score in scores.items()}
    return made


def _less(one: Mapping[str, float], other: Mapping[str, float]) -> dict[str, float]:
    return {name: score - other[name] for name, score in one.items()}


def _mean(scores: Mapping[str, float]) -> float:
    return fmean(scores.values()) if scores else 0.0


def _told(one: Contrast, found: Estimate) -> str:
    return f"  {f'{one.one} - {one.other}, {one.of}':<52}{found}"


def _row(label: str, cells: Iterable[str], width: int = 12) -> str:
    return f"  {label:<34}" + " ".join(f"{cell:>{width}}" for cell in cells)
