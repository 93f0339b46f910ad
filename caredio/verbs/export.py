"""`export`: an adapter that a recipe left, for other programs to load."""

from __future__ import annotations

from pathlib import Path

from caredio import checkpoints, messages, packages
from caredio.errors import InputError
from caredio.llm.local import model_path
from caredio.llm.spec import LOCAL_MODEL
from caredio.training import export
from caredio.training.export import Exported
from caredio.verbs import arguments
from caredio.verbs.arguments import Place


class Exporting:
    """An export whose arguments are checked."""

    def __init__(self, model: Path | str, to: Path | str, base: str | None, adapter: bool) -> None:
        """See that the adapters fit their base, by their headers; nothing is written."""
        arguments.paths(model=model, to=to, base=base)
        packages.require("export", "train", "torch", "transformers", "peft")
        messages.begin()
        self.folder, self.adapter = Path(to), adapter
        self.found = export.adapters(Path(model))
        self.base = _base(self.found, base)
        config = checkpoints.check_model(self.base)
        for place in self.found.values():
            checkpoints.check_adapter(str(place), self.base, config)

    def result(self) -> Exported:
        """What was exported."""
        make = export.servable if self.adapter else export.merged
        return make(self.found, self.base, self.folder)


def _base(found: dict[str, Path], given: Place) -> str:
    """The model that the adapters are put on.

    Raises:
        InputError: they were trained on several.
    """
    if given:
        return str(model_path()) if str(given) == LOCAL_MODEL else str(given)
    named = {name: export.base_of(place) for name, place in found.items()}
    if len(set(named.values())) > 1:
        raise InputError(
            f"adapters of several base models ({', '.join(f'{name}: {base}' for name, base in named.items())}); export"
            " them one by one."
        )
    return next(iter(named.values()))
