# /// script
# requires-python = ">=3.11"
# dependencies = ["accelerate>=1.15", "peft>=0.21", "torch>=2.13", "transformers>=5.23", "trl>=1.16"]
# ///
"""Tuning on single answers that are marked as the culture's own or not: KTO needs no pairs.

# LoRA, straight from the base model
```bash
accelerate launch recipes/kto.py --config recipes/smollm2-135m/kto-lora.yaml \
    --dataset_name runs/first/unpaired --dataset_config china --budget 100 \
    --output_dir runs/first/china-kto
```

# On top of what sft.py made
```bash
accelerate launch recipes/kto.py --config recipes/smollm2-135m/kto-lora.yaml \
    --adapter runs/first/china-sft \
    --dataset_name runs/first/unpaired --dataset_config china --budget 100 \
    --output_dir runs/first/china-sft-kto
```

Reads prompt, completion and label (and rank, for --budget: all answers of the N best rows). TRL pairs each prompt with
the answer before it to estimate how far the model has moved, and reads the rows in the order of the table, which is
best first: they are shuffled here, by --seed, and a batch on one device holds at least two. There are more answers of
other cultures than of its own, so that these weigh more: by `desirable_weight`, or, where it is not given, such that
both kinds count alike (Eq. 8 of KTO, arXiv 2402.01306). Writes the adapter or the model, its
tokenizer and training.json into --output_dir; `caredio publish` takes it from there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from caredio.training import launch
from caredio.training.recipe import KTO


def train(argv: Sequence[str] | None = None) -> Any:
    """Train as the flags say; the trainer comes back for whoever wants to look at it."""
    return launch.train(KTO, argv)


if __name__ == "__main__":
    launch.main(train)
