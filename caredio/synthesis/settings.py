"""The settings of a synthesis. The optimisation takes its objective from selection's settings."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypedDict

from caredio import settings
from caredio.errors import InputError
from caredio.selection.embedders import GIVEN, MINILM, identity
from caredio.selection.settings import Settings as Selection
from caredio.settings import setting

LANGUAGES = ("en", "own")
VOICES = ("assistant", "person")
WORDS = {"assistant": "80-200", "person": "30-80"}  # of an answer in a voice, where no other range is given
OLDER = ("two or three", "plain words")  # sentences and register where an older file names one of them
CHECKS = ("all", "none")
EVIDENCE_QUESTIONS = ("half", "all")
OBJECTIVES = ("embeddings", "likelihood")

_MOST = 1_000_000  # questions a topic, and what goes with them
_WRITING = "subtopics questions answers adapted isolated addressed contrasted reviewed optimized contrasted_others"
_RANGE = re.compile(r"(\d{1,4})\s*-\s*(\d{1,4})")
_ANSWERING = "answers isolated addressed contrasted optimized contrasted_others"
_COMPARING = "answers adapted isolated contrasted optimized contrasted_others"

# embedder -> cosine from which two questions ask the same. MiniLM's: of 24 pairs that do, in other words, it finds 13,
# of which a ROUGE-L of 0.7 finds none; of 24 that differ by little but what is asked it mistakes 6, and ROUGE-L 4
# (tests/synthesis/test_near_duplicates.py)
COSINES = {MINILM: 0.75}

_REVIEWING = "reviewed optimized"


def _least(scale: str) -> Any:
    """The threshold of a score of the review."""
    return setting(
        3,
        f"least score of a review, of 1 to 5: {scale}",
        _REVIEWING,
        matters=lambda stage, room: bool(room.reviews),
    )


@dataclass(frozen=True)
class Settings(settings.Settings):
    """The settings of a synthesis, by stage."""

    per_topic: int = setting(100, "questions a topic, over the three types", "questions", everyday=True)
    subtopics: int = setting(
        10, "parts that a topic is divided into first, for questions on each; 0 asks about the whole", "subtopics"
    )
    rounds: int = setting(8, "rounds of Self-Instruct at most", "questions")
    per_call: int = setting(5, "questions asked for in one call", "questions")
    demonstrations: int = setting(6, "earlier questions shown in a prompt", "questions")
    examples: int = setting(3, "example questions of ours shown in a prompt, of the 8 of each type", "questions")
    rouge_l: float = setting(0.7, "ROUGE-L from which a question is a near-duplicate", "questions")
    question_cosine: float | None = setting(
        None,
        "cosine from which a question is a near-duplicate, by the embedder; 1 leaves it to ROUGE-L;"
        f" default: {COSINES[MINILM]} by {MINILM.rpartition('/')[2]}, 1 by others",
        "questions",
        counts=False,  # but what it comes to does, as an argument of the stage
    )
    least_sensitivity: int = setting(
        3, "how differently cultures would answer a question at least, on a judged scale of 1 to 5", "questions"
    )
    checks: str = setting(
        "all",
        "text that fails a check is dropped; none is for models too small to pass",
        _WRITING,
        choices=CHECKS,
        everyday=True,
    )
    voice: str = setting(
        "assistant",
        "who speaks in all answers: an assistant to someone of the culture, or a person of it",
        _ANSWERING,
        choices=VOICES,
        everyday=True,
    )
    words: str | None = setting(
        None, "words of an answer, fewest-most; default: 80-200 of an assistant, 30-80 of a person", _ANSWERING
    )
    sentences: str | None = setting(
        None, "length of an answer in sentences, in place of words; as older versions had it", _ANSWERING
    )
    register: str | None = setting(
        None, "how an answer of so many sentences is worded; as older versions had it", _ANSWERING
    )
    near: int = setting(2, "neighbours whose answers are shown for contrast", _COMPARING)
    far: int = setting(
        2, "cultures of other regions, drawn for each question, whose answers are shown besides", _COMPARING
    )
    neighbours: int | None = setting(
        None, "of older versions, in place of near and far: neighbours shown, and the rest compared", _COMPARING
    )
    check_others: bool = setting(
        True,
        "check that others' answers address the question; one that does not is drawn again once, else left out",
        "addressed optimized",
    )
    adaptation: bool = setting(
        True,
        "adapt each question to each culture; without it, all cultures are asked the universal question as it is",
        "adapted",
        counts=False,  # where it is off, as an argument of the stage
    )
    contrast: bool = setting(
        True,
        "have each culture answer again in contrast to others; without it, its isolated answers are the candidates",
        "isolated contrasted optimized",
        counts=False,  # where it is off, as an argument of the stages
    )
    contrast_others: bool = setting(
        False,
        "have others answer in contrast too, so that preference pairs are of contrastive answers, not isolated ones",
        "contrasted_others",
    )
    language: str = setting(
        "en",
        "language of adapted questions and answers: English, or the culture's first",
        "adapted optimized",
        choices=LANGUAGES,
        everyday=True,
    )
    personas: int = setting(
        0, "people of the culture who answer each adapted question too", "isolated optimized", everyday=True
    )
    personas_file: str | None = setting(
        None,
        "table of people (columns text, or persona, sex, age, ...; weight; culture) from which personas are drawn, or"
        " owner/name of one on the Hub; default: made of categories",
        _ANSWERING,
        counts=False,  # what it holds does
    )
    evidence: str | None = setting(
        None,
        "what people said: a survey's file (GlobalOpinionQA, WVS), CultureBank's, or a table of culture, text and"
        " source, or owner/name of one on the Hub",
        "evidence",
        counts=False,  # what it holds does
        everyday=True,
    )
    evidence_questions: str = setting(
        "half",
        "which questions of a survey ground answers: half of them, so that the others can test, or all",
        "evidence",
        choices=EVIDENCE_QUESTIONS,
    )
    evidence_pieces: int = setting(3, "pieces of evidence shown with a question", "grounding")
    evidence_similarity: float = setting(
        0.3, "least cosine of a piece of evidence to the question; by the embedder", "grounding"
    )
    optimize_rounds: int = setting(
        0, "rounds that make each candidate better; 0 leaves it as it was first written", "optimized", everyday=True
    )
    other_responses: int = setting(4, "of a round: other answers to the question", "optimized")
    other_questions: int = setting(2, "of a round: other questions, answered by all cultures", "optimized")
    objective: str = setting(
        "embeddings",
        "what better is measured by; likelihood needs a model that returns log-probabilities",
        "optimized",
        choices=OBJECTIVES,
    )
    least_gain: float = setting(0.05, "a round must raise the objective by more, in standard deviations", "optimized")
    relevance: float = setting(
        0.2, "least cosine of another question to the first, and to its topic; by the embedder", "optimized"
    )
    held_out: str | None = setting(
        None,
        "embedder of the report on the optimisation; default: hashed character n-grams",
        "optimized",
        counts=identity,
    )
    review: bool = setting(
        False,
        "have candidates reviewed before they join the pool: true, an answer, no stereotype, recognisable",
        _REVIEWING,
        everyday=True,
    )
    review_model: str | None = setting(
        None,
        "model that reviews, best another than the writer's; naming it turns the review on; default: the writer's",
        _REVIEWING,
        everyday=True,
    )
    review_provider: str | None = setting(
        None,
        "label of who serves the reviewer, under which its answers are stored; default: the writer's, or openai at an"
        " endpoint of the reviewer's own",
        _REVIEWING,
        counts=False,  # the reviewer does, by it
    )
    least_truth: int = _least("true of most people there today")
    least_answering: int = _least("answers the question")
    least_fairness: int = _least("no stereotype or caricature")
    least_recognition: int = _least("recognised without the culture's name")
    seed: int = setting(
        0, "seed of every draw", "questions answers adapted isolated contrasted optimized", everyday=True
    )
    prompts: str | None = setting(
        None, "folder of prompt files that replace the shipped ones (`caredio prompts`)", _WRITING, counts=False
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        counts = {"per_topic": 1, "rounds": 1, "per_call": 1, "demonstrations": 0, "examples": 0, "subtopics": 0}
        for name, least in counts.items():
            if getattr(self, name) < least:
                raise InputError(f"{name} is {getattr(self, name)}; it must be at least {least}.")
            if getattr(self, name) > _MOST:
                raise InputError(f"{name} is {getattr(self, name)}; it must be at most {_MOST:,}.")
        if not 0 < self.rouge_l <= 1:
            raise InputError(f"rouge_l is {self.rouge_l}; use a share above 0 up to 1.")
        if self.question_cosine is not None and not 0 < self.question_cosine <= 1:
            raise InputError(f"question_cosine is {self.question_cosine}; use a cosine above 0 up to 1.")
        for name in ("sensitivity", "truth", "answering", "fairness", "recognition"):
            if not 1 <= (least := getattr(self, f"least_{name}")) <= 5:
                raise InputError(f"least_{name} is {least}; the scale is 1 to 5.")
        for name in ("review_model", "review_provider"):
            if (given := getattr(self, name)) is not None and not given.strip():
                raise InputError(f"{name} is empty; name it, or leave it out.")
        self._check_length()
        self._check_shown()
        self._check_left_out()
        if self.personas < 0:
            raise InputError("personas must be 0 (nobody in particular answers) or more.")
        if self.personas_file and not self.personas:
            raise InputError("personas_file is given without personas; say how many of its people answer.")
        if self.evidence_pieces < 1:
            raise InputError(f"evidence_pieces is {self.evidence_pieces}; it must be at least 1.")
        if not -1 <= self.evidence_similarity <= 1:
            raise InputError(f"evidence_similarity is {self.evidence_similarity}; it is a cosine, from -1 to 1.")
        if self.optimize_rounds < 0:
            raise InputError("optimize_rounds must be 0 (no optimisation) or more.")
        if min(self.other_responses, self.other_questions) < 0 or not self.other_responses + self.other_questions:
            raise InputError("other_responses and other_questions must be 0 or more, and one of them at least 1.")
        if not 0 <= self.least_gain < math.inf:
            raise InputError("least_gain must be a number from 0 on.")
        if not -1 <= self.relevance <= 1:
            raise InputError(f"relevance is {self.relevance}; it is a cosine, from -1 to 1.")

    def _check_shown(self) -> None:
        if self.neighbours is not None and (self.near, self.far) != (Settings.near, Settings.far):
            raise InputError("neighbours stands in place of near and far; give one or the others.")
        if min(self.near, self.far) < 0 or (1 if self.neighbours is None else self.neighbours) < 1:
            raise InputError("near and far must be 0 or more, and neighbours at least 1.")
        shows = self.adaptation or self.contrast  # else nobody reads what others answered
        if shows and self.neighbours is None and not self.near + self.far:
            raise InputError("near or far must be at least 1: without another culture there is nothing to compare.")

    def _check_left_out(self) -> None:
        if not self.adaptation and self.language == "own":
            raise InputError("language own writes adapted questions, and adaptation is off; leave one of them out.")
        if not self.contrast and self.contrast_others:
            raise InputError("contrast_others answers as contrast does, which is off; leave one of them out.")
        if not self.optimize_rounds:
            return
        if not self.adaptation and self.other_questions:
            raise InputError("adaptation is off, and other_questions gives each culture its own; set it to 0.")
        if not self.contrast and self.other_responses:
            raise InputError("contrast is off, and other_responses shows what others answered; set it to 0.")

    def _check_length(self) -> None:
        if self.sentences is not None and not self.sentences.strip():
            raise InputError("sentences is empty; say how many, such as 'two or three'.")
        if self.register is not None and not self.register.strip():
            raise InputError("register is empty; say how an answer is worded, such as 'plain words'.")
        if self.words is None:
            return
        if self.in_sentences:
            raise InputError(
                "words and sentences or register say both how long an answer is; leave words out, or the others."
            )
        found = _RANGE.fullmatch(self.words.strip())
        if not found or not 0 < int(found[1]) <= int(found[2]):
            raise InputError(f"words is {self.words!r}; say fewest and most, such as 80-200.")

    @property
    def in_sentences(self) -> bool:
        """Whether the length of an answer is given in sentences, as older versions had it, and not in words."""
        return self.sentences is not None or self.register is not None

    @property
    def word_range(self) -> tuple[int, int] | None:
        """The fewest and most words of an answer; None where its length is given in sentences."""
        if self.in_sentences:
            return None
        fewest, most = (self.words or WORDS[self.voice]).split("-")
        return int(fewest), int(most)

    @property
    def reviews(self) -> bool:
        """Whether candidates are reviewed."""
        return self.review or self.review_model is not None

    @property
    def reads_likelihood(self) -> bool:
        """Whether the optimisation reads a model's log-probabilities."""
        return self.optimize_rounds > 0 and self.objective == "likelihood"


def least_cosine(settings: Settings, selection: Selection) -> float:
    """The cosine from which a question is a near-duplicate; 1 where vectors do not decide."""
    measured = COSINES.get(selection.embedder, 1.0)
    return measured if settings.question_cosine is None else settings.question_cosine


def check_questions(settings: Settings, selection: Selection) -> None:
    """See that questions can be compared.

    Raises:
        InputError: vectors are to decide, and no embedder makes them.
    """
    if selection.embedder == GIVEN and least_cosine(settings, selection) < 1:
        raise InputError("question_cosine needs an embedder, and embedder is given; name one that makes vectors.")


def of_older(values: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as a file or record holds them, by name: of older versions, which had no voice, a person's."""
    older = "voice" not in values and any(values.get(name) is not None for name in ("sentences", "register"))
    return {**values, **({"voice": "person"} if older else {})}


def check_objective(settings: Settings, selection: Selection) -> None:
    """See that the optimisation can choose and report.

    Raises:
        InputError: it, or evidence, has no embedder, or reports by the one that it chooses by.
    """
    if settings.evidence and selection.embedder == GIVEN:
        raise InputError("embedder is given, but evidence has no vectors yet; name one that makes them.")
    if settings.optimize_rounds and selection.embedder == GIVEN:
        raise InputError("embedder is given, but new texts have no vectors yet; name one that makes them.")
    if settings.optimize_rounds and settings.held_out == selection.embedder:
        raise InputError("held_out is the embedder of the optimisation; a report needs another.")


class Options(TypedDict, total=False):
    """`Settings` as named parameters; `seed` and `prompts` are parameters of the verbs."""

    per_topic: int
    subtopics: int
    rounds: int
    per_call: int
    demonstrations: int
    examples: int
    rouge_l: float
    question_cosine: float | None
    least_sensitivity: int
    checks: str
    voice: str
    words: str | None
    sentences: str | None
    register: str | None
    near: int
    far: int
    neighbours: int | None
    check_others: bool
    adaptation: bool
    contrast: bool
    contrast_others: bool
    language: str
    personas: int
    personas_file: str | None
    evidence: str | None
    evidence_questions: str
    evidence_pieces: int
    evidence_similarity: float
    optimize_rounds: int
    other_responses: int
    other_questions: int
    objective: str
    least_gain: float
    relevance: float
    held_out: str | None
    review: bool
    review_model: str | None
    review_provider: str | None
    least_truth: int
    least_answering: int
    least_fairness: int
    least_recognition: int
