"""`rate`: a page on which people of a culture rate its answers; `ratings`: what they said, counted and written."""

from __future__ import annotations

from pathlib import Path

from caredio import packages, progress
from caredio.app import rate, rating_export
from caredio.app import shelf as shelves
from caredio.app.rating_export import Ratings
from caredio.app.shelf import Shelf
from caredio.errors import InputError
from caredio.verbs import arguments
from caredio.verbs.arguments import Folder, Place


class Rating:
    """What is rated, and where it is kept, checked."""

    def __init__(self, place: Folder, other: Folder | None, out: Place, port: int | None) -> None:
        if port is not None and (type(port) is not int or not 0 < port < 65_536):
            raise InputError(f"port is {port!r}; give a number from 1 to 65535.")
        packages.require("a page to rate on", "app", "gradio")
        self.shelf = shelves.open(arguments.folder(place))
        self.other = shelves.open(arguments.folder(other)) if other is not None else None
        self.folder, self.port = kept_in(self.shelf, out), port

    def result(self) -> None:
        """Nothing, once the page has been served until the process is interrupted."""
        from caredio.app import page  # which needs gradio

        blocks, kept = rate.page(self.shelf, self.folder, self.other)
        with kept:
            for note in kept.notes:
                print(note)
            address = page.launch(blocks, self.port)
            print(
                f"{address} is the page to rate on; what is said there is kept in {self.folder}. Ctrl+C stops it.",
                flush=True,
            )
            page.wait()


class Exporting:
    """Where annotators' files are, and what they rated, checked."""

    def __init__(self, place: Folder, out: Place) -> None:
        self.shelf = shelves.open(arguments.folder(place))
        self.folder = kept_in(self.shelf, out)
        if not self.folder.is_dir():
            raise InputError(f"{self.folder}: nobody rated anything there; `caredio rate {place}` serves the page.")

    def result(self) -> Ratings:
        """What annotators said, with its files written."""
        with progress.only_own_bars():
            return rating_export.written(rating_export.load(self.folder), self.folder, self.shelf)


def kept_in(shelf: Shelf, out: Place) -> Path:
    """The folder of what annotators say: that of a run, or the one that is named.

    Raises:
        InputError: none is named, and the place is no run.
    """
    if out is not None:
        arguments.paths(out=out)
        return Path(out)
    if not shelf.is_run:
        raise InputError(f"{shelf.name} is no run, which has a folder for ratings; name one with out.")
    return shelf.folder / rating_export.FOLDER
