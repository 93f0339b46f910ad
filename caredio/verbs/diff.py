"""`diff`: two releases or runs, wherever they lie, side by side."""

from __future__ import annotations

from pathlib import Path

from caredio.errors import InputError
from caredio.publishing import diff, hub
from caredio.publishing.diff import Diff
from caredio.result import Result


class Differing:
    """Two places that are compared."""

    def __init__(self, before: Path | str | Result, after: Path | str | Result) -> None:
        self.before, self.after = before, after

    def result(self) -> Diff:
        """How the second differs from the first."""
        (old, one), (new, other) = (_folder(place) for place in (self.before, self.after))
        return diff.compare(old, new, (one, other))


def _folder(place: Path | str | Result) -> tuple[Path, str]:
    """The folder of a release or a run, and what the place is called.

    Raises:
        InputError: there is none.
    """
    if isinstance(place, Result):
        if place.path is None:
            raise InputError("this result is in memory; give the verb that made it a run folder with out=, to compare.")
        return place.path, place.path.as_posix()
    if not isinstance(place, (str, Path)) or not str(place):
        raise InputError(f"{place!r} is no release and no run; name a folder, or owner/name@tag.")
    if Path(place).is_dir():
        return Path(place), Path(place).as_posix()
    found = hub.named(str(place))
    return found.path, found.place
