"""A region's own answer to a question, and those of other regions that differ from all that the region answered.

By these two a model can be asked whose answer it finds likelier, in a way that no style of answering decides.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping

FEWEST = 3  # annotators who gave an own answer


def _characters(*categories: str) -> str:
    """Those of Unicode's categories, for a regular expression's brackets."""
    planes = [*range(0x20000), *range(0xE0000, 0xE0200)]  # between them stand Chinese characters alone, or nothing
    return "".join(re.escape(chr(one)) for one in planes if unicodedata.category(chr(one)) in categories)


MARKS = _characters("Mn", "Mc")  # vowel signs and accents, which belong to the letter before them
# what shows nothing: joiners, marks of direction, soft hyphens, selectors of variants
_HIDDEN = re.compile(f"[{_characters('Cf')}\u034f\u180b-\u180f\ufe00-\ufe0f\U000e0100-\U000e01ef]")
# Thai, Lao, Burmese, Khmer, Japanese, Chinese, Korean: no spaces between words, or words that grow by endings
_UNSPACED = re.compile(rf"([\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af][{MARKS}]*)")
_WORD = re.compile(rf"[\w{MARKS}]+")


def own(answers: Mapping[str, int]) -> str | None:
    """The answer that more annotators gave than any other, and at least `FEWEST`; None where there is none.

    Args:
        answers: answer -> how many annotators of the region gave it.
    """
    most = max(answers.values(), default=0)
    top = [answer for answer, count in answers.items() if count == most]
    return top[0] if most >= FEWEST and len(top) == 1 else None


def rivals(others: Mapping[str, str], said: Iterable[str]) -> dict[str, str]:
    """Those of other regions' own answers that are no part of what a region said, and have none of it as a part.

    Args:
        others: other region -> its own answer to the question.
        said: all that the region answered to it, in every wording.
    """
    mine = list(said)
    return {region: answer for region, answer in others.items() if not any(overlap(answer, one) for one in mine)}


def overlap(one: str, other: str) -> bool:
    """Whether the words of one text stand in the other, next to each other and in their order, either way.

    A word is letters, their marks and digits, without case and in one form of Unicode: `Rice` overlaps `fried rice`,
    not `price`. Where a script has no spaces between words, each of its characters is one. A text without a word, such
    as a sign, overlaps an equal one alone.
    """
    first, second = words(one), words(other)
    if not first.strip() or not second.strip():
        return one.strip() == other.strip()
    return first in second or second in first


def words(text: str) -> str:
    """The words of a text, each between spaces."""
    apart = _UNSPACED.sub(r" \1 ", plain(text))
    return f" {' '.join(_WORD.findall(apart))} "


def plain(text: str) -> str:
    """A text without case and what shows nothing, in one form of Unicode."""
    return unicodedata.normalize("NFKC", _HIDDEN.sub("", unicodedata.normalize("NFKC", text).casefold()))
