"""The folder of tasks as lm-eval reads it, and runs it from the command line."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from lm_eval.tasks import TaskManager

from caredio import cultures
from caredio.errors import InputError
from caredio.evaluation import benchmark, tasks, tasks_path
from caredio.evaluation.benchmarks import culturalbench

CULTURES = cultures.load()
SAMPLE = {"culturalbench": "sample"}
SUFFIXES = ["", "_generated", "_cot", "_role_play", "_generated_role_play", "_cot_role_play"]


@pytest.fixture
def known() -> TaskManager:
    return TaskManager(include_path=[tasks_path()], include_defaults=False, metadata=SAMPLE)


def config(file: Path) -> dict[str, Any]:
    """A YAML of the folder over its base; functions are their names."""
    text = re.sub(r"!function (\S+)", r"\1", file.read_text())
    found = yaml.safe_load(text)
    base = config(file.with_name(found.pop("include"))) if "include" in found else {}
    return {**base, **found}


def test_every_benchmark_has_a_task_a_culture_a_variant_and_a_part(known: TaskManager) -> None:
    groups = {
        f"caredio_{benchmark.named(one.name, variant)}{part}"
        for one in benchmark.load().values()
        for variant in one.variants
        for part in ("", "_role_play")
    }
    assert {f"caredio_culturalbench_{kind}{suffix}" for kind in ("easy", "hard") for suffix in SUFFIXES} <= groups
    assert set(known.all_groups) == groups | {"caredio_out_of_domain", "caredio_general"}  # of lm-eval's own tasks
    assert set(known.all_subtasks) == {f"{group}_{slug}" for group in groups for slug in CULTURES}


@pytest.mark.parametrize("kind", ["easy", "hard"])
def test_a_group_holds_the_tasks_of_all_cultures(known: TaskManager, kind: str) -> None:
    names = [f"caredio_culturalbench_{kind}_{slug}" for slug in CULTURES]
    loaded = known.load([f"caredio_culturalbench_{kind}"])
    assert loaded["group_map"] == {f"caredio_culturalbench_{kind}": names}
    for slug, name in zip(CULTURES, names, strict=True):
        documents = list(loaded["tasks"][name].eval_docs)
        assert {document["culture"] for document in documents} == {slug}
        assert len(documents) == 8


def test_a_group_leaves_out_cultures_without_questions(known: TaskManager, tmp_path: Path) -> None:
    """lm-eval runs no group with a task that has no documents; the task itself says so."""
    five = ["united_kingdom", "china", "south_korea", "united_states", "mexico"]
    made = config(tasks_path() / "caredio_blend.yaml")
    assert made["task"] == [f"caredio_blend_{slug}" for slug in five]
    assert "caredio_blend_japan" in known.all_subtasks
    own = tmp_path / "own.yaml"
    shape = "languages: [es], region: Southern Europe, neighbours: [mexico]"
    own.write_text(f"- {{slug: spain, name: Spain, adjective: Spanish, {shape}}}\n")
    more = config(tasks_path(own) / "caredio_blend.yaml")["task"]
    assert more == [*(f"caredio_blend_{slug}" for slug in five), "caredio_blend_spain"]
    rows = ["MCQID,ID,country,prompt,choices,answer_idx"]
    for region in ("UK", "China", "South_Korea", "US", "Mexico"):
        shown = "Which? Without any explanation, choose.\n\nA. a\nB. b\nC. c\nD. d\n\nAnswer:"
        options = '{""A"": ""a"", ""B"": ""b"", ""C"": ""c"", ""D"": ""d""}'
        rows.append(f'{region}-1,q1,{region},"{shown}","{options}",B')
    (tmp_path / "blend.csv").write_text("\n".join(rows) + "\n")
    asked = TaskManager(
        include_path=[tasks_path()], include_defaults=False, metadata={"blend_choices": str(tmp_path / "blend.csv")}
    )
    assert len(asked.load(["caredio_blend"])["tasks"]) == 5


def test_every_file_of_the_folder_is_a_task_a_group_or_the_base_of_some(known: TaskManager) -> None:
    folder = tasks_path()
    indexed = {Path(str(entry.yaml_path)) for entry in known.task_index.values()}
    assert indexed == set(folder.glob("*.yaml"))
    bases = {yaml.safe_load(re.sub("!function", "", file.read_text())).get("include") for file in indexed} - {None}
    assert {path.name for path in folder.iterdir()} - {path.name for path in indexed} == bases


def test_what_a_task_says_of_itself() -> None:
    made = config(tasks_path() / "caredio_culturalbench_hard_generated_role_play_china.yaml")
    assert made["task"] == "caredio_culturalbench_hard_generated_role_play_china"
    assert made["output_type"] == "generate_until"
    assert made["description"].startswith("You speak as a member of Chinese society")
    assert made["generation_kwargs"] == {"until": [], "max_gen_toks": 8, "do_sample": False}
    assert made["metadata"] == {"version": "1.0"}
    assert [(one["metric"], one["higher_is_better"]) for one in made["metric_list"]] == [
        ("acc", True),
        ("judgement_acc", True),
        ("unparsed", False),
    ]
    plain = config(tasks_path() / "caredio_culturalbench_easy_china.yaml")
    assert plain["output_type"] == "multiple_choice"
    assert plain["metadata"] == {"version": "2.0"}  # over rotations: other numbers than a single order gives
    assert "description" not in plain


def test_equal_tasks_have_one_folder_and_other_ones_another(tmp_path: Path) -> None:
    assert tasks_path() == tasks_path()
    own = tmp_path / "own.yaml"
    shape = "languages: [cy], region: Northern Europe, neighbours: [united_kingdom]"
    own.write_text(f"- {{slug: wales, name: Wales, adjective: Welsh, {shape}}}\n")
    made = tasks_path(own)
    assert made != tasks_path()
    assert config(made / "caredio_culturalbench_easy_wales.yaml")["dataset_kwargs"]["spellings"] == ["Wales", "wales"]
    asked = [(culturalbench.EASY, "")]
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "systems.txt").write_text("[system]\nBe $adjective.\n")
    mine = tasks.folder(asked, [CULTURES["china"]], str(tmp_path / "mine"))
    assert mine != tasks.folder(asked, [CULTURES["china"]])
    assert config(mine / "caredio_culturalbench_easy_role_play_china.yaml")["description"] == "Be Chinese."


def test_a_culture_without_questions_is_one_sentence() -> None:
    with pytest.raises(InputError, match=r"CulturalBench-Easy holds no question on 'Wales' or 'wales'\.$"):
        tasks.documents("culturalbench_easy", "wales", ["Wales", "wales"], "", culturalbench="sample")


def test_a_changed_reader_or_scoring_changes_the_hash(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    before = {one.name: tasks.sha256(one) for one in culturalbench.BENCHMARKS}
    assert before["culturalbench_easy"] != before["culturalbench_hard"]  # scored by other modules
    changed = tmp_path / "judgements.py"
    changed.write_text(Path(tasks.__file__).with_name("judgements.py").read_text() + "\n# changed\n")
    monkeypatch.setattr(sys.modules["caredio.evaluation.judgements"], "__file__", str(changed))
    assert tasks.sha256(culturalbench.EASY) == before["culturalbench_easy"]
    assert tasks.sha256(culturalbench.HARD) != before["culturalbench_hard"]


def test_a_changed_metric_changes_the_hash(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    before = tasks.sha256(culturalbench.EASY)
    shutil.copytree(Path(tasks.__file__).with_name("metrics"), tmp_path / "metrics")
    monkeypatch.setattr(tasks, "_METRICS", tmp_path / "metrics")
    assert tasks.sha256(culturalbench.EASY) == before
    (tmp_path / "metrics" / "choices.py").write_text("# changed")
    assert tasks.sha256(culturalbench.EASY) != before


@pytest.mark.slow
@pytest.mark.parametrize(
    ("by", "task"),
    [
        ("metadata", "caredio_culturalbench_hard_china"),
        ("environment", "caredio_culturalbench_hard_generated_china"),
        ("metadata", "caredio_culturalbench_easy_role_play_china"),
    ],
)
def test_lm_eval_runs_a_task_by_itself(tiny: Path, tmp_path: Path, by: str, task: str) -> None:
    command = [sys.executable, "-m", "lm_eval", "--include_path", str(tasks_path())]
    command += ["--tasks", task, "--limit", "2", "--apply_chat_template"]
    command += ["--model", "hf", "--model_args", f"pretrained={tiny}", "--device", "cpu"]
    own = {"CAREDIO_CULTURALBENCH": "sample"} if by == "environment" else {}
    command += ["--metadata", '{"culturalbench": "sample"}'] if by == "metadata" else []
    command += ["--output_path", str(tmp_path / "out"), "--log_samples"]
    done = subprocess.run(command, cwd=tmp_path, env={**os.environ, **own}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert task in done.stdout
    (file,) = (tmp_path / "out").rglob("samples_*.jsonl")
    lines = [yaml.safe_load(line) for line in file.read_text().splitlines()]
    prompts = [argument["arg_0"] for line in lines for argument in line["arguments"].values()]
    assert len(lines) == 2
    assert all(("You speak as a member of Chinese society" in prompt) == ("role_play" in task) for prompt in prompts)
    assert ("unparsed" in done.stdout) == ("generated" in task)
