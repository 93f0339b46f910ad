"""Each culture's answer to its question, sharpened by what others would say (seed 001, 3.2: cognitive conflict).

adapted, isolated -> candidates. The target answers again, shown its neighbours' isolated answers. Four cultures that
were not shown are what distinctiveness compares with.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from datasets import Dataset, Features, Value

from caredio import features, prompts
from caredio.cultures import Culture
from caredio.llm.cache import Answer
from caredio.llm.model import Model
from caredio.llm.rows import ask
from caredio.llm.spec import Messages
from caredio.prompts import Prompt
from caredio.selection.settings import Settings as Selection
from caredio.stages import Stage
from caredio.synthesis import checks, languages, panel
from caredio.synthesis.settings import Settings

STAGE = Stage(
    "contrasted",
    {
        "adapted": " ".join(features.ADAPTED),
        "isolated": "target question_id culture persona response",
    },
    features.CANDIDATES,
    modules=(__name__,),
    prompts=("contrast",),
)


def describe(settings: Mapping[str, Any]) -> str:
    """A sentence for the card on the contrast: settings as run.json holds them."""
    return (
        "Contrast: each culture answers its question again, shown the neighbours' answers; up to"
        f" {settings['compared']} cultures that were not shown answer it too."
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

    def with_answers(row: dict[str, Any]) -> dict[str, Any]:
        found = isolated[places[row["culture"], row["question_id"]]]  # by column
        answers = [dict(zip(found, values, strict=True)) for values in zip(*found.values(), strict=True)]
        return {
            **row,
            **_beside(row, answers, cultures, settings, selection),
            "round": 0,
            "history": [],
            "generator": model.spec.model,
            "prompt_sha": template.sha,
        }

    asked = features.table(map(with_answers, adapted), Features({**columns, "drop_reason": Value("string")}))
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
