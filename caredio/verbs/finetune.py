"""`finetune`: a model behind an API on a run's rows."""

from __future__ import annotations

from pathlib import Path

from caredio import messages, progress
from caredio.training import tuning
from caredio.training.job_record import Finetuned
from caredio.verbs import arguments, work
from caredio.verbs.arguments import Folder, Given, Place


class Tuning(tuning.Tuning):
    """A fine-tuning whose arguments are checked: its estimate, or the job."""

    def __init__(
        self,
        data: Folder,
        culture: str,
        model: str,
        out: Place,
        export_only: bool,
        yes: bool,
        cancel: bool,
        given: Given,
    ) -> None:
        folder = arguments.folder(data)
        arguments.paths(data=folder, out=out, culture=culture)
        messages.begin()
        self.rooms = arguments.settings("finetune", {**given, "model": model})
        settings, spec, reached, release = self.rooms
        with progress.only_own_bars():
            super().__init__(Path(folder), culture, out, settings, spec, reached, release, export_only, yes, cancel)

    def result(self) -> Finetuned:
        try:
            return super().result()
        finally:
            if self.folder.is_dir() and not self.cancel:
                given = {"data": self.data, "culture": self.culture, "model": self.spec.model}
                work.repeatable("finetune", self.folder, given, self.rooms)
