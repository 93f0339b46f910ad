"""The replies in samples files, with the question, reference and rubric that a judge needs."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from caredio import cultures
from caredio.errors import InputError
from caredio.evaluation import rubrics, samples, side_by_side
from caredio.evaluation.judging_settings import AUTO, Settings
from caredio.evaluation.samples import Measured

_REFERENCES = ("answers", "answer")
_CATEGORIES, _SCOPES = ("category", "culture_type"), ("scope", "geographic_scope")  # ours, and CARE's own
_VARIANT = re.compile(r"_(?:generated|cot|logprobs)\Z")
_SHOWN = 12  # fields in a message


class Reply(NamedTuple):
    """A system's replies to a question, and what a judge reads with them."""

    row: dict[str, Any]  # of the samples
    question: str  # its id
    rubric: str
    culture: str | None
    asked: str
    reference: str | None
    category: str | None
    scope: str | None
    texts: list[str]  # several where it was asked several times; an empty one is no reply, and is not judged


def base(benchmark: str) -> str:
    """A benchmark without its variant."""
    return _VARIANT.sub("", benchmark)


def wanted(arms: Sequence[Measured], benchmark: str | None) -> list[Measured]:
    """Those of a benchmark, whatever its variant; all when None.

    Raises:
        InputError: there are none.
    """
    found = [one for one in arms if benchmark is None or benchmark in (one.benchmark, base(one.benchmark))]
    if not found:
        there = ", ".join(sorted({one.benchmark for one in arms})) or "no samples at all"
        raise InputError(f"there are no samples of {benchmark or 'a benchmark'}; the folders hold {there}.")
    return found


def read(arm: Measured, settings: Settings) -> tuple[list[Reply], str]:
    """The replies of a system, and if there are none that can be judged, why.

    Raises:
        InputError: a document lacks the question, or no rubric is known for one that was asked for by name.
    """
    known = {slug: culture.name for slug, culture in cultures.load().items()}
    found: dict[Any, Reply] = {}
    rows = samples.rows(arm)
    for number, (row, name) in enumerate(zip(rows, samples.ids(rows), strict=True), 1):
        where = f"{arm.path}, line {number}"
        # ours hold what was counted as a reply, which one that was refused or cut off is not, beside what came
        counted = row.get("filtered_resps") if arm.identity else None
        texts = side_by_side.replies({"resps": [counted]} if counted else row)
        if not texts:
            return [], "holds likelihoods, and no replies"
        doc = side_by_side.document(row)
        category = _first(doc, _CATEGORIES)
        try:
            rubric = rubrics.choose(settings.rubric, base(arm.benchmark), category, where)
        except InputError as error:
            if settings.benchmark is not None:
                raise
            return [], str(error).partition(": ")[2].rstrip(".")
        slug = doc.get("culture") or arm.culture
        reply = Reply(
            row,
            name,
            rubric,
            known.get(slug, slug) if isinstance(slug, str) else None,
            _asked(doc, settings.question_field, where),
            _reference(doc, settings.reference_field, where),
            category,
            _first(doc, _SCOPES),
            [text if text.strip() else "" for text in texts],
        )
        # lm-eval has a row for each way it reads an answer
        found.setdefault(row.get("doc_id", number), reply)
    return list(found.values()), "" if found else "holds no rows"


def rubrics_of(arm: Measured, settings: Settings) -> set[str]:
    """The rubrics that questions of a benchmark may be judged by, so that a part of them has the same judge."""
    return {settings.rubric} if settings.rubric != AUTO else rubrics.possible(base(arm.benchmark))


def _first(doc: Mapping[str, Any], fields: Sequence[str]) -> str | None:
    return next((doc[name] for name in fields if isinstance(doc.get(name), str) and doc[name].strip()), None)


def _asked(doc: Mapping[str, Any], field: str, where: str) -> str:
    text = doc.get(field)
    if not isinstance(text, str) or not text.strip():
        raise InputError(
            f"{where}: the document has no text in {field!r}; name the field of its question with --question-field"
            f" (it has {', '.join(list(map(str, doc))[:_SHOWN]) or 'none'})."
        )
    return _clean(text)


def _reference(doc: Mapping[str, Any], field: str | None, where: str) -> str | None:
    """The reference in a document: a text, or several in the order of how many people gave them."""
    if field is not None and field not in doc:
        fields = ", ".join(list(map(str, doc))[:_SHOWN])
        raise InputError(f"{where}: the document has no field {field!r} for the reference; it has {fields}.")
    value = doc.get(field) if field else next((doc[name] for name in _REFERENCES if doc.get(name)), None)
    if isinstance(value, list):
        weighted = [one for one in value if isinstance(one, dict) and isinstance(one.get("text"), str)]
        ordered = [one["text"] for one in sorted(weighted, key=lambda one: -(one.get("weight") or 0))]
        value = "; ".join(ordered or [one for one in value if isinstance(one, str)])
    return _clean(value) if isinstance(value, str) and value.strip() else None


def _clean(text: str) -> str:
    """`text` without halves of characters, which no table takes."""
    return text.encode(errors="replace").decode()
