"""What release.json says of a release, and which of several comes last."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from caredio.errors import InputError

RECORD = "release.json"
VERSION = re.compile(r"v(\d+)\.(\d+)\.(\d+)")
VIEWS = ("preference", "unpaired", "pool", "vectors")  # of a culture, besides its ranked rows
EVERYONE = "all"
# what the Hub, git or a desktop writes beside a release, in any folder of it
_FOREIGN = re.compile(
    r"(?i)(?:.*/)?(?:\.gitattributes|\.gitignore|\.gitkeep|\.ds_store|\._.*|thumbs\.db|desktop\.ini|\.directory)"
)
_HIDDEN = (".cache/", ".git/", "__MACOSX/", ".ipynb_checkpoints/")


@dataclass(frozen=True)
class Release:
    """A release that is there.

    Attributes:
        place: how messages call it: a folder, or `owner/name@tag`.
        path: a folder with release.json and, at least, the ranked rows of a dataset.
    """

    place: str
    path: Path
    record: dict[str, Any]

    @property
    def version(self) -> str:
        return str(self.record.get("version", ""))

    @property
    def changes(self) -> list[str]:
        """Its changelog, over the release before it."""
        return list(self.record.get("changes", ()))

    @property
    def removed(self) -> list[str]:
        """sample_ids that were left out: removed on request, or rejected by raters."""
        return list(self.record.get("removed", ()))

    @property
    def rejected(self) -> list[str]:
        """Those of them that raters rejected."""
        return list(self.record.get("rejected", ()))


def read(folder: Path, place: str | None = None) -> Release:
    """The release in a folder.

    Raises:
        InputError: there is none, or its record is damaged.
    """
    if not (folder / RECORD).exists():
        raise InputError(f"{folder}: holds no release ({RECORD} is missing).")
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        record = None
    if not isinstance(record, dict):
        raise InputError(f"{folder / RECORD}: is damaged; restore it, or name another folder.")
    return Release(place or folder.as_posix(), folder, record)


def see_version(last: Release) -> None:
    """See that a next version can be proposed over a release.

    Raises:
        InputError: its own is none.
    """
    if not VERSION.fullmatch(last.version):
        raise InputError(
            f"{last.place}: {RECORD} says version {last.record.get('version')!r}, over which none can be proposed; give"
            " version, such as v1.0.0."
        )


def see_higher(last: Release, asked: str) -> None:
    """See that a version is not below that of the release which it would replace in a folder.

    Raises:
        InputError: it is.
    """
    if numbers(asked) < numbers(last.version):
        raise InputError(
            f"{last.place}: {asked} is below {last.version}, which stands there; choose a higher version, or another"
            " folder with to."
        )


def found(folder: Path) -> Release | None:
    """The release in a folder; None where there is none.

    Raises:
        InputError: its record is damaged, so neither its version nor what it leaves out is known.
    """
    return read(folder) if (folder / RECORD).exists() else None


def foreign(name: str) -> bool:
    """Whether a file in a release's folder is a desktop's or a tool's own, and none of the release."""
    return name.startswith(_HIDDEN) or _FOREIGN.fullmatch(name) is not None


def newest(tags: Iterable[str]) -> str | None:
    """The highest version among tags; None where no tag is one."""
    versions = [tag for tag in tags if VERSION.fullmatch(tag)]
    return max(versions, key=numbers, default=None)


def numbers(version: str) -> tuple[int, ...]:
    """v1.10.0 -> (1, 10, 0), by which versions are in order; (0, 0, 0) of what is none."""
    match = VERSION.fullmatch(version)
    return tuple(map(int, match.groups())) if match else (0, 0, 0)


def same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether two records are of one release: version and every file's hash, or in older records all they hold."""
    if one.get("files") and other.get("files"):
        return (one.get("version"), one["files"]) == (other.get("version"), other["files"])
    return one == other


def ranked_configs(record: dict[str, Any]) -> list[str]:
    """The configs that are a culture's ranked rows."""
    return [name for name in slugs(record) if name in record["rows"]]


def slugs(record: dict[str, Any]) -> list[str]:
    """The cultures that have configs: no slug holds a hyphen."""
    return sorted({name.partition("-")[0] for name in record.get("rows", {}) if name != EVERYONE})
