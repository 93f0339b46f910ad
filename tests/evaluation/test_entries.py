from __future__ import annotations

from typing import Any

import pytest
import yaml

pytest.importorskip("lm_eval")

from huggingface_hub import parse_eval_result_entries

from caredio.evaluation import benchmark, entries

ROW = {
    "system": "trained",
    "culture": "china",
    "benchmark": "culturalbench_easy",
    "metric": "acc",
    "n": 59,
    "value": 0.61864,
    "benchmark_sha256": "0123456789abcdef",
    "settings_sha256": "fedcba9876543210",
}


def test_the_hub_reads_what_is_written() -> None:
    rows = [ROW, {**ROW, "benchmark": "culturalbench_hard_generated", "system": "trained + role-play", "value": 0.25}]
    ((path, text),) = entries.files(rows).items()
    assert path == ".eval_results/kellycyy__CulturalBench.yaml"
    easy, hard = parse_eval_result_entries(yaml.safe_load(text))
    assert (easy.dataset_id, easy.task_id, easy.value) == (
        "kellycyy/CulturalBench",
        "caredio_culturalbench_easy_china",
        61.86,
    )
    assert easy.notes == (
        "accuracy, per cent, over 59 questions by lm-eval's task of CAReDiO; sha256 of its data 0123456789ab, of its"
        " settings fedcba987654"
    )
    assert (hard.task_id, hard.value) == ("caredio_culturalbench_hard_generated_role_play_china", 25.0)


EASY = benchmark.load()["culturalbench_easy"]


@pytest.mark.parametrize(
    "other",
    [
        {"benchmark": "mine"},  # a table of one's own
        {"benchmark": "culturalbench_hard", "metric": "judgement_acc"},
        {"benchmark": "care_generated", "metric": "characters"},  # of a reply, until a judge rates it
        {"benchmark_sha256": EASY.sha256(EASY.sample) if EASY.sample else ""},
    ],
)
def test_what_the_hub_has_no_data_of_is_no_entry(other: dict[str, Any]) -> None:
    assert entries.entries([{**ROW, **other}]) == []
    assert entries.files([]) == {}
