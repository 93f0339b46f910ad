"""The examples under docs/prompts: their prompts are those of today, and their answers pass the checks of the stage."""

import json
import re
from pathlib import Path

import pytest

from caredio import cultures, prompts, topics
from caredio.llm.cache import Answer
from caredio.synthesis import contrast, redraw, roleplay
from caredio.synthesis.settings import Settings

PAGES = Path(__file__).parents[2] / "docs" / "prompts"
KNOWN = cultures.load()
NAMED = {culture.name: culture for culture in KNOWN.values()}
TOPICS = {topic.topic: topic for topic in topics.load().values()}
SETTINGS = Settings()
_EXAMPLE = re.compile(
    r"^## (?P<culture>[^,\n]+), (?P<topic>[^\n]+)\n\nThe prompt:\n\n```text\n\[system\]\n(?P<system>.*?)\n\n\[user\]\n"
    r"(?P<user>.*?)\n```\n\nThe answer, written to test it:\n\n```(?:text|json)\n(?P<answer>.*?)\n```",
    re.MULTILINE | re.DOTALL,
)


def examples(name):
    return [pytest.param(one.groupdict(), id=f"{one['culture']}-{one['topic']}") for one in found(name)]


def found(name):
    return list(_EXAMPLE.finditer((PAGES / f"{name}.md").read_text(encoding="utf-8")))


def sent(one):
    return [{"role": "system", "content": one["system"]}, {"role": "user", "content": one["user"]}]


def answer(one):
    return Answer(one["answer"], "stop", "test", 1, 1, messages=sent(one))


def line(one, start):
    """What follows `start` in its line of the prompt."""
    return next(text.removeprefix(start) for text in one["user"].splitlines() if text.startswith(start))


def row(one):
    """The row that a prompt was filled for, as the prompt shows it."""
    shown = re.findall(r'^- ([\w ]+): (".*")$', one["user"], re.MULTILINE)
    others = [{"culture": NAMED[name].slug, "response": json.loads(said), "shown": True} for name, said in shown]
    question = one["user"].split("\n\n")[0]
    return {"question": question, "culture": NAMED[one["culture"]].slug, "language": "en", "others": others}


def scores(one):
    typical, distinct = re.findall(r"gets (\S+) for .* and (\S+) for", one["user"])[0]
    return {"typical": float(typical), "distinct": float(distinct)}


@pytest.mark.parametrize("name", ["roleplay", "contrast", "improve", "rewrite"])
def test_a_page_holds_three_cultures_and_two_topics(name):
    pairs = {(one["culture"], one["topic"]) for one in found(name)}
    assert len(pairs) == len(found(name)) == 6
    assert len({culture for culture, _ in pairs}) == 3
    assert {topic for _, topic in pairs} <= set(TOPICS)


@pytest.mark.parametrize("one", examples("roleplay"))
def test_roleplay(one):
    asked, culture = row(one), NAMED[one["culture"]]
    assert roleplay.prompt(asked, culture, SETTINGS, prompts.load("roleplay")) == sent(one)
    made = roleplay.parse(one["answer"], asked, answer(one), culture, SETTINGS, KNOWN)
    assert made == {"response": one["answer"]}


@pytest.mark.parametrize("one", examples("contrast"))
def test_contrast(one):
    asked = row(one)
    assert len(asked["others"]) == 2
    assert contrast.prompt(asked, NAMED[one["culture"]], KNOWN, SETTINGS, prompts.load("contrast")) == sent(one)
    reflects(one, asked)


@pytest.mark.parametrize("one", examples("improve"))
def test_improve(one):
    own = next(text for text in one["user"].splitlines() if text.startswith('"'))
    asked = {**row(one), "response": json.loads(own), **scores(one)}
    assert redraw.answer_prompt(asked, NAMED[one["culture"]], KNOWN, SETTINGS, prompts.load("improve")) == sent(one)
    reflects(one, asked)


def reflects(one, asked):
    """An answer passes, its reflection too, and no part of the reflection stands in the answer."""
    content = json.loads(one["answer"])
    made = contrast.parse(content, asked, answer(one), KNOWN, SETTINGS)
    assert (made["response"], made["reflection"]) == (content["answer"], content["reflection"])
    assert 2 <= len(re.findall(r"[.!?](?= |$)", content["reflection"])) <= 4


@pytest.mark.parametrize("one", examples("rewrite"))
def test_rewrite(one):
    shown = {
        "universal_question": json.loads(line(one, "Asked everywhere: ")),
        "question": json.loads(line(one, f"Asked in {one['culture']}: ")),
        "response": json.loads(line(one, f"The answer for {one['culture']}: ")),
    }
    asked = {**shown, **scores(one), "culture": NAMED[one["culture"]].slug, "language": "en"}
    topic = TOPICS[one["topic"]]
    sentence = f"{topic.topic}: {topic.description}"
    assert redraw.question_prompt(asked, NAMED[one["culture"]], sentence, prompts.load("rewrite")) == sent(one)
    content = json.loads(one["answer"])
    assert redraw.parse_question(content, asked, answer(one), KNOWN, SETTINGS) == {"question": content["question"]}


@pytest.mark.parametrize(
    "question", ["Who cooks at home in China?", "Who cooks in a Chinese home?", "Who cooks in Peru?"]
)
def test_a_rewritten_question_names_no_culture_its_own_included(question):
    (one, *_) = found("rewrite")
    asked = {"universal_question": "Who cooks?", "question": "Who cooks?", "culture": "china", "language": "en"}
    with pytest.raises(redraw.Unusable, match="names"):
        redraw.parse_question({"change": "c", "question": question}, asked, answer(one), KNOWN, SETTINGS)
