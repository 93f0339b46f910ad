from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset

import caredio
from caredio import checkpoints, cultures
from caredio.errors import InputError
from caredio.evaluation import benchmark, results, systems
from caredio.evaluation.benchmark import LIKELIHOOD
from caredio.evaluation.results import System, evaluate, format_table
from caredio.evaluation.settings import Settings

SAMPLE = Settings(culturalbench="sample", limit=2, device="cpu")
BASELINES = ["chance", "fixed letter", "always False"]  # of CulturalBench


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """lm-eval spends seconds a call on describing the machine, which no table holds."""
    monkeypatch.setattr("lm_eval.evaluator.add_env_info", lambda _: None)


def values(table: Dataset, system: str) -> list[tuple[str, str, str, int, float]]:
    names = ("culture", "benchmark", "metric", "n", "value")
    return [tuple(row[name] for name in names) for row in table if row["system"] == system]


def test_systems_over_cultures(tiny: Path, adapter: Path) -> None:
    raw = System("raw", str(tiny))
    playing = System("role-play", str(tiny), role_play=True)
    trained = System("trained", str(tiny), adapter={"china": str(adapter), "japan": str(adapter)})
    table = evaluate([trained, raw, playing], ["china", "japan"], SAMPLE)
    assert table.features == results.RESULTS
    assert list(dict.fromkeys(table["system"])) == [*BASELINES, "trained", "raw", "role-play"]
    assert len(table) == 3 * 2 * 3 + (3 + 1 + 2) * 2
    assert set(table["n"]) == {2}
    assert all(row["low"] <= row["value"] <= row["high"] for row in table if row["system"] != "chance")
    record = results.record(table)
    assert record["apply_chat_template"] is True
    assert record["config"]["limit"] == 2
    assert record["systems"][0]["adapter"]["china"] == str(adapter)
    assert results.record(Dataset.from_dict({"a": [1]})) == {}

    alone = evaluate([raw], ["china", "japan"], SAMPLE)
    assert values(alone, "raw") == values(table, "raw")  # the adapter came off


def test_role_and_adapter_reach_the_model(tiny: Path, adapter: Path) -> None:
    china = cultures.load()["china"]
    playing = System("role-play", str(tiny), role_play=True)
    trained = System("trained", str(tiny), adapter={"china": str(adapter)})
    (asked, put_on), notes = systems.subjects([playing, trained], [china])
    assert notes == []
    assert asked.instruction is not None
    assert "Chinese society" in asked.instruction
    assert (asked.adapter, put_on.adapter, put_on.instruction) == (None, str(adapter), None)
    model, tokenizer = systems.Loader("cpu").model(str(tiny)), checkpoints.load_tokenizer(str(tiny))
    inputs = tokenizer("What is eaten?", return_tensors="pt")
    before = model(**inputs).logits
    with systems.with_adapter(model, str(adapter)) as adapted:
        assert (adapted(**inputs).logits - before).abs().max() > 1e-3
    assert (model(**inputs).logits == before).all()


HEADS = "CulturalBench-Easy              CulturalBench-Hard              CulturalBench-Hard, judgements"
MEASURES = [("culturalbench_easy", "acc"), ("culturalbench_hard", "acc"), ("culturalbench_hard", "judgement_acc")]


def test_a_model_that_overflows_is_told_and_gets_no_numbers(tiny: Path, tmp_path: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(tiny)
    torch.nn.init.constant_(model.lm_head.weight, float("nan"))
    model.save_pretrained(tmp_path)
    AutoTokenizer.from_pretrained(tiny).save_pretrained(tmp_path)
    with pytest.raises(InputError) as caught:
        evaluate([System("raw", str(tmp_path))], ["china"], SAMPLE)
    assert str(caught.value).startswith(f"raw, {tmp_path}: a log-likelihood is no finite number: ")


@pytest.mark.parametrize("benchmark", ["culturalbench_easy", "culturalbench_easy_generated"])
def test_questions_that_lose_their_beginning_are_told(
    benchmark: str, tiny: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    asked = Settings(culturalbench="sample", limit=2, device="cpu", benchmarks=benchmark)
    evaluate([System("raw", str(tiny))], ["china"], asked)
    assert "longer than" not in caplog.text
    shutil.copytree(tiny, tmp_path / "short")
    config = tmp_path / "short" / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "max_position_embeddings": 100}))
    evaluate([System("raw", str(tmp_path / "short"))], ["china"], asked)
    told = (
        f"raw: {benchmark}, china (1 of 1): 2 of 2 questions are longer than the model's context of 100 tokens and lose"
        " their beginning ("
    )
    assert told in caplog.text


@pytest.mark.parametrize(
    ("benchmark", "told"),
    [
        ("own", "caredio_own_china, question 'q1': the answer is 150 tokens long, which leaves no room"),
        (
            "own:generated",
            "caredio_own_generated_china, question 'q1': the reply may be 32 tokens long, which leaves no",
        ),
    ],
)
def test_what_leaves_no_room_for_the_question_is_one_sentence(
    benchmark: str, told: str, tiny: Path, tmp_path: Path
) -> None:
    shutil.copytree(tiny, tmp_path / "short")
    config = tmp_path / "short" / "config.json"
    tokens = 149 if benchmark == "own" else 32
    config.write_text(json.dumps({**json.loads(config.read_text()), "max_position_embeddings": tokens}))
    # a token of the tiny model is a byte
    answers = {"q1": "a" * 150, "q2": "rice"} if benchmark == "own" else {"q1": "rice", "q2": "maize"}
    table = [{"culture": "China", "id": name, "question": f"{name}?", "answers": [a]} for name, a in answers.items()]
    (tmp_path / "own.json").write_text(json.dumps(table))
    (tmp_path / "own.yaml").write_text("name: own\ntitle: Own\nkind: answers\nfile: own.json\nlicence: none\n")
    given = f"{tmp_path / 'own.yaml'}{benchmark.removeprefix('own')}"
    with pytest.raises(InputError) as caught:
        evaluate([System("raw", str(tmp_path / "short"))], ["china"], Settings(device="cpu", benchmarks=given))
    assert told in str(caught.value)
    assert f"context of {tokens} tokens" in str(caught.value)
    assert "\n" not in str(caught.value)


def row(system: str, culture: str, measure: tuple[str, str], value: float) -> dict[str, Any]:
    name, metric_name = measure
    (metric,) = (one for one in benchmark.load()[name].metrics(LIKELIHOOD) if one.name == metric_name)
    identity = {"system": system, "culture": culture}
    return results._row(identity, benchmark.load()[name], LIKELIHOOD, metric, [value] * 4, 4)


def test_told() -> None:
    rows = [
        row(system, culture, measure, value)
        for culture in ("china", "japan")
        for system, value in (("chance", 0.25), ("always False", 0.25), ("raw", 0.5 if culture == "china" else 0))
        for measure in MEASURES
        if system != "always False" or measure[0] == "culturalbench_hard"
    ]
    assert format_table(Dataset.from_list(rows[:-1], features=results.RESULTS)) == "\n".join(
        [
            f"china             {HEADS}",
            "  raw             50.0 [15.0, 85.0] n=4           50.0 [15.0, 85.0] n=4           50.0 [15.0, 85.0] n=4",
            "  chance          25.0 n=4                        25.0 n=4                        25.0 n=4",
            "  always False    -                               25.0 [4.6, 69.9] n=4            25.0 [4.6, 69.9] n=4",
            "",
            f"japan             {HEADS}",
            "  raw             0.0 [0.0, 49.0] n=4             0.0 [0.0, 49.0] n=4             -",
            "  chance          25.0 n=4                        25.0 n=4                        25.0 n=4",
            "  always False    -                               25.0 [4.6, 69.9] n=4            25.0 [4.6, 69.9] n=4",
            "",
            f"all 2 cultures    {HEADS}",
            "  raw             25.0 n=8                        25.0 n=8                        "
            "50.0 [15.0, 85.0] n=4 (1 of 2)",
            "  chance          25.0 n=8                        25.0 n=8                        25.0 n=8",
            "  always False    -                               25.0 n=8                        25.0 n=8",
            "",
            "Per cent with 95 % Wilson interval over n questions; chat template applied.",
            "All cultures: the mean over all questions, and of how many cultures where a system lacks some; its"
            " interval is in `caredio results`, as cultures may share questions.",
            "chance: an option drawn evenly, each judgement by a coin; no interval.",
            "always False: every statement judged false.",
        ]
    )


def test_columns_stand_apart_however_wide_their_numbers_are() -> None:
    wide = {**row("raw", "china", MEASURES[0], 0.5), "benchmark": "letters", "n": 123456}
    made = [
        {**wide, "metric": metric, "value": value, "low": value - 4, "high": value + 4}
        for metric, value in (("characters", 139833.125), ("other", 0.0))
    ]
    head, raw, *_ = format_table(Dataset.from_list(made, features=results.RESULTS)).splitlines()
    numbers = ["139833.125 [139829.125, 139837.125] n=123456", "0.000 [-4.000, 4.000] n=123456"]
    assert re.split(r" {2,}", raw.strip()) == ["raw", *numbers]
    assert [raw.index(number) for number in numbers] == [head.index("letters"), head.rindex("letters")]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"cultures": ["atlantis"]}, "unknown culture 'atlantis'; known are united_kingdom, "),
        ({"systems": []}, "no system was given"),
        ({"systems": [System("a", "m"), System("a", "n")]}, "two systems are called 'a'"),
        (
            {"settings": Settings(culturalbench="nowhere.csv")},
            r"nowhere\.csv: no such file; give CulturalBench-Easy\.csv",
        ),
        ({"systems": [System("a", "no/such/folder")]}, "model 'no/such/folder' cannot be loaded"),
    ],
)
def test_bad_input_is_one_sentence(given: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said) as caught:
        evaluate(**{"systems": [System("a", "m")], "cultures": ["china"], "settings": SAMPLE, **given})
    assert "\n" not in str(caught.value)


def test_a_wrong_system_or_setting_is_one_sentence(tmp_path: Path) -> None:
    for name in ("", *results.MEANINGS):
        with pytest.raises(InputError, match="a system cannot be called"):
            System(name, "m")
    with pytest.raises(InputError, match=r"holds no adapter_config\.json, so it is no adapter for 'china'"):
        System("trained", "m", adapter={"china": str(tmp_path)})
    for limit in (-1, 0):
        with pytest.raises(InputError, match=f"limit is {limit}"):
            Settings(limit=limit)
    with pytest.raises(InputError, match="batch_size must be at least 1"):
        Settings(batch_size=0)
    with pytest.raises(InputError, match="device is 'abacus', which cannot be used"):
        evaluate([System("a", "m")], ["china"], Settings(culturalbench="sample", device="abacus"))


def test_a_culture_without_questions_is_listed_and_no_zero(tiny: Path, tmp_path: Path) -> None:
    file = tmp_path / "more.yaml"
    shape = "languages: [cy], region: Northern Europe, neighbours: [united_kingdom]"
    file.write_text(f"- {{slug: wales, name: Wales, adjective: Welsh, {shape}}}\n")
    given: dict[str, Any] = {"model": str(tiny), "culturalbench": "sample", "limit": 2, "device": "cpu"}
    both = caredio.evaluate(["china", "wales"], cultures_file=file, **given).results
    alone = caredio.evaluate(["china"], cultures_file=file, **given).results
    assert both.to_list() == alone.to_list()
    assert results.record(both)["left_out"] == [
        f"left out: CulturalBench-{kind} has no question on wales." for kind in ("Easy", "Hard")
    ]
    assert format_table(both).splitlines()[-2:] == results.record(both)["left_out"]
    with pytest.raises(InputError) as caught:
        caredio.evaluate(["wales"], cultures_file=file, **given)
    why = "CulturalBench-Easy has no question on wales; CulturalBench-Hard has no question on wales"
    assert str(caught.value) == f"nothing can be asked: {why}."


@pytest.mark.slow
@pytest.mark.usefixtures("embedded_home")
def test_the_embedded_model() -> None:
    from caredio.llm import local

    model = str(local.model_path())
    table = evaluate([System("raw", model), System("role-play", model, role_play=True)], ["nigeria"], SAMPLE)
    assert [name for name in table["system"] if name not in results.MEANINGS] == ["raw"] * 3 + ["role-play"] * 3
    assert set(table["n"]) == {2}
    text = format_table(table)
    assert "role-play" in text
    assert "n=2" in text
