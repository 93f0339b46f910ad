"""Table stage (read among all of a culture): representativeness r, how central a cluster's centre is (seed 001, 3.3).

clustered, vectors -> + representativeness.
"""

from __future__ import annotations

import random
from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any

import numpy as np
from datasets import Dataset, Features, Value

from caredio import features
from caredio.errors import InputError
from caredio.llm import plan
from caredio.llm.model import Model
from caredio.llm.rows import FAILED, Call, likelihoods  # noqa: F401 (FAILED counts in finished stages' fingerprints)
from caredio.markdown import code
from caredio.selection import in_context, support
from caredio.selection.conditioning import Conditioning
from caredio.selection.embed import matrix
from caredio.selection.settings import Settings
from caredio.stages import Expected, Planning

# concentration of typicality's kernel, the inverse of its squared bandwidth; from 20 to 60 BLEnD tells no difference
KAPPA = 20.0
_BLOCK = 1024  # responses compared at once
_FEWEST = 2  # other answers that a density needs
_DRAWN = (
    "instead of another on another question, drawn for each row, those answers being drawn once for the culture, by"
    " weight and from as many questions as can be, without the questions and clusters of the two that are shown"
)
WITHOUT_EFFECT = ("_BLOCK", "_DRAWN")


def size(rows: list[dict[str, Any]]) -> list[float]:
    """r = the size of the centre's cluster, in weights (seed 001, 3.3 'Cluster size')."""
    return [float(row["cluster_size"]) for row in rows]


def typicality(
    responses: np.ndarray,
    among: np.ndarray,
    own: np.ndarray,
    kappa: float = KAPPA,
    weights: np.ndarray | None = None,
) -> np.ndarray:
    """r = log2 of the kernel density of responses among the other answers of their culture.

    Unit float[n, d], unit float[m, d], int[n], the row of `among` that is the response itself, and float[m], how many
    people gave each (default: 1) -> float64[n], log2 of the weighted mean over j of exp(kappa (cos(e, e_j) - 1)): 0
    where all say the same. One person of the response does not count (all of a weight below 1): a row of weight k is
    read as k equal rows, of which each is read among the others. nan for fewer than two other rows.
    """
    if len(among) - 1 < _FEWEST:
        return np.full(len(responses), np.nan)
    weights = np.ones(len(among)) if weights is None else weights
    rest = np.maximum(weights - 1.0, 0.0)
    with np.errstate(divide="ignore"):  # the logarithm of none is -inf: it does not count
        log_weights, log_rest = np.log(weights), np.log(rest)
    found = np.empty(len(responses))
    for start in range(0, len(responses), _BLOCK):
        part = slice(start, start + _BLOCK)
        exponents = kappa * (responses[part] @ among.T - 1.0).astype(np.float64) + log_weights
        exponents[np.arange(len(exponents)), own[part]] = log_rest[own[part]]  # at similarity 1
        found[part] = np.logaddexp.reduce(exponents, axis=1)
    return (found - np.log(weights.sum() - weights[own] + rest[own])) / np.log(2)


def informed(after_sample: np.ndarray, after_placebo: np.ndarray, lengths: np.ndarray) -> float | None:
    """r = mean over other answers y_j of [log2 p(y_j | ..., sample) - log2 p(y_j | ..., placebo)] / bytes of y_j.

    The y_j are the row's `references`, and another sample of its culture is its `placebo`.
    float[k] bits, bits and UTF-8 bytes; answers whose likelihood is unknown (nan) are left out, None where all are.
    """
    gain = (after_sample - after_placebo) / lengths
    known = gain[~np.isnan(gain)]
    return float(known.mean()) if len(known) else None


def run(
    clustered: Dataset,
    vectors: Dataset,
    settings: Settings,
    model: Model | None = None,
    conditioning: Conditioning = Conditioning(),
    read_by: str = "",
) -> Dataset:
    """Add `representativeness` to the centres of clustered candidates; other rows have null.

    Args:
        clustered: `features.CANDIDATES` with cluster, cluster_size and is_center.
        vectors: `features.vectors`, whose response_embedding typicality compares.
        model: who is asked for in_context and information.
        conditioning: how the model is asked.
        read_by: of in_context, how its choices are read; by default it is found out (`in_context.reading`).

    Raises:
        InputError: the validation file is not what was wanted, or has nothing on a culture.
        EndpointError: the model cannot be asked.
    """
    needed = Features({name: features.SCORED[name] for name in ("cluster", "cluster_size", "is_center")})
    clustered = features.require(clustered, needed, "clustered candidates")
    rows = [row for row in clustered if row["is_center"]]
    if settings.representativeness == "size":
        scores: list[float | None] = list(size(rows))
    elif settings.representativeness == "typicality":
        scores = _typical(rows, CultureIndex(clustered), vectors)
    elif settings.representativeness in ("support", "prevalence"):
        scores = _supported(rows, CultureIndex(clustered), vectors)
        if settings.representativeness == "prevalence":
            scores = _prevalent(rows, scores, CultureIndex(clustered), vectors)
    else:
        if model is None:
            raise InputError(f"{settings.representativeness} asks a model, and none was given.")
        asked = rows, CultureIndex(clustered), settings, model, conditioning
        scores = (
            _informed(*asked) if settings.representativeness == "information" else in_context.scores(*asked, read_by)
        )
    by_id = dict(zip((row["sample_id"] for row in rows), scores, strict=True))
    column = {"representativeness": [by_id.get(name) for name in clustered["sample_id"][:]]}
    return features.beside(clustered, Dataset.from_dict(column, features=_column("representativeness")))


def describe(settings: Mapping[str, Any], model: str, read_by: str = "") -> str:
    """A sentence for the card on what r was.

    Args:
        settings: as run.json holds them.
        model: who was asked.
        read_by: how its choices were read, of in_context; older versions took the plain share of right answers.
    """
    measure = settings["representativeness"]
    how = {
        "size": "the sum of the weights of the samples that a centre's cluster holds",
        "typicality": "the density of a response among all that its culture says here, by weight (kernel concentration"
        f" {KAPPA:g})",
        "support": "how many people gave a response, and the density of it among what its culture answers to other"
        f" questions, by weight, in bits (kernel concentration {support.KAPPA:g}; the former counts"
        f" {support.PEOPLE:g}-fold)",
        "prevalence": "how many people gave a response, the density of it among what its culture answers to other"
        " questions, and the share of other cultures' people who say about the same, by weight, in bits (kernel"
        f" concentrations {support.KAPPA:g} and {support.SHARED:g}; the first counts {support.PEOPLE:g}-fold)",
        "information": f"how many bits a byte it saves {code(model)} on up to {settings['references']} other answers of"
        " the culture to be shown the sample" + (f" {_DRAWN}" if "references_drawn" in settings else ""),
        "in_context": in_context.describe(settings, model, read_by),
    }[measure]
    return f"Representativeness: `{measure}`, {how}."


class CultureIndex:
    """Index of a culture's other answers: a sample's panel, its cluster mates, and the rest."""

    def __init__(self, clustered: Dataset) -> None:
        self.samples: dict[str, dict[str, str]] = {}
        self.clusters: dict[tuple[str, int], list[str]] = defaultdict(list)
        self.cultures: dict[str, list[str]] = defaultdict(list)
        self.cluster: dict[str, int] = {}  # by sample_id
        names = ("sample_id", "culture", "question_id", "question", "response")
        cells = [clustered[name][:] for name in (*names, "cluster")]
        for *values, cluster in zip(*cells, strict=True):
            sample = dict(zip(names, values, strict=True))
            self.samples[sample["sample_id"]] = sample
            self.cluster[sample["sample_id"]] = cluster
            self.clusters[sample["culture"], cluster].append(sample["sample_id"])
            self.cultures[sample["culture"]].append(sample["sample_id"])
        for members in self.clusters.values():
            members.sort()
        self.spans: dict[tuple[str, str], tuple[int, int]] = {}  # culture, question_id -> first place, place after
        for culture, members in self.cultures.items():
            members[:] = sorted(set(members), key=lambda name: (self.samples[name]["question_id"], name))
            for place, name in enumerate(members):
                slot = culture, self.samples[name]["question_id"]
                self.spans[slot] = self.spans.get(slot, (place, place))[0], place + 1
        topics = clustered["topic_id"][:] if "topic_id" in clustered.column_names else [None] * len(clustered)
        self.topics: dict[str, str | None] = dict(zip(clustered["question_id"][:], topics, strict=True))
        self.orders: dict[tuple[str, int], list[str]] = {}
        self.weights = dict(zip(self.samples, features.weights(clustered), strict=True))
        self.panels: dict[str, set[str]] = defaultdict(set)
        self.asked = {name: sample["question_id"] for name, sample in self.samples.items()}  # of panels' answers too
        columns = (clustered[name][:] for name in ("culture", "question_id", "panel"))
        for culture, question_id, panel in zip(*columns, strict=True):
            self.panels[culture].update(one["sample_id"] for one in panel)
            for one in panel:
                self.asked.setdefault(one["sample_id"], question_id)

    def answers(self, culture: str) -> list[str]:
        """sample_ids of all answers of a culture: its samples, and its panels' answers."""
        return sorted(self.panels[culture].union(self.cultures[culture]))

    def mates(self, row: dict[str, Any]) -> list[str]:
        """sample_ids of the rest of the row's cluster."""
        return [name for name in self.clusters[row["culture"], row["cluster"]] if name != row["sample_id"]]

    def reference_order(self, culture: str, seed: int) -> list[str]:
        """sample_ids of the culture in the order in which they become references, drawn by seed.

        First one answer to each question, then a second one, and so on; questions come in turns of their topics, one of
        each. Which answer of a question comes first is by chance, as often as people gave it; each draw is of its
        sample or question alone, so that rows which join a table leave the others in their order.
        """
        if (culture, seed) in self.orders:
            return self.orders[culture, seed]
        answers: dict[str, list[tuple[float, str]]] = defaultdict(list)
        for name in self.cultures[culture]:
            people = max(self.weights[name], np.finfo(float).tiny)
            drawn = random.Random(f"{seed}/reference/{name}").expovariate(people)  # the least is one of them by weight
            answers[self.samples[name]["question_id"]].append((drawn, name))
        turns: Counter[str | None] = Counter()
        order: list[tuple[int, int, float, str]] = []
        by_chance = {one: random.Random(f"{seed}/references/{culture}/{one}").random() for one in answers}
        for question in sorted(answers, key=lambda one: (by_chance[one], one)):
            turn = turns[topic := self.topics[question]]
            turns[topic] += 1
            for place, (_, name) in enumerate(sorted(answers[question])):
                order.append((place, turn, by_chance[question], name))
        self.orders[culture, seed] = [name for *_, name in sorted(order)]
        return self.orders[culture, seed]

    def on_another_question(self, row: dict[str, Any], draw: random.Random) -> dict[str, str] | None:
        """A sample of the culture on another question; None where there is none."""
        names = self.cultures[row["culture"]]
        start, stop = self.spans.get((row["culture"], row["question_id"]), (0, 0))
        if stop - start == len(names):
            return None
        place = draw.randrange(len(names) - (stop - start))
        return self.samples[names[place if place < start else place + stop - start]]


def _typical(rows: list[dict[str, Any]], index: CultureIndex, vectors: Dataset) -> list[float | None]:
    """`typicality` of every row among all that its culture's samples and their panels say."""
    scores: dict[str, float | None] = {}
    for culture in sorted({row["culture"] for row in rows}):
        own = [row["sample_id"] for row in rows if row["culture"] == culture]
        answers = index.answers(culture)
        place = {name: number for number, name in enumerate(answers)}
        among = matrix(vectors, "response_embedding", answers)
        places = np.array([place[name] for name in own])
        weights = np.array([index.weights.get(name, 1.0) for name in answers])
        density = typicality(among[places], among, places, weights=weights)
        scores |= {name: None if np.isnan(value) else float(value) for name, value in zip(own, density, strict=True)}
    return [scores[row["sample_id"]] for row in rows]


def _supported(rows: list[dict[str, Any]], index: CultureIndex, vectors: Dataset) -> list[float | None]:
    """`support.support` of every row among all that its culture's samples and their panels say."""
    scores: dict[str, float | None] = {}
    for culture in sorted({row["culture"] for row in rows}):
        own = [row for row in rows if row["culture"] == culture]
        answers = sorted(index.answers(culture), key=lambda name: (index.asked[name], name))
        asked = [index.asked[name] for name in answers]
        spans = [(bisect_left(asked, row["question_id"]), bisect_right(asked, row["question_id"])) for row in own]
        place = {name: number for number, name in enumerate(answers)}
        among = matrix(vectors, "response_embedding", answers)
        weights = np.array([index.weights.get(name, 1.0) for name in answers])
        places = np.array([place[row["sample_id"]] for row in own])
        found = support.support(among[places], weights[places], among, weights, np.array(spans))
        names = (row["sample_id"] for row in own)
        scores |= {name: None if np.isnan(value) else float(value) for name, value in zip(names, found, strict=True)}
    return [scores[row["sample_id"]] for row in rows]


def _prevalent(
    rows: list[dict[str, Any]], supported: list[float | None], index: CultureIndex, vectors: Dataset
) -> list[float | None]:
    """`supported` and the `support.shared` of every row, over the other cultures that it is compared with."""
    answers: list[dict[str, list[str]]] = []
    for row in rows:
        of_culture: dict[str, list[str]] = defaultdict(list)
        for other in row["others"]:
            if not other["shown"]:
                of_culture[other["culture"]].append(other["sample_id"])
        answers.append(of_culture)
    own = [row["sample_id"] for row in rows]
    used = list(dict.fromkeys([*own, *(name for one in answers for names in one.values() for name in names)]))
    unit, place = matrix(vectors, "response_embedding", used), {name: number for number, name in enumerate(used)}
    weights = np.array([index.weights.get(name, 1.0) for name in used])
    found = []
    for name, score, of_culture in zip(own, supported, answers, strict=True):
        others = [[place[other] for other in names] for names in of_culture.values()]
        bits = support.shared(unit[place[name]], [(unit[places], weights[places]) for places in others])
        found.append(None if score is None else score + bits)
    return found


def placebo(row: dict[str, Any], index: CultureIndex, settings: Settings) -> dict[str, str] | None:
    """The sample that is shown in the row's stead: one of its culture on another question, drawn for it by seed.

    Each such sample is as likely, whatever the row, so that it moves no row's r up or down on average.
    """
    return index.on_another_question(row, random.Random(f"{settings.seed}/placebo/{row['sample_id']}"))


def references(
    row: dict[str, Any], shown: dict[str, str], index: CultureIndex, settings: Settings
) -> list[dict[str, str]]:
    """Up to `settings.references` other answers of the culture: the first of its `CultureIndex.reference_order`.

    Those to the questions and in the clusters of the row and of its placebo, which is `shown` too, are left out, and
    the next ones come in their place: so the rows of a culture share their references as far as can be.
    """
    questions = {row["question_id"], shown["question_id"]}
    clusters = {index.cluster[row["sample_id"]], index.cluster[shown["sample_id"]]}
    free = (
        index.samples[name]
        for name in index.reference_order(row["culture"], settings.seed)
        if index.samples[name]["question_id"] not in questions and index.cluster[name] not in clusters
    )
    return list(islice(free, settings.references))


def most_references(samples: int, settings: Settings) -> int:
    """How many `references` a row has at most, of a culture with so many samples, each on a question of its own."""
    return max(0, min(settings.references, samples - 2))  # neither itself nor its placebo


def apart(candidates: Dataset) -> Dataset:
    """`candidates` with a cluster each."""
    alone = Dataset.from_dict({"cluster": range(len(candidates))}, features=Features({"cluster": Value("int32")}))
    return features.beside(candidates, alone)


def calls(
    rows: Iterable[dict[str, Any]], index: CultureIndex, settings: Settings, conditioning: Conditioning = Conditioning()
) -> list[list[Call]]:
    """For each row, the calls that `informed` is read from: its references after it, then after its placebo.

    None for a culture with fewer than three questions.
    """
    asked = []
    for row in rows:
        stead = placebo(row, index, settings)
        chosen = references(row, stead, index, settings) if stead else []
        asked.append(
            [
                (conditioning.chat(row["culture"], [shown], other["question"]), other["response"])
                for shown in (row, stead)
                for other in chosen
                if shown
            ]
        )
    return asked


def _informed(
    rows: list[dict[str, Any]], index: CultureIndex, settings: Settings, model: Model, conditioning: Conditioning
) -> list[float | None]:
    """`informed` of every row; None where it has no calls.

    Raises:
        InputError: no row has any.
    """
    asked = calls(rows, index, settings, conditioning)
    if rows and not any(asked):
        raise InputError(
            "representativeness information needs answers of a culture to three questions that are in three clusters,"
            " and no culture has them; choose another measure, or have more questions answered."
        )
    bits = iter(likelihoods([call for row in asked for call in row], model, "information"))
    scores = []
    for row in asked:
        after_sample, after_placebo = np.array([next(bits) for _ in row]).reshape(2, -1)
        lengths = np.array([len(text.encode()) for _, text in row[len(row) // 2 :]])
        scores.append(informed(after_sample, after_placebo, lengths))
    return scores


def steps(planning: Planning) -> list[plan.Step]:
    """The requests for r, every sample counted as its cluster's centre: those that are none are not asked about."""
    settings, spec = planning.selection, planning.spec
    if settings.representativeness == "in_context":
        return [in_context.step(planning)]
    if settings.representativeness != "information":
        return []
    conditioning = Conditioning(prompts=settings.prompts)
    if planning.candidates is not None:
        alone = apart(planning.candidates)
        return [plan.of_calls("information", calls(alone, CultureIndex(alone), settings, conditioning), spec)]
    texts = sum(expected(one, settings) for one in planning.rows["candidates"])
    chat = plan.tokens(conditioning.chat("", [plan.SAMPLE], plan.SAMPLE["question"]))
    return [plan.likelihoods("information", texts, texts, chat, spec)]


def expected(candidates: Expected, settings: Settings) -> int:
    """How many answers after a sample `information` asks about at most, of a culture's candidates to come.

    Each is asked about in a chat of its own. A sample's placebo is a sample too, and whatever is shown is followed by
    the first of the references, two more of them where it is a placebo, and never by itself.
    """
    rows, most = candidates.rows, most_references(candidates.rows, settings)
    return min(2 * rows * most, (rows - 1) * (most + 2)) if most else 0


def _column(name: str) -> Features:
    return Features({name: features.SCORED[name]})
