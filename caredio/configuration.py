"""A command's arguments as a YAML file: read with `--config`, and written by every run, to repeat it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from caredio import disk, yamlfile
from caredio.errors import InputError
from caredio.synthesis.settings import of_older

_NAMES = ("cultures", "topics", "rankings", "folders")
_PATHS = ("out", "cultures_file", "topics_file", "store", "trained", "to", "human", "remove", "add_to")
_SWITCHES = ("private", "export_only", "create_pr")
_TEXTS = (*_PATHS, "data", "push", "model", "prompts", "culture", "gated")


def read(file: Path, command: str, keys: set[str], optional: set[str]) -> dict[str, Any]:
    """The arguments in a file.

    Args:
        keys: those that the command knows.
        optional: of these, the settings of which null is a value; any other key without a value is as if left out.

    Raises:
        InputError: the file cannot be read or is no YAML, or holds a key that the command does not know; names the
            line.
    """
    found = yamlfile.mapping(file)
    for key, line in found.lines.items():
        if key not in keys:
            raise InputError(f"{file}, line {line}: caredio {command} has no setting {key!r}; `--help` lists them.")
    values: dict[str, Any] = of_older(found.values) if "voice" in keys else dict(found.values)
    for key, value in found.values.items():
        if wrong := _wrong(key, value):
            raise InputError(f"{file}, line {found.lines[key]}: {key} is {value!r}; {wrong}.")
    if isinstance(folder := values.get("prompts"), str) and (file.parent / folder).is_dir():
        values["prompts"] = str(file.parent / folder)  # as a run writes it
    for key in _PATHS:
        if isinstance(values.get(key), str):
            values[key] = Path(values[key])
    return {key: value for key, value in values.items() if value is not None or key in optional}


def _wrong(key: str, value: Any) -> str:
    """What is wrong with the value of an argument that is no setting (those look at theirs themselves)."""
    if value is None:
        return ""
    if key == "budgets" and not (isinstance(value, list) and all(isinstance(one, int) for one in value)):
        return "give a list of numbers"
    if key in _NAMES and not (isinstance(value, list) and all(isinstance(one, str) for one in value)):
        return "give a list of names"
    if key in _TEXTS and not (isinstance(value, str) and value.strip() and value.isprintable()):
        return "give text on one line"
    return (
        "give true or false" if key in ("private", "export_only", "create_pr") and not isinstance(value, bool) else ""
    )


def write(out: Path, command: str, arguments: Mapping[str, Any]) -> None:
    """Write the arguments of a command into its run folder, as `<command>.yaml`."""
    lines = {key: _plain(value) for key, value in arguments.items()}
    text = f"# caredio {command} --config {disk.name(out)}/{command}.yaml\n"
    text += yaml.safe_dump(lines, sort_keys=False, allow_unicode=True)
    with disk.replacing(out / f"{command}.yaml") as content:
        content.write(text.encode())


def _plain(value: Any) -> Any:
    return disk.name(value) if isinstance(value, Path) else list(value) if isinstance(value, tuple) else value


def prompts(name: str | None = None, to: Path | None = None, out: Path | None = None) -> str:
    """The names of the prompts, the text of one, or a sentence on where they were copied.

    Args:
        name: of a prompt.
        to: folder that all of them are copied to.
        out: run folder, whose prompts are meant; None means the shipped ones.

    Raises:
        InputError: there is no such prompt, or a file is there already.
    """
    # what `--help` need not load
    from caredio import prompts as files
    from caredio.runs import prompt_folders

    folders = prompt_folders(out, None)
    known = files.names()
    if name is not None and name not in known:
        raise InputError(f"no prompt is called {name!r}; the prompts are {', '.join(known)}.")
    chosen = known if name is None else [name]
    if to is not None:
        for one in chosen:
            if (to / f"{one}.txt").exists():
                raise InputError(f"{to / f'{one}.txt'}: is there already; name another folder with --to.")
        to.mkdir(parents=True, exist_ok=True)
        for one in chosen:
            with disk.replacing(to / f"{one}.txt") as content:
                content.write(files.load(one, folders).text.encode())
        return f"{len(chosen)} prompts are copied to {to}; change them and give --prompts {to}."
    return files.load(name, folders).text.rstrip() if name else "\n".join(known)


def recipes(name: str | None = None, to: Path | str | None = None) -> str:
    """The folder of the recipes and all YAML files in it, the text of one, or a sentence on where they were copied.

    Args:
        name: of a YAML file, or `all`.
        to: folder that it is copied to.

    Raises:
        InputError: there is no such recipe, or a file is there already.
    """
    # what other commands need not load
    from caredio.training import recipe

    place = recipe.folder()
    known = {file.relative_to(place).as_posix(): file for file in sorted(place.rglob("*.yaml"))}
    if name is None:
        return "\n".join([str(place), *(f"  {one}" for one in known)])
    if name not in (*known, "all"):
        raise InputError(f"no recipe is called {name!r}; they are {', '.join(known)}, or all of them: all.")
    chosen = known if name == "all" else {Path(name).name: known[name]}
    if to is None:
        if name == "all":
            raise InputError("name the folder to copy all recipes to.")
        return known[name].read_text(encoding="utf-8").rstrip()
    to = Path(to)
    if there := next((to / one for one in chosen if (to / one).exists()), None):
        raise InputError(f"{there}: is there already; name another folder.")
    for one, file in chosen.items():
        (to / one).parent.mkdir(parents=True, exist_ok=True)
        with disk.replacing(to / one) as content:
            content.write(file.read_bytes())
    flag = "config" if name in known and "/" not in name else "recipe"  # of a build, or of a training
    return f"{len(chosen)} copied to {to}; give --{flag} {to / next(iter(chosen))}."
