"""What a release keeps of the one before: licence, attribution, terms, reviewers, authors and test share, if not given.

release.json records them. None, in it and among the settings, is what was not given; an empty text takes one back.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from caredio.errors import InputError
from caredio.publishing import record
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
    """The settings of a release, and what of them is kept from the one before or differs from it.

    Attributes:
        lines: each begins with some words, and goes on with settings: name and what is shown of it.
        texts: settings that are kept.
    """

    settings: Settings
    lines: Sequence[tuple[str, Sequence[tuple[str, str]]]] = ()
    texts: Sequence[str] = ()


def stated(settings: Settings) -> dict[str, str | None]:
    """What release.json records of the texts."""
    return {name: getattr(settings, name) or None for name in _TEXTS}


def stated_of(
    kept: Collection[str], last: Release | None, slugs: Mapping[str, str], staying: Mapping[str, str]
) -> dict[str, list[str]]:
    """Setting -> cultures that it was stated of, of settings that were stated of a part of the release alone.

    What is kept is stated of the cultures that it was stated of, whether they stay or are made anew; where cultures
    are added, of no others. Of a text that was stated of none of them the list is empty.

    Args:
        kept: settings that are kept from `last`.
        slugs: culture -> its configs' name, of the run; `staying` of those that stay.
    """
    there = {**slugs, **staying}
    before = (last.record.get("stated_of") or {}) if last else {}
    known = set(record.slugs(last.record)) if last and staying else set(there.values())
    every = {culture for culture, slug in there.items() if slug in known}
    found = {name: sorted(there.keys() & set(before.get(name, every))) for name in _OF_ROWS if name in kept}
    return {name: those for name, those in found.items() if len(those) < len(there)}


def without(settings: Settings, stated: Mapping[str, Collection[str]]) -> Settings:
    """The settings without texts that are stated of no culture of the release, as `stated_of` gives them."""
    nobody: dict[str, Any] = {name: "" for name, those in stated.items() if not those}
    return replace(settings, **nobody)


def lines(chosen: Kept, made: Mapping[str, Any]) -> list[str]:
    """What the plan says of what is kept, once it is known what of it the release holds.

    Args:
        made: what its release.json holds.
    """
    kept = [name for name in chosen.texts if name in _OF_ROWS and name in made]
    gone = {name: _shown(name, getattr(chosen.settings, name)) for name in kept if not made[name]}
    said = [(head, [one for name, one in found if name not in gone]) for head, found in chosen.lines]
    said.append(("left out, as no culture of this release is one that it was stated of: ", list(gone.values())))
    return [head + ", ".join(found) for head, found in said if found]


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
    apart = [(name, same.pop(name)) for name in _OF_ROWS if adding and name in same]
    lines = [
        (f"kept from {called} for the cultures that it was stated of, and not stated of the others: ", apart),
        (f"kept from {called}: ", [*same.items()]),
        (f"other than in {called}: ", list(_others(given, before))),
    ]
    return Kept(settings, lines, list(kept))


def _others(given: Settings, before: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """What was given and differs, by name and in words."""
    for name, old in before.items():
        new = getattr(given, name)
        if new is None or (new if name == _SHARE else new or None) == old:
            continue
        was = f" (there: {'none' if old is None else old})" if name in ("license", _SHARE) else ""
        yield name, f"{_shown(name, new)}{was}"


def _shown(name: str, value: Any) -> str:
    """A setting in words: long texts by their name alone."""
    if name == _SHARE:
        return f"test share {value:g}"
    if not value:
        return f"no {_TEXTS[name]}"
    return f"{_TEXTS[name]} {value}" if name == "license" else _TEXTS[name]
