"""A model behind an API, asked over HTTP for letters and words: what is right, what is no answer, what is paid for."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lm_eval_arithmetic as arithmetic
import pytest
from datasets import Dataset
from llm_server import LLMServer
from lm_eval.evaluator import evaluate
from lm_eval.tasks import TaskManager
from scipy.spatial.distance import jensenshannon

import caredio
from caredio import cli, features
from caredio.errors import CaredioError, EndpointError
from caredio.evaluation import tasks_path
from caredio.evaluation.results import format_table
from caredio.publishing import release
from caredio.runs import read

BLEND = Path(__file__).parents[1] / "data" / "blend"  # 24 of BLEnD's questions in all 16 regions
COLUMNS = [
    ("culturalbench_easy_generated", "acc"),
    ("culturalbench_easy_generated", "unparsed"),
    ("culturalbench_hard_generated", "acc"),
    ("culturalbench_hard_generated", "judgement_acc"),
    ("culturalbench_hard_generated", "unparsed"),
]
CALLS = 2 * 3 * (1 + 4)  # systems, questions, a letter and four judgements
NUMBERED = (
    "What is on a table?\nRead the following statements and select the option that include all the appropriate "
    "statements for this question.\n(i) Bowls\n(ii) Boots\n(iii) Chopsticks\n(iv) Snow"
)
QUESTIONS = [
    ("What is eaten at noon?", "Rice", "Bricks", "Coal", "Glass", "A"),
    (NUMBERED, "i, ii", "ii, iii", "i, iii", "iv", "C"),
    ("What is drunk after it?", "Ink", "Oil", "Glue", "Tea", "D"),
]
RIGHT = {"Rice", "Tea", "i, iii", "Bowls", "Chopsticks"}  # whatever their letters


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    """Three questions on China, as CulturalBench has them."""
    file = tmp_path / "questions.csv"
    names = ["prompt_question", *(f"prompt_option_{letter}" for letter in "abcd"), "answer"]
    with file.open("w", newline="") as lines:
        writer = csv.writer(lines)
        writer.writerow(["data_idx", *names, "country"])
        writer.writerows([number, *question, "China"] for number, question in enumerate(QUESTIONS))
    return file


def options(body: dict[str, Any]) -> dict[str, str]:
    """Letter -> option, as the model reads them; none where it is asked to judge."""
    lines = body["messages"][-1]["content"].splitlines()
    return {line[0]: line[3:] for line in lines if line[:3] in ("A. ", "B. ", "C. ", "D. ")}


def oracle(body: dict[str, Any]) -> str:
    if shown := options(body):
        return next(letter for letter, text in shown.items() if text in RIGHT)
    asked = body["messages"][-1]["content"]
    statement = next(line for line in asked.splitlines() if line.startswith("Answer: "))
    return str(statement.removeprefix("Answer: ") in RIGHT)


def served(says: Callable[[dict[str, Any]], Any], **more: Any) -> LLMServer:
    return LLMServer(lambda _, body: says(body), **more)


def measure(server: LLMServer, questions: Path, **more: Any) -> Dataset:
    given = {"model": "tuned", "base_url": server.url, "store": questions.with_name("answers.sqlite"), **more}
    return caredio.evaluate(["china"], culturalbench=str(questions), **given).results


def numbers(table: Dataset, system: str = "raw") -> list[float]:
    """Easy, Hard, judgements, and what was unparsed of Easy and of Hard."""
    assert [(row["benchmark"], row["metric"]) for row in table if row["system"] == system] == COLUMNS
    easy, easy_unparsed, hard, judged, hard_unparsed = (row["value"] for row in table if row["system"] == system)
    return [easy, hard, judged, easy_unparsed, hard_unparsed]


SCRIPTS: dict[str, tuple[Callable[[dict[str, Any]], Any], list[float]]] = {
    "oracle": (oracle, [1, 1, 1, 0, 0]),
    "in Markdown": (lambda body: f" **({oracle(body)})**.\n", [1, 1, 1, 0, 0]),
    "thinking first": (lambda body: f"<think>B? No, C.</think>\n{oracle(body).lower()}", [1, 1, 1, 0, 0]),
    # of the plain questions one statement is true, of the numbered one two
    "always False": (lambda body: oracle(body) if options(body) else "False", [1, 0, (3 + 2 + 3) / 12, 0, 0]),
    "always True": (lambda body: oracle(body) if options(body) else "True", [1, 0, (1 + 2 + 1) / 12, 0, 0]),
    "one judgement wrong": (
        lambda body: "True" if "Answer: Coal" in body["messages"][-1]["content"] else oracle(body),
        [1, 2 / 3, 11 / 12, 0, 0],
    ),
    "rambling": (lambda body: f"The answer is {oracle(body)}.", [0, 0, 0, 1, 1]),
    "two letters": (lambda body: f"{oracle(body)} or E", [0, 0, 0, 1, 1]),
    "refusing": (lambda _: {"content": None, "message": {"refusal": "No."}}, [0, 0, 0, 1, 1]),
    "silent": (lambda _: "", [0, 0, 0, 1, 1]),
    "cut off": (lambda body: {"content": oracle(body), "finish_reason": "length"}, [0, 0, 0, 1, 1]),
    "a letter to everything": (lambda _: "B", [-1, 0, 0, 0, 1]),  # of Easy, see below
}


@pytest.mark.parametrize("script", SCRIPTS)
def test_what_is_right_and_what_is_no_answer(script: str, questions: Path) -> None:
    says, wanted = SCRIPTS[script]
    with served(says) as server:
        found = measure(server, questions)
        assert len(server.seen) == CALLS  # none is asked again for a better one
        assert {body["temperature"] for body in server.bodies.values()} == {0}
        shown = [options(body) for body in server.bodies.values() if len(body["messages"]) == 1 and options(body)]
    assert len(shown) == 3
    if wanted[0] == -1:
        wanted = [sum(one["B"] in RIGHT for one in shown) / 3, *wanted[1:]]
    assert numbers(found) == pytest.approx(wanted)
    assert numbers(found, "role-play") == pytest.approx(wanted)
    assert {row["n"] for row in found} == {3}


def test_hashes_of_documents_are_those_of_lm_eval_on_the_same_task(
    questions: Path, tmp_path: Path, scripted: Any
) -> None:
    """Short answers too, whose documents hold lists of dicts."""
    names = ["culturalbench_easy", "culturalbench_hard", "blend_answers"]
    with served(lambda _: "rice") as server:
        measure(server, questions, out=tmp_path / "run", benchmarks=",".join(names), benchmark_data=f"blend={BLEND}")
    files = {"culturalbench": str(questions), "blend": str(BLEND)}
    known = TaskManager(include_path=[tasks_path()], include_defaults=False, metadata=files)
    tasks = [f"caredio_{name}_generated_china" for name in names]
    made = evaluate(scripted(writes=lambda _: "rice"), known.load(tasks), log_samples=True, apply_chat_template=True)
    assert made is not None
    for task in tasks:
        wanted = [(one["doc_hash"], one["target_hash"]) for one in made["samples"][task]]
        for file in (tmp_path / "run").rglob(f"samples_{task}_*"):
            rows = [json.loads(line) for line in file.read_text().splitlines()]
            assert [(row["doc_hash"], row["target_hash"]) for row in rows] == wanted
    assert len([*(tmp_path / "run").rglob("samples_*")]) == 2 * len(tasks)


def test_the_part_to_play_reaches_the_model_alone_where_it_is_played(questions: Path) -> None:
    def says(body: dict[str, Any]) -> str:
        system = [one["content"] for one in body["messages"] if one["role"] == "system"]
        assert system == [] or "Chinese society" in system[0]
        return oracle(body) if system else "?"

    with served(says) as server:
        found = measure(server, questions)
    assert numbers(found, "raw") == [0, 0, 0, 1, 1]
    assert numbers(found, "role-play") == [1, 1, 1, 0, 0]


def test_a_run_that_was_killed_goes_on_and_pays_once(questions: Path, tmp_path: Path) -> None:
    out, config = tmp_path / "run", tmp_path / "answers.sqlite"
    with served(oracle, latency=0.05) as server:
        command = ["evaluate", "--cultures", "china", "--model", "ft:tuned", "--base-url", server.url, "--quiet"]
        command += ["--out", str(out), "--culturalbench", str(questions), "--store", str(config), "--concurrency", "1"]
        process = subprocess.Popen([sys.executable, "-m", "caredio.cli", *command])
        while len(server.seen) < 8 and process.poll() is None:
            time.sleep(0.01)
        process.kill()
        assert process.wait() < 0
        assert len(server.seen) < CALLS
        cli.main(command)
        assert len(server.bodies) == CALLS
        assert server.repeats() <= 1  # what was in flight
        before, run = len(server.seen), json.loads((out / "run.json").read_text())
        cli.main(command)
        assert len(server.seen) == before
    assert numbers(read(sorted((out / "results").glob("*.parquet"))), "raw") == [1, 1, 1, 0, 0]
    (spent,) = run["spending"]["models"]
    assert spent["calls"] >= CALLS - 1


def test_a_question_that_got_no_answer_is_not_counted_as_wrong(questions: Path, tmp_path: Path) -> None:
    out, broken = tmp_path / "run", [True]

    def says(body: dict[str, Any]) -> Any:
        return 500 if broken[0] and "Answer: Tea" in body["messages"][-1]["content"] else oracle(body)

    with served(says) as server:
        with pytest.raises(EndpointError, match=r"1 of 12 calls got no answer .*run the same command again"):
            measure(server, questions, out=out, retries=0, concurrency=1)
        before = read(sorted((out / "results").glob("*.parquet")))
        assert {row["benchmark"] for row in before if row["system"] == "raw"} == {"culturalbench_easy_generated"}
        broken[0] = False
        found = measure(server, questions, out=out)
        assert server.repeats() == 1
    assert numbers(found) == [1, 1, 1, 0, 0]


def test_what_was_generated_stands_beside_likelihoods_and_is_not_compared(
    questions: Path, tmp_path: Path, tiny: Path
) -> None:
    out = tmp_path / "run"
    first = caredio.evaluate(["china"], out=out, model=str(tiny), culturalbench=str(questions), device="cpu").results
    with served(oracle) as server:
        found = measure(server, questions, out=out)
        other = measure(server, questions, out=out, model="other")
        assert len(server.seen) == 2 * CALLS
    kept = read(sorted((out / "results").glob("*.parquet")))
    assert kept.features == features.RESULTS
    assert kept.to_list()[: len(first)] == first.to_list()
    assert {row["benchmark"] for row in first} == {"culturalbench_easy", "culturalbench_hard"}
    assert {row["benchmark"] for row in found} == {"culturalbench_easy_generated", "culturalbench_hard_generated"}
    assert {row["model"] for row in kept if row["system"] == "raw"} == {str(tiny), "tuned", "other"}
    assert {row["model"] for row in other if row["system"] == "raw"} == {"other"}
    # a release's card shows what was measured on weights, and nothing of what a name wrote
    assert {row["benchmark"] for row in release._measured(tiny, None, kept)} == {row["benchmark"] for row in first}
    _, by_likelihood, written, more = format_table(kept).split("china ")
    assert "unparsed" not in by_likelihood
    assert "chat template applied" in by_likelihood
    assert "CulturalBench-Easy, unparsed" in written.splitlines()[0]
    assert "answers that the model wrote, not comparable with likelihoods" in more


def test_a_table_by_hand(questions: Path) -> None:
    with served(lambda body: oracle(body) if options(body) else "False") as server:
        text = format_table(measure(server, questions, provider="mine")).splitlines()
    assert text[0].split("  ")[0] == "china"
    assert " ".join(text[1].split()) == (  # 0 of 3: up to z^2 / (3 + z^2); 8 of 12 judgements
        "raw 100.0 [43.9, 100.0] n=3 0.0 [0.0, 56.1] n=3 66.7 [20.8, 93.9] n=3 0.0 [0.0, 56.1] n=3"
    )
    assert " ".join(text[4].split()) == "always False - 0.0 [0.0, 56.1] n=3 66.7 [20.8, 93.9] n=3 -"
    assert " ".join(text[7].split()) == "raw 0.0 [0.0, 56.1] n=3"


def test_a_survey_is_answered_ten_times_with_answers_that_may_differ(tmp_path: Path) -> None:
    rows = [{"culture": "China", "question": "How often?", "options": ["daily", "weekly", "never"]}]
    (tmp_path / "own.jsonl").write_text(json.dumps({**rows[0], "shares": [0.7, 0.2, 0.1]}) + "\n")
    (tmp_path / "own.yaml").write_text(
        "name: survey\ntitle: Survey\nkind: distribution\nfile: own.jsonl\nlicence: mit\n"
    )
    replies = {False: iter("AAAAAAABBC"), True: iter("AAAAAAAAA?")}  # as it is, and playing the part

    def says(body: dict[str, Any]) -> str:
        return next(replies[len(body["messages"]) == 2])

    asked = {"benchmarks": str(tmp_path / "own.yaml"), "model": "tuned", "out": tmp_path / "run", "concurrency": 1}
    with served(says) as server:
        found = caredio.evaluate(["china"], **asked, base_url=server.url).results
        assert len(server.seen) == 20
        assert {body["temperature"] for body in server.bodies.values()} == {1}
        caredio.evaluate(["china"], **asked, base_url=server.url)
        assert len(server.seen) == 20
    values = {(row["system"], row["metric"]): row["value"] for row in found}
    assert values["raw", "js_similarity"] == pytest.approx(1)
    assert values["raw", "unparsed"] == 0
    assert values["role-play", "unparsed"] == pytest.approx(0.1)
    near = 1 - jensenshannon([0.9, 0, 0, 0.1], [0.7, 0.2, 0.1, 0], base=2)  # what is no letter is nobody's option
    assert values["role-play", "js_similarity"] == pytest.approx(near)


def test_samples_hold_the_messages_and_what_was_written(questions: Path, tmp_path: Path) -> None:
    """Also what is no answer; scores are computed again from them by who knows nothing of this package."""
    with served(lambda body: {"content": "It is B", "finish_reason": "length"} if options(body) else "False") as server:
        found = measure(server, questions, out=tmp_path / "run")
    files = sorted((tmp_path / "run" / "samples").rglob("samples_*.jsonl"))
    assert len(files) == 2 * 2
    for file in files:
        (row, *_), results = arithmetic.rows(file), json.loads(next(file.parent.glob("results_*")).read_text())
        system = results["caredio"]["system"]
        messages = json.loads(row["arguments"]["gen_args_0"]["arg_0"])
        assert [one["role"] for one in messages] == ["user"] if system == "raw" else ["system", "user"]
        assert messages[-1]["content"] == row["doc"]["turns"][0]
        hard = "truth" in row["doc"] and row["doc"]["truth"] is not None
        assert row["resps"][0] == (["False"] if hard else ["It is B"])
        if hard:
            assert row["filtered_resps"] == ["False"] * 4
            rows = arithmetic.rows(file)
            judged = sum(not true for one in rows for true in one["doc"]["truth"]) / 12
            (told,) = (one for one in found if (one["system"], one["metric"]) == (system, "judgement_acc"))
            assert told["value"] == pytest.approx(judged)
        else:
            assert row["filtered_resps"] == [""]
            assert row["unparsed"] == 1


def test_a_plan_counts_the_calls_and_sends_none(
    questions: Path, tmp_path: Path, server: LLMServer, capsys: pytest.CaptureFixture[str]
) -> None:
    given = {"model": "gpt-4.1-mini", "base_url": server.url, "culturalbench": str(questions)}
    plan = caredio.plan(caredio.evaluate, ["china"], **given, limit=2)
    assert plan.calls == {"raw": 10, "role-play": 10}
    assert plan.total.upper_bound == 20
    assert "US dollars" in str(plan)
    command = ["evaluate", "--cultures", "china", "--model", "gpt-4.1-mini", "--base-url", server.url, "--limit", "2"]
    cli.main([*command, "--culturalbench", str(questions), "--dry-run"])
    assert capsys.readouterr().out == f"{plan}\n"
    assert server.seen == []
    local = caredio.plan(caredio.evaluate, ["china"], culturalbench=str(questions))
    assert str(local) == "No model is asked, so nothing is spent."


@pytest.mark.usefixtures("questions")
def test_who_is_behind_an_api(tmp_path: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def calls(**given: Any) -> int:
        return caredio.plan(
            caredio.evaluate, ["china"], culturalbench=str(tmp_path / "questions.csv"), **given
        ).total.calls

    address = {"base_url": "http://127.0.0.1:9/v1"}
    assert calls(model="ft:gpt-4.1:o::x") == calls(model="m", provider="azure") == calls(model="m", **address) == CALLS
    assert calls() == calls(model="m") == calls(model=str(tiny)) == 0
    monkeypatch.setenv("OPENAI_BASE_URL", address["base_url"])
    assert calls(model="m") == CALLS
    assert calls() == calls(model=str(tiny)) == calls(model="m", trained=tmp_path) == 0
    with pytest.raises(CaredioError, match=r"^base_url is given, but no model; name the model"):
        calls(**address)
    with pytest.raises(
        CaredioError, match=r"^trained is given, and model 'ft:x' is behind an API, .*; leave one out\.$"
    ):
        calls(model="ft:x", trained=tmp_path)
