"""`prefer`: pairs of responses that people rated."""

from __future__ import annotations

from pathlib import Path

from caredio.api import Table
from caredio.errors import InputError
from caredio.result import Result
from caredio.training import preferences
from caredio.verbs import arguments, work
from caredio.verbs.arguments import Given, Place


class Preferring:
    """A table of rated responses and how it is paired, checked."""

    def __init__(self, data: Table | None, out: Place, given: Given) -> None:
        arguments.paths(out=out)
        if data is None:
            raise InputError("nothing to pair: give a table of rated responses.")
        self.out, self.settings = out, arguments.settings("prefer", given)
        named = isinstance(data, (str, Path))
        self.data = data if named else None
        self.rows, self.record = preferences.load(str(data) if named else data, self.settings[1])

    def result(self) -> Result:
        with work.opened(self.out) as run:
            preferences.write(run, self.rows, self.record, self.settings[0])
            made = work.result(run, self.out, ("preference", "unpaired"))
        work.repeatable("prefer", self.out, {"data": self.data}, self.settings)
        return made
