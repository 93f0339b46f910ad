"""`publish`: the release of a run's ranked rows, or of a model trained on them, in a folder and on the Hub."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from caredio import preflight
from caredio.errors import InputError
from caredio.publishing import hub, release
from caredio.publishing.settings import Settings as Release
from caredio.result import Result
from caredio.verbs import arguments, work
from caredio.verbs.arguments import Folder, Given, Place


class Publishing:
    """A release whose arguments are checked."""

    def __init__(
        self, out: Folder, to: Place, model: Place, push: str | None, private: bool, cultures_file: Place, given: Given
    ) -> None:
        if not isinstance(out, (str, Path, Result)):
            raise InputError(f"out is {out!r}; give a run folder, or the result of a verb that wrote one.")
        self.out = arguments.folder(out)
        arguments.paths(to=to, model=model, cultures_file=cultures_file, prompts=given.get("prompts"))
        self.model = Path(model) if model else None
        if self.model and given.get("prompts"):
            raise InputError("prompts are given beside model, whose release holds no text of theirs; leave them out.")
        arguments.prompts(given, self.out, [] if self.model else ["views"])
        self.prompts = given.pop("prompts")
        (self.settings,) = arguments.settings("publish", given)
        own = f"release-{self.model.name}" if self.model else "release"
        self.folder = Path(to) if to else Path(self.out) / own
        self.push, self.private, self.cultures_file = push, private, cultures_file

    def result(self) -> Path:
        """The folder of the release."""
        name = self.push or self.folder.as_posix()
        with work.opened(self.out, create=False) as run:
            if self.model:
                measured = run.table("results") if "results" in run.stages else None
                release.model(self.model, self.folder, self.settings, measured, name)
            else:
                for stage in ("ranked", "scored", "vectors", "preference"):
                    run.check(stage)  # before the folder of a release is made
                known = run.cultures(self.cultures_file)
                release.dataset(run, self.folder, self.settings, known, name, self.prompts)
        if self.push:
            hub.push(self.folder, self.push, "model" if self.model else "dataset", self.private)
        return self.folder


@dataclasses.dataclass(frozen=True)
class Push:
    """What `push` of a verb asks for: to publish what it ranks; `name` is None where it does not."""

    name: str | None
    private: bool
    prompts: str | None
    release: Release

    def check(self, out: Place) -> None:
        """See that a release can be pushed, before what it holds is made. Raises InputError, and as `preflight`."""
        if self.name and out is None:
            raise InputError("push needs a run folder, as the release is written there first; give out=.")
        if self.name and out is not None:
            preflight.pushing(self.name, Path(out) / "release", self.release.version)

    def after(self, made: Result) -> Result:
        """What the verb made, published."""
        if self.name and made.path:
            given = {"prompts": self.prompts, **dataclasses.asdict(self.release)}
            Publishing(made.path, None, None, self.name, self.private, None, given).result()
        return made
