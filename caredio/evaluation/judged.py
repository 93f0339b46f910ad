"""Judged samples: rows as lm-eval has them, with what a judge said of each reply in place of the task's own metrics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

from caredio.errors import InputError
from caredio.evaluation import pairwise, samples
from caredio.evaluation.ratings import RATING, UNPARSED, WIN
from caredio.evaluation.replies import Reply
from caredio.evaluation.samples import Measured
from caredio.evaluation.side_by_side import JUDGE

BY = "answered_by"  # of a judge's identity: under which name it answered
SOURCES = "judged"  # the key of a results file: the samples that were judged, and their hashes
_FILTER = "none"  # lm-eval's name of none


@dataclass(frozen=True)
class Task:
    """The replies of a system to a benchmark on a culture, which are judged and written together."""

    arm: Measured
    system: str  # as it is called beside the others
    task: str  # lm-eval's name of what is written
    benchmark: str  # and its column
    replies: Sequence[Reply]
    identity: Mapping[str, Any]  # of what is written, but for who answered
    sources: Mapping[str, str]  # the files it is made from, and their hashes
    rival: str = ""  # whom it is compared with
    rivals: Mapping[str, str] = field(default_factory=dict)  # question -> the rival's reply

    def same(self, reply: Reply) -> bool:
        """Whether the rival's reply is the same text, which needs no judge: it is a tie."""
        return bool(self.rival) and reply.texts[0] == self.rivals[reply.question]

    def lacks(self, reply: Reply) -> bool:
        """Whether there is nothing to judge: all that was replied, or the rival's reply, is empty."""
        return not any(reply.texts) or (bool(self.rival) and not (reply.texts[0] and self.rivals[reply.question]))


class Call(NamedTuple):
    """What of a task's reply a call is about."""

    task: int
    reply: int
    text: int  # of several that a system wrote
    swapped: bool = False  # whether the rival's is shown first


def row(task: Task, reply: Reply, answers: Sequence[tuple[Call, Mapping[str, Any]]]) -> dict[str, Any]:
    """A judged sample: the row of the reply, the judge's numbers its metrics, its words under `judged`.

    Args:
        answers: what was asked about the reply, and `value`, `text`, `unusable` and `drop_reason` of the answer.
    """
    own = {name: value for name, value in reply.row.items() if name not in reply.row.get("metrics", ())}
    said = [_answer(call, found) for call, found in answers]
    about: dict[str, Any] = {"rubric": reply.rubric, "category": reply.category, "scope": reply.scope, "answers": said}
    lengths = [len(text) for text in reply.texts]
    if task.rival:
        tie = task.same(reply) and not task.lacks(reply)
        numbers, flips = ({WIN: pairwise.TIE, UNPARSED: 0.0}, 0) if tie else _won(said)
        about |= {"flips": flips, "longer": lengths[0] - len(task.rivals[reply.question])}
    else:
        numbers = _rated(said, reply.texts.count(""))
        about |= {"characters": lengths}
    arguments = own.get("arguments")
    if isinstance(arguments, dict):  # as it is read, not as lm-eval has it before it is written
        own["arguments"] = [tuple(one.values()) for one in arguments.values()]
    return {**own, "filter": _FILTER, "metrics": list(numbers), **numbers, "judged": about}


def _answer(call: Call, found: Mapping[str, Any]) -> dict[str, Any]:
    """An answer of the judge; of a comparison `value` is how the system fares, whichever reply was shown first."""
    value = found["value"]
    return {
        "reply": call.text,
        "swapped": call.swapped,
        "value": 1 - value if call.swapped and value is not None else value,
        "text": found["unusable"] if found["text"] is None else found["text"],
        "why": found["drop_reason"],
    }


def _rated(said: Sequence[Mapping[str, Any]], empty: int) -> dict[str, float]:
    """The mean of a reply's ratings, where there is one, and the share of empty replies and of no ratings."""
    values = [one["value"] for one in said if one["value"] is not None]
    left = {UNPARSED: 1 - len(values) / (len(said) + empty)}
    return {RATING: fmean(values), **left} if values else left


def _won(said: Sequence[Mapping[str, Any]]) -> tuple[dict[str, float], int]:
    """How a reply fares in the mean of its draws, and how many verdicts changed with the order."""
    orders = [[one["value"] for one in said if one["swapped"] == swapped] for swapped in (False, True)]
    found = [pairwise.outcome(first, second) for first, second in zip(*orders, strict=True)]
    kept = [one for one in found if one is not None]
    left = {UNPARSED: 1 - len(kept) / len(found) if found else 1.0}
    won = {WIN: fmean(one.win for one in kept), **left} if kept else left
    return won, sum(one.flipped for one in kept)


def write(task: Task, rows: Sequence[dict[str, Any]], judged_by: str, out: Path | None) -> Path:
    """The folder that the judged samples of a task now lie in: below `out`, or beside the samples they are made of.

    Raises:
        InputError: the disk refuses.
    """
    metrics = {RATING: True, WIN: True, UNPARSED: False}
    named = {name: better for name, better in metrics.items() if any(name in row for row in rows)}
    means = {f"{name},{_FILTER}": fmean(row[name] for row in rows if name in row) for name in named}
    made = {
        "results": {task.task: {"alias": task.task, **means, "sample_len": len(rows)}},
        "versions": {task.task: 1.0},
        "configs": {task.task: {"task": task.task}},
        "higher_is_better": {task.task: named},
        "n-samples": {task.task: {"original": len(rows), "effective": len(rows)}},
        SOURCES: dict(task.sources),
        "samples": {task.task: rows},
    }
    identity = {**task.identity, JUDGE: {**task.identity[JUDGE], BY: judged_by}}
    beside = task.arm.path.parent
    folder = out / "samples" if out else beside.parent if task.arm.identity else beside
    return samples.write(folder, identity, made)


def before(task: Task, standing: Sequence[Measured]) -> list[dict[str, Any]] | None:
    """The rows of a task that the same judge has judged; None where there are none.

    Args:
        standing: judged samples.

    Raises:
        InputError: the column holds ratings of another judge.
    """
    found = None
    for one in standing:
        if one.benchmark != task.benchmark:
            continue
        identity = {**one.identity, JUDGE: {key: value for key, value in one.identity[JUDGE].items() if key != BY}}
        if identity[JUDGE] != task.identity[JUDGE]:
            raise InputError(
                f"{one.path}: holds what another judge said ({identity[JUDGE].get('model')}, or other prompts or"
                f" settings), which is not compared with {task.identity[JUDGE]['model']}; name this one with --column,"
                " for a benchmark of its own."
            )
        if identity == task.identity and samples.about(one).get(SOURCES) == task.sources:
            found = samples.rows(one)
    return found
