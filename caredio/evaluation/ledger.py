"""A run's results: every evaluation's rows in one table, so that a second one adds to the first."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from typing import Any

from datasets import Dataset

from caredio import features, progress
from caredio.cultures import Culture
from caredio.errors import InputError
from caredio.evaluation.results import Asked, key
from caredio.evaluation.systems import Measurement
from caredio.runs import Run

log = logging.getLogger("caredio")

TABLE = "results"
SAMPLES = "samples"  # folder of what each question got


def cultures(run: Run, known: Mapping[str, Culture], chosen: Sequence[str] | None) -> tuple[list[str], list[str]]:
    """The slugs to ask about, those of the run's ranked split by default, and a sentence on what that leaves out.

    Raises:
        InputError: there is no ranked split, or none of its cultures is known.
    """
    if chosen is not None:
        return list(chosen), []
    if "ranked" not in run.stages:
        raise InputError(f"{run.path}: has no ranked split whose cultures could be asked about; name some as cultures.")
    slugs = {name: slug for slug, culture in known.items() for name in (culture.name, slug)}
    ranked = sorted(set(run.table("ranked")["culture"][:]))
    asked = list(dict.fromkeys(slugs[culture] for culture in ranked if culture in slugs))
    others = ", ".join(culture for culture in ranked if culture not in slugs)
    if not asked:
        raise InputError(
            f"{run.path}: no culture is known by the name of {others}; declare it in a file of --cultures-file, or name"
            " others as cultures."
        )
    left_out = f"left out: {others}: no culture is known by that name; --cultures-file takes a file that declares it."
    return asked, [left_out] if others else []


def evaluate(run: Run, asked: Asked) -> Dataset:
    """Measure what the run's `results` table lacks, add it there, and take out the rows of what was asked for.

    Args:
        run: the run, whose table is written anew after each system, so that a stop loses no other's numbers.
        asked: what is wanted, checked.

    Returns:
        `features.RESULTS`, of these systems alone.

    Raises:
        InputError: a model cannot be measured.
    """
    for note in asked.notes:
        log.warning(note)
    rows = past(run)
    parts = asked.missing(rows)
    with progress.command("evaluate", lambda: asked.questions(parts), asked.spent, asked.unit):
        for part in parts or [[]]:
            rows = _with(run, rows, asked, part)
    return asked.select(rows)


def past(run: Run) -> list[dict[str, Any]]:
    """The rows that stand in the run; of an earlier release's they lack the hashes."""
    there = TABLE in run.stages and any((run.path / TABLE).glob("*.parquet"))
    return [dict(row) for row in run.table(TABLE)] if there else []


def _with(run: Run, before: list[dict[str, Any]], asked: Asked, part: Sequence[Measurement]) -> list[dict[str, Any]]:
    """The run's rows with those of a part, and with the baselines that go with them."""
    there = {key(row) for row in before}
    constants = [row for row in asked.constants if key(row) not in there]
    held = there | {key(row) for row in constants} | {key(asked.identities[one]) for one in part}
    records = run.stages.get(TABLE, {}).get("measured", [])

    def compute() -> tuple[Dataset, dict[str, Any]]:
        rows = [*before, *constants, *asked.measure(part, run.path / SAMPLES)]
        older = records if isinstance(records, list) else [records]  # an earlier release kept the last one alone
        made = [*older, asked.record()] if asked.record() not in older else older
        return features.table(rows, features.RESULTS), {"measured": made}

    identity = json.dumps(sorted(held, key=str))
    table = run.stage(
        TABLE,
        compute,
        columns=features.RESULTS,
        source=hashlib.sha256(identity.encode()).hexdigest(),
        prompt=asked.prompt_names,
        prompts_from=asked.prompts,
        grows=True,
    )
    return [dict(row) for row in table]
