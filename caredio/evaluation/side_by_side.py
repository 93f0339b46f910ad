"""What systems reply to the same questions, side by side, as text."""

from __future__ import annotations

import re
import textwrap
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

from caredio.evaluation import samples
from caredio.evaluation.benchmark import VARIED
from caredio.evaluation.samples import Measured
from caredio.llm import marks

JUDGE = "judge"  # the key of the identity of samples that a judge rated
_WIDTH = 100
_FIRST = ("raw", "role-play", "trained", "trained + role-play")  # then rivals, by name
# colours and cursor moves of a terminal; then what shows nothing or turns the direction of writing
_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|[\]P^_X].*?(?:\x07|\x1b\\|$)|.)?|\x9b[0-?]*[ -/]*[@-~]", re.DOTALL)
_HIDDEN = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")


def names(arms: Sequence[Measured]) -> list[str]:
    """What to call each of them: its system, and where systems share a name the model, or folder and date."""
    called = [arm.system for arm in arms]
    groups: dict[tuple[str, str | None, str], list[int]] = {}
    for place, arm in enumerate(arms):
        groups.setdefault((arm.benchmark, arm.culture, arm.system), []).append(place)
    for (_, _, system), places in groups.items():
        models = {arms[place].model for place in places}
        for place in places if len(places) > 1 else ():
            arm = arms[place]
            more = arm.model if len(models) == len(places) else f"{arm.path.parent.name}, {arm.made}"
            called[place] = f"{system} ({more})"
    return called


def order(system: str) -> tuple[int, str]:
    """By which systems are sorted: the raw model, what is made of it, then rivals by name."""
    return (_FIRST.index(system) if system in _FIRST else len(_FIRST), system)


def replies(row: Mapping[str, Any]) -> list[str]:
    """The texts that a system wrote for a question, without thinking; none where it was asked for likelihoods."""
    listed = (texts if isinstance(texts, list) else [texts] for texts in row.get("resps") or ())
    return [_visible(text) for texts in listed for text in texts if isinstance(text, str)]


def document(row: Mapping[str, Any]) -> dict[str, Any]:
    """The question's document; empty where a task's is none."""
    doc = row.get("doc")
    return doc if isinstance(doc, dict) else {}


def _visible(text: str) -> str:
    try:
        return marks.visible(text).encode(errors="replace").decode()
    except marks.OnlyThinking:
        return ""


def plain(text: str) -> str:
    """`text` without what a terminal would obey, and without marks that show nothing or turn it around."""
    return _HIDDEN.sub("", _ESCAPES.sub("", text.replace("\r\n", "\n").replace("\r", "\n")))


def side_by_side(folders: Iterable[Path | str], n: int) -> str:
    """The replies of all systems to `n` questions, those first that most systems answered.

    Args:
        folders: runs, or what lm_eval had as --output_path.
        n: questions in all, taken in turn from each benchmark and culture.

    Raises:
        InputError: a folder is not there, or damaged.
    """
    places = [Path(folder) for folder in folders]
    groups = [
        # by how many answered, else in the order of the samples
        [(title, by_system) for by_system in sorted(questions.values(), key=lambda by_system: -len(by_system))]
        for title, questions in sorted(_asked(places).items())
    ]
    turns = [one for turn in zip_longest(*groups) for one in turn if one is not None]
    if not turns:
        return f"{', '.join(map(str, places))}: no replies are kept there; of likelihoods there is no text to show."
    return "\n".join(line for title, by_system in turns[:n] for line in _block(title, by_system)).rstrip()


def _asked(places: Sequence[Path]) -> dict[str, dict[str, dict[str, Mapping[str, Any]]]]:
    """Benchmark and culture -> question -> system -> row, of what was replied to."""
    arms = [one for one in samples.find(*places) if JUDGE not in one.identity and VARIED not in one.benchmark]
    asked: dict[str, dict[str, dict[str, Mapping[str, Any]]]] = {}
    for arm, system in zip(arms, names(arms), strict=True):
        rows = samples.rows(arm)
        for row, name in zip(rows, samples.ids(rows), strict=True):
            if shown(row):
                title = ", ".join(filter(None, (arm.benchmark, arm.culture)))
                asked.setdefault(title, {}).setdefault(name, {}).setdefault(system, row)
    return asked


def _block(title: str, by_system: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The lines of a question."""
    lines = [f"{'-' * 8} {title}", "", *_wrapped(_question(next(iter(by_system.values()))))]
    for system in sorted(by_system, key=order):
        lines += ["", f"  {plain(system)}:", *_wrapped(shown(by_system[system]), "    ")]
    return [*lines, ""]


def _question(row: Mapping[str, Any]) -> str:
    doc = document(row)
    return str(doc.get("question") or next(iter(_prompts(row)), "")) or f"question {samples.question(row)}"


def _prompts(row: Mapping[str, Any]) -> list[str]:
    """What the model was asked, as lm-eval keeps it."""
    arguments = row.get("arguments")
    parts = arguments.values() if isinstance(arguments, dict) else ()
    return [part["arg_0"] for part in parts if isinstance(part, dict) and isinstance(part.get("arg_0"), str)]


def shown(row: Mapping[str, Any]) -> str:
    """What a system replied: its texts, or of the options whose likelihoods were asked for the likeliest."""
    if texts := replies(row):
        return "\n".join(text or "(nothing)" for text in texts)
    doc = document(row)
    options, found = doc.get("options"), row.get("filtered_resps")
    if not isinstance(options, list) or not isinstance(found, list) or len(options) != len(found):
        return ""
    try:
        bits = [float(one[0]) for one in found]
    except (TypeError, ValueError, IndexError, KeyError):
        return ""
    return f"{options[bits.index(max(bits))]} (the likeliest option)"


def _wrapped(text: str, indent: str = "") -> list[str]:
    """The lines of a text, each within the width; Chinese and the like take twice the room."""
    text = plain(text)
    cells = sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)
    width = max(20, _WIDTH * len(text) // max(1, cells))
    lines = []
    for paragraph in text.split("\n"):
        lines += textwrap.wrap(
            paragraph, width, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False
        ) or [""]
    return lines
