"""What a synthesis will cost, before it costs anything: the rows that its stages make, times the calls of a row."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from caredio import prompts
from caredio.cultures import Culture
from caredio.llm.plan import (
    ANSWER,
    CHARACTERS,
    QUESTION,
    Candidates,
    Plan,
    Step,
    is_local,
    likelihoods,
    tokens,
    vectors,
)
from caredio.llm.spec import Spec
from caredio.selection import represent
from caredio.selection.conditioning import Conditioning
from caredio.selection.embed import ENDPOINT
from caredio.selection.plan import informing, probes
from caredio.selection.settings import Settings as Selection
from caredio.synthesis import adapt, checks, contrast, isolated, panel, questions, redraw, roleplay
from caredio.synthesis.settings import Settings
from caredio.topics import Topic

_QUESTION, _ANSWER = "?" * QUESTION, "." * ANSWER
_ANSWER_TOKENS = ANSWER // CHARACTERS
_ADAPTED, _JUDGED = 220, 50  # tokens


def plan(
    targets: list[Culture],
    topics: list[Topic],
    cultures: dict[str, Culture],
    settings: Settings,
    selection: Selection,
    spec: Spec,
    batch: bool = False,
) -> Plan:
    """Count the calls of `synthesize` with these arguments, at the price of a Batch API if it is used.

    Every question is taken to be written, adapted and answered, and every round of optimisation to be run; what is
    dropped on the way, or stops early, makes it cheaper.
    """
    lengths = _tokens(targets[0], topics[0], cultures, settings, spec)
    calls, written = questions.expected(settings)
    most, drafts = questions.most(settings)
    counts = {"questions": (calls, most), "sensitivity": (written, drafts)}
    if not checks.on(settings):
        del counts["sensitivity"]
    for stage, of_question in _of_question(targets, cultures, settings, selection).items():
        counts[stage] = (written * of_question, settings.per_topic * of_question)
    steps = []
    for stage, (count, at_most) in counts.items():
        prompt, answer = lengths[stage]
        made = len(topics) * count
        tokens_written = made * min(answer, spec.max_tokens)
        steps.append(Step(stage, made, made * prompt, tokens_written, upper_bound=2 * len(topics) * at_most))
    pool = tuple(_candidates(target, len(topics) * written, cultures, settings, selection) for target in targets)
    if settings.reads_likelihood:
        steps = [*probes(settings.prompts, spec), *steps]
    if settings.optimize_rounds:
        steps += _measuring(pool, len(topics), settings, selection, spec)
    return Plan(spec.model, tuple(steps), batch, is_local(spec), pool)


def _candidates(
    target: Culture, rows: int, cultures: dict[str, Culture], settings: Settings, selection: Selection
) -> Candidates:
    others = panel.others(target, "", cultures, settings, selection)
    measured = settings.optimize_rounds > 0 and settings.objective == "likelihood"
    return Candidates(target.slug, rows, len(others), settings.personas, measured)


def _of_question(
    targets: list[Culture], cultures: dict[str, Culture], settings: Settings, selection: Selection
) -> dict[str, int]:
    """Stage -> how many calls it makes of a universal question."""
    count, near = len(targets), panel.answering(targets, cultures, settings)
    alone = sum(len(isolated.speakers(target, "", cultures, settings, selection)) for target in targets)
    stages = {"answers": len(near), "adapted": count, "isolated answers": alone, "contrastive answers": count}
    if settings.contrast_others:
        others = (panel.others(target, "", cultures, settings, selection) for target in targets)
        last = {"contrastive of others": sum(map(len, others))}
    else:
        last = {}
    if not settings.optimize_rounds:
        return stages | last
    tried, put = _draws(settings)
    asked = 2 if put else 1  # the first question, and the one that takes its place
    again = sum(
        1 + asked * _compared(_candidates(target, 1, cultures, settings, selection), selection) for target in targets
    )
    return stages | {
        "other answers": count * tried,
        "other questions": count * put,
        "isolated to them": alone * put,
        "contrastive to them": count * put,
        "held-out answers": again,
        **last,
    }


def _draws(settings: Settings) -> tuple[int, int]:
    """The other responses and the other questions of a candidate, of all rounds."""
    rounds = settings.optimize_rounds
    return rounds * settings.other_responses, rounds * settings.other_questions


def _compared(candidates: Candidates, selection: Selection) -> int:
    return min(selection.compared, candidates.others)


def _tokens(
    culture: Culture, topic: Topic, cultures: dict[str, Culture], settings: Settings, spec: Spec
) -> dict[str, tuple[int, int]]:
    """Stage -> tokens of a prompt and of an answer."""
    count = settings.per_call
    wanted: dict[str, Any] = {**asdict(topic), "question_type": "open", "count": count}
    wanted["examples"] = [_QUESTION] * settings.demonstrations
    shown = [{"culture": slug, "response": _ANSWER, "shown": True} for slug in panel.neighbours(culture, settings)]
    answering = [{"name": culture.name, "response": _ANSWER}] * (1 + len(shown))
    texts = {"question": _QUESTION, "universal_question": _QUESTION, "language": "en"}
    row = {**texts, "answers": answering, "others": shown, "response": _ANSWER, "typical": 0.0, "distinct": 0.0}
    template = {name: prompts.load(name, settings.prompts) for name in prompts.names()}
    ask = tokens(roleplay.prompt(row, culture, settings, template["roleplay"])), _ANSWER_TOKENS
    contrastive = tokens(contrast.prompt(row, culture, cultures, settings, template["contrast"])), _ANSWER_TOKENS
    question = count * QUESTION // CHARACTERS
    rewrite = tokens(redraw.question_prompt(row, culture, topic.description, template["rewrite"]), redraw.SCHEMA, spec)
    return {
        "questions": (tokens(questions.prompt(wanted, template["questions"]), questions.schema(count), spec), question),
        "sensitivity": (
            tokens(questions.judge_prompt(row, template["sensitivity"]), questions.JUDGEMENT, spec),
            _JUDGED,
        ),
        "answers": ask,
        "adapted": (tokens(adapt.prompt(row, culture, template["adapt"]), adapt.SCHEMA, spec), _ADAPTED),
        "isolated answers": ask,
        "contrastive answers": contrastive,
        "other answers": (
            tokens(redraw.answer_prompt(row, culture, cultures, settings, template["improve"])),
            _ANSWER_TOKENS,
        ),
        "other questions": (rewrite, _JUDGED + QUESTION // CHARACTERS),
        "isolated to them": ask,
        "contrastive to them": contrastive,
        "held-out answers": ask,
        "contrastive of others": contrastive,
    }


def _measuring(
    pool: tuple[Candidates, ...], topics: int, settings: Settings, selection: Selection, spec: Spec
) -> Iterator[Step]:
    """What the optimisation chooses by: likelihoods, and the texts that an endpoint embeds."""
    if settings.objective == "likelihood":
        counts = [_likelihoods(one, settings, selection) for one in pool]
        texts, chats = (sum(numbers) for numbers in zip(*counts, strict=True))
        sample = {"question": _QUESTION, "response": _ANSWER}
        asked = tokens(Conditioning(prompts=settings.prompts).chat("", [sample], _QUESTION))
        yield likelihoods("likelihoods", texts, chats, asked, _ANSWER_TOKENS, is_local(spec))
    asked_for = (
        ("vectors to choose by", selection.embedder, _chosen_by),
        ("held-out vectors", settings.held_out or "", _held_out),
    )
    for stage, embedder, groups in asked_for:
        if embedder.startswith(ENDPOINT):
            lengths = (group for one in pool for group in groups(one, topics, settings, selection))
            yield vectors(stage, embedder.partition(":")[2], lengths)


def _likelihoods(one: Candidates, settings: Settings, selection: Selection) -> tuple[int, int]:
    """(answers, chats before them) whose likelihoods the optimisation of a culture asks for; see ByLikelihood."""
    texts, chats = informing(one.rows, one.panel, selection)
    near, rest = represent.most_references(one.rows, one.panel, selection)
    spoken = 1 + _compared(one, selection)
    tried, put = _draws(settings)
    texts += one.rows * (spoken + (tried + put) * (near + rest + spoken))
    chats += one.rows * ((1 + put) * spoken + (tried + put) * (min(near, 1) + rest))
    return texts, chats


def _chosen_by(one: Candidates, topics: int, settings: Settings, selection: Selection) -> Iterator[tuple[int, int]]:
    """The texts that are embedded together while a culture is optimised: how many, and their length; see `optimize`."""
    scored = settings.objective == "embeddings"
    compared = _compared(one, selection)
    if scored:
        yield one.rows * (1 + one.panel), ANSWER
        yield one.rows * compared, ANSWER
    for number in range(settings.optimize_rounds):
        put = one.rows * settings.other_questions
        if scored:
            yield one.rows * settings.other_responses, ANSWER
        if put:
            yield put + (0 if number else one.rows + topics), QUESTION
        if scored:
            yield put * (1 + compared), ANSWER


def _held_out(one: Candidates, topics: int, settings: Settings, selection: Selection) -> Iterator[tuple[int, int]]:
    """As `_chosen_by`, of the report: answers given once more, those before and those after."""
    compared = _compared(one, selection)
    yield one.rows, ANSWER
    yield one.rows * (1 + compared), ANSWER
    yield one.rows * (1 + compared if settings.other_questions else 1), ANSWER
