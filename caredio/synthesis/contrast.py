"""Each culture's answer to its question, sharpened by what others would say (seed 001, 3.2: cognitive conflict).

adapted, isolated -> candidates. The target answers again, shown its neighbours' isolated answers. Four cultures that
were not shown are what distinctiveness compares with.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from datasets import Dataset, Features, Value

from caredio import features, prompts
from caredio.cultures import Culture
from caredio.errors import InputError
from caredio.llm.cache import Answer
from caredio.llm.model import Model
from caredio.llm.rows import ask
from caredio.llm.spec import Messages
from caredio.synthesis import adapt, checks, languages, roleplay

_PROMPT = prompts.load("contrast")


@dataclass(frozen=True)
class Config:
    compared: int = field(default=4, metadata={"help": "cultures not shown, whose answers distinctiveness compares"})
    seed: int = field(default=0, metadata={"help": "seed of every draw"})

    def __post_init__(self) -> None:
        if self.compared < 1:
            raise InputError("compared must be at least 1: distinctiveness needs another culture.")


def describe(settings: Mapping[str, Any]) -> str:
    """A sentence for the card on the contrast: `Config` as run.json holds it."""
    return (
        "Contrast: each culture answers its question again, shown the neighbours' answers; up to"
        f" {settings['compared']} cultures that were not shown answer it too."
    )


def compared(
    culture: Culture, question_id: str, cultures: dict[str, Culture], config: Config, shown: tuple[str, ...]
) -> list[str]:
    """Slugs of the cultures drawn by seed for this question from those that are not shown."""
    rest = sorted(set(cultures) - {culture.slug, *shown})
    draw = random.Random(f"{config.seed}/{culture.slug}/{question_id}")
    return draw.sample(rest, min(config.compared, len(rest)))


def others(
    culture: Culture, question_id: str, cultures: dict[str, Culture], config: Config, neighbours: adapt.Config
) -> dict[str, bool]:
    """Who answers the culture's question besides: slug -> whether the answer is shown, in the order asked."""
    near = adapt.shown(culture, neighbours)
    return {slug: slug in near for slug in (*near, *compared(culture, question_id, cultures, config, near))}


def prompt(row: dict[str, Any], culture: Culture, cultures: dict[str, Culture], config: roleplay.Config) -> Messages:
    """Row of question, language and others -> messages that have `culture` answer after reading the shown others."""
    return _PROMPT.messages(
        name=culture.name,
        adjective=culture.adjective,
        question=row["question"],
        answers=told(row, cultures),
        sentences=config.sentences,
        language=languages.name(row["language"]),
        register=config.register,
    )


def told(row: dict[str, Any], cultures: dict[str, Culture]) -> str:
    """The shown others' answers to a candidate's question, a line each."""
    return "\n".join(
        f"- {cultures[other['culture']].name}: {prompts.quote(other['response'])}"
        for other in row["others"]
        if other["shown"]
    )


def parse(
    content: str, row: dict[str, Any], answer: Answer, cultures: dict[str, Culture], config: roleplay.Config
) -> dict[str, Any]:
    """The response, checked, with what is known of its making; `Unusable` says why it is none."""
    culture = cultures[row["culture"]]
    if config.checks.on:
        seen = checks.shown(answer.messages, row["question"])
        checks.usable("response", content, row["language"], seen, culture, cultures)
    return {
        "response": content,
        "model_revision": answer.model,
        "sample_id": features.sample_id(culture.slug, row["question"], content),
    }


def run(
    adapted: Dataset,
    isolated: Dataset,
    config: Config,
    model: Model,
    cultures: dict[str, Culture],
    style: roleplay.Config,
    neighbours: adapt.Config,
) -> Dataset:
    """Answer each adapted question as its culture, in contrast to others.

    Args:
        adapted: `features.ADAPTED`.
        isolated: `features.ISOLATED`, of these questions.
        cultures: all known, by slug: the others are drawn from them.
        style: length and wording of the answers.
        neighbours: how many neighbours are shown.

    Returns:
        `features.CANDIDATES` and `drop_reason` (also: no_isolated_answer, no_other_answer).
    """
    adapted = features.require(adapted, features.ADAPTED, "adapted").select_columns(list(features.ADAPTED))
    isolated = features.require(isolated, features.ISOLATED, "isolated")
    said: dict[tuple[str, str], list[int]] = defaultdict(list)  # rows, not texts: a large set has a million
    for place, slot in enumerate(zip(isolated["target"], isolated["question_id"], strict=True)):
        said[slot].append(place)
    added = Features({name: features.CANDIDATES[name] for name in ("response", "model_revision", "sample_id")})
    columns = Features({name: kind for name, kind in features.CANDIDATES.items() if name not in added})

    def heard(row: dict[str, Any]) -> dict[str, Any]:
        told = isolated[said[row["culture"], row["question_id"]]]  # by column
        answers = [dict(zip(told, values, strict=True)) for values in zip(*told.values(), strict=True)]
        return {
            **row,
            **_heard(row, answers, cultures, config, neighbours),
            "round": 0,
            "history": [],
            "generator": model.spec.model,
            "prompt_sha": _PROMPT.sha,
        }

    asked = features.table(map(heard, adapted), Features({**columns, "drop_reason": Value("string")}))
    candidates = ask(
        features.kept(asked),
        model,
        prompt=lambda row: prompt(row, cultures[row["culture"]], cultures, style),
        parse=lambda content, row, answer: parse(content, row, answer, cultures, style),
        columns=added,
        desc="contrastive answers",
    )
    return features.stack(candidates, list(features.rejected(asked)))


def _heard(
    row: dict[str, Any],
    answers: list[dict[str, Any]],
    cultures: dict[str, Culture],
    config: Config,
    neighbours: adapt.Config,
) -> dict[str, Any]:
    """The isolated answers to an adapted question as a candidate's isolated_response, others, panel and drop_reason."""
    mine = [answer for answer in answers if answer["culture"] == row["culture"]]
    theirs = {answer["culture"]: answer["response"] for answer in answers if answer["culture"] != row["culture"]}
    asked = others(cultures[row["culture"]], row["question_id"], cultures, config, neighbours)
    isolated = next((answer["response"] for answer in mine if answer["persona"] is None), None)
    no_other = not any(slug in theirs for slug, shown in asked.items() if shown)
    return {
        "drop_reason": "no_isolated_answer" if isolated is None else "no_other_answer" if no_other else None,
        "isolated_response": isolated,
        "others": [
            {**_sample(slug, row["question"], theirs[slug]), "culture": slug, "shown": shown}
            for slug, shown in asked.items()
            if slug in theirs
        ],
        "panel": [
            {**_sample(row["culture"], row["question"], answer["response"]), "persona": answer["persona"]}
            for answer in mine
            if answer["persona"] is not None
        ],
    }


def _sample(culture: str, question: str, response: str) -> dict[str, Any]:
    return {"sample_id": features.sample_id(culture, question, response), "response": response}
