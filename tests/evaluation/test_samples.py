from __future__ import annotations

import hashlib
import json
import logging
import shutil
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("lm_eval")

from lm_eval_folder import asked, questions, saved

from caredio.errors import InputError
from caredio.evaluation import samples

IDENTITY = {"system": "trained", "culture": "china", "model": "me/a model", "weights_sha256": "ab"}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Two tasks on China: the model is right where the question's number is even."""
    tasks = {"caredio_quiz_china": questions(4), "caredio_quiz_generated_role_play_china": questions(2)}
    return asked(tmp_path_factory.mktemp("tasks"), tasks, lambda doc: "B" if int(doc["question"]) % 2 == 0 else "A")


@pytest.fixture
def theirs(made: dict[str, Any], tmp_path: Path) -> Path:
    return saved(tmp_path / "out", "me/a model", made)


def only(folder: Path, ending: str) -> Path:
    (found,) = folder.glob(ending)
    return found


def test_samples_are_written_as_lm_eval_writes_them(made: dict[str, Any], theirs: Path, tmp_path: Path) -> None:
    before = repr(made)
    ours = samples.write(tmp_path / "samples", IDENTITY, made)
    assert repr(made) == before
    assert ours.parent == tmp_path / "samples"
    assert ours.name == hashlib.sha256(json.dumps(IDENTITY, sort_keys=True).encode()).hexdigest()[:16]
    for task in made["samples"]:
        name = f"samples_{task}_*.jsonl"
        assert only(ours, name).read_bytes() == only(theirs, name).read_bytes()
    mine, other = (json.loads(only(folder, "results_*.json").read_bytes()) for folder in (ours, theirs))
    assert mine.pop("caredio") == IDENTITY
    assert mine == {key: other[key] for key in mine}
    assert mine["model_name_sanitized"] == "me__a model"
    assert set(mine["task_hashes"]) == set(made["samples"])


def test_ours_are_found_under_the_name_of_their_system(made: dict[str, Any], tmp_path: Path) -> None:
    samples.write(tmp_path / "samples", IDENTITY, made)
    quiz, generated = sorted(samples.find(tmp_path), key=lambda one: one.task)
    assert quiz[:5] == ("trained", "china", "quiz", "caredio_quiz_china", "me/a model")
    assert generated[:3] == ("trained", "china", "quiz_generated")
    assert quiz.identity == IDENTITY
    assert samples.about(quiz)["higher_is_better"]["caredio_quiz_china"] == {"acc": True}
    assert samples.scores(quiz, "acc") == {"q0": 1, "q1": 0, "q2": 1, "q3": 0}
    assert [row["doc"]["id"] for row in samples.rows(quiz)] == ["q0", "q1", "q2", "q3"]


def test_others_are_found_under_their_model(theirs: Path, tmp_path: Path) -> None:
    assert theirs.name == "me__a model"
    quiz, generated = sorted(samples.find(tmp_path / "out"), key=lambda one: one.task)
    assert quiz[:5] == ("me/a model", "china", "quiz", "caredio_quiz_china", "me/a model")
    assert generated[:3] == ("me/a model + role-play", "china", "quiz_generated")
    assert quiz.identity == {}
    assert samples.find(theirs) == [quiz, generated] == samples.find(tmp_path / "out", theirs)


def test_output_path_may_be_a_file(made: dict[str, Any], tmp_path: Path) -> None:
    from lm_eval.loggers import EvaluationTracker

    tracker = EvaluationTracker(output_path=str(tmp_path / "mine.json"))
    tracker.general_config_tracker.log_experiment_args("hf", "pretrained=m", None, None, False)
    tracker.save_results_aggregated({"results": {}}, made["samples"])
    tracker.save_results_samples("arc", [dict(row) for row in made["samples"]["caredio_quiz_china"]])
    (one,) = samples.find(tmp_path)
    assert (one.system, one.culture, one.benchmark) == ("m", None, "arc")


def test_the_newest_of_each_task_counts(
    made: dict[str, Any], theirs: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    quiz = "caredio_quiz_china"
    part = {**made, "samples": {quiz: made["samples"][quiz]}, "configs": {quiz: made["configs"][quiz]}}
    saved(tmp_path / "out", "me/a model", part)
    old, new = sorted(theirs.glob(f"samples_{quiz}_*"))
    with caplog.at_level(logging.WARNING):
        found = samples.find(tmp_path / "out")
    assert {one.task for one in found} == set(made["samples"])
    assert new in {one.path for one in found}
    assert old not in {one.path for one in found}
    assert caplog.messages == [f"{old}: left out, as {new.name} is newer"]
    fewer = {**part, "samples": {quiz: part["samples"][quiz][:3]}}  # as with a --limit of 3
    saved(tmp_path / "out", "me/a model", fewer)
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        (counted,) = [one.path for one in samples.find(tmp_path / "out") if one.task == quiz]
    assert len(counted.read_text().splitlines()) == 3
    what = f"rows, as {counted.name} is newer, which has 3; move the one that shall not count out of the folder"
    assert caplog.messages == [f"{one}: left out with its 4 {what}" for one in (old, new)]


@pytest.mark.parametrize(
    ("task", "culture", "found"),
    [
        ("caredio_blend_south_africa", None, ("blend", "south_africa", False)),
        ("caredio_blend_cot_role_play_china", None, ("blend_cot", "china", True)),
        ("caredio_blend_west_java", "west_java", ("blend", "west_java", False)),
        ("caredio_blend_west_java", None, ("blend_west_java", None, False)),
        ("mmlu_college_physics", None, ("mmlu_college_physics", None, False)),
        ("hellaswag_china", None, ("hellaswag_china", None, False)),  # not of ours: no culture is read into it
    ],
)
def test_the_parts_of_a_name(task: str, culture: str | None, found: tuple[str, str | None, bool]) -> None:
    assert samples.parts(task, culture) == found


def test_a_question_with_several_rows_scores_their_mean_and_one_without_an_id_goes_by_its_hash(tmp_path: Path) -> None:
    folder = tmp_path / "m"
    folder.mkdir()
    rows = [
        {"doc": {"id": 7}, "doc_hash": "a", "filter": "none", "metrics": ["acc"], "acc": 1.0},
        {"doc": {"id": 7}, "doc_hash": "b", "filter": "none", "metrics": ["acc"], "acc": 0.0},
        {"doc": {}, "doc_hash": "c", "filter": "none", "metrics": ["acc"], "acc": True},
        {"doc": {}, "doc_hash": "d", "filter": "none", "metrics": ["acc"], "acc": float("nan")},
        {"doc": {}, "doc_hash": "e", "filter": "none", "metrics": ["acc"], "acc": None},
    ]
    (folder / "samples_arc_2026-01-01T00-00-00.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "results_2026-01-01T00-00-00.json").write_text('{"results": {}}')
    (one,) = samples.find(tmp_path)
    assert one.model == "m"  # the folder's, as the file names none
    assert samples.scores(one, "acc") == {"7": 0.5, "c": 1}
    with pytest.raises(InputError, match=r"has no 'f1'; it has acc,none\."):
        samples.scores(one, "f1")


def test_the_culture_of_a_task_of_ours_is_what_its_configuration_says(tmp_path: Path) -> None:
    task = "caredio_blend_west_java"
    configs = {task: {"dataset_kwargs": {"culture": "west_java"}}, "arc": {"dataset_kwargs": {"culture": "x"}}}
    (tmp_path / "results_2026-01-01T00-00-00.json").write_text(json.dumps({"results": {}, "configs": configs}))
    (found,) = samples.aggregated(tmp_path)
    assert found.place(task)[1:] == ("blend", "west_java")
    assert found.place("arc")[1:] == ("arc", None)


def test_answers_read_in_several_ways_are_told_apart(tmp_path: Path) -> None:
    rows = [
        {"doc": {}, "doc_hash": "a", "filter": name, "metrics": ["em"], "em": value}
        for name, value in (("strict", 0.0), ("flexible", 1.0))
    ]
    (tmp_path / "samples_gsm_2026-01-01T00-00-00.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "results_2026-01-01T00-00-00.json").write_text('{"results": {}}')
    (one,) = samples.find(tmp_path)
    assert samples.scores(one, "em,flexible") == {"a": 1}
    with pytest.raises(InputError, match="has no 'em'; it has em,flexible, em,strict"):
        samples.scores(one, "em")


def test_what_is_damaged_is_named_with_its_line(theirs: Path) -> None:
    file = only(theirs, "samples_caredio_quiz_china*")
    (quiz, _) = sorted(samples.find(theirs), key=lambda one: one.task)
    whole = file.read_bytes()
    file.write_bytes(whole[:-20])
    with pytest.raises(InputError, match=r"\.jsonl, line 4: is no JSON, as its writer was stopped; evaluate"):
        samples.rows(quiz)
    file.write_bytes(b"[1]\n" + whole)
    with pytest.raises(InputError, match=r"\.jsonl, line 1: is no sample of lm-eval"):
        samples.scores(quiz, "acc")
    file.write_bytes(whole.replace(b'"acc": 1.0', b'"acc": "x"', 1))
    with pytest.raises(InputError, match=r"line 1: acc is 'x', which is no number"):
        samples.scores(quiz, "acc")
    results = only(theirs, "results_*.json")
    results.write_text('{\n "results": {,')
    with pytest.raises(InputError, match=r"results_.*json, line 2: is no JSON"):
        samples.find(theirs)
    results.write_text("[]")
    with pytest.raises(InputError, match="has no results by task"):
        samples.find(theirs)
    results.unlink()
    with pytest.raises(InputError, match=r"samples_caredio_quiz.*: results_.*\.json is not beside it"):
        samples.find(theirs)
    with pytest.raises(InputError, match="is no folder"):
        samples.find(theirs / "nowhere")


def test_numbers_without_samples_are_found_as_such(made: dict[str, Any], tmp_path: Path) -> None:
    saved(tmp_path, "me/plain", made, log_samples=False)
    assert samples.find(tmp_path) == []
    (found,) = samples.aggregated(tmp_path)
    assert found.model == "me/plain"
    assert found.identity == {}
    assert found.place("caredio_quiz_china") == ("me/plain", "quiz", "china")
    assert found.content["results"]["caredio_quiz_china"]["acc,none"] == 0.5


def test_a_write_that_was_killed_is_not_read_and_leaves_no_trace(made: dict[str, Any], tmp_path: Path) -> None:
    place = samples.write(tmp_path, IDENTITY, made)
    making = tmp_path / f"{place.name}.making"
    shutil.copytree(place, making)
    only(making, "results_*.json").unlink()
    assert len(samples.find(tmp_path)) == 2
    samples.write(tmp_path, IDENTITY, made)
    assert [one.name for one in tmp_path.iterdir()] == [place.name]
    assert len(list(place.glob("results_*.json"))) == 2  # the first is not replaced


def test_a_disk_that_refuses_is_one_sentence(made: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"file.*cannot be written"):
        samples.write(tmp_path / "file", IDENTITY, made)
