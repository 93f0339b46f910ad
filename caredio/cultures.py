"""The cultures data is built for: `cultures.yaml`, or the user's own file on top of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from caredio import yamlfile
from caredio.errors import InputError

SHIPPED = Path(__file__).with_name("cultures.yaml")
_TYPES = {"slug": str, "name": str, "adjective": str, "languages": list, "region": str, "neighbours": list}
_OPTIONAL = {"aliases": list, "places": list}


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
    for slug, (entry, where) in entries.items():
        neighbours = entry["neighbours"]
        for position, neighbour in enumerate(neighbours):
            if neighbour == slug or neighbour not in entries or neighbour in neighbours[:position]:
                raise InputError(f"{where}: {neighbour!r} cannot be a neighbour of {slug!r}; name another slug, once.")
    return {slug: _culture(entry) for slug, (entry, _) in entries.items()}


def _culture(entry: dict[str, Any]) -> Culture:
    lists: dict[str, Any] = {name: tuple(value) for name, value in entry.items() if isinstance(value, list)}
    return Culture(**{**entry, **lists})
