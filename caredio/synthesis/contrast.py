"""Each culture's answer to its question, sharpened by the answers of others (seed 001, 3.2: cognitive conflict).

adapted, isolated -> candidates. The target answers again, shown its neighbours' isolated answers. Four cultures that
were not shown are what distinctiveness compares with.
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
from caredio.llm.rows import ask
from caredio.llm.spec import Messages
from caredio.prompts import Prompt
from caredio.selection.settings import FEW
from caredio.selection.settings import Settings as Selection
from caredio.stages import Planned, Planning, Stage, fan_out
from caredio.synthesis import checks, languages, panel
from caredio.synthesis.settings import Settings


def calls(planning: Planning) -> Planned:
    """A request for each adapted question."""
    both = zip(planning.rows["adapted"], planning.rows["isolated"], strict=True)
    contrasted = [replace(adapted, others=alone.others, panel=alone.panel) for adapted, alone in both]
    return Planned([step("contrastive answers", plan.in_all(contrasted), planning)], contrasted)


def step(stage: str, asked: plan.Expected, planning: Planning) -> plan.Step:
    """The requests of a stage that has questions answered in contrast."""
    culture, settings = planning.targets[0], planning.settings
    template = prompts.load("contrast", settings.prompts)
    messages = prompt(expected_row(planning), culture, dict(planning.cultures), settings, template)
    return plan.answers(stage, asked, plan.tokens(messages), planning.spec)


def expected_row(planning: Planning) -> dict[str, Any]:
    """A row of the first target as it is planned with: a question, a response, and what its neighbours answered."""
    shown = panel.neighbours(planning.targets[0], planning.settings)
    others = [{"culture": slug, "response": plan.SAMPLE["response"], "shown": True} for slug in shown]
    return {**plan.SAMPLE, "universal_question": plan.SAMPLE["question"], "language": "en", "others": others}


STAGE = Stage(
    "contrasted",
    {
        "adapted": " ".join(features.ADAPTED),
        "isolated": "target question_id culture persona response",
    },
    features.CANDIDATES,
    modules=(__name__,),
    prompts=("contrast",),
    calls=calls,
)


def describe(settings: Mapping[str, Any]) -> str:
    """A sentence for the card on the contrast: settings as run.json holds them."""
    return (
        "Contrast: each culture answers its question again, shown the neighbours' answers; up to"
        f" {settings['compared'] or FEW} cultures that were not shown answer it too."
    )


def prompt(
    row: dict[str, Any], culture: Culture, cultures: dict[str, Culture], settings: Settings, template: Prompt
) -> Messages:
    """Row of question, language and others -> messages that have `culture` answer after reading the shown others."""
    return template.messages(
        name=culture.name,
        adjective=culture.adjective,
        question=row["question"],
        answers=shown_answers(row, cultures),
        sentences=settings.sentences,
        language=languages.name(row["language"]),
        register=settings.register,
    )


def shown_answers(row: dict[str, Any], cultures: dict[str, Culture]) -> str:
    """The shown others' answers to a candidate's question, a line each."""
    return "\n".join(
        f"- {cultures[other['culture']].name}: {prompts.quote(other['response'])}"
        for other in row["others"]
        if other["shown"]
    )


def parse(
    content: str,
    row: dict[str, Any],
    answer: Answer,
    cultures: dict[str, Culture],
    settings: Settings,
) -> dict[str, Any]:
    """The response, checked, with what is known of its making; `Unusable` says why it is none."""
    culture = cultures[row["culture"]]
    if checks.on(settings):
        seen = checks.shown(answer.messages, row["question"])
        checks.usable("response", content, row["language"], seen, culture, cultures)
    return {
        "response": content,
        "model_revision": answer.model,
        "sample_id": features.sample_id(culture.slug, row["question"], content),
    }


def run(
    adapted: Dataset,
    isolated: Dataset,
    settings: Settings,
    selection: Selection,
    model: Model,
    cultures: dict[str, Culture],
) -> Dataset:
    """Answer each adapted question as its culture, in contrast to others.

    Args:
        adapted: `features.ADAPTED`.
        isolated: `features.ISOLATED`, of these questions.
        selection: how many cultures, beside those shown, an answer is compared with.
        cultures: all known, by slug: the others are drawn from them.

    Returns:
        `features.CANDIDATES` and `drop_reason` (also: no_isolated_answer, no_other_answer).
    """
    adapted = STAGE.table(adapted, "adapted").select_columns(list(features.ADAPTED))
    isolated = STAGE.table(isolated, "isolated")
    template = prompts.load("contrast", settings.prompts)
    places: dict[tuple[str, str], list[int]] = defaultdict(list)  # rows, not texts: a large set has a million
    for place, slot in enumerate(zip(isolated["target"], isolated["question_id"], strict=True)):
        places[slot].append(place)
    added = Features({name: features.CANDIDATES[name] for name in ("response", "model_revision", "sample_id")})
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
            "weight": 1.0,
        }

    asked = fan_out(adapted, with_answers, Features({**columns, **features.columns("drop_reason")}), "other answers")
    candidates = ask(
        features.kept(asked),
        model,
        prompt=lambda row: prompt(row, cultures[row["culture"]], cultures, settings, template),
        parse=lambda content, row, answer: parse(content, row, answer, cultures, settings),
        columns=added,
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
    theirs = {answer["culture"]: answer["response"] for answer in answers if answer["culture"] != row["culture"]}
    asked = panel.others(cultures[row["culture"]], row["question_id"], cultures, settings, selection)
    isolated = next((answer["response"] for answer in mine if answer["persona"] is None), None)
    no_other = not any(slug in theirs for slug, shown in asked.items() if shown)
    return {
        "drop_reason": "no_isolated_answer" if isolated is None else "no_other_answer" if no_other else None,
        "isolated_response": isolated,
        "others": [
            {**_sample(slug, row["question"], theirs[slug]), "culture": slug, "shown": shown}
            for slug, shown in asked.items()
            if slug in theirs
        ],
        "panel": [
            {**_sample(row["culture"], row["question"], answer["response"]), "persona": answer["persona"]}
            for answer in mine
            if answer["persona"] is not None
        ],
    }


def _sample(culture: str, question: str, response: str) -> dict[str, Any]:
    return {"sample_id": features.sample_id(culture, question, response), "response": response}
