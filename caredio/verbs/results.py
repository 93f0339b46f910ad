"""`results`: what runs and folders of lm-eval hold, in one table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from caredio import disk
from caredio.errors import InputError
from caredio.evaluation import formats, pictures
from caredio.evaluation.table import Comparison, build
from caredio.verbs.arguments import Place

_ENDINGS = {".txt": "text", ".md": "markdown", ".csv": "csv", ".html": "html", ".tex": "latex"}


class Comparing:
    """Folders of results, and where their table goes, checked."""

    def __init__(
        self,
        folders: Sequence[Path | str],
        cultures: Sequence[str] | None,
        format: str | None,
        to: Place,
        plot: Place,
        seed: int,
    ) -> None:
        if not folders:
            raise InputError("nothing to compare: name one or more runs, or folders of lm_eval's --output_path.")
        self.folders, self.cultures, self.seed = folders, cultures, seed
        self.to, self.plot = (Path(one) if one else None for one in (to, plot))
        if self.to and not format and self.to.suffix not in _ENDINGS:
            raise InputError(
                f"{self.to}: no format is known by this ending; end it in {', '.join(_ENDINGS)}, or name a format."
            )
        self.format = format or (_ENDINGS[self.to.suffix] if self.to else "text")
        formats.check(self.format)

    def result(self) -> Comparison:
        """The table, written and drawn where that was asked for."""
        compared = build(self.folders, self.cultures, self.seed)
        if self.to:
            with disk.writing(self.to):
                self.to.parent.mkdir(parents=True, exist_ok=True)
            with disk.replacing(self.to) as content:
                content.write(compared.to(self.format).encode())
        if self.plot:
            with disk.writing(self.plot):
                self.plot.mkdir(parents=True, exist_ok=True)
            pictures.draw(compared, self.plot)
        return compared
