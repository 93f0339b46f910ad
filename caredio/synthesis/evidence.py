"""What people said, as pieces that can stand in a prompt: shares of a survey, descriptions, any text on a culture.

A table of the user's -> evidence. The text comes from outside: white space and what shows nothing are taken out, so
that a piece is one line, and a text with marks of a chat template, which a model could take for a turn, is dropped.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from datasets import Dataset, Features, Value

from caredio import features
from caredio.stages import Stage, fan_out
from caredio.synthesis.settings import Settings

STAGE = Stage("evidence", {}, features.EVIDENCE, modules=(__name__,))
# what is read: pieces as they stand in the user's table, and whether a piece's question is kept for a benchmark
GIVEN = Features({**features.EVIDENCE, "tests": Value("bool")})
_LONGEST = 1_000  # characters of a text
_JOINERS = "\u200c\u200d"  # which are part of words in some scripts
# marks by which chat templates begin and end turns
_MARKS = re.compile(
    r"<\|[^|<>\s]{1,40}\|>|<｜[^｜<>]{1,40}｜>|</?s>|\[/?(?:INST|SYSTEM_PROMPT|AVAILABLE_TOOLS)\]|<</?SYS>>"
    r"|<(?:start|end)_of_turn>|<(?:bos|eos|pad|unk)>",
    re.IGNORECASE,
)


def cleaned(text: str | None) -> str:
    """`text` on one line, without control characters, marks of direction and what else shows nothing."""
    hidden = (one not in _JOINERS and unicodedata.category(one) in ("Cc", "Cf", "Cs", "Co") for one in text or "")
    return " ".join("".join(" " if hide else one for one, hide in zip(text or "", hidden, strict=True)).split())


def marked(text: str) -> bool:
    """Whether a text holds marks of a chat template, which a model's tokenizer may take for a turn's end."""
    return bool(_MARKS.search(unicodedata.normalize("NFKC", text)) or _MARKS.search(text))


def shares(question: str, options: Sequence[str], found: Sequence[float]) -> str:
    """A survey's question with what share of people chose each option, as a text."""
    whole = [(option, round(100 * share)) for option, share in zip(options, found, strict=True)]
    told = ", ".join(f'"{option}" {share} %' for option, share in whole if share)
    return f"Asked in a survey: {question} Of those who answered: {told}."


def run(given: Dataset, settings: Settings) -> Dataset:
    """The pieces that may be shown.

    Args:
        given: `GIVEN`; a culture that is not known is null.

    Returns:
        `features.EVIDENCE` and `drop_reason`: unknown_culture, kept_for_test, no_text, piece_too_long, chat_marks,
        repeated.
    """
    seen: set[tuple[str, str, str]] = set()

    def piece(row: dict[str, Any]) -> Iterator[dict[str, Any]]:
        texts = {name: cleaned(row[name]) for name in ("source", "evidence_id", "text", "question")}
        made = {**texts, "culture": row["culture"], "question": texts["question"] or None}
        known = str(row["culture"]), texts["source"], texts["text"]
        made["drop_reason"] = _reason(made, row["tests"] and settings.evidence_questions == "half", known in seen)
        seen.add(known)
        yield made

    columns = Features({**features.EVIDENCE, **features.columns("drop_reason")})
    return fan_out(given, piece, columns, "evidence")


def _reason(piece: Mapping[str, Any], tests: bool, repeated: bool) -> str | None:
    """Why a piece is not shown, if it is not."""
    reasons = {
        "unknown_culture": piece["culture"] is None,
        "kept_for_test": tests,
        "no_text": not piece["text"],
        "piece_too_long": len(piece["text"]) > _LONGEST,
        "chat_marks": any(marked(piece[name] or "") for name in ("source", "evidence_id", "text", "question")),
        "repeated": repeated,
    }
    return next((name for name, holds in reasons.items() if holds), None)
