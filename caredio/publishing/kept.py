"""What a release keeps of the one before: licence, attribution, terms, reviewers, authors and test share, if not given.

release.json records them. None, in it and among the settings, is what was not given; an empty text takes one back.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from caredio.errors import InputError
from caredio.publishing.record import RECORD, Release
from caredio.publishing.settings import SHARE, Settings

_TEXTS = {
    "license": "licence",
    "attribution": "attribution",
    "terms": "terms",
    "reviewed_by": "reviewers",
    "authors": "authors",
}
_OF_ROWS = ("license", "attribution", "terms", "reviewed_by")  # what is stated of the rows of cultures
_SHARE = "test_share"


@dataclass(frozen=True)
class Kept:
    """The settings of a release, and lines on what of them is kept from the one before or differs from it.

    Attributes:
        texts: settings that are kept.
    """

    settings: Settings
    lines: Sequence[str] = ()
    texts: Sequence[str] = ()


def stated(settings: Settings) -> dict[str, str | None]:
    """What release.json records of the texts."""
    return {name: getattr(settings, name) or None for name in _TEXTS}


def stated_of(
    kept: Collection[str], last: Release | None, slugs: Mapping[str, str], staying: Mapping[str, str]
) -> dict[str, list[str]]:
    """Setting -> cultures that it was stated of, of settings that were stated of a part of the release alone.

    What is kept while cultures are added was stated of those that stay.

    Args:
        kept: settings that are kept from `last`.
        slugs: culture -> its configs' name, of the run; `staying` of those that stay.
    """
    there = staying or slugs
    before = (last.record.get("stated_of") or {}) if last else {}
    found = {name: sorted(there.keys() & set(before.get(name, there))) for name in _OF_ROWS if name in kept}
    return {name: those for name, those in found.items() if staying or len(those) < len(there)}


def of(given: Settings, kind: str, last: Release | None, called: str, adding: bool = False) -> Kept:
    """What was given, with the rest from the release before.

    Args:
        kind: dataset or model; of a release of the other kind nothing is kept.
        called: how lines call the release before.
        adding: whether its cultures stay beside others.

    Raises:
        InputError: what the release before records is no such setting.
    """
    if last is None or last.record.get("kind") != kind:
        return Kept(given)
    names = [*_TEXTS, *([_SHARE] if kind == "dataset" else [])]
    before = {name: last.record[name] for name in names if name in last.record}
    kept = {name: value for name, value in before.items() if value is not None and getattr(given, name) is None}
    try:
        settings = replace(given, **kept)
    except InputError as error:
        raise InputError(f"{last.place}: {RECORD} is damaged, {str(error).rstrip('.')}; give this setting.") from None
    same = {name: _shown(name, value) for name, value in kept.items() if (name, value) != (_SHARE, SHARE)}
    apart = [same.pop(name) for name in _OF_ROWS if adding and name in same]
    other = list(_others(given, before))
    lines = [
        (f"kept from {called} for the cultures that stay, and not stated of the others: ", apart),
        (f"kept from {called}: ", [*same.values()]),
        (f"other than in {called}: ", other),
    ]
    return Kept(settings, [head + ", ".join(found) for head, found in lines if found], list(kept))


def _others(given: Settings, before: dict[str, Any]) -> Iterator[str]:
    """What was given and differs, in words."""
    for name, old in before.items():
        new = getattr(given, name)
        if new is None or (new if name == _SHARE else new or None) == old:
            continue
        was = f" (there: {'none' if old is None else old})" if name in ("license", _SHARE) else ""
        yield f"{_shown(name, new)}{was}"


def _shown(name: str, value: Any) -> str:
    """A setting in words: long texts by their name alone."""
    if name == _SHARE:
        return f"test share {value:g}"
    if not value:
        return f"no {_TEXTS[name]}"
    return f"{_TEXTS[name]} {value}" if name == "license" else _TEXTS[name]
