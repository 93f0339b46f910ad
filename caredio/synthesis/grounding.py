"""Table stage (questions meet all pieces of a culture): the pieces of evidence that are nearest to each question.

questions, evidence -> grounding. A culture's pieces stand before the question wherever it answers, whoever's question
it is, so that what is compared is equally grounded. Nearest are those to the universal question, which all share.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from datasets import Dataset

from caredio import features, prompts
from caredio.cultures import Culture
from caredio.llm import plan
from caredio.llm.embeddings import Embeddings
from caredio.llm.settings import Endpoint
from caredio.llm.spec import Messages
from caredio.markdown import code
from caredio.selection import embed
from caredio.selection.measure import unit
from caredio.selection.settings import Settings as Selection
from caredio.stages import Planned, Planning, Stage
from caredio.synthesis.personas import People
from caredio.synthesis.settings import Settings

PROMPT = "evidence"  # of the stages that show evidence, where there is some
_TOGETHER = 4_096  # questions compared with a culture's pieces at once


def calls(planning: Planning) -> Planned:
    """The requests for vectors of pieces and questions, where there is evidence and an endpoint makes them."""
    pieces = planning.evidence
    if not pieces:
        return Planned(())
    (asked,) = planning.rows["questions"]
    lengths = [(len(pieces), sum(map(len, pieces)) // len(pieces)), (asked.rows, plan.QUESTION)]
    return Planned(embed.steps("vectors of evidence", planning.selection.embedder, lengths))


STAGE = Stage(
    "grounding",
    {"questions": "question_id question", "evidence": " ".join(features.EVIDENCE)},
    features.GROUNDING,
    modules=(__name__,),
    calls=calls,
)


@dataclass(frozen=True)
class Grounds:
    """The pieces for each question and culture, as prompts show them; without any, prompts stay as they are.

    Attributes:
        pieces: (question_id, culture) -> rows of `features.GROUNDING`.
        prompts: folders of prompt files.
        people: whom personas are drawn from, where not made of categories.
    """

    pieces: Mapping[tuple[str, str], Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    prompts: str | None = None
    people: People | None = None

    def shown(self, messages: Messages, question_id: str, culture: Culture, part: str = "shown") -> Messages:
        """`messages` with the culture's pieces before the last turn, in the words of this part of the prompt file."""
        found = self.pieces.get((question_id, culture.slug))
        return with_pieces(messages, found, culture, self.prompts, part) if found else messages

    def kept(self, question_id: str, culture: str) -> list[dict[str, Any]] | None:
        """What a row keeps of its pieces: where they come from, and their ids; None where no evidence was given."""
        if not self.pieces:
            return None
        names = ("source", "evidence_id")
        return [{name: piece[name] for name in names} for piece in self.pieces.get((question_id, culture), ())]


NONE = Grounds()


def with_pieces(
    messages: Messages,
    pieces: Sequence[Mapping[str, Any]],
    culture: Culture,
    folders: str | None,
    part: str = "shown",
) -> Messages:
    """`messages` with pieces before the last turn, a line of JSON each."""
    lines = (json.dumps({"source": one["source"], "text": one["text"]}, ensure_ascii=False) for one in pieces)
    before = prompts.load(PROMPT, folders).part(part, name=culture.name, pieces="\n".join(lines))
    last = messages[-1]
    return [*messages[:-1], {**last, "content": f"{before}\n\n{last['content']}"}]


def planned(messages: Messages, planning: Planning) -> Messages:
    """`messages` as they are planned with: with pieces of the usual length where there is evidence."""
    if not planning.evidence:
        return messages
    text = "." * (sum(map(len, planning.evidence)) // len(planning.evidence))
    pieces = [{"source": PROMPT, "text": text}] * planning.settings.evidence_pieces
    return with_pieces(messages, pieces, planning.targets[0], planning.settings.prompts)


def of(table: Dataset | None, people: People | None, folders: str | None) -> Grounds:
    """What answers are grounded in: pieces of `features.GROUNDING`, and people; None of those that were not given."""
    found: dict[tuple[str, str], list[Mapping[str, Any]]] = defaultdict(list)
    for row in table or ():
        found[row["question_id"], row["culture"]].append(row)
    return Grounds(found, folders, people)


def run(
    questions: Dataset,
    evidence: Dataset,
    settings: Settings,
    selection: Selection,
    endpoint: Endpoint | None = None,
) -> tuple[Dataset, dict[str, Any]]:
    """The nearest pieces of each culture to each question.

    Args:
        questions: `features.QUESTIONS`.
        evidence: `features.EVIDENCE`.
        selection: the embedder.
        endpoint: how to reach an embedder that an endpoint serves.

    Returns:
        `features.GROUNDING`: at most `evidence_pieces` of a question and culture, nearest first, and none that is less
        similar than `evidence_similarity`; a survey's piece is as near as its question. And what an endpoint's embedder
        used.
    """
    encode = embed.encoder(selection.embedder, selection.embedding_batch_size, endpoint)
    questions = STAGE.table(questions, "questions")
    evidence = STAGE.table(evidence, "evidence")
    names, asked = questions["question_id"][:], unit(encode, questions["question"][:])
    told = [row["question"] or row["text"] for row in evidence]
    known = unit(encode, told)
    places: dict[str, list[int]] = defaultdict(list)
    for place, culture in enumerate(evidence["culture"][:]):
        places[culture].append(place)

    def rows() -> Iterator[dict[str, Any]]:
        for start in range(0, len(names), _TOGETHER):
            some = asked[start : start + _TOGETHER]
            for own in places.values():
                pieces = evidence[own]
                near = some @ known[own].T
                for number, similarities in enumerate(near, start):
                    yield from _nearest(names[number], similarities, pieces, settings)

    used = {"embedders": {encode.model: encode.used()}} if isinstance(encode, Embeddings) else {}
    return features.table(rows(), features.GROUNDING), used


def _nearest(
    question_id: str, similarities: np.ndarray, pieces: Mapping[str, list[Any]], settings: Settings
) -> Iterator[dict[str, Any]]:
    """The rows of a question and a culture."""
    best = np.argsort(-similarities, kind="stable")[: settings.evidence_pieces]
    for place in best:
        if similarities[place] >= settings.evidence_similarity:
            own = {name: pieces[name][place] for name in ("culture", "evidence_id", "source", "text")}
            yield {"question_id": question_id, **own, "similarity": round(float(similarities[place]), 4)}


def describe(stages: Mapping[str, Any]) -> str:
    """A sentence for the card on the evidence, from a run's entries in run.json."""
    if "grounding" not in stages:
        return "Evidence: none."
    entry, settings = stages["evidence"], stages["grounding"]["made_from"]["config"]
    kept = entry["dropped"].get("kept_for_test", 0)
    part = f"; {kept:,} pieces on other questions were kept for tests" if kept else ""
    return (
        f"Evidence: {entry['rows']:,} pieces of {code(entry['made_from']['source']['table'])}, of which each answer's"
        f" prompt showed the {settings['evidence_pieces']} nearest to its question on its culture, from a cosine of"
        f" {settings['evidence_similarity']:g} on; the column `evidence` names them{part}."
    )
