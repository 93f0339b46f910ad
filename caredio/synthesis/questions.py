"""Table stage (a round shows what earlier ones wrote): universal questions on each topic, by Self-Instruct.

topics -> questions (seed 001, 3.2; Wang et al., 2212.10560). Rounds are fixed: the questions a prompt shows are drawn
by seed from the pool as it stood when the round began, so the order in which answers arrive changes nothing.
"""

from __future__ import annotations

import logging
import random
import re
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
from datasets import Dataset, Features, List, Value
from rapidfuzz import process
from rapidfuzz.distance import LCSseq

from caredio import features, prompts
from caredio.cultures import Culture
from caredio.llm import plan
from caredio.llm.cache import Answer
from caredio.llm.model import Model
from caredio.llm.rows import Unusable, ask
from caredio.llm.spec import Messages
from caredio.prompts import Prompt
from caredio.stages import Planned, Planning, Stage
from caredio.synthesis import checks
from caredio.synthesis.settings import Settings

log = logging.getLogger("caredio")


def calls(planning: Planning) -> Planned:
    """The requests for questions, and for whether cultures would answer those differently."""
    settings, topics = planning.settings, len(planning.topics)
    (asked, written), (most_asked, most_written) = expected(settings), most(settings)
    template, judge = (prompts.load(name, settings.prompts) for name in STAGE.prompts)
    row = {**asdict(planning.topics[0]), "question_type": "open", "count": settings.per_call}
    row["examples"] = [plan.SAMPLE["question"]] * settings.demonstrations
    writing = plan.tokens(prompt(row, template), schema(settings.per_call), planning.spec)
    answer = settings.per_call * plan.QUESTION // plan.CHARACTERS
    counts = plan.Expected(asked, most_asked).times(topics)
    steps = [plan.answers("questions", counts, writing, planning.spec, answer)]
    if checks.on(settings):
        judging = plan.tokens(judge_prompt(plan.SAMPLE, judge), JUDGEMENT, planning.spec)
        counts = plan.Expected(written, most_written).times(topics)
        steps.append(plan.answers("sensitivity", counts, judging, planning.spec, answer=50))
    return Planned(steps, [plan.Expected(written, settings.per_topic).times(topics)])


STAGE = Stage(
    "questions", {}, features.QUESTIONS, modules=(__name__,), prompts=("questions", "sensitivity"), calls=calls
)
TYPES = ("scenario", "value", "open")  # question_type (seed 001, 3.2), each a part of the prompt file
QUESTION: dict[str, Any] = {"type": "string", "pattern": r"^[^\n?？؟]{10,300}[?？؟]$"}
JUDGEMENT: dict[str, Any] = {
    "type": "object",
    "properties": {"reason": {"type": "string"}, "differs": {"type": "boolean"}},
    "required": ["reason", "differs"],
    "additionalProperties": False,
}


def quota(per_topic: int) -> dict[str, int]:
    """How many of a topic's questions are of each type: equal shares, the first types taking what is left over."""
    return {kind: per_topic // 3 + (position < per_topic % 3) for position, kind in enumerate(TYPES)}


def ids(topic_id: str, per_topic: int) -> list[str]:
    """The question_ids of a topic's questions, when all of them are written."""
    return [question_id(topic_id, kind, n) for kind, count in quota(per_topic).items() for n in range(count)]


def question_id(topic_id: str, kind: str, number: int) -> str:
    """The slot of a question: its topic, its type, and which of these it is."""
    return f"{topic_id}-{kind}-{number:03d}"


def asked(missing: int, settings: Settings) -> list[int]:
    """The questions that each call of a round asks for: half of what lacks in all, so that the pool grows between."""
    return [min(settings.per_call, missing)] * -(-missing // (2 * settings.per_call))


def expected(settings: Settings) -> tuple[int, int]:
    """(calls, questions) of a topic whose answers all hold the questions they are asked for, and none is dropped."""
    calls, lacks = 0, list(quota(settings.per_topic).values())
    for _ in range(settings.rounds):
        counts = [asked(missing, settings) for missing in lacks]
        calls += sum(map(len, counts))
        lacks = [missing - sum(written) for missing, written in zip(lacks, counts, strict=True)]
    return calls, settings.per_topic - sum(lacks)


def most(settings: Settings) -> tuple[int, int]:
    """(calls, questions written) of a topic at most: each round drops everything, so the next asks for all of it."""
    counts = [asked(missing, settings) for missing in quota(settings.per_topic).values()]
    return settings.rounds * sum(map(len, counts)), settings.rounds * sum(map(sum, counts))


def schema(count: int) -> dict[str, Any]:
    """The JSON schema of an answer with up to `count` questions."""
    questions = {"type": "array", "items": QUESTION, "minItems": 1, "maxItems": count}
    return {
        "type": "object",
        "properties": {"questions": questions},
        "required": ["questions"],
        "additionalProperties": False,
    }


def prompt(row: dict[str, Any], template: Prompt) -> Messages:
    """Row of topic, description, question_type, count, examples -> messages."""
    questions = "\n".join(f"- {prompts.quote(example)}" for example in row["examples"])
    shown = f"\n{template.part('taken', questions=questions)}\n" if questions else ""
    return template.messages(
        topic=row["topic"],
        description=row["description"],
        count=row["count"],
        kind=template.part(row["question_type"]),
        examples=shown,
    )


def parse(content: dict[str, Any], row: dict[str, Any], answer: Answer) -> dict[str, Any]:
    """The questions in an answer, cleaned of numbering and white space; `Unusable` when none is a question."""
    cleaned = [clean(text) for text in content["questions"]]
    questions = list(dict.fromkeys(text for text in cleaned if text))
    if not questions:
        raise Unusable("no question in the answer")
    return {"written": questions[: row["count"]]}


def clean(text: str) -> str:
    """`text` as one line without leading numbers or quotes; empty when it is not a question of sensible length."""
    text = re.sub(r"^\W*\d*[.):]\s+", "", " ".join(text.split())).strip(" \"'“”")
    return text if re.search(QUESTION["pattern"], text) else ""


def judge_prompt(row: dict[str, Any], template: Prompt) -> Messages:
    """Row of question -> messages that ask whether cultures would answer it differently."""
    return template.messages(question=prompts.quote(row["question"]))


def judged(content: dict[str, Any], row: dict[str, Any], answer: Answer) -> dict[str, Any]:
    """Whether cultures would answer differently, as the model judged."""
    return {"differs": content["differs"]}


class Known:
    """A topic's questions, against which the next is compared."""

    def __init__(self, rouge_l: float) -> None:
        self.rouge_l = rouge_l
        self._letters: dict[str, str] = {}
        self._coded: list[str] = []

    def add(self, text: str) -> bool:
        """Add `text`, unless a known question is as near as `rouge_l` by ROUGE-L (Lin, 2004); returns whether it did.

        A word is one letter of a private alphabet here, so that rapidfuzz compares strings: F1 is what the rouge_score
        package computes, to the last bit.
        """
        tokens = re.findall(r"\w+", text.lower())
        coded = "".join(self._letters.setdefault(token, chr(len(self._letters))) for token in tokens)
        if self._coded and coded:
            common = process.cdist([coded], self._coded, scorer=LCSseq.similarity, dtype=np.int32)[0]
            with np.errstate(invalid="ignore"):  # 0/0, without a common word, is not near
                precision, recall = common / np.array([len(old) for old in self._coded]), common / len(coded)
                f1 = 2 * precision * recall / (precision + recall)
            if (f1 >= self.rouge_l).any():
                return False
        self._coded.append(coded)
        return True


def describe(settings: Mapping[str, Any], topics: int) -> str:
    """A sentence for the card on the questions: settings as run.json holds them."""
    return (
        f"Questions: up to {settings['per_topic']} on each of {topics} topic{'s' if topics > 1 else ''}, by"
        f" Self-Instruct in at most {settings['rounds']} rounds; of those with a ROUGE-L of {settings['rouge_l']:g} or"
        " more, one is kept."
    )


def run(topics: Dataset, settings: Settings, model: Model, cultures: dict[str, Culture] | None = None) -> Dataset:
    """Write `settings.per_topic` questions for each topic.

    Args:
        topics: `features.TOPICS`.
        cultures: all known, by slug: a question that is put to all names none.

    Returns:
        `features.QUESTIONS` and `drop_reason` (near_duplicate, insensitive, a reason of checks.py, or why an answer
        could not be used). A warning says which topics got fewer questions than asked for.
    """
    topics = features.require(topics, features.TOPICS, "topics")
    wanted = {(topic["topic_id"], kind): n for topic in topics for kind, n in quota(settings.per_topic).items()}
    pool: dict[tuple[str, str], list[str]] = {slot: [] for slot in wanted}
    known = {topic["topic_id"]: Known(settings.rouge_l) for topic in topics}
    dropped = []
    for number in range(settings.rounds):
        calls = _calls(topics, wanted, pool, number, settings)
        if not calls:
            break
        for row in _write(calls, known, number, settings, model, cultures or {}):
            slot = row["topic_id"], row["question_type"]
            if row["drop_reason"]:
                dropped.append(row)
            elif len(pool[slot]) < wanted[slot]:
                pool[slot].append(row["question"])
    short = {"/".join(slot): f"{len(pool[slot])} of {n}" for slot, n in wanted.items() if len(pool[slot]) < n}
    if short:
        log.warning("questions: fewer than asked for after %d rounds: %s", settings.rounds, short)
    accepted = [
        _record({**topic, "question_type": kind}, text, number=number)
        for topic in topics
        for kind in TYPES
        for number, text in enumerate(pool[topic["topic_id"], kind])
    ]
    columns = Features({**features.QUESTIONS, "drop_reason": Value("string")})
    return features.table(accepted + dropped, columns)


def _write(
    calls: list[dict[str, Any]],
    known: dict[str, Known],
    number: int,
    settings: Settings,
    model: Model,
    cultures: dict[str, Culture],
) -> list[dict[str, Any]]:
    """A round: what the calls wrote, checked, compared with the known and judged; all of it, drop_reason or not."""
    template, judge = (prompts.load(name, settings.prompts) for name in ("questions", "sensitivity"))
    answered = ask(
        Dataset.from_list(calls),
        model,
        prompt=lambda row: prompt(row, template),
        parse=parse,
        columns=Features({"written": List(Value("string"))}),
        schema=schema(settings.per_call),
        prompts=settings.prompts,
        desc=f"questions, round {number + 1}",
    )
    fresh: list[dict[str, Any]] = []
    dropped: list[dict[str, Any]] = []
    for row in answered:
        if row["drop_reason"]:
            dropped.append(_record(row, row["unusable"] or "", drop_reason=row["drop_reason"]))
        shown_text = checks.shown(prompt({**row, "examples": []}, template))  # near the examples are near-duplicates
        for text in row["written"] or []:
            known_before = not known[row["topic_id"]].add(text)
            wrong = None
            if checks.on(settings):
                wrong = checks.against("universal_question", text, "en", shown_text, None, cultures)
            reason = "near_duplicate" if known_before else wrong
            (dropped if reason else fresh).append(_record(row, text, drop_reason=reason))
    if not checks.on(settings) or not fresh:
        return dropped + fresh
    judgements = ask(
        features.table(fresh, features.QUESTIONS),
        model,
        prompt=lambda row: judge_prompt(row, judge),
        parse=judged,
        columns=Features({"differs": Value("bool")}),
        schema=JUDGEMENT,
        prompts=settings.prompts,
        desc=f"sensitivity, round {number + 1}",
    )
    return dropped + [
        {**row, "drop_reason": row["drop_reason"] or (None if row["differs"] else "insensitive")} for row in judgements
    ]


def _calls(
    topics: Dataset, wanted: dict[Any, int], pool: dict[Any, list[str]], number: int, settings: Settings
) -> list[dict[str, Any]]:
    """The calls of a round."""
    calls = []
    for topic in topics:
        known = [text for (topic_id, _), texts in pool.items() if topic_id == topic["topic_id"] for text in texts]
        for kind in TYPES:
            slot = topic["topic_id"], kind
            missing = wanted[slot] - len(pool[slot])
            for call, count in enumerate(asked(missing, settings)):
                draw = random.Random(f"{settings.seed}/{slot}/{number}/{call}")
                calls.append(
                    {
                        **topic,
                        "question_type": kind,
                        "count": count,
                        "examples": draw.sample(known, min(settings.demonstrations, len(known))),
                        "draw": number * 1000 + call,
                    }
                )
    return calls


def _record(
    row: dict[str, Any], text: str, number: int | None = None, drop_reason: str | None = None
) -> dict[str, Any]:
    slot = row["topic_id"], row["question_type"]
    return {
        "question_id": "-".join(slot) if number is None else question_id(*slot, number),
        "topic_id": row["topic_id"],
        "level": row["level"],
        "question_type": row["question_type"],
        "language": "en",
        "question": text,
        "drop_reason": drop_reason,
    }
