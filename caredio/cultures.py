"""The cultures data is built for (`cultures.yaml`, or the user's own file on top of it), and what names them.

In a table's column a culture keeps its name ("Côte d'Ivoire"); files, folders and configs are named by its slug
(`cote_d_ivoire`): `slugs` gives it to all of them. A slug holds lower-case ASCII letters, digits and underscores only,
so it can be no other config of a release (`<slug>-pool`), differs by more than case, and is a file name everywhere.
"""

from __future__ import annotations

import hashlib
import logging
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from caredio import yamlfile
from caredio.errors import InputError

log = logging.getLogger("caredio")

SHIPPED = Path(__file__).with_name("cultures.yaml")
_TYPES = {"slug": str, "name": str, "adjective": str, "languages": list, "region": str, "neighbours": list}
_OPTIONAL = {"aliases": list, "places": list}
# configs of a release, of `load_dataset`, and names that Windows keeps for devices
RESERVED = frozenset(
    [
        "all",
        "default",
        "figures",
        "con",
        "prn",
        "aux",
        "nul",
        *(f"{port}{n}" for port in ("com", "lpt") for n in range(10)),
    ]
)
_SLUG = re.compile(r"[a-z][a-z0-9_]*")
_LONGEST_NAME, _LONGEST_SLUG = 200, 60  # characters
_LATIN = str.maketrans({"ı": "i", "ł": "l", "ø": "o", "đ": "d", "ð": "d", "þ": "th", "æ": "ae", "œ": "oe", "ħ": "h"})


@dataclass(frozen=True)
class Culture:
    """A culture, as coarse as a country here: a default to start from, not a claim that it is one voice."""

    slug: str  # file, config and column value: lower-case letters, digits, underscores
    name: str  # as CulturalBench spells the country
    adjective: str
    languages: tuple[str, ...]  # BCP-47, most used first
    region: str  # UN M49 sub-region
    neighbours: tuple[str, ...]  # slugs of the cultures shown for contrast, nearest first
    aliases: tuple[str, ...] = ()  # what the country or its people are called besides
    places: tuple[str, ...] = ()  # where personas live; none are towns and villages by the points of the compass

    @property
    def country(self) -> str | None:
        """ISO 3166 code of the country, out of its first language: zh-CN -> CN."""
        *_, last = self.languages[0].split("-")
        return last if last.isupper() else None


def load(path: Path | str | None = None) -> dict[str, Culture]:
    """All known cultures by slug; entries of `path` add to the shipped ones or override their fields.

    Raises:
        InputError: names the file and line of a mistake.
    """
    entries = yamlfile.layered([SHIPPED, *([Path(path)] if path else [])], _TYPES, key="slug", optional=_OPTIONAL)
    for name, (entry, where) in entries.items():
        if slug(name) != name:
            raise InputError(
                f"{where}: slug {name!r} cannot name a config or a file; choose another, such as {slug(name)}."
            )
        neighbours = entry["neighbours"]
        for position, neighbour in enumerate(neighbours):
            if neighbour == name or neighbour not in entries or neighbour in neighbours[:position]:
                raise InputError(f"{where}: {neighbour!r} cannot be a neighbour of {name!r}; name another slug, once.")
    return {name: _culture(entry) for name, (entry, _) in entries.items()}


def _culture(entry: dict[str, Any]) -> Culture:
    lists: dict[str, Any] = {name: tuple(value) for name, value in entry.items() if isinstance(value, list)}
    return Culture(**{**entry, **lists})


def named(names: Iterable[str], known: Mapping[str, Culture]) -> dict[str, Culture]:
    """Name in a table's column -> the culture of `known` that it names, or one of which the name alone is known."""
    by_name = {name: culture for slug, culture in known.items() for name in (culture.name, slug)}
    return {
        name: by_name.get(name) or known.get(slug) or Culture(slug, name, name, ("und",), "", ())
        for name, slug in slugs(names).items()
    }


def slug(name: str) -> str:
    """The slug of a name, as far as it is the only one; `slugs` tells several apart."""
    text = name if _SLUG.fullmatch(name) else _spelled(name)
    if text in RESERVED or not _SLUG.fullmatch(text):
        text = f"culture_{text}".rstrip("_")
    return text if len(text) <= _LONGEST_SLUG else _hashed(text[:_LONGEST_SLUG].rstrip("_"), _key(name))


def slugs(names: Iterable[str]) -> dict[str, str]:
    """What files and configs of the cultures are called: name -> slug, no two equal.

    The slug of a `cultures.yaml` is its own. Names that would share one, such as "North Korea" and "north-korea", get
    a part of their hash besides, except a name that is the slug itself.
    """
    found = {name: slug(name) for name in sorted(set(names))}
    shared = Counter(found.values())
    return {name: _hashed(text, name) if shared[text] > 1 and text != name else text for name, text in found.items()}


def one_spelling(names: list[str]) -> list[str]:
    """Culture names with one spelling a culture, the most frequent, a slug first: Japan and japan are one culture.

    Equal are names that differ in case, Unicode composition, width, white space and invisible characters only.
    """
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for name, count in Counter(names).items():
        counts[_key(name)][name] += count
    best = {key: min(found, key=lambda name: (-found[name], name != slug(name), name)) for key, found in counts.items()}
    return [best[_key(name)] for name in names]


def check_names(names: list[str]) -> None:
    """See that a table's culture names can name cultures; empty ones are not looked at.

    Raises:
        InputError: some hold no letter, digit or symbol, a control character, or more than 200 characters; names all.
    """
    rows: dict[str, int] = {}
    for row, name in enumerate(names, start=1):
        rows.setdefault(name, row)
    bad = {name: why for name in rows if name and (why := _wrong(name))}
    if bad:
        reasons = "; ".join(f"row {rows[name]}: {_short(name)} {why}" for name, why in bad.items())
        raise InputError(f"the table: {len(bad)} culture name{'s' if len(bad) > 1 else ''} cannot be used ({reasons}).")


def warn_of_spellings(names: list[str]) -> None:
    """Log the names that `one_spelling` merges, and those whose slugs would have been equal."""
    merged = defaultdict(set)
    for name, kept in zip(names, one_spelling(names), strict=True):
        if name != kept:
            merged[kept].add(name)
    for kept, spelled in sorted(merged.items()):
        log.warning(
            "culture %r is also spelled %s; its rows are one culture.", kept, ", ".join(map(repr, sorted(spelled)))
        )
    alike = defaultdict(list)
    for name, text in slugs(filter(None, one_spelling(names))).items():
        alike[slug(name)].append(f"{name!r} ({text})")
    for several in alike.values():
        if len(several) > 1:
            log.warning("cultures %s are kept apart; if they are one, spell them alike.", ", ".join(several))


def _spelled(name: str) -> str:
    """The name in ASCII; with a hash of it where letters, digits or symbols have no place there."""
    text = unicodedata.normalize("NFKD", _key(name).translate(_LATIN))
    plain = re.sub(r"[^a-z0-9]+", "_", re.sub(r"(?<=[a-z])[\u0300-\u036f]+", "", text)).strip("_")
    lost = any(not char.isascii() and unicodedata.category(char)[0] in "LN" for char in text)
    symbols = any(unicodedata.category(char)[0] == "S" for char in text)
    return _hashed(plain or "culture", _key(name)) if lost or symbols or not plain else plain


def _hashed(slug: str, text: str) -> str:
    return f"{slug}_{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def _key(name: str) -> str:
    """What two spellings of one culture have in common."""
    seen = "".join(char for char in name if unicodedata.category(char) != "Cf")
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", seen).casefold())
    return " ".join(folded.split())


def _wrong(name: str) -> str:
    if any(unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp") for char in name):
        return "holds a control character"
    if len(name) > _LONGEST_NAME:
        return f"has {len(name)} characters, where {_LONGEST_NAME} are the most; is it the culture column?"
    return "" if any(unicodedata.category(char)[0] in "LNS" for char in name) else "holds no letter"


def _short(name: str) -> str:
    return repr(name if len(name) <= 40 else f"{name[:40]}...")
