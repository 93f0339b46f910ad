"""Whether a model does better on held-out questions of topics that it was trained on than on those of other topics.

The two are different questions, which may be harder or easier for everybody: so raw stands beside what was trained, on
the same two groups.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

from datasets.exceptions import DatasetsError
from scipy import stats

from caredio import checkpoints, packages
from caredio.evaluation import leakage, samples
from caredio.evaluation.benchmark import VARIANTS, named
from caredio.evaluation.benchmarks import held_out
from caredio.evaluation.samples import Measured
from caredio.intervals import ALIKE
from caredio.runs import Run

TOPIC = "topic_id"
_HEADINGS = ("culture", "system", "measure", "trained on", "n", "others", "n", "difference")


NOT_ASKED = (
    "Topics trained on against others: left out, as no question of these benchmarks names a topic of a run; held_out"
    " has some."
)


class Groups(NamedTuple):
    """A system's scores on questions of topics that were trained on, and of other topics."""

    culture: str
    system: str
    metric: str
    trained: list[float]
    others: list[float]

    @property
    def interval(self) -> tuple[float, float] | None:
        """Welch's 95 % interval of the difference of the means; None where a group has no spread to tell it by."""
        if any(len(own) < 2 or max(own) - min(own) < ALIKE for own in (self.trained, self.others)):
            return None
        found = stats.ttest_ind(self.trained, self.others, equal_var=False).confidence_interval(0.95)
        return float(found.low), float(found.high)


def learned(record: Path, topics: Mapping[str, str]) -> set[str]:
    """The topics of the rows that the record beside a model names.

    Args:
        record: training.json.
        topics: question id -> topic, for rows that name a question alone, as pairs do.

    Raises: what keeps the rows from being read.
    """
    _, rows = leakage.learned(json.loads(record.read_text(encoding="utf-8")))
    found = (row.get(TOPIC) or topics.get(str(row.get("question_id"))) for row in rows)
    return {str(topic) for topic in found if topic}


def of_questions(run: Run) -> dict[str, str]:
    """Question id -> topic, of a run's ranked split."""
    table = run.table("ranked") if "ranked" in run.stages else None
    if table is None or TOPIC not in table.column_names:
        return {}
    return {name: topic for name, topic in zip(table["question_id"][:], table[TOPIC][:], strict=True) if topic}


def groups(
    scores: Mapping[str, float], topic_of: Mapping[str, str], known: set[str]
) -> tuple[list[float], list[float]]:
    """The scores by question of topics that are known, and of others; those without a topic are in neither."""
    trained = [score for name, score in scores.items() if topic_of.get(name) in known]
    return trained, [score for name, score in scores.items() if name in topic_of and topic_of[name] not in known]


def compare(
    folder: Path, identities: Iterable[Mapping[str, Any]], topics: Mapping[str, str]
) -> tuple[list[Groups], list[str]]:
    """The groups of each system's scores in samples below a folder, and sentences on what cannot be compared.

    Args:
        identities: of the measurements that count.
        topics: question id -> topic, as `learned` takes it.

    Raises:
        InputError: as `samples.find`.
    """
    wanted, names = [dict(one) for one in identities], {named(held_out.NAME, variant) for variant in VARIANTS}
    measured = [one for one in samples.find(folder) if one.benchmark in names and one.identity in wanted]
    found: list[Groups] = []
    notes: list[str] = []
    for culture in dict.fromkeys(str(one.culture) for one in measured):
        own = [one for one in measured if one.culture == culture]
        trained = next((one for one in own if one.identity.get("trained_on")), None)
        if trained is None:
            notes.append(f"{culture}: no trained model with a {checkpoints.RECORD} was asked, so no topic is known.")
            continue
        record = Path(trained.model) / checkpoints.RECORD
        try:
            known = learned(record, topics)
        except (OSError, ValueError, TypeError, DatasetsError, *packages.unreachable()) as error:
            notes.append(f"{culture}: what {record} names cannot be read ({checkpoints.one_line(error)}).")
            continue
        some = [group for one in own for group in _of(one, culture, known)]
        found += [one for one in some if one.trained and one.others]
        notes += list(dict.fromkeys(filter(None, (_one_group(one) for one in some))))
    return found, notes


def _of(one: Measured, culture: str, known: set[str]) -> list[Groups]:
    rows = samples.rows(one)
    topic_of = {samples.question(row): str(row["doc"][TOPIC]) for row in rows if row["doc"].get(TOPIC)}
    metrics = dict.fromkeys(name for row in rows for name in row["metrics"])
    return [
        Groups(culture, one.system, name, *groups(samples.by_question(rows, name, one.path), topic_of, known))
        for name in metrics
    ]


def _one_group(found: Groups) -> str:
    """A sentence where there is nothing to compare."""
    if found.trained and found.others:
        return ""
    if not (found.trained or found.others):
        return f"{found.culture}, {found.metric}: no question names a topic, so none can be compared."
    which = "was trained on" if found.trained else "was not trained on"
    n = len(found.trained or found.others)
    return f"{found.culture}, {found.metric}: one group alone: the topic of each of the {n} questions {which}."


def report(found: Sequence[Groups], notes: Sequence[str]) -> str:
    """The groups as text, a difference with its interval, and the notes."""
    lines = ["Held-out questions of topics that the trained model's rows have, against those of other topics:"]
    if found:
        rows = [_HEADINGS, *map(_cells, found)]
        widths = [max(len(row[place]) for row in rows) for place in range(len(_HEADINGS))]
        lines += ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
        lines.append(
            "difference: of the means, with Welch's 95 % interval; the groups are different questions, so what raw"
            " shows too is no effect of training."
        )
    return "\n".join([*lines, *notes])


def _cells(one: Groups) -> tuple[str, ...]:
    means = fmean(one.trained), fmean(one.others)
    ends = one.interval
    interval = f" [{ends[0]:+.3f}, {ends[1]:+.3f}]" if ends else ", too few or too alike for an interval"
    numbers = f"{means[0]:.3f}", str(len(one.trained)), f"{means[1]:.3f}", str(len(one.others))
    return one.culture, one.system, one.metric, *numbers, f"{means[0] - means[1]:+.3f}{interval}"
