"""Table stage (scores are read among all answers of a culture): each candidate is made better in turns.

candidates -> candidates: a better response for its question, then a better question for its response. The ICML version
of seed 001 names an alternation that raises representativeness and distinctiveness; its details here are ours. A
candidate is better when z(r) + weight z(d) is higher, z by the mean and spread that the culture's candidates had at the
start, r among the culture's answers at the start: these reference statistics are fixed for the run, and no candidate's
score depends on another's progress.

The best of several draws scores higher by construction. So the report compares before and after by an embedder and
with others' answers that nothing was chosen by.
"""

from __future__ import annotations

import logging
import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from datasets import Dataset, concatenate_datasets

from caredio import features
from caredio.llm import plan
from caredio.llm.embeddings import Embeddings
from caredio.llm.model import Model
from caredio.llm.settings import Endpoint
from caredio.markdown import code
from caredio.selection import distinct, embed
from caredio.selection.conditioning import Conditioning
from caredio.selection.measure import ByEmbeddings, ByLikelihood, Measure, hashed, measuring, scales, unit, z
from caredio.selection.settings import Settings as Selection
from caredio.stages import Expected, Planned, Planning, Stage, in_all
from caredio.synthesis import grounding, redraw, review, voice
from caredio.synthesis.grounding import Grounds
from caredio.synthesis.redraw import Drawn, Writer
from caredio.synthesis.settings import Settings

if TYPE_CHECKING:
    from caredio.cultures import Culture

log = logging.getLogger("caredio")


def calls(planning: Planning) -> Planned:
    """The requests of all rounds, and of what they choose and report by; none without rounds."""
    settings, selection, candidates = planning.settings, planning.selection, planning.rows["contrasted"]
    if not settings.optimize_rounds:
        return Planned((), candidates)
    steps = redraw.steps(planning)
    if settings.objective == "likelihood":
        candidates = [replace(one, measured=True) for one in candidates]
        steps.append(measuring(candidates, *redraw.draws(settings), selection, planning.spec))
    for stage, embedder, groups in (
        ("vectors to choose by", selection.embedder, _chosen_by),
        ("held-out vectors", settings.held_out or "", _held_out_by),
    ):
        steps += embed.steps(stage, embedder, (group for one in candidates for group in groups(one, planning)))
    again = in_all(candidates).times(settings.optimize_rounds)
    return Planned([*steps, *review.steps(again, planning, "again")], candidates)


def _chosen_by(one: Expected, planning: Planning) -> Iterator[tuple[int, int]]:
    """The texts that are embedded together while a culture is optimised: how many, and their length; see `optimize`."""
    settings, compared = planning.settings, min(planning.selection.asked_for, one.compared)
    scored = settings.objective == "embeddings"
    if scored:
        yield one.rows * (1 + one.panel), voice.characters(planning.settings)
        yield one.rows * compared, voice.characters(planning.settings)
    for number in range(settings.optimize_rounds):
        questions = one.rows * settings.other_questions
        if scored:
            yield one.rows * settings.other_responses, voice.characters(planning.settings)
        if questions:
            yield questions + (0 if number else one.rows + len(planning.topics)), plan.QUESTION
        if scored:
            yield questions * (1 + compared), voice.characters(planning.settings)


def _held_out_by(one: Expected, planning: Planning) -> Iterator[tuple[int, int]]:
    """As `_chosen_by`, of the report: answers given once more, those before and those after."""
    compared = min(planning.selection.asked_for, one.compared)
    yield one.rows, voice.characters(planning.settings)
    yield one.rows * (1 + compared), voice.characters(planning.settings)
    yield one.rows * (1 + compared if planning.settings.other_questions else 1), voice.characters(planning.settings)


STAGE = Stage(
    "optimized",
    {"contrasted": " ".join(features.CANDIDATES)},
    features.CANDIDATES,
    modules=(__name__,),
    prompts=("review", "recognise", "improve", "rewrite", "roleplay", "contrast", "voice", "likelihood"),
    calls=calls,
    writes_to="candidates",
)


def describe(settings: Mapping[str, Any] | None, model: str) -> str:
    """A sentence for the card on the optimisation: settings as in run.json (None: none ran), and who was asked."""
    if not settings or not settings.get("optimize_rounds"):
        return "Optimisation: none."
    rounds, by = settings["optimize_rounds"], settings["objective"]
    of = embed.describe(settings).rstrip(".") if by == "embeddings" else f"of {code(model)}"
    return (
        f"Optimisation: {rounds} round{'s' if rounds > 1 else ''} of up to {settings['other_responses']} other"
        f" responses and {settings['other_questions']} other questions a row; the best by `{by}` ({of}) is kept,"
        f" with weight {settings['weight']:g} on distinctiveness."
    )


class Sample(NamedTuple):
    """A candidate and where it stands: r and d in the culture's standard deviations (nan: unknown), and their sum."""

    row: dict[str, Any]
    typical: float
    distinct: float
    objective: float


class Objective:
    """Scores of candidates, by the mean and spread of r and d that a culture's candidates have at the start."""

    def __init__(self, start: Sequence[dict[str, Any]], measure: Measure, weight: float) -> None:
        self.measure, self.weight = measure, weight
        found = measure(start)
        self.scale = scales([row["culture"] for row in start], found)
        self.start = self._samples(start, found)

    def samples(self, drawn: Drawn) -> list[tuple[int, Sample]]:
        """The samples that could replace those of slots, with scores."""
        slots, rows = [slot for slot, _ in drawn], [row for _, row in drawn]
        return list(zip(slots, self._samples(rows, self.measure(rows)), strict=True))

    def _samples(self, rows: Sequence[dict[str, Any]], found: np.ndarray) -> list[Sample]:
        samples = []
        for row, values in zip(rows, found, strict=True):
            typical, distinctive = z(values, self.scale[row["culture"]])
            samples.append(Sample(row, typical, distinctive, typical + self.weight * distinctive))
        return samples


def relevant(rows: Sequence[dict[str, Any]], asked: list[str], topics: list[str], encode: embed.Encoder) -> np.ndarray:
    """The lesser cosine of each question to the universal question of its row and to its topic: float32[n]."""
    count = len(asked)
    vectors = unit(encode, [*asked, *(row["universal_question"] for row in rows), *topics])
    questions, universal, topic = vectors[:count], vectors[count : 2 * count], vectors[2 * count :]
    return np.minimum((questions * universal).sum(axis=1), (questions * topic).sum(axis=1))


def optimize(
    objective: Objective,
    writer: Writer,
    settings: Settings,
    encode: embed.Encoder,
    guard: review.Guard | None = None,
) -> list[list[Sample]]:
    """The samples that each slot has accepted, the first at the start: their objective only rises.

    Args:
        guard: what it refuses does not count, however high its objective.
    """
    paths = [[sample] for sample in objective.start]
    going = [slot for slot, path in enumerate(paths) if math.isfinite(path[0].objective)]
    for number in range(1, settings.optimize_rounds + 1):
        tried = _round([paths[slot][-1] for slot in going], number, objective, writer, settings, encode)
        gained = {
            slot: steps
            for slot, steps in zip(going, tried, strict=True)
            if steps and steps[-1].objective > paths[slot][-1].objective + settings.least_gain
        }
        if guard:
            gained = _guarded(gained, paths, guard, writer)
        for slot, steps in gained.items():
            paths[slot] += [step._replace(row={**step.row, "round": number}) for step in steps]
        going = list(gained)
        if not going:
            break
    return paths


def _guarded(
    gained: dict[int, list[Sample]], paths: list[list[Sample]], guard: review.Guard, writer: Writer
) -> dict[int, list[Sample]]:
    """Of what a round gained, what the reviewer finds no less true and no less of an answer, with its scores."""
    if not gained:
        return {}
    found = guard([paths[slot][-1].row for slot in gained], [steps[-1].row for steps in gained.values()])
    kept = {}
    for (slot, steps), reviewed in zip(gained.items(), found, strict=True):
        if isinstance(reviewed, str):
            writer.dropped[reviewed] += 1
        else:
            kept[slot] = [*steps[:-1], steps[-1]._replace(row=reviewed)]
    return kept


def _round(
    start: list[Sample], number: int, objective: Objective, writer: Writer, settings: Settings, encode: embed.Encoder
) -> list[list[Sample]]:
    """The steps up of each sample: to a better response, then to a better question."""
    best = list(start)
    steps: list[list[Sample]] = [[] for _ in start]

    def keep_best(drawn: Drawn) -> None:
        of_slot: dict[int, list[Sample]] = defaultdict(list)
        for slot, sample in objective.samples(drawn):
            if math.isfinite(sample.objective):
                of_slot[slot].append(sample)
        for slot, samples in of_slot.items():
            top = max(samples, key=lambda sample: sample.objective)  # of equals the first
            if top.objective > best[slot].objective:
                best[slot] = top
                steps[slot].append(top)

    def shown() -> list[dict[str, Any]]:
        return [{**one.row, "typical": one.typical, "distinct": one.distinct} for one in best]

    draws = range((number - 1) * settings.other_responses, number * settings.other_responses)
    keep_best(writer.responses(shown(), draws))
    draws = range((number - 1) * settings.other_questions, number * settings.other_questions)
    asked = writer.questions(rows := shown(), draws)
    near = relevant(
        [rows[slot] for slot, _ in asked],
        [question for _, question in asked],
        [writer.topics[rows[slot]["topic_id"]] for slot, _ in asked],
        encode,
    )
    on_topic = [one for one, cosine in zip(asked, near, strict=True) if cosine >= settings.relevance]
    writer.dropped["off_topic"] += len(asked) - len(on_topic)
    keep_best(_comparable(writer.answered(rows, on_topic), rows, writer))
    return steps


def _comparable(drawn: Drawn, rows: list[dict[str, Any]], writer: Writer) -> Drawn:
    """Those whose new question as many cultures answered, of whom d compares: else it could rise by who is missing."""

    def n_compared(row: dict[str, Any]) -> int:
        return sum(not other["shown"] for other in row["others"])

    kept = [(slot, row) for slot, row in drawn if n_compared(row) >= n_compared(rows[slot])]
    writer.dropped["no_other_answer"] += len(drawn) - len(kept)
    return kept


def run(
    candidates: Dataset,
    settings: Settings,
    selection: Selection,
    model: Model,
    cultures: dict[str, Culture],
    topics: dict[str, str],
    endpoint: Endpoint | None = None,
    guard: review.Guard | None = None,
    grounds: Grounds = grounding.NONE,
) -> tuple[Dataset, dict[str, Any]]:
    """Make each candidate better, in at most `optimize_rounds` rounds.

    Args:
        candidates: `features.CANDIDATES`.
        settings: how candidates are written; others answer a new question as they answered the first.
        selection: the embedder, and what of the objective selection's scores share.
        cultures: all known, by slug.
        topics: topic_id -> the topic in a sentence.
        endpoint: how to reach an embedder that an endpoint serves.
        guard: reviews what a round gained, where candidates are reviewed.
        grounds: the evidence that prompts show, and whom personas are drawn from.

    Returns:
        `features.CANDIDATES`, with history and round, and the report (see `held_out`).

    Raises:
        EndpointError: the model cannot be asked; what arrived is stored.
        InputError: an embedder cannot be loaded.
    """
    candidates = STAGE.table(candidates, "contrasted")
    candidates = candidates.select_columns(list(features.CANDIDATES))
    encode = embed.encoder(selection.embedder, selection.embedding_batch_size, endpoint)
    unseen: embed.Encoder = hashed
    if settings.held_out:
        unseen = embed.encoder(settings.held_out, selection.embedding_batch_size, endpoint)
    writer = Writer(settings, selection, model, cultures, topics, grounds)
    places: dict[str, list[int]] = defaultdict(list)
    for place, culture in enumerate(candidates["culture"][:]):
        places[culture].append(place)
    made, changes, checked = [], {}, {}
    for culture in sorted(places):  # one after the other: as rows and vectors, all of a large set are too many
        table = candidates.select(places[culture])
        rows = list(table)
        measure: Measure
        if settings.objective == "likelihood":
            names = {slug: culture.name for slug, culture in cultures.items()}
            measure = ByLikelihood(table, model, selection, Conditioning(names, settings.prompts))
        else:
            measure = ByEmbeddings(_answers(rows), encode, selection.asked_for)
        paths = optimize(Objective(rows, measure, selection.weight), writer, settings, encode, guard)
        became = [{**path[-1].row, "history": _history(path)} for path in paths]
        made.append(features.table(became, features.CANDIDATES))
        changes[culture] = _changes(paths)
        found = held_out(rows, became, writer, unseen, selection)
        if found is not None:
            checked[culture] = found
            figures = (*changes[culture]["objective"], found["gain"], found["error"], found["n"])
            log.info("%s: objective %.2f -> %.2f; held out %+.2f (standard error %.2f, n = %d)", culture, *figures)
    order = np.argsort(np.concatenate([places[culture] for culture in sorted(places)]))
    dropped = dict(sorted((+writer.dropped).items()))
    report = {"optimized": changes, "held_out": checked, "draws_dropped": dropped}
    asked = {one.model: one.used() for one in (encode, unseen) if isinstance(one, Embeddings)}
    report |= ({"embedders": asked} if asked else {}) | ({"reviewer": guard.used()} if guard else {})
    return concatenate_datasets(made).select(order), report


def held_out(
    before: list[dict[str, Any]],
    after: list[dict[str, Any]],
    writer: Writer,
    encode: embed.Encoder,
    selection: Selection,
) -> dict[str, Any] | None:
    """What the optimisation brought a culture, by an embedder and by others' answers that it did not see.

    The compared cultures answer every question once more, and r is read among what the culture answers once more to
    the first questions.

    Returns:
        n (candidates that both r and d are known of, before and after; None where there are none), mean r and d
        [before, after], and the mean gain of z(r) + weight z(d), z by mean and spread before, with its standard error.
    """
    calls = [
        (row, other[0]["culture"])
        for row in (*before, *after)
        for other in distinct.compared_to(row, selection.asked_for)
    ]
    again = writer.again([*((row, row["culture"]) for row in before), *calls])
    own = ((row, (row["question"], row["culture"])) for row in before)
    answers = {row["question_id"]: again[key] for row, key in own if key in again}

    def fresh(row: dict[str, Any]) -> dict[str, Any]:
        others = (culture[0] for culture in distinct.compared_to(row, selection.asked_for))
        asked = [(other, (row["question"], other["culture"])) for other in others]
        return {**row, "others": [{**other, "response": again[key]} for other, key in asked if key in again]}

    culture = before[0]["culture"]
    measure = ByEmbeddings({culture: answers}, encode, selection.asked_for)
    was, became = (measure([fresh(row) for row in rows]) for rows in (before, after))
    known = np.isfinite(was).all(axis=1) & np.isfinite(became).all(axis=1)
    was, became = was[known], became[known]
    if not len(was):
        return None
    scale = scales([culture] * len(was), was)[culture]
    steps = [np.subtract(z(b, scale), z(a, scale)) for a, b in zip(was, became, strict=True)]
    gains = np.array(steps) @ [1.0, selection.weight]
    pairs = np.stack([was.mean(axis=0), became.mean(axis=0)]).T.round(4).tolist()
    return {
        "n": len(gains),
        "representativeness": pairs[0],
        "distinctiveness": pairs[1],
        "gain": round(float(gains.mean()), 4),
        "error": round(float(gains.std(ddof=1) / math.sqrt(len(gains))), 4) if len(gains) > 1 else 0.0,
    }


def _changes(paths: list[list[Sample]]) -> dict[str, Any]:
    """n (candidates with a score), how many changed, and their mean objective [before, after]."""
    own = [path for path in paths if math.isfinite(path[0].objective)]
    ends = [[path[end].objective for path in own] for end in (0, -1)]
    return {
        "n": len(own),
        "changed": sum(len(path) > 1 for path in own),
        "objective": [round(float(np.mean(values)), 4) if values else 0.0 for values in ends],
    }


def _answers(rows: list[dict[str, Any]]) -> dict[str, dict[str, str]]:
    """All answers of each culture: the slots' responses by question_id, their panels' by sample_id."""
    answers: dict[str, dict[str, str]] = defaultdict(dict)
    for row in rows:
        answers[row["culture"]][row["question_id"]] = row["response"]
        answers[row["culture"]] |= {one["sample_id"]: one["response"] for one in row["panel"]}
    return answers


def _history(path: list[Sample]) -> list[dict[str, Any]]:
    return [
        {
            **{name: step.row[name] for name in ("round", "question", "response", "reflection")},
            "objective": step.objective if math.isfinite(step.objective) else None,
        }
        for step in path
    ]
