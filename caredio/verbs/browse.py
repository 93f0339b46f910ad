"""`browse`: a run, a release or a release on the Hub as a page in the browser, here or as a Space."""

from __future__ import annotations

from caredio import packages
from caredio.errors import InputError
from caredio.verbs import arguments
from caredio.verbs.arguments import Folder

_PORTS = range(1, 65_536)


class Browsing:
    """What is to be looked at and where, checked."""

    def __init__(self, place: Folder, other: Folder | None, port: int, space: str | None, private: bool) -> None:
        given = [arguments.folder(one) for one in (place, other) if one is not None]
        arguments.paths(place=given[0], other=given[-1])
        self.places = [str(one) for one in given]
        if isinstance(port, bool) or not isinstance(port, int) or port not in _PORTS:
            raise InputError(f"port is {port!r}; give a number from {_PORTS[0]} to {_PORTS[-1]}.")
        if private and not space:
            raise InputError("private is given without space, whose visibility it is; name a space, or leave it out.")
        packages.require("browse", "app", "gradio")
        self.port, self.space, self.private = port, space, private

    def result(self) -> str | None:
        """The address of the Space; None after a page on this machine, which is served until it is interrupted."""
        # gradio, which takes seconds
        from caredio.app import page, shelf, space

        if self.space:
            return space.push(self.places, self.space, self.private)
        shelves = [shelf.open(place) for place in self.places]
        address = page.launch(page.build(*shelves), self.port)
        print(f"{address} shows {' beside '.join(self.places)}; Ctrl+C stops it.", flush=True)
        page.wait()
        return None
