"""Names of languages and countries, from the Unicode CLDR (Babel)."""

from __future__ import annotations

import functools

from babel import Locale, UnknownLocaleError

from caredio.errors import InputError

_NOWHERE = ("001", "ZZ", "XA", "XB", "UN")  # the world, unknown, invented, the United Nations


def name(tag: str) -> str:
    """The English name of a BCP-47 tag: ko-KR -> Korean (South Korea), en -> English.

    Raises:
        InputError: there is no such language.
    """
    found = english(tag)
    if found is None:
        raise InputError(f"language {tag!r} is unknown; use a BCP-47 tag such as pt-BR (cultures.yaml: languages).")
    return found


def english(tag: str) -> str | None:
    """As `name`; None where CLDR does not say."""
    locale = _locale(tag)
    return locale.english_name if locale else None


def country(tag: str, language: str) -> str | None:
    """What the country of a tag is called in `language`: (ja-JP, es) -> Japón; None where CLDR does not say."""
    place, speech = _locale(tag), _locale(language)
    return speech.territories.get(place.territory) if place and speech and place.territory else None


def territories(language: str) -> set[str]:
    """What countries, continents and their parts are called in `language`; none where CLDR does not say."""
    speech = _locale(language)
    return {name for code, name in speech.territories.items() if code not in _NOWHERE} if speech else set()


@functools.cache
def _locale(tag: str) -> Locale | None:
    try:
        return Locale.parse(tag, sep="-")
    except (UnknownLocaleError, ValueError):
        return None
