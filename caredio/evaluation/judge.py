"""A judge over samples files: every reply rated, or compared with a rival's, by a model behind an API.

A second step: replies are read from `samples_*.jsonl` (ours, or another's of lm-eval), and what the judge says of them
is written beside these files in the same shape, as samples of a benchmark of its own: `care_generated_judged` with the
metrics `rating` and `unparsed`, or `care_generated_against_raw` with `win`. The judge is not told whose a reply is, and
replies are asked about in an order by chance. Ratings of two judges never stand in one benchmark.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from datasets import Features, Value

from caredio import contents, features, packages
from caredio.errors import InputError
from caredio.evaluation import judged, replies, rubrics, samples, side_by_side
from caredio.evaluation.judged import BY, Call, Task
from caredio.evaluation.judging_settings import Settings
from caredio.evaluation.ratings import Arm
from caredio.evaluation.replies import Reply
from caredio.evaluation.samples import Measured
from caredio.evaluation.side_by_side import JUDGE
from caredio.llm.cache import Answer
from caredio.llm.model import Model
from caredio.llm.plan import Plan, Step, is_local, tokens
from caredio.llm.rows import ask
from caredio.llm.spec import Spec

STEP = "judged"
_ANSWER = 150  # tokens that a judgement usually has
_TEXTS = ("rubric", "culture", "question", "reference", "reply", "rival")
_ASKED = Features({**{name: Value("string") for name in _TEXTS}, "draw": Value("int32"), "place": Value("int32")})
_FOUND = Features({"value": Value("float64"), "text": Value("string"), BY: Value("string")})


Arms = Sequence[tuple[Measured, list[Reply]]]
Answers = Mapping[tuple[int, int], list[tuple[Call, dict[str, Any]]]]  # by task and reply


class Judge:
    """A judge of the samples in folders: what it is to be asked is known, and checked, before anything is asked."""

    def __init__(self, folders: Sequence[Path], spec: Spec, settings: Settings, out: Path | None = None) -> None:
        """Read the samples.

        Args:
            folders: runs, or what lm_eval had as --output_path.
            spec: the judge, and how it is sampled.
            settings: of the judge.
            out: folder whose `samples` takes what is written; None writes beside the samples.

        Raises:
            InputError: lm-eval is not installed, there is nothing to judge, a field or a rubric is missing, or another
                judge's ratings stand there in the same column.
        """
        packages.require("judging", "eval", "lm_eval")  # in whose shape samples are written
        self._spec, self._settings, self._out = spec, settings, out
        found = samples.find(*folders, *([out] if out and out.is_dir() else []))
        self._before = [one for one in found if JUDGE in one.identity]
        self.notes: list[str] = []
        arms = self._readable([one for one in found if JUDGE not in one.identity])
        named = set().union(*(replies.rubrics_of(arm, settings) for arm, _ in arms))
        self.prompt_names = list(rubrics.used(named, bool(settings.against), settings.prompts))
        systems = side_by_side.names([arm for arm, _ in arms])
        self.tasks = self._compared(arms, systems) if settings.against else self._alone(arms, systems)
        self._standing = {
            place: rows for place, task in enumerate(self.tasks) if (rows := judged.before(task, self._before))
        }
        self._calls, self._rows = self._asked()

    def plan(self, batch: bool = False) -> Plan:
        """The calls for what is not judged yet."""
        lengths = [tokens(rubrics.messages(row, self._settings.prompts)) for row in self._rows]
        written = len(lengths) * min(_ANSWER, self._spec.max_tokens)
        steps = [Step(STEP, len(lengths), sum(lengths), written)] if lengths else []
        return Plan(self._spec.model, tuple(steps), batch, is_local(self._spec))

    def measure(self, model: Callable[[], Model]) -> tuple[list[Arm], list[Path], str]:
        """What the judge says: the judged samples of each task, the folders that were written, and who judged.

        Args:
            model: gives the judge; not called where everything is judged.

        Raises:
            EndpointError: a call got no answer; those that arrived are stored.
            InputError: the judge answered as two models, or the disk refuses.
        """
        answers = self._answers(model()) if self._rows else {}
        judged_by = self._one_judge(answers)
        arms, written = [], []
        for place, task in enumerate(self.tasks):
            rows = self._standing.get(place)
            if rows is None:
                several = enumerate(task.replies)
                rows = [judged.row(task, reply, answers.get((place, number), [])) for number, reply in several]
                written.append(judged.write(task, rows, judged_by, self._out))
            arms.append(Arm(task.benchmark, task.system, task.arm.culture or "", rows, task.rival))
        return arms, written, judged_by

    def _readable(self, found: Sequence[Measured]) -> Arms:
        """The samples of the benchmark that hold replies; notes the others."""
        arms: list[tuple[Measured, list[Reply]]] = []
        left: dict[str, list[Path]] = {}
        for one in replies.wanted(found, self._settings.benchmark):
            read, why = replies.read(one, self._settings)
            if read:
                arms.append((one, read))
            else:
                left.setdefault(f"{one.benchmark}: {why}", []).append(one.path)
        if not arms:
            raise InputError(_nothing(left))
        self.notes += [f"left out: {why}." for why in left]
        return arms

    def _alone(self, arms: Arms, systems: Sequence[str]) -> list[Task]:
        """A task for each system's replies."""
        return [self._task(arm, system, read, "judged", {}) for (arm, read), system in zip(arms, systems, strict=True)]

    def _compared(self, arms: Arms, systems: Sequence[str]) -> list[Task]:
        """A task for each system but the rival, of the questions that both answered."""
        rival = self._settings.against or ""
        tasks = []
        for (arm, read), system in zip(arms, systems, strict=True):
            others = [
                (other, theirs)
                for (other, theirs), name in zip(arms, systems, strict=True)
                if (other.benchmark, other.culture) == (arm.benchmark, arm.culture) and name == rival != system
            ]
            for other, theirs in others:
                texts = {reply.question: reply.texts[0] for reply in theirs}
                shared = [reply for reply in read if reply.question in texts]
                about = {"against": {"system": rival, **_whose(other)}}
                name = re.sub(r"[^\w.-]+", "-", rival)
                made = self._task(arm, system, shared, f"against_{name}", about, rival, texts)
                sources = {**made.sources, other.path.name: contents.of_file(other.path)}
                tasks.append(replace(made, sources=sources))
        if not any(task.replies for task in tasks):
            there = ", ".join(sorted(set(systems)))
            raise InputError(f"no other system answered what {rival!r} did; the systems are {there}.")
        return [task for task in tasks if task.replies]

    def _task(
        self,
        arm: Measured,
        system: str,
        read: Sequence[Reply],
        how: str,
        about: Mapping[str, Any],
        rival: str = "",
        rivals: Mapping[str, str] = MappingProxyType({}),
    ) -> Task:
        suffix = "_".join(filter(None, (how, self._settings.column)))
        benchmark, culture, role_play = samples.parts(arm.task, arm.culture)
        name = f"{arm.task}_{suffix}"
        if name.startswith("caredio_"):
            name = "_".join(filter(None, ("caredio", benchmark, suffix, "role_play" if role_play else "", culture)))
        identity = {"system": arm.system, "culture": arm.culture, **_whose(arm), **about, JUDGE: self._judge(arm)}
        sources = {arm.path.name: contents.of_file(arm.path)}
        return Task(arm, system, name, f"{arm.benchmark}_{suffix}", read, identity, sources, rival, rivals)

    def _judge(self, arm: Measured) -> dict[str, Any]:
        """Who judges a benchmark, and how: what makes two judges one."""
        used = rubrics.used(
            replies.rubrics_of(arm, self._settings), bool(self._settings.against), self._settings.prompts
        )
        chosen = ("repeats", "question_field", "reference_field")
        return {
            **{name: value for name, value in asdict(self._spec).items() if name != "json_mode"},
            **{name: getattr(self._settings, name) for name in chosen},
            "prompts": {name: prompt.sha for name, prompt in used.items()},
        }

    def _asked(self) -> tuple[list[Call], list[dict[str, Any]]]:
        """The calls for what is not judged yet, in an order by chance, and the rows that are asked about."""
        calls = []
        for place, task in enumerate(self.tasks):
            for number, reply in enumerate(task.replies) if place not in self._standing else ():
                if task.same(reply) or task.lacks(reply):
                    continue
                orders = (False, True) if task.rival else (False,)
                texts = [one for one, said in enumerate(reply.texts[: 1 if task.rival else None]) if said]
                calls += [
                    (Call(place, number, text, swapped), draw)
                    for text in texts
                    for draw in range(self._settings.repeats)
                    for swapped in orders
                ]
        random.Random(self._settings.seed).shuffle(calls)
        rows = [{**self._shown(call), "draw": draw, "place": place} for place, (call, draw) in enumerate(calls)]
        return [call for call, _ in calls], rows

    def _shown(self, call: Call) -> dict[str, Any]:
        """What the judge is shown: whose a reply is, it is not told."""
        task = self.tasks[call.task]
        reply = task.replies[call.reply]
        both: list[str | None] = [reply.texts[call.text], task.rivals.get(reply.question)]
        first, second = reversed(both) if call.swapped else both
        about = {"rubric": reply.rubric, "culture": reply.culture, "question": reply.asked}
        return {**about, "reference": reply.reference, "reply": first, "rival": second}

    def _answers(self, model: Model) -> Answers:
        # a reply without an answer would be neither rated nor left out by the judge, so each call is to be answered
        found = ask(
            features.table(self._rows, _ASKED),
            model,
            prompt=lambda row: rubrics.messages(row, self._settings.prompts),
            parse=_parsed,
            columns=_FOUND,
            desc=STEP,
            max_failed=0.0,
            prompts=self._settings.prompts,
            again=False,
        )
        answers: dict[tuple[int, int], list[tuple[Call, dict[str, Any]]]] = {}
        by_place = sorted(found, key=lambda row: (self._calls[row["place"]], row["draw"]))
        for row in by_place:
            call = self._calls[row["place"]]
            answers.setdefault((call.task, call.reply), []).append((call, row))
        return answers

    def _one_judge(self, answers: Answers) -> str:
        """The name under which the judge answered.

        Raises:
            InputError: it answered as several models, now or when the other replies were judged.
        """
        by = Counter(row[BY] for found in answers.values() for _, row in found if row[BY])
        columns = {task.benchmark for task in self.tasks}
        before = {one.identity[JUDGE].get(BY) for one in self._before if one.benchmark in columns}
        several = sorted(set(by) | {name for name in before if name})
        if len(several) > 1:
            raise InputError(
                f"{self._spec.model} answered as {' and as '.join(several)}, and ratings of two versions are not"
                " compared; name one of them as the model, with a --column of its own where some are judged already."
            )
        return several[0] if several else self._spec.model


def _nothing(left: Mapping[str, Sequence[Path]]) -> str:
    """The sentence where nothing can be judged, and below it a line for each reason, with its files."""
    n = sum(map(len, left.values()))
    files = "the one samples file holds" if n == 1 else f"none of {n} samples files holds"
    what = f"{files} {'no ' if n == 1 else ''}replies with a rubric; evaluate a benchmark whose answers are written"
    lines = [
        f"  {why}: {paths[0]}{f', and {len(paths) - 1} more' if len(paths) > 1 else ''}" for why, paths in left.items()
    ]
    return "\n".join([f"nothing to judge: {what}, or name a --rubric.", *lines])


def _whose(arm: Measured) -> dict[str, Any]:
    """The identity of who replied; of another's folder the model's name and the hash of its samples."""
    return arm.identity or {"model": arm.model, "samples_sha256": contents.of_file(arm.path)}


def _parsed(text: str, row: dict[str, Any], answer: Answer) -> dict[str, Any]:
    value = rubrics.rating(text, row["rubric"]) if row["rival"] is None else rubrics.verdict(text)
    return {"value": value, "text": text, BY: answer.model}
