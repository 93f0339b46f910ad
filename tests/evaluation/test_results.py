from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset

from caredio import checkpoints, cultures
from caredio.errors import InputError
from caredio.evaluation import baselines, results, systems
from caredio.evaluation.results import System, evaluate, format_table, wilson
from caredio.evaluation.settings import Settings

SAMPLE = Settings(culturalbench="sample", limit=2, device="cpu")


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


def test_systems_over_cultures(tiny: Path, adapter: Path) -> None:
    raw = System("raw", str(tiny))
    playing = System("role-play", str(tiny), role_play=True)
    trained = System("trained", str(tiny), adapter={"china": str(adapter), "japan": str(adapter)})
    table = evaluate([trained, raw, playing], ["china", "japan"], SAMPLE)
    assert table.features == results.RESULTS
    assert list(dict.fromkeys(table["system"])) == [*baselines.MEANINGS, "trained", "raw", "role-play"]
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
    with systems._with_adapter(model, str(adapter)) as adapted:
        assert (adapted(**inputs).logits - before).abs().max() > 1e-3
    assert (model(**inputs).logits == before).all()


def row(system: str, culture: str, measure: tuple[str, str], value: float) -> dict[str, Any]:
    return results._row({"system": system, "culture": culture}, measure, value, 4)


def test_told() -> None:
    rows = [
        row(system, culture, measure, value)
        for culture in ("china", "japan")
        for system, value in (("always False", 0.25), ("chance", 0.25), ("raw", 0.5 if culture == "china" else 0))
        for measure in results._MEASURES
        if system != "always False" or measure[0] == "culturalbench_hard"
    ]
    assert format_table(Dataset.from_list(rows[:-1], features=results.RESULTS)) == "\n".join(
        [
            "china             Easy                        Hard                        Hard, judgements",
            "  raw             50.0 [15.0, 85.0] n=4       50.0 [15.0, 85.0] n=4       50.0 [15.0, 85.0] n=4",
            "  always False    -                           25.0 [4.6, 69.9] n=4        25.0 [4.6, 69.9] n=4",
            "  chance          25.0 n=4                    25.0 n=4                    25.0 n=4",
            "",
            "japan             Easy                        Hard                        Hard, judgements",
            "  raw             0.0 [0.0, 49.0] n=4         0.0 [0.0, 49.0] n=4         -",
            "  always False    -                           25.0 [4.6, 69.9] n=4        25.0 [4.6, 69.9] n=4",
            "  chance          25.0 n=4                    25.0 n=4                    25.0 n=4",
            "",
            "all 2 cultures    Easy                        Hard                        Hard, judgements",
            "  raw             25.0 [7.1, 59.1] n=8        25.0 [7.1, 59.1] n=8        50.0 [15.0, 85.0] n=4",
            "  always False    -                           25.0 [7.1, 59.1] n=8        25.0 [7.1, 59.1] n=8",
            "  chance          25.0 n=8                    25.0 n=8                    25.0 n=8",
            "",
            "Per cent right with 95 % Wilson interval over n questions; chat template applied.",
            "chance: an option drawn evenly (Easy), each judgement by a coin (Hard); no interval.",
            "always False: every statement judged false (Hard).",
        ]
    )


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"cultures": ["atlantis"]}, "unknown culture 'atlantis'; known are united_kingdom, "),
        ({"systems": []}, "no system was given"),
        ({"systems": [System("a", "m"), System("a", "n")]}, "two systems are called 'a'"),
        ({"settings": Settings(culturalbench="nowhere.csv")}, r"nowhere\.csv: cannot be read"),
        ({"systems": [System("a", "no/such/folder")]}, "model 'no/such/folder' cannot be loaded"),
    ],
)
def test_bad_input_is_one_sentence(given: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said) as caught:
        evaluate(**{"systems": [System("a", "m")], "cultures": ["china"], "settings": SAMPLE, **given})
    assert "\n" not in str(caught.value)


def test_a_wrong_system_or_setting_is_one_sentence(tmp_path: Path) -> None:
    for name in ("", "chance", "fixed letter", "always False"):
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


@pytest.mark.slow
@pytest.mark.usefixtures("embedded_home")
def test_the_embedded_model() -> None:
    from caredio.llm import local

    model = str(local.model_path())
    table = evaluate([System("raw", model), System("role-play", model, role_play=True)], ["nigeria"], SAMPLE)
    assert [name for name in table["system"] if name not in baselines.MEANINGS] == ["raw"] * 3 + ["role-play"] * 3
    assert set(table["n"]) == {2}
    text = format_table(table)
    assert "role-play" in text
    assert "n=2" in text
