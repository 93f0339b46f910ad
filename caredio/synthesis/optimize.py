"""Each candidate made better in turns: its response for its question, then its question for its response.

candidates -> candidates. The ICML version of seed 001 names an alternation that raises representativeness and
distinctiveness; its details here are ours. A candidate is better when z(r) + weight z(d) is higher, z by the mean and
spread that the culture's candidates had at the start, r among what the culture said at the start: the hill does not
move while it is climbed, and no candidate's score depends on another's progress.

The best of several draws scores higher by construction. So the report compares before and after by an embedder and
with others' answers that nothing was chosen by.
"""

from __future__ import annotations

import logging
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from datasets import Dataset, concatenate_datasets

from caredio import features
from caredio.errors import InputError
from caredio.llm.embeddings import Embeddings
from caredio.llm.model import Model
from caredio.llm.settings import Endpoint
from caredio.markdown import code
from caredio.selection import distinct, embed, represent
from caredio.selection.measure import ByEmbeddings, ByLikelihood, Measure, hashed, scales, unit, z
from caredio.synthesis.redraw import Drawn, Writer

if TYPE_CHECKING:
    from caredio.cultures import Culture
    from caredio.synthesis import Config as Synthesis

log = logging.getLogger("caredio")

SCORES = ("embeddings", "likelihood")


@dataclass(frozen=True)
class Config:
    optimize_rounds: int = field(
        default=0, metadata={"help": "rounds that make each candidate better; 0 leaves it as it was first written"}
    )
    other_responses: int = field(default=4, metadata={"help": "of a round: other answers to the question"})
    other_questions: int = field(default=2, metadata={"help": "of a round: other questions, answered by all cultures"})
    objective: str = field(
        default="embeddings",
        metadata={
            "help": "what better is measured by; likelihood needs a model that tells log-probabilities",
            "choices": SCORES,
        },
    )
    weight: float = field(default=1.0, metadata={"help": "weight of distinctiveness in the sum"})
    least_gain: float = field(
        default=0.05, metadata={"help": "a round must raise the objective by more, in standard deviations"}
    )
    relevance: float = field(
        default=0.2,
        metadata={"help": "least cosine of another question to the first, and to its topic; by the --embedder"},
    )
    embed: embed.Config = embed.Config()
    held_out: str = field(
        default="",
        metadata={
            "help": "embedder of the report on the optimisation; default: hashed character n-grams",
            "counts": lambda name: embed.identity(name),
        },
    )
    references: int = field(default=8, metadata={"help": "information: other answers of the culture it is read on"})
    seed: int = field(default=0, metadata={"help": "seed of every draw"})

    def __post_init__(self) -> None:
        if self.optimize_rounds < 0:
            raise InputError("optimize_rounds must be 0 (no optimisation) or more.")
        if min(self.other_responses, self.other_questions) < 0 or not self.other_responses + self.other_questions:
            raise InputError("other_responses and other_questions must be 0 or more, and one of them at least 1.")
        if self.objective not in SCORES:
            raise InputError(f"objective is {self.objective!r}; use {' or '.join(SCORES)}.")
        if not 0 <= self.weight < math.inf or not 0 <= self.least_gain < math.inf:
            raise InputError("weight and least_gain must be numbers from 0 on.")
        if not -1 <= self.relevance <= 1:
            raise InputError(f"relevance is {self.relevance}; it is a cosine, from -1 to 1.")
        if self.references < 1:
            raise InputError("references must be at least 1.")
        if self.optimize_rounds and self.embed.embedder == embed.GIVEN:
            raise InputError("embedder is given, but new texts have no vectors yet; name one that makes them.")
        if self.held_out == self.embed.embedder:
            raise InputError("held_out is the embedder of the optimisation; a report needs another.")


def describe(settings: Mapping[str, Any] | None, model: str) -> str:
    """A sentence for the card on the optimisation: `Config` as in run.json (None: none ran), and who was asked."""
    if not settings or not settings["optimize_rounds"]:
        return "Optimisation: none."
    rounds, by = settings["optimize_rounds"], settings["objective"]
    of = embed.describe(settings["embed"]).rstrip(".") if by == "embeddings" else f"of {code(model)}"
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


class Hill:
    """Scores of candidates, by the mean and spread of r and d that a culture's candidates have at the start."""

    def __init__(self, start: Sequence[dict[str, Any]], measure: Measure, weight: float) -> None:
        self.measure, self.weight = measure, weight
        found = measure(start)
        self.scale = scales([row["culture"] for row in start], found)
        self.start = self._samples(start, found)

    def samples(self, drawn: Drawn) -> list[tuple[int, Sample]]:
        """Who would take which slot, with scores."""
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


def climb(hill: Hill, writer: Writer, config: Config, encode: embed.Encoder) -> list[list[Sample]]:
    """The samples that each slot has accepted, the first at the start: their objective only rises."""
    paths = [[sample] for sample in hill.start]
    going = [slot for slot, path in enumerate(paths) if math.isfinite(path[0].objective)]
    for number in range(1, config.optimize_rounds + 1):
        tried = _round([paths[slot][-1] for slot in going], number, hill, writer, config, encode)
        gained = {
            slot: steps
            for slot, steps in zip(going, tried, strict=True)
            if steps and steps[-1].objective > paths[slot][-1].objective + config.least_gain
        }
        for slot, steps in gained.items():
            paths[slot] += [step._replace(row={**step.row, "round": number}) for step in steps]
        going = list(gained)
        if not going:
            break
    return paths


def _round(
    start: list[Sample], number: int, hill: Hill, writer: Writer, config: Config, encode: embed.Encoder
) -> list[list[Sample]]:
    """The steps up of each sample: to a better response, then to a better question."""
    best = list(start)
    steps: list[list[Sample]] = [[] for _ in start]

    def rise(drawn: Drawn) -> None:
        of_slot: dict[int, list[Sample]] = defaultdict(list)
        for slot, sample in hill.samples(drawn):
            if math.isfinite(sample.objective):
                of_slot[slot].append(sample)
        for slot, samples in of_slot.items():
            top = max(samples, key=lambda sample: sample.objective)  # of equals the first
            if top.objective > best[slot].objective:
                best[slot] = top
                steps[slot].append(top)

    def shown() -> list[dict[str, Any]]:
        return [{**one.row, "typical": one.typical, "distinct": one.distinct} for one in best]

    draws = range((number - 1) * config.other_responses, number * config.other_responses)
    rise(writer.responses(shown(), draws))
    draws = range((number - 1) * config.other_questions, number * config.other_questions)
    asked = writer.questions(rows := shown(), draws)
    near = relevant(
        [rows[slot] for slot, _ in asked],
        [question for _, question in asked],
        [writer.topics[rows[slot]["topic_id"]] for slot, _ in asked],
        encode,
    )
    on_topic = [one for one, cosine in zip(asked, near, strict=True) if cosine >= config.relevance]
    writer.dropped["off_topic"] += len(asked) - len(on_topic)
    rise(_comparable(writer.answered(rows, on_topic), rows, writer))
    return steps


def _comparable(drawn: Drawn, rows: list[dict[str, Any]], writer: Writer) -> Drawn:
    """Those whose new question as many cultures answered, of whom d compares: else it could rise by who is missing."""

    def heard(row: dict[str, Any]) -> int:
        return sum(not other["shown"] for other in row["others"])

    kept = [(slot, row) for slot, row in drawn if heard(row) >= heard(rows[slot])]
    writer.dropped["no_other_answer"] += len(drawn) - len(kept)
    return kept


def run(
    candidates: Dataset,
    settings: Synthesis,
    model: Model,
    cultures: dict[str, Culture],
    topics: dict[str, str],
    endpoint: Endpoint | None = None,
) -> tuple[Dataset, dict[str, Any]]:
    """Make each candidate better, in at most `optimize_rounds` rounds.

    Args:
        candidates: `features.CANDIDATES`.
        settings: how candidates are written; others answer a new question as they answered the first.
        cultures: all known, by slug.
        topics: topic_id -> the topic in a sentence.
        endpoint: how to reach an embedder that an endpoint serves.

    Returns:
        `features.CANDIDATES`, with history and round, and the report (see `held_out`).

    Raises:
        EndpointError: the model cannot be asked; what arrived is stored.
        InputError: an embedder cannot be loaded.
    """
    candidates = features.require(candidates, features.CANDIDATES, "candidates")
    candidates = candidates.select_columns(list(features.CANDIDATES))
    config, compared = settings.optimize, distinct.Config(settings.contrast.compared)
    encode = embed.encoder(config.embed, endpoint)
    other = embed.Config(config.held_out or embed.MINILM, config.embed.batch_size)
    unseen = embed.encoder(other, endpoint) if config.held_out else hashed
    writer = Writer(settings, model, cultures, topics)
    places: dict[str, list[int]] = defaultdict(list)
    for place, culture in enumerate(candidates["culture"]):
        places[culture].append(place)
    made, climbed, checked = [], {}, {}
    for culture in sorted(places):  # one after the other: as rows and vectors, all of a large set are too many
        table = candidates.select(places[culture])
        rows = list(table)
        measure: Measure
        if config.objective == "likelihood":
            drawn = represent.Config(references=config.references, seed=config.seed)
            names = {slug: culture.name for slug, culture in cultures.items()}
            measure = ByLikelihood(table, model, drawn, compared, names)
        else:
            measure = ByEmbeddings(_said(rows), encode, compared)
        paths = climb(Hill(rows, measure, config.weight), writer, config, encode)
        became = [{**path[-1].row, "history": _history(path)} for path in paths]
        made.append(features.table(became, features.CANDIDATES))
        climbed[culture] = _climbed(paths)
        found = held_out(rows, became, writer, unseen, compared, config.weight)
        if found is not None:
            checked[culture] = found
            told = (*climbed[culture]["objective"], found["gain"], found["error"], found["n"])
            log.info("%s: objective %.2f -> %.2f; held out %+.2f (standard error %.2f, n = %d)", culture, *told)
    order = np.argsort(np.concatenate([places[culture] for culture in sorted(places)]))
    dropped = dict(sorted((+writer.dropped).items()))
    report = {"optimized": climbed, "held_out": checked, "draws_dropped": dropped}
    asked = {one.model: one.used() for one in (encode, unseen) if isinstance(one, Embeddings)}
    return concatenate_datasets(made).select(order), report | ({"embedders": asked} if asked else {})


def held_out(
    before: list[dict[str, Any]],
    after: list[dict[str, Any]],
    writer: Writer,
    encode: embed.Encoder,
    compared: distinct.Config,
    weight: float,
) -> dict[str, Any] | None:
    """What the optimisation brought a culture, by an embedder and by others' answers that it did not see.

    The compared cultures answer every question once more, and r is read among what the culture answers once more to
    the first questions.

    Returns:
        n (candidates that both r and d are known of, before and after; None where there are none), mean r and d
        [before, after], and the mean gain of z(r) + weight z(d), z by mean and spread before, with its standard error.
    """
    calls = [(row, other[0]["culture"]) for row in (*before, *after) for other in distinct.compared_to(row, compared)]
    again = writer.again([*((row, row["culture"]) for row in before), *calls])
    own = ((row, (row["question"], row["culture"])) for row in before)
    said = {row["question_id"]: again[key] for row, key in own if key in again}

    def fresh(row: dict[str, Any]) -> dict[str, Any]:
        others = (culture[0] for culture in distinct.compared_to(row, compared))
        asked = [(other, (row["question"], other["culture"])) for other in others]
        return {**row, "others": [{**other, "response": again[key]} for other, key in asked if key in again]}

    culture = before[0]["culture"]
    measure = ByEmbeddings({culture: said}, encode, compared)
    was, became = (measure([fresh(row) for row in rows]) for rows in (before, after))
    known = np.isfinite(was).all(axis=1) & np.isfinite(became).all(axis=1)
    was, became = was[known], became[known]
    if not len(was):
        return None
    scale = scales([culture] * len(was), was)[culture]
    steps = [np.subtract(z(b, scale), z(a, scale)) for a, b in zip(was, became, strict=True)]
    gains = np.array(steps) @ [1.0, weight]
    pairs = np.stack([was.mean(axis=0), became.mean(axis=0)]).T.round(4).tolist()
    return {
        "n": len(gains),
        "representativeness": pairs[0],
        "distinctiveness": pairs[1],
        "gain": round(float(gains.mean()), 4),
        "error": round(float(gains.std(ddof=1) / math.sqrt(len(gains))), 4) if len(gains) > 1 else 0.0,
    }


def _climbed(paths: list[list[Sample]]) -> dict[str, Any]:
    """n (candidates with a score), how many changed, and their mean objective [before, after]."""
    own = [path for path in paths if math.isfinite(path[0].objective)]
    ends = [[path[end].objective for path in own] for end in (0, -1)]
    return {
        "n": len(own),
        "changed": sum(len(path) > 1 for path in own),
        "objective": [round(float(np.mean(values)), 4) if values else 0.0 for values in ends],
    }


def _said(rows: list[dict[str, Any]]) -> dict[str, dict[str, str]]:
    """All that each culture said: the slots' responses by question_id, their panels' by sample_id."""
    said: dict[str, dict[str, str]] = defaultdict(dict)
    for row in rows:
        said[row["culture"]][row["question_id"]] = row["response"]
        said[row["culture"]] |= {told["sample_id"]: told["response"] for told in row["panel"]}
    return said


def _history(path: list[Sample]) -> list[dict[str, Any]]:
    return [
        {
            **{name: step.row[name] for name in ("round", "question", "response")},
            "objective": step.objective if math.isfinite(step.objective) else None,
        }
        for step in path
    ]
