"""A row whole: its text beside other cultures' answers, its scores, how it came about, and what is near it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from caredio import features, reasons
from caredio.app.markup import badge, link, number, prose, section, table, text
from caredio.app.shelf import Shelf

MATES = 8  # of a cluster, that are listed
_SCORES = {
    "rank": "place within its culture, and of a release within train or test; 1 is best",
    "score": "what the rank follows, of the two below",
    "representativeness": "how central it is to its culture",
    "distinctiveness": "how far it is from what other cultures answer",
    "compared": "other cultures that it was compared with",
    "cluster_size": "weight of the samples that are like it, itself included",
    "weight": "people, or draws, that gave it",
    "round": "round of optimisation that wrote it; 0 is none",
}
_COMPARED = ("score", "representativeness", "distinctiveness")  # with the culture's other rows
_REVIEWED = ("truth", "answering", "fairness", "recognition")
_MORE = ("sample_id", "question_id", "language", "topic_id", "question_type", "generator", "model_revision")


def opened(shelf: Shelf, number_of_row: int) -> str:
    """The HTML of a row."""
    row = shelf.row(number_of_row)
    left = f"{_heading(row)}{section('Question', prose(row['question'], row['language']))}"
    parts = [
        left,
        section("Answer", prose(row["response"], row["language"])),
        _scores(shelf, row),
        _beside(shelf, row),
        _before(row),
        _history(row),
        _review(row),
        _left_out(shelf, row),
        _mates(shelf, row),
        _more(shelf, row),
    ]
    back = '<button type="button" class="to-list">Back to the list</button>'
    return f'<article class="opened">{back}{"".join(parts)}</article>'


def standing(row: Mapping[str, Any]) -> str:
    """Where a row stands, in a badge: its rank, or why it was dropped."""
    if row["stage"] == "ranked":
        return badge(placed(row), "good")
    if row["drop_reason"]:
        return badge(row["drop_reason"], "dropped", reasons.meaning(row["drop_reason"]))
    return badge("not ranked yet")


def placed(row: Mapping[str, Any]) -> str:
    """The rank of a row, which a release counts within train and test."""
    split = "test " if row["split"] == "test" else ""
    return f"{split}rank {number(row['rank'])}" if row["rank"] else f"{split}ranked"


def _heading(row: Mapping[str, Any]) -> str:
    parts = [badge(row["culture"] or "no culture", "culture"), standing(row)]
    parts += [badge(row[name]) for name in ("topic_id", "level") if row[name]]
    why = ""
    if row["drop_reason"]:
        meaning = reasons.meaning(row["drop_reason"])
        why = f"Dropped in stage {row['stage']}{f': {meaning}' if meaning else ''}."
    unusable = section("What the model wrote", prose(row["unusable"])) if row.get("unusable") else ""
    return f"<p>{' '.join(parts)}</p>" + (f'<p class="note">{text(why)}</p>' if why else "") + unusable


def _scores(shelf: Shelf, row: Mapping[str, Any]) -> str:
    """Each score with its meaning, and how many of the culture's rows lie below it."""
    scored = shelf.record["stages"].get("scored", {}) if shelf.is_run else {}
    settings = scored.get("made_from", {}).get("config") or {}
    lines = []
    for name, meaning in _SCORES.items():
        if row.get(name) is not None:
            below = _below(shelf, row, name) if name in _COMPARED else ""
            by = f", by {settings[name]}" if name in _COMPARED[1:] and name in settings else ""
            said = "; ".join(filter(None, (f"{meaning}{by}", below)))
            lines.append([text(name.replace("_", " ")), f"<b>{number(row[name])}</b>", text(said)])
    return section("Scores", table((), lines, "scores"))


def _below(shelf: Shelf, row: Mapping[str, Any], name: str) -> str:
    values = shelf.rows[name].to_numpy()[shelf.of(culture=row["culture"])].astype(float)
    values = values[~np.isnan(values)]
    return f"above {100 * (values < row[name]).mean():.0f} % of its culture's rows" if len(values) > 1 else ""


def _beside(shelf: Shelf, row: Mapping[str, Any]) -> str:
    """What other cultures answered to the question, and what else its own did."""
    named = _keys(shelf, row)
    answers: dict[str, list[str]] = defaultdict(list)
    for other in sorted(row.get("others") or (), key=lambda one: (not one["shown"], one["culture"] or "")):
        shown = badge("shown to the model") if other["shown"] else ""
        answers[other["culture"]].append(prose(other["response"]) + shown)
    for culture in named:  # rows of the question that are not among them
        if culture not in answers and culture != row["culture"]:
            answers[culture] = [prose(response) for _, response in named[culture][:3]]
    rows = []
    for culture, cells in answers.items():
        keys = named.get(culture, ())
        links = " ".join(link(key, "open") for key, _ in keys[:1])
        rows.append([f"<b>{text(culture)}</b> {links}", "".join(cells)])
    own = [prose(one["response"]) + (badge(one["persona"]) if one["persona"] else "") for one in row.get("panel") or ()]
    others = section("Other cultures answer", table(["culture", "answer"], rows, "beside"))
    return others + section(f"Others of {row['culture']} answer", "".join(own), fold=len(own) > 3)


def _keys(shelf: Shelf, row: Mapping[str, Any]) -> dict[str, list[tuple[str, str]]]:
    """Culture -> (key, response) of the candidates for the same question, best first."""
    found: dict[str, list[tuple[str, str]]] = defaultdict(list)
    if row["question_id"] is not None:
        same = shelf.of(question_id=row["question_id"])
        for other in shelf.cells(same, "culture", "key", "response", "stage"):
            if other["stage"] in ("ranked", "scored", "candidates"):
                found[other["culture"]].append((other["key"], other["response"]))
    return found


def _before(row: Mapping[str, Any]) -> str:
    """How the text came about: before adaptation, before contrast, and what the model thought and was shown."""
    parts = ""
    if row.get("universal_question") not in (None, row["question"]):
        parts += section("Before it was adapted", prose(row["universal_question"]))
    if row.get("isolated_response") not in (None, row["response"]):
        parts += section("Answer before the others' were seen", prose(row["isolated_response"], row["language"]))
    if row.get("reflection"):
        parts += section("What the model thought", prose(row["reflection"]))
    if row.get("traits"):
        items = "".join(f'<li dir="auto">{text(trait)}</li>' for trait in row["traits"])
        parts += section("What the comparison says of the culture", f"<ul>{items}</ul>")
    if row.get("evidence"):
        shown = ", ".join(f"{one['source']} {one['evidence_id']}" for one in row["evidence"])
        parts += section("Evidence shown", f"<p>{text(shown)}</p>")
    return section("How it came about", parts, fold=True)


def _history(row: Mapping[str, Any]) -> str:
    """The rounds of the optimisation that were accepted."""
    rows = [
        [number(step["round"]), number(step["objective"]), prose(step["question"]) + prose(step["response"])]
        for step in row.get("history") or ()
    ]
    return section("Rounds of optimisation", table(["round", "objective", "text"], rows, "history"))


def _review(row: Mapping[str, Any]) -> str:
    """What the reviewer gave, with its reasons."""
    reasons = {one["criterion"]: one["reason"] for one in row.get("review") or ()}
    rows = [
        [text(name), f"<b>{number(row[name])}</b> of 5", text(features.COLUMNS[name].meaning), prose(reasons.get(name))]
        for name in _REVIEWED
        if row.get(name) is not None
    ]
    guessed = row.get("recognised_as")
    after = f"<p>The reviewer guessed: {text(guessed)}</p>" if guessed else ""
    return section("Review", table(["", "", "what it means", "reason"], rows, "review") + after)


def _left_out(shelf: Shelf, row: Mapping[str, Any]) -> str:
    """Answers to the question that were dropped on the way, and why."""
    if row["question_id"] is None:
        return ""
    rows = []
    for place in shelf.of(question_id=row["question_id"]):
        (short,) = shelf.cells([place], "key", "stage", "drop_reason", "culture")
        if short["stage"] in ("ranked", "scored", "candidates") or short["key"] == row["key"]:
            continue
        whole = shelf.row(int(place))
        if whole.get("target") in (None, row["culture"]):
            said = prose(whole["response"] or whole.get("unusable") or whole["question"])
            rows.append(
                [
                    text(short["culture"]),
                    badge(short["drop_reason"], "dropped", reasons.meaning(short["drop_reason"])),
                    text(short["stage"]),
                    said,
                ]
            )
    note = "A judge reads question and answer, not who speaks; checks read the text."
    return section("Dropped on the way", table(["culture", "reason", "stage", "text"], rows[:20]), fold=True, note=note)


def _mates(shelf: Shelf, row: Mapping[str, Any]) -> str:
    """Rows of the same cluster."""
    if row["cluster"] is None:
        return ""
    places = shelf.of(culture=row["culture"], cluster=row["cluster"])
    mates = [
        one
        for one in shelf.cells(
            places, "key", "question", "response", "is_center", "stage", "rank", "split", "drop_reason"
        )
        if one["key"] != row["key"]
    ]
    rows = [
        [link(one["key"], "open"), standing(one), prose(one["question"]) + prose(one["response"])]
        for one in mates[:MATES]
    ]
    rest = f" {len(mates) - MATES:,} more are not listed." if len(mates) > MATES else ""
    centre = "This row stands for the cluster." if row["is_center"] else ""
    note = f"Samples most like this one, of which one is ranked. {centre}{rest}"
    return section("Its cluster", table((), rows, "mates"), note=note)


def _more(shelf: Shelf, row: Mapping[str, Any]) -> str:
    """Names and hashes, and the command that shows what the model was asked."""
    rows: list[Sequence[str]] = [
        [text(name), f"<code>{text(row[name])}</code>", text(features.COLUMNS[name].meaning)]
        for name in _MORE
        if row.get(name) is not None
    ]
    asked = ""
    if shelf.is_run and "adapted" in shelf.record["stages"] and row["sample_id"]:
        command = f"caredio answers --out {shelf.name} --sample {row['sample_id']}"
        asked = f"<p>What the model was asked: <code>{text(command)}</code></p>"
    return section("Names and hashes", table((), rows) + asked, fold=True)
