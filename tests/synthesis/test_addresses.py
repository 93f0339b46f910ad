"""Others' answers are judged, drawn again once, or left out: row by row against a scripted judge, and planned."""

import json
import re
from collections import Counter
from pathlib import Path

import jsonschema
import pytest
from llm_server import LLMServer, reply

import caredio
from caredio import cultures, features, prompts, runs
from caredio.llm.cache import Answer
from caredio.llm.model import connect
from caredio.llm.rows import Unusable
from caredio.llm.settings import Endpoint
from caredio.llm.spec import Spec
from caredio.selection.settings import Settings as Selection
from caredio.synthesis import addresses, contrast, isolated, panel
from caredio.synthesis.settings import Settings

KNOWN = cultures.load()
ADAPTED = features.table(
    [
        {
            "question_id": f"food-open-{n:03d}",
            "culture": culture,
            "language": "en",
            "topic_id": "food",
            "level": "customs",
            "question_type": "open",
            "universal_question": "Who cooks at home?",
            "question": f"Who decides what {'guests' if n else 'the family'} will eat {when}?",
            "traits": ["elders first"],
        }
        for culture, when in (("china", "at noon"), ("brazil", "at night"))
        for n in range(2)
    ],
    features.ADAPTED,
)
ASKS = re.compile(r"^The question: (.*)\nThe answer: (.*)$", re.MULTILINE)


def judged(body):
    """The question and the answer that a request asks about; None where it asks something else."""
    found = ASKS.search(body["messages"][:2][-1]["content"])
    return tuple(map(json.loads, found.groups())) if found else None


class Scripted:
    """Every text is another; answers of `off` cultures go off the question, the first time or `always`."""

    def __init__(self, off=(), always=()):
        self.off, self.always, self.seen, self.asked = off, always, Counter(), []

    def __call__(self, number, body):
        if "messages" not in body:
            return None  # vectors
        if about := judged(body):
            self.asked.append(about)
            return json.dumps({"reason": "It speaks of what it speaks of.", "addresses": "the weather" not in about[1]})
        system = body["messages"][0]["content"]
        speaker = next((one.slug for one in KNOWN.values() if f"someone who lives in {one.name}." in system), "")
        asked = json.dumps(body["messages"])
        self.seen[asked] += 1
        text = reply({**body, "draw": self.seen[asked]})
        if "People who live elsewhere" in asked or not (speaker in self.always or speaker in self.off):
            return text
        first = self.seen[asked] == 1
        return f"I like the weather here. {text}" if first or speaker in self.always else text


def model_for(server):
    return connect(Spec(model="scripted"), Endpoint(base_url=server.url, retries=0))


def made(script, **changes):
    """The isolated answers, those left of them, the report, and the candidates."""
    settings = Settings(personas=1, near=2, far=0, **changes)
    with LLMServer(fault=script) as server:
        model = model_for(server)
        alone = features.kept(isolated.run(ADAPTED, settings, Selection(compared=1), model, KNOWN))
        table, report = addresses.run(ADAPTED, alone, settings, model, KNOWN)
        return alone, table, report, contrast.run(ADAPTED, table, settings, Selection(compared=1), model, KNOWN)


def keys(rows):
    return Counter((row["target"], row["question_id"], row["culture"], row["persona"], row["draw"]) for row in rows)


def test_each_answer_of_another_culture_is_judged_by_its_question_and_nothing_else():
    script = Scripted()
    alone, table, report, _ = made(script)
    questions = {(row["culture"], row["question_id"]): row["question"] for row in ADAPTED}
    others = [row for row in alone if row["culture"] != row["target"]]
    assert len(others) == 4 * 3  # two shown and one compared, of each question
    assert Counter(script.asked) == Counter(
        (questions[row["target"], row["question_id"]], row["response"]) for row in others
    )
    assert keys(features.kept(table)) == keys(alone)
    assert {row["culture"] for row in features.kept(table) if row["persona"]} == {"china", "brazil"}
    assert report == {"judged": {"answers": 12, "drawn_again": 0, "left_out": 0}}


def test_an_answer_off_the_question_is_drawn_again_and_the_second_one_stands():
    script = Scripted(off=("japan",))
    alone, table, report, candidates = made(script)
    off = [row for row in alone if row["culture"] == "japan" and row["draw"] == 0]
    assert {row["target"] for row in off} >= {"china"}
    assert all("the weather" in row["response"] for row in off)
    left = features.kept(table)
    assert report == {"judged": {"answers": 12, "drawn_again": len(off), "left_out": 0}}
    assert keys(left) == keys([{**row, "draw": row["draw"] + panel.AGAIN * (row in off)} for row in alone])
    dropped = features.rejected(table)
    assert keys(dropped) == keys(off)
    assert {row["drop_reason"] for row in dropped} == {"off_question"}
    assert all("It speaks of what it speaks of." in row["unusable"] for row in dropped)
    second = {(row["target"], row["question_id"]): row["response"] for row in left if row["culture"] == "japan"}
    for row in features.kept(candidates):
        if row["culture"] == "china":
            said = {other["culture"]: other["response"] for other in row["others"] if other["shown"]}
            assert set(said) == {"japan", "south_korea"}
            assert said["japan"] == second["china", row["question_id"]]
            assert "the weather" not in said["japan"]


def test_what_goes_off_the_question_twice_is_neither_shown_nor_compared():
    script = Scripted(always=("japan", "mexico", "united_states"))
    alone, table, report, candidates = made(script)
    off = [row for row in alone if row["culture"] in script.always]
    assert report == {"judged": {"answers": 12, "drawn_again": len(off), "left_out": len(off)}}
    left = features.kept(table)
    assert not any("the weather" in row["response"] for row in left)
    assert len(features.rejected(table)) == 2 * len(off)  # both attempts
    china = [row for row in features.kept(candidates) if row["culture"] == "china"]
    assert len(china) == 2
    for row in china:
        assert [other["culture"] for other in row["others"] if other["shown"]] == ["south_korea"]
    # brazil is shown mexico, the united states and nobody else
    assert [row["drop_reason"] for row in features.rejected(candidates)] == ["no_other_answer"] * 2


def test_a_verdict_that_does_not_come_leaves_the_answer_out_and_draws_nothing():
    def script(number, body):
        return "I would say so." if judged(body) else reply({**body, "draw": number})

    alone, table, report, candidates = made(script)
    others = [row for row in alone if row["culture"] != row["target"]]
    assert {row["drop_reason"] for row in features.rejected(table)} == {"not_json"}
    assert keys(features.rejected(table)) == keys(others)
    assert report["judged"] == {"answers": 12, "drawn_again": 0, "left_out": 12}
    assert {row["drop_reason"] for row in candidates} == {"no_other_answer"}


SMALL = {"per_topic": 3, "compared": 2, "model": "scripted"}


def build(server, out, **changes):
    return caredio.synthesize(["china", "brazil"], ["food"], out=out, base_url=server.url, **{**SMALL, **changes})


@pytest.mark.parametrize("changes", [{"check_others": False}, {"checks": "none"}])
def test_it_can_be_switched_off_and_then_nobody_is_asked(changes, tmp_path):
    script = Scripted(off=("japan",))
    with LLMServer(fault=script) as server:
        plain = caredio.plan(caredio.synthesize, ["china"], ["food"], **SMALL, base_url=server.url)
        off = caredio.plan(caredio.synthesize, ["china"], ["food"], **SMALL, base_url=server.url, **changes)
        result = build(server, tmp_path / "run", **changes)
    steps = {step.stage for step in plain.steps} - {step.stage for step in off.steps}
    assert steps >= {"answers judged", "drawn again", "judged again"}
    assert script.asked == []
    assert not (tmp_path / "run" / "addressed").exists()
    assert any("the weather" in other["response"] for row in result.candidates for other in row["others"])


def test_a_run_holds_what_is_left_and_counts_it_and_its_card_says_so(tmp_path):
    script = Scripted(off=("japan", "united_states"), always=("mexico",))
    with LLMServer(fault=script) as server:
        out = tmp_path / "run"
        ranking = {"embedder": "openai:m", "theta": 0.99}
        plan = caredio.plan(caredio.build, ["china", "brazil"], ["food"], base_url=server.url, **SMALL, **ranking)
        made = caredio.build(["china", "brazil"], ["food"], out=out, base_url=server.url, **SMALL, **ranking)
        card = (caredio.publish(out) / "README.md").read_text()
        before = len(server.seen)
        caredio.build(["china", "brazil"], ["food"], out=out, base_url=server.url, **SMALL, **ranking)
        assert len(server.seen) == before
    entry = json.loads((out / "run.json").read_text())["stages"]["addressed"]
    answers, again, left = (entry["judged"][name] for name in ("answers", "drawn_again", "left_out"))
    assert answers == 2 * 3 * (4 + 2) == next(step.calls for step in plan.steps if step.stage == "answers judged")
    assert entry["dropped"] == {"off_question": again + left}
    assert again > left > 0
    assert f"of {answers}, the writing model judged that {again} did not address the question" in card
    assert f"and {left} were left out" in card
    texts = [other["response"] for row in made.candidates for other in row["others"]]
    assert not any("the weather" in text for text in texts)
    assert not any(other["culture"] == "mexico" for row in made.candidates for other in row["others"])


def test_of_a_rewritten_question_others_answers_are_judged_too(tmp_path):
    script = Scripted(always=("south_korea",))
    rounds = {"optimize_rounds": 1, "other_responses": 1, "other_questions": 1, "relevance": -1.0, "near": 1, "far": 1}
    with LLMServer(fault=script) as server:
        wanted = {**SMALL, **rounds, "embedder": "openai:m", "base_url": server.url}
        plan = caredio.plan(caredio.synthesize, ["china", "japan"], ["food"], **wanted)
        result = caredio.synthesize(["china", "japan"], ["food"], out=tmp_path / "run", **wanted)
    entry = result.report["stages"]["candidates"] if "stages" in result.report else result.report["candidates"]
    assert entry["draws_dropped"]["off_question"] > 0
    steps = {step.stage: step for step in plan.steps}
    first = {row["question"] for row in runs.read(sorted((tmp_path / "run" / "adapted").glob("*.parquet")))}
    later = [about for about in script.asked if about[0] not in first]
    planned = steps["answers judged to them"].calls
    assert 0 < len(later) <= planned + steps["judged again to them"].upper_bound
    assert not any("the weather" in other["response"] for row in result.candidates for other in row["others"])


def test_answers_drawn_again_are_paid_for_once_and_found_again(tmp_path):
    """The second attempt has a key of its own, so that a run repeated without its tables asks nothing."""
    script = Scripted(always=("japan",))
    with LLMServer(fault=script) as server:
        build(server, tmp_path / "one")
        before = len(server.seen)
        build(server, tmp_path / "two")
        assert len(server.seen) == before
    entries = [json.loads((tmp_path / name / "run.json").read_text())["stages"] for name in ("one", "two")]
    assert entries[0]["addressed"]["sha256"] == entries[1]["addressed"]["sha256"]
    assert entries[0]["addressed"]["judged"]["drawn_again"] > 0


PAGE = (Path(__file__).parents[2] / "docs" / "prompts" / "addresses.md").read_text()
EXAMPLES = re.findall(
    r"^## (\w+), (\w+)\n\nThe question: (.+)\n\nThe answer \((.+)\): (.+)\n\n```json\n(.+)\n```$", PAGE, re.MULTILINE
)


def test_the_page_tries_the_prompt_with_three_cultures_and_two_topics():
    assert len(EXAMPLES) == PAGE.count("\n## ") == 6
    assert len({example[:2] for example in EXAMPLES}) == 6
    assert len({example[0] for example in EXAMPLES}) == 3
    assert sum(json.loads(written)["addresses"] for *_, written in EXAMPLES) == 3
    adapted = (Path(__file__).parents[2] / "docs" / "prompts" / "adapt.md").read_text()
    assert all(f'"question": "{question}"' in adapted for _, _, question, *_ in EXAMPLES)


@pytest.mark.parametrize(("culture", "topic", "question", "speaker", "response", "written"), EXAMPLES)
def test_a_verdict_written_by_hand_is_read_as_a_run_reads_it(culture, topic, question, speaker, response, written):
    row = {"question": question, "response": response}
    messages = addresses.prompt(row, prompts.load("addresses"))
    assert judged({"messages": messages}) == (question, response)
    assert not any(speaker in message["content"] for message in messages)
    content = json.loads(written)
    jsonschema.validate(content, addresses.SCHEMA)
    if content["addresses"]:
        assert addresses.parse(content, row, Answer(written, "stop", "by hand", 0, 0, messages)) == {}
    else:
        with pytest.raises(Unusable) as error:
            addresses.parse(content, row, Answer(written, "stop", "by hand", 0, 0, messages))
        assert (error.value.reason, error.value.again) == ("off_question", False)
