"""Held-out questions by whether their topics were trained on, against groups and intervals worked by hand."""

from __future__ import annotations

import json
from math import sqrt
from pathlib import Path
from typing import Any

import pytest
from scipy import stats

from caredio.evaluation import samples, topics
from caredio.evaluation.topics import Groups

TRAINED, OTHERS = {"q1": 1.0, "q2": 2.0, "q3": 3.0}, {"q4": 5.0, "q5": 7.0}
TOPIC_OF = {"q1": "food", "q2": "food", "q3": "work", "q4": "law", "q5": "law", "q6": None}


def measured(run: Path, system: str, model: Path, trained: bool, scores: dict[str, float]) -> dict[str, Any]:
    """The identity of a system's measurement on China, whose samples now stand in the run."""
    identity = {"system": system, "culture": "china", "model": str(model), "weights_sha256": system}
    identity |= {"trained_on": "rows" if trained else None}
    rows = [
        {"doc_id": place, "doc": {"id": name, "topic_id": TOPIC_OF[name]}, "doc_hash": name, "prompt_hash": "x"}
        | {"target_hash": "x", "target": "", "arguments": [], "resps": [], "filtered_resps": [], "filter": "none"}
        | {"metrics": ["bits_per_byte"], "bits_per_byte": score}
        for place, (name, score) in enumerate(scores.items())
    ]
    task = "caredio_held_out_china"
    samples.write(run / "samples", identity, {"results": {task: {}}, "samples": {task: rows}})
    return identity


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A model that was trained on the best two of three rows: of food, and of a question on work."""
    rows = [
        {"rank": 1, "topic_id": "food", "question_id": "q9"},
        {"rank": 2, "topic_id": None, "question_id": "q8"},
        {"rank": 3, "topic_id": "law", "question_id": "q7"},
    ]
    data, folder = tmp_path / "rows", tmp_path / "model"
    data.mkdir()
    (data / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    folder.mkdir()
    (folder / "training.json").write_text(json.dumps({"dataset_name": str(data), "budget": 2}))
    return folder


def test_the_groups_are_the_topics_of_the_rows_within_the_budget(model: Path, tmp_path: Path) -> None:
    given = {**TRAINED, **OTHERS, "q6": 100.0}  # the last names no topic
    asked = [measured(tmp_path, name, model, name == "trained", given) for name in ("raw", "trained")]
    measured(tmp_path, "another", model, True, {"q1": 0.0, "q4": 0.0})  # of an earlier evaluation
    found, notes = topics.compare(tmp_path / "samples", asked, {"q8": "work"})
    assert notes == []
    assert {one.system for one in found} == {"raw", "trained"}
    for one in found:
        assert (one.trained, one.others) == ([1, 2, 3], [5, 7])
    # means 2 and 6; variances 1 of three and 2 of two: error sqrt(1/3 + 1), Welch's degrees (4/3)^2 / ((1/3)^2/2 + 1)
    half = stats.t.ppf(0.975, (4 / 3) ** 2 / ((1 / 3) ** 2 / 2 + 1)) * sqrt(4 / 3)
    assert found[0].interval == pytest.approx((-4 - half, -4 + half))
    (line,) = [line for line in topics.report(found, notes).splitlines() if line.startswith("china") and "raw" in line]
    assert line.split()[2:8] == ["bits_per_byte", "2.000", "3", "6.000", "2", "-4.000"]
    assert line.endswith(f"[{-4 - half:+.3f}, {-4 + half:+.3f}]")


def test_one_group_alone_is_said(model: Path, tmp_path: Path) -> None:
    asked = [measured(tmp_path, "trained", model, True, TRAINED)]
    found, notes = topics.compare(tmp_path / "samples", asked, {"q8": "work"})
    assert found == []
    assert notes == ["china, bits_per_byte: one group alone: the topic of each of the 3 questions was trained on."]
    assert topics.report(found, notes).splitlines()[1:] == notes
    asked = [measured(tmp_path / "2", "trained", model, True, OTHERS)]
    _, notes = topics.compare(tmp_path / "2" / "samples", asked, {})
    assert notes == ["china, bits_per_byte: one group alone: the topic of each of the 2 questions was not trained on."]


def test_what_is_not_known_is_said(model: Path, tmp_path: Path) -> None:
    asked = [measured(tmp_path, "raw", model, False, TRAINED)]
    _, notes = topics.compare(tmp_path / "samples", asked, {})
    assert notes == ["china: no trained model with a training.json was asked, so no topic is known."]
    (model / "training.json").write_text("{}")
    asked = [measured(tmp_path, "trained", model, True, TRAINED)]
    _, (note,) = topics.compare(tmp_path / "samples", asked, {})
    assert note == f"china: what {model / 'training.json'} names cannot be read (it names no data set)."
    asked = [measured(tmp_path / "2", "trained", model, True, {"q6": 1.0})]
    (model / "training.json").write_text(json.dumps({"dataset_name": str(model.with_name("rows"))}))
    _, notes = topics.compare(tmp_path / "2" / "samples", asked, {})
    assert notes == ["china, bits_per_byte: no question names a topic, so none can be compared."]


@pytest.mark.parametrize(
    ("trained", "others"),
    [([1.0], [2.0, 3.0]), ([1.0, 1.0], [1.0, 1.0]), ([1.0, 1.0], [0.0, 0.0]), ([0.1 + 0.2] * 3, [0.3, 1.0])],
)
def test_too_few_for_an_interval(trained: list[float], others: list[float]) -> None:
    one = Groups("china", "raw", "margin", trained, others)
    assert one.interval is None
    assert "too few or too alike for an interval" in topics.report([one], [])
