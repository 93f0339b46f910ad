"""Each culture's answer to its question, sharpened by the answers of others (seed 001, 3.2: cognitive conflict).

adapted, isolated -> candidates. The target answers again, shown the isolated answers of near and far cultures, after a
reflection on what they take for granted. What distinctiveness compares with are others' isolated answers, none of which
was shown (panel.py says whose).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from datasets import Dataset, Features

from caredio import features, prompts
from caredio.cultures import Culture
from caredio.llm import plan
from caredio.llm.cache import Answer
from caredio.llm.model import Model
from caredio.llm.rows import Unusable, ask
from caredio.llm.spec import Messages
from caredio.prompts import Prompt
from caredio.selection.settings import Settings as Selection
from caredio.stages import Expected, Planned, Planning, Stage, fan_out, in_all
from caredio.synthesis import checks, grounding, panel, voice
from caredio.synthesis.grounding import Grounds
from caredio.synthesis.settings import Settings


def calls(planning: Planning) -> Planned:
    """A request for each adapted question."""
    both = zip(planning.rows["adapted"], planning.rows["isolated"], strict=True)
    contrasted = [
        replace(adapted, others=alone.others, shown=alone.shown, panel=alone.panel) for adapted, alone in both
    ]
    asked = [step("contrastive answers", in_all(contrasted), planning)] if planning.settings.contrast else []
    return Planned(asked, contrasted)


def step(stage: str, asked: Expected, planning: Planning) -> plan.Step:
    """The requests of a stage that has questions answered in contrast."""
    culture, settings = planning.targets[0], planning.settings
    template = prompts.load("contrast", settings.prompts)
    messages = prompt(expected_row(planning), culture, dict(planning.cultures), settings, template)
    asked_for = plan.tokens(grounding.planned(messages, planning), SCHEMA, planning.spec)
    return plan.answers(stage, asked, asked_for, planning.spec, written(settings))


def written(settings: Settings) -> int:
    """About how many tokens a reflection and the answer after it have."""
    return _REFLECTION + voice.tokens(settings)


def expected_row(planning: Planning) -> dict[str, Any]:
    """A row of the first target as it is planned with: a question, a response, and what its neighbours answered."""
    shown = panel.shown(planning.targets[0], "", planning.cultures, planning.settings)
    sample = voice.sample(planning.settings)
    others = [{"culture": slug, "response": sample["response"], "shown": True} for slug in shown]
    return {**sample, "universal_question": sample["question"], "language": "en", "others": others}


STAGE = Stage(
    "contrasted",
    {
        "adapted": " ".join(features.ADAPTED),
        "isolated": "target question_id culture persona draw response",
    },
    features.CANDIDATES,
    modules=(__name__,),
    prompts=("contrast", "voice"),
    calls=calls,
)
ALONE = replace(STAGE, prompts=("roleplay", "voice"))  # without contrast
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"reflection": {"type": "string"}, "answer": {"type": "string"}},
    "required": ["reflection", "answer"],
    "additionalProperties": False,
}
WRITTEN = ("response", "reflection", "model_revision", "sample_id")  # of a candidate's columns, by one answer
_REFLECTION = 100  # tokens that one usually has
WITHOUT_EFFECT = ("_REFLECTION", "ALONE")  # on what the stage makes (fingerprints.py)


def describe(settings: Mapping[str, Any]) -> str:
    """A sentence for the card on the contrast: settings as run.json holds them."""
    if not settings.get("contrast", True):
        compared = panel.describe_compared(settings)
        return f"Contrast: none; the answers that each culture gives in isolation are the candidates; {compared}."
    return (
        f"Contrast: each culture answers its question again, shown the answers of {panel.describe_shown(settings)},"
        " after a reflection on what they take for granted, which stands in the column `reflection` and in no text that"
        f" is trained on; {panel.describe_compared(settings)}."
    )


def prompt(
    row: dict[str, Any], culture: Culture, cultures: dict[str, Culture], settings: Settings, template: Prompt
) -> Messages:
    """Row of question, language and others -> messages that have `culture` answer after reading the shown others."""
    return template.messages(
        name=culture.name,
        question=row["question"],
        answers=shown_answers(row, cultures),
        **voice.slots(settings, culture, row["language"]),
    )


def shown_answers(row: dict[str, Any], cultures: dict[str, Culture]) -> str:
    """The shown others' answers to a candidate's question, a line each."""
    return "\n".join(
        f"- {cultures[other['culture']].name}: {prompts.quote(other['response'])}"
        for other in row["others"]
        if other["shown"]
    )


def parse(
    content: dict[str, Any],
    row: dict[str, Any],
    answer: Answer,
    cultures: dict[str, Culture],
    settings: Settings,
) -> dict[str, Any]:
    """The response, checked, the reflection before it, and what is known of its making; `Unusable` says why it is none.

    It may take up the row's own `response`, where the prompt shows one (redraw.py).
    """
    culture, response = cultures[row["culture"]], content["answer"].strip()
    if not response:
        raise Unusable("empty")
    seen = checks.shown(answer.messages, row["question"])
    if row.get("response"):
        seen = seen.replace(prompts.quote(row["response"]), "\n")
    return {
        "response": voice.usable(response, row["language"], seen, culture, cultures, settings),
        "reflection": _reflection(content["reflection"], culture, cultures, settings),
        "model_revision": answer.model,
        "sample_id": features.sample_id(culture.slug, row["question"], response),
    }


def _reflection(text: str, culture: Culture, cultures: dict[str, Culture], settings: Settings) -> str | None:
    """A reflection; None where it fails a check: nobody is trained on it, so the answer is not given up for it."""
    if checks.on(settings) and checks.against("reflection", text, "en", "", culture, cultures):
        return None
    return text.strip() or None


def run(
    adapted: Dataset,
    isolated: Dataset,
    settings: Settings,
    selection: Selection,
    model: Model,
    cultures: dict[str, Culture],
    grounds: Grounds = grounding.NONE,
) -> Dataset:
    """Answer each adapted question as its culture, in contrast to others; without contrast, as it did in isolation.

    Args:
        adapted: `features.ADAPTED`.
        isolated: `features.ISOLATED`, of these questions.
        selection: how many cultures an answer is compared with.
        cultures: all known, by slug: the others are drawn from them.
        grounds: the evidence that prompts show, and rows name.

    Returns:
        `features.CANDIDATES` and `drop_reason` (also: no_isolated_answer, no_other_answer).
    """
    adapted = STAGE.table(adapted, "adapted").select_columns(list(features.ADAPTED))
    isolated = STAGE.table(isolated, "isolated")
    template = prompts.load("contrast" if settings.contrast else "roleplay", settings.prompts)
    places: dict[tuple[str, str], list[int]] = defaultdict(list)  # rows, not texts: a large set has a million
    for place, slot in enumerate(zip(isolated["target"][:], isolated["question_id"][:], strict=True)):
        places[slot].append(place)
    added = Features({name: features.CANDIDATES[name] for name in WRITTEN})
    columns = Features({name: kind for name, kind in features.CANDIDATES.items() if name not in added})

    def with_answers(row: dict[str, Any]) -> Iterator[dict[str, Any]]:
        found = isolated[places[row["culture"], row["question_id"]]]  # by column
        answers = [dict(zip(found, values, strict=True)) for values in zip(*found.values(), strict=True)]
        yield {
            **row,
            **_beside(row, answers, cultures, settings, selection),
            "round": 0,
            "history": [],
            "generator": model.spec.model,
            "prompt_sha": template.sha,
            "evidence": grounds.kept(row["question_id"], row["culture"]),
            "weight": 1.0,
        }

    asked = fan_out(adapted, with_answers, Features({**columns, **features.columns("drop_reason")}), "other answers")
    if not settings.contrast:
        return fan_out(asked, _alone, Features({**features.CANDIDATES, **features.REJECTS}), "candidates")

    def grounded(row: dict[str, Any]) -> Messages:
        culture = cultures[row["culture"]]
        return grounds.shown(prompt(row, culture, cultures, settings, template), row["question_id"], culture)

    candidates = ask(
        features.kept(asked),
        model,
        prompt=grounded,
        parse=lambda content, row, answer: parse(content, row, answer, cultures, settings),
        columns=added,
        schema=SCHEMA,
        prompts=settings.prompts,
        desc="contrastive answers",
    )
    return features.stack(candidates, list(features.rejected(asked)))


def _beside(
    row: dict[str, Any],
    answers: list[dict[str, Any]],
    cultures: dict[str, Culture],
    settings: Settings,
    selection: Selection,
) -> dict[str, Any]:
    """The isolated answers to an adapted question as a candidate's isolated_response, others, panel and drop_reason."""
    mine = [answer for answer in answers if answer["culture"] == row["culture"]]
    asked = panel.others(cultures[row["culture"]], row["question_id"], cultures, settings, selection)
    others = [(other, said) for other in asked if (said := panel.answer(other, answers)) is not None]
    shown = {(other.culture, said) for other, said in others if other.shown}
    others = [(other, said) for other, said in others if other.shown or (other.culture, said) not in shown]
    isolated = next((answer["response"] for answer in mine if answer["persona"] is None), None)
    enough = shown if settings.contrast else others
    return {
        "drop_reason": "no_isolated_answer" if isolated is None else None if enough else "no_other_answer",
        "isolated_response": isolated,
        "others": [
            {**_sample(other.culture, row["question"], said), "culture": other.culture, "shown": other.shown}
            for other, said in others
        ],
        "panel": [
            {**_sample(row["culture"], row["question"], answer["response"]), "persona": answer["persona"]}
            for answer in mine
            if answer["persona"] is not None
        ],
    }


def _alone(row: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The candidate that a culture's isolated answer is."""
    response = row["isolated_response"]
    named = features.sample_id(row["culture"], row["question"], response) if response is not None else None
    yield {**row, "response": response, "sample_id": named}


def _sample(culture: str, question: str, response: str) -> dict[str, Any]:
    return {"sample_id": features.sample_id(culture, question, response), "response": response}
