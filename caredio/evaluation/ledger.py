"""A run's results: every evaluation's rows in one table, so that a second one adds to the first."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from typing import Any

from datasets import Dataset

from caredio import cultures as culture_files
from caredio import features, progress
from caredio.cultures import Culture
from caredio.errors import InputError
from caredio.evaluation.results import Asked, key
from caredio.evaluation.systems import Measurement
from caredio.runs import Run

log = logging.getLogger("caredio")

TABLE = "results"
SAMPLES = "samples"  # folder of what each question got


def cultures(
    run: Run, declared: Mapping[str, Culture], chosen: Sequence[str] | None
) -> tuple[list[str], dict[str, Culture], list[str]]:
    """The slugs to ask about, by default those of the run's ranked split; all cultures; a sentence on some of them.

    A culture of the run that is declared nowhere is known by its name.

    Raises:
        InputError: there is no ranked split, and none is chosen.
    """
    own: dict[str, Culture] = {}
    if "ranked" in run.stages:
        own = {one.slug: one for one in culture_files.named(run.table("ranked")["culture"][:], declared).values()}
    elif chosen is None:
        raise InputError(f"{run.path}: has no ranked split whose cultures could be asked about; name some as cultures.")
    asked = sorted(own) if chosen is None else list(chosen)
    by_name = [
        f"{slug} is declared in no file of --cultures-file: role-play calls it {own[slug].name!r}."
        for slug in asked
        if slug in own and slug not in declared
    ]
    return asked, {**declared, **own}, by_name


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
