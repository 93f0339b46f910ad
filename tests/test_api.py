"""The verbs in Python on one run folder, in turn: what they read, replace, refuse and leave as it was."""

import inspect
import json
import sqlite3
from dataclasses import fields
from pathlib import Path

import pytest
from datasets import Dataset
from llm_server import LLMServer

import caredio
from caredio import api, cli, runs
from caredio.errors import CaredioError, InputError
from caredio.llm.settings import Endpoint
from caredio.selection.settings import Settings as Selection

SMALL = {"model": "scripted", "per_topic": 3, "neighbours": 2}
RANKING = {"embedder": "openai:m", "theta": 0.9}
ASKED = (["china", "brazil"], ["food"])


@pytest.fixture
def endpoint(server, monkeypatch):
    monkeypatch.setenv("OPENAI_BASE_URL", server.url)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret")
    return server


@pytest.fixture
def built(endpoint, tmp_path):
    """A run that was synthesised and ranked."""
    caredio.build(*ASKED, out=tmp_path / "run", **SMALL, **RANKING)
    return tmp_path / "run"


def own(folder, name="own.jsonl", questions=3, word="rice"):
    """A table of two cultures."""
    folder.mkdir(exist_ok=True)
    path = folder / name
    rows = [
        {"question": f"What of {n}?", "response": f"{culture} eats {word} {n * n} times", "culture": culture}
        for n in range(questions)
        for culture in ("china", "uk")
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def tables(folder):
    return {str(file.relative_to(folder)): file.read_bytes() for file in sorted(folder.rglob("*.parquet"))}


def but_spending(folder):
    return {**json.loads((folder / "run.json").read_text()), "spending": None}


def stages(folder):
    return json.loads((folder / "run.json").read_text())["stages"]


# --- what belongs together


def test_ranks_of_other_candidates_are_not_released(built):
    yesterday = caredio.publish(built, version="v1.0.0")
    caredio.synthesize(*ASKED, out=built, **SMALL, register="slang")
    again = f"run `caredio select --out {built}` again"
    for command in (lambda: caredio.publish(built), lambda: caredio.evaluate(out=built)):
        with pytest.raises(InputError, match="is out of date, as it was made from other candidates") as told:
            command()
        assert again in str(told.value)
    caredio.select(out=built, **RANKING)
    released = caredio.publish(built, to=built / "anew", version="v1.0.0")
    assert (released / "china/train.parquet").read_bytes() != (yesterday / "china/train.parquet").read_bytes()


@pytest.mark.parametrize("last", ["contrastive", "vectors"])
def test_a_build_that_fails_leaves_the_run_as_it_was(last, built, monkeypatch):
    """In its first stage that differs, in a later one, and in its second half."""

    def refuses(number, body):
        text = json.dumps(body)
        return (
            401
            if ("input" in body if last == "vectors" else "slang" in text and "People who live elsewhere" in text)
            else None
        )

    before, record = tables(built), but_spending(built)
    with LLMServer(fault=refuses) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        with pytest.raises(CaredioError, match="status 401"):
            caredio.build(*ASKED, out=built, **SMALL, **RANKING, register="slang")
        answered = len(server.seen)
    assert {name: made for name, made in tables(built).items() if not name.startswith(".new")} == before
    assert but_spending(built) == record
    caredio.publish(built)
    with LLMServer() as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        caredio.build(*ASKED, out=built, **SMALL, **RANKING, register="slang")
        assert 0 < len(server.seen) < answered
    assert not (built / ".new").exists()
    assert stages(built)["candidates"]["made_from"]["config"]["register"] == "slang"
    caredio.publish(built)


def test_a_calibration_replaces_nothing(endpoint, tmp_path):
    out = tmp_path / "run"
    table = own(tmp_path, questions=120)
    caredio.select(table, out=out, **RANKING)
    before = tables(out)
    for arguments in ([], [table], [own(tmp_path, questions=110)]):  # the last one: the table has changed
        caredio.calibrate(*arguments, out=out, embedder="openai:other", lowest=0.9)
        assert {name: made for name, made in tables(out).items() if not name.startswith("calibration-")} == before
    assert "openai:m" in (caredio.publish(out) / "README.md").read_text()
    small = tmp_path / "small"
    caredio.select(own(tmp_path, questions=3), out=small, **RANKING)
    before = tables(small)
    with pytest.raises(InputError, match="at least 100 samples"):
        caredio.calibrate(out=small, embedder="openai:other")
    assert {name: made for name, made in tables(small).items() if not name.startswith("calibration-")} == before


def test_what_a_calibration_embedded_is_not_embedded_again(endpoint, tmp_path):
    out, table = tmp_path / "run", own(tmp_path, questions=120)
    caredio.select(table, out=out, **RANKING)
    caredio.calibrate(out=out, embedder="openai:other", lowest=0.9)
    (tmp_path / "home" / "vectors.sqlite").unlink()
    asked = len(endpoint.seen)
    caredio.select(out=out, embedder="openai:other", theta=0.9)
    assert len(endpoint.seen) == asked
    assert stages(out)["vectors"]["made_from"]["config"]["embedder"] == "openai:other"


def test_given_vectors_are_not_those_of_an_embedder(built):
    with pytest.raises(InputError, match=r"vectors: made by openai:m, not given; name the table"):
        caredio.select(out=built, embedder="given", theta=0.9)


def test_how_many_texts_are_embedded_at_once_embeds_nothing_again(built, endpoint):
    before = (built / "run.json").read_bytes()
    caredio.select(out=built, **RANKING, embedding_batch_size=3)
    assert (built / "run.json").read_bytes() == before
    caredio.select(out=built, **RANKING, budget=1)
    old, new = json.loads(before)["stages"], stages(built)
    assert [name for name in old if old[name] != new[name]] == ["scored", "ranked", "preference", "unpaired"]


# --- tables of another origin


def test_candidates_of_another_origin_are_not_replaced(built, tmp_path):
    before = tables(built)
    for command in (caredio.select, caredio.calibrate):
        with pytest.raises(InputError, match=r"run: holds what `caredio synthesize` wrote.*name another run folder"):
            command(own(tmp_path), out=built, **({} if command is caredio.calibrate else RANKING))
    assert tables(built) == before


def test_a_run_of_a_table_is_of_that_table(endpoint, tmp_path):
    out = tmp_path / "run"
    caredio.select(own(tmp_path), out=out, **RANKING)
    before, asked = tables(out), len(endpoint.seen)
    refused = r"holds the candidates of own\.jsonl, which this command would replace; name another run folder"
    for command in (caredio.synthesize, caredio.build):
        with pytest.raises(InputError, match=refused):
            command(*ASKED, out=out, **SMALL)
    with pytest.raises(InputError, match=refused):
        caredio.select(own(tmp_path, "other.jsonl", word="noodles"), out=out, **RANKING)
    assert (tables(out), len(endpoint.seen)) == (before, asked)
    renamed = own(tmp_path).rename(tmp_path / "renamed.jsonl")  # the same content
    caredio.select(renamed, out=out, **RANKING)
    assert tables(out) == before
    changed = caredio.select(own(tmp_path, word="soup"), out=out, **RANKING).ranked  # the same file, with other content
    assert any("soup" in response for response in changed["response"])
    assert caredio.publish(out).exists()


def test_a_synthesis_that_is_not_finished_is_not_taken_for_a_table_s_run(endpoint, tmp_path, monkeypatch):
    with LLMServer(fault=lambda number, body: 401 if number > 20 else None) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        with pytest.raises(CaredioError, match="401"):
            caredio.synthesize(*ASKED, out=tmp_path / "run", **SMALL)
    with pytest.raises(InputError, match="holds what `caredio synthesize` wrote"):
        caredio.select(own(tmp_path), out=tmp_path / "run", **RANKING)


# --- what a run was built with


WALES = (
    "- slug: wales\n  name: Cymru\n  adjective: Welsh\n  languages: [cy-GB, en-GB]\n"
    "  region: Northern Europe\n  neighbours: [united_kingdom, germany]\n"
)


@pytest.fixture
def welsh(endpoint, tmp_path):
    """A run built with a culture of one's own, whose file is gone."""
    file = tmp_path / "mine.yaml"
    file.write_text(WALES)
    caredio.build(["wales", "china"], ["food"], out=tmp_path / "run", cultures_file=file, **SMALL, **RANKING)
    file.unlink()
    return tmp_path / "run"


def test_later_commands_know_the_cultures_of_the_run(welsh, endpoint):
    endpoint.bodies.clear()
    caredio.select(out=welsh, **RANKING, model="scripted", distinctiveness="information")
    prompts = [body["messages"][0]["content"] for body in endpoint.bodies.values() if "messages" in body]
    assert any("grew up in Cymru and" in prompt for prompt in prompts)
    assert not any("Wales" in prompt for prompt in prompts)
    released = caredio.publish(welsh)
    assert "Cymru" in (released / "README.md").read_text()
    asked = {row["prompt"][0]["content"].split("\n\n")[0] for row in runs.read([released / "all" / "train.parquet"])}
    assert "You answer as someone who lives in Cymru would." in asked
    caredio.synthesize(["wales", "china"], ["food"], out=welsh, **SMALL)  # they are known without the file
    used = json.loads((welsh / "run.json").read_text())["used"]
    assert "wales" in {culture["slug"] for culture in used["cultures"]}
    assert {topic["topic_id"] for topic in used["topics"]} > {"food", "power"}
    assert used["prompts"]["likelihood"].startswith("[system]\nYou grew up in $name")


def test_a_file_may_add_cultures_to_those_of_a_run_and_change_none(welsh, tmp_path):
    file = tmp_path / "more.yaml"
    file.write_text(WALES.replace("wales", "narnia").replace("Cymru", "Narnia"))
    with runs.Run(welsh) as run:
        assert {"narnia", "wales", "china"} <= run.cultures(file).keys()
    file.write_text(WALES.replace("Cymru", "Wales"))
    with pytest.raises(InputError, match=r"more\.yaml: 'wales' differs from what .*run was built with"):
        caredio.publish(welsh, cultures_file=file)


# --- seeds


def keys(home):
    with sqlite3.connect(home / "answers.sqlite") as store:
        return {key for (key,) in store.execute("SELECT key FROM answers")}


def test_another_seed_samples_other_answers(endpoint, tmp_path, monkeypatch):
    found = []
    for seed in (0, 1, 2):
        monkeypatch.setenv("CAREDIO_HOME", str(tmp_path / f"home{seed}"))
        out = tmp_path / f"run{seed}"
        caredio.synthesize(["china"], ["food"], out=out, **SMALL, **({"seed": seed} if seed else {}))
        found.append(keys(tmp_path / f"home{seed}"))
    assert not found[0] & found[1]
    assert not found[1] & found[2]


# --- building


def test_build_takes_what_synthesize_and_select_take():
    wanted = {*inspect.signature(api.synthesize).parameters, *inspect.signature(api.select).parameters} - {"data"}
    table = {one.name for one in fields(Selection) if "table" in one.metadata["stages"]}
    assert "question_column" in table
    assert set(inspect.signature(api.build).parameters) == wanted - table


def test_build_takes_an_endpoint(server, tmp_path):
    endpoint = Endpoint(base_url=server.url)
    built = caredio.build(*ASKED, out=tmp_path / "run", endpoint=endpoint, **SMALL, **RANKING)
    assert set(built.ranked["culture"]) == {"china", "brazil"}
    with pytest.raises(InputError, match="at least 100 samples"):
        caredio.calibrate(out=tmp_path / "run", endpoint=Endpoint(base_url=server.url), embedder="openai:m")


def test_a_setting_beside_an_endpoint_that_would_not_hold_is_told(server, tmp_path):
    for settings in ({"max_total_tokens": 10}, {"base_url": "http://elsewhere/v1"}):
        for verb in (caredio.synthesize, caredio.build):
            with pytest.raises(InputError, match=f"{next(iter(settings))} is given beside endpoint"):
                verb(*ASKED, out=tmp_path / "run", **SMALL, endpoint=Endpoint(base_url=server.url), **settings)
    assert server.seen == []


def test_another_table_of_the_same_name_is_another_table(tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
    first, second = own(tmp_path / "a", questions=3), own(tmp_path / "b", questions=4)
    settings = {"theta": 0.5, "ranking": "longest"}
    caredio.select(first, out=tmp_path / "run", **settings)
    with pytest.raises(InputError, match=r"holds the candidates of own.jsonl"):
        caredio.select(second, out=tmp_path / "run", **settings)
    first.write_text(second.read_text())
    caredio.select(first, out=tmp_path / "run", **settings)  # the same, with other content
    assert str(tmp_path) not in (tmp_path / "run" / "run.json").read_text()


@pytest.mark.parametrize(
    ("wrong", "meant"), [("per_topics", "per_topic"), ("budgets", "budget"), ("licence", "license"), ("Theta", "theta")]
)
def test_an_unknown_setting_of_a_build_is_told_with_the_one_that_is_near(wrong, meant, tmp_path):
    for build in (caredio.build, lambda *asked, **wanted: caredio.plan(caredio.build, *asked, **wanted)):
        with pytest.raises(TypeError, match=f"unknown setting {wrong}; did you mean {meant}?"):
            build(*ASKED, out=tmp_path / "run", **{wrong: 3})
    assert not (tmp_path / "run").exists()


def test_an_evaluation_of_a_run_that_is_not_there_asks_about_no_culture_unasked(tmp_path):
    with pytest.raises(InputError, match=r"typo: has no ranked split .*name some as cultures"):
        caredio.evaluate(out=tmp_path / "typo", culturalbench="sample", limit=1)
    assert not (tmp_path / "typo").exists()


def test_a_build_is_told_of_a_table_or_a_release_that_it_has_not(endpoint, tmp_path):
    with pytest.raises(InputError, match="a release is described, but push names no repository"):
        caredio.build(*ASKED, out=tmp_path / "none", **SMALL, **RANKING, version="v2.0.0")
    for of_a_table in ("question_column", "split", "lowest"):
        with pytest.raises(TypeError, match=f"^unknown setting {of_a_table}"):
            caredio.build(*ASKED, out=tmp_path / "none", **SMALL, **RANKING, **{of_a_table: "q"})
    assert not (tmp_path / "none").exists()


# --- the folder


def test_a_dry_run_of_select_makes_no_folder(tmp_path, capsys):
    with pytest.raises(SystemExit):
        cli.main(["select", "--out", str(tmp_path / "run"), "--dry-run"])
    assert "no finished candidates table; run `caredio synthesize --out" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
    cli.main(["select", str(own(tmp_path)), "--out", str(tmp_path / "run"), "--dry-run"])
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("command", [caredio.select, caredio.publish, caredio.calibrate])
def test_a_command_without_anything_to_read_makes_no_folder(command, tmp_path):
    with pytest.raises(InputError, match=r"no finished .* table"):
        command(out=tmp_path / "run")
    assert not Path(tmp_path / "run").exists()


def test_a_wrong_evaluation_or_model_makes_no_folder(tmp_path, monkeypatch):
    """A wrong culture is found before the embedded model is unpacked."""
    home = tmp_path / "unpacked"
    monkeypatch.setenv("CAREDIO_HOME", str(home))
    new = tmp_path / "new"
    with pytest.raises(InputError, match="unknown culture 'atlantis'"):
        caredio.evaluate(["atlantis"], out=new)
    assert not home.exists()
    with pytest.raises(InputError, match="is no folder"):
        caredio.evaluate(["china"], out=new, model="no/such", trained=tmp_path / "none", culturalbench="sample")
    with pytest.raises(InputError, match="no/such"):
        caredio.evaluate(["china"], out=new, model="no/such", culturalbench="sample")
    with pytest.raises(InputError, match="is no trained model"):
        caredio.publish(new, model=tmp_path / "none")
    assert not new.exists()


@pytest.mark.parametrize("command", ["select", "dry", "calibrate"])
def test_a_spelling_is_warned_of_once(command, endpoint, tmp_path, caplog):
    rows = [
        {"question_id": f"q{n}", "question": f"What {n}?", "response": f"{culture} {n}", "culture": culture}
        for n in range(101)
        for culture in (("Japan" if n else "japan"), "Peru")
    ]
    table = tmp_path / "own.jsonl"
    table.write_text("".join(json.dumps(row) + "\n" for row in rows))
    asked = {"embedder": "openai:scripted-embedder"}
    if command == "calibrate":
        caredio.calibrate(table, out=tmp_path / "run", **asked)
    elif command == "dry":
        caredio.plan(caredio.select, table, out=tmp_path / "run", theta=0.9, **asked)
    else:
        caredio.select(table, out=tmp_path / "run", theta=0.9, **asked)
    assert sum("is also spelled" in message for message in caplog.messages) == 1


def test_a_table_in_memory_replaces_no_other(tmp_path):
    def table(dish):
        answers = (("What is eaten?", "china", dish), ("What is eaten?", "peru", f"{dish} too"))
        return Dataset.from_list([{"question": q, "culture": c, "response": r} for q, c, r in answers])

    api.select(table("rice"), out=tmp_path / "run")
    api.select(table("rice"), out=tmp_path / "run", budget=1)  # the same rows are
    with pytest.raises(InputError, match="holds the candidates of a table in memory, which this command would replace"):
        api.select(table("maize"), out=tmp_path / "run")


def test_what_synthesize_returns_is_selected_as_a_build_does(server, tmp_path):
    wanted = {"model": "scripted", "base_url": server.url, "per_topic": 3, "neighbours": 2}
    built = api.build(["mexico", "china"], ["food"], **wanted)
    written = api.synthesize(["mexico", "china"], ["food"], **wanted)
    for data in (written, written.candidates):
        selected = api.select(data)
        assert selected.ranked.to_list() == built.ranked.to_list()
        assert selected.preference.to_list() == built.preference.to_list()
        assert len(selected.vectors) == len(built.vectors)


def test_a_result_has_what_was_made(server):
    rows = [{"question": "What?", "response": dish, "culture": dish} for dish in ("rice", "maize")]
    made = api.select(Dataset.from_list(rows))
    assert hasattr(made, "ranked")
    assert not hasattr(made, "results")
    with pytest.raises(InputError, match="this result has no results; it has ranked, pool, vectors, preference"):
        made.results  # noqa: B018
    assert "ranked: maize 1, rice 1" in repr(made)


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: api.build(cultures=5), "cultures is 5; give a list of names"),
        (lambda: api.build(cultures="mexico"), r"cultures is 'mexico', one text; give a list of names"),
        (lambda: api.select(Dataset.from_dict({"a": [1]}), out=3), "out is 3; give a path"),
        (lambda: api.select(Dataset.from_dict({"a": [1]}), store=4), "store is 4; give a path"),
        (lambda: api.build(topics_file=5), "topics_file is 5; give a path"),
        (lambda: api.build(endpoint="http://a/v1"), "endpoint is 'http://a/v1'; give an Endpoint"),
        (lambda: api.build(model=""), "model is empty"),
        (lambda: api.build(per_topic=0), "per_topic is 0; it must be at least 1"),
        (lambda: api.select(), "nothing to rank"),
        (lambda: api.publish(3), "out is 3; give a run folder"),
        (lambda: api.plan("build"), "plan takes one of the verbs"),
        (lambda: api.plan(api.calibrate, "x"), "only synthesize, select, build, evaluate and judge ask a model"),
        (lambda: api.select([{"question": "a"}]), "the table is a list, where a Dataset, a DataFrame or a name"),
    ],
)
def test_a_wrong_argument_is_one_sentence(call, match):
    with pytest.raises(InputError, match=match):
        call()


def test_a_run_whose_record_has_other_prompts_can_be_selected_again(built):
    """As runs of older versions have them: texts in run.json alone, one of them without a part of today's."""
    for file in (built / "prompts").glob("*"):
        file.unlink()
    (built / "prompts").rmdir()
    record = json.loads((built / "run.json").read_text())
    record["used"]["prompts"]["questions"] = record["used"]["prompts"]["questions"].split("[scenario]")[0]
    (built / "run.json").write_text(json.dumps(record))
    for budget in (1, 2):
        api.select(out=built, **RANKING, budget=budget)
    assert not (built / "prompts" / "questions.txt").exists()


def test_files_among_a_run_s_prompts_that_a_command_does_not_use_stop_nothing(built):
    (built / "prompts" / "adapt.txt").write_text("broken")
    (built / "prompts" / "notes.txt").write_text("hi")
    api.select(out=built, **RANKING, budget=1)


def test_a_folder_may_have_any_name(server, tmp_path):
    out = tmp_path / "2026-11-26T10:00"
    for _ in range(2):
        api.build(["mexico", "china"], ["food"], out=out, model="scripted", base_url=server.url, per_topic=1)


def test_a_result_is_of_its_own_command(tmp_path):
    def table(name, dishes):
        rows = [{"question": "What?", "response": dish, "culture": f"c{n}"} for n, dish in enumerate(dishes)]
        path = tmp_path / f"{name}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return path

    first = api.select(table("own", ["rice", "maize"]), out=tmp_path / "run")
    assert first.ranked["response"][:] == ["rice", "maize"]
    second = api.select(table("own", ["bread", "yucca"]), out=tmp_path / "run")
    with pytest.raises(InputError, match="another command wrote preference since"):
        first.preference  # noqa: B018
    assert second.preference["rejected"]


def test_two_runs_are_not_charged_with_one_endpoint_at_once(server, tmp_path):
    endpoint = Endpoint(base_url=server.url)
    with runs.Run(tmp_path / "a") as one, runs.Run(tmp_path / "b") as other:
        one.charge(endpoint.budget)
        one.charge(endpoint.budget)
        with pytest.raises(InputError, match="is charged with what this Endpoint spends"):
            other.charge(endpoint.budget)
    with runs.Run(tmp_path / "b") as other:
        other.charge(endpoint.budget)


def test_a_calibration_of_nothing_is_one_sentence():
    with pytest.raises(InputError, match="nothing to rank: give a table"):
        api.calibrate()
    with pytest.raises(InputError, match="trained is 5; give a path"):
        api.evaluate(trained=5)
