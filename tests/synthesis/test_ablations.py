"""A build without adaptation, or without contrast: what is asked against the plan, what later stages get, the card."""

import json
from collections import Counter

import pytest
from llm_server import LLMServer

import caredio
from caredio import settings
from caredio.answers import show
from caredio.app import shelf
from caredio.errors import InputError
from caredio.runs import Run
from caredio.synthesis import pipeline
from caredio.synthesis.settings import Settings

SMALL = {"cultures": ["china", "brazil"], "topics": ["food"], "per_topic": 4, "subtopics": 0, "near": 1, "far": 1}
SMALL |= {"question_cosine": 1.0, "compared": 2, "model": "scripted", "embedder": "openai:m", "theta": 0.99}
ADAPTING, CONTRASTING = "You compare how people", "People who live elsewhere have these answers to it:"


def built(folder, **changed):
    """The run's tables by name, the requests of a kind, the plan, and the card's sentences."""
    with LLMServer() as server:
        wanted = {**SMALL, "base_url": server.url, "out": folder / "run", **changed}
        plan = caredio.plan(caredio.build, **wanted)
        caredio.build(**wanted)
        bodies = [server.bodies[name] for name in server.seen]  # a draw comes again as an equal request
        caredio.build(**wanted)
        assert len(server.seen) == len(bodies)  # all of it is there
    with Run(folder / "run", create=False) as run:
        tables = {
            name: run.table(name) for name in run.stages if name in ("adapted", "isolated", "candidates", "ranked")
        }
        said = pipeline.describe(run.stages)
        made = set(run.stages)
    assert plan.total.calls == len(bodies) - again(bodies)
    return tables, Counter(kind(body) for body in bodies), said, made


def again(bodies):
    """Requests that ask once more for a scripted text that fails a check by chance."""
    return sum("That cannot be used:" in str(body.get("messages", [{}])[-1].get("content")) for body in bodies)


def kind(body):
    text = "\n".join(str(message["content"]) for message in body.get("messages", ()))
    return next((name for name in (ADAPTING, CONTRASTING) if name in text), "")


@pytest.fixture
def pairs():
    def read(folder):
        with Run(folder / "run", create=False) as run:
            return run.table("preference").to_list()

    return read


def test_without_adaptation_all_cultures_are_asked_the_universal_question(tmp_path, pairs):
    tables, asked, said, made = built(tmp_path, adaptation=False)
    assert not asked[ADAPTING]
    assert "answers" not in made
    candidates = tables["candidates"].to_list()
    assert {row["culture"] for row in candidates} == {"china", "brazil"}
    for row in candidates:
        assert row["question"] == row["universal_question"]
        assert row["traits"] == []
    of_question = Counter(row["question_id"] for row in candidates)
    assert len({row["question"] for row in candidates}) == len(of_question)
    assert asked[CONTRASTING]
    assert any(line.startswith("Adaptation: none; all cultures are asked") for line in said)
    assert len(tables["ranked"])
    assert all(row["chosen"] != row["rejected"] for row in pairs(tmp_path))
    shown = show(tmp_path / "run")
    assert "== adapted" not in shown
    assert "not in this store" not in shown


def test_without_contrast_the_isolated_answers_are_the_candidates(tmp_path, pairs):
    tables, asked, said, _ = built(tmp_path, contrast=False)
    assert not asked[CONTRASTING]
    assert asked[ADAPTING]
    candidates = tables["candidates"].to_list()
    own = {
        (row["target"], row["question_id"]): row["response"]
        for row in tables["isolated"]
        if row["culture"] == row["target"]
    }
    for row in candidates:
        assert row["response"] == row["isolated_response"] == own[row["culture"], row["question_id"]]
        assert row["reflection"] is None
        assert row["generator"] == "scripted"
        assert [other["shown"] for other in row["others"]] == [False, False]
    assert set(tables["ranked"]["compared"]) == {2}
    assert any(line.startswith("Contrast: none; the answers that each culture gives in isolation") for line in said)
    texts = {other["response"] for row in candidates for other in row["others"]}
    rejected = {row["rejected"][0]["content"] for row in pairs(tmp_path)}
    assert rejected
    assert rejected <= texts
    assert "== contrasted" not in show(tmp_path / "run")


def test_a_stage_that_asked_nothing_names_no_model_in_a_release(tmp_path):
    with LLMServer() as server:
        caredio.build(**SMALL, base_url=server.url, out=tmp_path / "run", contrast=False)
    release = caredio.publish(tmp_path / "run")
    asked = (release / "README.md").read_text().split("| stage that asked |")[1].split("\n\n")[0].splitlines()[2:]
    stages = [row.split(" | ")[0].strip("| ") for row in asked]
    assert stages == ["questions", "answers", "adapted", "isolated", "addressed"]
    made = json.loads((release / "croissant.json").read_text())["prov:wasGeneratedBy"]
    agents = {one["prov:label"]: [agent["prov:label"] for agent in one["prov:wasAssociatedWith"]] for one in made}
    assert agents["isolated"][1:] == ["scripted"]
    assert not agents["candidates"][1:]


def test_tables_of_a_step_that_was_left_out_since_say_nothing_of_the_run(tmp_path):
    """Of three builds in one folder each is shown as it is, whatever the others left there."""

    def refused(number, body):
        return "nothing" if ADAPTING in str(body.get("messages")) and "Brazilian" in str(body["messages"]) else None

    with LLMServer(fault=refused) as server:
        wanted = {**SMALL, "base_url": server.url, "out": tmp_path / "run", "store": tmp_path / "answers.sqlite"}
        caredio.build(**wanted, contrast=False, review=True, least_recognition=1)
        assert "adapted" in set(shelf.open(tmp_path / "run").rows["stage"].to_pylist())
        for left_out in ({"adaptation": False, "checks": "none"}, {}):
            caredio.build(**wanted, **left_out)
            shown = show(tmp_path / "run", store=tmp_path / "answers.sqlite")
            assert "not in this store" not in shown
            assert ("== adapted" in shown, "== reviewed" in shown) == (not left_out, False)
            page = (tmp_path / "run" / "report.html").read_text()
            assert ("Adaptation: none" in page, "Contrast: none" in page) == (bool(left_out), False)
            stages = set(shelf.open(tmp_path / "run").rows["stage"].to_pylist())
            assert ("adapted" in stages) == (not left_out)


def test_without_contrast_others_are_compared_by_the_draws_that_they_have_with_it(tmp_path):
    def draws(folder, **changed):
        folder.mkdir()
        tables, *_ = built(folder, store=folder / "answers.sqlite", **changed)  # else the second finds the first's
        return {
            (row["target"], row["question_id"], row["culture"], row["draw"]): row["response"]
            for row in tables["isolated"]
        }

    whole, part = draws(tmp_path / "whole"), draws(tmp_path / "part", contrast=False)
    assert part.items() <= whole.items()


@pytest.mark.parametrize("shown", [{}, {"near": 0, "far": 0}])
def test_with_neither_a_build_asks_for_isolated_answers_alone(tmp_path, shown):
    tables, asked, _, _ = built(tmp_path, adaptation=False, contrast=False, review=True, **shown)
    assert set(asked) == {""}
    assert all(row["question"] == row["universal_question"] for row in tables["candidates"])
    assert all(row["truth"] for row in tables["candidates"])


@pytest.mark.parametrize(
    ("left_out", "draws"), [("adaptation", {"other_questions": 0}), ("contrast", {"other_responses": 0})]
)
def test_rounds_go_on_with_what_is_not_left_out(tmp_path, left_out, draws):
    with LLMServer() as server:
        wanted = {**SMALL, "base_url": server.url, "out": tmp_path / "run", "optimize_rounds": 1, **draws}
        wanted |= {left_out: False, "relevance": -1.0}
        plan = caredio.plan(caredio.build, **wanted)
        result = caredio.build(**wanted)
        made = Counter(kind(body) for body in server.bodies.values())
        assert len(server.bodies) - again(server.bodies.values()) <= plan.total.calls
    assert not made[{"adaptation": ADAPTING, "contrast": CONTRASTING}[left_out]]
    for row in result.pool:
        if left_out == "adaptation":
            assert row["question"] == row["universal_question"]
        else:
            assert row["reflection"] is None


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"near": 0, "far": 0, "adaptation": False}, "without another culture there is nothing to compare"),
        ({"near": 0, "far": 0, "contrast": False}, "without another culture there is nothing to compare"),
        ({"adaptation": False, "language": "own"}, "language own writes adapted questions"),
        ({"contrast": False, "contrast_others": True}, "contrast_others answers as contrast does"),
        ({"adaptation": False, "optimize_rounds": 1}, "other_questions gives each culture its own; set it to 0"),
        ({"contrast": False, "optimize_rounds": 1}, "other_responses shows what others answered; set it to 0"),
    ],
)
def test_what_needs_a_step_that_is_left_out_is_one_sentence(given, said):
    with pytest.raises(InputError, match=said):
        Settings(**given)


@pytest.mark.parametrize("stage", ["adapted", "isolated", "contrasted", "optimized"])
def test_what_counts_for_a_stage_is_as_it_was_before_the_settings(stage):
    assert not {"adaptation", "contrast"} & settings.counted(stage, [Settings()]).keys()
