# /// script
# requires-python = ">=3.11"
# dependencies = ["accelerate>=1.15", "peft>=0.21", "torch>=2.13", "transformers>=5.23", "trl>=1.16"]
# ///
"""Preference tuning on a culture's best rows: its answer is chosen, another culture's to the question is rejected.

# LoRA, straight from the base model
```bash
accelerate launch recipes/dpo.py --config recipes/smollm2-135m/dpo-lora.yaml \
    --dataset_name runs/first/preference --dataset_config china --budget 100 \
    --output_dir runs/first/china-dpo
```

# On top of what sft.py made: its adapter is trained on, a frozen copy of it is the reference
```bash
accelerate launch recipes/dpo.py --config recipes/smollm2-135m/dpo-lora.yaml \
    --adapter runs/first/china-sft \
    --dataset_name runs/first/preference --dataset_config china --budget 100 \
    --output_dir runs/first/china-sft-dpo
```

Reads prompt, chosen and rejected (and rank, for --budget: the pairs of the N best rows). With an adapter there is no
second model in memory: the reference is the base model with the adapter off, or the frozen copy. Writes the adapter or
the model, its tokenizer and training.json into --output_dir; `caredio publish` takes it from there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from caredio.training import launch
from caredio.training.recipe import DPO


def train(argv: Sequence[str] | None = None) -> Any:
    """Train as the flags say; the trainer comes back for whoever wants to look at it."""
    return launch.train(DPO, argv)


if __name__ == "__main__":
    launch.main(train)
