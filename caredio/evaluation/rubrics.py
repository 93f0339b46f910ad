"""What a judge is asked, and how its answer is read.

A rubric is a prompt file of criteria and a scale; `judge_rating.txt` and `judge_pairwise.txt` put it before the judge
with the reply. All text that is judged, or comes with it, stands there as JSON strings on one line each, so that none
can end its own quotation. The judge closes with a line of a fixed form, which is read strictly: an answer without it
is no rating, whatever it says.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from caredio import prompts
from caredio.errors import InputError
from caredio.evaluation.judging_settings import AUTO, SCALES
from caredio.llm.rows import Unusable
from caredio.llm.spec import Messages
from caredio.prompts import Prompt

RATING, PAIRWISE = "judge_rating", "judge_pairwise"
# whose replies are rated by one rubric, and the categories of CARE's questions: seed 003, figures 10 to 12
_OF_BENCHMARK = {"culturebank": "quality", "prism": "awareness"}
_OF_CATEGORY = {
    **dict.fromkeys(("cultural entities", "entities", "opinion"), "entities"),
    **dict.fromkeys(("social norms", "norms", "cultural commonsense", "commonsense"), "norms"),
    "literacy": "literacy",
}
_VERDICTS = {"A": 1.0, "B": 0.0, "C": 0.5}  # how the reply fares that is shown first
_LAST = re.compile(r"[*_`]*(?P<what>Rating|Verdict): ?\[\[(?P<said>[^\[\]]*)\]\][*_`]*")
_BREAKS = re.compile("[\x7f-\x9f\u2028\u2029]")  # what JSON leaves as it is, and some take for the end of a line


def choose(rubric: str, benchmark: str, category: str | None, where: str) -> str:
    """The rubric of a question.

    Args:
        rubric: as the settings name it.
        where: the question, for messages.

    Raises:
        InputError: it is to be found out, and neither benchmark nor category tells.
    """
    if rubric != AUTO:
        return rubric
    found = _OF_BENCHMARK.get(benchmark) or _OF_CATEGORY.get((category or "").strip().casefold())
    if found is None:
        what = f"category {category!r}" if category else f"benchmark {benchmark!r}"
        raise InputError(f"{where}: no rubric is known for {what}; name one with --rubric ({', '.join(SCALES)}).")
    return found


def possible(benchmark: str) -> set[str]:
    """The rubrics that `choose` may find for a benchmark's questions."""
    return {_OF_BENCHMARK[benchmark]} if benchmark in _OF_BENCHMARK else set(_OF_CATEGORY.values())


def names(rubric: str, pairwise: bool) -> list[str]:
    """The prompts that a rubric's questions are asked with."""
    return [PAIRWISE if pairwise else RATING, f"judge_{rubric}"]


def messages(row: Mapping[str, Any], folders: str | None) -> Messages:
    """The chat in which a reply is rated, or where the row has a `rival`, two replies are compared.

    Args:
        row: rubric, culture, question, reference, reply, and rival (shown as B).
        folders: of prompts that replace the shipped ones.
    """
    form, rubric = (prompts.load(name, folders) for name in names(row["rubric"], row["rival"] is not None))
    shared = {"criteria": rubric.parts["criteria"], **{name: quoted(row[name]) for name in _SHARED}}
    if row["rival"] is not None:
        return form.messages(**shared, first=quoted(row["reply"]), second=quoted(row["rival"]))
    lowest, highest = SCALES[row["rubric"]]
    return form.messages(
        **shared, scale=rubric.parts["scale"], lowest=lowest, highest=highest, reply=quoted(row["reply"])
    )


_SHARED = ("culture", "question", "reference")


def quoted(text: str | None) -> str:
    """A text as one JSON string on one line; null where there is none."""
    return "null" if text is None else _BREAKS.sub(lambda found: f"\\u{ord(found[0]):04x}", prompts.quote(text))


def rating(text: str, rubric: str) -> float:
    """The rating that a judge's answer ends with.

    Raises:
        Unusable: it ends otherwise (no_rating), with no whole number (no_whole_rating), or with one that is not on the
            scale (off_the_scale).
    """
    said = _said(text, "Rating")
    if said is None:
        raise Unusable("no_rating", again=False)
    if not re.fullmatch(r"-?[0-9]{1,9}", said):
        raise Unusable("no_whole_rating", again=False)
    lowest, highest = SCALES[rubric]
    if not lowest <= int(said) <= highest:
        raise Unusable("off_the_scale", again=False)
    return float(said)


def verdict(text: str) -> float:
    """How the reply that was shown first fares: 1 where it is better, 0 where the other is, 0.5 where neither.

    Raises:
        Unusable: the answer does not end with a verdict (no_verdict).
    """
    said = _said(text, "Verdict")
    if said not in _VERDICTS:
        raise Unusable("no_verdict", again=False)
    return _VERDICTS[said]


def _said(text: str, what: str) -> str | None:
    """What stands in the brackets of the last line, which holds nothing else; None where it is another line."""
    found = _LAST.fullmatch(text.rstrip().rpartition("\n")[2].strip())
    return found["said"] if found and found["what"] == what else None


def used(rubrics: set[str], pairwise: bool, folders: str | None) -> dict[str, Prompt]:
    """Name -> prompt of all that a judge with these rubrics is asked with.

    Raises:
        InputError: a file of `folders` cannot be used.
    """
    needed = dict.fromkeys(name for rubric in sorted(rubrics) for name in names(rubric, pairwise))
    return {name: prompts.load(name, folders) for name in needed}
