"""The settings of a release."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TypedDict

from caredio import settings
from caredio.errors import InputError
from caredio.publishing import metadata
from caredio.settings import setting

SHARE = 0.05  # of the questions, that a first release holds out
GATES = ("auto", "manual")  # who asks to read a gated repository is let in at once, or by hand


@dataclass(frozen=True)
class Settings(settings.Settings):
    """The settings of a release."""

    version: str | None = setting(
        None,
        "the release's tag, such as v1.0.0; default: the next one, by what differs from the last (at first v0.1.0)",
        "release",
        everyday=True,
    )
    test_share: float | None = setting(
        None,
        f"share of the questions whose rows go to the test split; default: {SHARE}, of a later release the last one's",
        "release",
    )
    license: str | None = setting(
        None, "licence as the Hub spells it; default: other, of a table of one's own unknown", "release", everyday=True
    )
    attribution: str | None = setting(
        None, "whom the source's licence asks to name, and what was changed, for the card", "release"
    )
    terms: str | None = setting(None, "what the generator's terms ask of its output, for the card", "release")
    reviewed_by: str | None = setting(None, "who reviewed the text as native speakers, for the card", "release")
    authors: str | None = setting(None, "who made the release, with commas between: Ada A., Ben B.", "release")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.version is not None and not re.fullmatch(r"v\d+\.\d+\.\d+", self.version):
            raise InputError(f"version is {self.version!r}; write it as v1.0.0.")
        if not 0 <= self.share < 1:
            raise InputError(f"test_share is {self.test_share}; use a share from 0 to below 1.")
        metadata.check_license(self.license or "")
        if self.authors and not (all(self.names) and self.authors.isprintable()):
            raise InputError(f"authors is {self.authors!r}; write names with commas between, such as Ada A., Ben B.")

    @property
    def names(self) -> list[str]:
        """The authors, one by one."""
        return [name.strip() for name in self.authors.split(",")] if self.authors else []

    @property
    def share(self) -> float:
        """The test share that holds where no release before says another."""
        return SHARE if self.test_share is None else self.test_share


class Options(TypedDict, total=False):
    """`Settings` as named parameters."""

    version: str | None
    test_share: float | None
    license: str | None
    attribution: str | None
    terms: str | None
    reviewed_by: str | None
    authors: str | None
