"""The alternation: what is accepted, what is not, and what is known of it afterwards."""

import asyncio
import hashlib
import json
import math
import random
import re

import numpy as np
import pytest
from llm_server import LLMServer

import caredio
from caredio import cultures, features
from caredio.errors import InputError
from caredio.llm.cache import Answer, Store, key_of
from caredio.llm.limits import Backend
from caredio.llm.model import Model
from caredio.llm.spec import Chat, Spec
from caredio.runs import Run
from caredio.selection.embedders import MINILM
from caredio.selection.measure import ByEmbeddings, hashed, scales, unit, z
from caredio.selection.settings import Settings as Selection
from caredio.synthesis import optimize, redraw, review
from caredio.synthesis.settings import Settings, check_objective

KNOWN = cultures.load()
TOPICS = {"food": "Food: what people cook and eat"}


class Script(Backend):
    """A backend that says what `says(messages, key)` says."""

    def __init__(self, says):
        self.says, self.asked = says, []

    async def send(self, request, held):
        await asyncio.sleep(0)
        self.asked.append(request.messages)
        if isinstance(request, Chat):
            return Answer(self.says(request.messages, request.key), "stop", "script", 1, 1)
        text = request.messages[0]["content"] + request.completion
        return Answer(str(-float(int(hashlib.sha256(text.encode()).hexdigest()[:2], 16))), "stop", "script", 1, 0)


def scripted(tmp_path, says, name="answers"):
    return Model(Spec(model="scripted"), Script(says), Store(tmp_path / f"{name}.sqlite"))


def candidate(culture, number, response, others=("one", "two", "three", "four")):
    question = f"Question number {number} about food?"
    elsewhere = zip(("united_kingdom", "brazil", "nigeria", "germany"), others, strict=True)
    answers = [("japan", "shown words", True), *((slug, text, False) for slug, text in elsewhere)]
    return {
        "sample_id": features.sample_id(culture, question, response),
        "question_id": f"food-{number}",
        "culture": culture,
        "language": "en",
        "topic_id": "food",
        "universal_question": question,
        "question": question,
        "response": response,
        "isolated_response": response,
        "others": [
            {"culture": slug, "sample_id": f"{slug}{number}", "response": text, "shown": shown}
            for slug, text, shown in answers
        ],
        "panel": [],
        "traits": ["t"],
        "round": 0,
        "history": [],
    }


def vector(text):
    """Texts that say `[a b c]` are that vector; any other is one that depends on the text alone."""
    found = re.search(r"\[(\S+) (\S+) (\S+)\]", text)
    draw = random.Random(text)
    return [float(number) for number in found.groups()] if found else [draw.gauss(0, 1) for _ in range(3)]


def encode(texts):
    return np.array([vector(text) for text in texts], np.float32)


def settings(**changes):
    defaults = {"optimize_rounds": 2, "other_responses": 3, "other_questions": 2, "relevance": -1.0}
    return Settings(**{"neighbours": 1, "checks": "none"} | defaults | changes)


def climbed(rows, model, chosen, measure=None):
    answers, selection = optimize._answers(rows), Selection()
    objective = optimize.Objective(rows, measure or ByEmbeddings(answers, encode, selection.compared), selection.weight)
    writer = redraw.Writer(chosen, selection, model, KNOWN, TOPICS)
    return optimize.optimize(objective, writer, chosen, encode), writer


def said(messages, text):
    """A text as an answer: after a reflection, where the prompt shows other answers."""
    shown = "People who live elsewhere" in messages[1]["content"]
    return json.dumps({"reflection": f"thought of {text}", "answer": text}) if shown else text


def chatter(seed):
    def says(messages, key):
        draw = random.Random(f"{seed}/{key}")
        text = " ".join(draw.choice(["salt", "rice", "bread", "soup", "tea", "fish", "beans"]) for _ in range(5))
        if "1. change" in messages[1]["content"]:
            return json.dumps({"change": "c", "question": f"What about {text}?"})
        return said(messages, text)

    return says


def pool(seed=0, count=5, slugs=("china", "mexico")):
    draw = random.Random(seed)
    return [
        candidate(slug, number, f"{slug} {draw.random()}", [str(draw.random()) for _ in range(4)])
        for slug in slugs
        for number in range(count)
    ]


@pytest.mark.parametrize("seed", range(6))
def test_the_accepted_objective_never_falls_and_a_round_gains_more_than_asked(tmp_path, seed):
    chosen = settings(optimize_rounds=4, least_gain=0.3)
    paths, _ = climbed(pool(seed), scripted(tmp_path, chatter(seed)), chosen)
    rises = 0
    for path in paths:
        objectives = [step.objective for step in path]
        assert objectives == sorted(set(objectives))
        ends = {step.row["round"]: step.objective for step in path}
        assert list(ends) == list(range(len(ends)))  # no round after one that did not count
        for before, after in zip(list(ends.values()), list(ends.values())[1:], strict=False):
            assert after > before + 0.3
            rises += 1
    assert rises > 3


def only(answers, question="What about [0 0 1]?"):
    """Says the next of `answers` to whoever improves an answer; other questions are always the same."""

    def says(messages, key):
        text = messages[1]["content"]
        if "1. change" in text:
            return json.dumps({"change": "c", "question": question})
        if "Your own answer so far" in text:
            return said(messages, answers[int(key, 16) % len(answers)])
        return said(messages, "elsewhere [0.1 -1 0]")

    return says


def near_the_others():
    """A culture that says about (1, 0, 0), a little on the side of the others, who say (0, 1, 0)."""
    answers = ["1 0.3 0", "1 0.2 0.2", "1 0.25 -0.2", "1 0.3 0.1"]
    return [candidate("china", n, f"at first {n} [{text}]", ["they [0 1 0]"] * 4) for n, text in enumerate(answers)]


def test_the_known_best_answer_is_found(tmp_path):
    rows = near_the_others()
    answers = [f"worse {n} [0.1 1 {n / 9}]" for n in range(7)] + ["the best [1 0 0]"]
    model = scripted(tmp_path, only(answers))
    paths, _ = climbed(rows, model, settings(other_responses=40, other_questions=0, optimize_rounds=1))
    assert [path[-1].row["response"] for path in paths] == ["the best [1 0 0]"] * 4


def test_an_off_topic_question_does_not_compete_however_high_its_answers_score(tmp_path):
    rows = near_the_others()
    rows = [{**row, "question": "near [1 0 0]?", "universal_question": "near [1 0 0]?"} for row in rows]
    topics = {"food": "food [1 0 0]"}

    def says(messages, key):
        text = messages[1]["content"]
        if "1. change" in text:
            return json.dumps({"change": "c", "question": "What about the stars [0 0 1]?"})
        return said(messages, "[1 0 0]" if "lives in China" in messages[0]["content"] else "[-1 0 0]")

    found = {}
    for floor in (-1.0, 0.5):
        chosen = settings(other_responses=0, other_questions=1, optimize_rounds=1, relevance=floor)
        objective = optimize.Objective(rows, ByEmbeddings(optimize._answers(rows), encode, 4), 1.0)
        writer = redraw.Writer(chosen, Selection(), scripted(tmp_path, says), KNOWN, topics)
        paths = optimize.optimize(objective, writer, chosen, encode)
        found[floor] = {path[-1].row["question"] for path in paths}, writer.dropped["off_topic"]
    assert found == {-1.0: ({"What about the stars [0 0 1]?"}, 0), 0.5: ({"near [1 0 0]?"}, 4)}


def test_a_score_does_not_depend_on_what_becomes_of_other_rows(tmp_path):
    rows = pool(3)
    chosen = settings(other_questions=0, optimize_rounds=1)
    free, _ = climbed(rows, scripted(tmp_path, chatter(1)), chosen)

    def stubborn(messages, key):
        other = "Question number 0" not in messages[1]["content"]
        return said(messages, "same") if other else chatter(1)(messages, key)

    held, _ = climbed(rows, scripted(tmp_path, stubborn, "held"), chosen)
    assert sum(len(path) > 1 for path in free) > sum(len(path) > 1 for path in held)
    for one, other in zip(free, held, strict=True):
        if one[0].row["question_id"] == "food-0":
            assert one == other


def test_z_is_of_the_culture_at_the_start():
    cultures_, found = ["a", "a", "b", "b"], np.array([[1.0, 2.0], [3.0, 2.0], [5.0, 1.0], [math.nan, 9.0]])
    known = scales(cultures_, found)
    assert known["a"].tolist() == [[2.0, 2.0], [1.0, 0.0]]
    assert known["b"].tolist() == [[5.0, 1.0], [0.0, 0.0]]
    assert z(np.array([5.0, 7.0]), known["a"]) == (3.0, 0.0)  # no spread of d at the start, so no gain by d


def run_once(tmp_path, rows, name, says=chatter(2), **changes):
    model = scripted(tmp_path, says, name)
    candidates = features.table(rows, features.CANDIDATES)
    table, report = optimize.run(candidates, settings(**changes), Selection(), model, KNOWN, TOPICS)
    return table, report, model


@pytest.fixture
def toy_embedder(monkeypatch):
    monkeypatch.setattr(optimize.embed, "encoder", lambda embedder, batch_size, endpoint=None: encode)


def test_the_row_follows_the_accepted_text(tmp_path, toy_embedder):
    rows = pool(4)[::-1]
    rows[1], rows[-1] = rows[-1], rows[1]  # cultures are taken in turn, and rows stay where they were
    table, report, _ = run_once(tmp_path, rows, "a")
    assert table.features == features.CANDIDATES
    changed = 0
    for before, row in zip(rows, table, strict=True):
        steps = row["history"]
        assert steps[0]["round"] == 0
        assert (steps[0]["question"], steps[0]["response"]) == (before["question"], before["response"])
        assert (steps[-1]["question"], steps[-1]["response"]) == (row["question"], row["response"])
        assert row["round"] == steps[-1]["round"]
        assert row["reflection"] == steps[-1]["reflection"] == (f"thought of {row['response']}" if steps[1:] else None)
        assert row["sample_id"] == features.sample_id(row["culture"], row["question"], row["response"])
        assert (row["culture"], row["question_id"]) == (before["culture"], before["question_id"])
        if row["question"] != before["question"]:
            changed += 1
            assert row["model_revision"] == "script"
            for other in row["others"]:
                assert other["sample_id"] == features.sample_id(other["culture"], row["question"], other["response"])
    assert changed
    assert sum(culture["changed"] for culture in report["optimized"].values()) == sum(
        len(steps) > 1 for steps in table["history"]
    )


def test_two_runs_are_equal_and_the_second_asks_nothing(tmp_path, toy_embedder):
    one, told, model = run_once(tmp_path, pool(5), "b")
    calls = len(model.backend.asked)
    assert len(model.store) == calls  # nothing was asked twice
    two, again, model = run_once(tmp_path, pool(5), "b")
    three, _, _ = run_once(tmp_path, pool(5), "c")
    assert model.backend.asked == []
    assert one.to_list() == two.to_list() == three.to_list()
    assert told == again


def test_a_stopped_run_goes_on_where_it_was(tmp_path, toy_embedder):
    whole, _, model = run_once(tmp_path, pool(6), "whole")
    left = 60

    def stops(messages, key):
        nonlocal left
        left -= 1
        if left < 0:
            raise KeyboardInterrupt
        return chatter(2)(messages, key)

    with pytest.raises(KeyboardInterrupt):
        run_once(tmp_path, pool(6), "part", stops)
    rest, _, resumed = run_once(tmp_path, pool(6), "part")
    assert rest.to_list() == whole.to_list()
    assert len(resumed.backend.asked) == len(model.backend.asked) - 60


def test_a_culture_that_says_too_little_to_be_measured_stays_as_it_was(tmp_path, toy_embedder):
    rows = pool(8, count=2)
    table, report, _ = run_once(tmp_path, rows, "few")
    assert table["sample_id"][:] == [row["sample_id"] for row in rows]
    assert [step["objective"] for steps in table["history"] for step in steps] == [None] * 4
    assert {culture["n"] for culture in report["optimized"].values()} == {0}


def test_by_likelihood(tmp_path, toy_embedder):
    table, _, _ = run_once(tmp_path, pool(7), "l", objective="likelihood", optimize_rounds=1)
    objectives = [[step["objective"] for step in steps] for steps in table["history"]]
    assert all(steps == sorted(steps) for steps in objectives)
    assert sum(len(steps) > 1 for steps in objectives) > 2


def test_the_held_out_report_by_hand(tmp_path):
    # what is answers once more: china (1, 0) to its three first questions in turn (1, 0), (0, 1), (1, 0); others (0, 1)
    rows = [candidate("china", n, f"r{n} [{r}]", ["x"] * 4) for n, r in enumerate(["0 1 0", "1 0 0", "0 1 0"])]
    after = [{**rows[0], "response": "new [1 0 0]"}, *rows[1:]]

    def says(messages, key):
        if "lives in China" not in messages[0]["content"]:
            return "[0 1 0]"
        return "[0 1 0]" if "number 1" in messages[1]["content"] else "[1 0 0]"

    writer = redraw.Writer(settings(), Selection(), scripted(tmp_path, says), KNOWN, TOPICS)
    report = optimize.held_out(rows, after, writer, encode, Selection(weight=2.0))
    far = math.exp(-20.0)  # of answers at right angles, by kappa 20
    r = [math.log2((1 + far) / 2), math.log2((1 + 1) / 2), math.log2((1 + far) / 2)]
    became = math.log2((1 + far) / 2)  # the other two answers (0, 1) and (1, 0)
    assert report["n"] == 3
    assert report["representativeness"] == pytest.approx([np.mean(r), np.mean([became, *r[1:]])], abs=1e-4)
    assert report["distinctiveness"] == pytest.approx([1 / 3, 2 / 3], abs=1e-4)
    gain = (became - r[0]) / np.std(r) + 2.0 * 1 / np.std([0, 1, 0])
    assert report["gain"] == pytest.approx(gain / 3, abs=1e-4)
    assert report["error"] == pytest.approx(np.std([gain, 0, 0], ddof=1) / 3**0.5, abs=1e-4)
    asked, model = writer.model.backend.asked, writer.model
    assert len(asked) == 3 * 5  # the target and those that d compares, once a question
    # the first answers were draw 0
    assert all(model.store.get(key_of(model.spec, Chat(messages, draw=1))) for messages in asked)


def test_hashed_n_grams_tell_like_texts_from_unlike_ones():
    one, like, unlike = unit(hashed, ["we eat rice at noon", "we eat rice at night", "guests bring flowers"])
    assert one @ like > 0.5 > one @ unlike


@pytest.mark.parametrize(
    "wrong",
    [
        {"optimize_rounds": -1},
        {"other_responses": 0, "other_questions": 0},
        {"objective": "guess"},
        {"relevance": 2.0},
        {"least_gain": -1.0},
        {"held_out": 1},
    ],
)
def test_settings_that_cannot_be_are_told(wrong):
    with pytest.raises(InputError, match=next(iter(wrong))):
        Settings(**wrong)


@pytest.mark.parametrize("wrong", [{"references": 0}, {"weight": -1.0}])
def test_an_objective_that_cannot_be_is_told(wrong):
    with pytest.raises(InputError, match=next(iter(wrong))):
        Selection(**wrong)


@pytest.mark.parametrize(
    ("settings", "selection", "told"),
    [
        ({"optimize_rounds": 1}, {"embedder": "given"}, "embedder is given"),
        ({"optimize_rounds": 1, "held_out": MINILM}, {}, "held_out is the embedder of the optimisation"),
        ({"optimize_rounds": 1, "held_out": "mine"}, {"embedder": "mine"}, "held_out is the embedder"),
    ],
)
def test_an_optimisation_needs_one_embedder_and_its_report_another(settings, selection, told):
    with pytest.raises(InputError, match=told):
        check_objective(Settings(**settings), Selection(**selection))


SMALL = {"per_topic": 3, "neighbours": 1, "model": "scripted", "relevance": -1.0}


def test_in_a_run_selection_reads_the_optimised(tmp_path):
    with LLMServer() as server:
        common = {**SMALL, "base_url": server.url}
        plain = caredio.synthesize(["china", "brazil"], ["food"], out=tmp_path / "plain", **common).candidates
        calls = len(server.seen)
        more = {**common, "optimize_rounds": 1, "other_responses": 2, "other_questions": 1}
        plan = caredio.plan(caredio.synthesize, ["china", "brazil"], ["food"], out=tmp_path / "none", **more)
        made = caredio.synthesize(["china", "brazil"], ["food"], out=tmp_path / "run", **more).candidates
        assert calls < len(server.seen) <= plan.total.calls
        calls = len(server.seen)
        caredio.synthesize(["china", "brazil"], ["food"], out=tmp_path / "again", **more)
        assert len(server.seen) == calls
    with Run(tmp_path / "run") as run, Run(tmp_path / "plain") as before:
        assert "contrasted" not in before.stages
        assert "optimized" in run.stages["candidates"]
        assert "optimized" not in before.stages["candidates"]
        assert run.table("contrasted").to_list() == plain.to_list()
        assert run.table("candidates").to_list() == made.to_list() != plain.to_list()
        assert run.stages["contrasted"]["fingerprint"] == before.stages["candidates"]["fingerprint"]
    ranked = caredio.select(out=tmp_path / "run").ranked
    assert set(ranked["sample_id"]) <= set(made["sample_id"])


def test_others_answers_to_another_question_that_fail_are_counted_by_reason(tmp_path):
    def says(messages, key):
        if "lives in Japan" in messages[0]["content"]:
            return "I'm sorry, but I can't speak about that."
        if "You check the answers" in messages[0]["content"]:
            return json.dumps({"reason": "It does.", "addresses": True})
        return said(messages, f"Most people begin with soup number {len(str(messages))}.")

    writer = redraw.Writer(Settings(words="5-20"), Selection(), scripted(tmp_path, says), KNOWN, TOPICS)
    drawn = writer.answered([candidate("china", 1, "Rice.")], [(0, "Who cooks at home on most days?")])
    assert [slot for slot, _ in drawn] == [0]
    assert "japan" not in {other["culture"] for other in drawn[0][1]["others"]}
    assert writer.dropped == {"refusal": 2}  # shown, and drawn afresh to be compared


def test_with_a_review_a_round_counts_only_where_truth_does_not_fall(tmp_path):
    rows = [{**row, "truth": 4, "answering": 4} for row in near_the_others()]
    answers = [f"untrue {n} [1 0 0]" for n in range(4)] + [f"true {n} [1 0.1 0]" for n in range(4)]

    def verdict(messages, key):
        if "guesses" in messages[1]["content"]:
            return json.dumps({"reason": "r", "guesses": ["China"], "certainty": 5})
        truth = 3 if 'Answer: "untrue' in messages[1]["content"] else 4
        return json.dumps({name: {"reason": "r", "score": truth} for name in ("truth", "answering", "fairness")})

    chosen = settings(other_responses=3, other_questions=0, optimize_rounds=1, review=True)
    guard = review.Guard(chosen, scripted(tmp_path, verdict, "reviewer"), KNOWN)
    objective = optimize.Objective(rows, ByEmbeddings(optimize._answers(rows), encode, 4), 1.0)
    model = scripted(tmp_path, only(answers))
    paths = {}
    for name, by in (("free", None), ("guarded", guard)):
        writer = redraw.Writer(chosen, Selection(), model, KNOWN, TOPICS)
        paths[name] = optimize.optimize(objective, writer, chosen, encode, by), writer.dropped
    free, guarded = ([path[-1].row["response"] for path in found] for found, _ in paths.values())
    assert any(text.startswith("untrue") for text in free)
    refused = [place for place, text in enumerate(free) if text.startswith("untrue")]
    assert [guarded[place] for place in refused] == [rows[place]["response"] for place in refused]
    kept = [place for place in range(len(rows)) if place not in refused]
    assert [guarded[place] for place in kept] == [free[place] for place in kept]
    assert paths["guarded"][1] == {"off_topic": 0, "no_other_answer": 0, "less_true": len(refused)}
    changed = [path[-1].row for path in paths["guarded"][0] if len(path) > 1]
    assert {(row["truth"], row["recognition"]) for row in changed} <= {(4, 5)}
