"""Run folders: fingerprints, atomic tables, resuming."""

import asyncio
import contextlib
import json
import os
import subprocess
import sys
from dataclasses import dataclass

import pytest
from datasets import Dataset, load_dataset
from llm_server import LLMServer

import caredio
from caredio import features, runs
from caredio.errors import BudgetError, InputError
from caredio.llm.limits import CallFailed
from caredio.llm.model import connect
from caredio.llm.settings import Endpoint
from caredio.llm.spec import Chat, Spec
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
                await model.complete(Chat([{"role": "user", "content": row["question"]}]))
        await model.close()

    with LLMServer(fault=lambda number, body: 500 if number == 2 else None) as server, Run(tmp_path) as run:
        model = connect(Spec(model="scripted"), Endpoint(base_url=server.url, retries=0))
        run.stage("one", asked, columns=features.OWN, model=model)
        record = run.stages["one"]
        assert (record["complete"], record["usage"]["failed"]) == (False, 1)
        assert (record["usage"]["calls"], record["usage"]["uncounted"]) == (6, 1)  # a 500 may have cost something
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


@pytest.mark.parametrize(
    "record",
    [b"{", b"[]", b"\xff\xfe", b'{"stages": [1]}', b'{"stages": {"one": {"rows": 3}}}', b'{"stages": {}, "used": 1}'],
)
def test_a_damaged_record_leaves_no_lock(record, tmp_path):
    file = tmp_path / "run.json"
    file.write_bytes(record)
    with pytest.raises(InputError, match="is not a run's record") as told:
        Run(tmp_path)
    file.unlink()
    with Run(tmp_path) as run:  # while the error is still looked at, as in a notebook
        run.stage("one", table)
    assert told.value


def test_a_record_that_is_a_folder_is_told(tmp_path):
    (tmp_path / "run.json").mkdir()
    with pytest.raises(InputError, match="is not a run's record"):
        Run(tmp_path)


def chain(run, first=ROWS, **last):
    """Three stages, each made from the one before."""
    run.stage("questions", lambda: table(first), config=len(first))
    run.stage("candidates", table, after=["questions"])
    run.stage("scored", table, after=["candidates"], **last)


def test_a_table_is_read_while_what_it_was_made_from_stands_there(tmp_path):
    with Run(tmp_path) as run:
        chain(run)
    with Run(tmp_path) as run:
        assert run.table("scored").to_list() == ROWS
        run.stage("questions", lambda: table(ROWS[:2]), config=2)
    with Run(tmp_path) as run:
        for stage in ("candidates", "scored"):  # all the way down
            with pytest.raises(InputError) as told:
                run.table(stage)
            assert str(told.value) == (
                f"{tmp_path}/candidates: is out of date, as it was made from other questions than stand here now; run"
                f" `caredio synthesize --out {tmp_path}` again."
            )
        chain(run, ROWS[:2])
    with Run(tmp_path) as run:
        assert run.table("scored").to_list() == ROWS


def test_a_table_whose_source_was_edited_by_hand_is_not_read(tmp_path):
    with Run(tmp_path) as run:
        chain(run)
    file = tmp_path / "candidates" / "candidates.parquet"
    file.write_bytes((tmp_path / "questions" / "questions.parquet").read_bytes() + b" ")
    with Run(tmp_path) as run, pytest.raises(InputError, match=r"candidates: holds other files than run\.json records"):
        run.table("scored")
    file.unlink()
    with Run(tmp_path) as run, pytest.raises(InputError, match=r"no finished candidates table; run `caredio synth"):
        run.table("scored")


def test_a_command_that_fails_leaves_the_run_as_it_was_and_goes_on(tmp_path):
    with Run(tmp_path) as run:
        chain(run)
    before = contents(tmp_path)

    def command():
        with Run(tmp_path) as run:
            run.stage("questions", lambda: table(ROWS[:2]), config=2)
            run.stage("candidates", lambda: table(ROWS[:3]), after=["questions"])
            assert run.table("candidates").to_list() == ROWS[:3]  # this command reads what it made
            run.stage("scored", lambda: (_ for _ in ()).throw(RuntimeError("power cut")), after=["candidates"])

    with pytest.raises(RuntimeError, match="power cut"):
        command()
    assert contents(tmp_path) == before
    with Run(tmp_path) as run:
        assert run.table("scored").to_list() == ROWS
    with Run(tmp_path) as run:
        run.stage("questions", never, config=2)  # made before the power cut
        run.stage("candidates", never, after=["questions"])
        run.stage("scored", lambda: table(ROWS[:4]), after=["candidates"])
    with Run(tmp_path) as run:
        assert run.table("scored").to_list() == ROWS[:4]
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        ".lock",
        "candidates",
        "questions",
        "run.json",
        "scored",
    ]


def contents(folder):
    """What a reader of the folder sees."""
    there = (file for file in sorted(folder.rglob("*")) if file.is_file() and file.name != ".lock")
    return {str(file): file.read_bytes() for file in there if ".new" not in file.relative_to(folder).parts}


KILLED = """
import os, signal, sys
sys.path.insert(0, "tests")
from pathlib import Path
from test_runs import ROWS, Run, chain
replace = os.replace

def killed_at(moment, folder):
    left = moment

    def counted(*paths):
        nonlocal left
        left -= 1
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)
        replace(*paths)

    os.replace = counted
    with Run(folder) as run:
        chain(run, ROWS[:2], config="new")
    os._exit(0)

for moment in range(1, 40):
    folder = Path(sys.argv[1], str(moment))
    with Run(folder) as run:
        chain(run)
    child = os.fork() or killed_at(moment, folder)
    if os.waitpid(child, 0)[1] != signal.SIGKILL:
        break
"""


def test_a_kill_at_any_moment_leaves_entries_and_files_that_agree(tmp_path):
    """Killed before each renaming in turn: what can be read is all of the old run or all of the new one."""
    subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=True)
    found = []
    for folder in sorted(tmp_path.iterdir(), key=lambda folder: int(folder.name)):
        with Run(folder) as run:
            assert run.table("scored").to_list() == ROWS
            found.append(len(run.table("questions")) == 2)
    assert len(found) > 10
    assert found == sorted(found)
    assert set(found) == {False, True}


def test_a_renaming_that_fails_is_completed_by_the_next_command(tmp_path, monkeypatch):
    with Run(tmp_path) as run:
        chain(run)
    replace = os.replace

    def full(source, target):
        if target == tmp_path / "candidates":
            raise OSError(28, "No space left on device")
        replace(source, target)

    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", full)
        with pytest.raises(InputError, match="No space left"), Run(tmp_path) as run:
            chain(run, ROWS[:2], config="new")
    with Run(tmp_path) as run:
        assert run.table("scored").to_list() == ROWS
        assert len(run.table("questions")) == 2


def test_a_run_written_by_the_version_before_is_read(tmp_path):
    """Its record has no cultures, no prompts and other fingerprints."""
    with Run(tmp_path) as run:
        chain(run)
    record = json.loads((tmp_path / "run.json").read_text())
    for entry in record["stages"].values():
        entry["fingerprint"] = "of another kind"
        del entry["made_from"]["prompts"]
    del record["used"]
    (tmp_path / "run.json").write_text(json.dumps(record))
    with Run(tmp_path) as run:
        assert run.table("scored").to_list() == ROWS
        assert "china" in run.cultures()
        chain(run)  # made again, to the same tables
        assert run.table("scored").to_list() == ROWS


def test_a_folder_that_is_only_read_is_not_made(tmp_path):
    with Run(tmp_path / "none", create=False) as run, pytest.raises(InputError, match="no finished candidates table"):
        run.table("candidates")
    assert not (tmp_path / "none").exists()


def test_a_folder_that_is_a_file_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        Run(tmp_path / "file")


def test_a_missing_table_is_told(tmp_path):
    with Run(tmp_path) as run, pytest.raises(InputError, match="no finished candidates table"):
        run.table("candidates")


def test_what_commands_spend_adds_up_stopped_and_killed_ones_included(tmp_path, monkeypatch):
    script = "import caredio, sys; caredio.synthesize(['china'], ['food'], out=sys.argv[1], **eval(sys.argv[2]))"
    wanted = {"model": "gpt-4.1-mini", "per_topic": 3, "neighbours": 1, "compared": 1, "concurrency": 2}
    victim, out = [], tmp_path / "run"

    def kills(number, body):
        if number == 7:
            victim[0].kill()

    def models():
        return json.loads((out / "run.json").read_text(encoding="utf-8"))["spending"]["models"]

    with LLMServer(fault=kills, latency=0.02) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        victim.append(subprocess.Popen([sys.executable, "-c", script, str(out), repr(wanted)], stderr=subprocess.PIPE))
        victim[0].communicate(timeout=60)
        seen, server.fault = len(server.seen), None
        with pytest.raises(BudgetError):  # stopped by its limit
            caredio.synthesize(["china"], ["food"], out=out, **wanted, max_total_tokens=2_000)
        (killed,) = models()
        assert killed["calls"] >= seen
        assert killed["uncounted"] >= 1  # what was in flight, at the most it can have cost
        caredio.synthesize(["china"], ["food"], out=out, **wanted)
        (whole,) = models()
        assert len(server.seen) <= whole["calls"] <= len(server.seen) + 2  # two more at most had not left
        before = models()
        caredio.synthesize(["china"], ["food"], out=out, **wanted)
        assert models() == before  # all of it was stored
    assert not list(out.glob(".spending*"))
    assert whole["cost_usd"] == pytest.approx(
        (whole["prompt_tokens"] * 0.4 + whole["completion_tokens"] * 1.6) / 1e6, abs=1e-6
    )
