"""What a synthesis will cost, before it costs anything."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from caredio.cultures import Culture
from caredio.llm.prices import Usage, cost, noted
from caredio.llm.spec import Messages, Spec
from caredio.synthesis import Config, adapt, contrast, questions, redraw, roleplay, speakers
from caredio.topics import Topic

_CHARACTERS = 4  # a token, roughly, in English
_QUESTION, _ANSWER = "?" * 120, "." * 400  # what such texts run to
_ADAPTED, _JUDGED = 220, 50  # tokens


@dataclass(frozen=True)
class Step:
    """The calls of a stage; prompt tokens from the prompt files, answers at their usual length."""

    stage: str
    calls: int
    prompt_tokens: int
    completion_tokens: int


@dataclass(frozen=True)
class Plan:
    """Steps in the order they run. `str(plan)` is the table that `--dry-run` prints."""

    model: str
    steps: tuple[Step, ...]
    batch: bool = False

    @property
    def total(self) -> Step:
        sums = [sum(getattr(step, name) for step in self.steps) for name in list(asdict(self.steps[0]))[1:]]
        return Step("total", *sums)

    def __str__(self) -> str:
        lines = [f"{'stage':<22}{'calls':>10}{'prompt tokens':>16}{'answer tokens':>16}{'US dollars':>13}"]
        for step in (*self.steps, self.total):
            usage = Usage(step.calls, 0, step.prompt_tokens, step.completion_tokens)
            dollars = cost(self.model, usage, self.batch)
            price = f"{dollars:,.2f}" if dollars is not None else "no price"
            lines.append(
                f"{step.stage:<22}{step.calls:>10,}{step.prompt_tokens:>16,}{step.completion_tokens:>16,}{price:>13}"
            )
        prices = f"{'batch' if self.batch else 'list'} prices of {noted()}"
        lines.append(
            f"Estimates for {self.model}, at {_CHARACTERS} characters a token and {prices}; repairs and retries come on"
            " top, and answers that are stored already cost nothing."
        )
        return "\n".join(lines)


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
    answer = len(_ANSWER) // _CHARACTERS
    ask = _tokens(roleplay.prompt(asked, culture, config.roleplay))
    examples = [_QUESTION] * config.questions.demonstrations
    judged = count if config.questions.checks.on else 0
    contrastive = _tokens(contrast.prompt(asked, culture, cultures, config.roleplay))
    alone = count * (len(targets) * (1 + config.personas.personas) + others)
    steps: tuple[tuple[str, int, int, int], ...] = (
        (
            "questions",
            len(topics) * written,
            _tokens(questions.prompt({**topic, "examples": examples})),
            config.questions.per_call * len(_QUESTION) // _CHARACTERS,
        ),
        ("sensitivity", judged, _tokens(questions.judge_prompt(asked)), _JUDGED),
        ("answers", count * len(near), ask, answer),
        ("adapted", pairs, _tokens(adapt.prompt(asked, culture)), _ADAPTED),
        ("isolated answers", alone, ask, answer),
        ("contrastive answers", pairs, contrastive, answer),
    )
    if config.optimize.optimize_rounds:
        best = {**asked, "response": _ANSWER, "typical": 0.0, "distinct": 0.0}
        improve = _tokens(redraw.answer_prompt(best, culture, cultures, config.roleplay))
        rewrite = _tokens(redraw.question_prompt(best, culture, topics[0].description))
        rounds = config.optimize.optimize_rounds
        tried, put = rounds * config.optimize.other_responses, rounds * config.optimize.other_questions
        steps += (
            ("other answers", pairs * tried, improve, answer),
            ("other questions", pairs * put, rewrite, _JUDGED + len(_QUESTION) // _CHARACTERS),
            ("isolated to them", alone * put, ask, answer),
            ("contrastive to them", pairs * put, contrastive, answer),
            ("held-out answers", pairs * 2 * (1 + config.contrast.compared), ask, answer),
        )
        if config.optimize.objective == "likelihood":
            read = config.optimize.references * (2 + tried + put)  # after the sample, and once after another
            read += (1 + config.contrast.compared) * (1 + tried + put)
            steps += (("likelihoods", pairs * read, 2 * (len(_QUESTION) + len(_ANSWER)) // _CHARACTERS, 0),)
    counted = tuple(Step(name, n, n * p, n * min(a, spec.max_tokens)) for name, n, p, a in steps)
    return Plan(spec.model, counted, batch)


def _tokens(messages: Messages) -> int:
    return sum(len(message["content"]) for message in messages) // _CHARACTERS
