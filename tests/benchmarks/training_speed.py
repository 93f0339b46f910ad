"""Step time and peak memory of a recipe beside TRL's own script, on the same rows with the same flags.

    python tests/benchmarks/training_speed.py                              five interleaved pairs of SFT on this machine
    python tests/benchmarks/training_speed.py --method dpo --pairs 3
    python tests/benchmarks/training_speed.py -- --bf16 true --dtype bfloat16 --per_device_train_batch_size 8

Rows are a region's best of the packaged sample of BLEnD, or `--data`, a run folder. Each training is a process of its
own; the time of a step is the median of its steps without the first two. The ratio is ours over TRL's within a pair;
its interval is that of the sign test, so five pairs give their smallest and largest ratio (94 %).
"""

from __future__ import annotations

import argparse
import importlib
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import transformers
from scipy.stats import binom

import caredio
from caredio import quickstart
from caredio.llm.local import model_path

TABLES = {"sft": "ranked", "dpo": "preference", "kto": "unpaired", "reward": "preference"}
WARMUP = 2  # steps that are not timed
RECIPES = Path(__file__).parents[2] / "recipes"


class Timer(transformers.TrainerCallback):
    """The seconds of each step."""

    seconds: list[float] = []  # noqa: RUF012 (of the process)
    tokens = 0.0
    begun = 0.0

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        self.synchronize()
        Timer.begun = time.perf_counter()

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self.synchronize()
        Timer.seconds.append(time.perf_counter() - Timer.begun)

    def on_log(self, *_: Any, logs: dict[str, float], **__: Any) -> None:
        Timer.tokens = logs.get("num_tokens", Timer.tokens)

    @staticmethod
    def synchronize() -> None:
        import torch

        if torch.cuda.is_available():
            torch.cuda.synchronize()


def child(who: str, method: str, flags: list[str]) -> None:
    """Train once, and print what it took as a line of JSON."""
    import torch
    from transformers import trainer

    trainer.DEFAULT_CALLBACKS.append(Timer)
    if who == "ours":
        importlib.import_module(f"caredio.recipes.{method}").train(flags)
    else:
        script = importlib.import_module(f"trl.scripts.{method}")
        sys.argv = [method, *flags]
        script.main(*script.make_parser().parse_args_and_config(fail_with_unknown_args=False))
    cuda = torch.cuda.max_memory_allocated() / 2**20 if torch.cuda.is_available() else 0.0
    timed = Timer.seconds[WARMUP:]
    print(
        json.dumps(
            {
                "step": statistics.median(timed),
                "steps": len(Timer.seconds),
                "tokens": Timer.tokens / sum(Timer.seconds),
                "rss": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10,
                "cuda": cuda,
            }
        )
    )


def once(who: str, method: str, flags: list[str], folder: Path) -> dict[str, float]:
    command = [sys.executable, __file__, "--child", who, "--method", method, "--", *flags, "--output_dir", str(folder)]
    ended = subprocess.run(command, capture_output=True, text=True)
    if ended.returncode:
        sys.exit(f"{who} failed:\n{ended.stdout[-2000:]}\n{ended.stderr[-4000:]}")
    found: dict[str, float] = json.loads(ended.stdout.strip().splitlines()[-1])
    return found


def interval(ratios: list[float], level: float = 0.9) -> tuple[float, float]:
    """An interval of the median at `level` at least, by the sign test; the whole range where there are too few."""
    ordered, n = sorted(ratios), len(ratios)
    below = 0
    while below + 1 <= n // 2 and 1 - 2 * binom.cdf(below, n, 0.5) >= level:
        below += 1
    return ordered[max(0, below - 1)], ordered[n - max(1, below)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--method", choices=list(TABLES), default="sft")
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--data", help="run folder; by default one of the packaged sample is made")
    parser.add_argument("--culture", default="china")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("flags", nargs="*", help="flags of both, after --")
    given = parser.parse_args()
    if given.child:
        return child(given.child, given.method, given.flags)
    with tempfile.TemporaryDirectory() as made:
        run = Path(given.data or Path(made) / "run")
        if not given.data:
            caredio.select(quickstart.SAMPLE, out=run, **quickstart.RANKING)
        recipe = next((RECIPES / "smollm2-135m").glob(f"{given.method}-lora.yaml"))
        flags = ["--config", str(recipe), "--dataset_name", str(run / TABLES[given.method])]
        flags += ["--dataset_config", given.culture, "--model_name_or_path", str(model_path())]
        flags += ["--max_steps", str(given.steps), "--logging_steps", "1", "--report_to", "none", *given.flags]
        pairs = []
        for number in range(given.pairs):
            order = ("ours", "trl") if number % 2 else ("trl", "ours")
            pairs.append({who: once(who, given.method, flags, Path(made) / f"{number}-{who}") for who in order})
    print("pair  who     s/step  tokens/s  MiB of RAM  MiB of GPU")
    for number, pair in enumerate(pairs):
        for who, one in sorted(pair.items()):
            print(
                f"{number:>4}  {who:<5} {one['step']:>8.3f} {one['tokens']:>9,.0f} {one['rss']:>11,.0f}"
                f" {one['cuda']:>11,.0f}"
            )
    for name in ("step", "rss", "cuda"):
        ratios = [pair["ours"][name] / pair["trl"][name] for pair in pairs if pair["trl"][name]]
        if ratios:
            low, high = interval(ratios)
            print(f"{name}: ours / TRL's {statistics.median(ratios):.3f} ({low:.3f} to {high:.3f})")


if __name__ == "__main__":
    main()
