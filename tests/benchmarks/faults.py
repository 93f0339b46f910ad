"""Rows answered under fire: 5 % 429, 3 % 500, 2 % dropped connections, 2 % invalid JSON, 1 % hangs.

    python tests/benchmarks/faults.py [--rows 3000] [--latency 0.5]

Every row must end answered or with a reason, and what was answered must be what the endpoint says without faults.
"""

from __future__ import annotations

import argparse
import logging
import tempfile
import time
from pathlib import Path

from datasets import Dataset, Features, Value
from endpoint import counts, served

from caredio.llm.model import connect
from caredio.llm.rows import ask
from caredio.llm.settings import Endpoint
from caredio.llm.spec import Spec

SCHEMA = {
    "type": "object",
    "properties": {"answer": {"type": "string"}},
    "required": ["answer"],
    "additionalProperties": False,
}


def answers(url: str, rows: int, folder: Path, **endpoint: float) -> Dataset:
    """`rows` questions asked of the endpoint at `url`, stored in `folder`."""
    model = connect(Spec(model="m"), Endpoint(base_url=url, **endpoint), folder / "answers.sqlite")  # type: ignore[arg-type]
    return ask(
        Dataset.from_dict({"question": [f"Question {row}?" for row in range(rows)]}),
        model,
        prompt=lambda row: [{"role": "user", "content": row["question"]}],
        parse=lambda content, row, answer: {"response": content["answer"]},
        columns=Features({"response": Value("string")}),
        schema=SCHEMA,
        desc="asked",
    )


def both(rows: int, latency: float, **endpoint: float) -> dict[str, float]:
    """How rows fared with faults against a run without."""
    seconds, tables, asked = [], [], []
    for faults in (False, True):
        with served(latency, faults) as url, tempfile.TemporaryDirectory() as folder:
            started = time.perf_counter()
            tables.append(answers(url, rows, Path(folder), **endpoint))
            seconds.append(time.perf_counter() - started)
            asked.append(counts(url)["requests"])
    calm, odd = ([*zip(table["response"], table["drop_reason"], strict=True)] for table in tables)
    told = {
        "rows": rows,
        "answered": sum(answer is not None for answer, _ in odd),
        "with a reason": sum(answer is None and bool(reason) for answer, reason in odd),
        "lost": sum(answer is None and not reason for answer, reason in odd),
        "unlike the calm run": sum(a[0] is not None and a != b for a, b in zip(odd, calm, strict=True)),
    }
    return {**told, "requests": asked[1], "calm seconds": round(seconds[0], 1), "seconds": round(seconds[1], 1)}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=3000)
    parser.add_argument("--latency", type=float, default=0.5)
    given = parser.parse_args()
    logging.disable(logging.CRITICAL)
    for name, count in both(given.rows, given.latency, concurrency=256, timeout=5.0).items():
        print(f"{name:<22}{count:>10}")
