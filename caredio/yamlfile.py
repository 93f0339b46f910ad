"""YAML files of named entries; messages about mistakes name the line."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import yaml

from caredio.errors import InputError, did_you_mean


class _LineLoader(yaml.SafeLoader):
    """A safe loader whose mappings remember the line they start on, under `__line__`."""

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep=deep)
        except ValueError as error:  # such as a day that does not exist
            raise yaml.constructor.ConstructorError(None, None, str(error), node.start_mark) from None

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge" and key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"key {key.value!r} is used twice", key.start_mark)
            if isinstance(key, yaml.ScalarNode):
                seen.add(key.value)
        mapping = super().construct_mapping(node, deep=deep)
        mapping["__line__"] = node.start_mark.line + 1
        return mapping


class Mapped(NamedTuple):
    """A mapping of a file: key -> value, and key -> the line it stands on, `key.inner` of a mapping within."""

    values: dict[str, Any]
    lines: dict[str, int]


def mapping(path: Path) -> Mapped:
    """Read a YAML file of `key: value` lines.

    Raises:
        InputError: the file is missing or holds something else; the message names file and line.
    """
    found = _loaded(path)
    if not isinstance(found, dict) or not all(isinstance(key, str) for key in found):
        raise InputError(f"{path}, line 1: expected 'key: value' lines.")
    lines = {}
    node = yaml.compose(path.read_text(encoding="utf-8-sig"), Loader=yaml.SafeLoader)
    for key, value in node.value if node else ():
        lines[str(key.value)] = key.start_mark.line + 1
        for inner, _ in value.value if isinstance(value, yaml.MappingNode) else ():
            lines[f"{key.value}.{inner.value}"] = inner.start_mark.line + 1
    try:
        return Mapped(_plain(found), lines)
    except RecursionError:
        raise InputError(f"{path}: a value of the file holds itself.") from None


def _loaded(path: Path) -> Any:
    """What a YAML file holds. Raises as `read` does."""
    try:
        return yaml.load(path.read_text(encoding="utf-8-sig"), Loader=_LineLoader)  # noqa: S506 (a SafeLoader)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}).") from None
    except UnicodeDecodeError:
        raise InputError(f"{path}: is not UTF-8 text; save it as UTF-8.") from None
    except RecursionError:
        raise InputError(f"{path}: YAML nested too deep to be read.") from None
    except yaml.reader.ReaderError as error:
        line = path.read_text(encoding="utf-8-sig")[: error.position].count("\n") + 1
        raise InputError(f"{path}, line {line}: not valid YAML (a control character).") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark else 1
        raise InputError(f"{path}, line {line}: not valid YAML ({getattr(error, 'problem', error)}).") from None


def read(path: Path, types: Mapping[str, type]) -> list[dict[str, Any]]:
    """Read a YAML list of mappings.

    Args:
        path: the file.
        types: the type of every key an entry may hold. Entries may leave keys out; the caller
            decides which it cannot do without, and can name the entry's `__line__`.

    Raises:
        InputError: the file is missing, is not YAML, or holds an entry with an unknown key or a
            value of another type; the message names file and line.
    """
    entries = _loaded(path)
    if not isinstance(entries, list):
        raise InputError(f"{path}, line 1: expected a list of entries, each starting with '- '.")
    for number, entry in enumerate(entries, start=1):
        if not isinstance(entry, dict):
            raise InputError(f"{path}, entry {number}: expected 'key: value' lines, found {entry!r}.")
        where = f"{path}, line {entry['__line__']}"
        for key, value in entry.items():
            if key == "__line__":
                continue
            if key not in types:
                raise InputError(f"{where}: unknown key {key!r}; the keys are {', '.join(types)}.")
            if not isinstance(value, types[key]) or not value or (isinstance(value, str) and not value.strip()):
                raise InputError(f"{where}: {key} must be a non-empty {types[key].__name__}, found {_plain(value)!r}.")
            if isinstance(value, list) and not all(isinstance(item, str) and item.strip() for item in value):
                raise InputError(
                    f"{where}: {key} must list text only, found {_plain(value)!r} (quote words such as 'no')."
                )
    return entries


def _plain(value: Any) -> Any:
    """`value` as it was written, without the remembered lines."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items() if key != "__line__"}
    return [_plain(item) for item in value] if isinstance(value, list) else value


def layered(
    files: list[Path], types: Mapping[str, type], key: str, optional: Mapping[str, type] = MappingProxyType({})
) -> dict[str, tuple[dict[str, Any], str]]:
    """Entries by their `key`, later files adding to earlier ones or overriding their fields.

    Args:
        types: the type of every field an entry needs.
        optional: the type of every field it may hold besides.

    Returns:
        `{name: (entry, where)}`, `where` being the file and line that touched the entry last.

    Raises:
        InputError: as `read`; or a name is malformed, used twice in one file, or lacks a field.
    """
    entries: dict[str, tuple[dict[str, Any], str]] = {}
    for file in files:
        seen: set[str] = set()
        for entry in read(file, {**types, **optional}):
            where = f"{file}, line {entry['__line__']}"
            name = entry.get(key, "")
            if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
                raise InputError(f"{where}: {key} must be lower-case letters, digits and '_', found {name!r}.")
            if name in seen:
                raise InputError(f"{where}: {key} {name!r} is used twice in this file.")
            seen.add(name)
            entry = {field: value for field, value in entry.items() if field != "__line__"}
            entries[name] = ({**entries.get(name, ({}, ""))[0], **entry}, where)
    for name, (entry, where) in entries.items():
        missing = [field for field in types if field not in entry]
        if missing:
            raise InputError(f"{where}: {name!r} lacks {', '.join(missing)}.")
    return entries


def pick(names: Sequence[str] | None, known: dict[str, Any], what: str) -> list[Any]:
    """The entries called `names` (all when None), in the order asked for.

    Raises:
        InputError: a name is unknown or given twice.
    """
    if names is None:
        return list(known.values())
    if not names:
        raise InputError(f"no {what} was named; known are {', '.join(known)}.")
    for position, name in enumerate(names):
        if name not in known:
            near = did_you_mean(name, known) if isinstance(name, str) else ""
            raise InputError(f"unknown {what} {name!r}" + (near or f"; known are {', '.join(known)}."))
        if name in names[:position]:
            raise InputError(f"{what} {name!r} is named twice.")
    return [known[name] for name in names]
