"""Each universal question rewritten for each culture (seed 001, 3.2: cultural question adaptation).

questions, answers -> adapted. The model compares the culture's answer with its neighbours', names the culture's traits,
then rewrites the question; the comparison comes first, as its chain of thought.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from datasets import Dataset, Features

from caredio import features, prompts
from caredio.cultures import Culture
from caredio.errors import InputError
from caredio.llm.ask import Unusable, ask
from caredio.llm.model import Model
from caredio.llm.spec import Messages
from caredio.llm.store import Answer
from caredio.synthesis.questions import QUESTION, clean

_PROMPT = prompts.load("adapt")
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "comparison": {"type": "string"},
        "traits": {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": 3},
        "question": QUESTION,
    },
    "required": ["comparison", "traits", "question"],
    "additionalProperties": False,
}


@dataclass(frozen=True)
class Config:
    neighbours: int = field(default=4, metadata={"help": "neighbours whose answers are shown for contrast"})

    def __post_init__(self) -> None:
        if self.neighbours < 1:
            raise InputError("neighbours must be at least 1: without another culture there is nothing to compare.")


def shown(culture: Culture, config: Config) -> tuple[str, ...]:
    """Slugs of the neighbours that stand in the culture's prompts, nearest first."""
    return culture.neighbours[: config.neighbours]


def prompt(row: dict[str, Any], culture: Culture) -> Messages:
    """Row of universal_question and answers (list of {name, response}) -> messages."""
    answers = "\n".join(f"- {answer['name']}: {prompts.quote(answer['response'])}" for answer in row["answers"])
    return _PROMPT.messages(
        name=culture.name, adjective=culture.adjective, question=row["universal_question"], answers=answers
    )


def parse(content: dict[str, Any], row: dict[str, Any], answer: Answer) -> dict[str, Any]:
    """The rewritten question and the traits; `Unusable` when the rewriting is no question."""
    question = clean(content["question"])
    if not question:
        raise Unusable("the rewritten question is no question")
    traits = [" ".join(trait.split()) for trait in content["traits"]]
    return {"question": question, "traits": [trait for trait in dict.fromkeys(traits) if trait]}


def run(
    questions: Dataset,
    answers: Dataset,
    config: Config,
    model: Model,
    cultures: dict[str, Culture],
    targets: list[Culture],
) -> Dataset:
    """Rewrite each question for each target.

    Args:
        questions: `features.QUESTIONS`.
        answers: `features.ANSWERS` of the targets and their neighbours.
        cultures: all known, by slug.
        targets: whom data is built for.

    Returns:
        `features.ADAPTED` and `drop_reason` (also: no_answer, where the target or all neighbours gave none).
    """
    questions = features.require(questions, features.QUESTIONS, "questions")
    answers = features.require(answers, features.ANSWERS, "answers")
    said = {(row["question_id"], row["culture"]): row["response"] for row in answers if row["condition"] == "isolated"}
    rows: list[dict[str, Any]] = []
    missing: list[dict[str, Any]] = []
    for row in questions:
        for target in targets:
            speakers = [target.slug, *shown(target, config)]
            heard = [slug for slug in speakers if (row["question_id"], slug) in said]
            record = {
                **{name: row[name] for name in ("question_id", "language", "topic_id", "level", "question_type")},
                "culture": target.slug,
                "universal_question": row["question"],
                "answers": [
                    {"name": cultures[slug].name, "response": said[row["question_id"], slug]} for slug in heard
                ],
            }
            (rows if target.slug in heard and len(heard) > 1 else missing).append(record)
    added = Features({"question": features.COLUMNS["question"].type, "traits": features.COLUMNS["traits"].type})
    text = features.COLUMNS["question"].type
    columns = Features({name: kind for name, kind in features.ADAPTED.items() if name not in added})
    columns["answers"] = features.List({"name": text, "response": text})
    silent = [{**record, "question": None, "traits": None, "drop_reason": "no_answer"} for record in missing]
    adapted = ask(
        features.table(rows, columns),
        model,
        prompt=lambda row: prompt(row, cultures[row["culture"]]),
        parse=parse,
        writes=added,
        schema=SCHEMA,
        desc="adapted",
    )
    return features.stack(adapted, silent)
