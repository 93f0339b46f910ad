"""Whether style alone tells the sides of preference pairs apart: a pair that style separates teaches style.

Of a held-out pair, a logistic regression on one kind of feature says which side is chosen. Its AUC is the share of such
pairs that it orders right, ties half: 0.5 is a coin, 1 is always. Questions are held out whole, a fifth at a time.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from statistics import median
from typing import Any

import numpy as np
from datasets import Dataset

from caredio.intervals import wilson

_FOLDS = 5
_LEAST = 10  # questions from which the measures are taken
_FUNCTION_WORDS = 100
_MARKS = 30
_COMBINING = "".join(char for char in map(chr, range(0x10000)) if unicodedata.category(char) in ("Mn", "Mc"))
# kana, Han, Thai, Lao, Burmese and Khmer, which put no space between words: there a character is a token
_UNSPACED = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"
_TOKEN = re.compile(f"[{_UNSPACED}]|[^\\W{_UNSPACED}](?:[^\\W{_UNSPACED}]|[{_COMBINING}])*")
_PUNCTUATION = re.compile(f"[^\\w\\s{_COMBINING}]")

# (first person, second person): pronouns of the languages of `cultures.yaml`; where a language leaves them out or marks
# person on the verb, they are only a part of it
PERSON = {
    "en": (
        "i me my mine myself we us our ours ourselves i'm i've i'd i'll we're we've we'd we'll",
        "you your yours yourself yourselves you're you've you'd you'll",
    ),
    "es": ("yo me mí mi mis conmigo nosotros nosotras nos nuestro nuestra nuestros nuestras", "tú tu tus te ti usted"),
    "pt": ("eu me mim meu minha meus minhas nós nos nosso nossa nossos nossas", "tu te você vocês seu sua seus suas"),
    "de": (
        "ich mich mir mein meine meinen meinem meiner wir uns unser unsere unseren",
        "du dich dir dein deine deinen deinem deiner ihr euch euer eure",
    ),
    "tr": ("ben beni bana benim bende biz bizi bize bizim", "sen seni sana senin siz sizi size sizin"),
    "hi": ("मैं मुझे मेरा मेरी मेरे हम हमें हमारा हमारी हमारे", "तू तुम तुम्हें तुम्हारा तुम्हारी आप आपको आपका आपकी आपके"),
    "ar": ("أنا نحن إحنا احنا", "أنت أنتم أنتِ أنتَ إنت انت"),
    "ko": (
        "나는 내가 나를 나의 내 저는 제가 저를 저의 제 우리 우리는 우리의 저희",
        "너는 네가 너의 당신 당신은 당신의 여러분",
    ),
    "zh": ("我 我们 我們 咱们 俺", "你 您 你们 你們"),
    "ja": ("私 僕 俺 わたし 私たち 我々", "あなた 君 あなたたち"),
}


def report(pairs: Dataset, languages: Mapping[str, str | None]) -> dict[str, Any]:
    """Culture -> pairs, median characters of the chosen and the rejected sides, and what tells them apart.

    Args:
        pairs: `features.PREFERENCE`.
        languages: sample_id -> BCP-47 tag of its text; what is unknown is taken for English.

    Returns:
        Under `told_apart`, by measure, the AUC with its 95 % interval (Wilson's, over questions); None where no more
        than a few questions have pairs, or no side has what is measured:

        - length: characters;
        - punctuation: the rate of each of the 30 most frequent marks, per character;
        - function_words: the rate of each of the 100 most frequent tokens of both sides together, per token: mostly
          function words in any language, though in few or short texts words of content are among them;
        - person: the rates of pronouns of the first and of the second person (`PERSON`), per token.
    """
    found = {}
    of_culture: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in pairs:
        of_culture[row["culture"]].append(row)
    for culture, rows in sorted(of_culture.items()):
        sides = [text(row["chosen"]) for row in rows], [text(row["rejected"]) for row in rows]
        spoken = [(languages.get(row["sample_id"]) or "en").split("-")[0] for row in rows]
        questions = [row["question_id"] for row in rows]
        found[culture] = {
            "pairs": len(rows),
            "characters": [median(map(len, side)) for side in sides],
            "told_apart": {name: told_apart(measure(sides, spoken), questions) for name, measure in MEASURES.items()},
        }
    return found


def text(messages: Iterable[Mapping[str, str]]) -> str:
    """What the messages say."""
    return "\n".join(message["content"] for message in messages)


def told_apart(differences: np.ndarray, questions: Sequence[str]) -> list[float] | None:
    """The AUC of features of pairs and its interval; None of fewer than 10 questions, or where no pair differs.

    Args:
        differences: float[n, k], the chosen side's features less the rejected side's.
        questions: of each pair, by which pairs are held out together.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GroupKFold

    names, groups = np.unique(questions, return_inverse=True)
    spread = np.sqrt((differences**2).mean(axis=0))
    if len(names) < _LEAST or not (spread > 0).any():
        return None
    scaled = differences[:, spread > 0] / spread[spread > 0]
    right = np.empty(len(scaled))
    for train, test in GroupKFold(_FOLDS).split(scaled, groups=groups):
        both = np.concatenate([scaled[train], -scaled[train]])  # the sides have no order of their own
        model = LogisticRegression(fit_intercept=False).fit(both, np.repeat([1, 0], len(train)))
        right[test] = (np.sign(model.decision_function(scaled[test])) + 1) / 2
    of_question = np.bincount(groups, right) / np.bincount(groups)
    share = float(of_question.mean())
    return [round(value, 4) for value in (share, *wilson(share, len(names)))]


def highest(report: Mapping[str, Any]) -> dict[str, tuple[float, str]]:
    """Measure -> its highest AUC among the cultures, and whose it is."""
    found: dict[str, tuple[float, str]] = {}
    for name in MEASURES:
        measured = [(one["told_apart"][name][0], culture) for culture, one in report.items() if one["told_apart"][name]]
        if measured:
            found[name] = max(measured)
    return found


def line(report: Mapping[str, Any]) -> str:
    """The report in a line: what tells the sides apart where it does so most."""
    if not report:
        return "no pairs"
    chosen, rejected = (median(one["characters"][side] for one in report.values()) for side in (0, 1))
    told = ", ".join(f"{name} {value:.2f} ({culture})" for name, (value, culture) in highest(report).items())
    told = f"sides told apart, AUC of the highest culture: {told}" if told else "too few questions to say more"
    return f"{chosen:g} characters chosen, {rejected:g} rejected (medians); {told}"


Sides = tuple[list[str], list[str]]  # chosen and rejected, in the order of the pairs


def _length(sides: Sides, languages: list[str]) -> np.ndarray:
    return np.subtract(*(np.log([[max(len(one), 1)] for one in side]) for side in sides))


def _punctuation(sides: Sides, languages: list[str]) -> np.ndarray:
    marks = [[_PUNCTUATION.findall(one) for one in side] for side in sides]
    return _rates(marks, [[len(one) for one in side] for side in sides], _MARKS)


def _function_words(sides: Sides, languages: list[str]) -> np.ndarray:
    tokens = [[_TOKEN.findall(one.casefold()) for one in side] for side in sides]
    return _rates(tokens, [[len(one) for one in side] for side in tokens], _FUNCTION_WORDS)


def _person(sides: Sides, languages: list[str]) -> np.ndarray:
    def rates(one: str, language: str) -> list[float]:
        total = max(len(_TOKEN.findall(one)), 1)
        return [len(pronouns.findall(one.casefold())) / total for pronouns in _pronouns(language)]

    return np.subtract(*(np.array([rates(*one) for one in zip(side, languages, strict=True)]) for side in sides))


def _rates(found: list[list[list[str]]], totals: list[list[int]], kinds: int) -> np.ndarray:
    """Differences of the rates of the most frequent `kinds` of what is found."""
    counts = Counter(one for side in found for text in side for one in text)
    place = {one: column for column, (one, _) in enumerate(counts.most_common(kinds))}
    rates = np.zeros((2, len(found[0]), max(len(place), 1)))
    for side, texts in enumerate(found):
        for row, text in enumerate(texts):
            np.add.at(rates[side, row], [place[one] for one in text if one in place], 1)
    rates /= np.maximum(totals, 1)[:, :, None]
    return rates[0] - rates[1]


@cache
def _pronouns(language: str) -> list[re.Pattern[str]]:
    """What finds the pronouns of the first and of the second person; nothing in a language that has no list."""
    if language not in PERSON:
        return [re.compile("(?!)")] * 2
    listed = [sorted(words.split(), key=len, reverse=True) for words in PERSON[language]]
    joined = ["|".join(map(re.escape, words)) for words in listed]
    return [re.compile(one if language in ("zh", "ja") else rf"(?<!\w)(?:{one})(?!\w)") for one in joined]


MEASURES: dict[str, Callable[[Sides, list[str]], np.ndarray]] = {
    "length": _length,
    "punctuation": _punctuation,
    "function_words": _function_words,
    "person": _person,
}
