"""Every benchmark whose data is published, run whole with a tiny model; its numbers computed again from its samples."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import lm_eval_arithmetic as arithmetic
import pytest

from caredio.evaluation.results import Evaluation
from caredio.evaluation.settings import Settings
from caredio.evaluation.systems import System

PLACES = {
    "blend": ("blend_choices", "blend/mcq_subset.csv", 5),
    "blend_answers": ("blend", "blend/annotations", 5),
    "care_generated": ("care", "care", 2),
    "culturalbench_easy": ("culturalbench", "culturalbench/CulturalBench-Easy.csv", 15),
    "culturalbench_hard": ("culturalbench", "culturalbench/CulturalBench-Easy.csv", 15),
    "globalopinionqa": ("globalopinionqa", "globalopinionqa/distributional_test_globalopinionqa_small.json", 15),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", PLACES)
def test_a_benchmark_runs_whole(name: str, tiny: Path, tmp_path: Path, published: Callable[[str], Path]) -> None:
    source, place, cultures = PLACES[name]
    settings = Settings(benchmarks=name, benchmark_data=f"{source}={published(place)}", device="cpu", batch_size=32)
    asked = Evaluation([System("raw", str(tiny))], None, settings)
    rows = [row for part in asked.missing(asked.constants) for row in asked.measure(part, tmp_path)]
    assert len({row["culture"] for row in rows}) == cultures
    files = list(tmp_path.rglob("samples_*.jsonl"))
    assert len(files) == cultures
    for file in files:
        culture = arithmetic.rows(file)[0]["doc"]["culture"]
        found = arithmetic.means(file)
        told = {row["metric"]: (row["value"], row["n"]) for row in rows if row["culture"] == culture}
        assert told == {metric: (pytest.approx(mean, abs=1e-6), n) for metric, (mean, _, n) in found.items()}
