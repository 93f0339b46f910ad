"""From candidates to a ranked split: vectors -> scored -> ranked (seed 001, 3.3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from datasets import Dataset

    from caredio.llm.model import Model
    from caredio.runs import Run

from caredio.errors import InputError
from caredio.llm.embeddings import Embeddings
from caredio.llm.settings import Endpoint
from caredio.selection import cluster, distinct, embed, engine, match, rank, represent, validation


@dataclass(frozen=True)
class Config:
    """The Configs of the stages."""

    match: match.Config = match.Config()
    embed: embed.Config = embed.Config()
    cluster: cluster.Config = cluster.Config()
    represent: represent.Config = represent.Config()
    distinct: distinct.Config = distinct.Config()
    rank: rank.Config = rank.Config()

    def __post_init__(self) -> None:
        cluster.theta(self.cluster, self.embed.embedder)  # raises where the embedder's is unknown and none was given
        if self.rank.score == "product" and not self._shares:
            raise InputError(
                "a product of scores that can be negative ranks nothing; typicality and information need --score sum."
            )

    @property
    def asks(self) -> bool:
        """Whether scoring asks a model."""
        return self.represent.representativeness in represent.ASKING or self.distinct.distinctiveness == "information"

    @property
    def combine(self) -> str:
        """`product` or `sum`: the former where both scores are shares of something, as in seed 001."""
        if self.rank.score != "auto":
            return self.rank.score
        return "product" if self._shares else "sum"

    @property
    def _shares(self) -> bool:
        return _are_shares(self.represent.representativeness, self.distinct.distinctiveness)


def describe(stages: Mapping[str, Any]) -> list[str]:
    """Sentences for the card on how a run's rows were ranked, from its entries in run.json."""
    made_from = stages["scored"]["made_from"]
    settings, asked = made_from["config"], (made_from.get("model") or {}).get("model", "")
    return [
        embed.describe(stages["vectors"]["made_from"]["config"]),
        cluster.describe(settings["cluster"], stages["scored"]["theta"]),
        represent.describe(settings["represent"], asked),
        distinct.describe(settings["distinct"], asked),
        rank.describe(settings["rank"], _combined(settings)),
    ]


def describe_order(stages: Mapping[str, Any]) -> str:
    """In which order a run's ranked rows come, for the card."""
    return rank.describe_order(stages["scored"]["made_from"]["config"]["rank"])


def describe_limits(stages: Mapping[str, Any]) -> list[str]:
    """Sentences for the card on what the rank of a run does not mean."""
    settings = stages["scored"]["made_from"]["config"]
    return rank.describe_limits(settings["rank"], _combined(settings))


def _combined(settings: Mapping[str, Any]) -> str:
    """As `Config.combine`, from run.json."""
    score = settings["rank"]["score"]
    if score != "auto":
        return score
    shares = _are_shares(settings["represent"]["representativeness"], settings["distinct"]["distinctiveness"])
    return "product" if shares else "sum"


def _are_shares(r: str, d: str) -> bool:
    return r in ("size", "in_context") and d == "cosine"


def select(
    run: Run,
    config: Config = Config(),
    table: Dataset | None = None,
    source: dict[str, Any] | None = None,
    model: Model | None = None,
    endpoint: Endpoint | None = None,
    where: engine.Config = engine.Config(),
) -> Dataset:
    """Rank the run's candidates, or the rows of a table of one's own, within each culture.

    Args:
        table: rows with question_id, question, response and culture; None takes the candidates that
            `synthesize` wrote into `run`.
        source: what the table is, its hash included, by which an unchanged one is known.
        model: who is asked for the scores that need one.
        endpoint: how to reach an embedder that an endpoint serves.
        where: the machines that embed, cluster and compare.

    Returns:
        `features.RANKED`.

    Raises:
        InputError: a column is missing, no row is left, no two cultures answered the same question, or the validation
            file is not what was wanted.
        EndpointError: the model cannot be asked.
    """
    from caredio import features

    in_context = config.represent.representativeness == "in_context"
    validated_by = validation.digest(config.represent.validation) if in_context else ""  # a bad file is told first
    on = engine.connect(where)
    candidates, vectors = embedded(run, config.match, config.embed, table, source, endpoint, on)
    theta = cluster.theta(config.cluster, config.embed.embedder)
    names: dict[str, str] = {}
    if config.asks:
        run.use(cultures := run.cultures())
        names = {slug: culture.name for slug, culture in cultures.items()}

    def scored() -> tuple[Dataset, dict[str, Any]]:
        pool = cluster.run(candidates, vectors, config.cluster, config.embed.embedder, on)
        pool = represent.run(pool, vectors, config.represent, model, names)
        pool = distinct.run(pool, vectors, config.distinct, model, on, names)
        pool = rank.score(pool, vectors, config.rank, config.combine)
        return pool, {"theta": theta, "clusters": cluster.report(pool)}

    pool = run.stage(
        "scored",
        scored,
        columns=features.SCORED,
        after=["candidates", "vectors"],
        config={name: getattr(config, name) for name in ("cluster", "represent", "distinct", "rank")}
        | {"theta": theta, "combine": config.combine, "names": names},
        model=model if config.asks else None,
        prompt="likelihood" if config.asks else (),
        source=validated_by,
        code=[cluster, represent, distinct, rank],
    )
    return run.stage(
        "ranked", lambda: rank.run(pool), columns=features.RANKED, after=["scored"], code=[rank], split_by="culture"
    )


def embedded(
    run: Run,
    matching: match.Config,
    config: embed.Config,
    table: Dataset | None,
    source: dict[str, Any] | None,
    endpoint: Endpoint | None,
    on: engine.Engine,
    aside: str = "",
) -> tuple[Dataset, Dataset]:
    """The run's candidates, or those of a table of one's own, and their vectors; as `select`.

    Args:
        aside: tables that would replace others of the run are written under their name after this one instead.
    """
    from caredio import features
    from caredio.selection import source as sources

    def matched() -> tuple[Dataset, dict[str, Any]]:
        candidates = match.run(table, matching)
        return candidates, {"alone": match.report(candidates), **left}

    def vectors() -> tuple[Dataset, dict[str, Any]]:
        if given and table is not None:
            return embed.given(table, candidates), {}
        if run.holds(f"calibration-{embed_as}", **embedding):  # a calibration has made them
            return run.table(f"calibration-{embed_as}"), {}
        encode = embed.encoder(config, endpoint, on)
        vectors = embed.run(candidates, config, encode)
        return vectors, {"usage": encode.used()} if isinstance(encode, Embeddings) else {}

    def name(stage: str, **made_from: Any) -> str:
        return f"{aside}-{stage}" if aside and stage in run.stages and not run.holds(stage, **made_from) else stage

    match_as, embed_as = "candidates", "vectors"
    source = dict(source or {})
    left = {name: source.pop(name) for name in ("columns_left",) if name in source}  # which changes no candidate
    if table is None:
        candidates = run.table(match_as)
    else:
        run.claim(source)
        made: dict[str, Any] = {"columns": features.CANDIDATES, "config": matching, "source": source}
        made["code"] = [match, sources]
        match_as = name(match_as, **made)
        candidates = run.stage(match_as, matched, **made)
    given = config.embedder == embed.GIVEN
    if given and table is None:
        if (by := run.stages.get("vectors", {}).get("made_from", {}).get("config", {}).get("embedder")) != embed.GIVEN:
            raise InputError(
                f"{run.path / 'vectors'}: made by {by}, not given; name the table that holds vectors, or that embedder."
            )
        return candidates, run.table("vectors")
    embedding: dict[str, Any] = {"after": [match_as], "config": config, "code": [embed]}
    embedding["source"] = source if given else ""
    return candidates, run.stage(name(embed_as, **embedding), vectors, **embedding)
