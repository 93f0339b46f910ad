from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset

from caredio import cultures
from caredio.errors import InputError
from caredio.evaluation import culturalbench, results, systems
from caredio.evaluation.results import Config, System, evaluate, told, wilson

SAMPLE = Config(culturalbench="sample", limit=2, device="cpu")


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """lm-eval spends seconds a call on describing the machine, which no table holds."""
    monkeypatch.setattr("lm_eval.evaluator.add_env_info", lambda _: None)


def values(table: Dataset, system: str) -> list[tuple[str, str, str, int, float]]:
    names = ("culture", "benchmark", "metric", "n", "value")
    return [tuple(row[name] for name in names) for row in table if row["system"] == system]


def test_wilson_by_hand() -> None:
    # z^2 = 3.8415; (0.5 + 0.1921 -+ 1.96 * sqrt(0.025 + 0.0096)) / 1.3841
    assert wilson(0.5, 10) == pytest.approx((0.23659, 0.76341), abs=1e-5)
    assert wilson(0, 8) == pytest.approx((0, 3.8415 / 11.8415), abs=1e-5)  # z^2 / (n + z^2)
    assert wilson(1, 8) == pytest.approx((8 / 11.8415, 1), abs=1e-5)


@pytest.mark.parametrize(("right", "n"), [(0, 1), (1, 7), (20, 59), (58, 59), (59, 59)])
def test_wilson_is_scipys(right: int, n: int) -> None:
    stats = pytest.importorskip("scipy.stats")
    interval = stats.binomtest(right, n).proportion_ci(method="wilson")
    assert wilson(right / n, n) == pytest.approx((interval.low, interval.high), abs=1e-12)


def test_baseline_by_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    numbered = '"Q\nRead the following statements and so on.\n(i) w\n(ii) x\n(iii) y\n(iv) z"'
    file = tmp_path / "own.csv"
    file.write_text(
        "data_idx,prompt_question,prompt_option_a,prompt_option_b,prompt_option_c,prompt_option_d,answer,country\n"
        + "1,Q1,a,b,c,d,A,China\n2,Q2,a,b,c,d,B,China\n"
        + f'3,{numbered},"i, ii","i, iii","i, ii, iii",iv,C,China\n4,Q4,a,b,c,d,A,China\n'
    )
    keys = iter([2, 2, 1, 2, 2, 1])
    monkeypatch.setattr(culturalbench, "choice", lambda row: {"key": next(keys)})
    china = cultures.load()["china"]
    assert [row["value"] for row in results.baseline(china, file)] == pytest.approx([3 / 4, 0, (3 + 3 + 1 + 3) / 16])
    first_two = results.baseline(china, file, limit=2)
    assert [(row["n"], row["value"]) for row in first_two] == [(2, 0.5), (2, 0), (2, 0.75)]


def test_systems_over_cultures(tiny: Path, adapter: Path) -> None:
    raw = System("raw", str(tiny))
    playing = System("role-play", str(tiny), role_play=True)
    trained = System("trained", str(tiny), adapter={"china": str(adapter), "japan": str(adapter)})
    table = evaluate([trained, raw, playing], ["china", "japan"], SAMPLE)
    assert table.features == results.RESULTS
    assert list(dict.fromkeys(table["system"])) == ["baseline", "trained", "raw", "role-play"]
    assert len(table) == 4 * 2 * 3
    assert set(table["n"]) == {2}
    assert all(row["low"] <= row["value"] <= row["high"] for row in table)
    record = results.record(table)
    assert record["apply_chat_template"] is True
    assert record["config"]["limit"] == 2
    assert record["systems"][0]["adapter"]["china"] == str(adapter)
    assert results.record(Dataset.from_dict({"a": [1]})) == {}

    alone = evaluate([raw], ["china", "japan"], SAMPLE)
    assert values(alone, "raw") == values(table, "raw")  # the adapter came off


def test_role_and_adapter_reach_the_model(tiny: Path, adapter: Path) -> None:
    loaded = systems.load(str(tiny), "cpu")
    china = cultures.load()["china"]
    playing = System("role-play", str(tiny), role_play=True)
    trained = System("trained", str(tiny), adapter={"china": str(adapter)})
    ((said, folder, group),) = systems._turns(playing, loaded, [china])
    assert said is not None
    assert "Chinese society" in said
    assert (folder, group) == (None, [china])
    assert list(systems._turns(trained, loaded, [china])) == [(None, str(adapter), [china])]
    inputs = loaded.tokenizer("What is eaten?", return_tensors="pt")
    before = loaded.model(**inputs).logits
    with systems._wearing(loaded.model, str(adapter)) as adapted:
        assert (adapted(**inputs).logits - before).abs().max() > 1e-3
    assert (loaded.model(**inputs).logits == before).all()


def test_told() -> None:
    rows = [
        results._row(system, culture, measure, value, 4)
        for culture in ("china", "japan")
        for system, value in (("baseline", 0.25), ("raw", 0.5 if culture == "china" else 0))
        for measure in results._MEASURES
    ]
    assert told(Dataset.from_list(rows[:-1], features=results.RESULTS)) == "\n".join(
        [
            "china             Easy                        Hard                        Hard, judgements",
            "  raw             50.0 [15.0, 85.0] n=4       50.0 [15.0, 85.0] n=4       50.0 [15.0, 85.0] n=4",
            "  baseline        25.0 [4.6, 69.9] n=4        25.0 [4.6, 69.9] n=4        25.0 [4.6, 69.9] n=4",
            "",
            "japan             Easy                        Hard                        Hard, judgements",
            "  raw             0.0 [0.0, 49.0] n=4         0.0 [0.0, 49.0] n=4         -",
            "  baseline        25.0 [4.6, 69.9] n=4        25.0 [4.6, 69.9] n=4        25.0 [4.6, 69.9] n=4",
            "",
            "all 2 cultures    Easy                        Hard                        Hard, judgements",
            "  raw             25.0 [7.1, 59.1] n=8        25.0 [7.1, 59.1] n=8        50.0 [15.0, 85.0] n=4",
            "  baseline        25.0 [7.1, 59.1] n=8        25.0 [7.1, 59.1] n=8        25.0 [7.1, 59.1] n=8",
            "",
            "Per cent right with 95 % Wilson interval over n questions; chat template applied.",
            "baseline: always the most frequent letter of the permuted key (Easy), always False (Hard).",
        ]
    )


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"cultures": ["atlantis"]}, "unknown culture 'atlantis'; known are united_kingdom, "),
        ({"systems": []}, "no system was given"),
        ({"systems": [System("a", "m"), System("a", "n")]}, "two systems are called 'a'"),
        ({"config": Config(culturalbench="nowhere.csv")}, r"nowhere\.csv: cannot be read"),
        ({"systems": [System("a", "no/such/folder")]}, "model 'no/such/folder' cannot be loaded"),
    ],
)
def test_bad_input_is_one_sentence(given: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said) as caught:
        evaluate(**{"systems": [System("a", "m")], "cultures": ["china"], "config": SAMPLE, **given})
    assert "\n" not in str(caught.value)


def test_a_wrong_system_or_setting_is_one_sentence(tiny: Path, adapter: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be called 'baseline'"):
        System("baseline", "m")
    with pytest.raises(InputError, match=r"holds no adapter_config\.json, so it is no adapter for 'china'"):
        System("trained", "m", adapter={"china": str(tmp_path)})
    with pytest.raises(InputError, match="system 'trained' has no adapter for japan"):
        evaluate([System("trained", str(tiny), adapter={"china": str(adapter)})], ["china", "japan"], SAMPLE)
    with pytest.raises(InputError, match="limit is -1"):
        Config(limit=-1)
    with pytest.raises(InputError, match="batch_size must be at least 1"):
        Config(batch_size=0)


def test_an_adapter_for_another_kind_of_model_is_told(tiny: Path, adapter: Path, tmp_path: Path) -> None:
    shutil.copytree(adapter, tmp_path, dirs_exist_ok=True)
    settings = json.loads((tmp_path / "adapter_config.json").read_text())
    (tmp_path / "adapter_config.json").write_text(json.dumps({**settings, "target_modules": ["nowhere"]}))
    with pytest.raises(InputError, match=r"cannot be put on the model \(.*nowhere"):
        evaluate([System("trained", str(tiny), adapter={"china": str(tmp_path)})], ["china"], SAMPLE)


@pytest.mark.parametrize(
    ("template", "said"),
    [
        (None, "has no chat template"),
        ("{% if messages[0].role == 'system' %}{{ raise_exception('no') }}{% endif %}?", "takes no system message"),
        ("{{ messages[-1].content }}", "takes no system message"),
    ],
)
def test_a_model_that_cannot_play_a_part_is_told(tiny: Path, tmp_path: Path, template: str | None, said: str) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny)
    tokenizer.chat_template = template
    AutoModelForCausalLM.from_pretrained(tiny).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(InputError, match=said):
        evaluate([System("role-play", str(tmp_path), role_play=True)], ["china"], SAMPLE)


@pytest.mark.slow
@pytest.mark.usefixtures("embedded_home")
def test_the_embedded_model() -> None:
    from caredio.llm import local

    model = str(local.model_path())
    table = evaluate([System("raw", model), System("role-play", model, role_play=True)], ["nigeria"], SAMPLE)
    assert list(table["system"]) == ["baseline"] * 3 + ["raw"] * 3 + ["role-play"] * 3
    assert set(table["n"]) == {2}
    text = told(table)
    assert "role-play" in text
    assert "n=2" in text
