from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest

pytest.importorskip("lm_eval")

from datasets import Features
from llm_server import LLMServer
from lm_eval_folder import WRITTEN, Folders, asked, named, questions, right_on, saved

import caredio
from caredio import features
from caredio.errors import InputError
from caredio.evaluation import samples, tasks_path
from caredio.evaluation.table import build
from caredio.runs import Run


@pytest.fixture
def folder(tmp_path: Path) -> Folders:
    return Folders(tmp_path)


def test_systems_of_one_name_go_by_their_folders(folder: Folders, tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    one, other = folder("x/m", right_on(4)), folder("y", right_on(8))
    saved_as = samples.find(other)[0].path.parent
    saved_as.rename(other / "org__x__m")
    for file in other.rglob("results_*"):
        file.write_text(file.read_text().replace('"org/y"', '"org/x/m"'))
    found = build([one, other])
    assert found.systems == ("org/x/m (m)", "org/x/m (y)")
    (other / "m").mkdir()
    (other / "org__x__m").rename(other / "m" / "org__x__m")
    with pytest.raises(InputError, match="two measurements of 'org/x/m' on quiz; give each folder a name, as NAME="):
        build([one, other / "m"])
    assert build([f"raw={one}", f"trained={other / 'm'}"]).systems == ("raw", "trained")


def test_a_model_that_is_a_folder_goes_by_its_last_part(tmp_path: Path) -> None:
    for name, share in (("one", 4), ("two", 8)):
        tasks = {"caredio_quiz_china": questions(10)}
        model = tmp_path / "models" / name / "final"
        saved(tmp_path / "evals", str(model), asked(tmp_path / "tasks" / name, tasks, right_on(share)))
    evals = sorted((tmp_path / "evals").iterdir())
    assert [build([one]).systems for one in evals] == [("final",), ("final",)]
    whole = tuple(f"final ({tmp_path}/models/{name}/final)" for name in ("one", "two"))
    assert build([tmp_path / "evals"]).systems == whole
    assert build([f"raw={evals[0]}", f"ours={evals[1]}"]).systems == ("raw", "ours")


def test_a_name_is_for_a_folder_of_one_system(folder: Folders, tmp_path: Path) -> None:
    folder("a", right_on(4)).rename(tmp_path / "both")
    folder("b", right_on(8)).rename(tmp_path / "both" / "b")
    with pytest.raises(InputError, match="holds org/a, org/b; a name such as 'raw' is for a folder of one system"):
        build([f"raw={tmp_path / 'both'}"])


def test_what_was_asked_otherwise_is_not_compared(folder: Folders) -> None:
    raw = folder("a", right_on(4))
    other = folder("b", right_on(8), metadata={"version": 2})
    with pytest.raises(
        InputError, match=r"'raw' and 'trained' were not asked the same quiz: version is 1 in one, 2 in"
    ):
        build(named(raw=raw, trained=other))
    other = folder("c", right_on(8), doc_to_text="Answer {{question}}")
    with pytest.raises(InputError, match=r"doc_to_text is 'Question \{\{question\}\}' in one, 'Answer"):
        build(named(raw=raw, trained=other))
    other = folder("d", right_on(8))
    for file in other.rglob("samples_*_china_*"):
        file.write_text(file.read_text().replace('"question": "3"', '"question": "33"'))
    with pytest.raises(InputError, match="the question 'china-3' is another one"):
        build(named(raw=raw, trained=other))


def test_nothing_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no results; name a run"):
        build([tmp_path])
    with pytest.raises(InputError, match="nowhere: is no folder"):
        build([tmp_path / "nowhere"])


def test_a_number_that_is_made_of_texts_has_no_scores_by_question(tmp_path: Path) -> None:
    made = asked(tmp_path / "tasks", {"theirs": questions(4)}, right_on(2))
    made["results"]["theirs"]["bleu,none"] = 12.5
    for row in made["samples"]["theirs"]:
        row["bleu"] = "a reply"
    found = {one.metric: one.cells for one in build([saved(tmp_path / "out", "m", made)]).columns}
    assert {metric: [cell.value for cell in cells.values()] for metric, cells in found.items()} == {
        "acc": [0.5],
        "bleu": [12.5],
    }


def evaluated(out: Path, model: Path, trained: Path | None = None, limit: int = 2, **given: Any) -> Path:
    """A run in which a model was measured on the shipped questions."""
    settings = {"benchmarks": "culturalbench_easy", "culturalbench": "sample", "device": "cpu", **given}
    cultures = settings.pop("cultures", ["china"])
    caredio.evaluate(cultures, out=out, model=str(model), trained=trained, limit=limit, **settings)
    return out


@pytest.fixture
def models(adapter: Path, tmp_path: Path) -> Path:
    """A folder of an adapter a culture."""
    for culture in ("china", "japan"):
        shutil.copytree(adapter, tmp_path / "models" / culture)
    return tmp_path / "models"


def test_a_run_is_compared_on_its_own_samples(tiny: Path, models: Path, tmp_path: Path) -> None:
    both = "culturalbench_easy,culturalbench_hard"
    run = evaluated(tmp_path / "run", tiny, models, 3, cultures=["china", "japan"], benchmarks=both)
    found = build([run])
    systems = ("raw", "role-play", "trained", "trained + role-play")
    assert found.systems == (*systems, "chance", "fixed letter", "always False")
    assert [column.title for column in found.columns][:2] == ["CulturalBench-Easy", "CulturalBench-Hard"]
    rows = [dict(row) for row in caredio.Result({"results": None}, {}, run).results]
    columns = {(column.benchmark, column.metric): column for column in found.columns}
    assert set(columns) == {(row["benchmark"], row["metric"]) for row in rows}
    for (benchmark, metric), column in columns.items():
        for system, cell in column.cells.items():
            own = [
                row for row in rows if (row["system"], row["benchmark"], row["metric"]) == (system, benchmark, metric)
            ]
            assert cell.value == pytest.approx(fmean(row["value"] for row in own))  # as many questions on each culture
            assert cell.n == sum(row["n"] for row in own) == 6
    assert [column.metric for column in found.columns if column.main] == ["acc", "acc"]
    scores: dict[str, list[float]] = {}
    for file in run.rglob("samples_caredio_culturalbench_easy_*"):
        identity = json.loads(next(file.parent.glob("results_*")).read_text())["caredio"]
        scores.setdefault(identity["system"], []).extend(json.loads(line)["acc"] for line in file.open())
    easy = columns["culturalbench_easy", "acc"]
    assert {name: fmean(of) for name, of in scores.items()} == pytest.approx(
        {name: easy.cells[name].value for name in systems}
    )
    assert easy.cells["trained"].tests["raw"].n == 6
    assert easy.cells["chance"].tests == {}
    assert (easy.cells["chance"].low, easy.cells["chance"].improved) == (None, None)
    assert any(line.startswith("chance: an option drawn evenly") for line in found.legend)


def test_two_trainings_of_a_run_are_told_apart_and_raw_is_one(tiny: Path, models: Path, tmp_path: Path) -> None:
    run = evaluated(tmp_path / "run", tiny, models)
    other = shutil.copytree(models, tmp_path / "others")
    for place in other.iterdir():
        config = json.loads((place / "adapter_config.json").read_text())
        (place / "adapter_config.json").write_text(json.dumps({**config, "lora_alpha": 64}))
    evaluated(run, tiny, other)
    again = evaluated(tmp_path / "again", tiny)
    found = build([run, again])
    own = ["trained (models)", "trained (models) + role-play", "trained (others)", "trained (others) + role-play"]
    assert [name for name in found.systems if name.startswith("trained (")] == own
    assert found.systems.count("raw") == 1


def test_evaluations_of_fewer_and_of_more_questions_are_one(tiny: Path, tmp_path: Path) -> None:
    run = evaluated(tmp_path / "run", tiny, limit=2)
    evaluated(run, tiny, limit=3)
    found = build([run])
    assert {cell.n for column in found.columns for cell in column.cells.values()} == {3}
    assert not [note for note in found.notes if "left out" in note]


@pytest.mark.parametrize("lacking", ["model", "low high", "model weights_sha256 benchmark_sha256 settings_sha256"])
def test_a_table_of_an_earlier_release_lacks_columns(tmp_path: Path, lacking: str) -> None:
    row = {"system": "raw", "culture": "china", "benchmark": "culturalbench_easy", "metric": "acc", "n": 10}
    row = {**dict.fromkeys(features.RESULTS), **row, "value": 0.5, "low": 0.2, "high": 0.8}
    columns = Features({name: kind for name, kind in features.RESULTS.items() if name not in lacking.split()})
    with Run(tmp_path / "run") as run:
        run.stage("results", lambda: (features.table([row], columns), {}), columns=columns, source="x")
    (column,) = build([tmp_path / "run"]).columns
    assert (column.cells["raw"].value, column.cells["raw"].n) == (0.5, 10)


def test_a_model_of_another_culture_stands_beside_the_own_one(tmp_path: Path) -> None:
    says = {
        ("china", "china"): 9,
        ("china", "japan"): 4,
        ("japan", "china"): 5,
        ("japan", "japan"): 8,
    }
    for (model, culture), share in says.items():
        made = asked(tmp_path / "tasks", {f"caredio_quiz_{culture}": questions(10, culture)}, right_on(share))
        identity: dict[str, Any] = {"system": "trained", "culture": culture, "model": f"runs/models/{model}"}
        samples.write(tmp_path / "run" / "samples", {**identity, "weights_sha256": model}, made)
    found = build([tmp_path / "run"])
    assert found.systems == ("trained",)
    assert found.columns[0].cells["trained"].value == pytest.approx((9 + 8) / 20)
    (numbers,) = found.across.values()
    assert {key: one.value for key, one in numbers.items()} == {key: share / 10 for key, share in says.items()}
    text = str(found)
    assert "quiz, acc: trained, model by culture asked about" in text
    assert [line.split() for line in text.splitlines() if line.startswith(("china  ", "japan  "))][-2:] == [
        ["china", "90.0", "40.0"],
        ["japan", "50.0", "80.0"],
    ]


def test_a_model_and_the_same_with_a_part_to_play_share_a_name(tmp_path: Path) -> None:
    for model, share in (("one", 5), ("two", 9)):
        for system in ("trained", "trained + role-play"):
            made = asked(tmp_path / "tasks", {"caredio_quiz_china": questions(40)}, right_on(share))
            identity = {"system": system, "culture": "china", "model": f"{model}/china", "weights_sha256": model}
            samples.write(tmp_path / "run", identity, made)
    found = build([tmp_path / "run"])
    assert found.systems == (
        "trained (one)",
        "trained (one) + role-play",
        "trained (two)",
        "trained (two) + role-play",
    )
    (column,) = found.columns
    assert column.marks("trained (two)") == "‡"  # its own other arm, which is as good, is no rival


def test_one_model_of_all_cultures_is_no_model_of_another_culture(tmp_path: Path) -> None:
    for culture in ("china", "japan"):
        made = asked(tmp_path / "tasks", {f"caredio_quiz_{culture}": questions(10, culture)}, right_on(5))
        identity = {"system": "trained", "culture": culture, "model": "models/china", "weights_sha256": "a"}
        samples.write(tmp_path / "run", identity, made)
    found = build([tmp_path / "run"])
    assert found.across == {}
    assert found.columns[0].parts == ("china", "japan")


def test_a_model_behind_an_api_has_no_weights_and_one_name(tmp_path: Path) -> None:
    for system in ("raw", "role-play"):
        made = asked(tmp_path / "tasks", {"caredio_quiz_generated_china": questions(10)}, right_on(5))
        samples.write(tmp_path / "run", {"system": system, "culture": "china", "model": "gpt"}, made)
    assert build([tmp_path / "run"]).systems == ("raw", "role-play")


def test_answers_that_two_judges_rated_are_not_compared(tmp_path: Path) -> None:
    for system, judge in (("raw", "gpt-1"), ("trained", "gpt-2")):
        made = asked(tmp_path / "tasks", {"caredio_care_generated_judged_china": questions(10)}, right_on(5))
        identity = {"system": system, "culture": "china", "model": system, "judge": {"model": judge}}
        samples.write(tmp_path / "run", identity, made)
    with pytest.raises(InputError, match=r"not asked the same care_generated_judged: judge is \{'model': 'gpt-"):
        build([tmp_path / "run"])


def test_what_a_judge_rated_is_a_column(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over HTTP: the judge gives the number that a reply names, and refuses one."""
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    ratings = {"raw": [2, 3, 4, 5, 6, 7, 8, 9], "trained": [6, 6, 7, 7, 8, 8, 9, 9]}
    for system, values in ratings.items():
        documents = [
            {"id": f"q{n}", "question": str(n), "answers": [{"text": "yes", "weight": 1}], "category": "Literacy"}
            for n in range(8)
        ]
        task = {"caredio_care_generated_china": documents}
        made = asked(tmp_path / "tasks", task, lambda doc, of=values: f"worth {of[int(doc['question'])]}", **WRITTEN)
        identity = {"system": system, "culture": "china", "model": "base", "weights_sha256": system}
        samples.write(tmp_path / "run" / "samples", identity, made)

    def says(number: int, body: dict[str, Any]) -> str:
        found = re.search(r"worth (\d+)", body["messages"][-1]["content"])
        assert found
        return "No." if found[1] == "2" else f"Rating: [[{found[1]}]]"

    with LLMServer(says) as server:
        store = tmp_path / "answers.sqlite"
        caredio.judge(tmp_path / "run", model="judge", base_url=server.url, store=store, benchmark="care")
    found = build([tmp_path / "run"])
    column = next(one for one in found.columns if one.metric == "rating")
    assert (column.benchmark, column.title) == ("care_generated_judged", "care_generated_judged, rating")
    assert column.cells["trained"].value == fmean(ratings["trained"][1:])  # of those that were rated of both
    assert column.cells["raw"].value == fmean(ratings["raw"][1:])
    assert column.cells["trained"].tests["raw"].n == 7
    what = "the mean is over the 7 questions that all systems share; left out: trained 1 of 8."
    assert f"care_generated_judged, rating: {what}" in found.notes
    assert "care_generated_judged, unparsed, per cent: raw 12.5, trained 0.0." in found.notes


@pytest.mark.slow
def test_folders_that_the_command_of_lm_eval_left(tiny: Path, tmp_path: Path) -> None:
    """Its own command, on a task of ours and one of a user's, with and without --apply_chat_template."""
    data = tmp_path / "own.jsonl"
    data.write_text("".join(f'{{"q": "{n}", "o": ["A", "B"], "k": {n % 2}}}\n' for n in range(20)))
    (tmp_path / "own.yaml").write_text(
        "task: own\ndataset_path: json\ndataset_kwargs:\n  data_files:\n    test: " + str(data) + "\ntest_split: test\n"
        "output_type: multiple_choice\ndoc_to_text: '{{q}}'\ndoc_to_choice: o\ndoc_to_target: k\n"
        "metric_list:\n  - {metric: acc, aggregation: mean, higher_is_better: true}\n  - {metric: acc_norm}\n"
    )
    ours = str(tasks_path())
    commands = (("own", tmp_path, []), ("caredio_culturalbench_easy_china", ours, ["--apply_chat_template"]))
    for task, where, flags in commands:
        arguments = ["run", "--model", "hf", "--model_args", f"pretrained={tiny}", "--tasks", task, "--limit", "8"]
        arguments += ["--include_path", str(where), "--output_path", str(tmp_path / "out"), "--log_samples", *flags]
        done = subprocess.run(
            [sys.executable, "-m", "lm_eval", *arguments, "--device", "cpu"],
            env={**os.environ, "CAREDIO_CULTURALBENCH": "sample"},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
    found = caredio.results(f"raw={tmp_path / 'out'}")
    assert found.systems == ("raw",)
    columns = {(column.benchmark, column.metric): column for column in found.columns}
    assert set(columns) == {("own", "acc"), ("own", "acc_norm"), ("culturalbench_easy", "acc")}
    for (benchmark, metric), column in columns.items():
        (file,) = tmp_path.rglob(f"samples_*{benchmark}*.jsonl")
        scores = [json.loads(line)[metric] for line in file.open()]
        assert column.cells["raw"].value == pytest.approx(sum(scores) / len(scores))
        assert column.cells["raw"].n == len(scores)
