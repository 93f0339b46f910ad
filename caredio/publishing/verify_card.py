"""Checks of a release's files and of its card: hashes, configs, and the numbers that the card gives."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from statistics import median
from typing import Any

import yaml

from caredio import disk, features
from caredio.publishing import cards, croissant, metadata, verify_readme
from caredio.publishing.record import RECORD, foreign
from caredio.publishing.released import Finding, Released, Unchecked, view

_LOWEST = ("score, lowest", "score, last")  # the latter in cards of older versions
_COLUMNS = ("train", "test", "candidates scored", "score, best", "score, median", *_LOWEST)


def files(given: Released) -> Iterator[Finding]:
    """Files that are missing, changed, unknown or unreadable."""
    yield from given.unread
    if not given.record:
        return
    listed = given.record.get("files") or {}
    every = (file for file in sorted(given.folder.rglob("*")) if file.is_file())
    there = {disk.name(file.relative_to(given.folder)): file for file in every}
    for name, sha in listed.items():
        if name not in there:
            yield Finding("files", name, f"is in {RECORD} and not there")
        elif hashlib.sha256(there[name].read_bytes()).hexdigest() != sha:
            yield Finding("files", name, f"has another hash than in {RECORD}")
    for name, sha in _described(given):
        if listed.get(name, sha) != sha:
            yield Finding("files", croissant.FILE, f"gives another hash of {name} than {RECORD}")
    for name in sorted(there.keys() - listed.keys() - {RECORD}):
        if not foreign(name):
            yield Finding("files", name, f"is there and not in {RECORD}")


def _described(given: Released) -> list[tuple[str, str]]:
    """(file, sha256) of what croissant.json describes."""
    file = given.folder / croissant.FILE
    page = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    return [(one["@id"], one["sha256"]) for one in page.get("distribution", ())]


def configs(given: Released) -> Iterator[Finding | Unchecked]:
    """Configs and splits that the card names and the folders lack, or the other way round."""
    if left := _no_card(given):
        yield left
        return
    head = _head(given)
    if head is None:
        yield Finding("configs", "README.md", "has no YAML head that can be read")
        return
    named = {
        (str(one.get("config_name")), str(file.get("split"))): str(file.get("path"))
        for one in head.get("configs") or ()
        for file in one.get("data_files") or ()
    }
    there = {(file.parent.name, file.stem) for file in given.folder.glob("*/[!.]*.parquet")}
    for config, split in sorted(named.keys() - there):
        yield Finding("configs", f"{config}/{split}", "is a config of the card, and its file is not there")
    for config, split in sorted(there - named.keys()):
        yield Finding("configs", f"{config}/{split}", "is there, and the card names no such config and split")
    for (config, split), path in named.items():
        if path != f"{config}/{split}.parquet" and (config, split) in there:
            yield Finding("configs", f"{config}/{split}", f"the card looks for it in {path}")


def numbers(given: Released) -> Iterator[Finding | Unchecked]:
    """Numbers of release.json and of the card that are not those of the tables, and versions that differ."""
    if left := _no_card(given):
        yield left
        return
    rows: dict[str, dict[str, int]] = {}
    for (config, split), table in given.tables.items():
        rows.setdefault(config, {})[split] = len(table)
    head = _head(given) or {}
    for place, counts in ((RECORD, given.record.get("rows") or {}), ("README.md, dataset_info", _dataset_info(head))):
        for config, splits in counts.items():
            for split, said in splits.items():
                if said != (there := rows.get(config, {}).get(split)) and there is not None:
                    yield Finding("card", f"{place}, {config}/{split}", f"{said} rows are given, {there} are there")
    ranked = sum(sum(splits.values()) for config, splits in rows.items() if config != "all" and not view(config))
    if (size := head.get("size_categories")) not in (None, [metadata.size_category(ranked)]):
        yield Finding("card", "README.md, size_categories", f"{size} is given, {ranked} ranked rows are there")
    yield from _sentences(given, ranked)
    yield from _table(given, rows)
    yield from verify_readme.versions(given)
    yield from verify_readme.sizes(given, head)
    for check in (verify_readme.example, verify_readme.best, verify_readme.sides):
        yield from check(given)


def _sentences(given: Released, ranked: int) -> Iterator[Finding]:
    """Numbers in the card's sentences that are not those of the tables, and a version that is not release.json's."""
    questions = {
        split: {name for _, its, table in given.of("") if its == split for name in table["question_id"][:]}
        for split in ("train", "test")
    }
    test, every = len(questions["test"]), len(questions["train"] | questions["test"])
    there = {
        r"^(\d+) conversations? that align ": (str(ranked),),
        r"^\d+ conversations? that align a language model to (\d+) cultures?:": (
            str(len({config for config, _, _ in given.of("")})),
        ),
        r"^- `<culture>`: the ranked selection. `test` holds (\d+) of the (\d+) ranked questions \((\S+) %\)": (
            str(test), str(every), f"{100 * test / max(every, 1):.3g}",
        ),
        r"^first = rows\.select\(range\((\d+)\)\)$": _first(given),
        r"^rows = load_dataset\(.*, revision=\"(.*)\"\)$": (str(given.record.get("version")),),
        r"(\d+) ranked rows? ha(?:s|ve) no pair": (str(_without_pair(given)),),
        r"^- Weights: .*; (\S+) to (\S+) in the ranked rows\.$": _weights(given),
    }  # fmt: skip
    for pattern, wanted in there.items():
        found = re.search(pattern, given.card or "", re.MULTILINE)
        if found and found.groups() != wanted:
            yield Finding("card", "README.md", f"{found[0].strip()!r}, where {' and '.join(wanted)} is there")


def _first(given: Released) -> tuple[str, ...]:
    """How many rows the card's example takes, of the config and split that it loads."""
    loaded = re.search(r'^rows = load_dataset\(.*, "([^"]*)", split="([^"]*)"', given.card or "", re.MULTILINE)
    table = given.tables.get((loaded[1], loaded[2])) if loaded else None
    return (str(min(cards.FIRST_ROWS, len(table))),) if table is not None else ()


def _without_pair(given: Released) -> int:
    """Ranked rows that no pair is of."""
    paired = {name for _, _, table in given.of("preference") for name in table["sample_id"][:]}
    return sum(name not in paired for _, _, table in given.of("") for name in table["sample_id"][:])


def _weights(given: Released) -> tuple[str, ...]:
    """The lowest and the highest weight of the ranked rows."""
    found = [weight for _, _, table in given.of("") for weight in features.weights(table)]
    return tuple(f"{one:.6g}" for one in (min(found), max(found))) if found else ()


def _table(given: Released, rows: dict[str, dict[str, int]]) -> Iterator[Finding]:
    """Numbers of the card's table of cultures that are not those of their tables."""
    said = _cultures(given.card or "")
    scores: dict[str, list[float]] = {}
    for config, _, table in given.of(""):
        scores.setdefault(config, []).extend(table["score"][:])
    if missing := sorted(scores.keys() - said.keys()):
        yield Finding("card", "README.md", f"its table of cultures has no line on {', '.join(missing)}")
    for config, found in scores.items():
        there: dict[str, Any] = {split: rows[config].get(split, 0) for split in ("train", "test")}
        there["candidates scored"] = sum(rows.get(f"{config}-pool", {}).values())
        there |= {"score, best": max(found), "score, median": median(found)}
        there |= dict.fromkeys(_LOWEST, min(found))
        for column, cell in said.get(config, {}).items():
            number = there[column]
            text = str(number) if isinstance(number, int) else f"{number:.3f}"
            if cell.replace(",", "") != text:
                yield Finding("card", f"README.md, {config}", f"{column} is given as {cell}, the tables have {text}")


def _cultures(card: str) -> dict[str, dict[str, str]]:
    """Slug -> column -> cell of the card's table of cultures, of the columns whose numbers are known."""
    found: dict[str, dict[str, str]] = {}
    names: list[str] = []
    for line in card.splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")] if line.startswith("|") else []
        if cells and cells[0] == "culture" and "train" in cells:
            names = cells
        elif not cells:
            names = []
        elif names and (slug := re.search(r"\(`([a-z][a-z0-9_]*)`\)$", cells[0])):
            of = dict(zip(names, cells, strict=False))
            found[slug[1]] = {name: of[name] for name in _COLUMNS if name in of}
    return found


def _dataset_info(head: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Config -> split -> rows of the card's dataset_info, where it has one."""
    info = head.get("dataset_info") or []
    return {
        str(one.get("config_name", "default")): {
            str(split.get("name")): split.get("num_examples") for split in one.get("splits") or ()
        }
        for one in (info if isinstance(info, list) else [info])
    }


def _no_card(given: Released) -> Unchecked | None:
    """Why there is no card to look at."""
    return None if given.record else Unchecked("a run has no card")


def _head(given: Released) -> dict[str, Any] | None:
    """The card's YAML head; None where there is none, or it cannot be read."""
    parts = (given.card or "").split("---\n", 2)
    try:
        head = yaml.safe_load(parts[1]) if len(parts) == 3 and not parts[0] else None
    except yaml.YAMLError:
        return None
    return head if isinstance(head, dict) else None
