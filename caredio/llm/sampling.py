"""Next tokens and likelihoods of the local model, on its tensors."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from caredio.llm.spec import Spec

if TYPE_CHECKING:
    import torch

_COMPACT = 0.75  # share of rows still going below which the batch is packed anew
_CONSIDERED = 64  # most likely tokens that sampling chooses from
_LONGEST_STRING = 120  # characters of a JSON string without a pattern: it does not end one by itself
_REPETITION = 1.15  # penalty without which it often circles until max_tokens
WITHOUT_EFFECT = ("_COMPACT",)  # on what a stage makes (fingerprints.py)


def likelihoods(model: Any, prompts: list[list[int]], completions: list[list[int]]) -> list[float]:
    """log2 p of the tokens of each completion after those of its prompt."""
    import torch

    rows = [torch.tensor(a + b) for a, b in zip(prompts, completions, strict=True)]
    inputs = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
    mask = torch.nn.utils.rnn.pad_sequence([torch.ones_like(row) for row in rows], batch_first=True)
    bits = []
    with torch.inference_mode():
        hidden = model.model(input_ids=inputs, attention_mask=mask).last_hidden_state
        # row by row: the vocabulary's scores are large
        for states, a, b in zip(hidden, prompts, completions, strict=True):
            scores = model.lm_head(states[len(a) - 1 : len(a) + len(b) - 1]).double()
            found = scores.log_softmax(dim=-1)[torch.arange(len(b)), torch.tensor(b, dtype=torch.int64)]
            bits.append(float(found.sum()) / math.log(2))
    return bits


def decode(
    model: Any, inputs: Any, samplers: list[Sampler], longest: int, stopped: Callable[[], bool]
) -> Iterator[tuple[int, list[int], bool]]:
    """(row, its tokens, whether the model ended by itself), each row when it ends; none more once `stopped()`.

    `generate` would compute ended rows to the end of the longest, more than half of the work here; these leave the
    batch instead.
    """
    import torch
    from transformers import StaticCache

    written: list[list[int]] = [[] for _ in samplers]
    rows = list(range(len(samplers)))  # those in the batch
    going = set(rows)
    step, mask = inputs["input_ids"], inputs["attention_mask"]
    # one that grows leaves holes in memory
    cache: Any = StaticCache(config=model.config, max_cache_len=step.shape[1] + longest)
    places = (mask.cumsum(dim=1) - 1).clamp(min=0)
    with torch.inference_mode():
        for _ in range(longest):
            scores = model(
                input_ids=step, attention_mask=mask, position_ids=places, past_key_values=cache, logits_to_keep=1
            ).logits[:, -1]
            tokens = []
            for row, score in zip(rows, scores, strict=True):
                token = samplers[row].next(score) if row in going else samplers[row].end
                if token != samplers[row].end:
                    written[row].append(token)
                elif row in going:
                    going.remove(row)
                    yield row, written[row], True
                tokens.append(token)
            if not going or stopped():
                break
            step, places = torch.tensor(tokens)[:, None], places[:, -1:] + 1
            mask = torch.cat([mask, torch.ones_like(step)], dim=1)
            if len(going) <= _COMPACT * len(rows):
                keep = torch.tensor([place for place, row in enumerate(rows) if row in going])
                for layer in cache.layers:
                    layer.keys, layer.values = layer.keys[keep], layer.values[keep]
                step, places, mask = step[keep], places[keep], mask[keep]
                rows = [row for row in rows if row in going]
    if not stopped():
        for row in rows:
            if row in going:
                yield row, written[row], False


class Sampler:
    """Draws one row's tokens, inside its JSON schema if it has one."""

    def __init__(self, spec: Spec, key: str, schema: dict[str, Any] | None, tokenizer: Any) -> None:
        import torch
        from llguidance import LLMatcher

        self.temperature = 1.0 if spec.temperature is None else spec.temperature
        self.top_p = 1.0 if spec.top_p is None else spec.top_p
        self.end = tokenizer.eos_token
        self.seed = torch.Generator().manual_seed(int(key[:15], 16))
        self.tokenizer, self.word = tokenizer, re.compile(r"\s?\w+")
        self.written: list[int] = []
        grammar = LLMatcher.grammar_from_json_schema(json.dumps(bounded(schema))) if schema else None
        self.matcher = LLMatcher(tokenizer, grammar) if grammar else None

    def next(self, scores: torch.Tensor) -> int:
        """The next token, from float32[vocabulary] scores."""
        import torch

        if self.matcher is not None and self.matcher.is_stopped():
            return self.end
        before = torch.tensor(self.written, dtype=torch.int64)
        known = scores[before]
        scores[before] = torch.where(known < 0, known * _REPETITION, known / _REPETITION)
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
            self.written.append(token)  # JSON must be free to repeat its marks
        if self.matcher is not None:
            self.matcher.consume_token(token)
        return token


def bounded(schema: Any) -> Any:
    """`schema` with every string held to `_LONGEST_STRING` characters, or to what its pattern says."""
    if isinstance(schema, dict):
        held = {key: bounded(value) for key, value in schema.items()}
        free = schema.get("type") == "string" and "pattern" not in schema
        return {"maxLength": _LONGEST_STRING, **held} if free else held
    return [bounded(item) for item in schema] if isinstance(schema, list) else schema
