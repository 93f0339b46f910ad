"""Candidates reviewed before they join the pool, by a model that need not be the one that wrote them.

contrasted -> reviewed: 1 to 5 each for whether the answer is true of most people there today, answers the question, is
no stereotype, and would be recognised without the culture's name. For the last a second request names no culture: the
reviewer guesses, and the score is how certain it is, less one for each place at which the right guess comes later (1
where it is none of the three). A row below a threshold is dropped. What optimisation writes is reviewed too (`Guard`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from datasets import Dataset, Features, List, Value

from caredio import features, prompts
from caredio.cultures import Culture
from caredio.llm import plan
from caredio.llm.cache import Answer
from caredio.llm.model import Model
from caredio.llm.rows import ask
from caredio.llm.settings import Endpoint
from caredio.llm.spec import LOCAL_MODEL, Messages, Spec
from caredio.markdown import code
from caredio.prompts import Prompt
from caredio.stages import Expected, Planned, Planning, Stage, fan_out, in_all
from caredio.synthesis import checks, grounding
from caredio.synthesis.grounding import Grounds
from caredio.synthesis.settings import Settings

# score -> the drop_reason of a row below its threshold; the first that fails is the row's
CRITERIA = {
    "truth": "untrue",
    "answering": "unanswered",
    "fairness": "stereotype",
    "recognition": "unrecognised",
}
GUESSES = 3
_SCORE = {"type": "integer", "enum": [1, 2, 3, 4, 5]}
_RATED = ("truth", "answering", "fairness")  # by the request that names the culture


def calls(planning: Planning) -> Planned:
    """Two requests for each candidate, where candidates are reviewed."""
    rows = planning.rows["contrasted"]
    return Planned(steps(in_all(rows), planning), rows)


def steps(reviewed: Expected, planning: Planning, suffix: str = "") -> list[plan.Step]:
    """The requests that review candidates."""
    settings = planning.settings
    if not settings.reviews:
        return []
    spec = reviewer(settings, planning.spec)
    culture, known = planning.targets[0], dict(planning.cultures)
    row = {**plan.SAMPLE, "language": "en"}
    rating, guessing = (prompts.load(name, settings.prompts) for name in STAGE.prompts)
    asked = (
        ("reviewed", grounding.planned(rate_prompt(row, culture, rating), planning), SCHEMA, 120),
        ("recognised", guess_prompt(row, culture, known, guessing), guess_schema(known), 60),
    )
    found = [
        plan.answers(f"{name} {suffix}".strip(), reviewed, plan.tokens(messages, schema, spec), spec, answer)
        for name, messages, schema, answer in asked
    ]
    other = spec.model if spec.model != planning.spec.model else ""
    return [replace(step, model=other, chat=True) for step in found]


STAGE = Stage(
    "reviewed",
    {"contrasted": " ".join(features.CANDIDATES)},
    features.CANDIDATES,
    modules=(__name__,),
    prompts=("review", "recognise"),
    calls=calls,
)
_VERDICT = {
    "type": "object",
    "properties": {"reason": {"type": "string"}, "score": _SCORE},
    "required": ["reason", "score"],
    "additionalProperties": False,
}
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": dict.fromkeys(_RATED, _VERDICT),
    "required": list(_RATED),
    "additionalProperties": False,
}
_REASONS = List({"criterion": Value("string"), "reason": Value("string")})


def reviewer(settings: Settings, spec: Spec, endpoint: Endpoint | None = None) -> Spec:
    """Who reviews what `spec` writes: the model that was named, or the writer, at temperature 0 where it takes one.

    Who serves it is the provider that was named, else the writer's, unless an endpoint of the reviewer's own is given.
    """
    cold = replace(spec, temperature=None if spec.temperature is None else 0.0)
    model, provider = settings.review_model or spec.model, settings.review_provider
    if model == spec.model and provider in (None, spec.provider):
        return cold
    own = endpoint is not None and endpoint.review_base_url is not None
    if provider is None and not own and LOCAL_MODEL not in (spec.model, model):
        provider = spec.provider
    return replace(cold, model=model, provider=provider, model_revision=None)


def describe(settings: Mapping[str, Any] | None, asked: str = "", writer: str = "") -> str:
    """A sentence for the card on the review: settings as run.json holds them (None: none ran).

    Args:
        asked, writer: the models that reviewed and wrote.
    """
    if settings is None:
        return "Review: none."
    who = f"{code(asked)}, " + ("the writer itself" if asked == writer else "another model than the writer")
    least = ", ".join(f"{name} {settings[f'least_{name}']}" for name in CRITERIA)
    return (
        f"Review: by {who}, on scales of 1 to 5 for truth today, answering the question, fairness (no stereotype) and"
        f" recognition without the culture's name; rows below these scores were dropped: {least}."
    )


def rate_prompt(row: Mapping[str, Any], culture: Culture, template: Prompt) -> Messages:
    """Row of question and response -> messages that ask how true, to the point and fair the response is."""
    quoted = {name: prompts.quote(row[name]) for name in ("question", "response")}
    return template.messages(name=culture.name, **quoted)


def rated(content: dict[str, Any], row: dict[str, Any], answer: Answer) -> dict[str, Any]:
    """The scores, and the reason for each."""
    reasons = [{"criterion": name, "reason": _publishable(content[name]["reason"])} for name in _RATED]
    return {name: content[name]["score"] for name in _RATED} | {"review": reasons}


def guess_schema(cultures: Mapping[str, Culture]) -> dict[str, Any]:
    """The JSON schema of a guess: the cultures' names are all that fits."""
    names = {"type": "string", "enum": sorted(culture.name for culture in cultures.values())}
    guesses = {"type": "array", "items": names, "minItems": 1, "maxItems": GUESSES}
    return {
        "type": "object",
        "properties": {"reason": {"type": "string"}, "guesses": guesses, "certainty": _SCORE},
        "required": ["reason", "guesses", "certainty"],
        "additionalProperties": False,
    }


def guess_prompt(row: Mapping[str, Any], culture: Culture, cultures: dict[str, Culture], template: Prompt) -> Messages:
    """Row of question, response and language -> messages that ask whose it is, its culture's names blanked out."""
    blind = {
        name: prompts.quote(checks.without_own_names(row[name], culture, cultures, row["language"]))
        for name in ("question", "response")
    }
    return template.messages(cultures=", ".join(sorted(one.name for one in cultures.values())), **blind)


def guessed(
    content: dict[str, Any], row: dict[str, Any], answer: Answer, cultures: Mapping[str, Culture]
) -> dict[str, Any]:
    """The score of recognition, the culture that was guessed first, and the reason."""
    slugs = {culture.name: slug for slug, culture in cultures.items()}
    guesses = list(dict.fromkeys(slugs[name] for name in content["guesses"]))
    place = guesses.index(row["culture"]) if row["culture"] in guesses else None
    return {
        "recognition": 1 if place is None else max(1, content["certainty"] - place),
        "recognised_as": guesses[0],
        "why": _publishable(content["reason"]),
    }


def _publishable(reason: str) -> str | None:
    """A reason; None where it insults or holds personal data: the score stands without it."""
    return None if checks.is_toxic(reason) or checks.is_personal(reason) else reason


def run(
    candidates: Dataset,
    settings: Settings,
    model: Model,
    cultures: dict[str, Culture],
    grounds: Grounds = grounding.NONE,
) -> Dataset:
    """Review candidates.

    Args:
        candidates: `features.CANDIDATES`.
        model: the reviewer.
        cultures: all known, by slug: these the reviewer chooses among.
        grounds: the evidence that the request for ratings shows.

    Returns:
        `features.CANDIDATES` and `features.REJECTS`, with the scores, the first guess and the reasons. Drop reasons are
        those of `CRITERIA`, or why the reviewer's answer could not be used.
    """
    candidates = STAGE.table(candidates, "contrasted").select_columns(list(features.CANDIDATES))
    judged = _judged(candidates, settings, model, cultures, grounds)
    return fan_out(judged, _verdict(settings), _columns(), "reviewed")


def _columns() -> Features:
    return Features({**features.CANDIDATES, **features.REJECTS})


def _judged(
    candidates: Dataset, settings: Settings, model: Model, cultures: dict[str, Culture], grounds: Grounds
) -> Dataset:
    """Candidates with scores, reasons and `why`; one whose rating or guess could not be used has a drop_reason."""
    rating, guessing = (prompts.load(name, settings.prompts) for name in STAGE.prompts)
    scores = features.columns(" ".join((*CRITERIA, "recognised_as")))

    def grounded(row: dict[str, Any]) -> Messages:
        culture = cultures[row["culture"]]
        return grounds.shown(rate_prompt(row, culture, rating), row["question_id"], culture, "judged")

    first = ask(
        candidates.remove_columns([*scores, "review"]),
        model,
        prompt=grounded,
        parse=rated,
        columns=Features({name: scores[name] for name in _RATED} | {"review": _REASONS}),
        schema=SCHEMA,
        prompts=settings.prompts,
        desc="reviewed",
    )
    second = ask(
        features.kept(first).remove_columns("unusable"),
        model,
        prompt=lambda row: guess_prompt(row, cultures[row["culture"]], cultures, guessing),
        parse=lambda content, row, answer: guessed(content, row, answer, cultures),
        columns=Features({name: scores[name] for name in ("recognition", "recognised_as")} | {"why": Value("string")}),
        schema=guess_schema(cultures),
        prompts=settings.prompts,
        desc="recognised",
    )
    return features.stack(second, list(features.rejected(first)))


def _verdict(settings: Settings) -> Any:
    """What makes a row of a reviewed one: its reasons in one list, and the drop_reason of a score that is too low."""
    least = {name: getattr(settings, f"least_{name}") for name in CRITERIA}

    def rows(row: dict[str, Any]) -> Iterator[dict[str, Any]]:
        why = [{"criterion": "recognition", "reason": row["why"]}] if row["why"] else []
        low = below(row, least) if row["drop_reason"] is None else row["drop_reason"]
        yield {**row, "review": [*(row["review"] or []), *why], "drop_reason": low}

    return rows


def below(row: Mapping[str, Any], least: Mapping[str, int]) -> str | None:
    """The reason of the first score of a row that is below its threshold."""
    return next((reason for name, reason in CRITERIA.items() if row[name] < least[name]), None)


class Guard:
    """Reviews what would take a candidate's place: it may be no less true, nor less of an answer."""

    def __init__(
        self, settings: Settings, model: Model, cultures: dict[str, Culture], grounds: Grounds = grounding.NONE
    ) -> None:
        self.settings, self.model, self.cultures, self.grounds = settings, model, cultures, grounds

    def __call__(
        self, before: Sequence[Mapping[str, Any]], after: Sequence[Mapping[str, Any]]
    ) -> list[dict[str, Any] | str]:
        """For each of `after` the row with its scores, or the reason why it cannot take the place of that of `before`.

        The reason is that of a score below its threshold, less_true, less_answering, or why the reviewer's answer could
        not be used.
        """
        rows_after = [{name: row.get(name) for name in features.CANDIDATES} for row in after]
        numbered = Dataset.from_list(
            [{**row, "sample_id": str(place)} for place, row in enumerate(rows_after)], features=features.CANDIDATES
        )
        rows: Iterator[dict[str, Any]] = iter(run(numbered, self.settings, self.model, self.cultures, self.grounds))
        reviewed = {int(row["sample_id"]): row for row in rows}
        found: list[dict[str, Any] | str] = []
        for place, (old, new) in enumerate(zip(before, after, strict=True)):
            row = reviewed[place]
            reason = row["drop_reason"] or _worse(old, row)
            scores = {name: row[name] for name in (*CRITERIA, "recognised_as", "review")}
            found.append(reason or {**new, **scores})
        return found

    def used(self) -> dict[str, Any]:
        """What the reviewer used since this was asked last, and what that costs in US dollars."""
        usage = self.model.take_usage()
        return {**asdict(usage), "cost_usd": self.model.cost(usage)}


def _worse(old: Mapping[str, Any], new: Mapping[str, Any]) -> str | None:
    """Why a text is worse than the one before it; a candidate that was not reviewed is no measure."""
    pairs = (("truth", "less_true"), ("answering", "less_answering"))
    return next((reason for name, reason in pairs if old[name] is not None and new[name] < old[name]), None)
