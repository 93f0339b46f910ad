"""The parts of a topic, by a scripted endpoint."""

import json
import re
from pathlib import Path

import jsonschema
import pytest
from datasets import Features, Value
from llm_server import LLMServer

from caredio import cultures, features, prompts, topics
from caredio.llm.cache import Answer
from caredio.llm.model import connect
from caredio.llm.settings import Endpoint
from caredio.llm.spec import Spec
from caredio.synthesis import subtopics
from caredio.synthesis.settings import Settings

KNOWN = cultures.load()


def run(server, settings, *names):
    model = connect(Spec(model="scripted"), Endpoint(base_url=server.url, retries=0))
    table = features.table([vars(topics.load()[name]) for name in names], features.TOPICS)
    return subtopics.run(table, settings, model, KNOWN)


def says(*phrases):
    return lambda number, body: json.dumps({"subtopics": phrases})


def test_each_topic_is_divided_by_one_call():
    wanted = ["meals with guests", "food for feasts", "who cooks and who serves"]
    with LLMServer(fault=says("1. meals with guests", '"food for feasts"', "Food for feasts.", wanted[2])) as server:
        made = features.kept(run(server, Settings(), "food", "clothing"))
    assert len(server.seen) == 2
    assert made.features == Features({**features.SUBTOPICS, "unusable": Value("string")})
    assert [(row["topic_id"], row["subtopic"]) for row in made] == [
        (topic, part) for topic in ("food", "clothing") for part in wanted
    ]
    assert set(made["description"]) == {topics.load()[name].description for name in ("food", "clothing")}


def test_a_prompt_holds_the_topic_and_how_many():
    food = topics.load()["food"]
    _, user = subtopics.prompt(vars(food), prompts.load("subtopics"), Settings(subtopics=7))
    assert food.description in user["content"]
    assert "into 7 parts" in user["content"]


def test_more_than_asked_for_does_not_fit_and_a_part_that_names_a_culture_is_dropped():
    with LLMServer(fault=says("what is drunk", "Chinese New Year dishes", "what is eaten")) as server:
        made = run(server, Settings(subtopics=3), "food")
        many = run(server, Settings(subtopics=2), "food")
    assert features.kept(made)["subtopic"][:] == ["what is drunk", "what is eaten"]
    dropped = features.rejected(made)
    assert [(row["subtopic"], row["drop_reason"]) for row in dropped] == [
        ("Chinese New Year dishes", "names another culture")
    ]
    assert features.rejected(many)["drop_reason"][:] == ["json_does_not_fit"]


@pytest.mark.parametrize(
    ("answer", "reason"),
    [("no JSON", "not_json"), ('{"subtopics": []}', "json_does_not_fit"), ('{"subtopics": ["-", " "]}', "no_subtopic")],
)
def test_a_topic_without_parts_is_asked_about_as_a_whole(answer, reason):
    with LLMServer(fault=lambda number, body: answer) as server:
        made = run(server, Settings(), "food")
    assert [(row["topic_id"], row["subtopic"]) for row in features.kept(made)] == [("food", None)]
    assert features.rejected(made)["drop_reason"][:] == [reason]


def test_with_0_of_them_nothing_is_asked(server):
    made = features.kept(run(server, Settings(subtopics=0), "food", "clothing"))
    assert [(row["topic_id"], row["subtopic"]) for row in made] == [("food", None), ("clothing", None)]
    assert not server.seen


PAGE = (Path(__file__).parents[2] / "docs" / "prompts" / "subtopics.md").read_text(encoding="utf-8")


def test_parts_written_by_hand_are_read_and_kept_as_in_a_run():
    found = re.findall(r"^## (\w+)\n\n```json\n(.+)\n```$", PAGE, re.MULTILINE)
    assert len(found) == PAGE.count("\n## ") == 2
    for topic, written in found:
        content, chosen = json.loads(written), Settings()
        messages = subtopics.prompt(vars(topics.load()[topic]), prompts.load("subtopics"), chosen)
        jsonschema.validate(content, subtopics.schema(chosen.subtopics))
        made = subtopics.parse(content, {}, Answer(written, "stop", "by hand", 0, 0, messages), KNOWN, chosen)
        assert made == {"written": [{"subtopic": text, "reason": None} for text in content["subtopics"]]}
        assert len(made["written"]) == 10
