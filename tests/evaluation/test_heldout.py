"""A model's likelihoods of texts and its replies in batches, beside lm-eval and a loop of single tokens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

from caredio.training import heldout

QUESTIONS = ["What is eaten?", "Who pays?", "What is sold?", "Which holiday lasts longest?"]
PROMPTS = [[{"role": "user", "content": question}] for question in QUESTIONS]
TEXTS = [["rice", "r", "green tea with milk"], [], ["\u7c73\u996d", "tacos"], ["rice"]]
EACH = [(place, text) for place, texts in enumerate(TEXTS) for text in texts]


@pytest.fixture
def loaded(tiny: Path) -> heldout.Model:
    return heldout.Model(str(tiny))


@pytest.mark.parametrize("adapted", [False, True], ids=["base", "adapter"])
def test_likelihoods_of_texts_are_those_of_lm_eval(
    tiny: Path, adapter: Path, loaded: heldout.Model, adapted: bool
) -> None:
    tokenizer, model = AutoTokenizer.from_pretrained(tiny), AutoModelForCausalLM.from_pretrained(tiny)
    if adapted:
        model = PeftModel.from_pretrained(model, str(adapter))
    other: Any = HFLM(pretrained=model.eval(), tokenizer=tokenizer, batch_size=1)
    requests = []
    for place, text in EACH:
        context = tokenizer.apply_chat_template(PROMPTS[place], add_generation_prompt=True, tokenize=False)
        requests.append(Instance("loglikelihood", {}, (context, text), 0))
    wanted = [likelihood for likelihood, _ in other.loglikelihood(requests, disable_tqdm=True)]
    found = loaded.likelihoods(PROMPTS, TEXTS, adapter if adapted else None)
    assert [len(values) for values in found] == [len(texts) for texts in TEXTS]
    assert [value for values in found for value in values] == pytest.approx(wanted, abs=1e-3)
    if adapted:  # which then is off again
        assert loaded.likelihoods(PROMPTS, TEXTS) != found


def test_likelihoods_do_not_depend_on_what_is_asked_at_once(
    loaded: heldout.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    together = loaded.likelihoods(PROMPTS, TEXTS)
    monkeypatch.setattr(heldout, "_TEXTS", 1)
    alone = loaded.likelihoods(PROMPTS, TEXTS)
    for one, other in zip(together, alone, strict=True):
        assert one == pytest.approx(other, abs=1e-3)


def test_replies_are_the_likeliest_tokens_whatever_is_asked_at_once(tiny: Path, loaded: heldout.Model) -> None:
    tokenizer, model = AutoTokenizer.from_pretrained(tiny), AutoModelForCausalLM.from_pretrained(tiny).eval()
    wanted = []
    for prompt in PROMPTS:
        tokens = tokenizer.apply_chat_template(prompt, add_generation_prompt=True, return_dict=False)
        written: list[int] = []
        while len(written) < 6 and 0 not in written:  # the end marker
            with torch.no_grad():
                written.append(int(model(torch.tensor([[*tokens, *written]])).logits[0, -1].argmax()))
        wanted.append(tokenizer.decode(written, skip_special_tokens=True).strip())
    assert len({len(question) for question in QUESTIONS}) > 1  # so that some are padded
    assert loaded.replies(PROMPTS, tokens=6) == wanted
    assert any(wanted)
