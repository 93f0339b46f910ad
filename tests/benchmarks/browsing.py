"""How quick the app's page is with 57,000 rows: to open a run, search it, list a page, read a row, compute the map.

    python tests/benchmarks/browsing.py [--rows 57000]

The rows are drawn by seed, with fourteen other cultures' answers each; no model is asked.
"""

import argparse
import json
import random
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from caredio import features
from caredio.app import browse, shelf
from caredio.app import map as maps
from caredio.app.browse import Asked
from caredio.app.opened import opened

CULTURES, TOPICS, DIM = 15, 38, 384
WORDS = [f"word{number}" for number in range(5_000)]
PART = 10_000


def rows(start: int, stop: int, draw: random.Random):
    """Rows of a pool, with answers of sixty words."""
    for number in range(start, stop):
        culture, slot = f"culture_{number % CULTURES}", number // CULTURES
        said = [" ".join(draw.choices(WORDS, k=60)) for _ in range(3)]
        yield {
            "sample_id": f"{number:016x}",
            "question_id": f"q{slot}",
            "culture": culture,
            "topic_id": f"topic_{slot % TOPICS}",
            "level": "customs",
            "question": " ".join(draw.choices(WORDS, k=15)),
            "response": said[0],
            "isolated_response": said[1],
            "others": [
                {
                    "culture": f"culture_{other}",
                    "sample_id": f"{other}",
                    "response": said[other % 3],
                    "shown": other < 3,
                }
                for other in range(CULTURES - 1)
            ],
            "cluster": slot % 400,
            "representativeness": draw.random(),
            "distinctiveness": draw.random(),
            "score": draw.random(),
            **({"rank": slot + 1} if slot < 200 else {"drop_reason": "over_budget"}),
        }


def made(folder: Path, count: int) -> None:
    """A run folder with the pool and its vectors."""
    draw = random.Random(0)
    for name in ("scored", "vectors"):
        (folder / name).mkdir()
    schema = features.SCORED.arrow_schema
    with pq.ParquetWriter(folder / "scored" / "scored.parquet", schema) as file:
        for start in range(0, count, PART):
            part = list(rows(start, min(start + PART, count), draw))
            cells = [{name: row.get(name) for name in schema.names} for row in part]
            file.write_table(pa.Table.from_pylist(cells, schema=schema))
    flat = pa.array(np.random.default_rng(0).normal(size=count * DIM).astype(np.float32))
    vectors = pa.FixedSizeListArray.from_arrays(flat, DIM)
    names = [f"{number:016x}" for number in range(count)]
    pq.write_table(pa.table({"sample_id": names, "sample_embedding": vectors}), folder / "vectors" / "vectors.parquet")
    (folder / "run.json").write_text(json.dumps({"stages": {}}))


def timed(what: str, work):
    """What `work` gives; prints its time and the memory so far."""
    started, used = time.perf_counter(), time.process_time()
    found = work()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{what:34} {time.perf_counter() - started:7.3f} s, {time.process_time() - used:7.3f} s CPU, {peak:.2f} GiB")
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=57_000)
    count = parser.parse_args().rows
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        made(folder, count)
        print(f"{count:,} rows, {sum(file.stat().st_size for file in folder.rglob('*.parquet')) / 2**20:,.0f} MiB")
        run = timed("open", lambda: shelf.open(folder))
        for what in ("first search", "search"):
            places = timed(what, lambda: browse.found(run, Asked(q="word42 word7")))
        places = timed("search and filter", lambda: browse.found(run, Asked(q="word42", culture="culture_3")))
        timed("all rows in another order", lambda: browse.found(run, Asked(order="score")))
        timed("list fifty", lambda: browse.listed(run, places, Asked()))
        for place in (0, count // 2, count - 1):
            timed(f"read row {place}", lambda place=place: opened(run, place))
        timed("compute the map", lambda: maps.drawn(run))


if __name__ == "__main__":
    main()
