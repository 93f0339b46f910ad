"""A release of CARDSet's size on a local Hub: published, one culture loaded by its tag, and streamed.

    python tests/benchmarks/releasing.py                       15 cultures, pools of 3,800 rows
    python tests/benchmarks/releasing.py --questions 400       a smaller one

Beside it the same configs by `push_to_hub` of datasets, one after another. Every command is a process of its own with a
cache of its own; the Hub of the tests answers from this process, on loopback, so bytes are what a network would carry
and seconds leave the network out.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import textwrap
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
from hub_server import Answer, Call, HubServer
from selecting import THETA, table

NAME, TAG, CULTURE = "caredio/cardset", "v1.0.0", "culture01"
FIRST = 200  # rows that are streamed
_USED = """
import re, resource
used = resource.getrusage(resource.RUSAGE_SELF)
print(int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) // 1024, used.ru_utime + used.ru_stime)
"""
_SELECT = """
import caredio
caredio.select({table!r}, out={run!r}, embedder="given", theta={theta}, budget=1000)
"""
_PUBLISH = """
from caredio import cli
cli.main(["publish", "--out", {run!r}, "--version", {tag!r}, "--push", {name!r}, "--license", "cc-by-4.0",
          "--quiet", "--yes"])
"""
_PUSH = """
import yaml
from pathlib import Path
from datasets import load_dataset
head = yaml.safe_load(Path({release!r}, "README.md").read_text().split("---")[1])
for config in head["configs"]:
    load_dataset({release!r}, config["config_name"]).push_to_hub({name!r}, config_name=config["config_name"])
"""
_LOAD = """
from datasets import load_dataset
rows = load_dataset({name!r}, {config!r}, split="train", revision={tag!r})
assert len(rows) and rows[0]["culture"] == {culture!r}
"""
# A thread of datasets that still reads ahead as Python ends can abort the process: it is left without waiting.
_STREAM = """
import atexit, os, sys
from itertools import islice
from datasets import load_dataset
atexit.register(lambda: (sys.stdout.flush(), os._exit(0)))
rows = load_dataset({name!r}, {config!r}, split="train", revision={tag!r}, streaming=True)
assert len(list(islice(rows, {first}))) == {first}
"""


class Counting(HubServer):
    """The Hub of the tests, which counts what comes and goes."""

    up = down = asked = 0

    def honest_answer(self, call: Call) -> Answer:
        answer = super().honest_answer(call)
        self.up, self.asked = self.up + len(call.body), self.asked + 1
        self.down += len(answer.body) if call.method != "HEAD" else 0
        return answer


def step(hub: Counting, folder: Path, script: str, **values: Any) -> dict[str, float]:
    """Seconds, those of the CPU, MiB, requests and MB of a script in a process and a cache of its own."""
    before = hub.up, hub.down, hub.asked
    with tempfile.TemporaryDirectory(dir=folder) as home:
        environment = hub.environment(Path(home))
        code = textwrap.dedent(script).format(**values) + _USED
        started = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
        )
        seconds = time.monotonic() - started
    if done.returncode:
        sys.exit(f"{code}\n{done.stderr}")
    up, down, asked = (now - then for now, then in zip((hub.up, hub.down, hub.asked), before, strict=True))
    peak, cpu = map(float, done.stdout.split()[-2:])
    return {"seconds": seconds, "cpu": cpu, "memory": peak, "requests": asked, "up": up / 1e6, "down": down / 1e6}


def commits(hub: Counting, name: str) -> int:
    return sum(request.method == "POST" and f"{name}/commit/" in request.path for request in hub.requests)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cultures", type=int, default=15)
    parser.add_argument("--questions", type=int, default=3800)
    parser.add_argument("--dim", type=int, default=384)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as place, Counting(Path(place) / "hub") as hub:
        folder = Path(place)
        run, own = folder / "run", folder / "own.parquet"
        table(own, given.cultures, given.questions, given.dim)
        step(hub, folder, _SELECT, table=str(own), run=str(run), theta=THETA)
        named = {"name": NAME, "tag": TAG, "culture": CULTURE, "first": FIRST}
        found = {"caredio publish": step(hub, folder, _PUBLISH, run=str(run), **named)}
        release = run / "release"
        rows = json.loads((release / "release.json").read_text())["rows"]
        found |= {
            f"{CULTURE}, loaded by tag": step(hub, folder, _LOAD, config=CULTURE, **named),
            f"{CULTURE}-pool, loaded by tag": step(hub, folder, _LOAD, config=f"{CULTURE}-pool", **named),
            f"{CULTURE}-pool, {FIRST} rows streamed": step(hub, folder, _STREAM, config=f"{CULTURE}-pool", **named),
            "the same configs by push_to_hub": step(hub, folder, _PUSH, release=str(release), name="caredio/pushed"),
        }
        size = sum(file.stat().st_size for file in release.rglob("*.parquet")) / 1e6
        print(f"{len(rows)} configs, {rows[f'{CULTURE}-pool']['train']:,} rows a pool, {size:,.0f} MB of Parquet")
        print(f"{'':34}{'seconds':>9}{'CPU s':>8}{'MiB':>7}{'requests':>10}{'MB up':>8}{'MB down':>9}")
        for name, one in found.items():
            print(
                f"{name:34}{one['seconds']:9.1f}{one['cpu']:8.1f}{one['memory']:7.0f}{one['requests']:10.0f}"
                f"{one['up']:8.1f}{one['down']:9.1f}"
            )
        print(f"commits: {commits(hub, NAME)} and {commits(hub, 'caredio/pushed')}")


if __name__ == "__main__":
    main()
