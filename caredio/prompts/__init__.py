"""Prompts are text files, readable without Python: a `[system]` and a `[user]` part with `$name` slots."""

from __future__ import annotations

import functools
import hashlib
import json
import re
from dataclasses import dataclass
from importlib import resources
from string import Template

from caredio.llm.spec import Messages


@dataclass(frozen=True)
class Prompt:
    """A prompt file. `sha` is part of the fingerprint of every stage that uses it."""

    name: str
    parts: tuple[tuple[str, str], ...]  # (role, template)
    sha: str
    text: str  # the whole file

    def messages(self, **slots: object) -> Messages:
        """The chat messages with every slot filled.

        Raises:
            KeyError: names a slot that was not given.
        """
        return [{"role": role, "content": Template(text).substitute(slots)} for role, text in self.parts]


@functools.cache
def load(name: str) -> Prompt:
    """The prompt in `<name>.txt`."""
    text = resources.files(__name__).joinpath(f"{name}.txt").read_text(encoding="utf-8")
    pieces = re.split(r"^\[(system|user)\]\n", text, flags=re.MULTILINE)
    parts = tuple((role, body.strip()) for role, body in zip(pieces[1::2], pieces[2::2], strict=True))
    return Prompt(name, parts, hashlib.sha256(text.encode()).hexdigest()[:16], text)


def quote(text: str) -> str:
    """A model's text as one JSON string, so that it cannot pass for a part of the prompt it is put into."""
    return json.dumps(text, ensure_ascii=False)
