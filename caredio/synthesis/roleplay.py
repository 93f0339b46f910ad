"""Each question answered as each culture, in isolation (seed 001, 3.2: role-playing instructions).

questions -> answers.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from datasets import Dataset, Features

from caredio import features, prompts
from caredio.cultures import Culture
from caredio.errors import InputError
from caredio.llm.ask import ask
from caredio.llm.model import Model
from caredio.llm.spec import Messages
from caredio.llm.store import Answer

_PROMPT = prompts.load("roleplay")


@dataclass(frozen=True)
class Config:
    sentences: str = field(default="two or three", metadata={"help": "length of an answer, in sentences"})

    def __post_init__(self) -> None:
        if not self.sentences.strip():
            raise InputError("sentences is empty; say how many, such as 'two or three'.")


def prompt(row: dict[str, Any], culture: Culture, config: Config) -> Messages:
    """Row with a question -> messages that have `culture` answer it."""
    return _PROMPT.messages(
        name=culture.name, adjective=culture.adjective, question=row["question"], sentences=config.sentences
    )


def parse(content: str, row: dict[str, Any], answer: Answer) -> dict[str, Any]:
    """The text of the answer."""
    return {"response": content}


def answer(questions: Dataset, config: Config, model: Model, cultures: dict[str, Culture], desc: str) -> Dataset:
    """Add `response` and `drop_reason` to rows of question and culture."""
    return ask(
        questions,
        model,
        prompt=lambda row: prompt(row, cultures[row["culture"]], config),
        parse=parse,
        writes=Features({"response": features.COLUMNS["response"].type}),
        desc=desc,
    )


def run(questions: Dataset, config: Config, model: Model, cultures: dict[str, Culture]) -> Dataset:
    """Answer each question as each culture.

    Args:
        questions: `features.QUESTIONS`.
        cultures: who answers, by slug.

    Returns:
        `features.ANSWERS` and `drop_reason`: one isolated answer a question and culture.
    """
    questions = features.require(questions, features.QUESTIONS, "questions")
    asked = [
        {
            "question_id": row["question_id"],
            "question": row["question"],
            "culture": slug,
            "persona": None,
            "condition": "isolated",
            "draw": 0,
        }
        for row in questions
        for slug in cultures
    ]
    columns = Features({**features.ANSWERS, "question": features.COLUMNS["question"].type})
    del columns["response"]
    return answer(features.table(asked, columns), config, model, cultures, "answers")
