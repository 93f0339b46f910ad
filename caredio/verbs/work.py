"""A verb at work: its run folder opened, its tables made, and the YAML that repeats it."""

from __future__ import annotations

import contextlib
import dataclasses
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from datasets import Dataset

from caredio import configuration, features, messages, progress, runs
from caredio.api import settings_of
from caredio.llm.plan import Plan
from caredio.llm.settings import Endpoint
from caredio.report import page
from caredio.result import Result
from caredio.runs import Run
from caredio.selection import match
from caredio.selection.settings import Settings as Selection
from caredio.verbs.arguments import Given, Place


class Asking:
    """A verb that asks a model and writes tables, its arguments checked.

    Attributes:
        rooms: its settings.
        arguments: what it was given besides.
    """

    out: Place
    endpoint: Endpoint
    rooms: Sequence[Any]
    arguments: Given

    def plan(self) -> Plan:
        raise NotImplementedError

    def run(self, run: Run) -> Dataset:
        """Make its tables."""
        raise NotImplementedError

    def calls(self) -> dict[str, int]:
        """Those of each stage of its plan."""
        return self.plan().calls

    def tables(self, verb: str, names: Sequence[str], create: bool = True) -> Result:
        """These tables, made: of a run folder they are read when they are asked for, else they are held."""
        with progress.command(verb, self.calls, spent(self.endpoint)), opened(self.out, create) as run:
            self.run(run)
            made = result(run, self.out, names)
        repeatable(verb, self.out, self.arguments, self.rooms)
        if self.out is not None and "ranked" in names:
            page.write(Path(self.out))
        return made


def result(run: Run, out: Place, names: Sequence[str]) -> Result:
    """The tables of these names of an open run."""
    if out is None:
        return Result({name: run.table(name) for name in names}, run.report(), None)
    return Result(dict.fromkeys(names), run.report(), Path(out), run.hashes())


@contextlib.contextmanager
def opened(out: Place, create: bool = True) -> Iterator[Run]:
    """The run in a folder, or in one that is gone after the block."""
    messages.begin()
    with progress.only_own_bars():
        if out is not None:
            with Run(out, create) as run:
                yield run
        else:
            with tempfile.TemporaryDirectory(prefix="caredio-") as folder, Run(folder) as run:
                yield run


def candidates(out: Place, table: Dataset | None, settings: Selection, warn: bool = False) -> Dataset:
    """What is ranked: the run's candidates, or those of a table of one's own; nothing is written.

    Args:
        warn: log what the table's own stage would.
    """
    if table is not None:
        return features.kept(match.run(table, settings, warn))
    with opened(out, create=False) as run:
        return run.table("candidates")


def spent(endpoint: Endpoint) -> Callable[[], str]:
    """What is spent through an Endpoint from now on, in words: dollars, or tokens where no price is known."""
    tokens_before, dollars_before = endpoint.budget.total()

    def words() -> str:
        tokens, dollars = endpoint.budget.total()
        if dollars is not None and dollars_before is not None and tokens > tokens_before:
            return f"${dollars - dollars_before:,.4f}"
        return f"{tokens - tokens_before:,} tokens" if tokens > tokens_before else ""

    return words


def repeatable(verb: str, out: Place, arguments: Given, rooms: Sequence[Any]) -> None:
    """Write the YAML that repeats a verb into its run folder, if it has one."""
    if out is None:
        return
    taken = {one.name for _, one in settings_of(verb)}
    values = {
        field.name: getattr(room, field.name)
        for room in rooms
        for field in dataclasses.fields(room)
        if field.name in taken and (getattr(room, field.name), field.default) != (None, None)
    }
    # relative to the file, so that a folder that is moved keeps its prompts
    pinned = {"prompts": runs.PROMPTS} if (Path(out) / runs.PROMPTS).is_dir() else {}
    named = {name: value for name, value in arguments.items() if value is not None}
    configuration.write(Path(out), verb, {**named, **values, **pinned, "out": Path(out)})
