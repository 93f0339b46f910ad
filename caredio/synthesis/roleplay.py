"""Each question answered as each culture, in isolation (seed 001, 3.2: role-playing instructions).

questions -> answers.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from datasets import Dataset, Features

from caredio import features, prompts
from caredio.cultures import Culture
from caredio.errors import InputError
from caredio.llm.cache import Answer
from caredio.llm.model import Model
from caredio.llm.rows import ask
from caredio.llm.spec import Messages
from caredio.markdown import code
from caredio.synthesis import checks, languages

ALONE = {"condition": "isolated", "draw": 0}
_NUMBER = r"(\d{1,3}|one|two|three|four|five|six|seven|eight|nine|ten)"
_COUNT = re.compile(rf"((at most|at least|up to|about) )?{_NUMBER}(( or | to | ?[-\u2013] ?){_NUMBER})?", re.IGNORECASE)
_PROMPT = prompts.load("roleplay")


@dataclass(frozen=True)
class Config:
    sentences: str = field(default="two or three", metadata={"help": "length of an answer, in sentences"})
    register: str = field(default="plain words", metadata={"help": "how an answer is worded, such as everyday speech"})

    checks: checks.Config = checks.Config()

    def __post_init__(self) -> None:
        if not self.sentences.strip():
            raise InputError("sentences is empty; say how many, such as 'two or three'.")
        if not self.register.strip():
            raise InputError("register is empty; say how an answer is worded, such as 'plain words'.")


def prompt(row: dict[str, Any], culture: Culture, config: Config) -> Messages:
    """Row of question, language and persona -> messages that have `culture` answer it."""
    return _PROMPT.messages(
        name=culture.name,
        adjective=culture.adjective,
        persona=f": {row['persona']}" if row.get("persona") else "",
        question=row["question"],
        sentences=config.sentences,
        language=languages.name(row["language"]),
        register=config.register,
    )


def parse(
    content: str, row: dict[str, Any], answer: Answer, culture: Culture, config: Config, known: dict[str, Culture]
) -> dict[str, Any]:
    """The text of the answer, checked, that names none of the `known` but `culture`; `Unusable` says why it is none."""
    if config.checks.on:
        told = checks.shown(answer.messages, row["question"])
        checks.usable("response", content, row["language"], told, culture, known)
    return {"response": content}


def answer(
    rows: Iterable[dict[str, Any]],
    columns: Features,
    config: Config,
    model: Model,
    cultures: dict[str, Culture],
    desc: str,
    published: bool = False,
) -> Dataset:
    """Answer rows of question, language, culture and persona: `columns` and `drop_reason`.

    Args:
        cultures: who answers, by slug.
        published: whether the answers are; then they name none of `cultures` but their own.
    """
    known = cultures if published else {}
    asked = {**columns, **{name: features.COLUMNS[name].type for name in ("question", "language")}}
    response = Features({"response": asked.pop("response")})
    return ask(
        features.table(rows, Features(asked)),
        model,
        prompt=lambda row: prompt(row, cultures[row["culture"]], config),
        parse=lambda content, row, answer: parse(content, row, answer, cultures[row["culture"]], config, known),
        columns=response,
        desc=desc,
    )


def describe(settings: Mapping[str, Any]) -> str:
    """A sentence for the card on the answers: `Config` as run.json holds it."""
    length = " ".join(settings["sentences"].split())
    if length.lower() in ("one", "1"):
        told = f"{length} sentence"
    else:
        told = f"{length} sentences" if _COUNT.fullmatch(length) else f"length asked for: {code(length)}"
    return f"Answers: {told}, worded as {code(settings['register'])}."


def run(questions: Dataset, config: Config, model: Model, cultures: dict[str, Culture]) -> Dataset:
    """Answer each question as each culture.

    Args:
        questions: `features.QUESTIONS`.
        cultures: who answers, by slug.

    Returns:
        `features.ANSWERS` and `drop_reason`: one isolated answer a question and culture, by nobody in particular.
    """
    questions = features.require(questions, features.QUESTIONS, "questions")
    rows = ({**row, **ALONE, "culture": slug} for row in questions for slug in cultures)
    return answer(rows, features.ANSWERS, config, model, cultures, "answers")
