"""What annotators said, counted and written: CARE's table, labels for KTO, agreement, what is rejected, weights.

    care.jsonl    a rating a line, in CARE's columns (seed 003), which `caredio prefer` and others read
    kto.jsonl     an answer a line, as TRL's KTO reads it: `label` is whether people rate it 6 or higher
    study.jsonl   a verdict a line, of two datasets' rows side by side
    weighted.parquet  the candidates of the run, which count once more for each person who rates them 6 or higher

An answer of the culture is rejected where more than half of those who judged it say that it is not true there.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from statistics import fmean
from typing import Any

from datasets import Dataset

from caredio import cultures, disk, features, intervals, runs
from caredio.app.annotations import Annotation, read
from caredio.app.rating_tasks import COMPARE, MEASURES, SAME, Item
from caredio.app.shelf import Shelf
from caredio.evaluation import agreement
from caredio.evaluation.agreement import Agreement
from caredio.markdown import shortened

GOOD = 6  # from here on nothing in an answer is wrong (seed 003, Figure 13)
FOLDER = "ratings"  # of a run
_SHOWN = 5  # rejected answers in the report
CARE, KTO, STUDY, WEIGHTED = "care.jsonl", "kto.jsonl", "study.jsonl", "weighted.parquet"


@dataclass(frozen=True)
class Answer:
    """An answer to a question, and what people said of it."""

    item: Item
    culture: str  # of those who judged it
    question_id: str
    ratings: Mapping[str, int]  # by annotator
    untrue: frozenset[str]  # annotators who say that it is not true there

    @property
    def judges(self) -> int:
        """How many people rated it, or said that it is not true."""
        return len(self.ratings.keys() | self.untrue)

    @property
    def rejected(self) -> bool:
        return 2 * len(self.untrue) > self.judges

    @property
    def supporters(self) -> int:
        """How many people find it right."""
        return sum(rating >= GOOD and name not in self.untrue for name, rating in self.ratings.items())


@dataclass(frozen=True)
class Ratings:
    """What annotators said, in the end; `str` of it is a report.

    `found`: each task of each annotator. `notes`: sentences on damaged files. `files`: what was written of it.
    """

    found: Sequence[Annotation]
    notes: Sequence[str] = ()
    files: Sequence[Path] = ()

    @cached_property
    def answers(self) -> list[Answer]:
        """Each answer that somebody judged, of tasks to rate and to compare."""
        ratings: dict[tuple[str, str], dict[str, int]] = defaultdict(dict)
        untrue: dict[tuple[str, str], set[str]] = defaultdict(set)
        about: dict[tuple[str, str], tuple[Item, str]] = {}
        for annotator, task, said in self.found:
            for item in task.items:
                key = (task.culture, item.sample_id)
                about.setdefault(key, (item, task.question_id))
                if item.sample_id in said.ratings:
                    ratings[key][annotator] = said.ratings[item.sample_id]
                if item.sample_id in said.untrue:
                    untrue[key].add(annotator)
        return [
            Answer(item, key[0], question_id, ratings[key], frozenset(untrue[key]))
            for key, (item, question_id) in sorted(about.items())
            if ratings[key] or untrue[key]
        ]

    @cached_property
    def own(self) -> dict[str, Answer]:
        """sample_id -> what people of the culture said of an answer of the culture."""
        return {one.item.sample_id: one for one in self.answers if one.item.culture == one.culture}

    @property
    def rejected(self) -> list[str]:
        """The sample_ids that a release leaves out."""
        return sorted(name for name, one in self.own.items() if one.rejected)

    @property
    def judged(self) -> frozenset[str]:
        """The sample_ids of own answers on which somebody said something, be it taken back since."""
        return frozenset(
            item.sample_id for _, task, _ in self.found for item in task.items if item.culture == task.culture
        )

    @property
    def annotators(self) -> list[str]:
        """Who said something, as hashes."""
        return list(dict.fromkeys(one.annotator for one in self.found))

    def care(self) -> Iterator[dict[str, Any]]:
        """CARE's columns and ours, a row a rating, which counts once where an answer stands in several tasks."""
        made: dict[tuple[str, str, str, str], dict[str, Any]] = {}
        adjectives = {slug: culture.adjective for slug, culture in cultures.load().items()}
        for annotator, task, said in self.found:
            places = _ranks(said.order, said.ratings)
            for item in task.items:
                if item.sample_id in said.ratings:
                    made[annotator, task.culture, item.sample_id, item.question] = {
                        "source": f"{item.source}, {item.culture}",
                        "question": item.question,
                        "response": item.response,
                        "culture_type": task.level,
                        "associated_culture": f"Native ({adjectives.get(task.culture, task.culture)})",
                        "rating": said.ratings[item.sample_id],
                        "culture": task.culture,
                        "question_id": task.question_id,
                        "place": places[item.sample_id],
                        "not_true_here": item.sample_id in said.untrue,
                        "comment": said.untrue.get(item.sample_id, ""),
                        "annotator": annotator,
                    }
        yield from made.values()

    def kto(self) -> Iterator[dict[str, Any]]:
        """TRL's columns for KTO and ours, a row an answer: labelled by the mean rating, or rejected."""
        for one in self.answers:
            mean = fmean(one.ratings.values()) if one.ratings else None
            if mean is None and not one.rejected:
                continue
            yield {
                "prompt": [{"role": "user", "content": one.item.question}],
                "completion": [{"role": "assistant", "content": one.item.response}],
                "label": not one.rejected and mean is not None and mean >= GOOD,
                "culture": one.culture,
                "question_id": one.question_id,
                "sample_id": features.sample_id(one.culture, one.item.question, one.item.response),
                "rating": mean,
                "annotators": one.judges,
            }

    def study(self) -> Iterator[dict[str, Any]]:
        """A row a verdict: which dataset's row has more of a measure."""
        for annotator, task, said in self.found:
            by_id = {item.sample_id: item.source for item in task.items}
            for measure in MEASURES:
                if task.kind == COMPARE and measure in said.verdicts:
                    yield {
                        "culture": task.culture,
                        "measure": measure,
                        "datasets": [item.source for item in task.items],
                        "sample_ids": [item.sample_id for item in task.items],
                        "better": by_id.get(said.verdicts[measure], SAME),
                        "annotator": annotator,
                    }

    def weighted(self, candidates: Dataset) -> Dataset:
        """Candidates whose weight counts each person who rates them 6 or higher; what is rejected weighs nothing."""
        weights = [
            weight if (one := self.own.get(name)) is None else 0.0 if one.rejected else weight + one.supporters
            for name, weight in zip(candidates["sample_id"][:], features.weights(candidates), strict=True)
        ]
        column = Dataset.from_dict({"weight": weights}, features=features.columns("weight"))
        return features.beside(candidates, column)

    def agreement(self) -> dict[str, list[Agreement]]:
        """Culture -> how far its people agree on ratings, and on verdicts of two datasets, where several judged."""
        found = {}
        for culture in sorted({one.task.culture for one in self.found}):
            who = list(dict.fromkeys(one.annotator for one in self.found if one.task.culture == culture))
            rated = [
                agreement.Item(one.question_id, 0.0, tuple(one.ratings.get(name) for name in who))
                for one in self.answers
                if one.culture == culture
            ]
            if any(sum(rating is not None for rating in item.people) > 1 for item in rated):
                found[culture] = agreement.among(rated)
        return found

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        agreed = self.agreement()
        rated = Counter(row["culture"] for row in self.care())
        for culture in sorted({one.task.culture for one in self.found}):
            own = [one for one in self.found if one.task.culture == culture]
            done = sum(one.said.done(one.task) for one in own)
            who = len({one.annotator for one in own})
            yield f"{culture}: {_many(who, 'annotator')}, {_many(done, 'task')} done, {_many(rated[culture], 'rating')}"
            for line in agreed.get(culture, ()):
                yield f"  {line}"
            yield from _compared([row for row in self.study() if row["culture"] == culture])
        if not self.found:
            yield "Nobody rated anything yet."
        yield from self._rejected()
        yield from self.notes
        yield from map(str, self.files)

    def _rejected(self) -> Iterator[str]:
        """A line on what the next release leaves out, and one for each of the first."""
        out = [self.own[name] for name in self.rejected]
        if out:
            yield f"Rejected, and left out of the next release: {_by(len(one.untrue) for one in out)}"
        for one in out[:_SHOWN]:
            yield f"  {one.item.sample_id} {shortened(one.item.question)} - {shortened(one.item.response)}"
        if len(out) > _SHOWN:
            yield f"  and {len(out) - _SHOWN:,} more"


def load(folder: Path) -> Ratings:
    """What annotators said in a folder; nothing where there is none."""
    return Ratings(*read(folder))


def reviewed(folder: Path, ranked: Sequence[str]) -> str:
    """A sentence for cards on how many ranked rows people judged, and rejected; empty where nobody judged one.

    Args:
        folder: of what annotators said.
        ranked: sample_ids, those that are rejected included.
    """
    own = load(folder).own
    judged = [own[name] for name in ranked if name in own]
    if not judged:
        return ""
    people = len({name for one in judged for name in one.ratings.keys() | one.untrue})
    out = [len(one.untrue) for one in judged if one.rejected]
    left = f"; {len(out):,} {'is' if len(out) == 1 else 'are'} left out, called not true there: {_by(out)}"
    return (
        f"{len(judged):,} of {len(ranked):,} ranked rows were rated by {_many(people, 'person', 'people')} of their"
        f" cultures: {_by(one.judges for one in judged)}{left if out else ''}."
    )


def written(ratings: Ratings, folder: Path, shelf: Shelf) -> Ratings:
    """What was said, with the files of it in a folder: those alone that hold something.

    Args:
        shelf: what was rated, whose candidates `weighted.parquet` holds.

    Raises:
        InputError: the disk refuses.
    """
    made = []
    with disk.writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    for name, rows in ((CARE, ratings.care()), (KTO, ratings.kto()), (STUDY, ratings.study())):
        if lines := [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]:
            with disk.replacing(folder / name) as content:
                content.write("".join(lines).encode())
            made.append(folder / name)
    files = sorted(shelf.folder.glob("candidates/*.parquet" if shelf.is_run else "*-pool/*.parquet"))
    if files and ratings.own:
        candidates = features.conform(features.current(runs.read(files)), features.CANDIDATES)
        with disk.replacing(folder / WEIGHTED) as content:
            ratings.weighted(candidates).to_parquet(content)
        made.append(folder / WEIGHTED)
    return replace(ratings, files=made)


def _ranks(order: Sequence[str], ratings: Mapping[str, int]) -> dict[str, float]:
    """Place of each answer, 1 the best: in the annotator's order, or else by the ratings, equal ones sharing theirs."""
    if order:
        return {name: float(place) for place, name in enumerate(order, start=1)}
    return {
        name: 1 + sum(other > rating for other in ratings.values()) + (list(ratings.values()).count(rating) - 1) / 2
        for name, rating in ratings.items()
    }


def _compared(rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    """A line for each measure and two datasets: how often the first is better, ties as halves."""
    groups: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    for row in rows:
        groups[row["measure"], row["datasets"][0], row["datasets"][1]].append(row["better"])
    for (measure, one, other), better in sorted(groups.items()):
        counts = Counter(better)
        share = (counts[one] + counts[SAME] / 2) / len(better)
        low, high = intervals.wilson(share, len(better))
        yield (
            f"  {measure}: {one} over {other} {100 * share:.0f} % [{100 * low:.0f}, {100 * high:.0f}] (n={len(better)},"
            f" {counts[one]} better, {counts[other]} worse, {counts[SAME]} equal)"
        )


def _by(people: Iterable[int]) -> str:
    """How many answers by how many people, in words: 10 by 1 person, 6 by 2 people."""
    counts = sorted(Counter(people).items())
    return ", ".join(f"{rows:,} by {_many(number, 'person', 'people')}" for number, rows in counts)


def _many(number: int, what: str, several: str = "") -> str:
    return f"{number:,} {what if number == 1 else several or f'{what}s'}"
