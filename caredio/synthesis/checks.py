"""What a model's text may not be: each check is a reason, by which a run counts what it drops.

`features.COLUMNS` declares which checks the text of a column passes. Stages check text while they parse it, so the
model gets the reason and is asked once more before the row is dropped. Checks see patterns, not meaning: they keep
accidents out and do not replace people of the culture who read the data. Refusals and meta-talk are known in English
and in the first languages of the shipped cultures; toxic words and sweeping statements in English only,
comparisons with elsewhere in English and by their usual words in some of these languages.
"""

from __future__ import annotations

import functools
import logging
import re
import unicodedata
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from caredio import features
from caredio.cultures import Culture
from caredio.llm.rows import Unusable
from caredio.llm.spec import Messages
from caredio.synthesis import languages
from caredio.synthesis.settings import Settings

log = logging.getLogger("caredio")

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
    r"|(?:抱歉|对不起)[，,]?(?:但)?我(?:无法|不能)"
    r"|(?:申し訳(?:ありません|ございません)|すみません)が[、,].{0,20}でき(?:ません|かねます)"
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
_PEOPLE = (
    r"(?i: (?:people|persons?|citizens?|wom[ae]n|m[ae]n|girls?|boys?|kids?|child(?:ren)?|famil(?:y|ies)|elders?"
    r"|couples?|(?:grand)?(?:parents?|mothers?|fathers?)|wi(?:fe|ves)|husbands?|daughters?|sons?|students?|workers?))"
)
_NATION = (
    r"(?:[A-Z]\w*(?:ans?|ese|ish|ANS?|ESE|ISH)|French|FRENCH|Dutch|DUTCH|Greeks?|GREEKS?|Swiss|SWISS|Thais?|THAIS?"
    r"|Arabs?|ARABS?)"
)
_GROUP = r"(?i:women|men|girls|boys|foreigners|immigrants|muslims|christians|jews|hindus)"
_WHERE = r"(?: in [A-Z]\w+(?: [A-Z]\w+)?)?"
_SWEEPING = re.compile(
    rf"(?<!\b[Nn]ot )\b(?i:all|every|no) (?:{_NATION}(?:{_PEOPLE})?|{_GROUP}){_WHERE}"
    r"(?i: (?:is|are|has|have|do|does|must|should|would|will|can|always|never|wants?|loves?|hates?|likes?|knows?|obeys?"
    r"|respects?|believes?|thinks?|prefers?)\b)"
    rf"|\b(?:{_NATION}{_PEOPLE}|(?i:the) {_NATION}|{_GROUP}){_WHERE}"
    r"(?i: (?:are |is )?(?:all|always|never|naturally|inherently|by nature) )"
)
_COUNTRIES = (
    r"(?:(?:the|many|most|some|several|all|any|these|those|certain) )*(?:other|foreign|different|neighbou?ring|western"
    r"|non-western|european|asian|african|latin american|middle eastern|individualis\w+|collectivis\w+)"
    r" (?:countries|country|cultures?|nations?|societ(?:y|ies)|peoples|parts of the world|corners of the world)"
)
_ELSEWHERE = (
    rf"(?:elsewhere|(?:any|every)where else|the rest of the world|(?-i:the West(?![ -][A-Z]| of))|{_COUNTRIES})"
)
_COMPARING = (
    r"(?:unlike|than|compared (?:to|with)|in (?:comparison|contrast) (?:to|with)|contrary to|as opposed to"
    r"|differ(?:s|ently|ent)? (?:from|than|to)|similar to|like|as|whereas|while)"
)
_COMPARISON = re.compile(
    rf"\b{_COMPARING}(?: [\w'’-]+){{0,4}} {_ELSEWHERE}"
    rf"|\b(?:unlike|than|compared (?:to|with)|from what is \w+)(?: (?:people|those|families))? (?:abroad|overseas)\b"
    rf"|\b(?:in|of|from|across|to|with) {_COUNTRIES}"
    r"|\b(?:people|those|families|societies|cultures|countries|others|many|they do(?: it)?|is done|done) elsewhere\b"
    r"|\belsewhere(?: in the world|,? (?:people|they|others|families|one)\b)"
    r"|\b(?:any|no)where else (?:in the world|on earth)\b"
    r"|(?:与|和|跟|不像|相比).{0,6}(?:其他国家|别的国家|外国|国外|西方)|(?:在)?(?:其他国家|别的国家|西方国家)"
    r"|(?:他の国|他国|外国|海外|欧米)(?:と(?:は|比べ|違)|とは違|より)"
    r"|다른 나라(?:와|들과|보다|에서는)|외국(?:과|보다|과는)"
    r"|\banders als (?:in anderen ländern|anderswo|im ausland)"
    r"|\bim (?:gegensatz|vergleich|unterschied) zu anderen (?:länder|kultur)"
    r"|\ba diferencia de (?:lo que \w+ en )?otr[oa]s (?:países|culturas)|\ben otros países\b"
    r"|\bao contrário d(?:e|o que \w+ em) outr[oa]s (?:países|culturas)|\bem outros países\b"
    r"|\bdiğer ülkeler(?:den|in aksine|le)|(?:على عكس|بخلاف|مقارنة ب).{0,12}(?:الدول|البلدان|الثقافات)"
    r"|(?:दूसरे|अन्य) देशों (?:से|की तुलना|के विपरीत|में)",
    re.IGNORECASE,
)
_EMAIL = re.compile(r"[\w.+-]{1,64}@[\w-]+\.[\w.-]*\w")
# a card's number as it is printed or in digits that nothing follows; what issuers' numbers begin with (ISO/IEC 7812)
_CARD = re.compile(
    r"(?<!\d)(?<![A-Z]{2}\d\d )(?=2[2-7]|[3-6])"
    r"(?:\d{4}(?:[ -]\d{4}){3}|\d{4}[ -]\d{6}[ -]\d{5}|\d(?:[ -]?\d){12,18})(?!\d)"
)
_IBAN = re.compile(r"(?<![A-Za-z0-9])[A-Za-z]{2}\d\d(?: ?[A-Za-z0-9]){11,30}")
_IBAN_LENGTHS = range(15, 35)
_INVISIBLE = dict.fromkeys(map(ord, "\u00ad\u200b\u2060\ufeff"))
NAMES = "names another culture"
NAMES_A_CULTURE = "names_a_culture"
_RELIGION = re.compile(
    r"\b(?:Islam(?:ic)?|Muslims?|Quran|Christ(?:ians?|ianity)?|Catholic(?:s|ism)?|Protestant(?:s|ism)?|Bib(?:le|lical)"
    r"|Hindu(?:s|ism)?|Buddh(?:a|ists?|ism)|Jews?|Jewish|Judaism|Sikh(?:s|ism)?|Jains?|Jainism|Confuci(?:us|ans?|anism)"
    r"|[TD]ao(?:ists?|ism)|Shinto(?:ists?|ism)?|Ramadan|Eid|Christmas|Easter|Diwali|Passover|Vesak)\b",
    re.IGNORECASE,
)
_SHORT = 4  # letters of a country's name that are no part of another word, in a script without spaces
_COMMON = {"chile", "china", "guinea", "jersey", "polish", "scot", "swede", "turkey", "us"}  # English words as well
_NO_SPACES = r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]"  # scripts whose words run into each other or into endings
_LETTER = r"[\w\u0900-\u0dff]"  # Indic vowel signs are no \w


def on(settings: Settings) -> bool:
    """Whether text is checked."""
    return settings.checks == "all"


def describe(settings: Mapping[str, Any]) -> str:
    """A sentence for the card on the checks: settings as run.json holds them."""
    if settings["checks"] != "all":
        return f"Checks of the text: `{settings['checks']}`."
    return "Checks of the text: `all`; what failed was asked for once more, then dropped with its reason."


def against(
    column: str, text: str, language: str, prompt: str, culture: Culture | None, cultures: dict[str, Culture]
) -> str | None:
    """The first check declared for `column` that a model's `text` fails; None when it can be used.

    Args:
        column: of `features.COLUMNS`.
        language: BCP-47 tag of the language the text should be in.
        prompt: what the model was shown, see `shown`.
        culture: whose text it is, which it may name; None where it is of no culture, so that it may name none.
        cultures: all known, by slug.
    """
    declared = features.COLUMNS[column].checks
    found = reason(text, language, prompt, culture.country if culture else None, declared)
    if found is None and NAMES in declared and names_other(text, culture, cultures, language):
        return NAMES
    return found


def usable(
    column: str, text: str, language: str, prompt: str, culture: Culture | None, cultures: dict[str, Culture]
) -> str:
    """`text`, when it fails no check that is declared for `column`.

    Raises:
        Unusable: the reason.
    """
    found = against(column, text, language, prompt, culture, cultures)
    if found:
        raise Unusable(found)
    return text


def reason(
    text: str,
    language: str = "en",
    prompt: str = "",
    country: str | None = None,
    among: Collection[str] = features.TEXT_CHECKS,
) -> str | None:
    """The first check `among` those that need no culture that `text` fails; None when it can be used.

    Args:
        language: BCP-47 tag of the language it should be in.
        prompt: what the model was shown, see `shown`.
        country: ISO 3166 code, whose telephone numbers are known without their +.

    Returns:
        refusal, meta-talk, leaked prompt, wrong language, toxic, personal data, sweeping statement,
        compares_with_elsewhere, or None.
    """
    text = text.encode("utf-8", "replace").decode()  # without half of a surrogate pair, which a model's JSON may hold
    found = {
        "refusal": lambda: _REFUSAL.search(text),
        "meta-talk": lambda: _META.search(text),
        "leaked prompt": lambda: leaks(text, prompt),
        "wrong language": lambda: is_other_language(text, language),
        "toxic": lambda: is_toxic(folded(text), language),
        "personal data": lambda: is_personal(text, country),
        "sweeping statement": lambda: _SWEEPING.search(folded(text)),
        "compares_with_elsewhere": lambda: _COMPARISON.search(folded(text)),
    }
    return next((name for name, holds in found.items() if name in among and holds()), None)


def folded(text: str) -> str:
    """`text` with one form of each letter, digit, dash and space, and without what cannot be seen."""
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text).translate(_INVISIBLE)
        text = re.sub(r"[\u2010-\u2015\u2212]", "-", text)
        text = re.sub(r"(?![0-9])\d", lambda digit: str(unicodedata.decimal(digit.group())), text)
    return " ".join(text.split())


def shown(messages: Messages, question: str | None = None) -> str:
    """The text of a prompt but for the question, which an answer may take up."""
    text = "\n".join(message["content"] for message in messages)
    return text.replace(question, "\n") if question else text


def leaks(text: str, prompt: str) -> bool:
    """Whether a stretch of the prompt, the answers shown in it included, stands in the text word by word."""
    words, prompt_words = (" ".join(re.findall(r"\w+", part.lower())) for part in (text, prompt))
    half = _LEAK // 2  # a leak holds one of the halves that the text falls into: most texts end here
    if not any(words[start : start + half] in prompt_words for start in range(0, len(words), half)):
        return False
    return any(words[start : start + _LEAK] in prompt_words for start in range(len(words) - _LEAK + 1))


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
    text = folded(text)
    if _EMAIL.search(text):
        return True
    if sum(character.isdigit() for character in text) < 7:
        return False
    import phonenumbers
    from stdnum import iban, luhn

    return (
        any(iban.is_valid(account) for account in _accounts(text))
        or any(luhn.is_valid(re.sub(r"\D", "", card.group())) for card in _CARD.finditer(text))
        or any(phonenumbers.PhoneNumberMatcher(text, country))
    )


def _accounts(text: str) -> Iterator[str]:
    """What may be an IBAN: of every length, as other words may follow it."""
    for match in _IBAN.finditer(text):
        letters = match.group().replace(" ", "")
        yield from (letters[:length] for length in _IBAN_LENGTHS if length <= len(letters))


def names_no_other(text: str, culture: Culture | None, cultures: dict[str, Culture], language: str) -> str:
    """`text`, when it does not name another culture, see `names_other`.

    Raises:
        Unusable: names another culture.
    """
    if names_other(text, culture, cultures, language):
        raise Unusable(NAMES)
    return text


def for_all(question: str, language: str, cultures: dict[str, Culture]) -> str:
    """`question`, when it names no culture, not even its own: else only some could answer it.

    No name of a known culture, its people or its places, of a country or continent in the question's language, nor in
    English of a religion or its feasts.

    Raises:
        Unusable: names_a_culture.
    """
    found = (
        names_other(question, None, cultures, language)
        or _RELIGION.search(folded(question))
        or _places(tuple(cultures.values()), language).search(folded(question))
    )
    if found:
        raise Unusable("the question names a culture, a religion or a place", reason=NAMES_A_CULTURE)
    return question


@functools.cache
def _places(cultures: tuple[Culture, ...], language: str) -> re.Pattern[str]:
    """What finds the names of places: the cultures' own, and CLDR's of countries and continents."""
    own = {place.removeprefix("the ") for one in cultures for place in one.places}
    world = {name for name in languages.territories(language) if not re.search(_NO_SPACES, name) or len(name) >= _SHORT}
    return _any_of({folded(name) for name in own | world if name[:1].upper() == name[:1]})


def names_other(text: str, culture: Culture | None, cultures: dict[str, Culture], language: str) -> bool:
    """Whether the text names a known culture that is not `culture`.

    Known are names, adjectives and aliases in English and the countries' names in `language`, in the plural and in
    capitals too, and without their capitals in English where that is no other word (turkey is a bird), not their
    inflected forms. A culture's own names are allowed, and those of its languages ("Chinese" in Singapore).
    """
    pattern, others = _names(culture, tuple(cultures.values()), language)
    return any(match[match.lastgroup or 0] in others for match in pattern.finditer(folded(text)))


def without_own_names(text: str, culture: Culture, cultures: dict[str, Culture], language: str) -> str:
    """`text` with [...] for each name of `culture` and of its languages, as `names_other` knows names."""
    pattern, others = _names(culture, tuple(cultures.values()), language)
    return pattern.sub(lambda match: match[0] if match[match.lastgroup or 0] in others else "[...]", folded(text))


@functools.cache
def _names(
    culture: Culture | None, cultures: tuple[Culture, ...], language: str
) -> tuple[re.Pattern[str], frozenset[str]]:
    """What finds the names of all cultures, and which of them are of others than `culture`."""

    def forms(one: Culture) -> set[str]:
        english = {one.name, one.adjective, *one.aliases}
        local = {languages.country(one.languages[0], tag) or "" for tag in ("en", language)}
        return _forms({folded(name) for name in english}, {folded(name) for name in local}, language)

    spoken = [languages.english(tag.split("-")[0]) or "" for tag in culture.languages] if culture else []
    own = _forms(set(spoken), set(), language) | (forms(culture) if culture else set())
    others = {name for one in cultures if not culture or one.slug != culture.slug for name in forms(one)} - own
    return _any_of(own | others), frozenset(others)


def _forms(english: set[str], local: set[str], language: str) -> set[str]:
    """Names as texts spell them: also in capitals, in English without them, and in Arabic after "to the"."""
    names = english | local
    lower = {name.lower() for name in english} - _COMMON if language.startswith("en") else set()
    to_the = {f"لل{name[2:]}" for name in names if name.startswith("ال")}
    return {*names, *(name.upper() for name in names), *lower, *to_the} - {""}


def _any_of(names: set[str]) -> re.Pattern[str]:
    """One of the names as a word of its own (in Arabic also after "and", "in" and the like), or in the plural.

    The longest comes first, so that a name within a longer one of another culture is not taken for itself. New Mexico
    and New England are in another country than Mexico and England.
    """
    longest = sorted(names, key=lambda name: (-len(name), name))
    run_on = "|".join(re.escape(name) for name in longest if re.search(_NO_SPACES, name))
    words = "|".join(re.escape(name) for name in longest if not re.search(_NO_SPACES, name))
    nothing = "(?!)"
    before = rf"(?<!{_LETTER})(?<!\b[Nn]ew )[وفبكل]{{0,2}}"
    return re.compile(rf"(?P<run_on>{run_on or nothing})|{before}(?P<word>{words or nothing})[sS]?(?!{_LETTER})")
