"""Prompts are text files, readable without Python: parts that begin with `[name]`, with `$name` slots.

`[system]` and `[user]` are the messages; other parts are sentences that a stage puts into a slot. A folder of files of
the same names replaces the shipped ones, of several folders (joined by JOIN) the first that has a file. A run keeps
what it used in such a folder (`keep`); a text that was shipped then, and fits no more, gives way to today's.
"""

from __future__ import annotations

import functools
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from string import Template

from caredio import disk
from caredio.errors import InputError
from caredio.llm.spec import Messages

_MESSAGES = ("system", "user")
JOIN = "\n"  # between folders; paths may hold what else separates them
_PINNED = ".shipped.json"  # name -> sha of the texts in a folder that were shipped when they were kept
REPAIR, SCHEMA = "repair", "schema"  # asks for another answer; states the JSON schema of an answer
SHARED = (REPAIR, SCHEMA)  # of every stage that asks
# of evaluations and releases: `systems` tells a model to play a part, `views` names a culture
_FIXED = ("systems", "views")
WITHOUT_EFFECT = ("REPAIR", "SCHEMA", "SHARED")  # on what a stage makes (fingerprints.py)
_PART = re.compile(r"^\[([a-z_]+)\]\n", re.MULTILINE)


@dataclass(frozen=True)
class Prompt:
    """A prompt file. Its `sha` is part of the fingerprint of the stages that use it (`counting`)."""

    name: str
    parts: dict[str, str]  # name -> template
    sha: str
    text: str  # the whole file
    shipped: bool = True

    def messages(self, **slots: object) -> Messages:
        """The chat messages with every slot filled.

        Raises:
            KeyError: names a slot that was not given.
        """
        found = ((role, self.parts[role]) for role in _MESSAGES if role in self.parts)
        return [{"role": role, "content": Template(text).substitute(slots)} for role, text in found]

    def part(self, part: str, /, **slots: object) -> str:
        """One part with its slots filled."""
        return Template(self.parts[part]).substitute(slots)


def names() -> list[str]:
    """The names of all prompts."""
    files = (Path(str(file)) for file in resources.files(__name__).iterdir())
    return sorted(file.stem for file in files if file.suffix == ".txt")


def load(name: str, folders: str | None = None) -> Prompt:
    """The prompt in `<name>.txt` of the first of the `folders` that has one, else the shipped one.

    Raises:
        InputError: there is no such folder; or the file cannot be read, lacks a part or a slot of the shipped one, or
            has one that it has not.
    """
    for folder in filter(None, (folders or "").split(JOIN)):
        file = Path(folder, f"{name}.txt")
        if file.exists():
            state = file.stat()
            return _own(name, file, _pinned(folder).get(name, ""), state.st_mtime_ns, state.st_size)
        _check_folder(folder)
    return _shipped(name)


def counting(used: Sequence[Prompt]) -> list[str]:
    """The shas of those prompts that are part of a stage's fingerprint.

    The shipped texts of `SHARED` never change, as they are part of stored keys; what evaluations and releases make
    holds the texts of theirs itself.
    """
    unchanged = [one for one in used if one.name in _FIXED or (one.name in SHARED and one.shipped)]
    return [one.sha for one in used if one not in unchanged]


def keep(folder: Path, texts: Mapping[str, str]) -> None:
    """Write the prompts that a run used into its folder, and note which of them are the shipped ones."""
    pinned = dict(_pinned(str(folder)))
    with disk.writing(folder):
        folder.mkdir(exist_ok=True)
    for name, text in texts.items():
        file = folder / f"{name}.txt"
        if not file.exists() or file.read_bytes() != text.encode():
            with disk.replacing(file) as content:
                content.write(text.encode())
        pinned.pop(name, None)
        if text == _shipped(name).text:
            pinned[name] = _shipped(name).sha
    with disk.replacing(folder / _PINNED) as content:
        content.write(json.dumps(pinned, indent=2).encode())


def _pinned(folder: str) -> Mapping[str, str]:
    file = Path(folder, _PINNED)
    try:
        return _shas(file, file.stat().st_mtime_ns)
    except (OSError, ValueError, AttributeError):
        return {}


@functools.lru_cache(maxsize=64)
def _shas(file: Path, changed: int) -> dict[str, str]:
    """Name -> sha of the file, read again once it has changed: prompts are loaded for each row."""
    found = json.loads(file.read_text(encoding="utf-8"))
    return {str(name): str(sha) for name, sha in found.items()}


def check(folder: str | None) -> None:
    """See that a user's prompts can be used, all of them, before anything is spent.

    Raises:
        InputError: there is no such folder, a file in it is named as no prompt is, or as `load` raises.
    """
    if folder:
        _check_folder(folder)
        for file in sorted(Path(folder).glob("*.txt")):
            if file.stem not in names():
                raise InputError(f"{file}: no prompt is named so; the prompts are {', '.join(names())}.")
            load(file.stem, folder)


def _check_folder(folder: str) -> None:
    if not Path(folder).is_dir():
        raise InputError(f"{folder}: no such folder of prompts; `caredio prompts --to {folder}` makes one.")


@functools.cache
def _shipped(name: str) -> Prompt:
    text = resources.files(__name__).joinpath(f"{name}.txt").read_text(encoding="utf-8")
    return replace(_parsed(name, text), shipped=True)


@functools.lru_cache(maxsize=64)
def _own(name: str, file: Path, pinned: str, changed: int, size: int) -> Prompt:
    """A file, read again once it has changed; `pinned` is the sha of the text there that was a shipped one."""
    try:
        text = file.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(f"{file}: cannot be read ({error.strerror}).") from None
    except UnicodeDecodeError:
        raise InputError(f"{file}: is not UTF-8 text; save it as UTF-8.") from None
    if pinned and hashlib.sha256(text.encode()).hexdigest()[:16] == pinned:
        return _kept(name, file, text)
    own = _fitting(name, file, text)
    return own if own.parts != _shipped(name).parts else _shipped(name)


def _kept(name: str, file: Path, text: str) -> Prompt:
    """A text that was shipped once: as it is, or where stages need other parts by now, today's."""
    try:
        return replace(_fitting(name, file, text), shipped=True)
    except InputError:
        return _shipped(name)


def _fitting(name: str, file: Path, text: str) -> Prompt:
    """The prompt in a text with the parts and slots of the shipped one. Raises as `load`."""
    parts = _PART.findall(text.replace("\r\n", "\n"))
    if twice := [part for part in parts if parts.count(part) > 1]:
        raise InputError(f"{file}: part [{twice[0]}] stands twice; keep one of them.")
    own, shipped = _parsed(name, text), _shipped(name)
    if lacking := [part for part in shipped.parts if not own.parts.get(part)]:
        raise InputError(
            f"{file}: part [{lacking[0]}] is missing or empty; `caredio prompts {name}` shows the shipped."
        )
    if unknown := [part for part in own.parts if part not in shipped.parts]:
        raise InputError(f"{file}: part [{unknown[0]}] is unknown; the parts are {', '.join(shipped.parts)}.")
    for part, template in own.parts.items():
        if not Template(template).is_valid():
            raise InputError(
                f"{file}, part [{part}]: '$' begins a slot, and one of them is none; write '$$' for a '$'."
            )
    for group, wanted in _slots(shipped).items():
        mine = _slots(own)[group]
        if lost := sorted(wanted - mine):
            raise InputError(f"{file}: slot ${lost[0]} is missing; the slots{group} are {_listed(wanted)}.")
        if more := sorted(mine - wanted):
            raise InputError(f"{file}: slot ${more[0]} is unknown; the slots{group} are {_listed(wanted)}.")
    return own


def _parsed(name: str, text: str) -> Prompt:
    pieces = _PART.split(text.replace("\r\n", "\n"))
    parts = {part: body.strip() for part, body in zip(pieces[1::2], pieces[2::2], strict=True)}
    return Prompt(name, parts, hashlib.sha256(text.encode()).hexdigest()[:16], text, False)


def _slots(prompt: Prompt) -> dict[str, set[str]]:
    """The slots of the messages, which are filled together, and those of each other part."""
    found: dict[str, set[str]] = {}
    for part, template in prompt.parts.items():
        group = "" if part in _MESSAGES else f" of [{part}]"
        found.setdefault(group, set()).update(Template(template).get_identifiers())
    return found


def _listed(slots: set[str]) -> str:
    return ", ".join(f"${slot}" for slot in sorted(slots)) or "none"


def quote(text: str) -> str:
    """A model's text as one JSON string, so that it cannot pass for a part of the prompt it is put into."""
    return json.dumps(text, ensure_ascii=False)
