"""One fit of the proof: the product's recipe on given rows, and what the trained model makes of people's answers.

The likelihoods are those of `training/heldout.py`, to which a test compares them. Here a question is read in one pass
with all of its answers, each of which sees the prompt and itself alone, and the adapter is merged: half of the time.
"""

from __future__ import annotations

import gc
import importlib
import re
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM

from caredio import checkpoints, prompts
from caredio.evaluation import short_answers
from caredio.evaluation.benchmark import GENERATED, LIKELIHOOD, Document
from caredio.llm.local import model_path
from caredio.training import heldout

RECIPE = "smollm2-135m/sft-lora.yaml"
# over the recipe's YAML: more steps of fewer rows, of like lengths; a rate at which 80 short rows change the model; no
# dropout, which costs a tenth of a step
FLAGS = {
    "per_device_train_batch_size": 4,
    "gradient_accumulation_steps": 1,
    "learning_rate": 1e-3,
    "train_sampling_strategy": "group_by_length",
    "lora_dropout": 0,
    "use_cpu": True,
}
WRITTEN = {"tune": 0, "confirm": 40}  # of a region's test questions, those to which answers are written
_AT_ONCE = 1200  # tokens of a batch, the padding included
_DEFAULT_SYSTEM = re.compile(r"\{% if loop\.first.*?\{% endif %\}", re.DOTALL)


@dataclass(frozen=True)
class Fit:
    """What was trained, and how."""

    model: Any  # merged
    adapter: Path
    steps: int
    losses: tuple[float, float]  # of the first step, and of the last steps that were logged
    cpu_seconds: float


def template() -> str:
    """The model's chat template without its default system prompt."""
    found, count = _DEFAULT_SYSTEM.subn("", str(checkpoints.load_tokenizer(str(model_path())).chat_template))
    assert count == 1, "the template has another form"
    return found


def tokenizer() -> Any:
    """The model's tokenizer, with that template."""
    made = checkpoints.load_tokenizer(str(model_path()))
    made.chat_template = template()
    return made


def raw() -> Any:
    """The model as it is."""
    return AutoModelForCausalLM.from_pretrained(model_path(), dtype="float32").eval()


def train(rows: Dataset, steps: int, seed: int, folder: Path) -> Fit:
    """Train on rows with prompt and completion.

    Args:
        steps: how often the weights are changed.
        seed: of the adapter's initialisation and of the order of rows.
        folder: an empty one, for what the recipe reads and writes.
    """
    (folder / "data").mkdir()
    rows.select_columns(["prompt", "completion"]).to_parquet(folder / "data" / "train.parquet")
    (folder / "chat.jinja").write_text(template(), encoding="utf-8")
    given = {"dataset_name": folder / "data", "budget": 0, "output_dir": folder / "made", "max_steps": steps}
    given |= {"seed": seed, "chat_template_path": folder / "chat.jinja", **FLAGS}
    began = time.process_time()
    words = [word for name, value in given.items() for word in (f"--{name}", str(value))]
    trainer = importlib.import_module("caredio.recipes.sft").train(["--config", RECIPE, *words])
    took = time.process_time() - began
    logged = [one["loss"] for one in trainer.state.log_history if "loss" in one]
    merged = trainer.accelerator.unwrap_model(trainer.model).merge_and_unload().eval()
    return Fit(merged, folder / "made", trainer.state.global_step, (logged[0], logged[-1]), took)


def likelihoods(model: Any, tokenizer: Any, documents: Sequence[Document]) -> list[list[float]]:
    """The log-likelihoods in nats that `short_answers.by_likelihoods` scores, of each document."""
    asked = [
        heldout._continued(tokenizer, chat, short_answers.choices(document))
        for chat, document in zip(chats(documents, LIKELIHOOD), documents, strict=True)
    ]
    found: list[list[float]] = [[] for _ in asked]
    for batch in _batches([len(one.prompt) + sum(len(text) - 1 for text in one.texts) for one in asked]):
        for place, values in zip(batch, _read(model, [asked[place] for place in batch]), strict=True):
            found[place] = values
    return found


def replies(base: heldout.Model, documents: Sequence[Document], adapter: Path | None) -> list[str]:
    """What the model, or an adapter on it, writes in answer."""
    return base.replies(chats(documents, GENERATED), adapter, short_answers.TOKENS)


def chats(documents: Sequence[Document], variant: str) -> list[list[dict[str, str]]]:
    """The questions as evaluation asks them."""
    prompt = prompts.load(short_answers.KIND.prompt)
    turns = [short_answers.turns(document, prompt, variant)[0] for document in documents]
    return [[{"role": "user", "content": turn}] for turn in turns]


def fitted(rows: Dataset, steps: int, seed: int, out: Path) -> Iterator[Fit]:
    """One fit, whose folder is there until the next is asked for."""
    with tempfile.TemporaryDirectory(dir=out) as folder:
        yield train(rows, steps, seed, Path(folder))
    gc.collect()


def _batches(lengths: Sequence[int]) -> Iterator[list[int]]:
    batch: list[int] = []
    for place in sorted(range(len(lengths)), key=lengths.__getitem__):
        if batch and (len(batch) + 1) * lengths[place] > _AT_ONCE:
            yield batch
            batch = []
        batch.append(place)
    if batch:
        yield batch


def _read(model: Any, asked: Sequence[heldout._Continued]) -> list[list[float]]:
    """The log-likelihood of each text of each prompt, all in one pass."""
    longest = max(len(one.prompt) + sum(len(text) - 1 for text in one.texts) for one in asked)
    tokens, positions = (torch.zeros(len(asked), longest, dtype=torch.long) for _ in range(2))
    seen = torch.eye(longest, dtype=torch.bool).repeat(len(asked), 1, 1)
    wanted: list[tuple[int, int, int, int]] = []  # row, text, the place that foretells a token, the token
    for row, one in enumerate(asked):
        at = length = len(one.prompt)
        tokens[row, :length], positions[row, :length] = torch.tensor(one.prompt), torch.arange(length)
        seen[row, :length, :length] |= _causal(length)
        for number, text in enumerate(one.texts):
            wanted.append((row, number, length - 1, text[0]))
            wanted += [(row, number, at + place, token) for place, token in enumerate(text[1:])]
            end = at + len(text) - 1
            tokens[row, at:end] = torch.tensor(text[:-1], dtype=torch.long)
            positions[row, at:end] = torch.arange(length, length + len(text) - 1)
            seen[row, at:end, :length] = True
            seen[row, at:end, at:end] |= _causal(end - at)
            at = end
    mask = torch.zeros(seen.shape).masked_fill(~seen, torch.finfo(torch.float32).min)[:, None]
    rows, numbers, places, targets = zip(*wanted, strict=True)
    with torch.inference_mode():
        states = model.model(input_ids=tokens, position_ids=positions, attention_mask=mask, use_cache=False)
        keys = torch.tensor(rows) * longest + torch.tensor(places)
        once, back = keys.unique(return_inverse=True)
        told = model.lm_head(states.last_hidden_state.flatten(0, 1)[once]).float().log_softmax(-1)
        values = told[back, torch.tensor(targets)].tolist()
    found = [[0.0] * len(one.texts) for one in asked]
    for row, number, value in zip(rows, numbers, values, strict=True):
        found[row][number] += value
    return found


def _causal(length: int) -> torch.Tensor:
    return torch.ones(length, length, dtype=torch.bool).tril()
