"""Checks of what a dataset's card shows of its tables: the example, the best rows, the pairs, sizes, and versions."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from statistics import median
from typing import Any

import yaml

from caredio import disk
from caredio.markdown import code
from caredio.publishing import cards, citation, croissant
from caredio.publishing.record import RECORD
from caredio.publishing.released import Finding, Released
from caredio.training import style

_NAMED = re.compile(r"^\| (.+) \(`([a-z][a-z0-9_]*)`\) \|", re.MULTILINE)  # of the table of cultures
_BEST = "| culture | split | rank | question | answer | another culture's answer |"
_SIDES = "| culture | pairs | characters, chosen / rejected (medians) |"
_EXAMPLE = re.compile(r"^```json\n(.*?)\n```$", re.MULTILINE | re.DOTALL)


def versions(given: Released) -> Iterator[Finding]:
    """Versions in the card's citation, CITATION.cff and croissant.json that are not release.json's."""
    version = str(given.record.get("version"))
    said = [("README.md, citation", found) for found in re.findall(r"^  version = \{(.*)\}$", given.card or "", re.M)]
    if (file := given.folder / citation.FILE).is_file():
        said.append((citation.FILE, str(_mapping(yaml.safe_load(file.read_text(encoding="utf-8"))).get("version"))))
    if (file := given.folder / croissant.FILE).is_file():
        page = _mapping(json.loads(file.read_text(encoding="utf-8")))
        said.append((croissant.FILE, f"v{page.get('version')}"))
    for place, found in said:
        if found != version:
            yield Finding("card", place, f"version {found} is given, {RECORD} has {version}")


def sizes(given: Released, head: dict[str, Any]) -> Iterator[Finding]:
    """Download sizes of the card's dataset_info that are not those of the files."""
    info = head.get("dataset_info") or []
    for one in info if isinstance(info, list) else [info]:
        config, said = str(one.get("config_name", "default")), one.get("download_size")
        there = sum(file.stat().st_size for file in disk.named(given.folder, config).glob("[!.]*.parquet"))
        if said not in (None, there):
            yield Finding("card", f"README.md, dataset_info, {config}", f"{said} bytes are given, {there} are there")


def example(given: Released) -> Iterator[Finding]:
    """The row that the card shows, where it is not the first of `all`."""
    found = _EXAMPLE.search(given.card or "")
    table = given.tables.get(("all", "train"), given.tables.get(("all", "test")))
    if found and table is not None and len(table):
        said, row = json.loads(found[1]), table[0]
        if wrong := [name for name, cell in said.items() if row.get(name) != cell]:
            yield Finding("card", "README.md", f"its example has another {wrong[0]} than the first row of all")


def best(given: Released) -> Iterator[Finding]:
    """Lines of the card's table of best rows that are not the first rows of a culture's splits."""
    lines = _table(given.card or "", _BEST)
    if lines is None:
        return
    names = {slug: shown for shown, slug in _NAMED.findall(given.card or "")}
    there: Counter[str] = Counter()
    taken: Counter[str] = Counter()
    for config, _, table in given.of(""):
        there[config] += len(table)
    left = list(lines)
    for config, split, table in given.of(""):
        for row in table.select(range(min(cards.SAMPLES, len(table)))).to_list():
            texts = [code(cards.clipped(row[name])) for name in ("question", "response")]
            cells = [names.get(config, ""), split, str(row["rank"]), *texts]
            other = code(cards.clipped(row["others"][0]["response"])) if row["others"] else "-"
            start = f"| {' | '.join(cells)} | "
            found = next((line for line in left if line.startswith(start) and line.endswith(f"{other} |")), None)
            if found is None:
                break  # the card may show fewer of this split
            left.remove(found)
            taken[config] += 1
    for line in left:
        yield Finding("card", "README.md", f"{line!r} is shown among the best rows, and is none of them")
    for config, count in sorted(there.items()):
        if not left and taken[config] != min(cards.SAMPLES, count):
            yield Finding("card", "README.md", f"shows {taken[config]} best rows of {config}")


def sides(given: Released) -> Iterator[Finding]:
    """Pairs and median lengths of their sides in the card's table, where the tables have others."""
    lines = _table(given.card or "", _SIDES)
    if lines is None:
        return
    found: dict[str, list[tuple[int, int]]] = {}
    for config, _, table in given.of("preference"):
        texts = ([len(style.text(said)) for said in table[name][:]] for name in ("chosen", "rejected"))
        found.setdefault(config.partition("-")[0], []).extend(zip(*texts, strict=True))
    wanted = {
        slug: f"| `{slug}` | {len(pairs)} | {' / '.join(f'{median(side):g}' for side in zip(*pairs, strict=True))} | "
        for slug, pairs in found.items()
        if pairs
    }
    for slug, line in wanted.items():
        if not any(one.startswith(line) for one in lines):
            said = f"its table of pairs has no line on {slug} that begins with {line.strip()!r}, as the tables have it"
            yield Finding("card", "README.md", said)
    if len(lines) != len(wanted):
        said = f"its table of pairs has {len(lines)} lines, {len(wanted)} cultures have pairs"
        yield Finding("card", "README.md", said)


def _table(page: str, head: str) -> list[str] | None:
    """The lines of the table with such a head; None where there is none."""
    lines = iter(page.splitlines())
    if not any(line.startswith(head) for line in lines):
        return None
    next(lines, None)  # the rule below the head
    found = []
    for line in lines:
        if not line.startswith("|"):
            break
        found.append(line)
    return found


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
