"""`train`: a model on each culture's rows."""

from __future__ import annotations

from caredio import messages, progress
from caredio.training import pipeline
from caredio.training.pipeline import Trained
from caredio.verbs import arguments, work
from caredio.verbs.arguments import Folder, Given, Names, Place


class Training(pipeline.Training):
    """A training whose arguments are checked: its plan, or its run."""

    def __init__(self, data: Folder, cultures: Names, out: Place, given: Given) -> None:
        self.data = arguments.folder(data)
        arguments.paths(data=self.data, out=out)
        messages.begin()
        with progress.only_own_bars():
            self.rooms = arguments.settings("train", given)
            super().__init__(self.data, arguments.listed(cultures, "cultures"), out, *self.rooms)

    def result(self) -> Trained:
        with progress.only_own_bars():
            made = super().result()
        work.repeatable("train", made.path, {"data": self.data, "cultures": list(made.records)}, self.rooms)
        return made
