"""Results of several evaluations in one run: what is measured, what is kept, and whose numbers a card shows."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from datasets import Dataset, Features, Value
from test_progress import bars, on_a_terminal
from test_progress import caredio as caredio_command
from transformers import AutoModelForCausalLM

import caredio
from caredio import checkpoints, cli, features
from caredio.errors import InputError
from caredio.evaluation.results import format_table
from caredio.evaluation.samples import find, rows
from caredio.runs import Run, read

BASELINES = ("chance", "fixed letter", "always False")  # of CulturalBench


def measure(out: Path, model: Path, trained: Path | None = None, **more: Any) -> Dataset:
    settings: dict[str, Any] = {"culturalbench": "sample", "limit": 4, "device": "cpu", **more}
    cultures = settings.pop("cultures", ["china"])
    return caredio.evaluate(cultures, out=out, model=str(model), trained=trained, **settings).results


def numbers(table: Dataset, system: str = "trained") -> list[float]:
    return [row["value"] for row in table if row["system"] == system]


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The models whose weights transformers loads, one entry a time."""
    real, seen = AutoModelForCausalLM.from_pretrained, []

    def load(name: str, *positional: Any, **keywords: Any) -> Any:
        seen.append(str(name))
        return real(name, *positional, **keywords)

    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", load)
    return seen


def variant(adapter: Path, folder: Path, seed: int = 0, **config: Any) -> Path:
    """An adapter with other weights (where a seed is given) or another configuration, as `folder/china`."""
    import torch
    from safetensors.torch import load_file, save_file

    place = folder / "china"
    shutil.copytree(adapter, place)
    if seed:
        torch.manual_seed(seed)
        held = load_file(place / "adapter_model.safetensors")
        save_file({name: torch.randn_like(value) for name, value in held.items()}, place / "adapter_model.safetensors")
    settings = json.loads((place / "adapter_config.json").read_text())
    (place / "adapter_config.json").write_text(json.dumps({**settings, **config}))
    return folder


def test_one_bar_counts_the_questions_of_an_evaluation(tiny: Path, tmp_path: Path) -> None:
    asked = ("--cultures", "china,japan", "--model", tiny, "--culturalbench", "sample", "--limit", 3, "--device", "cpu")
    command = caredio_command("evaluate", *asked, "--out", tmp_path / "run")
    env = {name: value for name, value in os.environ.items() if name != "HF_DATASETS_DISABLE_PROGRESS_BARS"}
    code, written = on_a_terminal(command, env)
    assert code == 0, written
    drawn = bars(written)
    total = 2 * 2 * 2 * 3  # two systems, on Easy and Hard, on two cultures
    assert {one[3] for one in drawn} == {total}
    assert drawn[-1][:3] == ("evaluate", 100, total)
    assert [one[2] for one in drawn] == sorted(one[2] for one in drawn)
    titles = [one[0] for one in drawn]
    parts = [
        f"{system}: culturalbench_{part}, {culture}"
        for system in ("raw", "role-play")
        for part in ("easy", "hard")
        for culture in ("china", "japan")
    ]
    places = [f"evaluate, {part} ({place} of 8)" for place, part in enumerate(parts, 1)]
    assert list(dict.fromkeys(titles)) == [*places, "evaluate"]
    assert max(one[2] for one in drawn if one[0] == places[3]) == total / 2
    assert len(re.findall(r"it/s\]", written)) == 0  # no bar of another library
    done = subprocess.run(
        caredio_command("evaluate", *asked, "--out", tmp_path / "b"), env=env, capture_output=True, text=True
    )
    assert done.returncode == 0
    assert "%|" not in done.stderr
    assert [line for line in done.stderr.splitlines() if " of 8)" in line] == [one[10:] for one in places]


def test_the_bar_says_how_far_replies_are(tiny: Path, tmp_path: Path) -> None:
    asked = ("--cultures", "china", "--model", tiny, "--culturalbench", "sample", "--limit", 1, "--device", "cpu")
    command = caredio_command("evaluate", *asked, "--benchmarks", "culturalbench_easy_cot", "--out", tmp_path / "run")
    env = {name: value for name, value in os.environ.items() if name != "HF_DATASETS_DISABLE_PROGRESS_BARS"}
    code, written = on_a_terminal(command, env | {"COLUMNS": "200"})
    assert code == 0, written
    tokens = [tuple(map(int, one)) for one in re.findall(r"token (\d+) of (\d+)", written)]
    assert tokens
    assert {room for _, room in tokens} == {512}


def test_a_second_evaluation_adds_to_the_first(tiny: Path, adapter: Path, tmp_path: Path, loads: list[str]) -> None:
    out, one, two = tmp_path / "run", variant(adapter, tmp_path / "a"), variant(adapter, tmp_path / "b", seed=2)
    first = measure(out, tiny, one)
    assert len(loads) == 1
    second = measure(out, tiny, two)
    assert len(loads) == 2
    kept = read(sorted((out / "results").glob("*.parquet")))
    assert kept.features == features.RESULTS
    assert numbers(kept) == numbers(first) + numbers(second)
    assert numbers(first) != numbers(second)
    assert numbers(kept, "raw") == numbers(first, "raw") == numbers(second, "raw")  # measured once
    assert [row["model"] for row in kept if row["system"] == "trained"] == [str(one / "china")] * 3 + [
        str(two / "china")
    ] * 3
    assert measure(out, tiny, one).to_list() == first.to_list()  # out of what was kept
    assert len(loads) == 2
    made = json.loads((out / "run.json").read_text())["stages"]["results"]["measured"]
    assert [record["systems"][2]["adapter"]["china"] for record in made] == [str(one / "china"), str(two / "china")]


def test_what_changes_nothing_is_not_measured_again(
    tiny: Path, adapter: Path, tmp_path: Path, loads: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    out = tmp_path / "run"
    first = measure(out, tiny, variant(adapter, tmp_path / "a"))
    written = {file: file.stat().st_mtime_ns for file in (out / "results").iterdir()}
    moved = shutil.copytree(tmp_path / "a", tmp_path / "elsewhere")
    (moved / "china" / "README.md").write_text("a card")
    copied = shutil.copytree(tiny, tmp_path / "copy of the base")
    with caplog.at_level("INFO", "caredio"):
        again = measure(out, copied, moved, batch_size=3)
    assert len(loads) == 1
    assert again.to_list() == first.to_list()
    assert {file: file.stat().st_mtime_ns for file in (out / "results").iterdir()} == written
    assert [record.message for record in caplog.records if "unchanged" in record.message] == [
        f"results    {len(first):>6} rows, unchanged"
    ]


def other_alpha(tiny: Path, adapter: Path, folder: Path) -> dict[str, Any]:
    return {"model": tiny, "trained": variant(adapter, folder / "b", lora_alpha=64)}


def other_adapter_weights(tiny: Path, adapter: Path, folder: Path) -> dict[str, Any]:
    return {"model": tiny, "trained": variant(adapter, folder / "b", seed=3)}


def other_base_config(tiny: Path, adapter: Path, folder: Path) -> dict[str, Any]:
    base = shutil.copytree(tiny, folder / "base")
    config = json.loads((base / "config.json").read_text())
    config["rms_norm_eps"] = 0.5
    (base / "config.json").write_text(json.dumps(config))
    return {"model": base, "trained": folder / "a"}


def other_template(tiny: Path, adapter: Path, folder: Path) -> dict[str, Any]:
    base = shutil.copytree(tiny, folder / "base")
    file = base / "chat_template.jinja"
    file.write_text("Listen. " + file.read_text())
    return {"model": base, "trained": folder / "a"}


def other_limit(tiny: Path, adapter: Path, folder: Path) -> dict[str, Any]:
    return {"model": tiny, "trained": folder / "a", "limit": 3}


def other_questions(tiny: Path, adapter: Path, folder: Path) -> dict[str, Any]:
    from caredio.evaluation.benchmarks import culturalbench

    text = culturalbench.SAMPLE.read_text(encoding="utf-8")
    (folder / "own.csv").write_text(text.replace("China", "China", 1) + "\n", encoding="utf-8")
    return {"model": tiny, "trained": folder / "a", "culturalbench": str(folder / "own.csv")}


TRAINED = {"trained", "trained + role-play"}
ARMS = {"raw", "role-play", *TRAINED}


@pytest.mark.parametrize(
    ("change", "anew"),
    [
        (other_alpha, TRAINED),
        (other_adapter_weights, TRAINED),
        (other_base_config, ARMS),
        (other_template, ARMS),
        (other_limit, {*ARMS, *BASELINES}),
        (other_questions, {*ARMS, *BASELINES}),
    ],
)
def test_what_changes_the_numbers_is_measured_beside_the_old(
    tiny: Path, adapter: Path, tmp_path: Path, change: Any, anew: set[str]
) -> None:
    out = tmp_path / "run"
    measure(out, tiny, variant(adapter, tmp_path / "a", base_model_name_or_path="unknown"))
    before = read(sorted((out / "results").glob("*.parquet"))).to_list()
    measure(out, **change(tiny, adapter, tmp_path))
    after = read(sorted((out / "results").glob("*.parquet"))).to_list()
    assert after[: len(before)] == before
    assert {row["system"] for row in after[len(before) :]} == anew


def own_part(folder: Path, text: str = "[system]\nBe $adjective.\n") -> str:
    folder.mkdir()
    (folder / "systems.txt").write_text(text)
    return str(folder)


def test_another_part_to_play_is_measured_beside_the_old(tiny: Path, tmp_path: Path, loads: list[str]) -> None:
    out = tmp_path / "run"
    before = measure(out, tiny)
    mine = own_part(tmp_path / "mine")
    after = measure(out, tiny, prompts=mine)
    kept = read(sorted((out / "results").glob("*.parquet"))).to_list()
    assert kept[: len(before)] == before.to_list()
    assert {row["system"] for row in kept[len(before) :]} == {"role-play"}
    assert numbers(after, "raw") == numbers(before, "raw")
    entry = json.loads((out / "run.json").read_text())["stages"]["results"]
    assert [record["role_play"][:6] for record in entry["measured"]] == ["You sp", "Be $ad"]
    assert [record["own_prompts"] for record in entry["measured"]] == [[], ["systems"]]
    assert entry["made_from"]["own_prompts"] == ["systems"]
    assert "role-play: systems.txt is not the shipped prompt." in format_table(after).splitlines()
    assert "systems.txt" not in format_table(before)
    shutil.rmtree(mine)
    loaded = len(loads)
    assert measure(out, tiny).to_list() == after.to_list()  # the run keeps the prompts that it used
    assert len(loads) == loaded
    assert "prompts: prompts\n" in (out / "evaluate.yaml").read_text()
    cli.main(["evaluate", "--config", str(out / "evaluate.yaml"), "--out", str(out)])
    assert len(loads) == loaded


def test_a_part_that_cannot_be_played_is_found_before_anything_is_loaded(
    tiny: Path, tmp_path: Path, loads: list[str]
) -> None:
    with pytest.raises(InputError, match=r"systems\.txt: slot \$adjective is missing"):
        measure(tmp_path / "run", tiny, prompts=own_part(tmp_path / "mine", "[system]\nBe yourself.\n"))
    assert loads == []
    assert not (tmp_path / "run").exists()


def test_a_culture_more_is_measured_alone(tiny: Path, tmp_path: Path) -> None:
    first = measure(tmp_path / "run", tiny)
    both = measure(tmp_path / "run", tiny, cultures=["china", "japan"])
    kept = read(sorted((tmp_path / "run" / "results").glob("*.parquet")))
    assert len(kept) == len(both) == 2 * len(first)
    assert [row for row in both.to_list() if row["culture"] == "china"] == first.to_list()


def test_a_system_that_fails_loses_no_others_numbers(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = shutil.copytree(tiny, tmp_path / "other")
    real = AutoModelForCausalLM.from_pretrained

    def load(name: str, *positional: Any, **keywords: Any) -> Any:
        if str(name) == str(other):
            raise OSError("the disk is gone")
        return real(name, *positional, **keywords)

    config = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps({**config, "rms_norm_eps": 0.5}))
    with monkeypatch.context() as patched:
        patched.setattr(AutoModelForCausalLM, "from_pretrained", load)
        with pytest.raises(InputError, match="the disk is gone"):
            measure(tmp_path / "run", tiny, other)
    kept = read(sorted((tmp_path / "run" / "results").glob("*.parquet")))
    assert {"raw", "role-play"} < set(kept["system"])
    assert len(numbers(measure(tmp_path / "run", tiny, other))) == 3


def test_a_table_that_was_removed_is_measured_again(tiny: Path, tmp_path: Path) -> None:
    first = measure(tmp_path / "run", tiny)
    shutil.rmtree(tmp_path / "run" / "results")
    assert measure(tmp_path / "run", tiny).to_list() == first.to_list()
    assert (tmp_path / "run" / "results").is_dir()


def test_results_of_an_earlier_release_are_read_and_kept(tiny: Path, tmp_path: Path) -> None:
    names = ["system", "culture", "benchmark", "metric", "n", "value", "low", "high"]
    row = dict(zip(names, ("raw", "china", "culturalbench_easy", "acc", 4, 0.75, 0.3, 0.95), strict=True))
    kinds = {name: Value("string") for name in names[:4]} | {"n": Value("int32")}
    old = Features(kinds | {name: Value("float64") for name in names[5:]})
    with Run(tmp_path / "run") as run:
        run.stage(
            "results", lambda: (Dataset.from_list([row], features=old), {"measured": {"config": {}}}), columns=old
        )
    table = measure(tmp_path / "run", tiny)
    assert 0.75 not in [row["value"] for row in table if row["weights_sha256"] is None and row["system"] == "raw"]
    with Run(tmp_path / "run") as run:
        kept = run.table("results")
        assert run.stages["results"]["measured"][0] == {"config": {}}
    assert kept[0] == {**dict.fromkeys(features.RESULTS), **row}
    assert len(kept) == len(table) + 1


def test_cultures_of_the_run_without_questions_are_left_out(tiny: Path, tmp_path: Path) -> None:
    rows = [
        {"question_id": "q", "question": "What is eaten?", "response": answer, "culture": culture}
        for culture, answer in (("china", "rice"), ("narnia", "turnips"))
    ]
    file = tmp_path / "own.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    caredio.select(file, out=tmp_path / "run")
    table = measure(tmp_path / "run", tiny, cultures=None)
    assert set(table["culture"]) == {"china"}


def train(adapter: Path, folder: Path, base: Path, seed: int = 0, cultures: tuple[str, ...] = ("china",)) -> Path:
    """`folder/china` as a recipe leaves it."""
    record = {
        "recipe": "sft",
        "method": "lora",
        "base_model": str(base),
        "dataset_name": "runs/first/ranked",
        "dataset_config": "all" if len(cultures) > 1 else cultures[0],
        "cultures": list(cultures),
        "rows": 6,
        "base_sha256": checkpoints.weights_sha256(base),
    }
    place = variant(adapter, folder, seed=seed) / "china"
    (place / "training.json").write_text(json.dumps(record))
    return place


def card(out: Path, model: Path) -> str:
    return (
        caredio.publish(out, model=model, to=out.parent / f"release of {model.parent.name}") / "README.md"
    ).read_text()


def shown(page: str) -> list[tuple[str, str, str]]:
    """(culture, metric, value) of a card's results."""
    rows = [line.strip("| ").split(" | ") for line in page.splitlines() if line.startswith("| `trained`")]
    return [(row[6].strip("`"), row[2].strip("`"), row[4]) for row in rows]


def expected(table: Dataset) -> list[tuple[str, str, str]]:
    return [(row["culture"], row["metric"], f"{row['value']:.3f}") for row in table if row["system"] == "trained"]


def test_each_card_shows_its_own_numbers(tiny: Path, adapter: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    made = [train(adapter, tmp_path / name, tiny, seed) for name, seed in (("a", 0), ("b", 2))]
    tables = [measure(out, tiny, place.parent) for place in made]
    assert expected(tables[0]) != expected(tables[1])
    for place, table in zip(made, tables, strict=True):
        assert shown(card(out, place)) == expected(table)
    elsewhere = shutil.copytree(made[0], tmp_path / "elsewhere" / "me")
    page = card(out, elsewhere)
    assert shown(page) == expected(tables[0])
    assert "base_model" not in yaml.safe_load(page.split("---\n")[1])  # it is a folder, which the Hub would refuse


def test_a_model_trained_again_or_on_another_base_was_not_evaluated(tiny: Path, adapter: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    place = train(adapter, tmp_path / "a", tiny)
    measure(out, tiny, place.parent)
    moved = json.loads((place / "training.json").read_text())
    for file, text in (
        ("training.json", json.dumps({**moved, "base_sha256": "of another base"})),
        (
            "adapter_config.json",
            (place / "adapter_config.json").read_text().replace('"lora_alpha": 8', '"lora_alpha": 9'),
        ),
    ):
        changed = shutil.copytree(place, tmp_path / file / "china")
        assert (changed / file).read_text() != text
        (changed / file).write_text(text)
        assert "This release was not evaluated." in card(out, changed)
    shutil.rmtree(place)
    again = train(adapter, tmp_path / "a", tiny, seed=4)
    page = card(out, again)
    assert "This release was not evaluated." in page
    assert shown(page) == []


def test_the_card_of_a_model_of_all_cultures_shows_every_one(tiny: Path, adapter: Path, tmp_path: Path) -> None:
    place = train(adapter, tmp_path / "a", tiny, cultures=("china", "japan"))
    table = measure(tmp_path / "run", tiny, place, cultures=["china", "japan", "india"])
    assert {row["culture"] for row in table if row["system"] == "trained"} == {"china", "japan", "india"}
    page = card(tmp_path / "run", place)
    assert sorted(shown(page)) == sorted(row for row in expected(table) if row[0] != "india")
    assert "aligned to the cultures `china`, `japan` by sft (lora)" in page


def test_a_trained_model_is_measured_with_its_part_and_without(tiny: Path, adapter: Path, tmp_path: Path) -> None:
    table = measure(tmp_path / "run", tiny, variant(adapter, tmp_path / "a"), benchmarks="culturalbench_easy")
    systems = [name for name in dict.fromkeys(table["system"]) if name not in BASELINES]
    assert systems == ["raw", "role-play", "trained", "trained + role-play"]
    weights = {row["system"]: row["weights_sha256"] for row in table}
    assert weights["trained"] == weights["trained + role-play"] != weights["raw"]
    asked = {one.system: rows(one)[0]["arguments"]["gen_args_0"]["arg_0"] for one in find(tmp_path / "run" / "samples")}
    assert asked["trained"] == asked["raw"]
    assert asked["trained + role-play"] == asked["role-play"] != asked["raw"]


def test_a_row_tells_what_was_trained_on(tiny: Path, adapter: Path, tmp_path: Path) -> None:
    place = train(adapter, tmp_path / "a", tiny)
    record = json.loads((place / "training.json").read_text())
    of_rows = {"rows_sha256": "ab12", "budget": 100, "ranking": "random"}
    (place / "training.json").write_text(json.dumps({**record, **of_rows}))
    table = measure(tmp_path / "run", tiny, place.parent, benchmarks="culturalbench_easy")
    told = {
        row["system"]: [row[name] for name in ("trained_on", "rows_sha256", "budget", "ranking", "recipe")]
        for row in table
    }
    assert told["trained"] == told["trained + role-play"] == ["runs/first/ranked", "ab12", 100, "random", "sft"]
    assert told["raw"] == told["chance"] == [None] * 5
    assert set(table["benchmark_version"]) == {"2.0"}


def test_a_wrong_trained_model_is_found_before_anything_is_loaded(tiny: Path, tmp_path: Path, loads: list[str]) -> None:
    (tmp_path / "own.yaml").write_text(
        "name: own\ntitle: Own\nkind: answers\nfile: own.csv\nlicence: mine\nculture: china\n"
    )
    (tmp_path / "own.csv").write_text("question,answers\nWhat?,That\n")
    (tmp_path / "empty").mkdir()
    for wrong, message in (("none", "none: is no folder"), ("empty", "empty: holds no trained model")):
        with pytest.raises(InputError, match=message):
            measure(tmp_path / "run", tiny, tmp_path / wrong, benchmarks=str(tmp_path / "own.yaml"), limit=None)
    assert loads == []
    assert not (tmp_path / "run" / "results").exists()


def test_an_evaluation_that_was_killed_goes_on_where_it_stopped(tiny: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    asked = ("--cultures", "china", "--model", tiny, "--culturalbench", "sample", "--limit", 4, "--device", "cpu")
    command = caredio_command("evaluate", *asked, "--out", out)
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while not [*(out / "results").glob("*.parquet")]:  # the first of four parts is measured
            assert process.poll() is None
            time.sleep(0.01)
    finally:
        process.kill()
        process.wait()
    with Run(out) as run:  # it completes what the killed process was moving
        before = run.table("results").to_list()
    done = {(row["system"], row["benchmark"]) for row in before if row["weights_sha256"]}
    written = {(one.system, one.benchmark): one.path for one in find(out / "samples")}
    assert 1 <= len(done) < 4
    assert done <= set(written)
    table = measure(out, tiny)
    with Run(out) as run:
        after = run.table("results").to_list()
    assert after[: len(before)] == before
    assert sorted(map(str, after)) == sorted(map(str, table))
    now = {(one.system, one.benchmark): one.path for one in find(out / "samples")}
    assert len(now) == 4
    assert {part: now[part] for part in done} == {part: written[part] for part in done}  # their names hold the time
    fresh = measure(tmp_path / "fresh", tiny)
    assert [row["value"] for row in table] == [row["value"] for row in fresh]
