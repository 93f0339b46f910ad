"""Checks of a model's release: its record of the training, and what its card gives of that."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from caredio import checkpoints
from caredio.markdown import code
from caredio.publishing import cards
from caredio.publishing.record import RECORD
from caredio.publishing.released import Finding, Released, Unchecked

_DETAILS = re.compile(r"<summary>All of training.json</summary>(.*?)</details>", re.DOTALL)
_TRAINING = re.compile(r"^## Training$(.*?)(?=^## |\Z)", re.DOTALL | re.MULTILINE)
_LINE = re.compile(r"^\| (.*?) \| (`.*`) \|$", re.MULTILINE)
_RESULT = re.compile(r"^\|(?: [^|]* \|){5,}$", re.MULTILINE)


def record(given: Released) -> Iterator[Finding]:
    """Whether training.json is what release.json holds of the training."""
    file = given.folder / checkpoints.RECORD
    if not file.is_file():
        yield Finding("record", checkpoints.RECORD, "is not there, so nothing says how the model was trained")
    elif _plain(json.loads(file.read_text(encoding="utf-8"))) != _plain(given.record.get("training")):
        yield Finding("record", checkpoints.RECORD, f"is another than the training in {RECORD}")


def card(given: Released) -> Iterator[Finding | Unchecked]:
    """What the card gives of training.json, and its version, where they are others."""
    page, training = given.card, given.record.get("training")
    if page is None or not isinstance(training, dict):
        yield Unchecked("there is no README.md" if page is None else f"{RECORD} does not hold the training")
        return
    yield from _facts(page, training)
    yield from _sentences(page, training, str(given.record.get("version")))


def results(given: Released) -> Iterator[Unchecked]:
    """That results of the card cannot be checked, where it has some."""
    if _RESULT.search((given.card or "").partition("\n## Evaluation\n")[2]):
        yield Unchecked("the card's results are taken as they stand: the rows they were computed from are in the run")
    else:
        yield Unchecked("the card gives none")


def _plain(training: Any) -> str:
    """A record as text, by which two are compared: a loss that is no number equals itself."""
    return json.dumps(training, sort_keys=True)


def _facts(page: str, training: dict[str, Any]) -> Iterator[Finding]:
    """Lines of the card's tables of settings that are not as in the record."""
    facts = {" ".join(key.split()): code(value) for key, value in cards.flat(training) if value is not None}
    short = {name.removeprefix("hyperparameters."): facts[name] for name in cards.SHORT if name in facts}
    details, whole = _DETAILS.search(page), _TRAINING.search(page)
    folded = dict(_LINE.findall(details[1])) if details else {}
    if missing := sorted(facts.keys() - folded.keys()) if details else []:
        yield Finding("card", "README.md", f"its table of training.json has no line on {', '.join(missing)}")
    above = dict(_LINE.findall(whole[1].partition("<details>")[0])) if whole else {}
    for said, known in ((above, short), (folded, facts)):
        for key, cell in said.items():
            if cell != known.get(key):
                there = f"{checkpoints.RECORD} has {known[key]}" if key in known else "is not in the record"
                yield Finding("card", f"README.md, {key}", f"{cell} is given, {there}")


def _sentences(page: str, training: dict[str, Any], version: str) -> Iterator[Finding]:
    """Sentences of the card whose numbers are not those of the record, and other versions than release.json's."""
    rows, result = str(training.get("rows")), training.get("result") or {}
    losses = [result.get(f"{name}_loss") for name in ("first", "last")]
    wanted = {
        r"^`.*`, aligned to the cultures? .* by .* on (\d+) rows of `.*`\.$": (rows,),
        r"^- The model learnt from (\d+) rows;": (rows,),
        r"^The loss went from (\S+) in the first step to (\S+) in the last ones\.$": tuple(
            f"{loss:.3f}" for loss in losses if loss is not None
        ),
        r"from_pretrained\(.*, revision=\"([^\"]*)\"": (version,),
        r"^  version = \{(.*)\}$": (version,),
    }
    for pattern, there in wanted.items():
        for found in re.finditer(pattern, page, re.MULTILINE):
            if found.groups() != there:
                yield Finding(
                    "card", "README.md", f"{found[0].strip()!r}, where {' and '.join(there) or 'none'} is there"
                )
