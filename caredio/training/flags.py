"""A recipe's flags: TRL's own and ours, parsed strictly and checked before anything is loaded."""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence
from contextlib import redirect_stderr
from dataclasses import dataclass, field
from importlib import util
from pathlib import Path
from typing import Any, NamedTuple

from caredio import checkpoints
from caredio.errors import InputError
from caredio.training.recipe import Recipe, folder


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
    """The flag that some of TRL's configs have and others lack."""

    chat_template_path: str | None = field(
        default=None, metadata={"help": "file of a Jinja chat template, or a model whose template is used"}
    )


class Settings(NamedTuple):
    """A recipe's flags, parsed and checked. TRL's part is `Any`: its configs share no public type with these fields."""

    data: Any  # ScriptArguments
    own: RecipeArguments
    training: Any  # SFTConfig, DPOConfig, ...
    model: Any  # ModelConfig
    mixture: Any  # DatasetMixtureConfig


def parse(recipe: Recipe, argv: Sequence[str] | None = None) -> Settings:
    """The flags, checked before anything is loaded.

    Raises:
        InputError: an unknown key, or a value that no training can start with.
    """
    settings = read(recipe, argv)
    _check_data(settings)
    _check_model(recipe, settings)
    _check_training(recipe, settings)
    return settings


def read(recipe: Recipe, argv: Sequence[str] | None = None) -> Settings:
    """The flags: the command line's over those of `--config`, over the recipe's defaults, over TRL's.

    Raises:
        InputError: an unknown key, or a value of another type.
    """
    import yaml
    from trl import DatasetMixtureConfig, ModelConfig, ScriptArguments, TrlParser

    _, config = recipe.classes()
    own = RecipeArguments if hasattr(config, "chat_template_path") else TemplateArguments
    kinds: list[Any] = [ScriptArguments, own, config, ModelConfig, DatasetMixtureConfig]
    parser = TrlParser(
        kinds,
        usage="%(prog)s --config FILE.yaml [--flag VALUE ...]",
        allow_abbrev=False,  # else a mistyped flag may pass for the beginning of another
    )
    parser.set_defaults(**recipe.defaults)
    words, refused = _with_packaged(sys.argv[1:] if argv is None else argv), io.StringIO()
    try:
        with redirect_stderr(refused):
            return Settings(*parser.parse_args_and_config(words))
    except SystemExit as error:
        if not error.code:
            raise  # --help
        raise InputError(f"{' '.join(refused.getvalue().rpartition('error: ')[2].split()).rstrip('.')}.") from None
    except (OSError, ValueError, TypeError, IndexError, yaml.YAMLError) as error:
        raise InputError(f"the flags or the --config file cannot be used: {checkpoints.one_line(error)}.") from None


def _with_packaged(argv: Sequence[str]) -> list[str]:
    """Flags whose `--config` is a file: one of the package's own where it is named as `caredio recipes` lists it."""
    words = list(argv)
    for place in (place + 1 for place, word in enumerate(words[:-1]) if word == "--config"):
        own = folder() / words[place]
        if not Path(words[place]).is_file() and own.is_file():
            words[place] = str(own)
    return words


def _check_data(settings: Settings) -> None:
    data, own, _, wanted, mixture = settings
    for flag, value in (
        ("dataset_streaming", data.dataset_streaming),
        ("ignore_bias_buffers", data.ignore_bias_buffers),
        ("streaming", mixture.streaming),
        ("test_split_size", mixture.test_split_size),
    ):
        if value:
            raise InputError(f"--{flag}: has no use here; leave it out.")
    for flag, value in (("dataset_name", data.dataset_name), ("model_name_or_path", wanted.model_name_or_path)):
        if not value:
            raise InputError(f"--{flag} is missing; name a folder or a repository on the Hub.")
    if not isinstance(own.budget, int) or own.budget < 0:
        raise InputError(f"--budget is {own.budget}; use a number of rows, or 0 for all.")
    shares = [replay.fraction for replay in mixture.datasets]
    if any(not isinstance(share, (int, float)) or share <= 0 for share in shares) or sum(shares) >= 1:
        raise InputError(
            "datasets: each needs a `fraction` above 0, its share of the rows trained on, and --dataset_name gets "
            f"what they leave of 1; found {', '.join(map(str, shares))}."
        )


def _check_model(recipe: Recipe, settings: Settings) -> None:
    wanted, adapter = settings.model, settings.own.adapter
    quantized = wanted.load_in_4bit or wanted.load_in_8bit
    if adapter and recipe.name == "reward":
        raise InputError("--adapter: a preference model begins anew, as its score has no place in that; leave it out.")
    if adapter and not (Path(adapter) / checkpoints.ADAPTER).exists():
        raise InputError(f"--adapter {adapter}: has no {checkpoints.ADAPTER}; name a LoRA run's output_dir.")
    if quantized and not (wanted.use_peft or adapter):
        raise InputError("a quantized model trains only under an adapter; add --use_peft.")
    if quantized and util.find_spec("bitsandbytes") is None:
        raise InputError("--load_in_4bit and --load_in_8bit need bitsandbytes: pip install 'caredio[qlora]'.")
    if quantized and recipe.name == "reward" and wanted.dtype == "float32" and not settings.training.bf16:
        raise InputError("a quantized model's score is trained in bfloat16, and the rest is not: add --dtype bfloat16.")
    training = settings.training
    looks = training.eval_strategy != "no" or getattr(training, "precompute_ref_log_probs", False)
    if quantized and looks and training.device.type == "cpu":  # bitsandbytes then packs the weights, without gradients
        raise InputError(
            "a quantized model on a CPU learns nothing more once it was evaluated: add --precompute_ref_log_probs "
            "false and --eval_strategy no, or use a GPU."
        )
    layers = wanted.lora_target_modules or []
    if "lm_head" in ([layers] if isinstance(layers, str) else layers):
        raise InputError(
            "--lora_target_modules lm_head: the loss reads that layer past its adapter, which would learn nothing; "
            "leave it out."
        )


def _check_training(recipe: Recipe, settings: Settings) -> None:
    training = settings.training
    if training.push_to_hub:
        raise InputError("--push_to_hub: recipes never push; `caredio publish` does, with a card and a tag.")
    if recipe.name == "kto" and training.per_device_train_batch_size < 2:
        raise InputError(
            "--per_device_train_batch_size is 1: KTO compares an answer with the others of its batch on one device; "
            "use 2 or more."
        )
    for reporter in ("tensorboard", "wandb", "trackio"):
        if reporter in training.report_to and not _installed(reporter):
            raise InputError(f"--report_to {reporter} needs {reporter}: pip install {reporter}.")
    if training.n_gpu > 1:
        raise InputError(
            f"{training.n_gpu} GPUs and one process: start the recipe with `accelerate launch`, which makes a process "
            "for each, or show it one GPU with CUDA_VISIBLE_DEVICES=0."
        )
    if (Path(training.output_dir) / checkpoints.RECORD).exists():
        raise InputError(f"{training.output_dir}: holds a trained model; name another --output_dir, or remove it.")
    training.resume_from_checkpoint = _checkpoint(training)


def _installed(package: str) -> bool:
    try:
        return util.find_spec(package) is not None
    except ValueError:  # it is kept from being imported
        return False


def _checkpoint(training: Any) -> str | None:
    """The folder to resume from: the one that is named, or for `true` the last whole one of the output, if any."""
    named = training.resume_from_checkpoint
    if named is None or str(named).lower() == "false":
        return None
    if str(named).lower() == "true":
        output = Path(training.output_dir)
        found = checkpoints.last(output) if output.is_dir() else None
        return str(found) if found else None
    if not checkpoints.is_whole(Path(named)):
        what = f"holds no whole {checkpoints.STATE}"
        raise InputError(f"--resume_from_checkpoint {named}: {what}; name a checkpoint's folder, or `true`.")
    return str(named)
