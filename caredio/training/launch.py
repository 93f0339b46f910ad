"""What every recipe shares: from flags to TRL's trainer, and what that leaves in its output folder.

`recipe.py` declares which trainer and which columns; nothing here pushes to the Hub.
"""

from __future__ import annotations

import inspect
import json
import logging
import os
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from datasets import Dataset, concatenate_datasets
from pyarrow import ArrowInvalid

from caredio import checkpoints, disk
from caredio.checkpoints import RECORD, one_line
from caredio.errors import CaredioError, InputError
from caredio.llm.local import ON_HUB, model_path
from caredio.llm.spec import LOCAL_MODEL
from caredio.training import flags, lengths, record, rows, template
from caredio.training.flags import Settings
from caredio.training.recipe import Recipe
from caredio.training.record import PACKAGES

log = logging.getLogger("caredio")
WATCHED = "CAREDIO_TRAIN"  # set where stdin ends with the command that started a recipe


def main(recipe: Callable[[], object]) -> None:
    """Run a recipe as a script: a mistake of the user's is one sentence on stderr and exit code 2."""
    disk.in_utf8()
    if os.environ.get(WATCHED):
        threading.Thread(target=_end_with_stdin, daemon=True).start()
    log.setLevel(logging.INFO if _speaks() else logging.ERROR)
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("caredio: %(message)s"))  # by which `caredio train` knows its lines
    log.addHandler(handler)  # ours alone: the libraries have handlers of their own
    try:
        recipe()
    except CaredioError as error:
        sys.exit(_fail(str(error)))
    except ModuleNotFoundError as error:
        if error.name not in PACKAGES:
            raise
        sys.exit(_fail(f"training needs {error.name}: pip install 'caredio[train]'."))
    except Exception as error:  # an OSError, or what safetensors makes of one
        if not disk.refused(error):
            raise
        sys.exit(_fail(disk.refusal(error, "the output")))
    finally:
        log.removeHandler(handler)


def train(recipe: Recipe, argv: Sequence[str] | None = None) -> Any:
    """A recipe from its flags to what it leaves in `--output_dir`.

    Args:
        recipe: which.
        argv: flags; None takes the command line's.

    Returns:
        TRL's trainer, for whoever wants to look at it.

    Raises:
        InputError: what the flags name cannot be trained, or does not fit into memory.
    """
    settings = flags.parse(recipe, argv)
    own, test = rows.tables(recipe, settings)
    replays = rows.replays(recipe, settings, len(own))
    source, origin, known = base(settings)
    tokenizer = template.tokenizer(settings, source, template.chats(own), **origin)
    checkpoints.check_vocabulary(tokenizer, known, settings.model.model_name_or_path)
    learned, counts = _learned(recipe, settings, tokenizer, [rows.Replay(settings.data.dataset_name, own), *replays])
    if test is not None:
        test, _ = _learned(recipe, settings, tokenizer, [rows.Replay(f"{settings.data.dataset_name}, test", test)])
    if "label" in recipe.columns and settings.training.desirable_weight is None:
        settings.training.desirable_weight = _balance(learned["label"], settings.training.undesirable_weight)
    data = record.data(recipe, settings, own, replays)
    with _in_memory(settings.training):
        parts = {"train_dataset": learned, "eval_dataset": test, "processing_class": tokenizer}
        trainer = _trainer(recipe, settings, data, **parts, **model(recipe, settings, source, origin))
        outcome = trainer.train(resume_from_checkpoint=settings.training.resume_from_checkpoint)
    facts = record.record({**data, **counts}, trainer, settings, outcome)
    facts["base_sha256"] = checkpoints.weights_sha256(checkpoints.folder(source, origin["revision"]))
    save(trainer, settings, facts)
    trainer.end()
    return trainer


def _learned(
    recipe: Recipe, settings: Settings, tokenizer: Any, parts: Sequence[rows.Replay]
) -> tuple[Dataset, dict[str, int]]:
    """All parts as one table that fits the chat template and `--max_length`, and what had to be done for that."""
    columns, counts, fitted = list(recipe.columns), Counter[str](), []
    for name, table in parts:
        table, folded = template.fitted(table.select_columns(columns), recipe.answers, tokenizer, name)
        table, lengths_ = lengths.fitting(table, recipe, tokenizer, settings.training, name)
        counts.update({"system_messages_in_user_turn": folded, **lengths_})
        fitted.append(table)
    if len(fitted) == 1:
        return fitted[0], dict(counts)
    try:
        whole = concatenate_datasets([table.cast(fitted[0].features) for table in fitted])
    except (TypeError, ValueError, ArrowInvalid) as error:
        what = ", ".join(name for name, _ in parts)
        raise InputError(f"{what}: are no rows of one kind, chats or plain text ({one_line(error)}).") from None
    return whole.shuffle(settings.training.seed) if recipe.shuffled else whole, dict(counts)


def _end_with_stdin() -> None:
    """End this process when the command that started it is gone, even if that was killed."""
    while os.read(0, 1024):
        pass
    os._exit(143)


def _balance(labels: Sequence[bool], undesirable_weight: float) -> float:
    """The weight of desirable answers by which both kinds count alike in all: KTO, arXiv 2402.01306, Eq. 8."""
    own = sum(labels)
    return undesirable_weight * (len(labels) - own) / own if 0 < own < len(labels) else 1.0


def _trainer(recipe: Recipe, settings: Settings, data: dict[str, Any], **parts: Any) -> Any:
    from caredio.training import callbacks  # loads transformers

    kind, _ = recipe.classes()
    try:
        trainer = kind(args=settings.training, callbacks=[callbacks.Ends()], **parts)
    except ValueError as error:
        raise InputError(f"recipe {recipe.name}: cannot train with these flags ({one_line(error)}).") from error
    trainer.add_callback(callbacks.Data(trainer, data))
    return trainer


@contextmanager
def _in_memory(training: Any) -> Iterator[None]:
    """Memory that does not suffice is one sentence with the settings that help."""
    try:
        yield
    except Exception as error:
        if type(error).__name__ != "OutOfMemoryError" and "can't allocate memory" not in str(error):
            raise
        held, steps = training.per_device_train_batch_size, training.gradient_accumulation_steps
        raise InputError(
            f"memory does not suffice: lower --per_device_train_batch_size (now {held}) and raise "
            f"--gradient_accumulation_steps (now {steps}) by the same factor, set --gradient_checkpointing true (now "
            f"{str(training.gradient_checkpointing).lower()}), lower --max_length (now {training.max_length}), or give "
            "--load_in_4bit."
        ) from error


def base(settings: Settings) -> tuple[str, dict[str, Any], Any]:
    """The base model's folder or Hub id, the revision and trust in code it is loaded with, and its configuration.

    Raises:
        InputError: there is no such model, it is not whole, or the adapter or its layers do not fit it.
    """
    from transformers import AutoConfig
    from trl import get_peft_config

    wanted, training, adapter = settings.model, settings.training, settings.own.adapter
    name = wanted.model_name_or_path
    source = str(model_path()) if name == LOCAL_MODEL else name
    origin = {"revision": wanted.model_revision, "trust_remote_code": training.trust_remote_code}
    try:
        config = AutoConfig.from_pretrained(source, **origin)
    except checkpoints.REFUSED as error:
        raise InputError(f"{name}: no such model ({one_line(error)}).") from None
    if Path(source).is_dir():
        checkpoints.check_weights(Path(source))
    if training.trust_remote_code:
        return source, origin, config  # its code alone knows its layers
    if adapter:
        checkpoints.check_adapter(adapter, source, config)
    elif layers := get_peft_config(wanted):
        try:
            checkpoints.shapes(config, layers)
        except checkpoints.REFUSED as error:
            raise InputError(f"{name}: cannot be given the adapter of these flags ({one_line(error)}).") from None
    return source, origin, config


def model(recipe: Recipe, settings: Settings, source: str, origin: dict[str, Any]) -> dict[str, Any]:
    """The trainer's `model`, `quantization_config` and `peft_config`: a base model by name, or one under `--adapter`.

    Args:
        source, origin: as `base` returns them.

    Raises:
        InputError: the adapter does not fit the model.
    """
    from transformers import AutoModelForCausalLM
    from trl import get_peft_config, get_quantization_config

    wanted, training = settings.model, settings.training
    loading = {**origin, "attn_implementation": wanted.attn_implementation, "dtype": wanted.dtype}
    quantization = get_quantization_config(wanted)
    if quantization and recipe.name == "reward":
        quantization.llm_int8_skip_modules = ["score"]  # which is trained whole
    named: dict[str, Any] = {"quantization_config": quantization}
    if "quantization_config" not in inspect.signature(recipe.classes()[0].__init__).parameters:  # CPOTrainer
        loading |= {key: value for key, value in named.items() if value} | {"device_map": None}
        named = {}
    loading |= training.model_init_kwargs or {}
    if settings.own.adapter is None:
        training.model_init_kwargs = loading
        return {"model": source, "peft_config": get_peft_config(wanted), **named}
    from peft import PeftModel

    training.model_init_kwargs = None  # a loaded model has no more use for them
    base = AutoModelForCausalLM.from_pretrained(source, **{**named, **loading})
    try:
        adapted = PeftModel.from_pretrained(base, settings.own.adapter, is_trainable=True)
    except (OSError, ValueError, RuntimeError) as error:
        what = f"is no adapter for {wanted.model_name_or_path}"
        raise InputError(f"--adapter {settings.own.adapter}: {what} ({one_line(error)}).") from None
    adapted.peft_config["default"].base_model_name_or_path = source  # which PEFT looks up on saving
    return {"model": adapted}


def save(trainer: Any, settings: Settings, facts: dict[str, Any]) -> None:
    """Write the adapter or the model, its tokenizer, and `training.json`: what a true model card is made from."""
    if "ref" in getattr(trainer.model, "peft_config", {}):  # DPO's frozen copy of --adapter, which TRL would save too
        trainer.model.delete_adapter("ref")
    folder = Path(settings.training.output_dir)
    with disk.writing(folder):
        trainer.save_model()
        if trainer.is_world_process_zero():
            _finish(folder, settings, facts)


def _finish(folder: Path, settings: Settings, facts: dict[str, Any]) -> None:
    for leftover in ("README.md", "training_args.bin"):  # a draft card, and a pickle with this machine's paths
        (folder / leftover).unlink(missing_ok=True)
    adapter = folder / "adapter_config.json"
    if adapter.exists() and settings.model.model_name_or_path == LOCAL_MODEL:  # PEFT wrote this machine's cache folder
        config = {**json.loads(adapter.read_text(encoding="utf-8")), "base_model_name_or_path": ON_HUB}
        adapter.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    with disk.replacing(folder / RECORD) as record_:
        record_.write((json.dumps(facts, indent=2, ensure_ascii=False) + "\n").encode())
    first, last = (facts["result"][name] for name in ("first_loss", "last_loss"))
    print(f"{folder}: {facts['method']} on {facts['rows']} rows, loss {first:.4f} at first, {last:.4f} at last")


def _fail(sentence: str) -> int:
    if _speaks():
        print(f"{Path(sys.argv[0]).name}: {sentence}", file=sys.stderr)
    return 2


def _speaks() -> bool:
    """Whether this is the process of several that talks to the user."""
    return os.environ.get("LOCAL_RANK", "0") == "0"
