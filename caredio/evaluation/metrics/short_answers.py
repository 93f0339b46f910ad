"""BLEnD's score of short answers: a written answer is right where it holds what people said (SEM, soft exact match).

After Myung et al. (arXiv 2406.09948) and the evaluation code of github nlee0212/BLEnD (`evaluation/exact_match.py`,
commit 24e7d73): an answer of people is found in a written one where it is a part of it, with hyphens and spaces
exchanged too, or where each of its words, reduced to a base form, is a word of the written one. Answers are tried from
the most frequent on; SEM-B counts a hit as 1, SEM-W as the found answer's count over the highest count.

What differs: upstream reduces words with one lemmatiser or stemmer a language (spaCy, Spark NLP, KoNLPy, hazm, qalsadi,
jieba and others), here all languages of Snowball use its stemmer, and words of the rest are compared as they are. So an
irregular form (`children` for `child`) is not found, and in Chinese, which has no spaces, only a part of the text is.
Both sides are compared without case. A part is found inside of a word, as upstream: `rice` in `price`.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from string import punctuation
from typing import Any

from caredio import packages
from caredio.errors import InputError
from caredio.evaluation.metrics import shapes

_STEMMERS = {"ar": "arabic", "el": "greek", "en": "english", "es": "spanish", "fa": "persian", "id": "indonesian"}
_ACUTE = {ord("\N{COMBINING ACUTE ACCENT}"): None}
_LABEL = re.compile(r"^answer:\s", re.IGNORECASE)

Answers = Sequence[Mapping[str, Any]]


def sem_b(predictions: Sequence[str], references: Sequence[Answers], language: str = "en") -> float:
    """The share of written answers that hold one of people's answers: BLEnD's SEM-B, between 0 and 1.

    Args:
        predictions: what the model wrote, for each question; an empty text is wrong.
        references: people's answers, for each question: `text`, `weight` (how many gave it) and, where it has any, its
            other spellings as a list `also`.
        language: BCP-47 tag of the answers; words are compared as stems of this language, and as English stems, since
            upstream takes an answer in English too.

    Raises:
        InputError: another shape, a question without answers, or snowballstemmer is not installed.
    """
    return _mean("sem_b", predictions, references, language, lambda found, highest: 1.0)


def sem_w(predictions: Sequence[str], references: Sequence[Answers], language: str = "en") -> float:
    """The mean of found answers' weights over the highest weight of their question: BLEnD's SEM-W, between 0 and 1.

    Arguments and errors as `sem_b`.
    """
    return _mean("sem_w", predictions, references, language, lambda found, highest: found / highest)


def _mean(
    metric: str,
    predictions: Sequence[str],
    references: Sequence[Answers],
    language: str,
    score: Callable[[float, float], float],
) -> float:
    shapes.paired(metric, predictions=predictions, references=references)
    total = 0.0
    for place, (written, answers) in enumerate(zip(predictions, references, strict=True)):
        if not len(answers):
            raise InputError(f"{metric}: question {place} has no answer of people; leave it out.")
        highest = max(answer["weight"] for answer in answers)
        if not highest > 0:
            raise InputError(f"{metric}: question {place} has no answer with a weight above 0.")
        found = _weight(written, answers, language)
        total += score(found, highest) if found else 0.0
    return total / len(predictions)


def _weight(written: str, answers: Answers, language: str) -> float:
    """The weight of the first of people's answers that is in a written one, from the most frequent on; 0 for none."""
    text = _LABEL.sub("", written.strip()).strip(".").casefold()
    if not text:
        return 0.0
    for answer in sorted(answers, key=lambda answer: -answer["weight"]):
        if any(
            _holds(text, spelling.casefold(), language) for spelling in (answer["text"], *(answer.get("also") or ()))
        ):
            return float(answer["weight"])
    return 0.0


def _holds(text: str, answer: str, language: str) -> bool:
    if not answer.strip():
        return False
    if any(part in text for part in (answer, answer.replace("-", " "), answer.replace(" ", "-"))):
        return True
    return any(
        _words(answer, tag) <= _words(text, tag) for tag in dict.fromkeys((language, "en")) if _words(answer, tag)
    )


@functools.lru_cache(maxsize=4096)
def _words(text: str, language: str) -> frozenset[str]:
    """A text's words in their base forms."""
    words = [word.strip(punctuation) for word in text.split()]
    stemmed = _stem(language)([word for word in words if word])
    return frozenset(unicodedata.normalize("NFD", word).translate(_ACUTE) for word in stemmed)


@functools.cache
def _stem(language: str) -> Callable[[list[str]], Iterable[str]]:
    """What reduces words of a language to stems; words stay as they are where Snowball has none for it."""
    packages.require("scoring short answers", "eval", "snowballstemmer")
    import snowballstemmer

    name = _STEMMERS.get(language.partition("-")[0].lower())
    return snowballstemmer.stemmer(name).stemWords if name else list
