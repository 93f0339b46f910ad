from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from lm_eval.api.instance import Instance
from lm_eval.evaluator import evaluate
from lm_eval.tasks import TaskManager

from caredio import cultures
from caredio.evaluation import judgements, tasks_path
from caredio.evaluation.benchmarks import culturalbench

CULTURES = cultures.load()


def manager(source: str = "sample") -> TaskManager:
    return TaskManager(
        include_path=[tasks_path()], include_defaults=False, metadata={"culturalbench": source} if source else None
    )


def run(lm: Any, *tasks: str, **settings: Any) -> dict[str, dict[str, Any]]:
    made = evaluate(lm, manager().load(list(tasks)), log_samples=False, **settings)
    assert made is not None
    return {**made["results"], **made.get("groups", {})}


def right(request: Instance) -> bool:
    """Whether a request's continuation is the right answer."""
    said = request.args[1].strip()
    if "key" in request.doc:
        return said == "ABCD"[request.doc["key"]]
    return said == str(request.doc["truth"][request.idx // 2])


def says(word: str) -> Any:
    return lambda request: request.args[1].strip() == word


@pytest.mark.parametrize("kind", ["easy", "hard"])
def test_every_culture_has_its_task_and_the_group_holds_them_all(kind: str) -> None:
    names = [f"caredio_culturalbench_{kind}_{slug}" for slug in CULTURES]
    known = manager()
    assert [name for name in known.all_subtasks if f"_{kind}_" in name] == sorted(names)
    loaded = known.load([f"caredio_culturalbench_{kind}"])
    assert loaded["group_map"] == {f"caredio_culturalbench_{kind}": names}
    for slug, name in zip(CULTURES, names, strict=True):
        assert {document["country"] for document in loaded["tasks"][name].eval_docs} == {CULTURES[slug].name}


def test_every_file_of_the_folder_is_a_task_a_group_or_a_base() -> None:
    known = {entry.yaml_path for entry in manager().task_index.values()}
    assert known == set(FOLDER.glob("*.yaml"))
    assert {path.name for path in FOLDER.iterdir()} - {path.name for path in known} == {
        "_easy_yaml",
        "_hard_yaml",
        "README.md",
        "sample.csv",
    }


def test_who_knows_everything_scores_one(scripted: Any) -> None:
    found = run(scripted(right), "caredio_culturalbench_easy", "caredio_culturalbench_hard")
    assert len(found) == 2 * len(CULTURES) + 2
    assert all(numbers["acc,none"] == 1 for numbers in found.values())
    assert found["caredio_culturalbench_hard"]["judgement_acc,none"] == 1


def test_always_a_scores_the_share_of_a_in_the_permuted_key(scripted: Any) -> None:
    found = run(scripted(says("A")), "caredio_culturalbench_easy")
    keys = [culturalbench.choice(row)["key"] for row in culturalbench.read(culturalbench.SAMPLE)]
    assert found["caredio_culturalbench_easy"]["acc,none"] == pytest.approx(keys.count(0) / len(keys))


def test_always_false_gets_no_hard_question_right(scripted: Any) -> None:
    found = run(scripted(says("False")), "caredio_culturalbench_hard")
    truths = [culturalbench.judgements(row)["truth"] for row in culturalbench.read(culturalbench.SAMPLE)]
    false = sum(truth.count(False) for truth in truths) / (4 * len(truths))
    assert found["caredio_culturalbench_hard"]["acc,none"] == 0
    assert found["caredio_culturalbench_hard"]["judgement_acc,none"] == pytest.approx(false)


def test_always_false_gets_three_quarters_of_plain_questions_judgements(
    scripted: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    china = culturalbench.about("China", culturalbench.SAMPLE)
    plain = [row for row in china if "(iv)" not in row["prompt_question"]]
    file = tmp_path / "plain.csv"
    with file.open("w", newline="", encoding="utf-8") as lines:
        writer = csv.DictWriter(lines, list(china[0]))
        writer.writeheader()
        writer.writerows(plain)
    monkeypatch.setenv(culturalbench.VARIABLE, str(file))
    made = evaluate(scripted(says("False")), manager("").load(["caredio_culturalbench_hard_china"]))
    numbers = made["results"]["caredio_culturalbench_hard_china"]
    assert (numbers["acc,none"], numbers["judgement_acc,none"], numbers["sample_len"]) == (0, 0.75, len(plain))


def test_limit_and_standard_error_count_questions(scripted: Any) -> None:
    asked: list[str] = []

    def one_wrong(request: Instance) -> bool:
        """Right but for the last judgement of the first question."""
        asked.append(request.doc["data_idx"])
        return right(request) != (request.doc["data_idx"] == asked[0] and request.idx >= 6)

    numbers = run(scripted(one_wrong), "caredio_culturalbench_hard_japan", limit=5)["caredio_culturalbench_hard_japan"]
    assert numbers["sample_len"] == 5
    assert len(asked) == 5 * 8
    assert numbers["acc,none"] == pytest.approx(4 / 5)
    assert numbers["judgement_acc,none"] == pytest.approx(19 / 20)
    assert numbers["acc_stderr,none"] == pytest.approx((0.8 * 0.2 / 4) ** 0.5)  # of 0, 1, 1, 1, 1
    assert numbers["judgement_acc_stderr,none"] == pytest.approx(0.25 * (0.8 * 0.2 / 4) ** 0.5)


def test_every_statement_is_a_chat_of_its_own(scripted: Any) -> None:
    lm = scripted(right)
    settings: dict[str, Any] = {"system_instruction": "Be brief.", "apply_chat_template": True}
    run(lm, "caredio_culturalbench_hard_egypt", limit=1, **settings)
    document = manager().load(["caredio_culturalbench_hard_egypt"])["tasks"]["caredio_culturalbench_hard_egypt"]
    first = document.eval_docs[0]
    assert lm.asked == [
        (
            f"<system>Be brief.<user>Question: {first['question']}\nAnswer: {statement}\nIs this answer true or false "
            "for this question? You must choose either True or False.\nJudgement:<assistant>",
            answer,
        )
        for statement in first["statements"]
        for answer in ("True", "False")
    ]


def test_easy_shows_its_options_by_letter(scripted: Any) -> None:
    lm = scripted(right)
    run(lm, "caredio_culturalbench_easy_egypt", limit=1)
    (context,) = {context for context, _ in lm.asked}
    first = culturalbench.choice(culturalbench.about("Egypt", culturalbench.SAMPLE)[0])
    options = "\n".join(f"{letter}. {option}" for letter, option in zip("ABCD", first["options"], strict=True))
    assert context.endswith(f"A, B, C and D.\nQuestion: {first['question']}\n{options}\nAnswer:")
    assert [answer for _, answer in lm.asked] == [" A", " B", " C", " D"]


def test_a_judgement_is_the_likelier_word() -> None:
    pairs = [(-1.0, True), (-2.0, False), (-3.0, False), (-2.0, True)] * 2
    assert score({"truth": [True, False, True, False]}, pairs) == {"acc": 1.0, "judgement_acc": 1.0}
    assert score({"truth": [True, True, True, False]}, pairs) == {"acc": 0.0, "judgement_acc": 0.75}


@pytest.mark.slow
@pytest.mark.parametrize("by", ["metadata", "environment"])
def test_lm_eval_runs_a_task_by_itself(tiny: Path, tmp_path: Path, by: str) -> None:
    command = [sys.executable, "-m", "lm_eval", "--include_path", str(tasks_path())]
    command += ["--tasks", "caredio_culturalbench_hard_china", "--limit", "2", "--apply_chat_template"]
    command += ["--model", "hf", "--model_args", f"pretrained={tiny}", "--device", "cpu"]
    own = {culturalbench.VARIABLE: "sample"} if by == "environment" else {}
    command += ["--metadata", '{"culturalbench": "sample"}'] if by == "metadata" else []
    done = subprocess.run(command, cwd=tmp_path, env={**os.environ, **own}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "caredio_culturalbench_hard_china" in done.stdout
    assert "judgement_acc" in done.stdout
