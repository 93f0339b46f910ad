"""From candidates to a ranked split: vectors -> scored -> ranked (seed 001, 3.3)."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from datasets import Dataset

    from caredio.llm.model import Model
    from caredio.runs import Run

from caredio import features
from caredio.errors import InputError
from caredio.llm.embeddings import Embeddings
from caredio.llm.rows import likelihoods
from caredio.llm.settings import Endpoint
from caredio.selection import (
    cluster,
    distinct,
    embed,
    engine,
    generality,
    ifd,
    in_context,
    match,
    rank,
    rds,
    represent,
    support,
    validation,
)
from caredio.selection.conditioning import Conditioning, probe
from caredio.selection.embedders import GIVEN
from caredio.selection.settings import Settings, combined, threshold
from caredio.settings import view
from caredio.stages import Planned, Planning, Stage


def _calls(planning: Planning) -> Planned:
    rooms = (represent, distinct, ifd, rds)
    return Planned([step for room in rooms for step in room.steps(planning)])


SCORED = Stage(
    "scored",
    {"candidates": " ".join(features.CANDIDATES), "vectors": "sample_id sample_embedding response_embedding"},
    features.SCORED,
    modules=tuple(module.__name__ for module in (cluster, represent, support, distinct, ifd, rds, rank)),
    prompts=("likelihood", "validation"),
    calls=_calls,
)
STAGES = (match.STAGE, embed.STAGE, SCORED, rank.STAGE)


def prompts(settings: Settings) -> tuple[str, ...]:
    """The prompts of the scores that ask a model."""
    estimates = (generality.PROMPT,) if settings.distinctiveness == "cci" else ()
    options = ("choice",) if settings.representativeness == "in_context" else ()
    return (*SCORED.prompts, *estimates, *options)


def describe(stages: Mapping[str, Any], topics: bool) -> list[str]:
    """Sentences for the card on how a run's rows were ranked, from its entries in run.json.

    Args:
        topics: whether its rows have topics, without which no quota of them held.
    """
    made_from = stages["scored"]["made_from"]
    settings, asked = made_from["config"], (made_from.get("model") or {}).get("model", "")
    return [
        embed.describe(stages["vectors"]["made_from"]["config"]),
        cluster.describe(settings, stages["scored"]["theta"]),
        represent.describe(settings, asked, stages["scored"].get("read_by", "")),
        distinct.describe(settings, asked, written=not stages["candidates"]["made_from"]["source"]),
        rank.describe({**settings, **({} if topics else {"topic_share": None})}, _combined(settings), asked),
    ]


def describe_order(stages: Mapping[str, Any]) -> str:
    """In which order a run's ranked rows come, for the card."""
    return rank.describe_order(stages["scored"]["made_from"]["config"])


def describe_limits(stages: Mapping[str, Any]) -> list[str]:
    """Sentences for the card on what the rank of a run does not mean."""
    settings = stages["scored"]["made_from"]["config"]
    return rank.describe_limits(settings, _combined(settings))


def _combined(settings: Mapping[str, Any]) -> str:
    return combined(*(settings[name] for name in ("score", "representativeness", "distinctiveness")))


def select(
    run: Run,
    settings: Settings = Settings(),
    table: Dataset | None = None,
    source: dict[str, Any] | None = None,
    model: Model | None = None,
    endpoint: Endpoint | None = None,
) -> Dataset:
    """Rank the run's candidates, or the rows of a user's table, within each culture.

    Args:
        table: rows with question_id, question, response and culture; None takes the candidates that
            `synthesize` wrote into `run`.
        source: what the table is, its hash included, by which an unchanged one is known.
        model: who is asked for the scores that need one.
        endpoint: how to reach an embedder that an endpoint serves.

    Returns:
        `features.RANKED`.

    Raises:
        InputError: a column is missing, no row is left, no two cultures answered the same question, or the validation
            file is not what was wanted.
        EndpointError: the model cannot be asked.
    """
    theta = threshold(settings)
    validated_by = _validated_by(settings)  # a bad file is found first
    on = engine.connect(settings.engine)

    @functools.cache
    def see_likelihoods() -> None:
        if settings.measures_likelihood and model:
            likelihoods([probe(Conditioning(prompts=settings.prompts))], model, "log-probabilities")

    def encode() -> embed.Encoder:
        see_likelihoods()  # without which vectors would be paid for in vain
        return embed.encoder(settings.embedder, settings.embedding_batch_size, endpoint, on)

    candidates, vectors = candidates_and_vectors(run, settings, table, source, encode)
    names: dict[str, str] = {}
    if settings.asks:
        run.use(cultures := run.cultures())
        names = {slug: culture.name for slug, culture in cultures.items()}

    def scored() -> tuple[Dataset, dict[str, Any]]:
        see_likelihoods()
        own, conditioning = view("scored", settings), Conditioning(names, settings.prompts)
        pool = cluster.run(candidates, vectors, own, theta, on)
        read_by = ""
        if settings.representativeness == "in_context" and model:
            read_by = in_context.reading(model, validation.read(own.validation or "", own.prompts), conditioning)
        pool = represent.run(pool, vectors, own, model, conditioning, read_by)
        pool = distinct.run(pool, vectors, own, model, on, conditioning)
        measured, used = _measured(pool, vectors, own, model, conditioning, encode)
        pool = rank.score(pool, vectors, own, measured)
        reads = {"read_by": read_by} if read_by else {}
        return pool, {"theta": theta, "clusters": cluster.report(pool), **used, **reads}

    pool = SCORED.run(
        run,
        scored,
        [settings],
        model=model if settings.asks else None,
        source=validated_by,
        similarity=theta,
        combine=settings.combine,
        names=names,
        prompts=prompts(settings)[len(SCORED.prompts) :],
        **generality.counted(settings),
        **({"references_drawn": "once a culture"} if settings.representativeness == "information" else {}),
    )
    return rank.STAGE.run(run, lambda: rank.run(pool))


def _validated_by(settings: Settings) -> str:
    """The hashes of what is read of the validation file: as it is asked, and as rows are compared with it."""
    file, found = settings.validation or "", ""
    if settings.representativeness == "in_context":
        found += validation.digest(file, settings.prompts)
    if settings.ranking == rds.NAME:
        found += validation.digest(file)
    return found


def _measured(
    pool: Dataset,
    vectors: Dataset,
    settings: Settings,
    model: Model | None,
    conditioning: Conditioning,
    encode: Callable[[], embed.Encoder],
) -> tuple[dict[str, float | None] | None, dict[str, Any]]:
    """The scores of a baseline that reads more than the pool, and what an endpoint that embeds for it used."""
    if settings.ranking == ifd.NAME:
        return ifd.scores(pool, model, conditioning), {}
    if settings.ranking != rds.NAME:
        return None, {}
    embedder = encode()
    found = rds.scores(pool, vectors, settings, embedder)
    return found, {"usage": embedder.used()} if isinstance(embedder, Embeddings) and not settings.asks else {}


def candidates_and_vectors(
    run: Run,
    settings: Settings,
    table: Dataset | None,
    source: dict[str, Any] | None,
    encode: Callable[[], embed.Encoder],
    aside: str = "",
) -> tuple[Dataset, Dataset]:
    """The run's candidates, or those of a user's table, and their vectors; as `select`.

    Args:
        encode: makes the embedder, where there are vectors to make.
        aside: tables that would replace others of the run are written under their name after this one instead.
    """

    def matched() -> tuple[Dataset, dict[str, Any]]:
        candidates = match.run(table, view("candidates", settings))
        merged = {"merged": len(table) - len(candidates)} if table is not None else {}
        return candidates, {"alone": match.report(candidates), **merged, **left}

    def vectors() -> tuple[Dataset, dict[str, Any]]:
        if given and table is not None:
            return embed.given(table, candidates), {}
        if embed.STAGE.holds(run, f"calibration-{embed.STAGE.name}", [settings], **embedding):
            return run.table(f"calibration-{embed.STAGE.name}"), {}  # a calibration has made them
        embedder = encode()
        vectors = embed.run(candidates, view("vectors", settings), embedder)
        return vectors, {"usage": embedder.used()} if isinstance(embedder, Embeddings) else {}

    def name(stage: Stage, **made_from: Any) -> str:
        own = stage.name
        return f"{aside}-{own}" if aside and own in run.stages and not stage.holds(run, own, **made_from) else own

    match_as = match.STAGE.name
    source = dict(source or {})
    left = {name: source.pop(name) for name in ("columns_left",) if name in source}  # which changes no candidate
    if table is None:
        candidates = run.table(match_as)
    else:
        run.claim(source)
        match_as = name(match.STAGE, rooms=[settings], source=source)
        candidates = match.STAGE.run(run, matched, [settings], table=match_as, source=source)
    given = settings.embedder == GIVEN
    if given and table is None:
        if (by := run.stages.get("vectors", {}).get("made_from", {}).get("config", {}).get("embedder")) != GIVEN:
            raise InputError(
                f"{run.path / 'vectors'}: made by {by}, not given; name the table that holds vectors, or that embedder."
            )
        return candidates, run.table("vectors")
    embedding: dict[str, Any] = {"after": [match_as], "source": source if given else ""}
    embed_as = name(embed.STAGE, rooms=[settings], **embedding)
    return candidates, embed.STAGE.run(run, vectors, [settings], table=embed_as, **embedding)
