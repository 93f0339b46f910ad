"""Representativeness by questions with known answers: how well a model shown a cluster answers them (seed 001, 3.3).

A question's mark is the probability that the model gives its right option, of all its options, where the model gives
log-probabilities; else 1 or 0, for the option that it writes. One run reads all of its marks in one way.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from math import exp
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from datasets import Features, List, Value

from caredio import features
from caredio.errors import InputError
from caredio.llm import plan
from caredio.llm.model import Model
from caredio.llm.remote import TopLogprobsError
from caredio.llm.rows import FAILED, ask, first_tokens, likelihoods
from caredio.llm.spec import Messages
from caredio.markdown import code
from caredio.selection import validation
from caredio.selection.conditioning import Conditioning
from caredio.selection.settings import Settings
from caredio.stages import Planning

if TYPE_CHECKING:
    from caredio.selection.represent import CultureIndex

LIKELIHOODS, FIRST_TOKEN, WRITTEN = "likelihoods", "first_token", "written"
WITHOUT_EFFECT = ("LIKELIHOODS", "FIRST_TOKEN", "WRITTEN", "FAILED")  # on what a stage makes (fingerprints.py)
Items = dict[str, list[validation.Item]]
_T = TypeVar("_T")


def check(settings: Settings, most: int) -> None:
    """See that as many rows of a culture are measured as are to be ranked; `most`: the rows of the largest one.

    Raises:
        InputError: they are fewer.
    """
    if settings.ranking == "score" and min(settings.budget, most) > settings.centers:
        raise InputError(
            f"in_context measures at most {settings.centers} rows a culture (centers), and budget asks for"
            f" {settings.budget} of {most}; raise centers or lower budget."
        )


def reading(model: Model, items: Items, conditioning: Conditioning = Conditioning()) -> str:
    """How the model's choice of an option is read: found out once for a run, by one call where it has to be asked.

    The embedded model by the LIKELIHOODS of the options' letters; an endpoint by the FIRST_TOKEN, where it gives the
    log-probabilities of that and a letter is among them; else by the letter that is WRITTEN.

    Raises:
        EndpointError: the model cannot be asked.
    """
    if plan.is_local(model.spec):
        return LIKELIHOODS
    if model.batch:
        return WRITTEN
    item = _first(items)
    try:
        (tokens,) = first_tokens([conditioning.chat("", [], item.by_letter)], model, "in context, how it is read")
    except TopLogprobsError:
        return WRITTEN
    return FIRST_TOKEN if any(_letter(one["token"]) in item.letters for one in tokens) else WRITTEN


def scores(
    rows: list[dict[str, Any]],
    index: CultureIndex,
    settings: Settings,
    model: Model,
    conditioning: Conditioning,
    read_by: str = "",
) -> list[float | None]:
    """r of centres: the mean of a centre's marks, `shrunk` towards that of its culture's measured centres.

    Centres beyond the largest `settings.centers` of a culture are not measured and have None.

    Args:
        read_by: as `reading` finds it out, unless it is given.

    Raises:
        InputError: the validation file is not what was wanted, or more rows are to be ranked than are measured.
    """
    items = validation.read(settings.validation or "", conditioning.prompts)
    numbers = list(features.count_within(row["culture"] for row in rows))
    check(settings, max(numbers, default=0))
    asked = list(_questions(rows, index, settings, items))
    marked = {LIKELIHOODS: _by_likelihoods, FIRST_TOKEN: _by_first_token, WRITTEN: _by_reply}
    marks = iter(marked[read_by or reading(model, items, conditioning)](asked, model, conditioning))
    of_culture: dict[str, dict[str, list[float]]] = {}
    for one, mark in zip(asked, marks, strict=True):
        of_culture.setdefault(one["culture"], {}).setdefault(one["sample_id"], []).append(mark)
    found: dict[str, float] = {}
    for of_centre in of_culture.values():
        found |= dict(zip(of_centre, shrunk(np.array(list(of_centre.values()))).tolist(), strict=True))
    values = (found.get(row["sample_id"]) for row in rows)
    return [None if value is None or np.isnan(value) else value for value in values]


def shrunk(marks: np.ndarray) -> np.ndarray:
    """r of each centre: mean + reliability * (the centre's mean - mean), a share from 0 to 1.

    float[centres, questions], nan where a question got no answer -> float[centres], nan where none did. The estimate
    of a true score (T. L. Kelley, Interpretation of Educational Measurements, 1927), here the empirical Bayes one: the
    reliability of k marks is V / (V + E / k), V and E being the variance of centres and of what centre and question
    leave over, by a two-way analysis of variance (C. Hoyt, Psychometrika 6, 1941: 1 - MS rest / MS centres where
    nothing is missing). Where no noise can be told, as with one question, or the centres differ by no more than noise,
    all have the mean.
    """
    known = ~np.isnan(marks)
    counts, of_question = known.sum(axis=1), known.sum(axis=0)
    filled = np.where(known, marks, 0.0)
    questions = filled.sum(axis=0) / np.maximum(of_question, 1)
    left = np.where(known, filled - questions, 0.0)  # of each mark, over its question's mean
    centres = left.sum(axis=1) / np.maximum(counts, 1)
    measured = counts > 0
    freedom = known.sum() - measured.sum() - (of_question > 0).sum() + 1
    if not measured.any():
        return np.full(len(marks), np.nan)
    mean = questions[of_question > 0].mean()
    reliability = np.zeros(len(marks))
    if freedom > 0 and measured.sum() > 1:
        noise = (np.where(known, left - centres[:, None], 0.0) ** 2).sum() / freedom
        spread = centres[measured].var(ddof=1) - noise * (1 / counts[measured]).mean()
        if spread > 0:
            reliability[measured] = spread / (spread + noise / counts[measured])
    return np.where(measured, np.clip(mean + reliability * centres, 0.0, 1.0), np.nan)


def probability(tokens: Sequence[dict[str, Any]], item: validation.Item) -> float:
    """The share of the right option among the options, in the likeliest first tokens; 0 where none is an option."""
    shares = dict.fromkeys(item.letters, 0.0)
    for one in tokens:
        if (letter := _letter(one["token"])) in shares:
            shares[letter] += exp(one["logprob"])
    total = sum(shares.values())
    return shares[item.key] / total if total else 0.0


def step(planning: Planning) -> plan.Step:
    """The questions with known answers, each put to the largest clusters of its culture, after the call of `reading`.

    Of tokens written, those of a reply in JSON, which an endpoint without log-probabilities is asked for.
    """
    settings, spec, sample = planning.selection, planning.spec, plan.SAMPLE
    if planning.candidates is not None:
        rows = max(1, len(planning.candidates))
        sample = {name: "." * (sum(map(len, planning.candidates[name][:])) // rows) for name in sample}
    file = settings.validation or ""
    items = validation.read(file, settings.prompts)
    asked = letters = characters = 0
    for one in planning.rows["candidates"]:
        known = validation.of(items, one.culture, file)
        centres = min(one.rows, settings.centers)
        chosen = _chosen(known, one.culture, settings)
        asked += centres * len(chosen)
        letters += centres * sum(len(item.letters) for item in chosen)
        characters += centres * sum(len(item.question) for item in chosen)
    before = Conditioning(prompts=settings.prompts).chat("", [sample] * settings.shots, "")
    if plan.is_local(spec):
        chat = plan.tokens(before) + characters // max(1, asked) // plan.CHARACTERS
        return plan.likelihoods("in context", letters, asked, chat, spec, answer=1)
    asked += not planning.batch
    prompt = asked * plan.tokens(before, validation.SCHEMA, spec) + characters // plan.CHARACTERS
    return plan.Step("in context", asked, prompt, asked * min(8, spec.max_tokens), upper_bound=2 * asked)


def describe(settings: Mapping[str, Any], model: str, read_by: str) -> str:
    """What r was, for the card; without `read_by` the plain share of right answers, which older versions took."""
    questions = f"up to {settings['validation_items']} questions a culture ({_file(settings)})"
    shown = (
        f"when shown up to {settings['shots']} samples of a cluster, for the {settings['centers']} largest clusters of"
        " a culture"
    )
    if read_by in (LIKELIHOODS, FIRST_TOKEN):
        what = f"the mean probability, over {questions}, that {code(model)} gives the right one of the options {shown}"
        what += f", by the log-probabilities of {'their letters' if read_by == LIKELIHOODS else 'its first token'}"
    else:
        what = f"the share of {questions} that {code(model)} answers right {shown}"
        what += ", by the letter that it writes" if read_by else ""
    return what + ("; drawn towards the mean of a culture by how far its centres differ by chance" if read_by else "")


def _questions(
    rows: list[dict[str, Any]], index: CultureIndex, settings: Settings, items: Items
) -> Iterator[dict[str, Any]]:
    """Each measured centre with each of its culture's questions."""
    largest = sorted(rows, key=lambda row: (-row["cluster_size"], row["sample_id"]))
    for row, number in zip(largest, features.count_within(row["culture"] for row in largest), strict=True):
        if number > settings.centers:
            continue
        known = validation.of(items, row["culture"], settings.validation or "")
        shots = [row, *(index.samples[name] for name in index.mates(row)[: settings.shots - 1])]
        shown = [{"question": shot["question"], "response": shot["response"]} for shot in shots]
        for item in _chosen(known, row["culture"], settings):
            yield {"sample_id": row["sample_id"], "culture": row["culture"], "shots": shown, "item": item}


def _chosen(known: list[validation.Item], culture: str, settings: Settings) -> list[validation.Item]:
    """The questions that a culture is asked, drawn by seed."""
    return random.Random(f"{settings.seed}/{culture}").sample(known, min(settings.validation_items, len(known)))


def _by_likelihoods(asked: list[dict[str, Any]], model: Model, conditioning: Conditioning) -> list[float]:
    """The marks, of the likelihoods of each option's letter."""
    pairs = [(row, letter) for row in asked for letter in row["item"].letters]
    calls = _Lazy(pairs, lambda pair: (_by_letter(pair[0], conditioning), pair[1]))
    bits = iter(likelihoods(calls, model, "in context").tolist())
    marks = []
    for row in asked:
        item = row["item"]
        own = np.array(list(islice(bits, len(item.letters))))
        shares = np.exp2(own - own.max())
        marks.append(float(shares[item.letters.index(item.key)] / shares.sum()))
    return marks


def _by_first_token(asked: list[dict[str, Any]], model: Model, conditioning: Conditioning) -> list[float]:
    """The marks, of the likeliest first tokens."""
    chats = _Lazy(asked, lambda row: _by_letter(row, conditioning))
    tokens = first_tokens(chats, model, "in context")
    return [probability(one, row["item"]) for one, row in zip(tokens, asked, strict=True)]


def _by_reply(asked: list[dict[str, Any]], model: Model, conditioning: Conditioning) -> list[float]:
    """1 where the letter that is written is right, 0 where it is not or none of the options, nan without an answer."""
    text = Value("string")
    columns = Features({"culture": text, "shots": List({"question": text, "response": text}), "question": text})
    table = [{**row, "question": row["item"].question, "key": row["item"].key} for row in asked]
    answered = ask(
        features.table(table, Features({**columns, "key": text})),
        model,
        prompt=lambda row: conditioning.chat(row["culture"], row["shots"], row["question"]),
        parse=lambda content, row, answer: {"right": content["answer"] == row["key"]},
        columns=Features({"right": Value("bool")}),
        schema=validation.SCHEMA,
        prompts=conditioning.prompts,
        desc="in context",
    )
    said = zip(answered["right"][:], answered["drop_reason"][:], strict=True)
    return [np.nan if (reason or "").startswith(FAILED) else float(bool(right)) for right, reason in said]


class _Lazy(Sequence[_T]):
    """What `make` makes of each of `items`, made when it is asked for: thousands of chats need not be held."""

    def __init__(self, items: Sequence[Any], make: Callable[[Any], _T]) -> None:
        self.items, self.make = items, make

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, place: Any) -> Any:
        if isinstance(place, slice):
            return [self.make(item) for item in self.items[place]]
        return self.make(self.items[place])


def _first(items: Items) -> validation.Item:
    """The item by which `reading` finds out: the first of the first country."""
    return items[min(items)][0]


def _by_letter(row: dict[str, Any], conditioning: Conditioning) -> Messages:
    """The chat that asks for a letter alone, after the shots."""
    return conditioning.chat(row["culture"], row["shots"], row["item"].by_letter)


def _file(settings: Mapping[str, Any]) -> str:
    return code(Path(settings["validation"] or "").name)


def _letter(token: str) -> str:
    """A token without spaces and punctuation."""
    return "".join(filter(str.isalnum, token))
