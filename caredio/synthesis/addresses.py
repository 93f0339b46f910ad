"""Others' isolated answers, judged: whether each addresses the question that was adapted to another culture.

adapted, isolated -> addressed. An answer that goes off the question is distant from the culture's own whatever the
cultures are like, and so raises d for no reason. It is drawn again once; what then addresses nothing is neither shown
nor compared. The judge reads question and answer, not who speaks.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from datasets import Dataset, Features, concatenate_datasets

from caredio import features, prompts
from caredio.cultures import Culture
from caredio.llm import plan
from caredio.llm.cache import Answer
from caredio.llm.model import Model
from caredio.llm.rows import Unusable, ask
from caredio.llm.spec import Messages
from caredio.prompts import Prompt
from caredio.stages import Expected, Planned, Planning, Stage, fan_out, in_all
from caredio.synthesis import checks, grounding, panel, roleplay, voice
from caredio.synthesis import isolated as isolated_answers
from caredio.synthesis.grounding import Grounds
from caredio.synthesis.settings import Settings

OFF = "off_question"


def on(settings: Settings) -> bool:
    """Whether others' answers are judged."""
    return settings.check_others and checks.on(settings)


def left(settings: Settings) -> str:
    """The table of the isolated answers that candidates are made from."""
    return STAGE.name if on(settings) else "isolated"


def calls(planning: Planning) -> Planned:
    """A request for each answer of each other; at most as many again, where all of them are drawn again."""
    if not planning.settings.adaptation:
        _, others = isolated_answers.in_equal_words(planning)
        return Planned(steps([replace(others, others=1)], planning))
    both = zip(planning.rows["adapted"], planning.rows["isolated"], strict=True)
    return Planned(steps([replace(adapted, others=alone.others) for adapted, alone in both], planning))


def steps(asked: Sequence[Expected], planning: Planning, suffix: str = "") -> list[plan.Step]:
    """The requests about the answers to questions, each with its `others`; none where they are not judged."""
    settings, spec = planning.settings, planning.spec
    if not on(settings):
        return []
    answers = in_all(one.times(one.others) for one in asked)
    again = Expected(0, answers.upper_bound)
    tokens = plan.tokens(prompt(voice.sample(settings), prompts.load("addresses", settings.prompts)), SCHEMA, spec)
    return [
        plan.answers(f"answers judged {suffix}".strip(), answers, tokens, spec, answer=50),
        roleplay.step(f"drawn again {suffix}".strip(), again, planning),
        plan.answers(f"judged again {suffix}".strip(), again, tokens, spec, answer=50),
    ]


STAGE = Stage(
    "addressed",
    {
        "adapted": "question_id culture language question",
        "isolated": " ".join(features.ISOLATED),
    },
    features.ISOLATED,
    modules=(__name__,),
    prompts=("addresses", "roleplay", "voice"),
    calls=calls,
)
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"reason": {"type": "string"}, "addresses": {"type": "boolean"}},
    "required": ["reason", "addresses"],
    "additionalProperties": False,
}


def describe(entry: Mapping[str, Any] | None) -> str:
    """A sentence for the card on the check: the stage's entry in run.json, None where it did not run."""
    if entry is None:
        return "Others' answers: whether they address the question was not judged."
    judged, again, left = (entry["judged"][name] for name in ("answers", "drawn_again", "left_out"))
    return (
        f"Others' answers: of {judged:,}, the writing model judged that {again:,} did not address the question; these"
        f" were drawn once more, and {left:,} were left out."
    )


def prompt(row: Mapping[str, Any], template: Prompt) -> Messages:
    """Row of question and response -> messages that ask whether the one addresses the other."""
    return template.messages(question=prompts.quote(row["question"]), answer=prompts.quote(row["response"]))


def parse(content: dict[str, Any], row: dict[str, Any], answer: Answer) -> dict[str, Any]:
    """Nothing, where the answer addresses the question; else `Unusable`, and the verdict stands in `unusable`."""
    if not content["addresses"]:
        raise Unusable(OFF, again=False)
    return {}


def run(
    adapted: Dataset,
    isolated: Dataset,
    settings: Settings,
    model: Model,
    cultures: dict[str, Culture],
    grounds: Grounds = grounding.NONE,
) -> tuple[Dataset, dict[str, Any]]:
    """Judge others' answers to adapted questions, and have those that go off the question answered once more.

    Args:
        adapted: `features.ADAPTED`.
        isolated: `features.ISOLATED`, of these questions.
        cultures: all known, by slug.
        grounds: the evidence that prompts of second answers show.

    Returns:
        `features.ISOLATED` and `drop_reason`: what the cultures and their panels said, as it was, then the others'
        answers that address the question, the second attempts (draws of their own) last. Of the rows dropped
        (off_question, or why there is no verdict or no second answer) a first attempt is one, and the second another.
        The report counts them.
    """
    adapted = STAGE.table(adapted, "adapted")
    isolated = STAGE.table(isolated, "isolated").select_columns(list(features.ISOLATED))
    keys = zip(adapted["culture"][:], adapted["question_id"][:], strict=True)
    asked = dict(zip(keys, zip(adapted["question"][:], adapted["language"][:], strict=True), strict=True))

    def with_question(row: dict[str, Any]) -> Iterator[dict[str, Any]]:
        question, language = asked.get((row["target"], row["question_id"])) or (None, None)
        if question is not None and row["culture"] != row["target"]:
            yield {**row, "question": question, "language": language}

    columns = Features({**features.ISOLATED, **features.columns("question language"), **features.REJECTS})
    own = fan_out(isolated, lambda row: [row] if row["culture"] == row["target"] else [], columns, "own answers")
    first = _judged(fan_out(isolated, with_question, columns, "others' answers"), settings, model, "answers judged")
    off = fan_out(features.rejected(first), _again, roleplay.unanswered(features.ISOLATED), "who answers again")
    drawn = roleplay.answer(off, settings, model, cultures, "answers drawn again", published=True, grounds=grounds)
    second = _judged(features.kept(drawn), settings, model, "judged again")
    parts = [own, first, features.rejected(drawn), second]
    left = len(first) - len(features.kept(first)) - len(features.kept(second))
    report = {"judged": {"answers": len(first), "drawn_again": len(off), "left_out": left}}
    return concatenate_datasets([features.conform(part, columns) for part in parts]), report


def _judged(rows: Dataset, settings: Settings, model: Model, desc: str) -> Dataset:
    """`rows` of question and response, those that do not address the question with a `drop_reason`."""
    template = prompts.load("addresses", settings.prompts)
    return ask(
        rows,
        model,
        prompt=lambda row: prompt(row, template),
        parse=parse,
        columns=Features(),
        schema=SCHEMA,
        prompts=settings.prompts,
        desc=desc,
    )


def _again(row: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The request for another answer, where the first goes off the question."""
    if row["drop_reason"] == OFF:
        yield {**row, "draw": row["draw"] + panel.AGAIN}
