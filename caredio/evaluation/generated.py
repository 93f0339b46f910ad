"""CulturalBench of a model behind an API, which writes its answers: likelihoods of given answers are not to be had.

Easy shows a question with its four options and asks for the letter; Hard asks of each statement whether it is true.
An answer is read strictly: the letter, or the word, and around it nothing but punctuation, white space and Markdown.
Anything else is wrong, and counted as unparsed. Questions, options' order and scoring are those of the lm-eval tasks.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import cache
from pathlib import Path
from statistics import mean
from typing import Any

from datasets import Dataset, Features, Value

from caredio import contents, features, prompts
from caredio.cultures import Culture
from caredio.evaluation import culturalbench, results
from caredio.evaluation.results import EASY_GENERATED, GENERATED, HARD_GENERATED, Asked
from caredio.evaluation.settings import Settings
from caredio.evaluation.systems import Subject
from caredio.llm.cache import Answer
from caredio.llm.model import Model
from caredio.llm.plan import Plan, Step, tokens
from caredio.llm.rows import ask
from caredio.llm.spec import Messages, Spec

PROMPT = "multiple_choice"
SYSTEMS = ("raw", "role-play")
_ALONE = re.compile(r"[\W_]*([^\W_]+)[\W_]*")
_ANSWER = 2  # tokens of an answer
_ASKED = Features({name: Value("string") for name in ("culture", "benchmark", "question", "system", "user", "key")})
_READ = Features({"read": Value("string")})


def read(text: str, among: Sequence[str]) -> str | None:
    """Which of the words `among` an answer is, in either case; None where it is anything else."""
    found = _ALONE.fullmatch(text)
    return next((one for one in among if found and found[1].lower() == one.lower()), None)


class Generated(Asked):
    """What a model behind an API is asked: as it is, and told to play the part."""

    measures = GENERATED
    prompt_names = ("systems", PROMPT)
    unit = "calls"

    def __init__(
        self,
        spec: Spec,
        cultures: Sequence[str] | None,
        settings: Settings,
        known: Mapping[str, Culture] | None = None,
        notes: Sequence[str] = (),
        spent: Callable[[], str] = str,
    ) -> None:
        """Read the questions; nothing is asked.

        Args:
            spec: the model, and how it is sampled.
            cultures: slugs; all 15 when None.
            settings: of the evaluation.
            known: the cultures that the slugs are of; the shipped ones when None.
            notes: what was left out before this.
            spent: what the command spent so far, in words.

        Raises:
            InputError: a culture, a prompt or the file of questions is not what was wanted.
        """
        super().__init__(cultures, settings, known, [*notes])
        self._spec, self._spent = spec, spent
        self._model: Model | None = None
        self._prompt = prompts.load(PROMPT, settings.prompts)
        role_play = prompts.load("systems", settings.prompts)
        self._subjects = [
            Subject(name, culture, spec.model, None, "", instruction)
            for name in SYSTEMS
            for culture in self._cultures
            for instruction in [role_play.part("system", adjective=culture.adjective) if name != "raw" else None]
        ]
        self.identities = {subject: self._identified(subject) for subject in self._subjects}

    def through(self, model: Model) -> Generated:
        """This evaluation, with the model that answers."""
        self._model = model
        return self

    def spent(self) -> str:
        """What was spent so far, in words."""
        return self._spent()

    def questions(self, parts: Any) -> dict[str, int]:
        """System -> calls: of a question one on Easy, and one for each statement of Hard."""
        return {part[0].system: sum(len(self._rows(subject)) for subject in part) for part in parts if part}

    def plan(self, past: Sequence[Mapping[str, Any]], batch: bool = False) -> Plan:
        """The calls for what `past` has no rows of."""
        steps = []
        for part in self.missing(past):
            lengths = [tokens(_messages(row)) for subject in part for row in self._rows(subject)]
            steps.append(Step(part[0].system, len(lengths), sum(lengths), _ANSWER * len(lengths)))
        return Plan(self._spec.model, tuple(steps), batch)

    def measure(self, part: Sequence[Subject]) -> list[dict[str, Any]]:
        """The rows of subjects of one system.

        Raises:
            EndpointError: a call got no answer; those that arrived are stored.
        """
        if not part:
            return []
        assert self._model is not None
        rows = [row for subject in part for row in self._rows(subject)]
        # a question without an answer would be neither right nor wrong, so each one is to be answered
        found = ask(
            features.table(rows, _ASKED),
            self._model,
            prompt=_messages,
            parse=_parsed,
            columns=_READ,
            desc=part[0].system,
            max_failed=0.0,
            prompts=self.prompts,
            again=False,
        )
        return [row for subject in part for row in self._scored(subject, found)]

    def record(self) -> dict[str, Any]:
        """As `Asked.record`, with the model and the texts that it was asked with."""
        return {**super().record(), "model": asdict(self._spec), "asked": self._prompt.parts}

    def _scored(self, subject: Subject, found: Dataset) -> list[dict[str, Any]]:
        mine = [row for row in found if row["culture"] == subject.culture.slug]
        numbers = {
            (benchmark, metric): value
            for benchmark in (EASY_GENERATED, HARD_GENERATED)
            for metric, value in score([row for row in mine if row["benchmark"] == benchmark]).items()
        }
        n = self._questions[subject.culture.slug]
        return [results._row(self.identities[subject], measure, numbers[measure], n) for measure in GENERATED]

    def _rows(self, subject: Subject) -> list[dict[str, Any]]:
        """What a subject is asked, one row a call."""
        rows = []
        for place, row in enumerate(culturalbench.about(subject.culture.name, self._file)[: self._chosen.limit]):
            easy, hard = culturalbench.choice(row), culturalbench.judgements(row)
            options = {
                letter.lower(): text for letter, text in zip(culturalbench.LETTERS, easy["options"], strict=True)
            }
            user = self._prompt.part("user", question=easy["question"], **options)
            asked = [(EASY_GENERATED, user, culturalbench.LETTERS[easy["key"]])]
            for statement, truth in zip(hard["statements"], hard["truth"], strict=True):
                user = self._prompt.part("judgement", question=hard["question"], statement=statement)
                asked.append((HARD_GENERATED, user, str(truth)))
            common = {"culture": subject.culture.slug, "question": str(place), "system": subject.instruction}
            rows += [{**common, "benchmark": benchmark, "user": text, "key": key} for benchmark, text, key in asked]
        return rows

    def _about(self, n: int) -> dict[str, Any]:
        return {"n": n, "tasks_sha256": _tasks(), "variant": "generated"}

    def _identified(self, subject: Subject) -> dict[str, Any]:
        """Whose rows a subject's are: no weights are known, so the model's name and sampling stand in the settings."""
        settings = {
            **self._about(self._questions[subject.culture.slug]),
            "system_message": subject.instruction,
            "prompt": self._prompt.parts,
            "model": {name: value for name, value in asdict(self._spec).items() if name != "json_mode"},
        }
        return {
            "system": subject.system,
            "culture": subject.culture.slug,
            "model": self._spec.model,
            **self._asked(settings),
        }


def score(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """acc: the share of questions all of whose answers are right; judgement_acc, unparsed: shares of the answers.

    Args:
        rows: with their `question`, `key`, and what was `read` of the answer.
    """
    right: dict[str, list[bool]] = {}
    for row in rows:
        right.setdefault(row["question"], []).append(row["read"] == row["key"])
    return {
        "acc": mean(float(all(answers)) for answers in right.values()),
        "judgement_acc": mean(float(row["read"] == row["key"]) for row in rows),
        "unparsed": mean(float(row["read"] is None) for row in rows),
    }


def _messages(row: dict[str, Any]) -> Messages:
    system = [{"role": "system", "content": row["system"]}] if row["system"] else []
    return [*system, {"role": "user", "content": row["user"]}]


def _parsed(text: str, row: dict[str, Any], _: Answer) -> dict[str, Any]:
    return {"read": read(text, culturalbench.LETTERS if row["benchmark"] == EASY_GENERATED else ("True", "False"))}


@cache
def _tasks() -> str:
    """The hash of what makes the questions and scores the answers."""
    return contents.sha256([Path(culturalbench.__file__), Path(__file__)])
