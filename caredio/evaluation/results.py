"""How systems do on CulturalBench: one row per system, culture and measure, with a 95 % interval.

Measures are accuracy on Easy, the share of Hard questions whose four judgements are all right (the benchmark's own
number), and the share of Hard's judgements that are right. Every model reads the questions through its chat template.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib import metadata
from math import sqrt
from pathlib import Path
from statistics import NormalDist, mean
from typing import Any

from datasets import Dataset, DatasetInfo

from caredio import cultures as culture_files
from caredio import fingerprints, yamlfile
from caredio.cultures import Culture
from caredio.errors import InputError
from caredio.evaluation import culturalbench
from caredio.evaluation.systems import BASELINE, BENCHMARKS, ROLE_PLAY, System, check, load, scores, task
from caredio.features import RESULTS

_EASY, _HARD = BENCHMARKS
_MEASURES = {(_EASY, "acc"): "Easy", (_HARD, "acc"): "Hard", (_HARD, "judgement_acc"): "Hard, judgements"}


def _contents(source: str) -> str:
    """The hash of the questions' file.

    Raises:
        InputError: it cannot be read.
    """
    file = culturalbench.path(source)
    try:
        return fingerprints.of_file(file)
    except OSError as error:
        raise InputError(f"{file}: cannot be read ({error.strerror or error}).") from None


@dataclass(frozen=True)
class Config:
    culturalbench: str = field(
        default="",
        metadata={
            "help": "copy of CulturalBench-Easy.csv, or 'sample'; default: fetched from the Hub",
            "counts": _contents,
        },
    )
    limit: int = field(default=0, metadata={"help": "questions asked about a culture, from the first on; 0 = all"})
    batch_size: int = field(default=8, metadata={"help": "prompts the model reads at once", "counts": False})
    device: str = field(
        default="", metadata={"help": "cpu, cuda, ...; default: cuda where there is one", "counts": False}
    )

    def __post_init__(self) -> None:
        if self.limit < 0:
            raise InputError(f"limit is {self.limit}; give a number of questions, or 0 for all.")
        if self.batch_size < 1:
            raise InputError("batch_size must be at least 1 prompt.")


def evaluate(
    systems: Sequence[System],
    cultures: Sequence[str] | None = None,
    config: Config = Config(),
    known: Mapping[str, Culture] | None = None,
) -> Dataset:
    """Ask every system the questions on every culture (slugs; all 15 when None), out of those `known` (the shipped).

    A model is loaded once for all systems that share it; adapters are put on and taken off.

    Returns:
        `features.RESULTS`: the baseline's rows, then each system's, model by model. `record` tells how they were made.

    Raises:
        InputError: a culture, system, file or model is not what was wanted. The questions are read before any model.
    """
    chosen = yamlfile.pick(cultures, dict(known or culture_files.load()), "culture")
    check(systems, chosen)
    file = culturalbench.path(config.culturalbench)
    rows = [row for culture in chosen for row in baseline(culture, file, config.limit)]
    for model in dict.fromkeys(system.model for system in systems):
        loaded = load(model, config.device)
        for system in [system for system in systems if system.model == model]:
            found = scores(system, loaded, chosen, file, config.limit, config.batch_size)
            rows += [row for culture in chosen for row in _rows(system.name, culture.slug, found)]
    made = {
        "apply_chat_template": True,
        "culturalbench": {"file": file.name, "sha256": hashlib.sha256(file.read_bytes()).hexdigest()},
        "config": asdict(config),
        "role_play": ROLE_PLAY,
        "systems": [asdict(system) for system in systems],
        "packages": {name: metadata.version(name) for name in ("lm_eval", "peft", "transformers", "torch")},
    }
    return Dataset.from_list(rows, info=DatasetInfo(features=RESULTS, description=json.dumps(made)))


def record(table: Dataset) -> dict[str, Any]:
    """How `evaluate` made the table: chat template, questions, settings, systems, packages; {} of another table."""
    return json.loads(table.info.description) if table.info.description else {}


def baseline(culture: Culture, file: Path, limit: int = 0) -> list[dict[str, Any]]:
    """The rows of knowing nothing: the culture's most frequent letter of the permuted key on Easy, False on Hard."""
    questions = culturalbench.about(culture.name, file)[: limit or None]
    keys = Counter(culturalbench.choice(row)["key"] for row in questions)
    truths = [culturalbench.judgements(row)["truth"] for row in questions]
    values = (
        max(keys.values()) / len(questions),
        mean(float(not any(truth)) for truth in truths),
        mean(1 - sum(truth) / len(truth) for truth in truths),
    )
    return [
        _row(BASELINE, culture.slug, measure, value, len(questions))
        for measure, value in zip(_MEASURES, values, strict=True)
    ]


def wilson(value: float, n: int) -> tuple[float, float]:
    """The 95 % score interval of a share `value` of `n` (Wilson 1927; Brown, Cai and DasGupta 2001, eq. 4).

    (p + z^2/2n -+ z sqrt(p(1-p)/n + z^2/4n^2)) / (1 + z^2/n). For judgement_acc, n counts questions: the four
    judgements of one are not independent, and as the mean of a variable within 0 and 1 varies no more than that of a
    coin with the same mean, the interval errs on the wide side.
    """
    z = NormalDist().inv_cdf(0.975)
    middle = value + z * z / (2 * n)
    half = z * sqrt(value * (1 - value) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    return max(0.0, (middle - half) / scale), min(1.0, (middle + half) / scale)


def told(table: Dataset) -> str:
    """The table as text: a block per culture and one over all of them, systems as rows, the baseline last."""
    rows = list(table)
    blocks = {slug: [row for row in rows if row["culture"] == slug] for slug in dict.fromkeys(table["culture"])}
    if len(blocks) > 1:
        blocks[f"all {len(blocks)} cultures"] = rows
    systems = sorted(dict.fromkeys(table["system"]), key=BASELINE.__eq__)
    width = max(map(len, [*blocks, *systems])) + 4
    lines = []
    for title, block in blocks.items():
        lines.append(f"{title:{width}}" + "".join(f"{label:28}" for label in _MEASURES.values()))
        for system in systems:
            cells = [_cell([row for row in block if _is(row, system, measure)]) for measure in _MEASURES]
            lines.append(f"  {system:{width - 2}}" + "".join(f"{cell:28}" for cell in cells))
        lines.append("")
    lines.append("Per cent right with 95 % Wilson interval over n questions; chat template applied.")
    lines.append(f"{BASELINE}: always the most frequent letter of the permuted key (Easy), always False (Hard).")
    return "\n".join(line.rstrip() for line in lines)


def _cell(rows: list[dict[str, Any]]) -> str:
    """The number of several cultures' rows: the share of all their questions."""
    if not rows:
        return "-"
    n = sum(row["n"] for row in rows)
    value = sum(row["n"] * row["value"] for row in rows) / n
    low, high = wilson(value, n)
    return f"{100 * value:.1f} [{100 * low:.1f}, {100 * high:.1f}] n={n}"


def _is(row: dict[str, Any], system: str, measure: tuple[str, str]) -> bool:
    return row["system"] == system and (row["benchmark"], row["metric"]) == measure


def _rows(system: str, culture: str, found: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """A system's rows on a culture out of lm-eval's numbers."""
    rows = []
    for benchmark, metric in _MEASURES:
        numbers = found[task(benchmark, culture)]
        rows.append(_row(system, culture, (benchmark, metric), numbers[f"{metric},none"], numbers["sample_len"]))
    return rows


def _row(system: str, culture: str, measure: tuple[str, str], value: float, n: int) -> dict[str, Any]:
    low, high = wilson(value, n)
    return dict(zip(RESULTS, (system, culture, *measure, n, value, low, high), strict=True))
