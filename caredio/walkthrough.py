"""The whole road in one command, on this machine and without a key: build, train, evaluate, publish.

Small on purpose: three cultures, two topics and a model of 135M parameters show every step, its files and its numbers,
in minutes. The data is weak, so no text is checked, and the table says so; `next_steps` tells what to change for a real
one.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from importlib import resources
from pathlib import Path
from typing import Any

from datasets import Dataset

from caredio import disk, runs, verbs
from caredio.contents import of_file
from caredio.errors import CaredioError
from caredio.evaluation.results import told
from caredio.runs import Run

CULTURES = ("china", "united_kingdom", "south_korea")
TOPICS = ("food", "respect_elders")
SIZE: dict[str, Any] = {"per_topic": 2, "neighbours": 1, "sentences": "one", "checks": "none"}  # it would fail them
_STAMP = "trained_on.txt"
_TRAINING = (
    *("--per_device_train_batch_size", "1", "--gradient_accumulation_steps", "4"),  # for 4 GiB of memory
    *("--report_to", "none", "--disable_tqdm", "true", "--use_cpu"),
)


def run(out: Path, version: str, push: str = "") -> Path:
    """Walk from topics to a release; what a finished run left in `out` is not made again.

    Args:
        out: run folder.
        version: tag of the release.
        push: `owner/name` on the Hub for the dataset; the models go to `owner/name-<culture>`.

    Returns:
        The folder of the dataset's release.

    Raises:
        CaredioError: one sentence on what to mend.
    """
    _say("1/4 build: questions, answers as each culture, adapted questions, contrasted answers, ranks")
    build = [f"--{name.replace('_', '-')}={value}" for name, value in SIZE.items()]
    names = [f"--cultures={','.join(CULTURES)}", f"--topics={','.join(TOPICS)}"]
    _command("caredio", "build", *names, *build, f"--out={out}")  # a process of its own gives its memory back
    with Run(out) as made:
        ranked = made.table("ranked")
    for culture in CULTURES:
        _show(culture, ranked)
    _say("2/4 train: one LoRA adapter a culture, on its ranked rows")
    for culture in CULTURES:
        train(out, culture)
    _say("3/4 evaluate: CulturalBench questions, 8 a culture (CC-BY-4.0, a sample of 1,227)")
    print(told(verbs.evaluate(out, CULTURES, trained=out / "models", culturalbench="sample")))
    _say("4/4 publish")
    release = verbs.publish(out, push=push, version=version)
    for culture in CULTURES:
        name = repository(push, culture) if push else ""
        verbs.publish(out, model=out / "models" / culture, push=name, version=version)
    print(next_steps(out, release))
    return release


def repository(push: str, culture: str) -> str:
    """The Hub's name of a culture's model, beside the dataset's."""
    return f"{push}-{culture.replace('_', '-')}"


def train(out: Path, culture: str) -> None:
    """One adapter by `recipes/sft.py`, launched as a user would; skipped when it was made so from the same rows.

    Raises:
        CaredioError: the recipe failed; what it said stands above.
    """
    folder = out / "models" / culture
    recipes = Path(str(resources.files("caredio.recipes")))
    recipe = recipes / "smollm2-135m" / "sft-lora.yaml"
    made_from = [runs.version(), *_TRAINING, *map(of_file, (recipe, out / "ranked" / f"{culture}.parquet"))]
    rows = hashlib.sha256("\n".join(made_from).encode()).hexdigest()
    stamp = folder / _STAMP
    if stamp.exists() and stamp.read_text(encoding="utf-8") == rows:
        print(f"{folder}: trained already")
        return
    shutil.rmtree(folder, ignore_errors=True)
    arguments = [
        *("--config", str(recipe), "--dataset_name", str(out / "ranked"), "--dataset_config", culture),
        *("--output_dir", str(folder), *_TRAINING),
    ]
    _command("accelerate", "launch", "--cpu", "--num_processes=1", str(recipes / "sft.py"), *arguments, quiet=True)
    record = json.loads((folder / "training.json").read_text(encoding="utf-8"))
    print(
        f"{folder}: {record['rows']} rows, {record['result']['steps']} steps, loss {record['result']['train_loss']:.3f}"
    )
    with disk.writing(stamp):
        stamp.write_text(rows, encoding="utf-8")


def _command(program: str, *arguments: str, quiet: bool = False) -> None:
    """Print a command as a user would type it, and run it; `quiet` shows what it said only if it fails."""
    print(f"$ {program} {' '.join(arguments)}", flush=True)
    modules = {"caredio": "caredio.cli", "accelerate": "accelerate.commands.accelerate_cli"}
    command = [sys.executable, "-m", modules[program], *arguments]
    environment = {**os.environ, **({"PYTHONIOENCODING": "utf-8:backslashreplace"} if quiet else {})}
    done = subprocess.run(  # noqa: S603 (our own commands)
        command, capture_output=quiet, encoding="utf-8", errors="replace", env=environment, check=False
    )
    if done.returncode:
        print((done.stderr or "")[-4000:], file=sys.stderr)
        raise CaredioError(
            f"{program} {arguments[0]} failed (exit code {done.returncode}); its last words stand above."
        )


def next_steps(out: Path, release: Path) -> str:
    """Where everything lies, and what to change for a real dataset."""
    return f"""
Where it lies
  {out}/ranked       the ranked split: load_dataset("{out}/ranked", "china", split="train")
  {out}/preference   the same rows against other cultures' answers, for DPO
  {out}/models       an adapter a culture: PeftModel.from_pretrained(base, "{out}/models/china")
  {release}      the dataset as it goes to the Hub: load_dataset("{release}", "china")
  {out}/run.json     what every table was made from, and what was dropped and why

For a real one
  export OPENAI_API_KEY=...   then: caredio build --model gpt-4.1-mini --cultures china,japan --out runs/real --dry-run
  your own endpoint           --model my-model --base-url http://localhost:8000/v1
  a model worth training      accelerate launch recipes/sft.py --config recipes/smollm2-135m/sft-lora.yaml \\
                                  --model_name_or_path Qwen/Qwen2.5-7B-Instruct --dataset_name runs/real/ranked ...
  the whole benchmark         caredio evaluate --culturalbench CulturalBench-Easy.csv (or from the Hub by default)
  the Hub                     caredio publish --out runs/real --version v1.0.0 --push owner/name"""


def _say(step: str) -> None:
    print(f"\n== {step}", flush=True)


def _show(culture: str, ranked: Dataset) -> None:
    """The culture's best row."""
    rows = (row for row in ranked if row["culture"] == culture and row["rank"] == 1)
    for row in rows:
        print(f"{culture}, rank 1 (score {row['score']:.2f})\n  Q: {row['question']}\n  A: {row['response']}")
