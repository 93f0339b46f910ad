"""In whose voice answers are written, and how long they are: the same for all who answer a question.

Distinctiveness compares answers, so target, neighbours, compared cultures and redraws speak in one voice: that of an
assistant to someone of the culture, or of a person. Length is in words; where a language does not write them apart, in
characters, by how many of them stand for a word of English.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from caredio import prompts
from caredio.cultures import Culture
from caredio.llm.plan import ANSWER, CHARACTERS, SAMPLE
from caredio.llm.rows import Unusable
from caredio.markdown import code
from caredio.synthesis import checks, languages, personas
from caredio.synthesis.settings import OLDER, Settings

_ARTICLE = {"assistant": "an assistant", "person": "a person"}
_WORD = 6  # characters of an English word and the space after it
_TOLERANCE = 0.25  # of the fewest and most words; models do not count them
# characters of a word, in languages that do not write words apart
_RUN_ON = {"zh": 1.7, "yue": 1.7, "wuu": 1.7, "ja": 2.2, "th": 4.5, "lo": 4.5, "my": 5.0, "km": 5.0}
_OTHERWISE = 2.0  # of a stretch in such a script in a text of another language, as in a gloss
_RUN_ON_LETTER = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\U00020000-\U0003ffff\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff]")
_SPACED_WORD = re.compile(r"[\w\u0900-\u0dff]+(?:['’.,-][\w\u0900-\u0dff]+)*")
_COUNT_WORD = r"(\d{1,3}|one|two|three|four|five|six|seven|eight|nine|ten)"
_COUNT = re.compile(
    rf"((at most|at least|up to|about) )?{_COUNT_WORD}(( or | to | ?[-\u2013] ?){_COUNT_WORD})?", re.IGNORECASE
)
_QUOTED = re.compile(r"\"[^\"\n]*\"|“[^”\n]*”|‘[^’\n]*’")
_KIN = (
    r"(?:mother|father|mum|mom|dad|parents?|grand(?:mother|father|ma|pa|mum|parents)|aunt|uncle|wife|husband|sons?"
    r"|daughters?|children|kids|brothers?|sisters?|cousins?|in-laws|family|village|home ?town|childhood|upbringing)"
)
_BIOGRAPHY = re.compile(
    r"\bI (?:(?:still|always|also|often|only|first) )?(?:grew up|was (?:born|raised|brought up)|remember"
    r"|lived? (?:in|with|near))\b"
    r"|\b[Ww]hen I was (?:a|an|young|little|small|growing|in|at|still)\b"
    rf"|\b[Mm]y (?:(?:own|late|old|elder|older|younger|little|big) )*{_KIN}\b"
    r"|\b[Aa]s an? [A-Z]\w+(?: (?:man|woman|person|mother|father))?,? (?:I|we)\b"
)


def slots(settings: Settings, culture: Culture, language: str, persona: str | None = None) -> dict[str, str]:
    """What of a prompt the voice fills: `voice`, who speaks; `form`, how and at what length.

    Args:
        language: BCP-47 tag of the answer.
        persona: who of the culture speaks, or is spoken to.
    """
    texts = prompts.load("voice", settings.prompts)
    named = {"name": culture.name, "adjective": culture.adjective, "length": _length(settings, language)}
    named["persona"] = personas.named(persona, settings)
    return {
        "voice": texts.part(settings.voice, **named),
        "form": texts.part(f"{settings.voice}_answer", **named),
    }


def _length(settings: Settings, language: str) -> str:
    """How long an answer is to be, with its language, as words that follow "in"."""
    if settings.word_range is None:
        count, register = settings.sentences or OLDER[0], settings.register or OLDER[1]
        return f"{count} sentences of {languages.name(language)}, in {register}"
    fewest, most, unit = _asked(settings.word_range, language)
    return f"{fewest} to {most} {unit} of {languages.name(language)}"


def _asked(words: tuple[int, int], language: str) -> tuple[int, int, str]:
    """A range of words in what `language` is counted in."""
    size = _RUN_ON.get(language.split("-")[0])
    if size is None:
        return (*words, "words")
    fewest, most = (max(1, round(size * number, -1 if number > 20 else 0)) for number in words)
    return int(fewest), int(most), "characters"


def count(text: str, language: str) -> float:
    """The words of a text, or its characters where words are not written apart; stretches of another script by size."""
    size = _RUN_ON.get(language.split("-")[0])
    letters = len(_RUN_ON_LETTER.findall(text))
    spaced = len(_SPACED_WORD.findall(_RUN_ON_LETTER.sub(" ", text)))
    return spaced + letters / _OTHERWISE if size is None else letters + spaced * size


def wrong_length(text: str, language: str, settings: Settings) -> Unusable | None:
    """What is wrong with the length of an answer, if anything is."""
    if settings.word_range is None:
        return None
    fewest, most, unit = _asked(settings.word_range, language)
    found = count(text, language)
    if (1 - _TOLERANCE) * fewest <= found <= (1 + _TOLERANCE) * most:
        return None
    reason = "too_short" if found < fewest else "too_long"
    return Unusable(f"it has about {found:.0f} {unit}, where {fewest} to {most} are asked for", reason=reason)


def biography(text: str) -> bool:
    """Whether an English text speaks of a life of its own, what it quotes apart."""
    return bool(_BIOGRAPHY.search(_QUOTED.sub(" ", text)))


def usable(
    text: str, language: str, shown: str, culture: Culture, cultures: dict[str, Culture], settings: Settings
) -> str:
    """An answer, when it fails none of the checks of a response, is as long as asked for and in the voice.

    Args:
        shown: what of the prompt it may not repeat, see `checks.shown`.
        cultures: those of which it may name `culture` alone.

    Raises:
        Unusable: the reason; also too_short, too_long and invented_biography.
    """
    if not checks.on(settings):
        return text
    checks.usable("response", text, language, shown, culture, cultures)
    if wrong := wrong_length(text, language, settings):
        raise wrong
    if settings.voice == "assistant" and biography(text):
        raise Unusable("it tells of a life of its own, which an assistant has not", reason="invented_biography")
    return text


def tokens(settings: Settings) -> int:
    """About how many tokens an English answer of the middle length has."""
    return characters(settings) // CHARACTERS


def characters(settings: Settings) -> int:
    """About how many characters an English answer of the middle length has; see `plan.ANSWER` for one in sentences."""
    return ANSWER if settings.word_range is None else _WORD * sum(settings.word_range) // 2


def sample(settings: Settings) -> dict[str, str]:
    """A question and an answer of the lengths that a plan counts with."""
    return {**SAMPLE, "response": "." * characters(settings)}


def describe(settings: Mapping[str, Any]) -> str:
    """A sentence for the card on the answers: settings as run.json holds them, of older versions too."""
    if "voice" in settings and settings.get("sentences") is None and settings.get("register") is None:
        found = Settings(voice=settings["voice"], words=settings["words"]).word_range
        fewest, most = found or (0, 0)
        return f"Answers: in the voice of {_ARTICLE[settings['voice']]}, of {fewest} to {most} words."
    length = " ".join((settings.get("sentences") or OLDER[0]).split())
    if length.lower() in ("one", "1"):
        asked_for = f"{length} sentence"
    else:
        asked_for = f"{length} sentences" if _COUNT.fullmatch(length) else f"length asked for: {code(length)}"
    voice = _ARTICLE[settings.get("voice", "person")]
    return f"Answers: in the voice of {voice}, {asked_for}, worded as {code(settings.get('register') or OLDER[1])}."
