"""Text that is not ours, in a card and on a terminal."""

from __future__ import annotations

import json
import re
import unicodedata
from typing import Any

_LENGTH = 90  # characters of a text that is shortened
# what a terminal or a reader acts on: controls but for tab and newline, marks of direction that turn text around, and
# halves of characters
_ACTING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def code(value: object) -> str:
    """`value` as inline code on one line: it can neither end the code nor a table's cell."""
    text = inert(" ".join(str(value).split())).replace("`", "'").replace("|", "¦")
    return f"`{text}`" if text else "` `"


def as_json(value: Any, indent: int = 2) -> str:
    """`value` as JSON in which what is not printed is escaped, so that no line of it is a text's own."""
    text = json.dumps(value, ensure_ascii=False, indent=indent)
    return "".join(one if one.isprintable() or one == "\n" else json.dumps(one)[1:-1] for one in text)


def inert(text: str) -> str:
    """`text` with escapes in place of the characters that a terminal, or a reader of text, acts on."""
    return _ACTING.sub(lambda found: ascii(found.group())[1:-1], text)


def shortened(text: str) -> str:
    """The beginning of `text` on one line, without characters that a terminal acts on."""
    line = "".join(" " if unicodedata.category(mark) in ("Cc", "Cf", "Zl", "Zp") else mark for mark in text)
    line = " ".join(line.split())
    return line if len(line) <= _LENGTH else f"{line[: _LENGTH - 3]}..."
