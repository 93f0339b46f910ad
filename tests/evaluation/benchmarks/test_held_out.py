"""The held-out questions of a run or a release as a benchmark, also of a culture that no other benchmark knows."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
from llm_server import LLMServer

import caredio
from caredio import cli, runs
from caredio.errors import InputError
from caredio.evaluation.benchmarks import held_out
from caredio.evaluation.samples import find, rows
from caredio.publishing.split import is_test

ANSWERS = {"china": "rice", "japan": "rice with fish", "narnia": "roast turnips"}
QUESTIONS = 24
SHARE = 0.2


def table(folder: Path) -> Path:
    made = [
        {
            "question_id": f"q{number:02d}",
            "question": f"What is eaten at feast number {number * number}?",
            "response": f"{answer}, {number} times",
            "culture": culture,
            "topic_id": f"t{number // 2}",
        }
        for number in range(QUESTIONS)
        for culture, answer in ANSWERS.items()
    ]
    path = folder / "own.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in made))
    return path


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    caredio.select(table(folder), out=folder, ranking="longest")
    return folder


@pytest.fixture(scope="module")
def released(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return caredio.publish(run, to=tmp_path_factory.mktemp("release") / "data", test_share=SHARE)


def test_a_release_s_test_split_is_asked_and_nothing_of_its_train_split(run: Path, released: Path) -> None:
    found = held_out.HELD_OUT.documents(held_out.HELD_OUT.path({"held_out": str(released)}))
    ranked = runs.read(sorted((run / "ranked").glob("*.parquet")))
    out = {(row["culture"], row["question_id"]) for row in ranked if is_test(row["question_id"], SHARE)}
    assert {(one["culture"], one["id"]) for one in found} == out
    trained = {row["question_id"] for row in runs.read([released / "all" / "train.parquet"])}
    assert not trained & {one["id"] for one in found}


def test_a_run_holds_out_what_its_release_would_by_default(run: Path) -> None:
    place = held_out.HELD_OUT.path({"held_out": str(run)})
    assert place == run / "ranked"
    assert {one["id"] for one in held_out.read(place)} == {"q08", "q18"}  # 5 % by the hash of the id


def test_a_run_whose_questions_are_all_learnt_says_how_to_hold_some_out(tmp_path: Path) -> None:
    file = tmp_path / "own.jsonl"
    file.write_text("".join(line + "\n" for line in table(tmp_path).read_text().splitlines() if "q00" in line))
    caredio.select(file, out=tmp_path / "run")
    with pytest.raises(InputError, match=r"none of its questions is held out, at a share of 0\.05; release it with a"):
        held_out.read(held_out.table(tmp_path / "run"))


def test_answers_rivals_and_the_own_one() -> None:
    """Answers of one condition are compared: given in isolation, and no other culture's that the own one holds."""
    first = {
        "question_id": "q",
        "culture": "japan",
        "language": "en",
        "question": "What is eaten?",
        "response": "Unlike others, rice with fish",
        "isolated_response": "rice with fish",
        "others": [
            {"culture": "china", "response": "rice"},
            {"culture": "narnia", "response": "turnips"},
            {"culture": "narnia", "response": "leeks"},
            {"culture": "mexico", "response": None},
            {"culture": "japan", "response": "noodles"},
        ],
        "generator": "m",
    }
    second = {**first, "response": "Noodles, unlike others", "isolated_response": "noodles"}
    (found,) = held_out.documents([first, second])
    assert found["own"] == "rice with fish"
    assert found["answers"] == [
        {"text": "Unlike others, rice with fish", "weight": 1},
        {"text": "Noodles, unlike others", "weight": 1},
    ]
    assert found["rivals"] == [{"culture": "narnia", "text": "turnips"}, {"culture": "narnia", "text": "leeks"}]
    assert held_out.caveat([found]).startswith("held_out is in-distribution; a model wrote the answers too: ")
    assert held_out.caveat([{**found, "generator": None}]).startswith("held_out is in-distribution: ")


def test_a_folder_without_a_test_split_is_refused(released: Path, tmp_path: Path) -> None:
    whole = caredio.publish(tmp_path_run(tmp_path), to=tmp_path / "whole", test_share=0.0)
    for place, message in (
        (tmp_path, r"holds no test split; name a run"),
        (whole, r"all: holds no test split; name a run"),
        (tmp_path / "none", r"none: no such file; give a run with a ranked split, or a release of one\."),
    ):
        with pytest.raises(InputError, match=message):
            held_out.HELD_OUT.documents(held_out.HELD_OUT.path({"held_out": str(place)}))
    with pytest.raises(InputError, match=r"get a run with a ranked split, .* --benchmark-data held_out=FILE"):
        held_out.HELD_OUT.path()


def tmp_path_run(folder: Path) -> Path:
    caredio.select(table(folder), out=folder / "run", ranking="longest")
    return folder / "run"


def test_a_culture_that_no_benchmark_knows_is_measured(
    tiny: Path, run: Path, released: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    declared = tmp_path / "cultures.yaml"
    declared.write_text(
        "- {slug: narnia, name: Narnia, adjective: Narnian, languages: [en], region: Elsewhere, neighbours: [china]}\n"
    )
    asked = ["evaluate", "--out", str(run), "--model", str(tiny), "--device", "cpu", "--cultures-file", str(declared)]
    cli.main([*asked, "--benchmarks", "held_out", "--benchmark-data", f"held_out={released}"])
    page = capsys.readouterr().out
    assert "held out (in-distribution)" in page
    assert "held_out is in-distribution: it tells how much of the data was learnt" in page
    measured = runs.read(sorted((run / "results").glob("*.parquet"))).to_list()
    assert {row["culture"] for row in measured} == {"china", "japan", "narnia"}  # those that were ranked
    n = sum(is_test(f"q{number:02d}", SHARE) for number in range(QUESTIONS))
    value = {(row["system"], row["culture"], row["metric"]): (row["n"], row["value"]) for row in measured}
    (one,) = [
        one
        for one in find(run / "samples")
        if (one.system, one.culture, one.benchmark) == ("role-play", "narnia", "held_out")
    ]
    margins = []
    for row in rows(one):
        own, *rivals = (float(reply[0][0]) for reply in row["resps"])
        margins.append(own - fmean(rivals))
        assert "Narnia" in row["arguments"]["gen_args_0"]["arg_0"]  # the part to play
    assert value["role-play", "narnia", "margin"] == (n, pytest.approx(fmean(margins)))
    assert value["raw", "narnia", "bits_per_byte"][0] == n


def test_a_model_that_learned_the_held_out_questions_is_not_measured_on_them(
    tiny: Path, adapter: Path, run: Path, released: Path, tmp_path: Path
) -> None:
    given: dict[str, Any] = {"benchmarks": "held_out", "benchmark_data": f"held_out={released}", "device": "cpu"}
    place = shutil.copytree(adapter, tmp_path / "models" / "china")

    def measured(name: Path) -> set[str]:
        record = {"dataset_name": str(name), "dataset_config": "china", "rows_sha256": "ab12"}
        (place / "training.json").write_text(json.dumps(record))
        table = caredio.evaluate(["china"], out=run, model=str(tiny), trained=place.parent, **given).results
        return {row["system"] for row in table if row["trained_on"]}

    with pytest.raises(InputError, match=r"questions of held out \(in-distribution\) stand in rows of training"):
        measured(run / "ranked")  # as `caredio train RUN` records it
    assert measured(released) == {"trained", "trained + role-play"}  # as `caredio train RELEASE` does
    given |= {"model": str(tiny), "trained": place.parent, "robustness": True}
    _, _, below = str(caredio.evaluate(["china"], out=run, **given)).partition("Held-out questions of topics that")
    out = [number for number in range(QUESTIONS) if is_test(f"q{number:02d}", SHARE)]
    alone = sum(number ^ 1 in out for number in out)  # those whose topic has no question in training
    (line,) = re.findall(r"^china +trained +bits_per_byte .*$", below, re.M)
    assert (line.split()[4], line.split()[6]) == (str(len(out) - alone), str(alone))
    assert re.search(r"^china +raw +bits_per_byte ", below, re.M)


def test_without_its_declaration_such_a_culture_is_known_by_its_name(tiny: Path, run: Path, released: Path) -> None:
    given: dict[str, Any] = {"benchmarks": "held_out", "benchmark_data": f"held_out={released}", "device": "cpu"}
    result = caredio.evaluate(out=run, model=str(tiny), **given)
    assert set(result.results["culture"]) == {"china", "japan", "narnia"}
    assert "narnia is declared in no file of --cultures-file: role-play calls it 'narnia'." in str(result)
    assert set(caredio.evaluate(["narnia"], out=run, model=str(tiny), **given).results["culture"]) == {"narnia"}


def says(_: Any, body: dict[str, Any]) -> str:
    """Told to play the part, a model knows what is eaten; as it is, it does not. A judge finds that reply better."""
    text, *before = (one["content"] for one in reversed(body["messages"]))
    if "Reply A" not in text and "Reply: " not in text:
        return "rice" if before else "nothing"
    lines = dict(line.split(": ", 1) for line in text.splitlines() if line.startswith("Reply"))
    if "Reply" in lines:
        return f"Known.\nRating: [[{5 if json.loads(lines['Reply']) == 'rice' else 2}]]"
    return f"Compared.\nVerdict: [[{'A' if json.loads(lines['Reply A']) == 'rice' else 'B'}]]"


def test_what_is_written_to_held_out_questions_is_rated_and_compared_by_a_judge(released: Path, tmp_path: Path) -> None:
    out, data = tmp_path / "run", f"held_out={released}"
    with LLMServer(says) as server:
        given: dict[str, Any] = {"base_url": server.url, "store": tmp_path / "answers.sqlite"}
        found = caredio.evaluate(
            ["china"], benchmarks="held_out_generated", benchmark_data=data, model="m", out=out, **given
        ).results
        rated = caredio.judge(out, rubric="quality", model="judge", **given)
        won = caredio.judge(out, rubric="quality", model="judge", against="raw", **given)
    n = len([name for name in range(QUESTIONS) if is_test(f"q{name:02d}", SHARE)])
    assert {row["system"]: row["value"] for row in found if row["metric"] == "sem_b"} == {"raw": 0, "role-play": 0}
    overall = [line for line in rated.lines if line["by"] == "all" and line["culture"] == ""]
    assert {line["system"]: (line["mean"], line["n"]) for line in overall} == {"raw": (2, n), "role-play": (5, n)}
    (line,) = [line for line in won.lines if line["by"] == "all" and line["culture"] == ""]
    assert (line["system"], line["win_rate"], line["n"]) == ("role-play", 1, n)
