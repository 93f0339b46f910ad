"""The Batch API: one file for a stage, collected whatever happens in between."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from batch_server import BatchServer
from datasets import Dataset, Features, Value

import caredio
from caredio.errors import BudgetError, EndpointError
from caredio.llm import batch
from caredio.llm.cache import key_of
from caredio.llm.limits import Rate
from caredio.llm.model import connect
from caredio.llm.rows import Unusable, ask
from caredio.llm.settings import Endpoint
from caredio.llm.spec import Chat, Spec

ROWS = Dataset.from_list([{"text": f"row {number}"} for number in range(30)])


@pytest.fixture(autouse=True)
def _at_once(monkeypatch):
    monkeypatch.setattr(batch, "_FIRST_POLL", 0.01)
    monkeypatch.setattr(batch, "_ARRIVAL", 0.1)


def echo(number, body):
    return body["messages"][0]["content"].upper()


def model_for(server, spec=Spec(model="scripted"), **endpoint):
    return connect(spec, Endpoint(base_url=server.url, batch=True, **{"retries": 1, **endpoint}))


def run(model, rows=ROWS, parse=lambda content, row, answer: {"said": content}, **options):
    return ask(
        rows,
        model,
        prompt=lambda row: [{"role": "user", "content": row["text"]}],
        parse=parse,
        columns=Features({"said": Value("string")}),
        desc="asked",
        **options,
    )


def test_all_rows_are_one_batch_and_each_gets_its_own_answer():
    rows = Dataset.from_list([{"text": f"row {number}"} for number in range(2500)])
    with BatchServer(echo) as server:
        model = model_for(server)
        asked = run(model, rows)
        assert len(server.batches) == 1
        assert model.take_usage().calls == 2500
        assert asked["said"][:] == [f"ROW {number}" for number in range(2500)]
        assert run(model, rows)["said"][:] == asked["said"][:]
        assert len(server.batches) == 1
    assert not model.store.pending([key_of(model.spec, Chat([{"role": "user", "content": "row 0"}]))])


def test_repairs_are_a_second_smaller_batch():
    def fault(number, body):
        return "fine" if len(body["messages"]) == 3 or number % 10 else "bad"

    def parse(content, row, answer):
        if content == "bad":
            raise Unusable("not good enough")
        return {"said": content}

    with BatchServer(fault) as server:
        asked = run(model_for(server), parse=parse)
        sizes = [one["request_counts"]["total"] for one in server.batches.values()]
    assert sizes == [30, 3]
    assert set(asked["said"]) == {"fine"}


def test_more_than_a_file_may_hold_is_several_batches(monkeypatch):
    monkeypatch.setattr(batch, "_REQUESTS", 12)
    with BatchServer(echo) as server:
        assert len(run(model_for(server))) == 30
        assert sorted(one["request_counts"]["total"] for one in server.batches.values()) == [6, 12, 12]
    monkeypatch.setattr(batch, "_BYTES", 2000)
    with BatchServer(echo) as server:
        run(model_for(server, Spec(model="other")))
        assert len(server.batches) > 3
        assert max(len(file) for file in server.files.values() if b"custom_id" in file and b"method" in file) <= 2000


@pytest.mark.parametrize(
    ("fault", "reason", "attempts"),
    [(400, "endpoint: status 400", 1), (500, "endpoint: status 500", 2), ("expire", "endpoint: batch_expired", 2),
     ("lose", "endpoint: batch completed", 2)],
)  # fmt: skip
def test_a_line_that_failed_is_asked_again_if_that_can_help_and_else_a_reason(fault, reason, attempts):
    def one(number, body):
        return fault if body["messages"][0]["content"] == "row 7" else echo(number, body)

    with BatchServer(one) as server:
        asked = run(model_for(server))
        assert len(server.batches) == attempts
    assert asked["drop_reason"][7] == reason
    assert asked["drop_reason"][:].count(None) == 29


def test_a_passing_error_is_mended_by_the_next_batch():
    with BatchServer(lambda number, body: 500 if number == 3 else echo(number, body)) as server:
        asked = run(model_for(server))
        assert [one["request_counts"]["total"] for one in server.batches.values()] == [30, 1]
    assert asked["said"][:] == [text.upper() for text in ROWS["text"]]


def test_a_batch_that_is_refused_ends_the_run_and_is_forgotten():
    with BatchServer(refuse=lambda lines: "invalid_json_line") as server:
        with pytest.raises(EndpointError, match="refused the batch: scripted invalid_json_line"):
            run(model_for(server))
        server.refuse = None
        assert all(run(model_for(server))["said"])


def test_more_than_the_account_may_queue_is_halved():
    with BatchServer(echo, refuse=lambda lines: "token_limit_exceeded" if len(lines) > 8 else None) as server:
        asked = run(model_for(server))
        done = [one["request_counts"]["total"] for one in server.batches.values() if one["status"] == "completed"]
    assert asked["said"][:] == [text.upper() for text in ROWS["text"]]
    assert sum(done) == 30
    assert max(done) <= 8


def test_a_budget_holds_calls_back_for_a_later_batch():
    async def calls(model):
        tasks = [model.complete(Chat([{"role": "user", "content": f"{n}"}])) for n in range(12)]
        try:
            return await asyncio.gather(*tasks, return_exceptions=True)
        finally:
            await model.close()

    with BatchServer() as server:
        model = model_for(server, Spec(model="scripted", max_tokens=100), max_total_tokens=420)
        ended = asyncio.run(calls(model))
        answered = sum(one["request_counts"]["completed"] for one in server.batches.values())
        assert len(server.batches) > 1
    stopped = [error for error in ended if isinstance(error, BudgetError)]
    assert answered + len(stopped) == 12
    assert stopped


@pytest.mark.parametrize("fault", ["expire", "lose"])
def test_a_batch_that_comes_to_nothing_is_not_submitted_anew_past_the_cap(fault):
    """Whatever the endpoint charges for what it lost: no more than the cap."""
    with BatchServer(lambda number, body: fault) as server:
        model = model_for(server, Spec(model="scripted", max_tokens=100), retries=5, max_total_tokens=20_000)
        with pytest.raises(BudgetError, match=r"without a count from the endpoint"):
            run(model)
        lines = [line for file in server.files.values() if b'"url"' in file for line in file.splitlines()]
        billed = sum(len(json.dumps(json.loads(line)["body"]).encode()) + 100 for line in lines)
        spent = model.take_usage()
    assert 0 < billed <= 20_000
    assert spent.prompt_tokens + spent.completion_tokens == billed


@pytest.mark.parametrize("request_", ["POST batches", "GET batches/batch_0", "GET files/file-1/content"])
def test_an_answer_lost_on_the_way_submits_nothing_twice(request_):
    with BatchServer(echo) as server:
        server.dropped = {request_}
        if request_ == "POST batches":  # was it made? the next command looks
            with pytest.raises(EndpointError, match="the same command collects it"):
                run(model_for(server))
        assert run(model_for(server))["said"][:] == [text.upper() for text in ROWS["text"]]
        assert len(server.batches) == 1
        assert not server.dropped


@pytest.mark.parametrize("path", ["files", "batches", "batches/batch_0", "files/file-1/content"])
def test_a_process_killed_at_any_point_is_gone_on_from(path):
    script = "import sys; from llm import test_batch as t; t.run(t.model_for(type('Server', (), {'url': sys.argv[1]})))"

    class Killing(BatchServer):
        victim = None

        def route(self, method, parts, kind, data):
            made = super().route(method, parts, kind, data)
            if self.victim and "/".join(parts) == path:
                self.victim.send_signal(signal.SIGKILL)
                self.victim.wait()
                self.victim = None
            return made

    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    with Killing(echo) as server:
        with server.lock:
            process = server.victim = subprocess.Popen([sys.executable, "-c", script, server.url], env=environment)
        assert process.wait(60) == -signal.SIGKILL
        asked = run(model_for(server))
        assert asked["said"][:] == [text.upper() for text in ROWS["text"]]
        assert len(server.batches) == 1
        assert server.repeats() == 0


def test_what_a_stopped_command_submitted_is_counted_by_the_one_that_collects_it():
    with BatchServer(looks=10**9) as server:
        with pytest.raises(RuntimeError, match="stopped"):
            stop_after_submission(server)
        server.left = dict.fromkeys(server.batches, 1)
        model = model_for(server)
        (row,) = run(model, ROWS.select([0]))
        spent = model.backend.endpoint.budget.spent[Rate("scripted", True)]
        assert len(server.batches) == 1
    assert row["said"]
    assert spent == model.take_usage()
    assert (spent.calls, spent.prompt_tokens, spent.completion_tokens) == (1, 2, len(row["said"].split()))


def test_a_batch_of_another_endpoint_is_not_asked_anew():
    with BatchServer(looks=10**9) as server, pytest.raises(RuntimeError, match="stopped"):
        stop_after_submission(server)
    with BatchServer() as other:
        with pytest.raises(EndpointError, match="does not know a batch"):
            run(model_for(other), ROWS.select([0]))
        assert not other.batches


def test_without_batches_what_is_pending_is_told(caplog):
    with BatchServer(looks=10**9) as server:
        with pytest.raises(RuntimeError, match="stopped"):
            stop_after_submission(server)
        connect(Spec(model="scripted"), Endpoint(base_url=server.url))
    assert "1 submitted calls are not collected yet" in caplog.text


def stop_after_submission(server):
    model = model_for(server)

    async def story():
        task = asyncio.ensure_future(model.complete(Chat([{"role": "user", "content": "row 0"}])))
        while not server.batches:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)
        task.cancel()
        while not model.backend._worker.done():  # else it could collect the batch yet
            await asyncio.sleep(0.01)
        raise RuntimeError("stopped")

    asyncio.run(story())


def test_a_synthesis_in_batches_makes_the_same_tables(server, tmp_path, monkeypatch):
    wanted = {"model": "scripted", "per_topic": 3, "neighbours": 1, "compared": 1}
    tables = []
    with BatchServer() as batches:
        for peer, options in ((server, {}), (batches, {"batch": True})):
            monkeypatch.setenv("OPENAI_BASE_URL", peer.url)
            monkeypatch.setenv("CAREDIO_HOME", str(tmp_path / peer.url.split(":")[-1][:5]))
            out = tmp_path / f"run-{len(tables)}"
            caredio.synthesize(["china"], ["food"], out=out, **wanted, **options)
            tables.append((out / "candidates" / "candidates.parquet").read_bytes())
        assert len(batches.batches) < len(batches.seen)
    assert tables[0] == tables[1]
