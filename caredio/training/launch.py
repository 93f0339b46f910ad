"""What every recipe shares: the flags, the rows by rank, the base model by name, and the record of the training.

A recipe names TRL's trainer and the columns it reads; `train` does the rest. Nothing here pushes to the Hub.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib import util
from pathlib import Path
from typing import Any, NamedTuple

from datasets import Dataset, Features

from caredio import checkpoints, disk, features
from caredio.checkpoints import RECORD
from caredio.errors import CaredioError, InputError
from caredio.llm.local import ON_HUB, model_path
from caredio.llm.spec import LOCAL_MODEL
from caredio.training import template
from caredio.training.record import PACKAGES, record

log = logging.getLogger("caredio")


@dataclass
class RecipeArguments:
    """The flags that TRL's own arguments lack."""

    dataset_revision: str | None = field(
        default=None, metadata={"help": "tag, branch or commit of a dataset on the Hub"}
    )
    budget: int = field(default=0, metadata={"help": "train on the best N rows of each culture by rank; 0 takes all"})
    adapter: str | None = field(
        default=None,
        metadata={"help": "folder of a LoRA adapter of this base model to go on from, instead of a new one"},
    )


@dataclass
class TemplateArguments(RecipeArguments):
    """The flag that of TRL's configs SFTConfig alone has."""

    chat_template_path: str | None = field(
        default=None, metadata={"help": "file of a Jinja chat template, or a model whose template is used"}
    )


class Settings(NamedTuple):
    """A recipe's flags, parsed and checked. TRL's part is `Any`: its configs share no public type with these fields."""

    data: Any  # ScriptArguments
    recipe: RecipeArguments
    training: Any  # SFTConfig, DPOConfig, ...
    model: Any  # ModelConfig


def main(recipe: Callable[[], object]) -> None:
    """Run a recipe as a script: a mistake of the user's is one sentence on stderr and exit code 2."""
    disk.in_utf8()
    log.setLevel(logging.INFO if _speaks() else logging.WARNING)
    handler = logging.StreamHandler()
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


def train(recipe: str, trainer_class: Any, config: type, columns: list[str], argv: Sequence[str] | None) -> Any:
    """A recipe from its flags to what it leaves in `--output_dir`.

    Args:
        recipe: its name in the record.
        trainer_class: TRL's trainer.
        config: that trainer's arguments.
        columns: what it reads.
        argv: flags; None takes the command line's.

    Returns:
        The trainer, for whoever wants to look at it.
    """
    settings = parse(config, argv)
    rows, test = tables(settings, columns)
    source, origin, known = base(settings)
    tokenizer = template.tokenizer(settings, source, template.chats(rows), **origin)
    checkpoints.check_vocabulary(tokenizer, known, settings.model.model_name_or_path)
    train_rows, folded = template.fitted(rows.select_columns(columns), columns, tokenizer, settings.data.dataset_name)
    test = test and template.fitted(test.select_columns(columns), columns, tokenizer, settings.data.dataset_name)[0]
    trainer = trainer_class(
        args=settings.training,
        train_dataset=train_rows,
        eval_dataset=test,
        processing_class=tokenizer,
        **model(settings, source, origin),
    )
    outcome = trainer.train(resume_from_checkpoint=settings.training.resume_from_checkpoint)
    facts = record(recipe, trainer, settings, rows, outcome)
    facts |= {
        "base_sha256": checkpoints.weights_sha256(checkpoints.folder(source, origin["revision"])),
        "system_messages_in_user_turn": folded,
    }
    save(trainer, settings, facts)
    trainer.end()
    return trainer


def parse(config: type, argv: Sequence[str] | None = None) -> Settings:
    """The flags (the command line's over those of `--config`), checked before anything is loaded.

    Raises:
        InputError: an unknown key, or a value that no training can start with.
    """
    import yaml
    from trl import ModelConfig, ScriptArguments, TrlParser

    own = RecipeArguments if hasattr(config, "chat_template_path") else TemplateArguments
    kinds: list[Any] = [ScriptArguments, own, config, ModelConfig]
    parser = TrlParser(
        kinds,
        usage="%(prog)s --config FILE.yaml [--flag VALUE ...]",
        allow_abbrev=False,  # else a mistyped flag may pass for the beginning of another
    )
    try:
        settings = Settings(*parser.parse_args_and_config(argv))
    except (OSError, ValueError, TypeError, IndexError, yaml.YAMLError) as error:
        raise InputError(f"the flags or the --config file cannot be used: {_one_line(error)}") from None
    _check(settings)
    return settings


def _check(settings: Settings) -> None:
    data, recipe, training, wanted = settings
    quantized = wanted.load_in_4bit or wanted.load_in_8bit
    if training.push_to_hub:
        raise InputError("--push_to_hub: recipes never push; `caredio publish` does, with a card and a tag.")
    for flag in ("dataset_streaming", "ignore_bias_buffers"):
        if getattr(data, flag):
            raise InputError(f"--{flag}: has no use here; leave it out.")
    for flag, value in (("dataset_name", data.dataset_name), ("model_name_or_path", wanted.model_name_or_path)):
        if not value:
            raise InputError(f"--{flag} is missing; name a folder or a repository on the Hub.")
    if not isinstance(recipe.budget, int) or recipe.budget < 0:
        raise InputError(f"--budget is {recipe.budget}; use a number of rows, or 0 for all.")
    if recipe.adapter and not (Path(recipe.adapter) / "adapter_config.json").exists():
        raise InputError(f"--adapter {recipe.adapter}: has no adapter_config.json; name a LoRA run's output_dir.")
    if quantized and not (wanted.use_peft or recipe.adapter):
        raise InputError("a quantized model trains only under an adapter; add --use_peft.")
    if quantized and util.find_spec("bitsandbytes") is None:
        raise InputError("--load_in_4bit and --load_in_8bit need bitsandbytes: pip install 'caredio[qlora]'.")
    if (Path(training.output_dir) / RECORD).exists():
        raise InputError(f"{training.output_dir}: holds a trained model; name another --output_dir, or remove it.")


def tables(settings: Settings, columns: list[str]) -> tuple[Dataset, Dataset | None]:
    """The rows to train on, those of rank 1 to `--budget`, and the test split where the trainer is to evaluate.

    Raises:
        InputError: the dataset, its config or its split cannot be read, lacks a column, or has no rows.
    """
    data, budget = settings.data, settings.recipe.budget
    train = _table(settings, data.dataset_train_split, [*columns, "rank"] if budget else columns)
    if budget:
        best = [row for row, rank in enumerate(train["rank"]) if rank <= budget]
        if not best:
            raise InputError(f"{data.dataset_name}: no row has a rank up to --budget {budget}.")
        log.info("%s: the best %d of %d rows", data.dataset_name, len(best), len(train))
        train = train.select(best)
    evaluates = settings.training.eval_strategy != "no"
    return train, _table(settings, data.dataset_test_split, columns) if evaluates else None


def _table(settings: Settings, split: str, columns: list[str]) -> Dataset:
    from datasets import load_dataset
    from datasets.exceptions import DatasetsError

    name, config, revision = settings.data.dataset_name, settings.data.dataset_config, settings.recipe.dataset_revision
    folder = Path(name)
    if (folder / "run.json").exists():
        raise InputError(f"{name}: is a run; name one of its tables, {folder / 'ranked'} for one.")
    if revision and folder.is_dir():
        raise InputError(f"{name}: is a folder and has no revisions; leave --dataset_revision out.")
    try:
        table = load_dataset(name, config, split=split, revision=revision)
    except (OSError, ValueError, DatasetsError) as error:
        where = "" if folder.is_dir() else "no such folder here, and on the Hub: "
        what = f"{name} ({config or 'no --dataset_config'})"
        raise InputError(f"{what}: cannot be read as a dataset ({where}{_one_line(error)})") from None
    return features.require(table, Features({column: features.COLUMNS[column].type for column in columns}), name)


def base(settings: Settings) -> tuple[str, dict[str, Any], Any]:
    """The base model's folder or Hub id, the revision and trust in code it is loaded with, and its configuration.

    Raises:
        InputError: there is no such model, it is not whole, or the adapter or its layers do not fit it.
    """
    from transformers import AutoConfig
    from trl import get_peft_config

    wanted, training, adapter = settings.model, settings.training, settings.recipe.adapter
    name = wanted.model_name_or_path
    source = str(model_path()) if name == LOCAL_MODEL else name
    origin = {"revision": wanted.model_revision, "trust_remote_code": training.trust_remote_code}
    try:
        config = AutoConfig.from_pretrained(source, **origin)
    except checkpoints.REFUSED as error:
        raise InputError(f"{name}: no such model ({_one_line(error)})") from None
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
            raise InputError(f"{name}: cannot be given the adapter of these flags ({_one_line(error)})") from None
    return source, origin, config


def model(settings: Settings, source: str, origin: dict[str, Any]) -> dict[str, Any]:
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
    loading |= training.model_init_kwargs or {}
    quantization = get_quantization_config(wanted)
    if settings.recipe.adapter is None:
        training.model_init_kwargs = loading
        return {"model": source, "quantization_config": quantization, "peft_config": get_peft_config(wanted)}
    from peft import PeftModel

    training.model_init_kwargs = None  # a loaded model has no more use for them
    base = AutoModelForCausalLM.from_pretrained(source, quantization_config=quantization, **loading)
    try:
        adapted = PeftModel.from_pretrained(base, settings.recipe.adapter, is_trainable=True)
    except (OSError, ValueError, RuntimeError) as error:
        what = f"is no adapter for {wanted.model_name_or_path}"
        raise InputError(f"--adapter {settings.recipe.adapter}: {what} ({_one_line(error)})") from None
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
    (folder / RECORD).write_text(json.dumps(facts, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"{folder}: {facts['method']} on {facts['rows']} rows, loss {facts['result']['train_loss']:.4f}")


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__


def _fail(sentence: str) -> int:
    if _speaks():
        print(f"{Path(sys.argv[0]).name}: {sentence}", file=sys.stderr)
    return 2


def _speaks() -> bool:
    """Whether this is the process of several that talks to the user."""
    return os.environ.get("LOCAL_RANK", "0") == "0"
