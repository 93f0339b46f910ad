# /// script
# requires-python = ">=3.11"
# dependencies = ["accelerate>=1.15", "peft>=0.21", "torch>=2.13", "transformers>=5.23", "trl>=1.16"]
# ///
"""Preference tuning by SimPO: the culture's answer is likelier per token than another's, by a margin; no reference.

# LoRA, straight from the base model
```bash
accelerate launch recipes/simpo.py --config recipes/smollm2-135m/simpo-lora.yaml \
    --dataset_name runs/first/preference --dataset_config china --budget 100 \
    --output_dir runs/first/china-simpo
```

# The stable neighbour: DPO with the reward per token, next to a reference
```bash
accelerate launch recipes/dpo.py --config recipes/smollm2-135m/dpo-lora.yaml --loss_type sigmoid_norm --beta 2.0 \
    --dataset_name runs/first/preference --dataset_config china --budget 100 \
    --output_dir runs/first/china-dpo-norm
```

SimPO is optional: it is TRL's experimental CPOTrainer with `loss_type: simpo` and `cpo_alpha: 0` (which this recipe
sets), and experimental parts of TRL come and go between releases; constraints.txt names the release that it was tested
with. DPO with `loss_type: [sigmoid_norm]` is no experiment. Reads prompt, chosen and rejected (and rank, for --budget).
Writes the adapter or the model, its tokenizer and training.json into --output_dir.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from caredio.training import launch
from caredio.training.recipe import SIMPO


def train(argv: Sequence[str] | None = None) -> Any:
    """Train as the flags say; the trainer comes back for whoever wants to look at it."""
    return launch.train(SIMPO, argv)


if __name__ == "__main__":
    launch.main(train)
