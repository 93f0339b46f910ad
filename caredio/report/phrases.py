"""What each culture says that others do not: its distinctive phrases, by TF-IDF (seed 001, Figure 3 b).

Term frequency is the share of a culture's texts that hold a phrase, less the mean of that share elsewhere; inverse
document frequency is the logarithm of texts over texts that hold it. A phrase counts where that share is twice the mean
elsewhere. What every culture says alike is none, in whatever language. English stop words neither begin nor end a
phrase; where cultures write in different languages, function words of the others stay in.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from caredio import cultures, plots
from caredio.report import bars

_WORDS, _CHARACTERS = 3, 6  # the longest phrase, in scripts with and without spaces between words
_LEAST = 2  # texts of the culture that hold a phrase
_TIMES = 2  # as frequent as elsewhere
_COMMON = 0.3  # share of texts, in most cultures, from which a word neither begins nor ends a phrase
_CONTENT = frozenset(  # of scikit-learn's stop words: these say something
    ["bill", "bottom", "cry", "fire", "interest", "mill", "mine", "serious", "sincere", "system", "thick", "thin"]
)
_PART = 0.75  # of the texts that hold a phrase: as many hold a longer one, which then stands for it
_ACROSS = 2  # cultures side by side in a picture
_SHOWN, _FEWER, _MANY = 8, 5, 6  # phrases of each, and where there are more than so many cultures
_ROW = 0.19  # inches of a phrase

_COMBINING = "".join(char for char in map(chr, range(0x10000)) if unicodedata.category(char) in ("Mn", "Mc"))
# kana, Han, Thai, Lao, Burmese and Khmer, which put no space between words
_UNSPACED = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"
_LETTER = f"[^\\W\\d_{_UNSPACED}]"
_WORD = f"{_LETTER}(?:{_LETTER}|[{_COMBINING}\u200c\u200d]|['’](?={_LETTER}))*"
_TOKEN = re.compile(f"(?P<word>{_WORD})|(?P<sign>[{_UNSPACED}][{_COMBINING}]*)|(?P<end>[^\\s\\w]+|\\d+)")


def distinctive(texts: Mapping[str, Sequence[str]], top: int = 10) -> dict[str, list[tuple[str, float]]]:
    """Culture -> its phrases with their scores, highest first; none for a culture without a phrase in two texts.

    Of one culture alone they are its frequent phrases, as there is nothing to differ from.

    Args:
        texts: culture -> its texts.
        top: the most phrases of a culture.
    """
    held = {culture: [_phrases(text) for text in own] for culture, own in texts.items()}
    counts = {culture: Counter(phrase for phrases in own for phrase in phrases) for culture, own in held.items()}
    shares = {
        culture: {phrase: count / len(held[culture]) for phrase, count in found.items()}
        for culture, found in counts.items()
    }
    every = sum(map(len, held.values()))
    within = Counter[tuple[str, ...]]()
    for found in counts.values():
        within.update(found)
    empty = _common(shares) | _stop_words()
    made = {}
    for culture, found in counts.items():
        others = [other for name, other in shares.items() if name != culture]
        scores = {}
        for phrase, count in found.items():
            if count < _LEAST or phrase[0] in empty or phrase[-1] in empty:
                continue
            elsewhere = fmean(other.get(phrase, 0.0) for other in others) if others else 0.0
            here = shares[culture][phrase]
            score = (here - elsewhere) * math.log(every / within[phrase])
            if score > 0 and here >= _TIMES * elsewhere:
                scores[phrase] = score
        made[culture] = _best(scores, found, top)
    return made


def draw(found: Mapping[str, Sequence[tuple[str, float]]], file: Path) -> list[Path]:
    """The files of a picture with the phrases of each culture as bars; none where there is nothing to draw.

    Phrases that no installed font draws are left out: a page shows them as text.

    Args:
        found: as `distinctive` returns it.
        file: its path, without the ending.
    """
    texts = [*found, *(phrase for phrases in found.values() for phrase, _ in phrases)]
    return plots.drawn(lambda: figure(found), file, texts)


def figure(found: Mapping[str, Sequence[tuple[str, float]]]) -> Any:
    """As `draw`; None where there is nothing to draw."""
    shown = _SHOWN if len(found) <= _MANY else _FEWER
    drawn = {
        culture: [one for one in phrases if plots.drawable(one[0])][:shown]
        for culture, phrases in sorted(found.items())
    }
    drawn = {culture: phrases for culture, phrases in drawn.items() if phrases}
    if not drawn:
        return None
    named = bars.names(cultures.slugs(drawn))
    rows = [list(drawn.items())[start : start + _ACROSS] for start in range(0, len(drawn), _ACROSS)]
    heights = [2 + max(len(phrases) for _, phrases in row) for row in rows]
    drawing = plots.figure(bars.WIDTH, _ROW * sum(heights) + 0.4)
    axis = drawing.subplots()
    top = 0
    for row, height in zip(rows, heights, strict=True):
        for left, (culture, phrases) in enumerate(row):
            axis.text(1.06 * left, top + 0.6, named[culture], va="center", fontsize=8, fontweight="bold")
            for place, (phrase, score) in enumerate(phrases):
                at, width = top + 1.5 + place, score / phrases[0][1]
                axis.barh(at, width, left=1.06 * left, height=0.84, color=plots.COLORS[5], alpha=0.45, linewidth=0)
                axis.text(1.06 * left + 0.015, at, plots.label(phrase, longest=40), va="center", fontsize=7)
        top += height
    axis.set_xlim(0, 1.06 * _ACROSS - 0.06 if len(drawn) > 1 else 1.0)
    axis.set_ylim(top, 0)
    axis.set_axis_off()
    drawing.suptitle("Distinctive phrases (TF-IDF; bars are each culture's own)", fontsize=9)
    return drawing


def _tokens(text: str) -> Iterator[list[tuple[str, bool]]]:
    """Stretches between punctuation, each of words and, in scripts without spaces, characters (True)."""
    stretch: list[tuple[str, bool]] = []
    for token in _TOKEN.finditer(unicodedata.normalize("NFC", text).casefold()):
        if token["end"]:
            yield stretch
            stretch = []
        else:
            stretch.append((token[0], token["sign"] is not None))
    yield stretch


def _phrases(text: str) -> set[tuple[str, ...]]:
    """What a text holds, of words, and of two characters or more."""
    found = set()
    for stretch in _tokens(text):
        for start, (_, signs) in enumerate(stretch):
            for length in range(2 if signs else 1, (_CHARACTERS if signs else _WORDS) + 1):
                part = stretch[start : start + length]
                if len(part) < length or part[-1][1] != signs:
                    break
                found.add(tuple(token for token, _ in part))
    return found


def _common(shares: Mapping[str, Mapping[tuple[str, ...], float]]) -> set[str]:
    """The words that most cultures use in many texts."""
    if len(shares) < 2:
        return set()
    in_many = Counter(
        phrase[0] for own in shares.values() for phrase, share in own.items() if len(phrase) == 1 and share >= _COMMON
    )
    return {word for word, count in in_many.items() if 2 * count > len(shares)}


def _stop_words() -> frozenset[str]:
    """English words that say nothing by themselves: `of`, `the`, `their`, but not `fire`."""
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS  # a run without figures needs none of it

    return ENGLISH_STOP_WORDS - _CONTENT


def _best(
    scores: Mapping[tuple[str, ...], float], counts: Mapping[tuple[str, ...], int], top: int
) -> list[tuple[str, float]]:
    """The highest scores; of a phrase and one within it the longer, where it is nearly as frequent."""
    chosen: list[tuple[str, ...]] = []
    for phrase in sorted(scores, key=lambda one: (-scores[one], one)):
        if len(chosen) >= 3 * top:  # a longer phrase that takes a place comes soon after what it holds
            break
        if any(_within(phrase, other) or _overlap(phrase, other) for other in chosen):
            continue
        chosen = [other for other in chosen if not (_within(other, phrase) and counts[phrase] >= _PART * counts[other])]
        chosen.append(phrase)
    chosen.sort(key=lambda one: (-scores[one], one))
    return [(_written(phrase), scores[phrase]) for phrase in chosen[:top]]


def _within(part: tuple[str, ...], whole: tuple[str, ...]) -> bool:
    return any(whole[start : start + len(part)] == part for start in range(len(whole) - len(part) + 1))


def _overlap(one: tuple[str, ...], other: tuple[str, ...]) -> bool:
    """Whether one begins with two or more that the other ends with: both are parts of something longer."""
    sizes = range(2, min(len(one), len(other)))
    return any(one[-size:] == other[:size] or other[-size:] == one[:size] for size in sizes)


def _written(phrase: tuple[str, ...]) -> str:
    return ("" if re.match(f"[{_UNSPACED}]", phrase[0]) else " ").join(phrase)
