"""Run folders: fingerprints, atomic tables, resuming."""

import asyncio
import contextlib
import json
from dataclasses import dataclass

import pytest
from datasets import Dataset, load_dataset
from llm_server import LLMServer

from caredio import features, runs
from caredio.errors import InputError
from caredio.llm.chat import CallFailed
from caredio.llm.client import Endpoint
from caredio.llm.model import connect
from caredio.llm.spec import Spec
from caredio.runs import Run

ROWS = [{"question_id": f"q{n}", "question": f"Why {n}?", "response": "yes", "culture": "ab"[n % 2]} for n in range(6)]


@dataclass(frozen=True)
class Config:
    n: int = 1


def table(rows=ROWS):
    return features.table(rows, features.OWN)


def never():
    raise AssertionError("a finished stage ran again")


def test_a_finished_stage_is_read_and_a_changed_one_runs_again(tmp_path):
    with Run(tmp_path) as run:
        run.stage("one", table, columns=features.OWN, config=Config())
    with Run(tmp_path) as run:
        assert run.stage("one", never, columns=features.OWN, config=Config()).to_list() == ROWS
        changed = run.stage("one", lambda: table(ROWS[:2]), columns=features.OWN, config=Config(2))
    assert changed.to_list() == ROWS[:2]
    assert runs.read([tmp_path / "one" / "one.parquet"]).to_list() == ROWS[:2]


@pytest.mark.parametrize("change", [{"source": "x"}, {"prompt": "roleplay"}, {"config": {"n": 2}}])
def test_every_part_of_the_fingerprint_counts(tmp_path, change):
    with Run(tmp_path) as run:
        run.stage("one", table, columns=features.OWN, config={"n": 1})
        with pytest.raises(AssertionError, match="ran again"):
            run.stage("one", never, columns=features.OWN, **{"config": {"n": 1}, **change})


def test_a_stage_runs_again_when_its_input_changed(tmp_path):
    with Run(tmp_path) as run:
        run.stage("one", table, columns=features.OWN)
        run.stage("two", table, columns=features.OWN, after=["one"])
        run.stage("one", lambda: table(ROWS[:3]), columns=features.OWN, config=1)
        with pytest.raises(AssertionError, match="ran again"):
            run.stage("two", never, columns=features.OWN, after=["one"])


def test_a_damaged_table_is_made_again(tmp_path):
    with Run(tmp_path) as run:
        run.stage("one", table, columns=features.OWN)
    file = tmp_path / "one" / "one.parquet"
    file.write_bytes(file.read_bytes()[:-10])
    with Run(tmp_path) as run:
        assert run.stage("one", table, columns=features.OWN).to_list() == ROWS


def test_a_stage_that_fails_leaves_the_table_before_it_and_is_run_again(tmp_path):
    with Run(tmp_path) as run:
        run.stage("one", table, columns=features.OWN)
        with pytest.raises(RuntimeError):
            run.stage("one", lambda: (_ for _ in ()).throw(RuntimeError("power cut")), config=2)
    with Run(tmp_path) as run:
        assert run.table("one").to_list() == ROWS
        assert run.stage("one", never, columns=features.OWN).to_list() == ROWS


def test_rejects_are_written_and_counted(tmp_path):
    rows = [{**row, "drop_reason": "too_short" if n < 2 else None} for n, row in enumerate(ROWS)]
    with Run(tmp_path) as run:
        kept = run.stage("one", lambda: Dataset.from_list(rows), columns=features.OWN)
    assert kept.to_list() == ROWS[2:]
    assert runs.read([tmp_path / "one" / "rejects" / "one.parquet"]).to_list() == rows[:2]
    record = json.loads((tmp_path / "run.json").read_text())["stages"]["one"]
    assert (record["rows"], record["dropped"], record["complete"]) == (4, {"too_short": 2}, True)


def test_a_stage_with_calls_that_failed_is_run_again(tmp_path):
    def asked():
        asyncio.run(said())
        return table()

    async def said():
        for row in ROWS:
            with contextlib.suppress(CallFailed):
                await model.complete([{"role": "user", "content": row["question"]}])
        await model.close()

    with LLMServer(fault=lambda number, body: 500 if number == 2 else None) as server, Run(tmp_path) as run:
        model = connect(Spec(model="scripted"), Endpoint(base_url=server.url, retries=0))
        run.stage("one", asked, columns=features.OWN, model=model)
        record = run.stages["one"]
        assert (record["complete"], record["usage"]["calls"], record["usage"]["failed"]) == (False, 5, 1)
        run.stage("one", asked, columns=features.OWN, model=model)
        record = run.stages["one"]
        assert (record["complete"], record["usage"]["calls"], record["usage"]["stored"]) == (True, 1, 5)
        run.stage("one", never, columns=features.OWN, model=model)


def test_a_split_stage_is_a_dataset_with_configs(tmp_path):
    with Run(tmp_path) as run:
        run.stage("one", table, columns=features.OWN, split_by="culture")
    loaded = load_dataset(str(tmp_path / "one"), "b", split="train", cache_dir=str(tmp_path / "cache"))
    assert loaded.to_list() == [row for row in ROWS if row["culture"] == "b"]
    assert loaded.features == features.OWN
    with Run(tmp_path) as run:
        assert {row["culture"] for row in run.stage("one", never, columns=features.OWN, split_by="culture")} == {
            "a",
            "b",
        }


def test_a_changed_table_is_not_loaded_from_the_cache_of_the_old_one(tmp_path):
    for rows in (ROWS, ROWS[2:]):
        with Run(tmp_path) as run:
            run.stage("one", lambda rows=rows: table(rows), columns=features.OWN, split_by="culture", config=len(rows))
        loaded = load_dataset(str(tmp_path / "one"), "b", split="train", cache_dir=str(tmp_path / "cache"))
        assert loaded.to_list() == [row for row in rows if row["culture"] == "b"]


def test_equal_tables_are_equal_bytes(tmp_path):
    for name in ("x", "y"):
        with Run(tmp_path / name) as run:
            run.stage("one", lambda: table().shuffle(seed=1).sort("question_id"), columns=features.OWN)
    assert (tmp_path / "x/one/one.parquet").read_bytes() == (tmp_path / "y/one/one.parquet").read_bytes()


def test_a_second_process_is_told(tmp_path):
    with Run(tmp_path), pytest.raises(InputError, match="another process is working here"):
        Run(tmp_path)
    with Run(tmp_path):
        pass


def test_a_damaged_record_is_told(tmp_path):
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(InputError, match=r"run\.json: is not a run's record"):
        Run(tmp_path)


def test_a_folder_that_is_a_file_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        Run(tmp_path / "file")


def test_a_missing_table_is_told(tmp_path):
    with Run(tmp_path) as run, pytest.raises(InputError, match="no finished candidates table"):
        run.table("candidates")
