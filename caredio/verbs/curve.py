"""`curve`: what more rows bring."""

from __future__ import annotations

from collections.abc import Sequence

from caredio import messages, progress
from caredio.training import curve
from caredio.training.curve import Curves
from caredio.verbs import arguments, work
from caredio.verbs.arguments import Folder, Given, Names, Place


class Curving(curve.Curving):
    """Curves whose arguments are checked: their plan, or their run."""

    def __init__(
        self, data: Folder, cultures: Names, out: Place, budgets: Sequence[int], rankings: Sequence[str], given: Given
    ) -> None:
        folder = arguments.folder(data)
        arguments.paths(data=folder, out=out)
        self.rankings = arguments.listed(rankings, "rankings") or []
        messages.begin()
        with progress.only_own_bars():
            self.rooms = arguments.settings("curve", given)
            chosen = arguments.listed(cultures, "cultures")
            super().__init__(folder, chosen, out, budgets, self.rankings, *self.rooms)

    def result(self) -> Curves:
        with progress.only_own_bars():
            made = super().result()
        given = {"data": self.data, "cultures": list(self.pools), "budgets": self.budgets, "rankings": self.rankings}
        work.repeatable("curve", made.path, given, self.rooms)
        return made
