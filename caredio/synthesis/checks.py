"""What a model's text may not be: each check is a reason, by which a run counts what it drops.

Stages check text while they parse it, so the model is told the reason and asked once more before the row is dropped.
Checks see patterns, not meaning: they keep accidents out and do not replace people of the culture who read the data.
Refusals and meta-talk are known in English and in the first languages of the shipped cultures; toxic words and sweeping
statements in English only.
"""

from __future__ import annotations

import functools
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from caredio.cultures import Culture
from caredio.errors import InputError
from caredio.llm.ask import Unusable
from caredio.llm.spec import Messages
from caredio.synthesis import languages

log = logging.getLogger("caredio")

CHECKS = ("all", "none")
_LEAK = 50  # letters in a row, of the prompt's own, that no answer holds by chance
_ENOUGH = 40  # bytes from which a language shows: 2 of 17,000 longer texts of BLEnD and CARE are mistaken
_KIN = {"en": ("pcm",), "zh": ("yue", "wuu")}  # spoken forms that count as the language
_UNLIKELY = 0.01  # probability of the wanted language below which a text is in another
_INSULT, _TOXIC = 0.9, 0.99  # probabilities from which a word and a text are toxic; stinky tofu and balls reach 0.98
_WORDS = 5  # words from which a text is judged so: a single one can be a dish

_REFUSAL = re.compile(
    r"\bI(?:['’]m| am) (?:sorry|afraid),? (?:but )?I (?:can(?:no|['’])t|am unable|am not able|won['’]t|will not)\b"
    r"|\bI (?:can(?:no|['’])t|won['’]t|am (?:unable|not able) to) (?:help|assist)(?: you)? with (?:this|that|your)\b"
    r"|\bI (?:can(?:no|['’])t|won['’]t|am (?:unable|not able) to|must decline to) (?:provide|generate|answer|comply"
    r" with|engage in|take part in) (?:this|that|such|your|an answer|a response|content)\b"
    r"|(?:抱歉|对不起)，?(?:但)?我(?:无法|不能)"
    r"|(?:申し訳(?:ありません|ございません)|すみません)が、.{0,20}でき(?:ません|かねます)"
    r"|죄송하지만.{0,30}수 없습니다"
    r"|\b[Tt]ut mir leid,? (?:aber )?ich kann\b"
    r"|\b[Ll]o siento,? (?:pero )?no puedo\b"
    r"|\b(?:[Ss]into muito|[Dd]esculpe),? (?:mas )?não posso\b"
    r"|[Üü]zgünüm,? (?:ama |ancak )?.{0,40}(?:emem|amam)\b"
    r"|عذرًا،? (?:لكن )?لا (?:أستطيع|يمكنني)"
    r"|(?:क्षमा करें|माफ़ कीजिए),? .{0,40}नहीं (?:कर|दे) सकत"
)
_META = re.compile(
    r"\b(?:[Aa]s|I(?:['’]m| am)|[Bb]eing) (?:just |only )?an? (?:AI|artificial intelligence|(?:large )?language"
    r" model)\b"
    r"|\bI (?:do not|don['’]t) have (?:any )?personal (?:experiences?|opinions?|beliefs?|feelings?)\b"
    r"|\b(?:my training data|my knowledge cut-?off|(?:this|your|the) prompt|(?:this|my) persona)\b"
    r"|^(?:Sure|Certainly|Of course|Absolutely)[,!.] (?:[Hh]ere(?:['’]s| is| are)|I(?:['’]d| would) be"
    r" (?:happy|glad))\b"
    r"|^Here(?:['’]s| is| are) (?:my|the|an?|your) (?:answer|response|rewritten|question)\b"
    r"|作为(?:一个|一名|一款)?(?:AI|人工智能|(?:大型?)?语言模型)"
    r"|(?:AI|人工知能|言語モデル)として"
    r"|(?:AI|인공지능|언어 모델)(?:로서|이기 때문에)"
    r"|\b[Aa]ls (?:eine? )?(?:KI|(?:großes )?Sprachmodell|künstliche Intelligenz)\b"
    r"|\b[Cc]om[oa] (?:una? |uma? )?(?:IA|modelo de (?:lenguaje|linguagem)|inteligencia artificial)\b"
    r"|\b(?:yapay zek[aâ]|dil modeli) olarak\b"
    r"|كنموذج لغوي|كذكاء اصطناعي|بصفتي (?:نموذج|ذكاء)"
    r"|(?:एआई|भाषा मॉडल) के रूप में",
    re.MULTILINE,
)
_PEOPLE = r" (?:people|persons?|wom[ae]n|m[ae]n|famil(?:y|ies)|parents|mothers?|fathers?|wives|husbands|children)"
_NATION = r"(?:[A-Z]\w*(?:ans?|ese|ish)|French|Dutch|Greeks?|Swiss|Thais?|Arabs?)"
_GROUP = r"(?:[Ww]omen|[Mm]en|[Gg]irls|[Bb]oys|[Ff]oreigners|[Ii]mmigrants|Muslims|Christians|Jews|Hindus)"
_SWEEPING = re.compile(
    rf"\b(?:[Aa]ll|[Ee]very|[Nn]o) (?:{_NATION}(?:{_PEOPLE})?|{_GROUP})"
    r" (?:is|are|has|have|wants?|loves?|hates?|likes?|knows?|would|will|can)\b"
    rf"|\b(?:{_NATION}{_PEOPLE}|{_GROUP}) (?:are |is )?(?:all|always|never|naturally|inherently|by nature) "
)
_EMAIL = re.compile(r"[\w.+-]+@[\w-]+\.[\w.-]*\w")
_ACCOUNT = re.compile(r"\b[A-Z]{2}\d\d(?: ?[\dA-Z]){11,30}\b|\b\d(?:[ -]?\d){12,18}\b")  # an IBAN, a card's number
_NO_SPACES = r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]"  # scripts whose words run into each other or into endings
_LETTER = r"[\w\u0900-\u0dff]"  # Indic vowel signs are no \w


@dataclass(frozen=True)
class Config:
    """Part of the Config of every stage that writes text."""

    checks: str = field(
        default="all",
        metadata={
            "help": "text that fails a check is dropped; none is for models too small to pass",
            "choices": CHECKS,
        },
    )

    def __post_init__(self) -> None:
        if self.checks not in CHECKS:
            raise InputError(f"checks is {self.checks!r}; use {' or '.join(CHECKS)}.")

    @property
    def on(self) -> bool:
        return self.checks == "all"


def describe(settings: Mapping[str, Any]) -> str:
    """A sentence for the card on the checks: `Config` as run.json holds it."""
    if settings["checks"] != "all":
        return f"Checks of the text: `{settings['checks']}`."
    return "Checks of the text: `all`; what failed was asked for once more, then dropped with its reason."


def reason(text: str, language: str = "en", prompt: str = "", country: str | None = None) -> str | None:
    """The first check that speaks against `text`; None when it can be used.

    Args:
        language: BCP-47 tag of the language it should be in.
        prompt: what the model was shown, see `shown`.
        country: ISO 3166 code, whose telephone numbers are known without their +.

    Returns:
        refusal, meta-talk, leaked prompt, wrong language, toxic, personal data, sweeping statement, or None.
    """
    found = {
        "refusal": lambda: _REFUSAL.search(text),
        "meta-talk": lambda: _META.search(text),
        "leaked prompt": lambda: leaks(text, prompt),
        "wrong language": lambda: is_other_language(text, language),
        "toxic": lambda: is_toxic(text, language),
        "personal data": lambda: is_personal(text, country),
        "sweeping statement": lambda: _SWEEPING.search(text),
    }
    return next((name for name, holds in found.items() if holds()), None)


def usable(text: str, language: str, prompt: str, country: str | None) -> str:
    """`text`, when there is no `reason` against it.

    Raises:
        Unusable: the reason.
    """
    against = reason(text, language, prompt, country)
    if against:
        raise Unusable(against)
    return text


def shown(messages: Messages, question: str | None = None) -> str:
    """The text of a prompt but for the question, which an answer may take up."""
    text = "\n".join(message["content"] for message in messages)
    return text.replace(question, "\n") if question else text


def leaks(text: str, prompt: str) -> bool:
    """Whether a stretch of the prompt, the answers shown in it included, stands in the text word by word."""
    said, told = (" ".join(re.findall(r"\w+", part.lower())) for part in (text, prompt))
    half = _LEAK // 2  # a leak holds one of the halves that the text falls into: most texts end here
    if not any(said[start : start + half] in told for start in range(0, len(said), half)):
        return False
    return any(said[start : start + _LEAK] in told for start in range(len(said) - _LEAK + 1))


def is_other_language(text: str, language: str) -> bool:
    """Whether a text long enough to tell is in another language (py3langid); False where the wanted one is unknown."""
    if len(text.encode()) < _ENOUGH:
        return False
    wanted = language.split("-")[0]
    if _detector().classify(text)[0] == wanted:
        return False
    likely = dict(_detector().rank(text))
    return wanted in likely and sum(likely[name] for name in (wanted, *_KIN.get(wanted, ()))) < _UNLIKELY


@functools.cache
def _detector():  # type: ignore[no-untyped-def]
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)


def is_toxic(text: str, language: str = "en") -> bool:
    """Whether an English text insults or swears: a word of it and all of it do, to alt-profanity-check's classifier."""
    words = re.findall(r"\w\w+", text.lower())
    if not language.startswith("en") or len(words) < _WORDS or _insults().isdisjoint(words):
        return False
    from profanity_check import predict_prob

    return predict_prob([text])[0] > _TOXIC


@functools.cache
def _insults() -> frozenset[str]:
    """The words that are toxic alone: asking for a text takes 6 ms, and few hold one. None without the package."""
    try:
        from profanity_check.profanity_check import predict_prob, vectorizer
    except ImportError:  # an extra: it works with one version of scikit-learn alone
        log.warning("toxic text is not looked for; pip install 'caredio[toxicity]' brings the classifier.")
        return frozenset()

    words = list(vectorizer.vocabulary_)
    return frozenset(word for word, toxic in zip(words, predict_prob(words), strict=True) if toxic > _INSULT)


def is_personal(text: str, country: str | None = None) -> bool:
    """Whether an e-mail address, a valid telephone number, IBAN or card number stands in the text."""
    if _EMAIL.search(text):
        return True
    if sum(character.isdigit() for character in text) < 7:
        return False
    import phonenumbers
    from stdnum import iban, luhn

    accounts = (match.group() for match in _ACCOUNT.finditer(text))
    return any(iban.is_valid(found) or luhn.is_valid(re.sub(r"\D", "", found)) for found in accounts) or any(
        phonenumbers.PhoneNumberMatcher(text, country)
    )


def names_no_other(text: str, culture: Culture, cultures: dict[str, Culture], language: str) -> str:
    """`text`, when it names no other known culture.

    Known are names, adjectives and aliases in English and the countries' names in `language`, not their inflected
    forms. A culture's own names are allowed, and those of its languages ("Chinese" in Singapore). Case counts: turkey
    is a bird.

    Raises:
        Unusable: names another culture.
    """
    own, others = _names(culture, tuple(cultures.values()), language)
    if others.search(own.sub(" ", text)):
        raise Unusable("names another culture")
    return text


@functools.cache
def _names(culture: Culture, cultures: tuple[Culture, ...], language: str) -> tuple[re.Pattern[str], re.Pattern[str]]:
    """What finds the culture's own names, and those of the others."""

    def names(one: Culture) -> set[str]:
        local = [languages.country(one.languages[0], tag) for tag in ("en", language)]
        return {one.name, one.adjective, *one.aliases, *filter(None, local)}

    spoken = [languages.english(tag.split("-")[0]) for tag in culture.languages]
    own = {*names(culture), *filter(None, spoken)}
    others = {name for one in cultures if one.slug != culture.slug for name in names(one)} - own
    return _any_of(own), _any_of(others)


def _any_of(names: set[str]) -> re.Pattern[str]:
    """One of the names as a word of its own, or in the plural; longest first."""
    longest = sorted(names, key=lambda name: (-len(name), name))
    run_on = [re.escape(name) for name in longest if re.search(_NO_SPACES, name)]
    words = "|".join(re.escape(name) for name in longest if not re.search(_NO_SPACES, name))
    return re.compile("|".join([*run_on, rf"(?<!{_LETTER})(?:{words})s?(?!{_LETTER})"]))
