"""Table stage (a round shows what earlier ones wrote): universal questions on each topic, by Self-Instruct.

subtopics -> questions (seed 001, 3.2; Wang et al., 2212.10560). Rounds are fixed: the questions a prompt shows are
drawn by seed from the pool as it stood when the round began, so the order in which answers arrive changes nothing. Each
call is on one part of a topic, the one that has the fewest questions of its type so far.
"""

from __future__ import annotations

import logging
import random
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml
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
from caredio.selection import embed
from caredio.selection.measure import unit
from caredio.stages import Expected, Planned, Planning, Stage
from caredio.synthesis import checks, subtopics
from caredio.synthesis.settings import Settings, least_cosine

log = logging.getLogger("caredio")


def calls(planning: Planning) -> Planned:
    """The requests for questions, and for whether cultures would answer those differently."""
    settings, topics = planning.settings, len(planning.topics)
    (asked, written), (most_asked, most_written) = expected(settings), most(settings)
    template, judge = (prompts.load(name, settings.prompts) for name in STAGE.prompts)
    row = {**asdict(planning.topics[0]), "subtopic": "." * subtopics.PHRASE if settings.subtopics else None}
    row |= {"question_type": "open", "count": settings.per_call, "form": SEEDS["open"][: settings.examples]}
    row["taken"] = [plan.SAMPLE["question"]] * settings.demonstrations
    writing = plan.tokens(prompt(row, template), schema(settings.per_call), planning.spec)
    answer = settings.per_call * plan.QUESTION // plan.CHARACTERS
    counts = Expected(asked, most_asked).times(topics)
    steps = [plan.answers("questions", counts, writing, planning.spec, answer), *_vectors(planning)]
    if checks.on(settings):
        judging = plan.tokens(judge_prompt(plan.SAMPLE, judge), JUDGEMENT, planning.spec)
        counts = Expected(written, most_written).times(topics)
        steps.append(plan.answers("sensitivity", counts, judging, planning.spec, answer=50))
    return Planned(steps, [Expected(written, settings.per_topic).times(topics)])


def _vectors(planning: Planning) -> Iterator[plan.Step]:
    """The requests for vectors of what each round writes, where an endpoint makes them."""
    settings, selection, topics = planning.settings, planning.selection, len(planning.topics)
    if least_cosine(settings, selection) >= 1:
        return
    most_written = most(settings)[1] // settings.rounds
    found = [
        embed.steps("question vectors", selection.embedder, ((topics * n, plan.QUESTION) for n in written))
        for written in ([sum(counts) for counts in _rounds(settings)], [most_written] * settings.rounds)
    ]
    yield from (replace(step, upper_bound=bound.calls) for step, bound in zip(*found, strict=True))


STAGE = Stage(
    "questions",
    {"subtopics": " ".join(features.SUBTOPICS)},
    features.QUESTIONS,
    modules=(__name__,),
    prompts=("questions", "sensitivity"),
    calls=calls,
)
TYPES = ("scenario", "value", "open")  # question_type (seed 001, 3.2), each a part of the prompt file
QUESTION: dict[str, Any] = {"type": "string", "pattern": r"^[^\n?？؟]{10,300}[?？؟]$"}
JUDGEMENT: dict[str, Any] = {
    "type": "object",
    "properties": {"reason": {"type": "string"}, "sensitivity": {"type": "integer", "enum": [1, 2, 3, 4, 5]}},
    "required": ["reason", "sensitivity"],
    "additionalProperties": False,
}
_CALLS = Features(
    {
        **features.SUBTOPICS,
        **features.columns("question_type draw"),
        "count": Value("int32"),
        "form": List(Value("string")),
        "taken": List(Value("string")),
    }
)
# question_type -> example questions
SEEDS = {
    kind: tuple(texts)
    for kind, texts in yaml.safe_load(
        Path(features.__file__).with_name("questions.yaml").read_text(encoding="utf-8")
    ).items()
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
    return sum(map(len, rounds := list(_rounds(settings)))), sum(map(sum, rounds))


def _rounds(settings: Settings) -> Iterator[list[int]]:
    """Of each round of such a topic, the questions that each call asks for."""
    lacks = list(quota(settings.per_topic).values())
    for _ in range(settings.rounds):
        counts = [asked(missing, settings) for missing in lacks]
        yield [count for of_type in counts for count in of_type]
        lacks = [missing - sum(written) for missing, written in zip(lacks, counts, strict=True)]


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
    """Row of topic, description, subtopic (or None), question_type, count, and two lists of questions -> messages.

    `form` are shown as examples, `taken` as those not to write again.
    """
    shown = [template.part(part, questions=_listed(row[part])) for part in ("form", "taken") if row[part]]
    part = f"\n{template.part('part', subtopic=prompts.quote(row['subtopic']))}" if row["subtopic"] else ""
    return template.messages(
        topic=row["topic"],
        description=row["description"],
        part=part,
        count=row["count"],
        kind=template.part(row["question_type"]),
        examples="".join(f"\n{questions}\n" for questions in shown),
    )


def _listed(questions: Sequence[str]) -> str:
    return "\n".join(f"- {prompts.quote(question)}" for question in questions)


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
    """Row of question -> messages that ask how differently cultures would answer it."""
    return template.messages(question=prompts.quote(row["question"]))


def judged(content: dict[str, Any], row: dict[str, Any], answer: Answer) -> dict[str, Any]:
    """How differently cultures would answer, from 1 to 5, as the model judged."""
    return {"sensitivity": content["sensitivity"]}


class Known:
    """A topic's questions, against which the next is compared; the example questions are among them."""

    def __init__(self, rouge_l: float, cosine: float = 1.0) -> None:
        """`cosine`: from which a question is a near-duplicate by vectors; 1 compares by ROUGE-L alone."""
        self.rouge_l, self.cosine = rouge_l, cosine
        self._letters: dict[str, str] = {}
        self._coded = [self._code(text) for texts in SEEDS.values() for text in texts]
        self._vectors: list[np.ndarray] = []

    def add(self, text: str, vector: np.ndarray | None = None) -> bool:
        """Add `text`, unless a known question is as near as `rouge_l` or `cosine`; returns whether it did.

        By ROUGE-L (Lin, 2004) a question that words another alike is near, by its unit `vector` also one that asks the
        same in other words.
        """
        coded = self._code(text)
        if self._coded and coded and (self._rouge_l(coded) >= self.rouge_l).any():
            return False
        if vector is not None and self._vectors and (np.stack(self._vectors) @ vector).max() >= self.cosine:
            return False
        self._coded.append(coded)
        self._vectors += [] if vector is None else [vector]
        return True

    def _code(self, text: str) -> str:
        """A word is one letter of a private alphabet here, so that rapidfuzz compares strings."""
        tokens = re.findall(r"\w+", text.lower())
        return "".join(self._letters.setdefault(token, chr(len(self._letters))) for token in tokens)

    def _rouge_l(self, coded: str) -> np.ndarray:
        """F1 with each known question, as the rouge_score package computes it, to the last bit."""
        common = process.cdist([coded], self._coded, scorer=LCSseq.similarity, dtype=np.int32)[0]
        with np.errstate(invalid="ignore"):  # 0/0, without a common word, is not near
            precision, recall = common / np.array([len(old) for old in self._coded]), common / len(coded)
            return np.asarray(2 * precision * recall / (precision + recall))


def describe(settings: Mapping[str, Any], topics: int, parts: str = "") -> str:
    """A sentence for the card on the questions: settings as run.json holds them.

    Args:
        parts: what subtopics.py says of them.
    """
    cosine, least = settings.get("cosine", 1.0), settings.get("least_sensitivity")
    near = f", or a cosine of {cosine:g}," if cosine < 1 else ""
    judged = ""
    if least and settings["checks"] == "all":
        judged = f" Those whose sensitivity to culture was judged below {least} of 5 were dropped."
    return (
        f"Questions: up to {settings['per_topic']} on each of {topics} topic{'s' if topics > 1 else ''}{parts}, by"
        f" Self-Instruct in at most {settings['rounds']} rounds; of those with a ROUGE-L of {settings['rouge_l']:g}"
        f"{near} or more, one is kept.{judged}"
    )


def run(
    topics: Dataset,
    settings: Settings,
    model: Model,
    cultures: dict[str, Culture] | None = None,
    cosine: float = 1.0,
    encode: embed.Encoder | None = None,
) -> Dataset:
    """Write `settings.per_topic` questions for each topic.

    Args:
        topics: `features.SUBTOPICS`.
        cultures: all known, by slug: a question that is put to all names none.
        cosine: of two questions' vectors, from which the second is a near-duplicate.
        encode: makes the vectors, where there is one.

    Returns:
        `features.QUESTIONS` and `drop_reason` (near_duplicate, insensitive, a reason of checks.py, or why an answer
        could not be used). A warning says which topics got fewer questions than asked for.
    """
    rows = STAGE.table(topics, "subtopics").select_columns(list(features.SUBTOPICS))
    parts: dict[str, list[dict[str, Any]]] = {}  # topic_id -> its rows
    for row in rows:
        parts.setdefault(row["topic_id"], []).append(row)
    wanted = {(topic_id, kind): n for topic_id in parts for kind, n in quota(settings.per_topic).items()}
    pool: dict[tuple[str, str], list[dict[str, Any]]] = {slot: [] for slot in wanted}
    writer = _Writer(settings, model, cultures or {}, encode, {one: Known(settings.rouge_l, cosine) for one in parts})
    dropped = []
    for number in range(settings.rounds):
        calls = _calls(parts, wanted, pool, number, settings)
        if not calls:
            break
        for row in writer.round(calls, number):
            slot = row["topic_id"], row["question_type"]
            if row["drop_reason"]:
                dropped.append(row)
            elif len(pool[slot]) < wanted[slot]:
                pool[slot].append(row)
    short = {"/".join(slot): f"{len(pool[slot])} of {n}" for slot, n in wanted.items() if len(pool[slot]) < n}
    if short:
        log.warning("questions: fewer than asked for after %d rounds: %s", settings.rounds, short)
    accepted = [
        {**row, "question_id": question_id(*slot, number)} for slot in wanted for number, row in enumerate(pool[slot])
    ]
    return features.table(accepted + dropped, Features({**features.QUESTIONS, **features.columns("drop_reason")}))


@dataclass(frozen=True)
class _Writer:
    """Writes questions, and compares them with the known ones of their topic."""

    settings: Settings
    model: Model
    cultures: dict[str, Culture]
    encode: embed.Encoder | None
    known: dict[str, Known]

    def round(self, calls: list[dict[str, Any]], number: int) -> list[dict[str, Any]]:
        """What the calls wrote, checked, compared with the known and judged; all of it, drop_reason or not."""
        template = prompts.load("questions", self.settings.prompts)
        answered = ask(
            Dataset.from_list(calls, features=_CALLS),
            self.model,
            prompt=lambda row: prompt(row, template),
            parse=parse,
            columns=Features({"written": List(Value("string"))}),
            schema=schema(self.settings.per_call),
            prompts=self.settings.prompts,
            desc=f"questions, round {number + 1}",
        )
        vectors = self._vectors([text for row in answered for text in row["written"] or []])
        fresh: list[dict[str, Any]] = []
        dropped: list[dict[str, Any]] = []
        for row in answered:
            if row["drop_reason"]:
                dropped.append(_record(row, row["unusable"] or "", drop_reason=row["drop_reason"]))
            shown_text = checks.shown(prompt({**row, "form": [], "taken": []}, template))  # these are near-duplicates
            for text in row["written"] or []:
                known_before = not self.known[row["topic_id"]].add(text, vectors.get(text))
                wrong = None
                if checks.on(self.settings):
                    wrong = checks.against("universal_question", text, "en", shown_text, None, self.cultures)
                reason = "near_duplicate" if known_before else wrong
                (dropped if reason else fresh).append(_record(row, text, drop_reason=reason))
        return dropped + (self._judged(fresh, number) if checks.on(self.settings) and fresh else fresh)

    def _vectors(self, texts: list[str]) -> dict[str, np.ndarray]:
        """Unit vectors of questions, where they are compared by them."""
        return dict(zip(texts, unit(self.encode, texts), strict=True)) if self.encode and texts else {}

    def _judged(self, fresh: list[dict[str, Any]], number: int) -> list[dict[str, Any]]:
        """Questions with their sensitivity; those that cultures would answer too much alike with a drop_reason."""
        judge = prompts.load("sensitivity", self.settings.prompts)
        unjudged = Features({name: kind for name, kind in features.QUESTIONS.items() if name != "sensitivity"})
        judgements = ask(
            features.table(fresh, unjudged),
            self.model,
            prompt=lambda row: judge_prompt(row, judge),
            parse=judged,
            columns=features.columns("sensitivity"),
            schema=JUDGEMENT,
            prompts=self.settings.prompts,
            desc=f"sensitivity, round {number + 1}",
        )

        def reason(row: dict[str, Any]) -> str | None:
            alike = not row["drop_reason"] and row["sensitivity"] < self.settings.least_sensitivity
            return "insensitive" if alike else row["drop_reason"]

        return [{**row, "drop_reason": reason(row)} for row in judgements]


def _calls(
    parts: Mapping[str, list[dict[str, Any]]],
    wanted: dict[Any, int],
    pool: dict[Any, list[dict[str, Any]]],
    number: int,
    settings: Settings,
) -> list[dict[str, Any]]:
    """The calls of a round."""
    calls = []
    for topic_id, rows in parts.items():
        known = [row for (of_topic, _), found in pool.items() if of_topic == topic_id for row in found]
        of_part = Counter(row["subtopic"] for row in known)
        for kind in TYPES:
            slot = topic_id, kind
            own = Counter(row["subtopic"] for row in pool[slot])
            for call, count in enumerate(asked(wanted[slot] - len(pool[slot]), settings)):
                draw = random.Random(f"{settings.seed}/{slot}/{number}/{call}")
                part = min(
                    rows, key=lambda row: (own[row["subtopic"]], of_part[row["subtopic"]])
                )  # of equals the first
                own[part["subtopic"]] += count
                of_part[part["subtopic"]] += count
                taken = draw.sample(known, len(known))
                taken.sort(key=lambda row: row["subtopic"] != part["subtopic"])  # first those of the same part
                calls.append(
                    {
                        **{name: part[name] for name in features.SUBTOPICS},
                        "question_type": kind,
                        "count": count,
                        "form": draw.sample(SEEDS[kind], min(settings.examples, len(SEEDS[kind]))),
                        "taken": [row["question"] for row in taken[: settings.demonstrations]],
                        "draw": number * 1000 + call,
                    }
                )
    return calls


def _record(row: dict[str, Any], text: str, drop_reason: str | None = None) -> dict[str, Any]:
    """A question as a row; its question_id lacks a number as yet."""
    return {
        **{name: row[name] for name in ("topic_id", "level", "subtopic", "question_type")},
        "question_id": f"{row['topic_id']}-{row['question_type']}",
        "language": "en",
        "question": text,
        "drop_reason": drop_reason,
    }
