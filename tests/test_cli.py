"""The command line: what a user types, what a user gets wrong, and what survives a kill."""

import asyncio
import inspect
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from datasets import load_dataset
from llm_server import LLMServer

import caredio
from caredio import api, cli, features, prompts, runs
from caredio.answers import show
from caredio.selection import settings as selecting

SMALL = ["--cultures", "china,brazil", "--topics", "food,power", "--per-topic", "3", "--neighbours", "2"]
OWN = [
    {"question_id": "q1", "question": "What is eaten first?", "response": "rice porridge", "culture": "china"},
    {"question_id": "q1", "question": "What is eaten first?", "response": "toast with butter", "culture": "uk"},
    {"question_id": "q2", "question": "Who pays at dinner?", "response": "the eldest person", "culture": "china"},
    {"question_id": "q2", "question": "Who pays at dinner?", "response": "everyone for themselves", "culture": "uk"},
]


def command(*arguments):
    return [sys.executable, "-m", "caredio.cli", *map(str, arguments)]


def fails(capsys, *arguments):
    """The one sentence that the command ends with."""
    with pytest.raises(SystemExit) as end:
        cli.main([str(argument) for argument in arguments])
    said = capsys.readouterr().err
    assert end.value.code == 2, said
    assert "Traceback" not in said
    sentence = said.strip().splitlines()[-1]
    assert sentence.startswith("caredio: ")
    return sentence


@pytest.fixture
def endpoint(server, monkeypatch):
    monkeypatch.setenv("OPENAI_BASE_URL", server.url)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret")
    return server


def own_table(folder: Path, rows=OWN) -> Path:
    path = folder / "own.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def tables(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in sorted(folder.rglob("*.parquet"))}


def test_build_makes_every_table_and_a_second_build_does_nothing(endpoint, tmp_path, capsys):
    out = tmp_path / "run"
    cli.main(["build", "--model", "scripted", "--out", str(out), *SMALL])
    assert capsys.readouterr().out.startswith("ranked: brazil ")
    made, calls = tables(out), len(endpoint.seen)
    assert set(made) >= {f"{stage}/{stage}.parquet" for stage in ("questions", "answers", "candidates", "scored")}
    record = json.loads((out / "run.json").read_text())
    assert sum(stage.get("usage", {}).get("calls", 0) for stage in record["stages"].values()) == calls
    assert "sk-very-secret" not in (out / "run.json").read_text()
    started = record["stages"]["candidates"]["seconds"]
    cli.main(["build", "--model", "scripted", "--out", str(out), *SMALL])
    assert len(endpoint.seen) == calls
    assert tables(out) == made
    assert json.loads((out / "run.json").read_text())["stages"]["candidates"]["seconds"] == started


def test_the_ranked_folder_loads_by_culture_best_first(endpoint, tmp_path):
    out = tmp_path / "run"
    every = {"pairs": 9, "length_ratio": 1}
    caredio.build(["china", "brazil"], ["food", "power"], out=out, model="scripted", per_topic=3, neighbours=2, **every)
    china = load_dataset(str(out / "ranked"), "china", split="train", cache_dir=str(tmp_path / "cache"))
    assert china.features == features.RANKED
    assert china["rank"][:] == list(range(1, len(china) + 1))
    assert china["score"][:] == sorted(china["score"], reverse=True)
    pairs = load_dataset(str(out / "preference"), "china", split="train", cache_dir=str(tmp_path / "cache"))
    assert pairs.features == features.PREFERENCE
    assert len(pairs) == sum(len(row["others"]) for row in china)
    isolated = {row["sample_id"]: row["isolated_response"] for row in china}
    others = {(row["sample_id"], other["culture"]): other["response"] for row in china for other in row["others"]}
    assert isolated != {row["sample_id"]: row["response"] for row in china}
    for pair in pairs:
        assert pair["chosen"][0]["content"] == isolated[pair["sample_id"]]  # not the answer that saw others'
        assert pair["rejected"][0]["content"] == others[pair["sample_id"], pair["rejected_culture"]]


def test_synthesize_then_select_is_build(endpoint, tmp_path):
    cli.main(["build", "--model", "scripted", "--out", str(tmp_path / "a"), *SMALL])
    cli.main(["synthesize", "--model", "scripted", "--out", str(tmp_path / "b"), *SMALL])
    cli.main(["select", "--out", str(tmp_path / "b")])
    assert tables(tmp_path / "a") == tables(tmp_path / "b")


def test_select_ranks_a_table_of_ones_own(tmp_path, capsys):
    cli.main(["select", str(own_table(tmp_path)), "--out", str(tmp_path / "run")])
    assert "ranked: china 2, uk 2" in capsys.readouterr().out


@pytest.mark.parametrize(
    "names",
    [
        ("Japan", "Peru"),
        ("C\u00f4te d'Ivoire", "Peru"),
        ("\u65e5\u672c", "\u97d3\u56fd"),
        ("all", "peru"),
        ("1", "2"),
        ("North Korea", "north-korea"),
    ],
)
def test_the_line_that_select_prints_loads_the_ranked_rows(names, tmp_path, capsys):
    rows = [{**row, "culture": names[row["culture"] == "uk"]} for row in OWN]
    cli.main(["select", str(own_table(tmp_path, rows)), "--out", str(tmp_path / "it's a run")])
    line = capsys.readouterr().out.splitlines()[-1]
    call = line.removesuffix(" loads them by rank").removesuffix(")")
    script = f"from datasets import load_dataset\nrows = {call}, cache_dir={str(tmp_path / 'cache')!r})\n"
    found: dict = {}
    exec(script, found)  # as a user pastes it
    assert found["rows"]["rank"][:] == [1, 2]
    assert set(found["rows"]["culture"]) == {min(names)}


def test_select_asks_an_endpoint_for_vectors_once_whatever_its_address(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret")
    table, out = own_table(tmp_path), tmp_path / "run"
    arguments = ["select", str(table), "--out", str(out), "--embedder", "openai:m", "--theta", "0.9", "--base-url"]
    records = []
    for _ in range(2):
        with LLMServer() as server:
            cli.main([*arguments, server.url])
            records.append(json.loads((out / "run.json").read_text())["stages"])
            assert len(server.seen) == 1 - len(records[1:])
        assert server.url not in (out / "run.json").read_text()
    assert "sk-very-secret" not in (out / "run.json").read_text()
    assert records[0] == records[1]
    words = sum(2 * len(row["response"].split()) + len(row["question"].split()) for row in OWN)
    used = records[0]["vectors"]["usage"]
    assert (used["calls"], used["prompt_tokens"], used["cost_usd"]) == (1, words, None)
    assert "ranked: china 2, uk 2" in capsys.readouterr().out


def test_build_embeds_at_the_endpoint_that_writes(endpoint, tmp_path):
    cli.main(
        ["build", "--model", "scripted", "--embedder", "openai:m", "--theta", "0.9", "--out", str(tmp_path), *SMALL]
    )
    assert any("input" in body for body in endpoint.bodies.values())


def test_the_limits_of_a_build_are_for_all_that_it_asks(endpoint, tmp_path, capsys, monkeypatch):
    asked = ["build", "--model", "scripted", "--embedder", "openai:m", "--theta", "0.9", "--max-tokens", "20", *SMALL]
    cli.main([*asked, "--out", str(tmp_path / "a"), "--max-total-tokens", "1000000"])
    stages = json.loads((tmp_path / "a" / "run.json").read_text())["stages"]
    used = [stage["usage"] for stage in stages.values() if "usage" in stage]
    written = sum(usage["prompt_tokens"] + usage["completion_tokens"] for usage in used[:-1])
    limit = written + 8000  # what is written fits, one call at a time; the request for vectors has more bytes
    monkeypatch.setenv("CAREDIO_HOME", str(tmp_path / "anew"))
    said = fails(capsys, *asked, "--concurrency", "1", "--out", tmp_path / "b", "--max-total-tokens", limit)
    assert f"used {written:,} tokens, and the next could go beyond max_total_tokens {limit}" in said
    assert [name for name in ("candidates", "vectors") if (tmp_path / "b" / name).exists()] == ["candidates"]


def test_a_limit_that_cannot_be_kept_is_told_before_anything_is_asked(endpoint, tmp_path, capsys):
    asked = ["--model", "gpt-4.1-mini", "--embedder", "openai:mine", "--theta", "0.9", "--max-cost", "1", *SMALL]
    assert "no price is known for mine" in fails(capsys, "build", *asked, "--out", tmp_path / "run")
    rounds = ["--optimize-rounds", "1"]
    assert "no price is known for mine" in fails(
        capsys, "synthesize", *asked[:4], *asked[6:], *rounds, "--out", tmp_path
    )
    assert endpoint.seen == []


def test_a_plan_counts_what_an_endpoint_embeds(tmp_path):
    wanted = {"model": "gpt-4.1-mini", "embedder": "openai:text-embedding-3-small", "batch": True}
    plan = caredio.plan(
        caredio.build, ["china", "brazil"], ["food"], out=tmp_path, per_topic=10, optimize_rounds=1, **wanted
    )
    steps = {step.stage: step for step in plan.steps}
    alone = steps["isolated answers"].calls
    embedded = alone - 20  # a culture's own isolated answer is not
    tokens = (20 * (120 + 2 * 400) + embedded * 400) // 4  # questions of 120 characters, answers of 400
    assert steps["vectors"].prompt_tokens == pytest.approx(tokens, rel=0.01)
    assert steps["vectors"].calls == -(-4 * tokens // 300_000)  # which is more than by 2048 texts
    lines = {line[:22].strip(): line.split() for line in str(plan).splitlines()}
    assert lines["vectors"][-1] == f"{tokens * 0.02 / 1e6:.2f}"  # no batch does these
    assert "vectors to choose by" in steps
    assert "held-out vectors" not in steps


def test_select_takes_the_vectors_of_the_table(tmp_path, capsys):
    rows = [{**row, "sample_embedding": [1, n], "response_embedding": [n, 1]} for n, row in enumerate(OWN)]
    arguments = ["select", own_table(tmp_path, rows), "--out", tmp_path / "run", "--embedder", "given"]
    arguments += ["--distinctiveness", "cosine"]
    assert "no theta is known for embedder 'given'" in fails(capsys, *arguments)
    cli.main([*map(str, arguments), "--theta", "0.99"])
    scored = runs.read([tmp_path / "run" / "scored" / "scored.parquet"])
    expected = {"rice porridge": 1 - 0.5**0.5, "the eldest person": 1 - 7 / 50**0.5}  # [0, 1].[1, 1]; [2, 1].[3, 1]
    found = {row["response"]: row["distinctiveness"] for row in scored}
    assert {name: found[name] for name in expected} == pytest.approx(expected, abs=1e-6)
    cli.main(["select", "--out", str(tmp_path / "run"), "--embedder", "given", "--theta", "0.99", "--budget", "1"])
    assert "ranked: china 1, uk 1" in capsys.readouterr().out
    moved = [{**row, "response_embedding": [1, 1]} for row in rows]
    own_table(tmp_path, moved)
    cli.main([*map(str, arguments), "--theta", "0.99"])
    assert max(runs.read([tmp_path / "run" / "scored" / "scored.parquet"])["distinctiveness"]) < 1e-6


def test_a_table_s_flags_need_a_table(tmp_path, capsys):
    assert "name the file or the Hub dataset" in fails(
        capsys, "select", "--question-column", "q", "--out", tmp_path / "run"
    )


def test_a_changed_table_is_ranked_anew(tmp_path):
    caredio.select(own_table(tmp_path), out=tmp_path / "run")
    more = [*OWN, {**OWN[0], "response": "noodles in soup"}]
    assert len(caredio.select(own_table(tmp_path, more), out=tmp_path / "run", theta=0.999).ranked) == 5


def test_a_dry_run_prints_the_plan_and_sends_nothing(endpoint, tmp_path, capsys):
    cli.main(["build", "--model", "gpt-4.1-mini", "--out", str(tmp_path / "run"), "--dry-run", *SMALL])
    said = capsys.readouterr().out
    lines = {line.split("  ")[0]: line.split() for line in said.splitlines()}
    # 2 topics x 3 questions x 2 cultures; china and brazil each with 2 neighbours shown and 4 others compared
    assert lines["questions"][1] == "6"
    assert lines["sensitivity"][1] == "6"
    assert lines["answers"][1] == str(6 * 6)
    assert lines["adapted"][1] == "12"
    assert lines["isolated answers"][2] == str(12 * 7)
    assert lines["contrastive answers"][2] == "12"
    assert float(lines["total"][-1]) > 0
    assert endpoint.seen == []
    assert not (tmp_path / "run").exists()


def test_a_plan_in_batches_costs_half(tmp_path):
    wanted = {"model": "gpt-4.1-mini"}
    plain, batch = (
        str(caredio.plan(caredio.build, ["china"], out=tmp_path, **wanted, batch=batch)) for batch in (False, True)
    )
    dollars = [float(text.split("total")[1].split()[3].replace(",", "")) for text in (plain, batch)]
    assert dollars[1] == pytest.approx(dollars[0] / 2, abs=0.01)
    assert "batch prices of genai-prices " in batch


def test_a_whole_cardset_is_planned_at_once(tmp_path):
    started = time.monotonic()
    plan = caredio.plan(caredio.synthesize, out=tmp_path, model="gpt-4.1-mini")
    assert next(step.calls for step in plan.steps if step.stage == "adapted") == 57_000
    assert time.monotonic() - started < 1


def test_a_synthesis_within_a_running_event_loop(endpoint, tmp_path):
    async def notebook():
        return caredio.synthesize(
            ["china"], ["food"], out=tmp_path / "run", model="scripted", per_topic=2, neighbours=1
        ).candidates

    assert len(asyncio.run(notebook())) == 2


def test_the_plan_is_what_the_run_then_asks(endpoint, tmp_path):
    wanted = {"model": "scripted", "per_topic": 3, "neighbours": 2, "personas": 2}
    plan = caredio.plan(caredio.build, ["china", "brazil"], ["food", "power"], out=tmp_path / "run", **wanted)
    caredio.build(["china", "brazil"], ["food", "power"], out=tmp_path / "run", **wanted)
    assert len(endpoint.seen) == plan.total.calls


@pytest.mark.parametrize("moments", [(5, 60), pytest.param((30, 110), marks=pytest.mark.slow)])
def test_a_killed_build_goes_on_and_pays_only_for_what_was_in_flight(moments, tmp_path):
    arguments = ["build", "--model", "scripted", "--concurrency", "4", *SMALL]
    environment = {**os.environ, "CAREDIO_HOME": str(tmp_path / "calm")}
    with LLMServer(latency=0.01) as calm:
        environment["OPENAI_BASE_URL"] = calm.url
        subprocess.run(command(*arguments, "--out", tmp_path / "even"), env=environment, check=True)
    with LLMServer(latency=0.05) as server:
        environment |= {"OPENAI_BASE_URL": server.url, "CAREDIO_HOME": str(tmp_path / "killed")}
        for moment in moments:
            process = subprocess.Popen(command(*arguments, "--out", tmp_path / "odd"), env=environment)
            while len(server.seen) < moment and process.poll() is None:
                time.sleep(0.002)
            process.send_signal(signal.SIGKILL)
            assert process.wait() == -signal.SIGKILL
            time.sleep(0.2)
        subprocess.run(command(*arguments, "--out", tmp_path / "odd"), env=environment, check=True)
        assert set(server.seen) == set(calm.seen)
        assert 0 < server.repeats() <= calm.repeats() + 4 * len(moments)  # 4 calls in flight at each kill
    assert tables(tmp_path / "odd") == tables(tmp_path / "even")


def interruptible():
    """A process that a shell starts in the background ignores interrupts, and so do those that it starts."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_ctrl_c_is_one_sentence(tmp_path):
    with LLMServer(latency=0.2) as server:
        environment = {**os.environ, "OPENAI_BASE_URL": server.url}
        process = subprocess.Popen(
            command("synthesize", "--model", "scripted", "--out", tmp_path / "run", *SMALL),
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=interruptible,
        )
        while not server.seen:
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=30)[1]
    assert process.returncode == 130
    assert "Traceback" not in said
    assert said.strip().splitlines()[-1].startswith("caredio: stopped; answers that arrived are stored")


def test_unknown_culture_and_topic(tmp_path, capsys):
    said = fails(capsys, "build", "--cultures", "china,atlantis", "--out", tmp_path / "run")
    assert "unknown culture 'atlantis'; known are united_kingdom, china" in said
    said = fails(capsys, "build", "--cultures", "china", "--topics", "weather", "--out", tmp_path / "run")
    assert "unknown topic 'weather'; known are " in said
    said = fails(capsys, "build", "--cultures", "mexco", "--out", tmp_path / "run")
    assert said == "caredio: unknown culture 'mexco'; did you mean mexico?"
    said = fails(capsys, "build", "--cultures", "china", "--topics", "fod", "--out", tmp_path / "run")
    assert said == "caredio: unknown topic 'fod'; did you mean food?"
    assert "named twice" in fails(capsys, "build", "--cultures", "china,china", "--out", tmp_path / "run")


def test_a_yaml_mistake_is_told_by_line(tmp_path, capsys):
    path = tmp_path / "mine.yaml"
    path.write_text("- slug: wales\n  name: Wales\n  colour: red\n")
    said = fails(capsys, "build", "--cultures", "wales", "--cultures-file", path, "--out", tmp_path / "run")
    assert f"{path}, line 1: unknown key 'colour'" in said


def test_a_culture_of_ones_own_is_built(endpoint, tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(
        "- slug: wales\n  name: Wales\n  adjective: Welsh\n  languages: [cy-GB, en-GB]\n"
        "  region: Northern Europe\n  neighbours: [united_kingdom, germany]\n"
    )
    made = caredio.synthesize(
        ["wales"], ["food"], out=tmp_path / "run", cultures_file=path, model="scripted", per_topic=3
    ).candidates
    assert set(made["culture"]) == {"wales"}
    shown = [other["culture"] for other in made[0]["others"] if other["shown"]]
    assert shown[:2] == ["united_kingdom", "germany"]
    assert len(shown) == 4  # and two from other regions


def test_a_missing_key(tmp_path, capsys):
    said = fails(capsys, "build", "--cultures", "china", "--model", "gpt-4.1-mini", "--out", tmp_path / "run")
    assert "OPENAI_API_KEY is not set" in said


def test_an_endpoint_that_refuses(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret")
    with LLMServer(fault=lambda number, body: 401) as server:
        said = fails(capsys, "build", "--model", "m", "--base-url", server.url, "--out", tmp_path / "run", *SMALL)
    assert "127.0.0.1 refused the call for model 'm' (status 401)" in said
    assert "sk-very-secret" not in said


def test_an_endpoint_that_is_not_there(tmp_path, capsys):
    with LLMServer() as server:
        gone = server.url
    arguments = ["--model", "m", "--base-url", gone, "--retries", "0", "--out", tmp_path / "run", *SMALL]
    said = fails(capsys, "build", *arguments)
    assert "got no answer (endpoint: no connection (connection refused))" in said
    assert "run the same command again" in said


def test_a_model_that_never_answers_as_asked(tmp_path, capsys):
    with LLMServer(fault=lambda number, body: "I would rather not.") as server:
        said = fails(capsys, "build", "--model", "m", "--base-url", server.url, "--out", tmp_path / "run", *SMALL)
    assert "questions: no rows" in said
    rejects = runs.read([tmp_path / "run" / "questions" / "rejects" / "questions.parquet"])
    assert set(rejects["drop_reason"]) == {"not_json"}


def test_select_without_candidates(tmp_path, capsys):
    assert "no finished candidates table" in fails(capsys, "select", "--out", tmp_path / "run")


@pytest.mark.parametrize(
    ("name", "content", "match"),
    [
        ("own.jsonl", '{"question": "a"}\n{"question": \n', "own.jsonl, line 2: not valid JSON"),
        ("own.jsonl", "", "holds no rows"),
        (
            "own.csv",
            "question,answer\nWhy?,Because\n",
            "no column response or completion or messages or conversations; found question, answer; name yours with"
            " --response-column",
        ),
        ("own.csv", 'question,response,culture\n"a,b\n', "not valid CSV"),
        ("own.txt", "hello", "unknown kind of table '.txt'"),
        ("own.parquet", "PAR1", "is not a Parquet file"),
        ("own.csv", "question,response,culture\nWhy?,,uk\n", "the table: no rows left (1 empty)"),
        ("own.csv", "question,response,culture\nWhy?,So,uk\nHow?,So,fr\n", "no question was answered by two cultures"),
    ],
)
def test_a_table_that_cannot_be_ranked(name, content, match, tmp_path, capsys):
    path = tmp_path / name
    path.write_text(content)
    assert match in fails(capsys, "select", path, "--out", tmp_path / "run")


def test_a_table_that_is_not_there(tmp_path, capsys):
    assert "cannot be read (No such file or directory)" in fails(
        capsys, "select", tmp_path / "none.csv", "--out", tmp_path / "run"
    )


def test_settings_out_of_range(tmp_path, capsys):
    assert "budget is 0; it must be at least 1" in fails(capsys, "select", "--budget", 0, "--out", tmp_path / "run")
    assert "per_topic" in fails(capsys, "build", "--per-topic", 0, "--out", tmp_path / "run")


@pytest.mark.parametrize(
    ("flags", "match"),
    [(["--budget", "0"], "budget is 0; it must be"), (["--embedder", "mine"], "no theta is known for")],
)
def test_a_ranking_that_cannot_be_is_told_before_anything_is_spent(endpoint, tmp_path, capsys, flags, match):
    assert match in fails(capsys, "build", "--model", "scripted", "--out", tmp_path / "run", *SMALL, *flags)
    assert endpoint.seen == []


def test_numbers_with_commas_are_asked_for_as_such(tmp_path, capsys):
    with pytest.raises(SystemExit) as end:
        cli.main(["curve", str(tmp_path), "--budgets", "x"])
    assert end.value.code == 2
    assert "argument --budgets: 'x': give whole numbers with commas between" in capsys.readouterr().err


@pytest.mark.parametrize("name", [*api.VERBS, "prompts", "answers", "results", "rate", "ratings", "plot"])
def test_every_command_helps_with_an_example(name, capsys):
    with pytest.raises(SystemExit) as end:
        cli.main([name, "--help"])
    assert end.value.code == 0
    assert f"caredio {name} " in capsys.readouterr().out.split("examples:")[1]


@pytest.mark.parametrize("name", api.VERBS)
def test_every_setting_is_a_flag_and_a_keyword(name, capsys):
    with pytest.raises(SystemExit):
        cli.main([name, "--help"])
    said = capsys.readouterr().out
    keywords = inspect.signature(getattr(api, name)).parameters
    for _, field in api.settings_of(name):
        assert f"--{field.name.replace('_', '-')}" in said
        assert field.name in keywords
        assert field.metadata["help"]


def test_everyday_settings_come_first_and_others_under_their_stage(capsys):
    with pytest.raises(SystemExit):
        cli.main(["build", "--help"])
    everyday, _, rest = capsys.readouterr().out.partition("everyday settings:")[2].partition("settings of ")
    assert "--per-topic" in everyday
    assert "--budget" in everyday
    of_stage = dict(one.partition(":")[::2] for one in rest.split("settings of "))
    assert "--subtopics" in of_stage["stage subtopics"]
    assert "--rouge-l" in of_stage["stage questions"]
    assert "--question-column" not in everyday + rest  # it describes a table


def test_a_run_writes_the_file_that_repeats_it(endpoint, tmp_path, capsys):
    out = tmp_path / "run"
    cli.main(["build", "--model", "scripted", "--out", str(out), "--max-total-tokens", "900000", *SMALL])
    made, calls = tables(out), len(endpoint.seen)
    cli.main(["build", "--config", str(out / "build.yaml")])
    assert tables(out) == made
    assert len(endpoint.seen) == calls
    again = tmp_path / "again"
    cli.main(["build", "--config", str(out / "build.yaml"), "--out", str(again)])
    assert tables(again) == made
    written = yaml.safe_load((out / "build.yaml").read_text())
    assert written["cultures"] == ["china", "brazil"]
    assert written["max_total_tokens"] == 900000
    assert "sk-very-secret" not in (out / "build.yaml").read_text()
    capsys.readouterr()
    cli.main(["build", "--config", str(out / "build.yaml"), "--budget", "1"])  # a flag goes over the file
    assert "ranked: brazil 1, china 1" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("out: run\nbugdet: 3\n", "line 2: caredio select has no setting 'bugdet'"),
        ("budget: many\nout: run\n", "budget is 'many', not a whole number"),
        ("budget: 2.5\nout: run\n", "budget is 2.5, not a whole number"),
        ("budget: [\n", "line 2: not valid YAML"),
        ("- budget\n", "line 1: expected 'key: value' lines"),
        ("budget: 3\nbudget: 4\n", "key 'budget' is used twice"),
        ("budget: 3\n", "name it with --out"),
    ],
)
def test_a_configuration_that_cannot_be_used(text, match, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text(text)
    assert match in fails(capsys, "select", own_table(tmp_path), "--config", "mine.yaml")


OLDER = """\
# caredio build --config run/build.yaml
cultures:
- china
- brazil
topics:
- food
- power
per_topic: 3
neighbours: 2
model: scripted
provider: openai
model_revision: ''
temperature: -1.0
top_p: -1.0
max_tokens: 512
json_mode: json_schema
base_url: ''
api_key_variable: ''
embedder_base_url: ''
embedder_api_key_variable: ''
embedder_requests_per_minute: 0
embedder_tokens_per_minute: 0
requests_per_minute: 0
tokens_per_minute: 0
max_cost: 0.0
max_total_tokens: 0
"""


def unchanged(caplog):
    """The stages that were read and those that were made, by the log."""
    lines = [
        record.getMessage()
        for record in caplog.records
        if " rows, " in record.getMessage() or " rows in " in record.getMessage()
    ]
    caplog.clear()
    return [line.endswith("unchanged") for line in lines]


def test_a_run_of_an_older_version_is_read_and_stays_fresh(endpoint, tmp_path, caplog):
    out, file = tmp_path / "run", tmp_path / "older.yaml"
    file.write_text(OLDER)
    none = ["--temperature", "none", "--top-p", "none"]
    with caplog.at_level("INFO", "caredio"):
        cli.main(["build", "--model", "scripted", "--out", str(out), *none, *SMALL])
        assert "temperature: null\ntop_p: null\n" in (out / "build.yaml").read_text()
        assert not any("temperature" in body for body in endpoint.bodies.values())
        record = json.loads((out / "run.json").read_text())
        for entry in record["stages"].values():  # as they were written
            if entry["made_from"]["model"]:
                assert entry["made_from"]["model"]["temperature"] is None
                entry["made_from"]["model"] |= {"temperature": -1.0, "top_p": -1.0, "model_revision": ""}
        (out / "run.json").write_text(json.dumps(record))
        made, calls = tables(out), len(endpoint.seen)
        for given in (["--config", str(file)], ["--config", str(out / "build.yaml")], ["--model", "scripted", *none]):
            unchanged(caplog)
            cli.main(["build", "--out", str(out), *given, *SMALL])
            assert unchanged(caplog) == [True] * 12
    assert tables(out) == made
    assert len(endpoint.seen) == calls
    assert "[answer of scripted-2026-01-01]" in show(out)


def test_the_paper_s_ranking_is_one_flag_below_other_flags_and_above_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text("representativeness: typicality\nscore: sum\nbudget: 7\n")
    given = ["select", str(own_table(tmp_path)), "--out", "run", "--config", "mine.yaml", "--quiet", "--paper"]
    cli.main([*given, "--coverage", "mmr"])
    found = json.loads((tmp_path / "run" / "run.json").read_text())["stages"]["scored"]["made_from"]["config"]
    expected = {"representativeness": "size", "distinctiveness": "cosine", "score": "product", "compared": 4}
    assert found.items() >= {**expected, "per_question": None, "coverage": "mmr", "budget": 7}.items()
    written = yaml.safe_load((tmp_path / "run" / "select.yaml").read_text())
    assert "paper" not in written
    assert written.items() >= expected.items()
    assert "per_question: null" in (tmp_path / "run" / "select.yaml").read_text()


def test_the_file_that_an_older_version_wrote_ranks_as_it_did(tmp_path, monkeypatch):
    """It named all settings: size and cosine, which were the defaults, so that auto means their product."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "select.yaml").write_text(
        "representativeness: size\ndistinctiveness: cosine\nscore: auto\nweight: 1.0\n"
    )
    given = ["select", str(own_table(tmp_path)), "--quiet"]
    cli.main([*given, "--out", "older", "--config", "select.yaml"])
    cli.main([*given, "--out", "new"])
    older, new = (runs.read([tmp_path / out / "scored" / "scored.parquet"]).to_list() for out in ("older", "new"))
    known = [row for row in older if row["score"] is not None]
    assert known
    assert all(row["score"] == row["representativeness"] * row["distinctiveness"] for row in known)
    assert [row["score"] for row in older] != [row["score"] for row in new]


def test_none_on_the_command_line_and_null_in_a_file_are_no_value(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text("theta: 0.8\nbudget:\n")
    table = str(own_table(tmp_path))
    for flags, theta in (([], 0.8), (["--theta", "none"], selecting.THETA[selecting.MINILM])):
        cli.main(["select", table, "--out", "run", "--config", "mine.yaml", "--quiet", *flags])
        assert json.loads((tmp_path / "run" / "run.json").read_text())["stages"]["scored"]["theta"] == theta
    written = yaml.safe_load((tmp_path / "run" / "select.yaml").read_text())
    assert "theta" not in written  # which is None by default
    assert written["budget"] == 1000
    said = fails(capsys, "select", table, "--out", "run", "--match-by", "sound")
    assert said == "caredio: match_by is 'sound'; use id, text."
    with pytest.raises(SystemExit):
        cli.main(["select", table, "--out", "run", "--theta", "warm"])
    assert "invalid float value: 'warm'" in capsys.readouterr().err
    with pytest.raises(SystemExit):  # a setting that needs a value
        cli.main(["select", table, "--out", "run", "--budget", "none"])


def test_prompts_are_listed_shown_and_copied(tmp_path, capsys):
    cli.main(["prompts"])
    assert "adapt" in capsys.readouterr().out.split()
    cli.main(["prompts", "adapt"])
    assert "$question" in capsys.readouterr().out
    cli.main(["prompts", "--to", str(tmp_path / "mine")])
    capsys.readouterr()
    assert (tmp_path / "mine" / "adapt.txt").read_text() == prompts.load("adapt").text
    assert "is there already" in fails(capsys, "prompts", "--to", tmp_path / "mine")
    assert "no prompt is called 'nothing'" in fails(capsys, "prompts", "nothing")


def test_a_changed_prompt_asks_again_from_its_stage_on(endpoint, tmp_path, capsys):
    out, mine = tmp_path / "run", tmp_path / "mine"
    cli.main(["build", "--model", "scripted", "--out", str(out), *SMALL])
    mine.mkdir()
    text = prompts.load("contrast").text
    (mine / "contrast.txt").write_text(text.replace("answered anew", "answered quite anew"))
    before, calls = tables(out), len(endpoint.seen)
    cli.main(["build", "--model", "scripted", "--out", str(out), "--prompts", str(mine), *SMALL])
    assert len(endpoint.seen) - calls == 12  # contrastive answers alone
    after = tables(out)
    assert {name for name in before if before[name] != after[name]} >= {"candidates/candidates.parquet"}
    assert before["isolated/isolated.parquet"] == after["isolated/isolated.parquet"]
    assert "quite anew" in (out / "prompts" / "contrast.txt").read_text()
    calls = len(endpoint.seen)
    cli.main(["build", "--model", "scripted", "--out", str(out), *SMALL])  # the run's own prompts are used
    assert len(endpoint.seen) == calls
    assert tables(out) == after
    cli.main(["publish", "--out", str(out)])
    assert "`contrast.txt` was changed" in (out / "release" / "README.md").read_text()


def test_a_prompt_that_cannot_be_used_is_found_before_anything_is_spent(endpoint, tmp_path, capsys):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "adapt.txt").write_text(prompts.load("adapt").text.replace("$question", "it"))
    said = fails(
        capsys, "build", "--model", "scripted", "--out", tmp_path / "run", "--prompts", tmp_path / "mine", *SMALL
    )
    assert "adapt.txt: slot $question is missing" in said
    assert endpoint.seen == []


def test_an_unknown_keyword_is_told(tmp_path):
    with pytest.raises(TypeError, match="unknown setting bugdet; did you mean budget"):
        caredio.select(own_table(tmp_path), budget=3, bugdet=4)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--vers"],
        ["build", "--out", "x", "--bud", "3"],
        ["synthesize", "--out", "x", "--per-t", "3"],
        ["select", "--out", "x", "--bud", "3"],
        ["calibrate", "--out", "x", "--embed", "m"],
        ["evaluate", "--out", "x", "--lim", "3"],
        ["publish", "--out", "x", "--lic", "mit"],
        ["quickstart", "--vers", "v1.0.0"],
        ["tasks-path", "--he"],
    ],
)
def test_a_flag_is_spelled_out(arguments, capsys):
    with pytest.raises(SystemExit) as end:
        cli._parser().parse_args(arguments)
    assert end.value.code == 2
    assert "unrecognized arguments" in capsys.readouterr().err or arguments == ["--vers"]
