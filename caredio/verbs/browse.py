"""`browse`: a run, a release or a release on the Hub as a page in the browser, here or as a Space."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from caredio import cultures, packages
from caredio.errors import InputError
from caredio.llm.local import model_path
from caredio.llm.settings import Endpoint
from caredio.llm.spec import LOCAL_MODEL, Spec
from caredio.verbs import arguments
from caredio.verbs.arguments import Folder, Place

if TYPE_CHECKING:
    from caredio.app.speakers import Speakers

_PORTS = range(1, 65_536)


class Browsing:
    """What is to be looked at and where, checked."""

    def __init__(
        self,
        place: Folder,
        other: Folder | None,
        port: int,
        space: str | None,
        private: bool,
        model: str | None = None,
        trained: Place = None,
        base_url: str | None = None,
        cultures_file: Place = None,
    ) -> None:
        given = [arguments.folder(one) for one in (place, other) if one is not None]
        arguments.paths(place=given[0], other=given[-1])
        self.places = [str(one) for one in given]
        if isinstance(port, bool) or not isinstance(port, int) or port not in _PORTS:
            raise InputError(f"port is {port!r}; give a number from {_PORTS[0]} to {_PORTS[-1]}.")
        if private and not space:
            raise InputError("private is given without space, whose visibility it is; name a space, or leave it out.")
        arguments.paths(model=model, trained=trained, base_url=base_url, cultures_file=cultures_file)
        self.talks = bool(model or trained or base_url)
        if self.talks and space:
            raise InputError("a model is given beside space, where none is asked; leave model and trained out.")
        if base_url and not model:
            raise InputError(f"base_url is given, but no model; name the model that {base_url} serves.")
        packages.require("browse", "app", "gradio")
        self.port, self.space, self.private = port, space, private
        self.model, self.base_url, self.cultures_file = model or LOCAL_MODEL, base_url, cultures_file
        self.trained = Path(trained) if trained else None

    def result(self) -> str | None:
        """The address of the Space; None after a page on this machine, which is served until it is interrupted."""
        # gradio, which takes seconds
        from caredio.app import page, shelf, space

        if self.space:
            return space.push(self.places, self.space, self.private)
        first, *others = [shelf.open(place) for place in self.places]
        speakers = self._speakers(first.values("culture")) if self.talks else None
        made = page.build(first, others[0] if others else None, speakers=speakers)
        address = page.launch(made, self.port)
        print(f"{address} shows {' beside '.join(self.places)}; Ctrl+C stops it.", flush=True)
        page.wait()
        return None

    def _speakers(self, found: Iterable[str]) -> Speakers:
        """Who answers questions, as the cultures that are looked at.

        Raises:
            CaredioError: a model cannot be used.
        """
        from caredio.app.speakers import Local, Remote  # torch, where weights are asked

        asked = list(cultures.named(found, cultures.load(self.cultures_file)).values())
        if self.base_url or self.model.startswith("ft:"):
            return Remote(Spec(model=self.model), Endpoint(base_url=self.base_url), self.trained, asked)
        base = str(model_path()) if self.model == LOCAL_MODEL else self.model
        return Local(base, self.trained, asked)
