"""From topics to candidates: questions -> answers -> adapted -> isolated -> candidates (seed 001, 3.2).

With rounds of optimisation, what contrast.py writes is `contrasted`, and `candidates` are what became of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from datasets import Dataset

    from caredio.cultures import Culture
    from caredio.llm.model import Model
    from caredio.llm.settings import Endpoint
    from caredio.runs import Run
    from caredio.topics import Topic

from caredio.llm.plan import is_local
from caredio.selection import embed
from caredio.synthesis import adapt, checks, contrast, isolated, languages, optimize, personas, questions, roleplay


@dataclass(frozen=True)
class Config:
    """The Configs of the stages."""

    questions: questions.Config = questions.Config()
    roleplay: roleplay.Config = roleplay.Config()
    adapt: adapt.Config = adapt.Config()
    contrast: contrast.Config = contrast.Config()
    personas: personas.Config = personas.Config()
    optimize: optimize.Config = optimize.Config()


def speakers(targets: list[Culture], cultures: dict[str, Culture], config: Config) -> dict[str, Culture]:
    """The targets and the neighbours that stand in their prompts, by slug."""
    slugs = [slug for target in targets for slug in (target.slug, *adapt.shown(target, config.adapt))]
    return {slug: cultures[slug] for slug in dict.fromkeys(slugs)}


def describe(stages: Mapping[str, Any]) -> list[str]:
    """Sentences for the card on how a run's candidates were written, from its entries in run.json."""
    made_from = {name: entry["made_from"] for name, entry in stages.items()}
    settings = {name: entry["config"] for name, entry in made_from.items()}
    asked = (made_from["candidates"].get("model") or {}).get("model", "")
    return [
        questions.describe(settings["questions"]["questions"], len(settings["questions"]["topics"])),
        roleplay.describe(settings["answers"]["roleplay"]),
        adapt.describe(settings["adapted"]["adapt"]),
        personas.describe(settings["isolated"]["personas"]),
        contrast.describe(settings["contrasted" if "contrasted" in settings else "candidates"]["contrast"]),
        optimize.describe(settings["candidates"].get("optimize"), asked),
        checks.describe(settings["questions"]["questions"]["checks"]),
    ]


def synthesize(
    run: Run,
    model: Model,
    targets: list[Culture],
    topics: list[Topic],
    cultures: dict[str, Culture],
    config: Config = Config(),
    endpoint: Endpoint | None = None,
    known_topics: dict[str, Topic] | None = None,
) -> Dataset:
    """Write the candidates of `targets` on `topics` into `run`, stage by stage.

    Args:
        cultures: all known cultures by slug; those that answer beside the targets come from here.
        endpoint: how to reach an embedder that an endpoint serves, for the optimisation.
        known_topics: all known topics by id, which the run keeps for later commands; by default `topics`.

    Returns:
        `features.CANDIDATES`.

    Raises:
        EndpointError: the model cannot be asked; what arrived is stored.
        InputError: a stage has nothing left to work on, a culture's language is unknown, or the run ranks a table.
    """
    from dataclasses import asdict

    from caredio import features

    run.claim(None)
    run.use(cultures, known_topics or {topic.topic_id: topic for topic in topics})
    near, known = speakers(targets, cultures, config), list(cultures.values())
    for target in targets:
        languages.name(adapt.language(target, config.adapt))  # one that has no name is told before anything is spent
    if config.optimize.optimize_rounds:
        for embedder in filter(None, (config.optimize.embed.embedder, config.optimize.held_out)):
            embed.check(embed.Config(embedder), endpoint, load=not is_local(model.spec))  # so is one that cannot embed
    topic_table = features.table([asdict(topic) for topic in topics], features.TOPICS)
    asked = run.stage(
        "questions",
        lambda: questions.run(topic_table, config.questions, model, cultures),
        columns=features.QUESTIONS,
        config={"questions": config.questions, "topics": topics, "known": known if config.questions.checks.on else []},
        model=model,
        prompt=["questions", "sensitivity"],
        code=[questions],
    )
    answers = run.stage(
        "answers",
        lambda: roleplay.run(asked, config.roleplay, model, near),
        columns=features.ANSWERS,
        after=["questions"],
        config={"roleplay": config.roleplay, "cultures": list(near.values())},
        model=model,
        prompt="roleplay",
        code=[roleplay],
    )
    adapted = run.stage(
        "adapted",
        lambda: adapt.run(asked, answers, config.adapt, model, cultures, targets),
        columns=features.ADAPTED,
        after=["questions", "answers"],
        config={"adapt": config.adapt, "targets": targets, "cultures": list(cultures.values())},
        model=model,
        prompt="adapt",
        code=[adapt],
    )
    style = {"contrast": config.contrast, "roleplay": config.roleplay, "cultures": list(cultures.values())}
    alone = run.stage(
        "isolated",
        lambda: isolated.run(adapted, config.contrast, config.personas, model, cultures, config.roleplay, config.adapt),
        columns=features.ISOLATED,
        after=["adapted"],
        config={**style, "personas": config.personas, "neighbours": config.adapt.neighbours},
        model=model,
        prompt="roleplay",
        code=[isolated],
    )
    rounds = config.optimize.optimize_rounds
    candidates = run.stage(
        "contrasted" if rounds else "candidates",
        lambda: contrast.run(adapted, alone, config.contrast, model, cultures, config.roleplay, config.adapt),
        columns=features.CANDIDATES,
        after=["adapted", "isolated"],
        config={**style, "neighbours": config.adapt.neighbours},
        model=model,
        prompt="contrast",
        code=[contrast],
    )
    if not rounds:
        return candidates
    told = {topic.topic_id: f"{topic.topic}: {topic.description}" for topic in topics}
    return run.stage(
        "candidates",
        lambda: optimize.run(candidates, config, model, cultures, told, endpoint),
        columns=features.CANDIDATES,
        after=["contrasted"],
        config={**style, "optimize": config.optimize, "adapt": config.adapt, "personas": config.personas}
        | {"topics": told},
        model=model,
        prompt=["improve", "rewrite", "roleplay", "contrast", "likelihood"],
        code=[optimize],
    )
