"""Universal questions on each topic, by Self-Instruct (seed 001, 3.2; Wang et al., 2212.10560).

topics -> questions. Rounds are fixed: the questions a prompt shows are drawn by seed from the pool as it stood when the
round began, so the order in which answers arrive changes nothing.
"""

from __future__ import annotations

import logging
import random
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from datasets import Dataset, Features, List, Value
from rapidfuzz import process
from rapidfuzz.distance import LCSseq

from caredio import features, prompts
from caredio.cultures import Culture
from caredio.errors import InputError
from caredio.llm.cache import Answer
from caredio.llm.model import Model
from caredio.llm.rows import Unusable, ask
from caredio.llm.spec import Messages
from caredio.synthesis import checks

log = logging.getLogger("caredio")

KINDS = {  # question_type -> what the prompt asks for (seed 001, 3.2 names the three)
    "scenario": "Each one describes a concrete everyday situation and asks what the person would do in it.",
    "value": "Each one asks what the person finds right or important, and why.",
    "open": "Each one asks openly how something is usually done or seen where the person lives.",
}
_PROMPT, _JUDGE = prompts.load("questions"), prompts.load("sensitivity")
QUESTION: dict[str, Any] = {"type": "string", "pattern": r"^[^\n?？؟]{10,300}[?？؟]$"}
JUDGEMENT: dict[str, Any] = {
    "type": "object",
    "properties": {"reason": {"type": "string"}, "differs": {"type": "boolean"}},
    "required": ["reason", "differs"],
    "additionalProperties": False,
}


@dataclass(frozen=True)
class Config:
    per_topic: int = field(default=100, metadata={"help": "questions a topic, over the three types"})
    rounds: int = field(default=8, metadata={"help": "rounds of Self-Instruct at most"})
    per_call: int = field(default=5, metadata={"help": "questions asked for in one call"})
    demonstrations: int = field(default=6, metadata={"help": "earlier questions shown in a prompt"})
    rouge_l: float = field(default=0.7, metadata={"help": "ROUGE-L from which a question is a near-duplicate"})
    checks: checks.Config = checks.Config()
    seed: int = field(default=0, metadata={"help": "seed of every draw"})

    def __post_init__(self) -> None:
        if min(self.per_topic, self.rounds, self.per_call) < 1 or self.demonstrations < 0:
            raise InputError("per_topic, rounds and per_call must be at least 1, demonstrations at least 0.")
        if not 0 < self.rouge_l <= 1:
            raise InputError(f"rouge_l is {self.rouge_l}; use a share above 0 up to 1.")


def quota(per_topic: int) -> dict[str, int]:
    """How many of a topic's questions are of each type: equal shares, the first types taking what is left over."""
    return {kind: per_topic // 3 + (position < per_topic % 3) for position, kind in enumerate(KINDS)}


def asked(missing: int, config: Config) -> list[int]:
    """The questions that each call of a round asks for: half of what lacks in all, so that the pool grows between."""
    return [min(config.per_call, missing)] * -(-missing // (2 * config.per_call))


def expected(config: Config) -> tuple[int, int]:
    """(calls, questions) of a topic whose answers all hold the questions they are asked for, and none is dropped."""
    calls, lacks = 0, list(quota(config.per_topic).values())
    for _ in range(config.rounds):
        counts = [asked(missing, config) for missing in lacks]
        calls += sum(map(len, counts))
        lacks = [missing - sum(written) for missing, written in zip(lacks, counts, strict=True)]
    return calls, config.per_topic - sum(lacks)


def most(config: Config) -> tuple[int, int]:
    """(calls, questions written) of a topic at most: each round drops everything, so the next asks for all of it."""
    counts = [asked(missing, config) for missing in quota(config.per_topic).values()]
    return config.rounds * sum(map(len, counts)), config.rounds * sum(map(sum, counts))


def schema(count: int) -> dict[str, Any]:
    """The JSON schema of an answer with up to `count` questions."""
    questions = {"type": "array", "items": QUESTION, "minItems": 1, "maxItems": count}
    return {
        "type": "object",
        "properties": {"questions": questions},
        "required": ["questions"],
        "additionalProperties": False,
    }


def prompt(row: dict[str, Any]) -> Messages:
    """Row of topic, description, question_type, count, examples -> messages."""
    examples = "".join(f"\n- {prompts.quote(example)}" for example in row["examples"])
    return _PROMPT.messages(
        topic=row["topic"],
        description=row["description"],
        count=row["count"],
        kind=KINDS[row["question_type"]],
        examples=examples and f"\nQuestions already taken, so write others:{examples}\n",
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


def judge_prompt(row: dict[str, Any]) -> Messages:
    """Row of question -> messages that ask whether cultures would answer it differently."""
    return _JUDGE.messages(question=prompts.quote(row["question"]))


def judged(content: dict[str, Any], row: dict[str, Any], answer: Answer) -> dict[str, Any]:
    """Whether cultures would answer differently, as the model judged."""
    return {"differs": content["differs"]}


class Known:
    """A topic's questions, against which the next is compared."""

    def __init__(self, rouge_l: float) -> None:
        self.rouge_l = rouge_l
        self._letters: dict[str, str] = {}
        self._taken: list[str] = []

    def take(self, text: str) -> bool:
        """Remember `text`; False when a known question is as near as `rouge_l` by ROUGE-L (Lin, 2004).

        A word is one letter of a private alphabet here, so that rapidfuzz compares strings: F1 is what the rouge_score
        package computes, to the last bit.
        """
        tokens = re.findall(r"\w+", text.lower())
        coded = "".join(self._letters.setdefault(token, chr(len(self._letters))) for token in tokens)
        if self._taken and coded:
            common = process.cdist([coded], self._taken, scorer=LCSseq.similarity, dtype=np.int32)[0]
            with np.errstate(invalid="ignore"):  # 0/0, without a common word, is not near
                precision, recall = common / np.array([len(old) for old in self._taken]), common / len(coded)
                f1 = 2 * precision * recall / (precision + recall)
            if (f1 >= self.rouge_l).any():
                return False
        self._taken.append(coded)
        return True


def describe(settings: Mapping[str, Any], topics: int) -> str:
    """A sentence for the card on the questions: `Config` as run.json holds it."""
    return (
        f"Questions: up to {settings['per_topic']} on each of {topics} topic{'s' if topics > 1 else ''}, by"
        f" Self-Instruct in at most {settings['rounds']} rounds; of those with a ROUGE-L of {settings['rouge_l']:g} or"
        " more, one is kept."
    )


def run(topics: Dataset, config: Config, model: Model, cultures: dict[str, Culture] | None = None) -> Dataset:
    """Write `config.per_topic` questions for each topic.

    Args:
        topics: `features.TOPICS`.
        cultures: all known, by slug: a question that is put to all names none.

    Returns:
        `features.QUESTIONS` and `drop_reason` (near_duplicate, insensitive, a reason of checks.py, or why an answer
        could not be used). A warning says which topics got fewer questions than asked for.
    """
    topics = features.require(topics, features.TOPICS, "topics")
    wanted = {(topic["topic_id"], kind): n for topic in topics for kind, n in quota(config.per_topic).items()}
    pool: dict[tuple[str, str], list[str]] = {slot: [] for slot in wanted}
    known = {topic["topic_id"]: Known(config.rouge_l) for topic in topics}
    dropped = []
    for number in range(config.rounds):
        calls = _calls(topics, wanted, pool, number, config)
        if not calls:
            break
        for row in _write(calls, known, number, config, model, cultures or {}):
            slot = row["topic_id"], row["question_type"]
            if row["drop_reason"]:
                dropped.append(row)
            elif len(pool[slot]) < wanted[slot]:
                pool[slot].append(row["question"])
    short = {"/".join(slot): f"{len(pool[slot])} of {n}" for slot, n in wanted.items() if len(pool[slot]) < n}
    if short:
        log.warning("questions: fewer than asked for after %d rounds: %s", config.rounds, short)
    taken = [
        _record({**topic, "question_type": kind}, text, number=number)
        for topic in topics
        for kind in KINDS
        for number, text in enumerate(pool[topic["topic_id"], kind])
    ]
    columns = Features({**features.QUESTIONS, "drop_reason": Value("string")})
    return features.table(taken + dropped, columns)


def _write(
    calls: list[dict[str, Any]],
    known: dict[str, Known],
    number: int,
    config: Config,
    model: Model,
    cultures: dict[str, Culture],
) -> list[dict[str, Any]]:
    """A round: what the calls wrote, checked, compared with the known and judged; all of it, drop_reason or not."""
    answered = ask(
        Dataset.from_list(calls),
        model,
        prompt=prompt,
        parse=parse,
        columns=Features({"written": List(Value("string"))}),
        schema=schema(config.per_call),
        desc=f"questions, round {number + 1}",
    )
    fresh: list[dict[str, Any]] = []
    dropped: list[dict[str, Any]] = []
    for row in answered:
        if row["drop_reason"]:
            dropped.append(_record(row, row["unusable"] or "", drop_reason=row["drop_reason"]))
        told = checks.shown(prompt({**row, "examples": []}))  # near the examples are near-duplicates
        for text in row["written"] or []:
            known_before = not known[row["topic_id"]].take(text)
            wrong = None
            if config.checks.on:
                wrong = checks.against("universal_question", text, "en", told, None, cultures)
            reason = "near_duplicate" if known_before else wrong
            (dropped if reason else fresh).append(_record(row, text, drop_reason=reason))
    if not config.checks.on or not fresh:
        return dropped + fresh
    judgements = ask(
        features.table(fresh, features.QUESTIONS),
        model,
        prompt=judge_prompt,
        parse=judged,
        columns=Features({"differs": Value("bool")}),
        schema=JUDGEMENT,
        desc=f"sensitivity, round {number + 1}",
    )
    return dropped + [
        {**row, "drop_reason": row["drop_reason"] or (None if row["differs"] else "insensitive")} for row in judgements
    ]


def _calls(
    topics: Dataset, wanted: dict[Any, int], pool: dict[Any, list[str]], number: int, config: Config
) -> list[dict[str, Any]]:
    """The calls of a round."""
    calls = []
    for topic in topics:
        known = [text for (topic_id, _), texts in pool.items() if topic_id == topic["topic_id"] for text in texts]
        for kind in KINDS:
            slot = topic["topic_id"], kind
            missing = wanted[slot] - len(pool[slot])
            for call, count in enumerate(asked(missing, config)):
                draw = random.Random(f"{config.seed}/{slot}/{number}/{call}")
                calls.append(
                    {
                        **topic,
                        "question_type": kind,
                        "count": count,
                        "examples": draw.sample(known, min(config.demonstrations, len(known))),
                        "draw": number * 1000 + call,
                    }
                )
    return calls


def _record(
    row: dict[str, Any], text: str, number: int | None = None, drop_reason: str | None = None
) -> dict[str, Any]:
    slot = f"{row['topic_id']}-{row['question_type']}"
    return {
        "question_id": slot if number is None else f"{slot}-{number:03d}",
        "topic_id": row["topic_id"],
        "level": row["level"],
        "question_type": row["question_type"],
        "language": "en",
        "question": text,
        "drop_reason": drop_reason,
    }
