"""What a model makes of questions that it did not learn: the loss of each row, the likelihood of texts, its replies."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from datasets import Dataset

from caredio import checkpoints, packages
from caredio.errors import InputError

_AT_ONCE = 2048  # tokens of a batch, the padding included
_TEXTS = 512  # of which every token's probability is kept

Chat = Sequence[Mapping[str, str]]


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
        tokenizer = self._tokenizer_of(adapter)
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

    def likelihoods(
        self, prompts: Sequence[Chat], texts: Sequence[Sequence[str]], adapter: Path | None = None
    ) -> list[list[float]]:
        """The log-likelihood in nats of each text after its prompt, which is read once for all of its texts.

        As lm-eval's `loglikelihood` has it: a text is a beginning of the reply, so its end marker does not count.

        Args:
            prompts: chats that a reply follows.
            texts: for each prompt.
            adapter: as `losses` takes it.

        Raises:
            InputError: the adapter is another model's.
        """
        tokenizer = self._tokenizer_of(adapter)
        asked = [_continued(tokenizer, prompt, own) for prompt, own in zip(prompts, texts, strict=True)]
        found: list[list[float]] = [[] for _ in asked]
        with self._adapted(adapter) as model:
            for batch in _alike(asked):
                for place, values in zip(batch, _after(model, [asked[place] for place in batch]), strict=True):
                    found[place] = values
        return found

    def replies(self, prompts: Sequence[Chat], adapter: Path | None = None, tokens: int = 32) -> list[str]:
        """What the model writes after each prompt, always the likeliest token.

        Args:
            prompts: chats that a reply follows.
            adapter: as `losses` takes it.
            tokens: of a reply, at most.

        Raises:
            InputError: the adapter is another model's.
        """
        tokenizer = self._tokenizer_of(adapter)
        asked = [_prompt(tokenizer, prompt) for prompt in prompts]
        found = [""] * len(asked)
        with self._adapted(adapter) as model:
            for batch in batches([len(one) + tokens for one in asked]):
                for place, text in zip(
                    batch, _written(model, tokenizer, [asked[place] for place in batch], tokens), strict=True
                ):
                    found[place] = text
        return found

    def _tokenizer_of(self, adapter: Path | None) -> Any:
        if adapter is not None and checkpoints.has_tokenizer(adapter):
            return checkpoints.load_tokenizer(str(adapter))
        return self.tokenizer

    @contextmanager
    def _adapted(self, adapter: Path | None) -> Iterator[Any]:
        if adapter is None:
            yield self._model
            return
        from peft import PeftModel

        try:
            with packages.quiet_peft():
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


class _Continued(NamedTuple):
    """Tokens of a prompt, and of each text that may follow it."""

    prompt: list[int]
    texts: list[list[int]]


def _prompt(tokenizer: Any, chat: Chat) -> list[int]:
    return list(tokenizer.apply_chat_template(list(chat), add_generation_prompt=True, return_dict=False))


def _continued(tokenizer: Any, chat: Chat, texts: Sequence[str]) -> _Continued:
    """A text's tokens are those that it adds to the prompt's, as lm-eval takes them."""
    written = str(tokenizer.apply_chat_template(list(chat), add_generation_prompt=True, tokenize=False))
    whole = [tokenizer(written + text, add_special_tokens=False)["input_ids"] for text in texts]
    prompt = tokenizer(written, add_special_tokens=False)["input_ids"]
    return _Continued(prompt, [tokens[len(prompt) :] for tokens in whole])


def _alike(asked: Sequence[_Continued]) -> Iterator[list[int]]:
    """Places of prompts of one length, as many as the padded tokens of their texts allow, and at least one."""
    lengths: dict[int, list[int]] = defaultdict(list)
    for place, one in enumerate(asked):
        lengths[len(one.prompt)].append(place)
    for places in lengths.values():
        batch: list[int] = []
        widest = rows = 0
        for place in places:
            wider = max([widest, *map(len, asked[place].texts)])
            more = rows + len(asked[place].texts)
            if batch and wider * more > _TEXTS:
                yield batch
                batch, wider, more = [], max(map(len, asked[place].texts), default=0), len(asked[place].texts)
            batch.append(place)
            widest, rows = wider, more
        yield batch


def _after(model: Any, asked: Sequence[_Continued]) -> list[list[float]]:
    """The log-likelihood of each text of prompts of one length."""
    import torch

    texts = [text for one in asked for text in one.texts]
    if not texts:
        return [[] for _ in asked]
    longest = max(map(len, texts))
    device = model.device
    owner = torch.tensor([place for place, one in enumerate(asked) for _ in one.texts], device=device)
    with torch.inference_mode():
        prompts = torch.tensor([one.prompt for one in asked], device=device)
        read = model(input_ids=prompts, use_cache=True, logits_to_keep=1)
        first = read.logits[:, -1].float().log_softmax(-1)
        found = [first[place, text[0]].item() for place, text in zip(owner.tolist(), texts, strict=True)]
        if longest > 1:
            cache = read.past_key_values
            cache.batch_select_indices(owner)
            tokens = torch.tensor([text + [0] * (longest - len(text)) for text in texts], device=device)
            there = torch.ones(len(texts), prompts.shape[1] + longest - 1, dtype=torch.long, device=device)
            logits = model(input_ids=tokens[:, :-1], attention_mask=there, past_key_values=cache).logits
            for row, text in enumerate(texts):
                said = logits[row, : len(text) - 1].float().log_softmax(-1)
                found[row] += said.gather(1, tokens[row, 1 : len(text), None]).sum().item()
    values = iter(found)
    return [[next(values) for _ in one.texts] for one in asked]


def _written(model: Any, tokenizer: Any, prompts: Sequence[list[int]], most: int) -> list[str]:
    """A reply to each prompt, padded on its left to the longest."""
    import torch

    longest = max(map(len, prompts))
    tokens = torch.tensor([[0] * (longest - len(one)) + one for one in prompts], device=model.device)
    there = torch.tensor([[0] * (longest - len(one)) + [1] * len(one) for one in prompts], device=model.device)
    with torch.inference_mode():
        written = model.generate(
            input_ids=tokens,
            attention_mask=there,
            max_new_tokens=most,
            do_sample=False,
            num_beams=1,
            pad_token_id=tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id,
        )
    return [text.strip() for text in tokenizer.batch_decode(written[:, longest:], skip_special_tokens=True)]
