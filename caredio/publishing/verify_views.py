"""Checks of the views that a release makes of its ranked rows: `all`, the pairs, and the pairs' sides one by one."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any

from datasets import Dataset

from caredio.publishing.released import Finding, Released, Unchecked, view
from caredio.publishing.verify_rows import EVERYONE, cells_of, counted, folded, says, sound
from caredio.training import style


def views(given: Released) -> Iterator[Finding | Unchecked]:
    """Rows that one config has and another lacks, and pairs that prefer nothing."""
    own: dict[str, set[str]] = defaultdict(set)
    for _, split, table in sound(given, ""):
        own[split].update(table["sample_id"][:])
    for (config, split), table in given.tables.items():
        if config == EVERYONE and (wrong := own[split] ^ set(table["sample_id"][:])):
            said = f"{len(wrong)} rows are not both here and in their culture's config, such as {min(wrong)}"
            yield Finding("views", f"{config}/{split}", said)
    texts = {row[0]: row[1:] for _, _, table in sound(given, "") for row in zip(*_texts(table), strict=True)}
    for config, split, table in sound(given, "preference", "unpaired"):
        names = table["sample_id"][:]
        alone = [row for row, name in enumerate(names) if name not in own[split]]
        yield from counted("views", config, split, alone, names, f"is no ranked row of {split}")
        chosen = table["chosen" if view(config) == "preference" else "completion"][:]
        right = table["label"][:] if view(config) == "unpaired" else [True] * len(names)
        sides = zip(names, table["prompt"][:], chosen, right, strict=True)
        other = [row for row, cells in enumerate(sides) if cells[0] in texts and not _of_row(*cells, texts)]
        yield from counted("views", config, split, other, names, "has other words than its ranked row")
        if view(config) == "preference":
            sides = zip(
                table["chosen"][:], table["rejected"][:], table["culture"][:], table["rejected_culture"][:], strict=True
            )
            same = [row for row, cells in enumerate(sides) if _prefers_nothing(*cells)]
            yield from counted("views", config, split, same, names, "rejects what it chooses, or its own culture")
    yield from _one_by_one(given)
    yield from _interleaved(given)
    yield from _rejected(given)


def _one_by_one(given: Released) -> Iterator[Finding]:
    """Pairs and their sides one by one that do not say the same."""
    pairs = {(config.partition("-")[0], split): table for config, split, table in sound(given, "preference")}
    for config, split, table in sound(given, "unpaired"):
        of = pairs.get((config.partition("-")[0], split))
        if of is None:
            continue
        single = zip(table["sample_id"][:], table["label"][:], map(style.text, table["completion"][:]), strict=True)
        sides = {
            (name, label, style.text(said))
            for label, column in ((True, "chosen"), (False, "rejected"))
            for name, said in zip(of["sample_id"][:], of[column][:], strict=True)
        }
        if wrong := sides ^ set(single):
            said = (
                f"{len(wrong)} sides are not both here and in the pairs, such as of {min(name for name, *_ in wrong)}"
            )
            yield Finding("views", f"{config}/{split}", said)


def _interleaved(given: Released) -> Iterator[Finding]:
    """Rows of `all` that do not come by rank and, of equal ranks, by culture, or whose first line is another culture's.

    What a culture is called is not known here: all of its rows have one line, and no other culture's rows have it.
    """
    for config, split, table in sound(given, "", everyone=True):
        if config != EVERYONE:
            continue
        names = table["sample_id"]
        keys = list(zip(table["rank"][:], table["culture"][:], strict=True))
        if keys != sorted(keys):
            row = next(row for row in range(1, len(keys)) if keys[row] < keys[row - 1])
            yield Finding("views", f"{config}/{split}, row {row + 1}", "does not come in turn, by rank and culture")
        cells = cells_of(table, ["culture", "question", "prompt"])
        lines = [(culture, style.text(prompt[-1:]).removesuffix(question)) for culture, question, prompt in cells]
        usual: dict[str, str] = {}
        whose: dict[str, str] = {}
        for (culture, line), _ in Counter(lines).most_common():
            if culture not in usual:
                usual[culture] = line
                whose.setdefault(line, culture)
        wrong = [
            row
            for row, (culture, line) in enumerate(lines)
            if not line or usual[culture] != line or whose[line] != culture
        ]
        said = "does not name its culture before the question as the other rows of it do"
        yield from counted("views", config, split, wrong, names, said)


def _rejected(given: Released) -> Iterator[Finding | Unchecked]:
    """Pairs that reject what nobody of the rejected culture answered to the question, in any row of the pools."""
    if not any(True for _ in sound(given, "pool")):
        yield Unchecked("without pools nothing says who gave the rejected answers")
        return
    said: set[tuple[str, str, str]] = set()
    for _, _, table in sound(given, "pool"):
        for culture, question, response, others in cells_of(table, ["culture", "question_id", "response", "others"]):
            said.add((culture, question, response))
            said.update((one["culture"], question, one["response"]) for one in others or ())
    answered = {(culture, question) for culture, question, _ in said}
    for config, split, table in sound(given, "preference"):
        cells = list(cells_of(table, ["rejected_culture", "question_id", "rejected"]))
        nobody = [row for row, (*key, _) in enumerate(cells) if tuple(key) not in answered]
        others = [row for row, (*key, text) in enumerate(cells) if (*key, style.text(text)) not in said]
        names = table["sample_id"]
        yield from counted("views", config, split, nobody, names, "rejects a culture that did not answer its question")
        if given.contrasted is False:
            rest = sorted(set(others) - set(nobody))
            yield from counted("views", config, split, rest, names, "rejects what no row of that culture answers")
        elif others:
            why = "were given in contrast" if given.contrasted else "may have been given in contrast"
            yield Unchecked(f"{len(others)} rejected answers of {config}/{split} {why}, and are taken as they stand")


def _of_row(
    name: str, prompt: list[dict[str, str]], said: list[dict[str, str]], chosen: bool, texts: dict[str, tuple[str, ...]]
) -> bool:
    """Whether a side asks the question of its ranked row and, where it was chosen, gives its response.

    A row that a model wrote is chosen by what it said before it saw others' answers, or by what it said after.
    """
    question, *responses = texts[name]
    given = [one for one in responses if one is not None] if chosen else [style.text(said)]
    return any(says(question, one, prompt, said) for one in given)


def _texts(table: Dataset) -> list[list[str]]:
    return [table[name][:] for name in ("sample_id", "question", "response", "isolated_response")]


def _prefers_nothing(chosen: list[Any], rejected: list[Any], culture: str, rejected_culture: str | None) -> bool:
    """Whether a pair's sides say the same, or are of one culture."""
    return folded(style.text(chosen)) == folded(style.text(rejected)) or culture == rejected_culture
