"""What a synthesis will cost, before it costs anything."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from caredio.cultures import Culture
from caredio.llm.plan import ANSWER, CHARACTERS, QUESTION, Plan, Step, embedded, tokens
from caredio.llm.spec import Spec
from caredio.selection.embed import ENDPOINT
from caredio.synthesis import Config, adapt, contrast, questions, redraw, roleplay, speakers
from caredio.topics import Topic

_QUESTION, _ANSWER = "?" * QUESTION, "." * ANSWER
_ADAPTED, _JUDGED = 220, 50  # tokens


def plan(
    targets: list[Culture],
    topics: list[Topic],
    cultures: dict[str, Culture],
    config: Config,
    spec: Spec,
    batch: bool = False,
) -> Plan:
    """Count the calls of `synthesize` with these arguments, at the price of a Batch API if it is used.

    Every question is taken to be written, adapted and answered, and every round of optimisation to be run; what is
    dropped on the way, or stops early, makes it cheaper.
    """
    count = len(topics) * config.questions.per_topic
    pairs = count * len(targets)
    near = speakers(targets, cultures, config)
    culture = targets[0]
    others = sum(
        len(adapt.shown(target, config.adapt))
        + len(contrast.compared(target, "", cultures, config.contrast, adapt.shown(target, config.adapt)))
        for target in targets
    )
    written = sum(
        -(-share // config.questions.per_call) for share in questions.quota(config.questions.per_topic).values()
    )
    topic: dict[str, Any] = {**asdict(topics[0]), "question_type": "open", "count": config.questions.per_call}
    shown = [{"culture": slug, "response": _ANSWER, "shown": True} for slug in adapt.shown(culture, config.adapt)]
    heard = [{"name": culture.name, "response": _ANSWER}] * (1 + len(shown))
    texts = {"question": _QUESTION, "universal_question": _QUESTION, "language": "en"}
    asked = {**texts, "answers": heard, "others": shown}
    answer = len(_ANSWER) // CHARACTERS
    ask = tokens(roleplay.prompt(asked, culture, config.roleplay))
    examples = [_QUESTION] * config.questions.demonstrations
    judged = count if config.questions.checks.on else 0
    contrastive = tokens(contrast.prompt(asked, culture, cultures, config.roleplay))
    alone = count * (len(targets) * (1 + config.personas.personas) + others)
    steps: tuple[tuple[str, int, int, int], ...] = (
        (
            "questions",
            len(topics) * written,
            tokens(questions.prompt({**topic, "examples": examples})),
            config.questions.per_call * len(_QUESTION) // CHARACTERS,
        ),
        ("sensitivity", judged, tokens(questions.judge_prompt(asked)), _JUDGED),
        ("answers", count * len(near), ask, answer),
        ("adapted", pairs, tokens(adapt.prompt(asked, culture)), _ADAPTED),
        ("isolated answers", alone, ask, answer),
        ("contrastive answers", pairs, contrastive, answer),
    )
    if config.optimize.optimize_rounds:
        best = {**asked, "response": _ANSWER, "typical": 0.0, "distinct": 0.0}
        improve = tokens(redraw.answer_prompt(best, culture, cultures, config.roleplay))
        rewrite = tokens(redraw.question_prompt(best, culture, topics[0].description))
        rounds = config.optimize.optimize_rounds
        tried, put = rounds * config.optimize.other_responses, rounds * config.optimize.other_questions
        steps += (
            ("other answers", pairs * tried, improve, answer),
            ("other questions", pairs * put, rewrite, _JUDGED + len(_QUESTION) // CHARACTERS),
            ("isolated to them", alone * put, ask, answer),
            ("contrastive to them", pairs * put, contrastive, answer),
            ("held-out answers", pairs * 2 * (1 + config.contrast.compared), ask, answer),
        )
        if config.optimize.objective == "likelihood":
            read = config.optimize.references * (2 + tried + put)  # after the sample, and once after another
            read += (1 + config.contrast.compared) * (1 + tried + put)
            steps += (("likelihoods", pairs * read, 2 * (len(_QUESTION) + len(_ANSWER)) // CHARACTERS, 0),)
    counted = tuple(Step(name, n, n * p, n * min(a, spec.max_tokens)) for name, n, p, a in steps)
    return Plan(spec.model, counted + _vectors(pairs, config), batch)


def _vectors(pairs: int, config: Config) -> tuple[Step, ...]:
    """The texts of the optimisation that an endpoint embeds."""
    rounds, compared = config.optimize.optimize_rounds, config.contrast.compared
    tried, put = rounds * config.optimize.other_responses, rounds * config.optimize.other_questions
    read = pairs * put * QUESTION
    if config.optimize.objective == "embeddings":
        read += pairs * (1 + config.personas.personas + compared + tried + put * (1 + compared)) * ANSWER
    again = pairs * (3 + 2 * compared) * ANSWER
    asked = (
        ("vectors to choose by", config.optimize.embed.embedder, read),
        ("held-out vectors", config.optimize.held_out, again),
    )
    return tuple(
        embedded(stage, name.removeprefix(ENDPOINT), characters // ANSWER, ANSWER)
        for stage, name, characters in asked
        if rounds and name.startswith(ENDPOINT)
    )
