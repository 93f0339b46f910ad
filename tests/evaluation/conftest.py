"""Models for the tests: LMs whose answers are known, and a tiny random one that `from_pretrained` loads."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("lm_eval")
pytest.importorskip("peft")

from lm_eval.api.instance import Instance
from lm_eval.api.model import LM

TEMPLATE = (
    "{% for message in messages %}<|{{ message.role }}|>{{ message.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


class Scripted(LM):
    """Finds likely what `says` says it would say, or as likely; writes what `writes` writes; remembers what it was
    asked."""

    def __init__(
        self, says: Callable[[Instance], bool | float] | None = None, writes: Callable[[Instance], str] | None = None
    ) -> None:
        super().__init__()
        self.says, self.writes = says, writes
        self.asked: list[tuple[Any, ...]] = []

    @property
    def tokenizer_name(self) -> str:
        return "scripted"

    def loglikelihood(self, requests: list[Instance]) -> list[tuple[float, bool]]:
        assert self.says is not None
        self.asked += [request.args for request in requests]
        found = [self.says(request) for request in requests]
        return [((-1.0 if one else -2.0) if isinstance(one, bool) else one, one is True) for one in found]

    def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
        return "".join(f"<{turn['role']}>{turn['content']}" for turn in chat_history) + "<assistant>"

    def generate_until(self, requests: list[Instance]) -> list[str]:
        assert self.writes is not None
        self.asked += [request.args for request in requests]
        return [self.writes(request) for request in requests]

    def loglikelihood_rolling(self, requests: list[Instance]) -> list[float]:
        raise NotImplementedError


@pytest.fixture
def scripted() -> type[Scripted]:
    return Scripted


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random two-layer Llama over bytes, with a chat template."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    bytes_only = Tokenizer(models.BPE(vocab={"<end>": 0, **{byte: n for n, byte in enumerate(alphabet, 1)}}, merges=[]))
    bytes_only.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bytes_only.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=bytes_only, eos_token="<end>", pad_token="<end>")
    tokenizer.chat_template = TEMPLATE
    config = LlamaConfig(
        vocab_size=len(alphabet) + 1,
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=2048,
        initializer_range=0.5,  # else every answer is as likely as the next
        bos_token_id=0,
        eos_token_id=0,
        pad_token_id=0,
    )
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("tiny")
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def adapter(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random LoRA adapter for `tiny` that changes what it answers."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(1)
    model = get_peft_model(
        AutoModelForCausalLM.from_pretrained(tiny), LoraConfig(r=4, target_modules=["q_proj", "v_proj", "down_proj"])
    )
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight.data)
    folder = tmp_path_factory.mktemp("adapter")
    model.save_pretrained(folder)
    return folder
