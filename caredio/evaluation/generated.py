"""Benchmarks of a model behind an API, which writes its answers: likelihoods of given answers are not to be had.

Of a survey's question it writes several, drawn at temperature 1, or its first token's probabilities are asked for.

An answer is read strictly, as the kind of document says: on multiple choice the letter, and around it nothing but
punctuation, white space and Markdown. Anything else is wrong, and counted as unparsed. Questions, options' order and
scoring are those of the lm-eval tasks.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from statistics import mean
from typing import Any

from datasets import Dataset, Features, Value

from caredio import features, progress, prompts
from caredio.cultures import Culture
from caredio.evaluation.benchmark import COT, GENERATED, LIKELIHOOD, LOGPROBS, final, named
from caredio.evaluation.results import Asked, LeaveOut
from caredio.evaluation.samples import write
from caredio.evaluation.settings import Settings
from caredio.evaluation.systems import Measurement, Subject
from caredio.llm.cache import Answer
from caredio.llm.model import Model
from caredio.llm.plan import Plan, Step, tokens
from caredio.llm.rows import ask, first_tokens
from caredio.llm.spec import Messages, Spec

SYSTEMS = ("raw", "role-play")
_NAMED = 3  # cultures in a line of progress
_REASONING = 256  # tokens that an answer after reasoning is planned with
_SAMPLED = ("temperature", "top_p", "max_tokens")  # what differs between kinds of questions
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
        leave_out: LeaveOut | None = None,
    ) -> None:
        """Read the questions; nothing is asked.

        Args:
            spec: the model, and how it is sampled.
            cultures: slugs; all 15 when None.
            settings: of the evaluation.
            known: the cultures that the slugs are of; the shipped ones when None.
            notes: what was left out before this.
            run, leave_out: as `Asked` takes them.
            spent: what the command spent so far, in words.

        Raises:
            InputError: a culture, a prompt or the file of questions is not what was wanted.
        """
        super().__init__(cultures, settings, known, [*notes], run, {LIKELIHOOD: GENERATED}, leave_out)
        self._spec, self._spent = spec, spent
        self._models: dict[Spec, Model] = {}
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
        """This evaluation, with the model that answers, as `connect` reaches it: once for each way of sampling.

        Raises: as `connect`.
        """
        self._models = {spec: connect(spec) for spec in dict.fromkeys(map(self._sampling, self.measurements))}
        return self

    @property
    def first_tokens(self) -> bool:
        """Whether the probabilities of first tokens are asked for, which a Batch API is not."""
        return any(variant == LOGPROBS for _, variant in self.asked)

    def spent(self) -> str:
        """What was spent so far, in words."""
        return self._spent()

    def questions(self, parts: Iterable[Sequence[Measurement]]) -> dict[str, int]:
        """Title -> calls: one for each turn of a document."""
        found: dict[str, int] = {}
        for part in parts:
            for one in part:
                found[self.titles[one]] = found.get(self.titles[one], 0) + len(self._calls(one))
        return found

    def _titles(self, parts: Sequence[Sequence[Measurement]]) -> dict[Measurement, str]:
        """What the measurements of a part, which are made at once, are called."""
        found: dict[Measurement, str] = {}
        for place, part in enumerate(parts, 1):
            slugs = [one.subject.culture.slug for one in part]
            about = ", ".join(slugs) if len(slugs) <= _NAMED else f"{len(slugs)} cultures"
            title = f"{part[0].subject.system}: {part[0].column}, {about} ({place} of {len(parts)})"
            found |= dict.fromkeys(part, title)
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
        found = self._answers(part)
        made = []
        for one in part:
            samples = [self._sample(one, place, document, found) for place, document in enumerate(self._documents(one))]
            if folder is not None:
                write(folder, self.identities[one], _results(one, samples))
            made += self.rows(one, samples)
        return made

    def record(self) -> dict[str, Any]:
        """As `Asked.record`, with the model, how each column is sampled, and the texts that it was asked with."""
        asked = {name: prompt.parts for name, prompt in self._prompts.items()}
        specs = {one.column: asdict(self._sampling(one)) for one in self.measurements}
        sampled = {column: {name: spec[name] for name in _SAMPLED} for column, spec in specs.items()}
        model = {name: value for name, value in asdict(self._spec).items() if name not in _SAMPLED}
        return {**super().record(), "model": model, "sampling": sampled, "asked": asked}

    def _sampling(self, one: Measurement) -> Spec:
        """The model, and how it is sampled: a survey's shares are those of temperature 1."""
        if one.variant == LOGPROBS:
            return replace(self._spec, temperature=1.0, top_p=None, max_tokens=1)
        return replace(self._spec, temperature=1.0) if one.benchmark.kind.sampled else self._spec

    def _answers(self, part: Sequence[Measurement]) -> Iterator[Any]:
        """What comes back of each call: a reply, or what cannot be used, of who refuses or is cut off; or tokens.

        A question without an answer would be neither right nor wrong, so each one is to be answered.
        """
        model, desc = self._models[self._sampling(part[0])], self.titles[part[0]]
        progress.tell(desc)
        calls = [row for one in part for row in self._calls(one)]
        if part[0].variant == LOGPROBS:
            return iter(first_tokens([_messages(row) for row in calls], model, desc))
        found = ask(
            features.table(calls, _ASKED),
            model,
            prompt=_messages,
            parse=_parsed,
            columns=_READ,
            desc=desc,
            max_failed=0.0,
            prompts=self.prompts,
            again=False,
        )
        return zip(found["reply"], found["unusable"], strict=True)

    def _documents(self, one: Measurement) -> list[dict[str, Any]]:
        """The documents with their turns, as lm-eval's task of them has them: as rows of a dataset."""
        rows = [{**document, "turns": self._turns(one, document)} for document in self.of(one)]
        return [dict(row) for row in Dataset.from_list(rows)]

    def _turns(self, one: Measurement, document: dict[str, Any]) -> list[str]:
        kind = one.benchmark.kind
        return kind.turns(document, self._prompts[kind.prompt], one.variant)

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

    def _sample(self, one: Measurement, place: int, document: dict[str, Any], answers: Iterator[Any]) -> dict[str, Any]:
        """A document with its answers and scores, as a row of lm-eval's samples, by whose formulas it is hashed."""
        from lm_eval.utils import handle_non_serializable, hash_string  # an extra

        answered, read, scores = _scored(one, document, [next(answers) for _ in document["turns"]])
        target = str(document.get("key", document.get("truth", "")))
        told = json.dumps(document, indent=2, default=handle_non_serializable, ensure_ascii=False)
        asked = [json.dumps(_messages(call), ensure_ascii=False) for call in self._of(one, document)]
        return {
            "doc_id": place,
            "doc": document,
            "target": target,
            "arguments": [[prompt, {}] for prompt in asked],
            "resps": answered,
            "filtered_resps": read,
            "filter": "none",
            "metrics": list(scores),
            "doc_hash": hash_string(told),
            "prompt_hash": hash_string(asked[0]),
            "target_hash": hash_string(target),
            **scores,
        }

    def _identified(self, one: Measurement) -> dict[str, Any]:
        """Whose rows they are: no weights are known, so the model's name and sampling stand in the settings."""
        settings = {
            **self._about(one.benchmark, one.variant, len(self.of(one)), one.subject.culture.slug),
            "system_message": one.subject.instruction,
            "model": {name: value for name, value in asdict(self._sampling(one)).items() if name != "json_mode"},
        }
        return {
            "system": one.subject.system,
            "culture": one.subject.culture.slug,
            "model": self._spec.model,
            **self._asked(one.benchmark, settings),
        }


def _scored(
    one: Measurement, document: dict[str, Any], answers: list[Any]
) -> tuple[list[list[Any]], list[Any], dict[str, float]]:
    """The answers as they came, as they are read, and their scores; no reply is an empty one."""
    kind = one.benchmark.kind
    if one.variant == LOGPROBS and kind.shares and kind.by_shares:
        shares = kind.shares(document, answers[0])
        likeliest = [[one["token"], one["logprob"]] for one in answers[0]]
        return [likeliest], [[share] for share in shares], kind.by_shares(document, shares)
    said = [reply or "" for reply, _ in answers]
    scores = kind.by_replies(document, [final(reply, one.variant) for reply in said])
    return [[reply or unusable or ""] for reply, unusable in answers], said, scores


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


def _answer(one: Measurement) -> int:
    """The tokens of an answer, as planned."""
    return {COT: _REASONING, LOGPROBS: 1}.get(one.variant, one.benchmark.kind.tokens)


def _messages(row: dict[str, Any]) -> Messages:
    system = [{"role": "system", "content": row["system"]}] if row["system"] else []
    return [*system, {"role": "user", "content": row["user"]}]


def _parsed(text: str, row: dict[str, Any], _: Answer) -> dict[str, Any]:
    return {"reply": text}
