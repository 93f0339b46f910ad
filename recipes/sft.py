# /// script
# requires-python = ">=3.11"
# dependencies = ["accelerate>=1.15", "peft>=0.21", "torch>=2.13", "transformers>=5.23", "trl>=1.16"]
# ///
"""Supervised fine-tuning on a culture's best rows: the loss counts the answer, not the question.

# LoRA, on the 100 best rows of a run
```bash
accelerate launch recipes/sft.py --config recipes/smollm2-135m/sft-lora.yaml \
    --dataset_name runs/first/ranked --dataset_config china --budget 100 \
    --output_dir runs/first/china-sft
```

# All weights
```bash
accelerate launch recipes/sft.py --config recipes/smollm2-135m/sft-full.yaml \
    --dataset_name runs/first/ranked --dataset_config china --budget 100 \
    --output_dir runs/first/china-sft-full
```

# QLoRA, on another base model and a dataset of the Hub
```bash
accelerate launch recipes/sft.py --config recipes/qwen2.5-7b-instruct/sft-lora.yaml --load_in_4bit true \
    --dataset_name caredio/cardset --dataset_config china --dataset_revision v1.0.0 \
    --output_dir runs/qwen-china-sft
```

# General chats replayed beside them, one row in five, so that other abilities stay: in a copy of the YAML
```yaml
datasets:
  - path: your/chats  # any dataset with `messages`, or with prompt and completion
    fraction: 0.2
```

Reads prompt and completion (and rank, for --budget). Writes the adapter or the model, its tokenizer and
training.json into --output_dir; `caredio publish` takes it from there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from caredio.training import launch
from caredio.training.recipe import SFT


def train(argv: Sequence[str] | None = None) -> Any:
    """Train as the flags say; the trainer comes back for whoever wants to look at it."""
    return launch.train(SFT, argv)


if __name__ == "__main__":
    launch.main(train)
