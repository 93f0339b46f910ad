"""`caredio quickstart --annotations`: what people of 16 regions answered in a clone of BLEnD, ranked and released.

No model writes here. It is `caredio select` on `blend.whole`, and `caredio publish` with the source's licence and whom
it asks to name.
"""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from caredio import api, blend, cultures, disk, preflight
from caredio.api import SelectOptions
from caredio.runs import Run

OUT = Path("runs/blend-regions")
TABLE = "blend.parquet"
ATTRIBUTION = f"{blend.SOURCE}; changed: one English wording of each answer that two annotators or more gave, ranked"
RANKING: SelectOptions = {"budget": 200, "weight_column": "annotators"}
_SHOWN = 3  # rows of a region on the screen


def release(annotations: Path, out: Path, push: str, version: str) -> Path:
    """Rank the annotations into the run folder `out`, release them, and print the best rows of each region.

    Raises:
        CaredioError: one sentence on what to correct.
    """
    if push:
        preflight.pushing(push, out / "release", version)
    table = blend.whole(annotations)
    with disk.writing(out):
        out.mkdir(parents=True, exist_ok=True)
    with disk.replacing(out / TABLE) as content:
        pq.write_table(table, content, compression="zstd")
    names = named(out)
    print(_opening(table), flush=True)
    made = api.select(out / TABLE, out=out, **RANKING)
    folder = api.publish(
        out,
        push=push or None,
        version=version,
        license=blend.LICENSE,
        attribution=ATTRIBUTION,
    )
    print(best_rows(made.ranked, names))
    print(_counts(made.ranked, made.pool, made.preference, names))
    print(_places(out, folder))
    return folder


def named(out: Path) -> dict[str, str]:
    """Region -> its name, which the run records, so that a later command on it says the same.

    A run that has cultures of its own keeps them: it is another's, or knows the regions.
    """
    regions = {slug: culture for slug, culture in cultures.load(blend.CULTURES).items() if slug in blend.NAMES}
    with Run(out) as run:
        if not run.used.get("cultures"):
            run.use(regions)
    return {slug: culture.name for slug, culture in regions.items()}


def best_rows(ranked: Iterable[Mapping[str, Any]], names: Mapping[str, str]) -> str:
    """The first rows of each region."""
    lines: list[str] = []
    for row in sorted(ranked, key=lambda row: (row["culture"], row["rank"])):
        if row["rank"] > _SHOWN:
            continue
        if row["rank"] == 1:
            lines += ["", names[row["culture"]]]
        people = f"{row['weight']:.0f} people"
        lines.append(f"{row['rank']:>3}. {row['question']} {row['response']} ({people})")
    return "\n".join(lines)


def _counts(ranked: Any, pool: Any, pairs: Any, names: Mapping[str, str]) -> str:
    """Rows of each region: what was compared, what was ranked, and the pairs made of it."""
    counts = [Counter(table["culture"][:]) for table in (pool, ranked, pairs)]
    lines = ["", f"{'region':<18}{'answers':>9}{'ranked':>8}{'pairs':>7}"]
    lines += [
        f"{names[culture]:<18}{counts[0][culture]:>9,}{counts[1][culture]:>8,}{counts[2][culture]:>7,}"
        for culture in sorted(counts[0])
    ]
    return "\n".join(lines)


def _opening(table: pa.Table) -> str:
    answers = sum(reason not in blend.WORDINGS for reason in table["drop_reason"].to_pylist())
    regions = len(set(table["culture"].to_pylist()))
    text = (
        f"Ranking {answers:,} short answers that people of {regions} regions gave to the same everyday questions. No"
        f" model wrote them. Source: {ATTRIBUTION}."
    )
    return textwrap.fill(text, 100)


def _places(out: Path, folder: Path) -> str:
    return f"""
Where it lies
  {folder}/     the dataset with its card and licence: load_dataset("{folder}", "west_java", split="train")
  {out}/{TABLE}     the answers that were ranked, and those that were left out, with their drop_reason"""
