"""Benchmarks of a model behind an API, which writes its answers: likelihoods of given answers are not to be had.

An answer is read strictly, as the kind of document says: on multiple choice the letter, and around it nothing but
punctuation, white space and Markdown. Anything else is wrong, and counted as unparsed. Questions, options' order and
scoring are those of the lm-eval tasks.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path
from statistics import mean
from typing import Any

from datasets import Features, Value

from caredio import features, prompts
from caredio.cultures import Culture
from caredio.evaluation.benchmark import COT, GENERATED, LIKELIHOOD, final, named
from caredio.evaluation.results import Asked
from caredio.evaluation.samples import write
from caredio.evaluation.settings import Settings
from caredio.evaluation.systems import Measurement, Subject
from caredio.llm.cache import Answer
from caredio.llm.model import Model
from caredio.llm.plan import Plan, Step, tokens
from caredio.llm.rows import ask
from caredio.llm.spec import Messages, Spec

SYSTEMS = ("raw", "role-play")
_REASONING = 256  # tokens that an answer after reasoning is planned with
_ASKED = Features({name: Value("string") for name in ("system", "user")} | {"draw": Value("int64")})
_READ = Features({"reply": Value("string")})


class Generated(Asked):
    """What a model behind an API is asked: as it is, and told to play the part."""

    unit = "calls"

    def __init__(
        self,
        spec: Spec,
        cultures: Sequence[str] | None,
        settings: Settings,
        known: Mapping[str, Culture] | None = None,
        notes: Sequence[str] = (),
        run: Path | None = None,
        spent: Callable[[], str] = str,
    ) -> None:
        """Read the questions; nothing is asked.

        Args:
            spec: the model, and how it is sampled.
            cultures: slugs; all 15 when None.
            settings: of the evaluation.
            known: the cultures that the slugs are of; the shipped ones when None.
            notes: what was left out before this.
            run: as `Asked` takes it.
            spent: what the command spent so far, in words.

        Raises:
            InputError: a culture, a prompt or the file of questions is not what was wanted.
        """
        super().__init__(cultures, settings, known, [*notes], run, {LIKELIHOOD: GENERATED})
        self._spec, self._spent = spec, spent
        self._connect: Callable[[Spec], Model] | None = None
        role_play = prompts.load("systems", settings.prompts)
        subjects = [
            Subject(name, culture, spec.model, None, "", instruction)
            for name in SYSTEMS
            for culture in self._cultures
            for instruction in [role_play.part("system", adjective=culture.adjective) if name != "raw" else None]
        ]
        self.measurements = [
            Measurement(subject, benchmark, variant)
            for subject in subjects
            for benchmark, variant in self.asked
            if self.documents[named(benchmark.name, variant), subject.culture.slug]
        ]
        self.identities = {one: self._identified(one) for one in self.measurements}

    def through(self, connect: Callable[[Spec], Model]) -> Generated:
        """This evaluation, with what connects to the model that answers."""
        self._connect = cache(connect)
        self._connect(self._spec)  # who lacks a key learns so now
        return self

    def spent(self) -> str:
        """What was spent so far, in words."""
        return self._spent()

    def questions(self, parts: Iterable[Sequence[Measurement]]) -> dict[str, int]:
        """System -> calls: one for each turn of a document."""
        found: dict[str, int] = {}
        for part in parts:
            for one in part:
                found[one.subject.system] = found.get(one.subject.system, 0) + len(self._calls(one))
        return found

    def plan(self, past: Sequence[Mapping[str, Any]], batch: bool = False) -> Plan:
        """The calls for what `past` has no rows of."""
        steps: dict[str, Step] = {}
        for part in self.missing(past):
            system = part[0].subject.system
            lengths = [tokens(_messages(row)) for one in part for row in self._calls(one)]
            answer = sum(len(self._calls(one)) * _answer(one) for one in part)
            before = steps.get(system, Step(system, 0, 0, 0))
            counts = (before.calls + len(lengths), before.prompt_tokens + sum(lengths))
            steps[system] = Step(system, *counts, before.completion_tokens + answer)
        return Plan(self._spec.model, tuple(steps.values()), batch)

    def measure(self, part: Sequence[Measurement], folder: Path | None = None) -> list[dict[str, Any]]:
        """The rows of a part; what each question got is written under `folder`, where one is given.

        Raises:
            EndpointError: a call got no answer; those that arrived are stored.
        """
        if not part:
            return []
        assert self._connect is not None
        calls = [self._calls(one) for one in part]
        # a question without an answer would be neither right nor wrong, so each one is to be answered
        found = ask(
            features.table([row for rows in calls for row in rows], _ASKED),
            self._connect(self._sampling(part[0])),
            prompt=_messages,
            parse=_parsed,
            columns=_READ,
            desc=part[0].subject.system,
            max_failed=0.0,
            prompts=self.prompts,
            again=False,
        )
        replies = zip(found["reply"], found["unusable"], strict=True)  # the second of who refuses or is cut off
        made = []
        for one in part:
            samples = [self._sample(one, place, document, replies) for place, document in enumerate(self.of(one))]
            if folder is not None:
                write(folder, self.identities[one], _results(one, samples))
            made += self.rows(one, samples)
        return made

    def record(self) -> dict[str, Any]:
        """As `Asked.record`, with the model and the texts that it was asked with."""
        asked = {name: prompt.parts for name, prompt in self._prompts.items()}
        return {**super().record(), "model": asdict(self._spec), "asked": asked}

    def _turns(self, one: Measurement, document: dict[str, Any]) -> list[str]:
        kind = one.benchmark.kind
        return kind.turns(document, self._prompts[kind.prompt], one.variant)

    def _sampling(self, one: Measurement) -> Spec:
        """The model as it is asked: where several answers are drawn, they must be able to differ."""
        return replace(self._spec, temperature=1.0) if one.benchmark.kind.sampled else self._spec

    def _calls(self, one: Measurement) -> list[dict[str, Any]]:
        """What is asked, one row a call."""
        return [call for document in self.of(one) for call in self._of(one, document)]

    def _of(self, one: Measurement, document: dict[str, Any]) -> list[dict[str, Any]]:
        """What is asked of a document; of equal turns each is a draw of its own."""
        turns = self._turns(one, document)
        return [
            {"system": one.subject.instruction, "user": turn, "draw": turns[:place].count(turn)}
            for place, turn in enumerate(turns)
        ]

    def _sample(
        self, one: Measurement, place: int, document: dict[str, Any], replies: Iterator[tuple[str | None, str | None]]
    ) -> dict[str, Any]:
        """A document with its replies and scores, as a row of lm-eval's samples; no reply is an empty one."""
        turns = self._turns(one, document)
        written = [next(replies) for _ in turns]
        said = [reply or "" for reply, _ in written]
        scores = one.benchmark.kind.by_replies(document, [final(reply, one.variant) for reply in said])
        target = str(document.get("key", document.get("truth", "")))
        return {
            "doc_id": place,
            "doc": {**document, "turns": turns},
            "target": target,
            "arguments": [[json.dumps(_messages(call), ensure_ascii=False), {}] for call in self._of(one, document)],
            "resps": [[reply or unusable or ""] for reply, unusable in written],
            "filtered_resps": said,
            "filter": "none",
            "metrics": list(scores),
            "doc_hash": _sha256(document),
            "prompt_hash": _sha256(turns),
            "target_hash": _sha256(target),
            **scores,
        }

    def _identified(self, one: Measurement) -> dict[str, Any]:
        """Whose rows they are: no weights are known, so the model's name and sampling stand in the settings."""
        settings = {
            **self._about(one.benchmark, one.variant, len(self.of(one))),
            "system_message": one.subject.instruction,
            "model": {name: value for name, value in asdict(self._sampling(one)).items() if name != "json_mode"},
        }
        return {
            "system": one.subject.system,
            "culture": one.subject.culture.slug,
            "model": self._spec.model,
            **self._asked(one.benchmark, settings),
        }


def _results(one: Measurement, samples: list[dict[str, Any]]) -> dict[str, Any]:
    """What lm-eval would tell of the task."""
    metrics = one.benchmark.metrics(one.variant)
    means = {f"{metric.name},none": mean(sample[metric.name] for sample in samples) for metric in metrics}
    return {
        "results": {one.task: {"name": one.task, "alias": one.task, "sample_len": len(samples), **means}},
        "versions": {one.task: one.benchmark.version},
        "n-shot": {one.task: 0},
        "higher_is_better": {one.task: {metric.name: metric.higher_is_better for metric in metrics}},
        "n-samples": {one.task: {"original": len(samples), "effective": len(samples)}},
        "samples": {one.task: samples},
    }


def _sha256(what: Any) -> str:
    return hashlib.sha256(json.dumps(what, ensure_ascii=False, sort_keys=True).encode()).hexdigest()


def _answer(one: Measurement) -> int:
    """The tokens of an answer, as planned."""
    return _REASONING if one.variant == COT else one.benchmark.kind.tokens


def _messages(row: dict[str, Any]) -> Messages:
    system = [{"role": "system", "content": row["system"]}] if row["system"] else []
    return [*system, {"role": "user", "content": row["user"]}]


def _parsed(text: str, row: dict[str, Any], _: Answer) -> dict[str, Any]:
    return {"reply": text}
