"""From topics to candidates: subtopics -> questions -> answers -> adapted -> isolated -> candidates (seed 001, 3.2).

Where others' isolated answers are judged, candidates are made from what is left of them (`addressed`). With a review or
rounds of optimisation, what contrast.py writes is `contrasted`, and `candidates` are what became of it; with both, what
the review leaves is `reviewed`. Others' contrastive answers (`contrasted_others`) are for preference pairs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from datasets import Dataset

    from caredio.cultures import Culture
    from caredio.llm.model import Model
    from caredio.llm.settings import Endpoint
    from caredio.runs import Run
    from caredio.synthesis.personas import People
    from caredio.topics import Topic

from dataclasses import asdict

from caredio import features
from caredio.llm.embeddings import Embeddings
from caredio.llm.plan import is_local
from caredio.selection import embed
from caredio.selection.embedders import identity
from caredio.selection.settings import Settings as Selection
from caredio.settings import view
from caredio.stages import Stage
from caredio.synthesis import (
    adapt,
    addresses,
    checks,
    contrast,
    contrast_others,
    evidence,
    grounding,
    isolated,
    languages,
    optimize,
    personas,
    questions,
    review,
    roleplay,
    subtopics,
    voice,
)
from caredio.synthesis.settings import Settings, check_objective, check_questions, least_cosine

_MODULES = (
    *(subtopics, questions, evidence, grounding, roleplay, adapt, isolated, addresses, contrast, review),
    *(optimize, contrast_others),
)
STAGES = tuple(module.STAGE for module in _MODULES)


def describe(stages: Mapping[str, Any]) -> list[str]:
    """Sentences for the card on how a run's candidates were written, from its entries in run.json."""
    settings = {name: entry["made_from"]["config"] for name, entry in stages.items()}
    asked = (stages["candidates"]["made_from"].get("model") or {}).get("model", "")
    parts = subtopics.describe(settings["subtopics"]) if "subtopics" in settings else ""  # of older runs none
    return [
        questions.describe(settings["questions"], len(settings["questions"]["topics"]), parts),
        voice.describe(settings["isolated"]),
        adapt.describe(settings["adapted"]),
        grounding.describe(stages),
        personas.describe(settings["isolated"]),
        addresses.describe(stages.get("addressed")),
        contrast.describe(settings["contrasted" if "contrasted" in settings else "candidates"]),
        _describe_review(stages),
        optimize.describe(settings["candidates"], asked),
        checks.describe(settings["questions"]),
    ]


def review_record(stages: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """What the review that a run's candidates passed was made from, by run.json; None where there was none."""
    made: Mapping[str, Any] = stages["candidates"]["made_from"]
    if "reviewed" in made["inputs"]:
        made = stages["reviewed"]["made_from"]
        return made
    return None if "contrasted" not in made["inputs"] or "optimize_rounds" in made["config"] else made


def _describe_review(stages: Mapping[str, Any]) -> str:
    """A sentence for the card on the review that the candidates passed."""
    made = review_record(stages)
    if made is None:
        return review.describe(None)
    return review.describe(made["config"], made["model"]["model"], stages["contrasted"]["made_from"]["model"]["model"])


def _check(
    run: Run,
    model: Model,
    targets: list[Culture],
    settings: Settings,
    selection: Selection,
    endpoint: Endpoint | None,
) -> None:
    """See that the settings of both rooms fit each other, the targets and the run, before anything is spent.

    Raises:
        EndpointError: an embedder's endpoint needs a key.
        InputError: the run ranks a table, a culture's language is unknown, the optimisation's embedder cannot be had,
            or it reports by the one that it chooses by.
    """
    run.claim(None)
    for target in targets:
        languages.name(adapt.language(target, settings))
    check_questions(settings, selection)
    check_objective(settings, selection)
    seen = settings.evidence or least_cosine(settings, selection) < 1
    embedders = {selection.embedder} if seen else set()
    if settings.optimize_rounds:
        embedders |= set(filter(None, (selection.embedder, settings.held_out)))
    for embedder in sorted(embedders):
        embed.check(embedder, endpoint, load=not is_local(model.spec))


def _asked(
    made: Callable[..., Dataset],
    topics: list[Topic],
    model: Model,
    cultures: dict[str, Culture],
    settings: Settings,
    selection: Selection,
    endpoint: Endpoint | None,
) -> Dataset:
    """The universal questions on each topic.

    Args:
        made: makes the table of a stage, or reads it.
    """
    table = features.table([asdict(topic) for topic in topics], features.TOPICS)
    counted = {"topics": topics, "known": list(cultures.values()) if checks.on(settings) else []}
    parts = made(subtopics.STAGE, lambda: subtopics.run(table, view("subtopics", settings), model, cultures), **counted)
    cosine = least_cosine(settings, selection)

    def written() -> tuple[Dataset, dict[str, Any]]:
        encode = None
        if cosine < 1:
            encode = embed.encoder(selection.embedder, selection.embedding_batch_size, endpoint)
        found = questions.run(parts, view("questions", settings), model, cultures, cosine, encode)
        return found, {"embedders": {encode.model: encode.used()}} if isinstance(encode, Embeddings) else {}

    embedder = identity(selection.embedder) if cosine < 1 else ""
    return made(questions.STAGE, written, **counted, cosine=cosine, embedder=embedder)


def _improved(
    made: Callable[..., Dataset],
    candidates: Dataset,
    topics: list[Topic],
    model: Model,
    reviewer: Model | None,
    cultures: dict[str, Culture],
    settings: Settings,
    selection: Selection,
    endpoint: Endpoint | None,
    grounds: grounding.Grounds,
) -> Dataset:
    """What the review leaves of the candidates, and what optimisation makes of these; `made` as in `_asked`."""
    known, guard, judged = list(cultures.values()), None, {}
    if settings.reviews:
        by, first = reviewer or model, candidates
        candidates = made(
            review.STAGE,
            lambda: review.run(first, view("reviewed", settings), by, cultures, grounds),
            table="reviewed" if settings.optimize_rounds else "candidates",
            by=by,
            cultures=known,
        )
        guard = review.Guard(view("optimized", settings), by, cultures, grounds)
        judged = {"reviewer": by.spec.as_stored()}
    if not settings.optimize_rounds:
        return candidates
    start, rooms = candidates, (view("optimized", settings), view("optimized", selection))
    sentences = {topic.topic_id: f"{topic.topic}: {topic.description}" for topic in topics}
    return made(
        optimize.STAGE,
        lambda: optimize.run(start, *rooms, model, cultures, sentences, endpoint, guard, grounds),
        table="candidates",
        after=["reviewed" if settings.reviews else "contrasted"],
        cultures=known,
        topics=sentences,
        **judged,
        **({} if settings.contrast else {"contrast": False}),
    )


def _grounds(
    made: Callable[..., Dataset],
    asked: Dataset,
    pieces: tuple[Dataset, Mapping[str, Any]] | None,
    people: People | None,
    settings: Settings,
    selection: Selection,
    endpoint: Endpoint | None,
) -> grounding.Grounds:
    """What answers are grounded in.

    Args:
        made: makes the table of a stage, or reads it.
    """
    if pieces is None:
        return grounding.of(None, people, settings.prompts)
    given, record = pieces
    known = made(evidence.STAGE, lambda: evidence.run(given, view("evidence", settings)), by=None, source=dict(record))
    rooms = view("grounding", settings), view("grounding", selection)
    near = made(grounding.STAGE, lambda: grounding.run(asked, known, *rooms, endpoint), by=None)
    return grounding.of(near, people, settings.prompts)


def _grounded(made: Callable[..., Dataset], evident: bool, people: People | None) -> Callable[..., Dataset]:
    """As `made`, of stages whose prompts may show evidence and speak of people."""
    shown = [grounding.STAGE.name] if evident else []

    def told(stage: Stage, compute: Callable[[], Any], after: Sequence[str] = (), **extra: Any) -> Dataset:
        if people and stage in (isolated.STAGE, optimize.STAGE):
            extra["people"] = people.record
        used = (grounding.PROMPT,) if evident else ()
        return made(stage, compute, after=[*(after or stage.reads), *shown], prompts=used, **extra)

    return told


def synthesize(
    run: Run,
    model: Model,
    targets: list[Culture],
    topics: list[Topic],
    cultures: dict[str, Culture],
    settings: Settings = Settings(),
    selection: Selection = Selection(),
    endpoint: Endpoint | None = None,
    known_topics: dict[str, Topic] | None = None,
    reviewer: Model | None = None,
    pieces: tuple[Dataset, Mapping[str, Any]] | None = None,
    people: People | None = None,
) -> Dataset:
    """Write the candidates of `targets` on `topics` into `run`, stage by stage.

    Args:
        cultures: all known cultures by slug; those that answer beside the targets come from here.
        selection: the objective of the optimisation, and with how many cultures an answer will be compared.
        endpoint: how to reach an embedder that an endpoint serves, for the optimisation.
        known_topics: all known topics by id, which the run keeps for later commands; by default `topics`.
        reviewer: the model that reviews, where candidates are reviewed; by default the one that writes.
        pieces: evidence as `evidence.GIVEN`, and the record of where it comes from.
        people: whom personas are drawn from, where not made of categories.

    Returns:
        `features.CANDIDATES`.

    Raises:
        EndpointError: the model cannot be asked; what arrived is stored.
        InputError: a stage has nothing left to work on, a culture's language is unknown, or the run ranks a table.
    """
    _check(run, model, targets, settings, selection, endpoint)
    run.use(cultures, known_topics or {topic.topic_id: topic for topic in topics})
    known = list(cultures.values())

    def of(stage: str) -> tuple[Settings, Selection]:
        return view(stage, settings), view(stage, selection)

    def made(
        stage: Stage, compute: Callable[[], Any], table: str = "", by: Model | None = model, **extra: Any
    ) -> Dataset:
        return stage.run(run, compute, (settings, selection), table=table, model=by, **extra)

    answering, adapting = (of(stage)[0] for stage in ("answers", "adapted"))
    whom: dict[str, Any] = {"targets": targets, "cultures": known}
    asked = _asked(made, topics, model, cultures, settings, selection, endpoint)
    grounds = _grounds(made, asked, pieces, people, settings, selection, endpoint)
    told = _grounded(made, pieces is not None, people)
    if settings.adaptation:
        answers = told(
            roleplay.STAGE, lambda: roleplay.run(asked, answering, model, cultures, targets, grounds), **whom
        )
        adapted = made(adapt.STAGE, lambda: adapt.run(asked, answers, adapting, model, cultures, targets), **whom)
    else:
        same: dict[str, Any] = {"by": None, "after": ["questions"], "adaptation": False, "targets": targets}
        adapted = made(adapt.STAGE, lambda: adapt.unadapted(asked, targets), **same)
    on = {"cultures": known}
    off: dict[str, Any] = {} if settings.contrast else {"contrast": False}
    answered = {**on, **off}
    alone = told(isolated.STAGE, lambda: isolated.run(adapted, *of("isolated"), model, cultures, grounds), **answered)
    said, judging = alone, of("addressed")[0]
    if addresses.on(settings):
        said = told(addresses.STAGE, lambda: addresses.run(adapted, alone, judging, model, cultures, grounds), **on)
    candidates = told(
        contrast.STAGE if settings.contrast else contrast.ALONE,
        lambda: contrast.run(adapted, said, *of("contrasted"), model, cultures, grounds),
        table="contrasted" if settings.reviews or settings.optimize_rounds else "candidates",
        after=["adapted", addresses.left(settings)],
        **answered,
    )
    by = (topics, model, reviewer, cultures, settings, selection, endpoint, grounds)
    candidates = _improved(told, candidates, *by)
    if settings.contrast_others:
        beside = of("contrasted_others")[0]
        told(contrast_others.STAGE, lambda: contrast_others.run(candidates, beside, model, cultures, grounds), **on)
    return candidates
