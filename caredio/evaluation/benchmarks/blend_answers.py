"""BLEnD's short answers: what people of 16 regions answered to the same everyday questions (arXiv 2406.09948).

`blend_answers` asks in English, `blend_answers_native` asks the same questions in the region's language, so that both
can be compared question by question. A question of a region is dropped as upstream drops it (github nlee0212/BLEnD,
evaluation/exact_match.py): where "no answer" and "not applicable" together were chosen three times, "I don't know" five
times, or nobody answered.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from caredio.errors import InputError
from caredio.evaluation import majority, published, short_answers
from caredio.evaluation.benchmark import Benchmark, Document
from caredio.evaluation.benchmarks.blend import LABELS, NOTES, REGIONS

_FOLDER = "BLEnD's folder data/annotations, or annotations_hf, of files such as South_Korea_data.json"
_LANGUAGES = {
    "Algeria": "ar",
    "Assam": "as",
    "Azerbaijan": "az",
    "China": "zh",
    "Ethiopia": "am",
    "Greece": "el",
    "Indonesia": "id",
    "Iran": "fa",
    "Mexico": "es",
    "North_Korea": "ko",
    "Northern_Nigeria": "ha",
    "South_Korea": "ko",
    "Spain": "es",
    "UK": "en",
    "US": "en",
    "West_Java": "su",
}


class Asked(NamedTuple):
    """A region's question with what people answered, the most frequent answers first."""

    question: str
    answers: list[dict[str, Any]]  # text, weight, also
    untold: int  # how many gave the most frequent of the answers that have no words in the language

    @property
    def counts(self) -> dict[str, int]:
        """How many gave each answer, where two have the same words the more often given one's.

        None where the most frequent answer has no words in the language: the region has no own answer in it then.
        """
        if self.untold >= self.answers[0]["weight"]:
            return {}
        return {one["text"]: one["weight"] for one in reversed(self.answers)}

    @property
    def wordings(self) -> list[str]:
        """Every wording of the answers."""
        return [text for one in self.answers for text in (one["text"], *one["also"])]


def english(path: Path) -> list[Document]:
    """People's answers in English to the questions in English.

    Raises:
        InputError: there is no file of a region, or one is not as BLEnD publishes it.
    """
    asked = _regions(path, native=False)
    return list(_documents(asked, dict.fromkeys(asked, "en")))


def native(path: Path) -> list[Document]:
    """People's answers to the questions in the language of their region.

    Rivals are those of regions that speak the same: else a model would tell languages apart, and not cultures.

    Raises:
        InputError: as `english`.
    """
    asked = _regions(path, native=True)
    return list(_documents(asked, {region: _LANGUAGES.get(region, "en") for region in asked}))


def _documents(asked: dict[str, dict[str, Asked]], languages: dict[str, str]) -> Iterator[Document]:
    own: dict[tuple[str, str], dict[str, str]] = defaultdict(dict)  # question and language -> region -> its answer
    for region, questions in asked.items():
        for question_id, one in questions.items():
            if answer := majority.own(one.counts):
                own[question_id, languages[region]][region] = answer
    for region, questions in asked.items():
        for question_id, one in questions.items():
            others = dict(own[question_id, languages[region]])
            mine = others.pop(region, None)
            rivals = majority.rivals(others, one.wordings)
            yield {
                "id": question_id,
                "culture": region,
                "language": languages[region],
                "question": one.question,
                "answers": one.answers,
                "own": mine,
                "rivals": [{"culture": other, "text": text} for other, text in rivals.items()],
            }


def _regions(path: Path, native: bool) -> dict[str, dict[str, Asked]]:
    """By region and id, the questions that upstream does not drop and that have an answer in the language."""
    files = published.within(path, ["*_data.json"], _FOLDER)
    return {file.stem.removesuffix("_data"): _region(file, native) for file in files}


def _region(file: Path, native: bool) -> dict[str, Asked]:
    found = published.read_json(file, _FOLDER)
    try:
        items = found.items() if isinstance(found, dict) else [(row["ID"], row) for row in found]  # the Hub's are rows
        asked = {question_id: _asked(item, native) for question_id, item in items if not _dropped(item)}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{file}: is not as BLEnD publishes it ({published.difference(error)}); give {_FOLDER}."
        ) from None
    return {question_id: one for question_id, one in asked.items() if one.answers}


def _dropped(item: dict[str, Any]) -> bool:
    idks = item["idks"]
    absent = (idks["no-answer"] or 0) + (idks["not-applicable"] or 0)  # the Hub's rows may hold None
    return absent >= 3 or (idks["idk"] or 0) >= 5 or not item["annotations"]


def _asked(item: dict[str, Any], native: bool) -> Asked:
    """The question in one of its languages. In the region's, answers in English are other wordings, as upstream."""
    answers, untold = [], 0
    for annotation in item["annotations"]:
        texts = [*annotation["answers"], *annotation["en_answers"]] if native else annotation["en_answers"]
        wordings = list(dict.fromkeys(text.strip() for text in texts if text.strip()))
        if wordings:
            answers.append({"text": wordings[0], "weight": int(annotation["count"]), "also": wordings[1:]})
        else:
            untold = max(untold, int(annotation["count"]))
    answers.sort(key=lambda answer: -answer["weight"])
    return Asked(item["question"] if native else item["en_question"], answers, untold)


_ENGLISH = Benchmark(
    name="blend_answers",
    title="BLEnD short answers, in English",
    kind=short_answers.KIND,
    source="blend",
    read=english,
    licence="CC-BY-SA-4.0",
    file=_FOLDER,
    hub="nayeon212/BLEnD",
    files=("data/annotations_hf/*",),
    labels=LABELS,
    regions=REGIONS,
    notes=NOTES,
)
BENCHMARKS = (
    _ENGLISH,
    replace(_ENGLISH, name="blend_answers_native", title="BLEnD short answers, in the region's language", read=native),
)
