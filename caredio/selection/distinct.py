"""Table stage (a join with other answers' vectors): distinctiveness d, how far a response is from other cultures'.

candidates, vectors -> + distinctiveness, compared (seed 001, Eq. 1: among answers to the same question).
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import accumulate
from typing import Any

import numpy as np
import pyarrow as pa
from datasets import Dataset, Features

from caredio import features
from caredio.errors import InputError
from caredio.llm import plan
from caredio.llm.model import Model
from caredio.llm.rows import Call, likelihoods
from caredio.markdown import code
from caredio.selection import generality, match
from caredio.selection.conditioning import Conditioning
from caredio.selection.embed import matrix
from caredio.selection.engine import Engine, Local
from caredio.selection.settings import FEW, Settings
from caredio.stages import Planning

_NEAREST = (
    f"(of several answers of a culture, the nearest; of more than {match.ANSWERS}, those that most people gave and what"
    " is the same text)"
)
_SHORT = 3  # letters of a word that keeps a final s
_AT_ONCE = 16_384  # rows whose vectors are held at once
WITHOUT_EFFECT = ("_AT_ONCE",)  # on what a stage makes (fingerprints.py)


def cosine(response: np.ndarray, others: Sequence[np.ndarray]) -> float:
    """d = mean over other cultures i of (1 - cos(e, e_i)), Eq. 1: 0 (same) to 2 (opposite).

    unit float[d] and, for each culture, float[d] or float[k, d]: of several answers the nearest is taken, since one
    person of a culture who says the same is enough.
    """
    nearest = [float(np.max(of_culture.astype(np.float64) @ response.astype(np.float64))) for of_culture in others]
    return 1.0 - sum(nearest) / len(nearest)


def hybrid(distance: float, response: str, others: Sequence[Sequence[str]]) -> float:
    """d = half of the cosine distance + half of the share of other cultures in which nobody says it in these words.

    The `cosine` of a response, its text, and for each other culture its answers. Words are the same where all of one
    answer's stand in the other (`words`): `rice` and `fried rice` are, which embeddings may hold apart.
    """
    own = words(response)
    unsaid = [not any(_holds(own, words(other)) for other in of_culture) for of_culture in others]
    return (distance + sum(unsaid) / len(unsaid)) / 2.0


@functools.lru_cache(maxsize=1 << 16)
def words(text: str) -> frozenset[str]:
    """The words of a text in lower case, longer ones without a final s."""
    found = re.findall(r"\w+", text.casefold())
    return frozenset(word[:-1] if len(word) > _SHORT and word.endswith("s") else word for word in found)


def _holds(one: frozenset[str], other: frozenset[str]) -> bool:
    return bool(one and other) and (one <= other or other <= one)


def information(own: float, others: np.ndarray, length: int) -> float | None:
    """d = [log2 p(y | x, c) - log2 mean over other cultures c' of p(y | x, c')] / bytes of y.

    Bits, float[k] bits and UTF-8 bytes. The mean is over probabilities: one culture that would say it too is enough to
    make y undistinctive. None where a likelihood is unknown (nan).
    """
    known = others[~np.isnan(others)]
    if np.isnan(own) or not len(known):
        return None
    return float((own - (np.logaddexp2.reduce(known) - np.log2(len(known)))) / length)


def compared_to(row: dict[str, Any], compared: int | None) -> list[list[dict[str, Any]]]:
    """The answers of up to `compared` other cultures (None: all), a list each; none that was shown."""
    of_culture: dict[str, list[dict[str, Any]]] = {}
    for other in row["others"]:
        if not other["shown"]:
            of_culture.setdefault(other["culture"], []).append(other)
    return list(of_culture.values())[:compared]


def describe(settings: Mapping[str, Any], model: str, written: bool) -> str:
    """A sentence for the card on what d was: settings as run.json holds them, who was asked, and who wrote the answers.

    Args:
        written: whether a model wrote the others' answers for this run, and they are no table's.
    """
    measure, count = settings["distinctiveness"], settings["compared"]
    few = f"up to {FEW if count is None else count} other cultures"
    compared = "all other cultures that answered" if count is None and not written else few
    how = {
        "cosine": f"the mean distance of a response from the answers of {compared} to the same question {_NEAREST}",
        "hybrid": f"half of the mean distance of a response from the answers of {compared} to the same question"
        f" {_NEAREST}, and half of the share of these cultures in which no answer has"
        " the same words (nor all of its words, nor only words of it)",
        "information": f"by how many bits a byte {code(model)} finds a response likelier as its culture than as {few}",
        "cci": f"how much larger a share of people of its culture than of {few} shares a response, as {code(model)}"
        f" estimates it{_averaged(settings)} (Conceptual Cultural Index)",
    }[measure]
    return f"Distinctiveness: `{measure}`, {how}."


def _averaged(settings: Mapping[str, Any]) -> str:
    count = settings.get("estimates")
    return ", once" if count == 1 else f", the mean of {count} estimates"


def scorer(unit: np.ndarray) -> Callable[[pa.Table], pa.Table]:
    """Over float32[n, d] responses: rows of them (`own`: int, `others`: list<list<int>>) -> `distinctiveness`."""

    def score(rows: pa.Table) -> pa.Table:
        pairs = zip(rows["own"].to_pylist(), rows["others"].to_pylist(), strict=True)
        scores = [cosine(unit[own], [unit[culture] for culture in others]) if others else None for own, others in pairs]
        return pa.table({"distinctiveness": pa.array(scores, pa.float64())})

    return score


def run(
    candidates: Dataset,
    vectors: Dataset,
    settings: Settings,
    model: Model | None = None,
    engine: Engine | None = None,
    conditioning: Conditioning = Conditioning(),
) -> Dataset:
    """Add `distinctiveness` and `compared` (how many other cultures it is over).

    Where no other culture answered the question, distinctiveness is null and compared 0. A model is asked about the
    rows that can still be selected: with `is_center` among the columns, about centres alone; `conditioning` is how.

    Raises:
        InputError: no row at all has another culture's answer; names some rows.
        EndpointError: the model cannot be asked.
    """
    candidates = features.require(
        candidates, features.columns("sample_id question_id culture question response others"), "candidates"
    )
    against = [compared_to(row, settings.most_compared) for row in candidates.select_columns(["others"])]
    if not any(against):
        some = match.quoted(dict.fromkeys(candidates["question"]))
        raise InputError(
            f"no question was answered by two cultures (such as {some}): distinctiveness compares answers to the same"
            " question, so give them the same question_id or the same text."
        )
    if settings.distinctiveness in ("cosine", "hybrid"):
        scores = _cosines(candidates["sample_id"][:], against, vectors, engine or Local())
        if settings.distinctiveness == "hybrid":
            scores = _hybrids(scores, candidates["response"][:], against)
    elif model is None:
        raise InputError(f"{settings.distinctiveness} asks a model, and none was given.")
    elif settings.distinctiveness == "cci":
        scores = generality.run(candidates, _slugs(against), settings, model, conditioning)
    else:
        scores = _informations(candidates, settings, model, conditioning)
    columns = Features({name: features.SCORED[name] for name in ("distinctiveness", "compared")})
    added = {"distinctiveness": scores, "compared": [len(others) for others in against]}
    return features.beside(candidates, Dataset.from_dict(added, features=columns))


def _cosines(
    names: list[str], against: list[list[list[dict[str, Any]]]], vectors: Dataset, engine: Engine
) -> list[float | None]:
    others = [[[other["sample_id"] for other in culture] for culture in row] for row in against]
    scores: list[float | None] = []
    for start in range(0, len(names), _AT_ONCE):
        own, of_rows = names[start : start + _AT_ONCE], others[start : start + _AT_ONCE]
        used = list(dict.fromkeys([*own, *(other for row in of_rows for culture in row for other in culture)]))
        place = {name: row for row, name in enumerate(used)}
        places = [[[place[other] for other in culture] for culture in row] for row in of_rows]
        rows = {"own": [place[name] for name in own], "others": pa.array(places, pa.list_(pa.list_(pa.int64())))}
        unit = matrix(vectors, "response_embedding", used)
        scores += engine.batches(scorer, unit, pa.table(rows))["distinctiveness"].to_pylist()
    return scores


def _slugs(against: Iterable[list[list[dict[str, Any]]]]) -> list[list[str]]:
    """The cultures whose answers rows are compared with."""
    return [[culture[0]["culture"] for culture in row] for row in against]


def _hybrids(
    distances: list[float | None], responses: list[str], against: list[list[list[dict[str, Any]]]]
) -> list[float | None]:
    return [
        None
        if distance is None
        else hybrid(distance, response, [[other["response"] for other in culture] for culture in row])
        for distance, response, row in zip(distances, responses, against, strict=True)
    ]


def calls(
    rows: Iterable[dict[str, Any]], settings: Settings, conditioning: Conditioning = Conditioning()
) -> list[list[Call]]:
    """For each row, the calls that its `information` is read from: as its own culture, and as those compared with."""
    asked = []
    for row in rows:
        others = compared_to(row, settings.asked_for) if row.get("is_center", True) else []
        cultures = [row["culture"], *(culture[0]["culture"] for culture in others)] if others else []
        asked.append([(conditioning.chat(culture, [], row["question"]), row["response"]) for culture in cultures])
    return asked


def steps(planning: Planning) -> list[plan.Step]:
    """The requests for d, every sample counted as its cluster's centre: those that are none are not asked about."""
    settings, spec = planning.selection, planning.spec
    conditioning = Conditioning(prompts=settings.prompts)
    if settings.distinctiveness == "cci":
        if planning.candidates is None:
            return [generality.expected(planning.rows["candidates"], settings, spec)]
        against = _slugs(compared_to(row, settings.asked_for) for row in planning.candidates)
        return [generality.step(generality.asked(planning.candidates, against, conditioning), settings, spec)]
    if settings.distinctiveness != "information":
        return []
    if planning.candidates is not None:
        return [plan.of_calls("other cultures", calls(planning.candidates, settings, conditioning), spec)]
    candidates = [one for one in planning.rows["candidates"] if not one.measured]
    asked = sum(one.rows * (1 + min(settings.asked_for, one.compared)) for one in candidates)
    chat = plan.tokens(conditioning.chat("", [], plan.SAMPLE["question"]))
    return [plan.likelihoods("other cultures", asked, asked, chat, spec)]


def _informations(
    candidates: Dataset, settings: Settings, model: Model, conditioning: Conditioning
) -> list[float | None]:
    asked = calls(candidates, settings, conditioning)
    bits = likelihoods([call for row in asked for call in row], model, "information of other cultures")
    starts = accumulate(map(len, asked), initial=0)
    return [
        information(bits[start], bits[start + 1 : start + len(row)], len(row[0][1].encode())) if row else None
        for start, row in zip(starts, asked, strict=False)  # one start more than rows: the end
    ]
