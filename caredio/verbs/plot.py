"""`plot`: the figures of a run, as files."""

from __future__ import annotations

from pathlib import Path

from caredio import disk
from caredio.errors import InputError
from caredio.report import figures
from caredio.result import Result
from caredio.runs import in_use
from caredio.verbs import arguments, work
from caredio.verbs.arguments import Folder, Place

FOLDER = "figures"  # in the run


class Plotting:
    """A run and the folder that its figures go to, checked."""

    def __init__(self, data: Folder, out: Place) -> None:
        if not isinstance(data, (str, Path, Result)):
            raise InputError(f"data is {data!r}; give a run folder, or the result of a verb that wrote one.")
        self.run = Path(arguments.folder(data))
        arguments.paths(out=out)
        self.out = Path(out) if out else self.run / FOLDER

    def result(self) -> list[Path]:
        """The files, written."""
        with work.opened(self.run, create=False) as run:
            made = figures.read(run)
            with disk.writing(self.out):
                self.out.mkdir(parents=True, exist_ok=True)
            report = run.report()
            return figures.draw(made, {name: report[name] for name in in_use(run.stages)}, self.out)
