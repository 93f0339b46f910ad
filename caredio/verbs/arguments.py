"""Arguments that several verbs take, checked: settings, paths, lists, prompts, a folder, a table to rank."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from datasets import Dataset

from caredio import prompts as prompt_files
from caredio import runs
from caredio.api import VERBS, Table
from caredio.errors import InputError
from caredio.llm.settings import Endpoint
from caredio.result import Result
from caredio.selection import source
from caredio.selection.settings import Settings as Selection
from caredio.settings import fill

Folder: TypeAlias = "Path | str | Result"
Given: TypeAlias = dict[str, Any]  # settings by name, and an `endpoint` in place of some
Names: TypeAlias = "Sequence[str] | None"
Place: TypeAlias = "Path | str | None"


def settings(verb: str, given: Given) -> list[Any]:
    """The settings of each room of a verb; an `endpoint` that was given stands for that of the settings.

    Raises:
        InputError: there are both, or as `fill` raises.
    """
    endpoint = given.get("endpoint")
    rooms = fill(VERBS[verb][0], {name: value for name, value in given.items() if name != "endpoint"})
    if endpoint is None:
        return rooms
    if not isinstance(endpoint, Endpoint):
        raise InputError(f"endpoint is {endpoint!r}; give an Endpoint, or the address alone as base_url.")
    place = VERBS[verb][0].index(Endpoint)
    own = {field.name: getattr(rooms[place], field.name) for field in dataclasses.fields(rooms[place])}
    if both := [name for name, value in own.items() if value != getattr(Endpoint, name)]:
        raise InputError(f"{', '.join(both)} is given beside endpoint, which holds it; give it to the Endpoint.")
    return [*rooms[:place], endpoint, *rooms[place + 1 :]]


def paths(**given: object) -> None:
    """See that what is to name a file or folder does.

    Raises:
        InputError: something is neither text nor a path.
    """
    for name, value in given.items():
        if value is not None and not isinstance(value, (str, Path)):
            raise InputError(f"{name} is {value!r}; give a path.")


def listed(value: Names, what: str) -> list[str] | None:
    """The names in a list.

    Raises:
        InputError: they are in none.
    """
    if isinstance(value, str):
        raise InputError(f"{what} is {value!r}, one text; give a list of names, such as [{value!r}].")
    if value is not None and not isinstance(value, Sequence):
        raise InputError(f"{what} is {value!r}; give a list of names.")
    return None if value is None else list(value)


def prompts(given: Given, out: Place, used: Iterable[str]) -> None:
    """See that the prompts that were given and those of the run that are `used` fit; `given` then names all folders.

    Raises:
        InputError: one does not.
    """
    prompt_files.check(given.get("prompts"))
    given["prompts"] = runs.prompt_folders(out, given.get("prompts"))
    load_prompts(used, given["prompts"])


def load_prompts(names: Iterable[str], folders: str | None) -> None:
    """See that prompts fit. Raises as `prompts` does."""
    for name in names:
        prompt_files.load(name, folders)


def folder(data: Folder) -> Path | str:
    """What a verb reads that takes a folder, or the result of a verb that wrote one whose tables still stand there.

    Raises:
        InputError: the result is in memory, or another command wrote its tables anew.
    """
    if not isinstance(data, Result):
        return data
    if data.path is None:
        raise InputError("this result is in memory; give the verb that made it a run folder with out=, to publish.")
    data.ranked  # noqa: B018 (which looks)
    return data.path


def to_rank(data: Table | None, out: Place, store: Place = None) -> None:
    """See that there is something to rank, and that it is named by paths.

    Raises:
        InputError: there is neither a table nor a run.
    """
    paths(out=out, store=store)
    if data is None and out is None:
        raise InputError("nothing to rank: give a table, or with out= the run folder that holds candidates.")


def table(data: Table | None, settings: Selection) -> tuple[Dataset | None, dict[str, Any] | None]:
    """The rows of a table of one's own, and their record; None where there is none."""
    if data is None:
        return None, None
    if isinstance(data, Result):
        data = data.candidates
    return source.run(str(data) if isinstance(data, (str, Path)) else data, settings)
