"""Other answers to a candidate's question, and other questions in its place: what optimize.py chooses from.

candidates -> candidates. Every text is a model's and is checked as in adapt.py and contrast.py; a draw that cannot be
used is counted and does not compete.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from datasets import Dataset, Features, Value

from caredio import features, prompts
from caredio.cultures import Culture
from caredio.llm import plan
from caredio.llm.cache import Answer
from caredio.llm.model import Model
from caredio.llm.rows import Unusable, ask
from caredio.llm.spec import Messages
from caredio.prompts import Prompt
from caredio.selection.settings import Settings as Selection
from caredio.stages import Planning, in_all
from caredio.synthesis import addresses, checks, contrast, grounding, isolated, languages, roleplay, voice
from caredio.synthesis.grounding import Grounds
from caredio.synthesis.questions import QUESTION, clean
from caredio.synthesis.settings import Settings

Drawn = list[tuple[int, dict[str, Any]]]  # (which of the candidates, what may take its place)

FRESH = 1  # draw of the answers that are asked for once more; no other is (panel.py)
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"change": {"type": "string"}, "question": QUESTION},
    "required": ["change", "question"],
    "additionalProperties": False,
}


def answer_prompt(
    row: dict[str, Any], culture: Culture, cultures: dict[str, Culture], settings: Settings, template: Prompt
) -> Messages:
    """Candidate with its scores (typical, distinct: in standard deviations) -> messages that ask for another answer."""
    return template.messages(
        name=culture.name,
        question=row["question"],
        answers=contrast.shown_answers(row, cultures),
        response=prompts.quote(row["response"]),
        typical=f"{row['typical']:+.1f}",
        distinct=f"{row['distinct']:+.1f}",
        **voice.slots(settings, culture, row["language"]),
    )


def question_prompt(row: dict[str, Any], culture: Culture, topic: str, template: Prompt) -> Messages:
    """Candidate with its scores, and its topic in a sentence -> messages that ask for another question."""
    return template.messages(
        name=culture.name,
        topic=topic,
        universal=prompts.quote(row["universal_question"]),
        question=prompts.quote(row["question"]),
        response=prompts.quote(row["response"]),
        typical=f"{row['typical']:+.1f}",
        distinct=f"{row['distinct']:+.1f}",
        language=languages.name(row["language"]),
    )


def parse_question(
    content: dict[str, Any],
    row: dict[str, Any],
    answer: Answer,
    cultures: dict[str, Culture],
    settings: Settings,
) -> dict[str, Any]:
    """The question, checked; it names no culture and may take up the earlier ones. `Unusable` says what is wrong."""
    question = clean(content["question"])
    if not question:
        raise Unusable("the rewritten question is no question")
    if checks.on(settings):
        shown_text = checks.shown(answer.messages, prompts.quote(row["question"]))
        shown_text = shown_text.replace(prompts.quote(row["universal_question"]), "\n")
        checks.usable("question", question, row["language"], shown_text, cultures[row["culture"]], cultures)
        checks.for_all(question, row["language"], cultures)
    return {"question": question}


def draws(settings: Settings) -> tuple[int, int]:
    """The other responses and the other questions of a candidate, of all rounds."""
    rounds = settings.optimize_rounds
    return rounds * settings.other_responses, rounds * settings.other_questions


def steps(planning: Planning) -> list[plan.Step]:
    """The requests for other answers and questions, those to answer the latter, and for answers given once more."""
    culture, settings, spec = planning.targets[0], planning.settings, planning.spec
    contrasted, isolated = (planning.rows[table] for table in ("contrasted", "isolated"))
    responses, questions = draws(settings)
    rows, cultures = in_all(contrasted), dict(planning.cultures)
    row = {**contrast.expected_row(planning), "typical": 0.0, "distinct": 0.0}
    improve, rewrite = (prompts.load(name, settings.prompts) for name in ("improve", "rewrite"))
    answered = grounding.planned(answer_prompt(row, culture, cultures, settings, improve), planning)
    answering = plan.tokens(answered, contrast.SCHEMA, spec)
    asking = plan.tokens(question_prompt(row, culture, planning.topics[0].description, rewrite), SCHEMA, spec)
    asked = 2 if questions else 1  # the first question, and the one that takes its place
    again = [one.times(1 + asked * min(planning.selection.asked_for, one.compared)) for one in contrasted]
    return [
        plan.answers("other answers", rows.times(responses), answering, spec, contrast.written(settings)),
        plan.answers("other questions", rows.times(questions), asking, spec, 50 + plan.QUESTION // plan.CHARACTERS),
        roleplay.step("isolated to them", in_all(isolated).times(questions), planning),
        *addresses.steps([one.times(questions) for one in contrasted], planning, "to them"),
        *([contrast.step("contrastive to them", rows.times(questions), planning)] if settings.contrast else []),
        roleplay.step("held-out answers", in_all(again), planning),
    ]


class Writer:
    """Draws from one model. `dropped` counts, by reason, the draws that cannot be used."""

    def __init__(
        self,
        settings: Settings,
        selection: Selection,
        model: Model,
        cultures: dict[str, Culture],
        topics: dict[str, str],
        grounds: Grounds = grounding.NONE,
    ) -> None:
        """`topics`: topic_id -> the topic in a sentence."""
        self.settings, self.selection, self.model, self.cultures = settings, selection, model, cultures
        self.topics, self.grounds = topics, grounds
        self.improve, self.rewrite = (prompts.load(name, settings.prompts) for name in ("improve", "rewrite"))
        self.dropped: Counter[str] = Counter()

    def responses(self, best: Sequence[dict[str, Any]], draws: range) -> Drawn:
        """Other answers to the questions of `best`, one a draw."""
        drawn = self._ask(
            _calls(len(best), draws),
            prompt=lambda call: self._improve(best[call["slot"]]),
            parse=lambda content, call, answer: contrast.parse(
                content, best[call["slot"]], answer, self.cultures, self.settings
            ),
            columns=list(contrast.WRITTEN),
            desc="other answers",
            schema=contrast.SCHEMA,
        )
        made = {"generator": self.model.spec.model, "prompt_sha": self.improve.sha}
        return [(row["slot"], {**best[row["slot"]], **made, **row}) for row in drawn]

    def questions(self, best: Sequence[dict[str, Any]], draws: range) -> list[tuple[int, str]]:
        """Other questions in place of those of `best`, one a draw."""
        drawn = self._ask(
            _calls(len(best), draws),
            prompt=lambda call: question_prompt(
                best[call["slot"]],
                self.cultures[best[call["slot"]]["culture"]],
                self._topic(best[call["slot"]]),
                self.rewrite,
            ),
            parse=lambda content, call, answer: parse_question(
                content, best[call["slot"]], answer, self.cultures, self.settings
            ),
            columns=["question"],
            desc="other questions",
            schema=SCHEMA,
        )
        return list(zip(drawn["slot"], drawn["question"], strict=True))

    def answered(self, best: Sequence[dict[str, Any]], asked: list[tuple[int, str]]) -> Drawn:
        """The candidates that other questions make: answered in isolation by all who answered the first, then anew."""
        numbers = features.count_within(str(slot) for slot, _ in asked)
        drawn: Drawn = []
        for number in range(1, max(numbers, default=0) + 1):  # the stages know one question a slot
            part = [one for one, of_slot in zip(asked, numbers, strict=True) if of_slot == number]
            drawn += self._answered({slot: {**best[slot], "question": question} for slot, question in part})
        return drawn

    def again(self, rows: Sequence[tuple[dict[str, Any], str]]) -> dict[tuple[str, str], str]:
        """Isolated answers that nothing was chosen by: (question, speaker) -> response, a new draw.

        Args:
            rows: candidates, each with the slug of the culture that is to answer its question.
        """
        calls = {
            (row["question"], speaker): {
                **{name: row[name] for name in ("question_id", "question", "language")},
                **roleplay.ALONE,
                "draw": FRESH,
                "target": row["culture"],
                "culture": speaker,
            }
            for row, speaker in rows
        }
        answered = roleplay.answer(
            features.table(calls.values(), roleplay.unanswered(features.ISOLATED)),
            self.settings,
            self.model,
            self.cultures,
            "held-out answers",
            grounds=self.grounds,
        )
        pairs = zip(calls, answered["response"][:], strict=True)
        return {key: response for key, response in pairs if response is not None}

    def _answered(self, rows: dict[int, dict[str, Any]]) -> Drawn:
        adapted = features.table(list(rows.values()), features.ADAPTED)
        asked = (self.settings, self.selection, self.model, self.cultures)
        alone = isolated.run(adapted, *asked, self.grounds)
        self.dropped.update(features.rejected(alone)["drop_reason"][:])
        if len(features.kept(alone)) and addresses.on(self.settings):
            judged = (self.settings, self.model, self.cultures, self.grounds)
            alone, _ = addresses.run(adapted, alone, *judged)
            self.dropped.update(features.rejected(alone)["drop_reason"][:])
        if not len(features.kept(alone)):
            self.dropped["no_isolated_answer"] += len(rows)
            return []
        made = self._kept(contrast.run(adapted, alone, *asked, self.grounds))
        slots = {(row["culture"], row["question_id"]): slot for slot, row in rows.items()}
        return [(slots[row["culture"], row["question_id"]], row) for row in made]

    def _improve(self, row: dict[str, Any]) -> Messages:
        """What asks for another answer to a candidate's question."""
        culture = self.cultures[row["culture"]]
        messages = answer_prompt(row, culture, self.cultures, self.settings, self.improve)
        return self.grounds.shown(messages, row["question_id"], culture)

    def _topic(self, row: dict[str, Any]) -> str:
        return self.topics[row["topic_id"]]

    def _ask(self, calls: Dataset, *, columns: list[str], **asked: Any) -> Dataset:
        types = Features({name: features.COLUMNS[name].type for name in columns})
        return self._kept(ask(calls, self.model, columns=types, prompts=self.settings.prompts, **asked))

    def _kept(self, table: Dataset) -> Dataset:
        self.dropped.update(features.rejected(table)["drop_reason"][:])
        return features.kept(table)


def _calls(slots: int, draws: range) -> Dataset:
    """A row for each draw of each slot; the prompts look the candidate up, which a large set need not hold twice."""
    rows = [{"slot": slot, "draw": draw} for slot in range(slots) for draw in draws]
    return features.table(rows, Features({"slot": Value("int32"), "draw": Value("int32")}))
