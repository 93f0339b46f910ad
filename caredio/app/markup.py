"""Text that is not ours, in a page: shown as it stands, whatever it holds."""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Iterable, Sequence

# braces and dollars, which templates of the page would read, are written as numbers
_TEMPLATED = str.maketrans({"{": "&#123;", "}": "&#125;", "$": "&#36;", "`": "&#96;"})
# what is not seen, and what turns the text around it; joiners are part of words and emoji
_UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def text(value: object) -> str:
    """`value` as HTML that shows it: markup in it is text, and a control character a sign for it."""
    seen = _UNSEEN.sub(_sign, "" if value is None else str(value))
    return html.escape(seen).translate(_TEMPLATED)


def _sign(found: re.Match[str]) -> str:
    code = ord(found[0])
    if code < 0x20:
        return chr(0x2400 + code)  # the pictures that Unicode has of them
    return f"[{unicodedata.name(found[0], f'U+{code:04X}')}]"


def prose(value: object, language: object = None) -> str:
    """A paragraph of a row's text, in its own direction."""
    return f'<p class="prose" {spoken(language)}>{text(value)}</p>'


def spoken(language: object = None) -> str:
    """The attributes of an element that holds a row's text: its own direction, and its language where it is known."""
    return f'dir="auto" lang="{text(language)}"' if language else 'dir="auto"'


def link(key: object, label: object) -> str:
    """A button that opens the row with this key."""
    return f'<button type="button" class="row-link" data-row="{text(key)}">{text(label)}</button>'


def badge(label: object, kind: str = "", meaning: str = "") -> str:
    """A word in a box; `meaning` is shown where a pointer rests on it."""
    hover = f' title="{text(meaning)}"' if meaning else ""
    return f'<span class="badge {kind}"{hover}>{text(label)}</span>'


def section(title: str, body: str, fold: bool = False, note: str = "") -> str:
    """A part of a page under a heading; nothing where it is empty."""
    if not body:
        return ""
    said = f'<p class="note">{text(note)}</p>' if note else ""
    if fold:
        return f"<details><summary>{text(title)}</summary>{said}{body}</details>"
    return f"<section><h3>{text(title)}</h3>{said}{body}</section>"


def table(head: Sequence[str], rows: Iterable[Sequence[str]], kind: str = "") -> str:
    """A table of cells that are HTML already; nothing where there are no rows."""
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    if not body:
        return ""
    named = "".join(f'<th scope="col">{text(name)}</th>' for name in head)
    top = f"<thead><tr>{named}</tr></thead>" if head else ""
    return f'<div class="wide"><table class="{kind}">{top}<tbody>{body}</tbody></table></div>'


def number(value: object) -> str:
    """A number as people read it; a dash where there is none."""
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:,.0f}" if value.is_integer() and abs(value) >= 10 else f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) else str(value)
