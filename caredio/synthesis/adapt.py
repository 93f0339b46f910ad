"""Each universal question rewritten for each culture (seed 001, 3.2: cultural question adaptation).

questions, answers -> adapted. The model compares the culture's answer with those of near and far cultures, names the
culture's traits, then rewrites the question, so that it touches them and people of any culture can answer it: it names
none. The comparison comes first, as its chain of thought.
"""

from __future__ import annotations

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
from caredio.stages import Planned, Planning, Stage, fan_out, in_all
from caredio.synthesis import checks, languages, panel, voice
from caredio.synthesis.questions import QUESTION, clean
from caredio.synthesis.settings import Settings


def calls(planning: Planning) -> Planned:
    """A request for each question and target."""
    (questions,) = planning.rows["questions"]
    adapted = [replace(questions, culture=target.slug) for target in planning.targets]
    if not planning.settings.adaptation:
        return Planned([], adapted)
    culture, settings = planning.targets[0], planning.settings
    answer = {"name": culture.name, "response": voice.sample(settings)["response"]}
    answers = [answer] * (1 + len(panel.shown(culture, "", planning.cultures, settings)))
    row = {"universal_question": plan.SAMPLE["question"], "language": "en", "answers": answers}
    messages = prompt(row, culture, prompts.load("adapt", settings.prompts))
    asked = plan.tokens(messages, SCHEMA, planning.spec)
    return Planned([plan.answers("adapted", in_all(adapted), asked, planning.spec, answer=220)], adapted)


STAGE = Stage(
    "adapted",
    {
        "questions": "question_id topic_id level question_type question",
        "answers": "question_id culture condition response",
    },
    features.ADAPTED,
    modules=(__name__,),
    prompts=("adapt",),
    calls=calls,
)
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "comparison": {"type": "string"},
        "traits": {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": 3},
        "question": QUESTION,
    },
    "required": ["comparison", "traits", "question"],
    "additionalProperties": False,
}


def describe(settings: Mapping[str, Any]) -> str:
    """Sentences for the card on the adaptation: settings as run.json holds them."""
    if not settings.get("adaptation", True):
        return "Adaptation: none; all cultures are asked each question in the same words. Language: `en`, English."
    language = {"en": "`en`, English", "own": "`own`, the first one of each culture"}[settings["language"]]
    return (
        "Adaptation: each question is rewritten for each culture, after its answer was compared with those of"
        f" {panel.describe_shown(settings)}. Language of questions and answers: {language}."
    )


def language(culture: Culture, settings: Settings) -> str:
    """BCP-47 tag of what is written for the culture (its own language: seed 003, 5.2)."""
    return culture.languages[0] if settings.language == "own" else "en"


def prompt(row: dict[str, Any], culture: Culture, template: Prompt) -> Messages:
    """Row of universal_question, language and answers (list of {name, response}) -> messages."""
    answers = "\n".join(f"- {answer['name']}: {prompts.quote(answer['response'])}" for answer in row["answers"])
    return template.messages(
        name=culture.name,
        adjective=culture.adjective,
        question=row["universal_question"],
        answers=answers,
        language=languages.name(row["language"]),
    )


def parse(
    content: dict[str, Any],
    row: dict[str, Any],
    answer: Answer,
    cultures: dict[str, Culture],
    settings: Settings,
) -> dict[str, Any]:
    """The rewritten question and the traits, checked; `Unusable` says what is wrong with them.

    A trait that fails a check is left out, with its reason, as long as another one stays.
    """
    culture = cultures[row["culture"]]
    question = clean(content["question"])
    if not question:
        raise Unusable("the rewritten question is no question")
    traits = [" ".join(trait.split()) for trait in content["traits"]]
    traits = [trait for trait in dict.fromkeys(traits) if trait]
    if not traits:
        raise Unusable("no trait is named")
    left_out: list[dict[str, str]] = []
    if checks.on(settings):
        shown_text = checks.shown(answer.messages, row["universal_question"])
        checks.usable("question", question, row["language"], shown_text, culture, cultures)
        checks.for_all(question, row["language"], cultures)
        found = {trait: _against(trait, row, shown_text, culture, cultures) for trait in traits}
        left_out = [{"trait": trait, "reason": reason} for trait, reason in found.items() if reason]
        traits = [trait for trait, reason in found.items() if not reason]
        if not traits:
            raise Unusable(left_out[0]["reason"])
    return {"question": question, "traits": traits, "left_out": left_out}


def _against(
    trait: str, row: dict[str, Any], shown_text: str, culture: Culture, cultures: dict[str, Culture]
) -> str | None:
    """The reason against a trait, which may take up the culture's own answer: that is what it describes."""
    for answer in row["answers"]:
        if answer["name"] == culture.name:
            shown_text = shown_text.replace(prompts.quote(answer["response"]), "\n")
    return checks.against("traits", trait, "en", shown_text, culture, cultures)


def run(
    questions: Dataset,
    answers: Dataset,
    settings: Settings,
    model: Model,
    cultures: dict[str, Culture],
    targets: list[Culture],
) -> Dataset:
    """Rewrite each question for each target.

    Args:
        questions: `features.QUESTIONS`.
        answers: `features.ANSWERS` of the targets and of those they are shown.
        cultures: all known, by slug.
        targets: whom data is built for.

    Returns:
        `features.ADAPTED` and `drop_reason` (also: no_answer, where the target or all others gave none). A trait
        that was left out is a dropped row of its own, without a question.
    """
    questions = STAGE.table(questions, "questions")
    answers = STAGE.table(answers, "answers")
    responses = {
        (row["question_id"], row["culture"]): row["response"] for row in answers if row["condition"] == "isolated"
    }

    def of_targets(row: dict[str, Any]) -> Iterator[dict[str, Any]]:
        for target in targets:
            speakers = [target.slug, *panel.shown(target, row["question_id"], cultures, settings)]
            answers = {
                slug: responses[row["question_id"], slug]
                for slug in speakers
                if (row["question_id"], slug) in responses
            }
            yield {
                **row,
                "language": language(target, settings),
                "culture": target.slug,
                "universal_question": row["question"],
                "answers": [{"name": cultures[slug].name, "response": text} for slug, text in answers.items()],
                "drop_reason": None if target.slug in answers and len(answers) > 1 else "no_answer",
            }

    template = prompts.load("adapt", settings.prompts)
    added, text = features.columns("question traits"), features.COLUMNS["question"].type
    columns = Features({name: kind for name, kind in features.ADAPTED.items() if name not in added})
    columns |= {"answers": features.List({"name": text, "response": text}), **features.columns("drop_reason")}
    asked = fan_out(questions, of_targets, columns, "who is compared")
    adapted = ask(
        features.kept(asked),
        model,
        prompt=lambda row: prompt(row, cultures[row["culture"]], template),
        parse=lambda content, row, answer: parse(content, row, answer, cultures, settings),
        columns=Features({**added, "left_out": features.List({"trait": text, "reason": text})}),
        schema=SCHEMA,
        prompts=settings.prompts,
        desc="adapted",
    )
    left_out = fan_out(adapted, _left_out, adapted.features, "traits left out")
    return features.stack(adapted.remove_columns("left_out"), [*features.rejected(asked), *left_out])


def unadapted(questions: Dataset, targets: list[Culture]) -> Dataset:
    """`features.ADAPTED` of each question for each target, the universal question as it is, without traits."""
    questions = STAGE.table(questions, "questions")

    def of_targets(row: dict[str, Any]) -> Iterator[dict[str, Any]]:
        for target in targets:
            yield {**row, "culture": target.slug, "universal_question": row["question"], "traits": []}

    kept = questions.select_columns([*STAGE.reads["questions"].split(), "language"])
    return fan_out(kept, of_targets, features.ADAPTED, "who is asked")


def _left_out(row: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A dropped row for each trait that was left out of an adapted one."""
    for out in row["left_out"] or ():
        trait, reason = out["trait"], out["reason"]
        yield {**row, "question": None, "traits": [trait], "drop_reason": reason, "unusable": trait}
