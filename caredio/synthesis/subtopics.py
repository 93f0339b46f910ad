"""Parts of each topic, over which its questions are spread.

topics -> subtopics: without them, a pool of questions crowds around what comes to a model's mind first. A topic that
no part is written for is asked about as a whole: its row has no subtopic.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

from datasets import Dataset, Features, List, Value

from caredio import features, prompts
from caredio.cultures import Culture
from caredio.llm import plan
from caredio.llm.cache import Answer
from caredio.llm.model import Model
from caredio.llm.rows import Unusable, ask
from caredio.llm.spec import Messages
from caredio.prompts import Prompt
from caredio.stages import Expected, Planned, Planning, Stage, fan_out
from caredio.synthesis import checks
from caredio.synthesis.settings import Settings

PHRASE = 40  # characters that a subtopic runs to
_LONGEST = 120  # of what is still a phrase


def calls(planning: Planning) -> Planned:
    """A request for each topic."""
    settings, topics = planning.settings, len(planning.topics)
    rows = [Expected(topics * max(1, settings.subtopics))]
    if not settings.subtopics:
        return Planned((), rows)
    template = prompts.load("subtopics", settings.prompts)
    row = asdict(planning.topics[0])
    writing = plan.tokens(prompt(row, template, settings), schema(settings.subtopics), planning.spec)
    answer = settings.subtopics * PHRASE // plan.CHARACTERS
    return Planned([plan.answers("subtopics", Expected(topics, topics), writing, planning.spec, answer)], rows)


STAGE = Stage("subtopics", {}, features.SUBTOPICS, modules=(__name__,), prompts=("subtopics",), calls=calls)


def schema(count: int) -> dict[str, Any]:
    """The JSON schema of an answer with up to `count` subtopics."""
    phrases = {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": count}
    return {
        "type": "object",
        "properties": {"subtopics": phrases},
        "required": ["subtopics"],
        "additionalProperties": False,
    }


def prompt(row: dict[str, Any], template: Prompt, settings: Settings) -> Messages:
    """Row of topic and description -> messages."""
    return template.messages(topic=row["topic"], description=row["description"], count=settings.subtopics)


def parse(
    content: dict[str, Any], row: dict[str, Any], answer: Answer, cultures: dict[str, Culture], settings: Settings
) -> dict[str, Any]:
    """The subtopics of an answer, and those that fail a check with its reason; `Unusable` when none is a phrase."""
    cleaned = {text.lower(): text for text in reversed(list(map(clean, content["subtopics"]))) if text}
    if not cleaned:
        raise Unusable("no subtopic in the answer", reason="no_subtopic")
    shown = checks.shown(answer.messages)
    found = []
    for text in reversed(cleaned.values()):
        wrong = checks.against("subtopic", text, "en", shown, None, cultures) if checks.on(settings) else None
        found.append({"subtopic": text, "reason": wrong})
    return {"written": found}


def clean(text: str) -> str:
    """`text` as one line without leading numbers, quotes or a full stop; empty where it is no phrase."""
    text = re.sub(r"^\W*\d*[.):]\s+", "", " ".join(text.split())).strip(" \"'“”.")
    return text if 3 <= len(text) <= _LONGEST else ""


def describe(settings: Mapping[str, Any]) -> str:
    """What the card says of them within a sentence: settings as run.json holds them."""
    return f", spread over up to {settings['subtopics']} parts of it" if settings["subtopics"] else ""


def run(topics: Dataset, settings: Settings, model: Model, cultures: dict[str, Culture] | None = None) -> Dataset:
    """Divide each topic into `settings.subtopics` parts; with 0 of them each topic is one row.

    Args:
        topics: `features.TOPICS`.
        cultures: all known, by slug: a part names none.

    Returns:
        `features.SUBTOPICS` and `drop_reason` (a reason of checks.py, or why an answer could not be used).
    """
    topics = features.require(topics, features.TOPICS, "topics")
    columns = Features({**features.SUBTOPICS, **features.REJECTS})
    if not settings.subtopics:
        return fan_out(topics, lambda row: [row], columns, "topics")
    template = prompts.load("subtopics", settings.prompts)
    answered = ask(
        topics,
        model,
        prompt=lambda row: prompt(row, template, settings),
        parse=lambda content, row, answer: parse(content, row, answer, cultures or {}, settings),
        columns=Features({"written": List({"subtopic": Value("string"), "reason": Value("string")})}),
        schema=schema(settings.subtopics),
        prompts=settings.prompts,
        desc="subtopics",
    )
    return fan_out(answered, lambda row: _rows(row, settings), columns, "subtopics")


def _rows(row: dict[str, Any], settings: Settings) -> Iterator[dict[str, Any]]:
    """A row for each part of a topic; where none can be used, one of the whole topic beside what was dropped."""
    topic = {name: row[name] for name in features.TOPICS}
    written = (row["written"] or [])[: settings.subtopics]
    if row["drop_reason"]:
        yield {**topic, "drop_reason": row["drop_reason"], "unusable": row["unusable"]}
    for one in written:
        yield {**topic, "subtopic": one["subtopic"], "drop_reason": one["reason"]}
    if all(one["reason"] for one in written):
        yield topic
