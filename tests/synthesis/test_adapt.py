"""A question that people everywhere can answer: what it may not name, in which language, and what becomes of it."""

import itertools
import json
import re
from pathlib import Path

import jsonschema
import pytest
from llm_server import LLMServer

from caredio import cultures, features, prompts
from caredio.llm.cache import Answer
from caredio.llm.model import connect
from caredio.llm.rows import Unusable
from caredio.llm.settings import Endpoint
from caredio.llm.spec import Spec
from caredio.synthesis import adapt, checks, panel
from caredio.synthesis.settings import Settings

KNOWN = cultures.load()
NUMBERS = itertools.count()
QUESTION = {
    "question_id": "family-open-000",
    "topic_id": "family",
    "level": "values",
    "question_type": "open",
    "language": "en",
    "question": "How important does family mean to you?",
}


def named(text, language="en"):
    try:
        checks.for_all(text, language, KNOWN)
    except Unusable:
        return True
    return False


@pytest.mark.parametrize(
    "question",
    [
        "How do elders in Chinese families influence decisions?",
        "How do elders in china's countryside decide, and what does China expect?",
        "What would Germans say if a child moved out at sixteen?",
        "How do the British see it when somebody jumps a queue?",
        "What does a Türkiye without tea look like?",
        "How do SOUTH KOREANS greet a boss?",
        "How do people in France greet a boss?",  # no known culture, but a country
        "How do people in Western Europe greet a boss?",
        "Where in the North-East Region of the island would you live?",  # Singapore's, of the shipped places
        "What does being a good Muslim ask of a son?",
        "What do you give the children at Christmas?",
        "How far do Confucian values still decide who speaks first?",
    ],
)
def test_a_question_that_names_a_culture_a_religion_or_a_place_is_found(question):
    assert named(question)


@pytest.mark.parametrize(
    "question",
    [
        "When a family has to decide something big, how much does the word of the oldest weigh?",
        "How do you feel about grown-up children who live with their parents?",
        "Who carves the turkey, and on whose china is it served?",
        "When guests polish off everything, is that a compliment to the host?",
        "What do you do in the holiest week of the year, and with whom?",
        "How do people in the north of your country differ from those in the south?",
        "May one jest about the boss when the boss can hear it?",
    ],
)
def test_a_question_for_all_is_kept(question):
    assert not named(question)


@pytest.mark.parametrize(
    ("language", "question", "found"),
    [
        ("zh-CN", "中国家庭里长辈怎么影响决定？", True),
        ("zh-CN", "在日本，家里谁说了算？", True),
        ("zh-CN", "家里有大事要决定的时候，长辈的话有多重要？", False),
        ("de-DE", "Wer entscheidet in Deutschland, wo die Großeltern leben?", True),
        ("de-DE", "Wer entscheidet in Frankreich, wo die Großeltern leben?", True),
        ("de-DE", "Wer entscheidet, wo die Großeltern leben?", False),
        ("pt-BR", "No Brasil, quem paga a conta?", True),
        ("pt-BR", "Quem paga a conta quando amigos saem juntos, e por quê?", False),
        ("ar-EG", "من يقرر في مصر أين يعيش الأجداد؟", True),
        ("ar-EG", "من يقرر أين يعيش الأجداد؟", False),
        ("ko-KR", "한국에서는 누가 식사비를 내나요?", False),  # CLDR knows 대한민국, not the short name
        ("ko-KR", "대한민국에서는 누가 식사비를 내나요?", True),
    ],
)
def test_names_are_known_in_the_language_of_the_question(language, question, found):
    assert named(question, language) == found


def adapted(fault, culture="china", **changes):
    """The rows that one question makes, asked of a model that was not asked before, and what was sent."""
    answers = [
        {"question_id": QUESTION["question_id"], "culture": slug, "condition": "isolated", "draw": 0, "response": text}
        for slug, text in ((culture, "The oldest decide."), ("japan", "Father decides."), ("germany", "Each decides."))
    ]
    with LLMServer(fault=fault) as server:
        made = adapt.run(
            features.table([QUESTION], features.QUESTIONS),
            features.table(answers, features.ANSWERS),
            Settings(**changes),
            connect(Spec(model=f"scripted-{next(NUMBERS)}"), Endpoint(base_url=server.url, retries=0)),
            KNOWN,
            [KNOWN[culture]],
        )
        return list(made), list(server.bodies.values())


def written(question):
    return json.dumps({"comparison": "They differ.", "traits": ["the oldest decide"], "question": question})


def test_a_question_that_names_its_own_culture_is_asked_for_again_with_the_reason_then_dropped():
    own, better = "How do Chinese elders decide for all?", "How much does the word of the oldest weigh?"
    (row,), bodies = adapted(lambda number, body: written(own))
    assert (row["question"], row["drop_reason"]) == (None, "names_a_culture")
    assert own in row["unusable"]
    assert "names a culture, a religion or a place" in bodies[-1]["messages"][-1]["content"]
    (row,), bodies = adapted(lambda number, body: written(better if len(body["messages"]) > 2 else own))
    assert (row["question"], row["drop_reason"]) == (better, None)
    (row,), bodies = adapted(lambda number, body: written(own), checks="none")
    assert (row["question"], row["drop_reason"], len(bodies)) == (own, None, 1)


def test_traits_may_still_name_whose_they_are():
    traits = ["Chinese elders decide"]
    text = {"comparison": "They differ.", "traits": traits, "question": "How much does the word of the oldest weigh?"}
    (row,), _ = adapted(lambda number, body: json.dumps(text))
    assert (row["traits"], row["drop_reason"]) == (traits, None)


def test_an_example_of_the_prompt_is_no_adaptation():
    _, user = adapted(lambda number, body: written("What?"))[1][0]["messages"][:2]
    example = "When friends eat out together, who pays, and what do people think of somebody who lets others pay?"
    assert f'ask "{example}"' in user["content"]
    (row,), _ = adapted(lambda number, body: written(example))
    assert row["drop_reason"] == "leaked prompt"


PAGE = (Path(__file__).parents[2] / "docs" / "prompts" / "adapt.md").read_text()
EXAMPLES = re.findall(
    r"^## (\w+), (\w+)\n\nThe question: (.+)\n\n((?:- .+\n)+)\n```json\n(.+)\n```$", PAGE, re.MULTILINE
)


def test_the_page_tries_the_prompt_with_three_cultures_and_two_topics():
    assert len(EXAMPLES) == PAGE.count("\n## ") == 6
    assert len({(culture, topic) for culture, topic, *_ in EXAMPLES}) == 6
    assert len({culture for culture, *_ in EXAMPLES}) == 3


@pytest.mark.parametrize(("culture", "topic", "question", "shown", "written"), EXAMPLES)
def test_an_answer_written_by_hand_is_read_as_a_run_reads_it(culture, topic, question, shown, written):
    given = dict(re.findall(r'^- ([\w ]+): "(.+)"$', shown, re.MULTILINE))
    speakers = [KNOWN[slug].name for slug in panel.shown(KNOWN[culture], f"{topic}-open-000", KNOWN, Settings())]
    assert list(given) == [KNOWN[culture].name, *speakers]
    row = {"culture": culture, "universal_question": question, "language": "en"}
    row["answers"] = [{"name": name, "response": text} for name, text in given.items()]
    messages = adapt.prompt(row, KNOWN[culture], prompts.load("adapt"))
    assert shown.strip() in messages[1]["content"]
    content = json.loads(written)
    jsonschema.validate(content, adapt.SCHEMA)
    made = adapt.parse(content, row, Answer(written, "stop", "by hand", 0, 0, messages), KNOWN, Settings())
    assert made == {"question": content["question"], "traits": content["traits"], "left_out": []}
