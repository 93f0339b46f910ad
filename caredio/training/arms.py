"""An arm: one training of one recipe on given rows, in a folder, by `accelerate launch` in a process of its own.

<folder>/arm.yaml        what was asked for, by which the folder is known again
<folder>/output.log      what the recipe printed
<folder>/training.json   the recipe's record: the arm is finished
"""

from __future__ import annotations

import ast
import json
import logging
import math
import os
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from caredio import checkpoints, disk, yamlfile
from caredio.errors import CaredioError, InputError
from caredio.llm.local import model_path
from caredio.llm.spec import LOCAL_MODEL
from caredio.training import recipe as recipes
from caredio.training.launch import WATCHED
from caredio.training.recipe import Recipe

log = logging.getLogger("caredio")

ARM = "arm.yaml"
OUTPUT = "output.log"
OWN = "caredio: "  # with which a recipe's own lines begin
_SET = ("config", "dataset_name", "dataset_config", "output_dir", "resume_from_checkpoint", "push_to_hub")
_PLACES = ("dataset_name", "dataset_config", "output_dir")  # the hash of the rows says what is there
_PATIENCE = 10  # seconds that a training has to end in


@dataclass(frozen=True)
class Arm:
    """One training.

    Attributes:
        name: in messages.
        folder: where it is written.
        recipe: by which.
        yaml: the recipe's `--config`.
        given: flags that go over the YAML.
        flags: further flags of the recipe, which go over both.
        rows: how many it trains on.
        rows_sha256: their hash, as training.json has it.
    """

    name: str
    folder: Path
    recipe: Recipe
    yaml: Path
    given: Mapping[str, Any]
    flags: tuple[str, ...]
    rows: int
    rows_sha256: str

    @property
    def values(self) -> dict[str, Any]:
        """Flag -> value of everything that is given to the recipe."""
        return values(self.yaml, self.given, self.flags)

    @property
    def steps(self) -> int:
        """How often the weights are changed, by one process."""
        return steps(self.rows + replayed(self.rows, self.values.get("datasets") or ()), self.values)

    @property
    def asked(self) -> dict[str, Any]:
        """By which an arm is known: the recipe, its flags, and the rows by their hash."""
        flags = {name: value for name, value in sorted(self.values.items()) if name not in _PLACES}
        adapter = flags.get("adapter")
        known = {"adapter_sha256": checkpoints.sha256(Path(str(adapter)))} if adapter else {}
        return {"recipe": self.recipe.name, "rows": self.rows, "rows_sha256": self.rows_sha256, "flags": flags} | known


def read_flags(text: str) -> dict[str, Any]:
    """Flag -> value of a recipe's flags as they are typed: `--a 1 --b` is `{"a": 1, "b": True}`.

    Raises:
        InputError: a word belongs to no flag, or a flag is one that `caredio train` sets.
    """
    found: dict[str, list[str]] = {}
    for word in shlex.split(text):
        if word.startswith("--"):
            name, equals, value = word[2:].partition("=")
            words = found[name.replace("-", "_")] = [value] if equals else []
        elif found:
            words.append(word)
        else:
            raise InputError(f"flags begin with {word!r}, which belongs to no flag; write --name value.")
    if own := next((name for name in found if name in _SET), None):
        raise InputError(f"--{own} is not a flag to give here, as caredio sets it for each culture; leave it out.")
    return {name: _value(words) for name, words in found.items()}


def _value(words: Sequence[str]) -> Any:
    plain = [yaml.safe_load(word) for word in words]
    return True if not plain else plain[0] if len(plain) == 1 else plain


def values(file: Path, given: Mapping[str, Any], flags: Sequence[str]) -> dict[str, Any]:
    """Flag -> value: the YAML's, over them what is given, over both the further flags.

    Raises:
        InputError: the file cannot be read or is no YAML, or as `read_flags` raises.
    """
    return {**yamlfile.mapping(file).values, **given, **read_flags(shlex.join(flags))}


def steps(rows: int, given: Mapping[str, Any]) -> int:
    """How often the trainer changes the weights, by one process, as transformers counts it.

    Args:
        rows: that it trains on.
        given: the flags; what is not among them is as transformers has it.
    """
    if (most := int(_number("max_steps", given))) > 0:
        return most
    batches = math.ceil(rows / _number("per_device_train_batch_size", given))
    an_epoch = max(math.ceil(batches / _number("gradient_accumulation_steps", given)), 1)
    return math.ceil(_number("num_train_epochs", given) * an_epoch)


def rows_per_step(given: Mapping[str, Any]) -> int:
    """How many rows one process learns from at once."""
    return int(_number("per_device_train_batch_size", given) * _number("gradient_accumulation_steps", given))


def _number(name: str, given: Mapping[str, Any]) -> float:
    from transformers import TrainingArguments

    value = float(given.get(name, TrainingArguments.__dataclass_fields__[name].default))
    if name != "max_steps" and value <= 0:
        raise InputError(f"--{name} is {value:g}; use a number above 0.")
    return value


def replayed(rows: int, asked: Sequence[Mapping[str, Any]]) -> int:
    """How many rows `datasets:` adds to those of a culture, where its datasets hold as many."""
    shares = [float(one.get("fraction", 0)) for one in asked]
    left = 1 - sum(shares)
    return sum(round(rows * share / left) for share in shares) if left > 0 else 0


def finished(arm: Arm) -> dict[str, Any] | None:
    """The record of an arm that is trained; None where it is to be trained, from a checkpoint or from the start.

    Raises:
        InputError: the folder holds something else, or weights of other rows, flags or base weights.
    """
    folder, file = arm.folder, arm.folder / ARM
    if not folder.exists() or not any(folder.iterdir()):
        return None
    other = f"name another folder with --out, or remove {folder}"
    if not file.is_file():
        raise InputError(f"{folder}: holds files, but none that caredio trained there; {other}.")
    if not (folder / checkpoints.RECORD).is_file() and checkpoints.last(folder) is None:
        return None
    before = yamlfile.mapping(file).values
    if differs := _differences(before, arm.asked):
        raise InputError(f"{folder}: holds another training ({differs}); {other}.")
    if not (folder / checkpoints.RECORD).is_file():
        return None
    try:
        record = json.loads((folder / checkpoints.RECORD).read_text(encoding="utf-8"))
    except ValueError:
        record = None
    if not isinstance(record, dict) or not isinstance(record.get("result"), dict):
        raise InputError(f"{folder / checkpoints.RECORD}: is damaged; remove {folder}.") from None
    if record.get("rows_sha256") != arm.rows_sha256:
        raise InputError(f"{folder}: holds a model of other rows than {ARM} says; {other}.")
    model = arm.values["model_name_or_path"]
    if record.get("base_sha256") != _base_sha256(model, arm.values.get("model_revision")):
        raise InputError(f"{folder}: was trained on other weights than those of {model}; {other}.")
    checkpoints.check_weights(folder)
    return dict(record)


def _differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """What two trainings do not have in common, as words; empty where they are one."""
    old, new = ({**one, **(flags if isinstance(flags := one.get("flags"), dict) else {})} for one in (before, now))
    names = [name for name in {**old, **new} if name not in ("flags", "rows_sha256")]
    told = [f"{name} {old.get(name)}, not {new.get(name)}" for name in names if old.get(name) != new.get(name)]
    return ", ".join(told[:3]) or ("of other rows" if before.get("rows_sha256") != now["rows_sha256"] else "")


@cache
def _base_sha256(model: str, revision: str | None) -> str:
    source = str(model_path()) if model == LOCAL_MODEL else model
    return checkpoints.weights_sha256(checkpoints.folder(source, revision))


def train(arm: Arm, config: str | None = None) -> dict[str, Any]:
    """Train an arm, or go on from its last checkpoint; its record.

    Args:
        config: a file or a name for accelerate, as `launcher` takes it.

    Raises:
        InputError: the recipe's own sentence.
        CaredioError: the recipe failed otherwise.
    """
    with disk.writing(arm.folder):
        arm.folder.mkdir(parents=True, exist_ok=True)
    command = [*launcher(config), str(arm.recipe.script), *arguments(arm)]
    with disk.replacing(arm.folder / ARM) as content:
        content.write(f"# accelerate launch {shlex.join(command[3:])}\n".encode())
        content.write(yaml.safe_dump(arm.asked, sort_keys=False, allow_unicode=True).encode())
    if checkpoint := checkpoints.last(arm.folder):
        log.info("%s  goes on from %s", arm.name, checkpoint)
        command += ["--resume_from_checkpoint", str(checkpoint)]
    output = []
    with (arm.folder / OUTPUT).open("a", encoding="utf-8") as file, _process(command) as process:
        for line in process.stdout or ():
            file.write(line)
            file.flush()
            if said := line.strip():
                output.append(said)
                if shown := logged(said):
                    log.info("%s  %s", arm.name, shown)
    if process.returncode or not (arm.folder / checkpoints.RECORD).is_file():
        raise _failure(arm, output, process.returncode)
    return dict(json.loads((arm.folder / checkpoints.RECORD).read_text(encoding="utf-8")))


def launcher(config: str | None) -> list[str]:
    """`accelerate launch`, with the configuration for a CPU where there is no GPU and none was named.

    Args:
        config: a file, or the name of one that TRL ships.

    Raises:
        InputError: there is no such file or name.
    """
    start = [sys.executable, "-m", "accelerate.commands.launch", "--quiet"]  # quiet: without a traceback of its own
    if config is None:
        import torch

        return start if torch.accelerator.is_available() else [*start, "--config_file", str(_cpu())]
    from importlib import resources

    shipped = Path(str(resources.files("trl") / "accelerate_configs"))
    for file in (Path(config), shipped / f"{config}.yaml"):
        if file.is_file():
            return [*start, "--config_file", str(file)]
    known = ", ".join(sorted(file.stem for file in shipped.glob("*.yaml")))
    raise InputError(f"accelerate_config is {config!r}; give a file, or one of TRL's: {known}.")


def _cpu() -> Path:
    return recipes.folder() / "accelerate" / "cpu.yaml"


def arguments(arm: Arm) -> list[str]:
    """The recipe's flags."""
    given = [word for name, value in arm.given.items() for word in (f"--{name}", str(value))]
    return ["--config", str(arm.yaml), *given, "--output_dir", str(arm.folder), *arm.flags]


@contextmanager
def _process(command: Sequence[str]) -> Iterator[subprocess.Popen[str]]:
    """A process with what it starts, which ends when the block does not end well, or this process is to end."""
    process = subprocess.Popen(  # noqa: S603 (a recipe)
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.PIPE,  # it ends with this process, however that ends, and the training with it
        encoding="utf-8",
        errors="replace",
        env={**os.environ, "PYTHONUNBUFFERED": "1", WATCHED: "1"},
        start_new_session=True,  # so that an interrupt reaches this process alone, which then ends those
    )
    own = threading.current_thread() is threading.main_thread()  # which alone may handle signals
    before = {number: signal.signal(number, _end) for number in (signal.SIGTERM, signal.SIGHUP)} if own else {}
    try:
        yield process
        process.wait()
    except BaseException as error:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
        if isinstance(error, KeyboardInterrupt):
            raise KeyboardInterrupt(
                "stopped; the same command goes on from the last checkpoint, or begins anew where there is none."
            ) from None
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _end(number: int, frame: object) -> None:
    sys.exit(128 + number)


def logged(line: str) -> str:
    """What to show of a line of output: what the trainer logged of a loss, and the recipe's own lines; else nothing."""
    if line.startswith(OWN):
        return line.removeprefix(OWN)
    if not (line.startswith("{'") and line.endswith("}")):
        return ""
    try:
        found = ast.literal_eval(line)
    except (ValueError, SyntaxError):
        return ""
    names = [name for name in ("loss", "eval_loss", "rewards/accuracies", "epoch") if name in found]
    return ", ".join(f"{name} {found[name]}" for name in names) if {"loss", "eval_loss"} & set(names) else ""


def _failure(arm: Arm, output: Sequence[str], code: int) -> CaredioError:
    """What a recipe ended with: its own sentence, or the last line of what it printed."""
    own = f"{arm.recipe.script.name}: "
    if sentence := next((line for line in reversed(output) if line.startswith(own)), None):
        return InputError(f"{arm.name}: {sentence.removeprefix(own).removeprefix('error: ')}")
    last = output[-1] if output else "it printed nothing"
    return CaredioError(f"{arm.name}: the training failed with exit code {code} ({last}); see {arm.folder / OUTPUT}.")
