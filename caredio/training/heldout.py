"""How well a model predicts a culture's answers to questions that it did not learn: nats and tokens of each row."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from datasets import Dataset

from caredio import checkpoints
from caredio.errors import InputError

_AT_ONCE = 2048  # tokens of a batch, the padding included


class Loss(NamedTuple):
    """Of the answer of one row, its end marker included, as the recipes learn it."""

    nats: float  # negative log-likelihood
    tokens: int
    bytes: int  # of its text, in UTF-8


class Model:
    """A base model, on which adapters are put in turn."""

    def __init__(self, source: str, dtype: str = "auto", **origin: Any) -> None:
        """Raises: InputError: it cannot be loaded."""
        import torch
        from transformers import AutoModelForCausalLM

        self.tokenizer = checkpoints.load_tokenizer(source, **origin)
        found = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
        try:
            loaded: Any = AutoModelForCausalLM.from_pretrained(source, dtype=dtype, **origin)
            self._model = loaded.to(found or "cpu").eval()
        except checkpoints.REFUSED as error:
            raise InputError(f"model {source!r} cannot be loaded ({checkpoints.one_line(error)}).") from None

    def losses(self, rows: Dataset, adapter: Path | None = None) -> list[Loss]:
        """The loss of each row's completion after its prompt.

        Args:
            rows: prompt and completion, chats.
            adapter: folder; None asks the base model.

        Raises:
            InputError: the adapter is another model's.
        """
        tokenizer = self.tokenizer
        if adapter is not None and checkpoints.has_tokenizer(adapter):
            tokenizer = checkpoints.load_tokenizer(str(adapter))
        texts = [_tokens(tokenizer, row) for row in rows]
        found: list[Loss | None] = [None] * len(texts)
        with self._adapted(adapter) as model:
            for batch in batches([len(whole) for _, whole in texts]):
                nats = _nats(model, [texts[row] for row in batch])
                for row, value in zip(batch, nats, strict=True):
                    prompt, whole = texts[row]
                    size = sum(len(message["content"].encode()) for message in rows[row]["completion"])
                    found[row] = Loss(value, len(whole) - prompt, size)
        return [loss for loss in found if loss is not None]

    @contextmanager
    def _adapted(self, adapter: Path | None) -> Iterator[Any]:
        if adapter is None:
            yield self._model
            return
        from peft import PeftModel

        try:
            adapted: Any = PeftModel.from_pretrained(self._model, str(adapter))
        except checkpoints.REFUSED as error:
            raise InputError(f"{adapter}: cannot be put on the model ({checkpoints.one_line(error)}).") from None
        try:
            yield adapted.eval()
        finally:
            self._model = adapted.unload()


def _tokens(tokenizer: Any, row: dict[str, Any]) -> tuple[int, list[int]]:
    """How many tokens the prompt is, and those of the whole chat, as TRL makes them."""
    prompt = tokenizer.apply_chat_template(row["prompt"], add_generation_prompt=True, return_dict=False)
    whole = tokenizer.apply_chat_template(row["prompt"] + row["completion"], return_dict=False)
    shared = next((n for n, (one, two) in enumerate(zip(prompt, whole, strict=False)) if one != two), len(prompt))
    return shared, list(whole)


def batches(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Rows to read at once, the shortest first: as many as their padded tokens allow, and at least one."""
    batch: list[int] = []
    for row in sorted(range(len(lengths)), key=lengths.__getitem__):
        if batch and (len(batch) + 1) * lengths[row] > _AT_ONCE:
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch


def _nats(model: Any, texts: Sequence[tuple[int, list[int]]]) -> list[float]:
    """The negative log-likelihood of each text after its prompt."""
    import torch

    longest = max(len(whole) for _, whole in texts)
    tokens = torch.tensor([whole + [0] * (longest - len(whole)) for _, whole in texts], device=model.device)
    there = torch.tensor([[1] * len(whole) + [0] * (longest - len(whole)) for _, whole in texts], device=model.device)
    found = []
    with torch.inference_mode():
        logits = model(input_ids=tokens, attention_mask=there).logits
        for row, (prompt, whole) in enumerate(texts):
            said = logits[row, prompt - 1 : len(whole) - 1].float().log_softmax(-1)
            wanted = tokens[row, prompt : len(whole)]
            found.append(-said.gather(1, wanted[:, None]).sum().item())
    return found
