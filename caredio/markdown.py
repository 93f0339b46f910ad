"""Text that is not ours, in a card."""

from __future__ import annotations


def code(value: object) -> str:
    """`value` as inline code on one line: it can neither end the code nor a table's cell."""
    text = " ".join(str(value).split()).replace("`", "'").replace("|", "¦")
    return f"`{text}`" if text else "` `"
