"""Each culture's answer to its question, sharpened by what others would say (seed 001, 3.2: cognitive conflict).

adapted -> candidates. The target and other cultures answer the adapted question in isolation; then the target answers
again, shown its neighbours' answers. Four cultures that were not shown are what distinctiveness compares with.
"""

from __future__ import annotations

import random
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
from caredio.synthesis import adapt, roleplay

_PROMPT = prompts.load("contrast")


@dataclass(frozen=True)
class Config:
    compared: int = field(default=4, metadata={"help": "cultures not shown, whose answers distinctiveness compares"})
    seed: int = field(default=0, metadata={"help": "seed of every draw"})

    def __post_init__(self) -> None:
        if self.compared < 1:
            raise InputError("compared must be at least 1: distinctiveness needs another culture.")


def compared(
    culture: Culture, question_id: str, cultures: dict[str, Culture], config: Config, shown: tuple[str, ...]
) -> list[str]:
    """Slugs of the cultures drawn by seed for this question from those that are not shown."""
    rest = sorted(set(cultures) - {culture.slug, *shown})
    draw = random.Random(f"{config.seed}/{culture.slug}/{question_id}")
    return draw.sample(rest, min(config.compared, len(rest)))


def prompt(row: dict[str, Any], culture: Culture, cultures: dict[str, Culture], config: roleplay.Config) -> Messages:
    """Row of question and others -> messages that have `culture` answer after reading the shown others."""
    answers = "\n".join(
        f"- {cultures[other['culture']].name}: {prompts.quote(other['response'])}"
        for other in row["others"]
        if other["shown"]
    )
    return _PROMPT.messages(
        name=culture.name,
        adjective=culture.adjective,
        question=row["question"],
        answers=answers,
        sentences=config.sentences,
    )


def parse(content: str, row: dict[str, Any], answer: Answer) -> dict[str, Any]:
    """The response with what is known of its making."""
    return {
        "response": content,
        "model_revision": answer.model,
        "sample_id": features.sample_id(row["culture"], row["question"], content),
    }


def run(
    adapted: Dataset,
    config: Config,
    model: Model,
    cultures: dict[str, Culture],
    style: roleplay.Config,
    neighbours: adapt.Config,
) -> Dataset:
    """Answer each adapted question as its culture, in contrast to others.

    Args:
        adapted: `features.ADAPTED`.
        cultures: all known, by slug: the others are drawn from them.
        style: length of the answers.
        neighbours: how many neighbours are shown.

    Returns:
        `features.CANDIDATES` and `drop_reason` (also: no_isolated_answer, no_other_answer).
    """
    adapted = features.require(adapted, features.ADAPTED, "adapted")
    rows = list(adapted)
    who: dict[tuple[str, str], dict[str, bool]] = {}  # slot -> culture -> shown, in the order asked
    for row in rows:
        culture = cultures[row["culture"]]
        near = adapt.shown(culture, neighbours)
        far = compared(culture, row["question_id"], cultures, config, near)
        who[row["culture"], row["question_id"]] = {**dict.fromkeys(near, True), **dict.fromkeys(far, False)}
    isolated = _isolated(rows, who, style, model, cultures)
    ready, dropped = [], []
    for row in rows:
        slot = row["culture"], row["question_id"]
        record = {
            **row,
            "isolated_response": isolated.get((*slot, row["culture"])),
            "others": [
                {
                    "culture": other,
                    "sample_id": features.sample_id(other, row["question"], isolated[*slot, other]),
                    "response": isolated[*slot, other],
                    "shown": is_shown,
                }
                for other, is_shown in who[slot].items()
                if (*slot, other) in isolated
            ],
            "round": 0,
            "history": [],
            "generator": model.spec.model,
            "prompt_sha": _PROMPT.sha,
        }
        if record["isolated_response"] is None:
            dropped.append({**record, "drop_reason": "no_isolated_answer"})
        elif not any(other["shown"] for other in record["others"]):
            dropped.append({**record, "drop_reason": "no_other_answer"})
        else:
            ready.append(record)
    added = Features({name: features.CANDIDATES[name] for name in ("response", "model_revision", "sample_id")})
    columns = Features({name: kind for name, kind in features.CANDIDATES.items() if name not in added})
    candidates = ask(
        features.table(ready, columns),
        model,
        prompt=lambda row: prompt(row, cultures[row["culture"]], cultures, style),
        parse=parse,
        writes=added,
        desc="contrastive answers",
    )
    return features.stack(candidates, dropped)


def _isolated(
    rows: list[dict[str, Any]],
    who: dict[tuple[str, str], dict[str, bool]],
    style: roleplay.Config,
    model: Model,
    cultures: dict[str, Culture],
) -> dict[tuple[str, str, str], str]:
    """(target, question_id, speaker) -> the speaker's isolated answer to the target's adapted question."""
    asked = [
        {"target": row["culture"], "question_id": row["question_id"], "question": row["question"], "culture": speaker}
        for row in rows
        for speaker in (row["culture"], *who[row["culture"], row["question_id"]])
    ]
    answers = roleplay.answer(Dataset.from_list(asked), style, model, cultures, "isolated answers")
    return {
        (row["target"], row["question_id"], row["culture"]): row["response"]
        for row in answers
        if row["drop_reason"] is None
    }
