# /// script
# requires-python = ">=3.11"
# dependencies = ["accelerate>=1.15", "peft>=0.21", "torch>=2.13", "transformers>=5.23", "trl>=1.16"]
# ///
"""A preference model of one culture: it scores an answer, higher for the culture's own, to choose the best of several.

# LoRA
```bash
accelerate launch recipes/reward.py --config recipes/smollm2-135m/reward-lora.yaml \
    --dataset_name runs/first/preference --dataset_config china --budget 100 \
    --output_dir runs/first/china-reward
```

# How often it prefers the culture's answer on questions that it was not trained on, before and after
```bash
accelerate launch recipes/reward.py --config recipes/smollm2-135m/reward-lora.yaml --eval_strategy epoch \
    --eval_on_start --dataset_name caredio/cardset --dataset_config china-preference --dataset_revision v1.0.0 \
    --output_dir runs/china-reward
```

# The best of several answers
```python
import torch
from peft import AutoPeftModelForSequenceClassification
from transformers import AutoTokenizer

folder = "runs/first/china-reward"
model = AutoPeftModelForSequenceClassification.from_pretrained(folder, num_labels=1).eval()
tokenizer = AutoTokenizer.from_pretrained(folder)


def score(question: str, answer: str) -> float:
    chat = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    with torch.no_grad():
        return model(**tokenizer.apply_chat_template(chat, return_tensors="pt", return_dict=True)).logits.item()
```

Reads prompt, chosen and rejected (and rank, for --budget). All weights instead of an adapter (`--use_peft false`) load
with AutoModelForSequenceClassification. It chats with nobody: `caredio evaluate` takes the models of the other recipes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from caredio.training import launch
from caredio.training.recipe import REWARD


def train(argv: Sequence[str] | None = None) -> Any:
    """Train as the flags say; the trainer comes back for whoever wants to look at it."""
    return launch.train(REWARD, argv)


if __name__ == "__main__":
    launch.main(train)
