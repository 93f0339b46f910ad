"""A survey's questions to a model behind an API: letters drawn at temperature 1, or the first token's probabilities."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from math import exp, log
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset
from llm_server import LLMServer
from scipy.spatial.distance import jensenshannon

import caredio
from caredio import cli
from caredio.errors import EndpointError, InputError
from caredio.evaluation.results import format_table, record
from caredio.evaluation.side_by_side import side_by_side
from caredio.runs import read

LOGPROBS, DRAWN = "globalopinionqa_logprobs", "globalopinionqa_generated"
QUESTIONS: list[tuple[str, list[float], dict[str, float]]] = [  # people's shares, and the model's first token
    ("How often?", [0.5, 0.3, 0.2], {"A": 0.35, " A": 0.05, "I": 0.25, "b": 0.2, "**C": 0.05, "D": 0.04, "AB": 0.03}),
    ("How much?", [0.1, 0.9], {"B": 0.9, " A\n": 0.06}),
    ("How few?", [0.25, 0.75], {"\n": 0.9, "a": 0.1}),
]
# each option's share by hand, and last what no letter has
SHARES = {"How often?": [0.4, 0.2, 0.05, 0.35], "How much?": [0.06, 0.9, 0.04], "How few?": [0.1, 0.0, 0.9]}


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    """The survey's questions on China, in the derived form of GlobalOpinionQA."""
    file = tmp_path / "questions.json"
    rows = [
        {"question": question, "options": ["daily", "weekly", "never"][: len(people)]}
        | {"attribute": "China", "gold_distribution": people}
        for question, people, _ in QUESTIONS
    ]
    file.write_text(json.dumps(rows))
    return file


def asked(body: dict[str, Any]) -> str:
    """Which question."""
    text = body["messages"][-1]["content"]
    return next(question for question, _, _ in QUESTIONS if f"Question: {question}\n" in text)


def tokens(body: dict[str, Any]) -> Any:
    """The first token of the scripted model."""
    found = next(likeliest for question, _, likeliest in QUESTIONS if question == asked(body))
    logprobs = {token: log(share) for token, share in found.items()}
    return {"content": next(iter(found)), "finish_reason": "length", "logprobs": logprobs}


def letters() -> Callable[[dict[str, Any]], str]:
    """Of a question's ten draws five are A, three B and two no letter, in whichever order they are asked for."""
    counts: Counter[str] = Counter()

    def says(body: dict[str, Any]) -> str:
        name = json.dumps(body["messages"])
        counts[name] += 1
        return "AAAAABBB??"[(counts[name] - 1) % 10]

    return says


def served(says: Callable[[dict[str, Any]], Any]) -> LLMServer:
    return LLMServer(lambda _, body: says(body))


def measure(server: LLMServer, questions: Path, benchmarks: str = LOGPROBS, **more: Any) -> Dataset:
    given = {"model": "tuned", "base_url": server.url, "store": questions.with_name("answers.sqlite"), **more}
    data = f"globalopinionqa={questions}"
    return caredio.evaluate(["china"], benchmarks=benchmarks, benchmark_data=data, **given).results


def numbers(table: Dataset, benchmark: str, system: str = "raw") -> dict[str, float]:
    rows = [row for row in table if (row["system"], row["benchmark"]) == (system, benchmark)]
    assert {row["n"] for row in rows} == {len(QUESTIONS)}
    return {row["metric"]: row["value"] for row in rows}


def mean_similarity(shares: dict[str, list[float]]) -> float:
    """By scipy, what no letter has being an option that nobody chose."""
    found = [1 - jensenshannon(shares[question], [*people, 0], base=2) for question, people, _ in QUESTIONS]
    return sum(found) / len(found)


WANTED = {
    "js_similarity": pytest.approx(mean_similarity(SHARES)),
    "modal_acc": pytest.approx(2 / 3),  # of the last question the model's mode is no letter
    "unparsed": pytest.approx((0.35 + 0.04 + 0.9) / 3),
}


def test_shares_are_the_first_token_s_probabilities_one_call_a_question(questions: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    with served(tokens) as server:
        found = measure(server, questions, out=out)
        assert len(server.seen) == 2 * 3
        assert {(body["max_tokens"], body["top_logprobs"]) for body in server.bodies.values()} == {(1, 20)}
        assert {row["benchmark"] for row in found} == {LOGPROBS}
        for system in ("raw", "role-play"):
            assert numbers(found, LOGPROBS, system) == WANTED
        # again: of the run's table, and of the stored answers
        assert measure(server, questions, out=out).to_list() == found.to_list()
        (spent,) = json.loads((out / "run.json").read_text())["spending"]["models"]
        assert spent["calls"] == 2 * 3
        assert numbers(measure(server, questions, out=tmp_path / "other"), LOGPROBS) == WANTED
        assert len(server.seen) == 2 * 3


def test_the_samples_hold_what_the_scores_are_computed_from(
    questions: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with served(tokens) as server:
        measure(server, questions, out=tmp_path / "run")
    files = sorted((tmp_path / "run").glob(f"samples/*/samples_caredio_{LOGPROBS}_china_*.jsonl"))
    assert len(files) == 2
    for row in (json.loads(line) for file in files for line in file.read_text().splitlines()):
        (likeliest,) = row["resps"]
        shares = [
            sum(exp(float(logprob)) for token, logprob in likeliest if token.strip(" \n*").upper() == letter)
            for letter in "ABC"[: len(row["doc"]["options"])]
        ]
        assert [float(share) for (share,) in row["filtered_resps"]] == pytest.approx(shares)
        assert row["unparsed"] == pytest.approx(1 - sum(shares))
        people = [*row["doc"]["shares"], 0]
        assert row["js_similarity"] == pytest.approx(1 - jensenshannon([*shares, row["unparsed"]], people, base=2))
    shown = side_by_side([tmp_path / "run"], 3)
    assert shown.count("weekly (the likeliest option)") == 2  # of both systems, and no tokens
    capsys.readouterr()
    cli.main(["results", str(tmp_path / "run")])
    assert "GlobalOpinionQA, logprobs" in capsys.readouterr().out


def test_letters_are_drawn_at_temperature_1_and_stand_in_a_column_of_their_own(questions: Path, tmp_path: Path) -> None:
    says = letters()
    with served(lambda body: tokens(body) if body.get("logprobs") else says(body)) as server:
        found = measure(server, questions, f"globalopinionqa,{LOGPROBS}")
        drawn = [body for body in server.bodies.values() if "logprobs" not in body]
        assert len(server.seen) == 2 * 3 * (10 + 1)
        assert {body["temperature"] for body in drawn} == {1.0}
        assert {body["max_tokens"] for body in drawn} == {512}
    assert {row["benchmark"] for row in found} == {DRAWN, LOGPROBS}
    counted = {"How often?": [0.5, 0.3, 0.0, 0.2], "How much?": [0.5, 0.3, 0.2], "How few?": [0.5, 0.3, 0.2]}
    assert numbers(found, DRAWN) == {
        "js_similarity": pytest.approx(mean_similarity(counted)),
        "modal_acc": pytest.approx(1 / 3),
        "unparsed": pytest.approx(0.2),
    }
    assert numbers(found, LOGPROBS) == WANTED
    first, second, end = format_table(found).split("china ")[0:3]
    assert first == ""
    assert "; answers that the model wrote, not comparable with likelihoods." in second
    assert "; shares by the first token's probabilities, not comparable with answers that were drawn." in end


def test_the_record_tells_how_each_column_was_sampled(questions: Path, tmp_path: Path) -> None:
    says = letters()
    with served(lambda body: tokens(body) if body.get("logprobs") else says(body)) as server:
        found = measure(server, questions, f"globalopinionqa,{LOGPROBS}")
        sent = {body.get("max_tokens"): body["temperature"] for body in server.bodies.values()}
    told = record(found)
    assert "temperature" not in told["model"]
    assert {one["max_tokens"]: one["temperature"] for one in told["sampling"].values()} == sent == {512: 1.0, 1: 1.0}
    assert set(told["sampling"]) == {DRAWN, LOGPROBS}


def test_a_refused_prompt_is_a_question_without_a_letter(questions: Path) -> None:
    filtered = {"status": 400, "body": {"error": {"message": "No.", "code": "content_filter"}}}
    with served(lambda _: filtered) as server:
        assert numbers(measure(server, questions), LOGPROBS) == {"js_similarity": 0, "modal_acc": 0, "unparsed": 1}


@pytest.mark.parametrize(
    "reply",
    ["A", {"status": 400, "message": "'logprobs' is not supported with this model."}],
    ids=["silent", "refused"],
)
def test_a_server_without_them_is_one_sentence_and_letters_can_be_drawn_instead(
    reply: Any, questions: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, says = tmp_path / "run", letters()
    with served(lambda body: reply if body.get("logprobs") else says(body)) as server:
        with pytest.raises(
            EndpointError, match=r"^the endpoint does not return .* for tuned.* variant _generated inst"
        ):
            measure(server, questions, out=out)
        command = ["evaluate", "--cultures", "china", "--model", "tuned", "--base-url", server.url, "--out", str(out)]
        command += ["--benchmark-data", f"globalopinionqa={questions}", "--benchmarks", LOGPROBS, "--quiet"]
        capsys.readouterr()
        with pytest.raises(SystemExit) as left:
            cli.main(command)
        assert left.value.code == 2
        assert capsys.readouterr().err.count("\n") == 1
        assert set(numbers(measure(server, questions, "globalopinionqa", out=out), DRAWN)) == set(WANTED)
    kept = read(sorted((out / "results").glob("*.parquet")))
    assert {row["benchmark"] for row in kept if row["system"] == "raw"} == {DRAWN}


def test_a_plan_counts_a_call_and_a_token_a_question(questions: Path, server: LLMServer) -> None:
    given: dict[str, Any] = {"model": "gpt-4.1-mini", "base_url": server.url}
    given["benchmark_data"] = f"globalopinionqa={questions}"
    by_token = caredio.plan(caredio.evaluate, ["china"], benchmarks=LOGPROBS, **given)
    assert by_token.calls == {"raw": 3, "role-play": 3}
    assert by_token.total.completion_tokens == 6
    by_letters = caredio.plan(caredio.evaluate, ["china"], benchmarks="globalopinionqa", **given)
    assert by_letters.calls == {"raw": 30, "role-play": 30}
    with pytest.raises(InputError, match=r"^the Batch API is not asked for top_logprobs; leave out batch: "):
        caredio.plan(caredio.evaluate, ["china"], benchmarks=LOGPROBS, batch=True, **given)
    assert server.seen == []


def test_weights_of_one_s_own_have_likelihoods_instead(questions: Path, tiny: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        caredio.evaluate(
            ["china"],
            model=str(tiny),
            benchmarks=LOGPROBS,
            benchmark_data=f"globalopinionqa={questions}",
            out=tmp_path / "run",
        )
    assert str(caught.value) == (
        f"{LOGPROBS} is for models behind an API; of weights of your own, ask globalopinionqa, which is by likelihood."
    )
    assert not (tmp_path / "run").exists()


def test_a_table_of_ones_own_is_asked_for_the_first_token_too(tmp_path: Path) -> None:
    rows = [
        {"culture": "China", "question": question, "options": ["daily", "weekly", "never"][: len(people)]}
        | {"shares": people}
        for question, people, _ in QUESTIONS
    ]
    (tmp_path / "mine.json").write_text(json.dumps(rows))
    file = tmp_path / "mine.yaml"
    file.write_text("name: mine\ntitle: Mine\nkind: distribution\nfile: mine.json\nlicence: none\n")
    with served(tokens) as server:
        given: dict[str, Any] = {"model": "tuned", "base_url": server.url, "store": tmp_path / "answers.sqlite"}
        found = caredio.evaluate(["china"], benchmarks=f"{file}:logprobs", **given).results
        assert len(server.seen) == 2 * len(QUESTIONS)
        assert {(body["max_tokens"], body["top_logprobs"]) for body in server.bodies.values()} == {(1, 20)}
    assert numbers(found, "mine_logprobs") == WANTED
