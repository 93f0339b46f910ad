"""What a stage's result depends on, in a form that can be hashed: settings, module constants, contents of files.

A setting counts unless its field's metadata says `"counts": False`; `"counts": function` counts what the function makes
of it, as where a folder's contents count and its path does not. A constant counts unless its module names it in
`WITHOUT_EFFECT`.
"""

from __future__ import annotations

import dataclasses
import hashlib
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from caredio import packages
from caredio.contents import of_file

_CONSTANT = re.compile(r"_?[A-Z][A-Z0-9_]*")
# modules that decide when, where and at what price a model is asked, and how tables are laid out (`columns` count)
_LLM = r"access|batch|cache|embeddings|limits|plan|prices|remote|settings"
_DELIVERY = re.compile(
    rf"caredio\.(?:llm\.(?:{_LLM})|(?:\w+\.)?settings|stages|messages|progress|features|fingerprints|runs|journal)"
)
# what training and publishing leave beside weights, which nobody loads with them
_RECORDS = re.compile(
    r".*\.md|training\.json|trained_on\.txt|release\.json|trainer_state\.json|training_args\.bin"
    r"|(?:optimizer|scheduler|rng_state).*"
)


def counted(value: Any) -> Any:
    """`value` as it counts: Configs as their fields that change results, whole floats as the equal integers."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        rules = {field.name: field.metadata.get("counts", True) for field in dataclasses.fields(value)}
        return {
            name: counted(rule(getattr(value, name)) if callable(rule) else getattr(value, name))
            for name, rule in rules.items()
            if rule is not False
        }
    if isinstance(value, Mapping):
        return {str(key): counted(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [counted(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def constants(modules: Iterable[ModuleType]) -> dict[str, Any]:
    """`module.NAME` -> value of the constants that count, in `modules` and in those of this package they use."""
    found = {}
    for module in _used(modules):
        spared = ("WITHOUT_EFFECT", "TYPE_CHECKING", *vars(module).get("WITHOUT_EFFECT", ()))
        for name, value in vars(module).items():
            if not _CONSTANT.fullmatch(name) or name in spared:
                continue
            try:
                found[f"{module.__name__}.{name}"] = _value(value)
            except TypeError:  # paths, type variables, columns: no setting
                continue
    return dict(sorted(found.items()))


def _used(modules: Iterable[ModuleType]) -> list[ModuleType]:
    """`modules` and those of this package whose functions, classes or selves stand in them, and so on."""
    found: dict[str, ModuleType] = {}
    waiting = list(modules)
    while waiting:
        module = waiting.pop()
        if module.__name__ in found or _DELIVERY.fullmatch(module.__name__):
            continue
        found[module.__name__] = module
        for value in vars(module).values():
            name = value.__name__ if isinstance(value, ModuleType) else getattr(value, "__module__", None)
            if isinstance(name, str) and name.startswith("caredio.") and name in sys.modules:
                waiting.append(sys.modules[name])
    return list(found.values())


def _value(value: Any) -> Any:
    """A constant's value as JSON.

    Raises:
        TypeError: it is neither text, number nor pattern, nor made of such.
    """
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, re.Pattern):
        return [value.pattern, value.flags]
    if isinstance(value, Mapping):
        return [[_value(key), _value(item)] for key, item in value.items()]
    if isinstance(value, (list, tuple)):
        return [_value(item) for item in value]
    if isinstance(value, (set, frozenset)):
        return sorted(map(repr, value))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        counting = [field.name for field in dataclasses.fields(value) if field.metadata.get("counts", True)]
        return _value({name: getattr(value, name) for name in counting})
    if hasattr(value, "__qualname__") and hasattr(value, "__module__"):
        return f"{value.__module__}.{value.__qualname__}"
    raise TypeError(f"{type(value)} is no setting")


def model(name: str) -> str:
    """What stands for a model: the hash of its folder's contents, or its name and commit on the Hub."""
    folder = Path(name).expanduser()
    return contents(folder) if folder.is_dir() else f"{name}@{_commit(name)}"


def contents(folder: Path) -> str:
    """The hash of all files in a folder that loading it reads, by their names in it; where it lies does not count."""
    digest = hashlib.sha256()
    for file in sorted(folder.rglob("*")):
        parts = file.relative_to(folder).parts
        if not file.is_file() or any(part.startswith((".", "checkpoint-", "__pycache__")) for part in parts):
            continue
        if not _RECORDS.fullmatch(file.name):
            digest.update(f"{'/'.join(parts)}\0{of_file(file)}\n".encode())
    return digest.hexdigest()


def _commit(name: str) -> str:
    """The commit of a model on the Hub, else the one that this machine's cache holds; empty where neither is known."""
    from huggingface_hub import HfApi, try_to_load_from_cache

    ways: tuple[Callable[[], str | None], ...] = (
        lambda: HfApi().model_info(name, timeout=10).sha,
        lambda: Path(str(try_to_load_from_cache(name, "config.json") or "")).parent.name,
    )
    for way in ways:
        try:
            if found := way():
                return found
        except packages.unreachable(OSError, ValueError, RuntimeError):
            continue
    return ""
