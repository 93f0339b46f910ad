"""Each question answered as each culture, in isolation (seed 001, 3.2: role-playing instructions).

questions -> answers.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from datasets import Dataset, Features

from caredio import features, prompts
from caredio.cultures import Culture
from caredio.llm import plan
from caredio.llm.cache import Answer
from caredio.llm.model import Model
from caredio.llm.rows import ask
from caredio.llm.spec import Messages
from caredio.prompts import Prompt
from caredio.stages import Expected, Planned, Planning, Stage, fan_out
from caredio.synthesis import checks, grounding, panel, questions, voice
from caredio.synthesis.grounding import Grounds
from caredio.synthesis.settings import Settings


def calls(planning: Planning) -> Planned:
    """A request for each question and each culture that answers it."""
    (expected,) = planning.rows["questions"]
    settings = planning.settings
    if not settings.adaptation:  # which is what they are for
        return Planned([])
    ids = [one for topic in planning.topics for one in questions.ids(topic.topic_id, settings.per_topic)]
    each = panel.answers(planning.targets, ids, planning.cultures, settings) / len(ids)
    rows, most = (math.ceil(each * count) for count in (expected.rows, expected.upper_bound))
    answers = replace(expected, rows=rows, upper_bound=most)
    return Planned([step("answers", answers, planning)], [answers])


def step(stage: str, asked: Expected, planning: Planning) -> plan.Step:
    """The requests of a stage that has questions answered in isolation."""
    settings = planning.settings
    template = prompts.load("roleplay", settings.prompts)
    messages = prompt({**plan.SAMPLE, "language": "en"}, planning.targets[0], settings, template)
    messages = grounding.planned(messages, planning)
    return plan.answers(stage, asked, plan.tokens(messages), planning.spec, voice.tokens(settings))


STAGE = Stage(
    "answers",
    {"questions": "question_id language question"},
    features.ANSWERS,
    modules=(__name__,),
    prompts=("roleplay", "voice"),
    calls=calls,
)
ALONE = {"condition": "isolated", "draw": 0}


def prompt(row: dict[str, Any], culture: Culture, settings: Settings, template: Prompt) -> Messages:
    """Row of question, language and persona -> messages that have `culture` answer it."""
    spoken = voice.slots(settings, culture, row["language"], row.get("persona"))
    return template.messages(question=row["question"], **spoken)


def parse(
    content: str,
    row: dict[str, Any],
    answer: Answer,
    culture: Culture,
    settings: Settings,
    known: dict[str, Culture],
) -> dict[str, Any]:
    """The text of the answer, checked, that names none of the `known` but `culture`; `Unusable` says why it is none."""
    shown_text = checks.shown(answer.messages, row["question"])
    return {"response": voice.usable(content, row["language"], shown_text, culture, known, settings)}


def unanswered(columns: Features) -> Features:
    """The columns that `answer` reads to make those of a table: without the response, with question and language."""
    asked = {name: kind for name, kind in columns.items() if name != "response"}
    return Features({**asked, **features.columns("question language")})


def answer(
    rows: Dataset,
    settings: Settings,
    model: Model,
    cultures: dict[str, Culture],
    desc: str,
    published: bool = False,
    grounds: Grounds = grounding.NONE,
) -> Dataset:
    """Answer rows of question, language, culture and persona: their `response` and `drop_reason`.

    Args:
        rows: a table of `unanswered` columns.
        cultures: who answers, by slug.
        published: whether the answers are; then they name none of `cultures` but their own.
        grounds: the evidence that prompts show.
    """
    known, template = cultures if published else {}, prompts.load("roleplay", settings.prompts)

    def grounded(row: dict[str, Any]) -> Messages:
        culture = cultures[row["culture"]]
        return grounds.shown(prompt(row, culture, settings, template), row["question_id"], culture)

    return ask(
        rows,
        model,
        prompt=grounded,
        parse=lambda content, row, answer: parse(content, row, answer, cultures[row["culture"]], settings, known),
        columns=features.columns("response"),
        prompts=settings.prompts,
        desc=desc,
    )


def run(
    questions: Dataset,
    settings: Settings,
    model: Model,
    cultures: dict[str, Culture],
    targets: Sequence[Culture] | None = None,
    grounds: Grounds = grounding.NONE,
) -> Dataset:
    """Answer each question as each culture that is to answer it.

    Args:
        questions: `features.QUESTIONS`.
        cultures: by slug.
        targets: whom data is built for: they answer, and those that they are shown; by default all answer.
        grounds: the evidence that prompts show.

    Returns:
        `features.ANSWERS` and `drop_reason`: one isolated answer a question and culture, by nobody in particular.
    """
    questions = STAGE.table(questions, "questions")

    def who(question_id: str) -> Iterable[str]:
        return cultures if targets is None else panel.answering(targets, question_id, cultures, settings)

    rows = fan_out(
        questions,
        lambda row: ({**row, **ALONE, "culture": slug} for slug in who(row["question_id"])),
        unanswered(features.ANSWERS),
        "who answers",
    )
    return answer(rows, settings, model, cultures, "answers", grounds=grounds)
