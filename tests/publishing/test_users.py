"""What people do with a release, with no code of ours: TRL's command, transformers and PEFT, over a local Hub."""

import os
import re
import subprocess
import sys
import textwrap
import zipfile
from pathlib import Path

import pytest
from hub_server import HubServer
from publishing.test_hub import publish, python
from publishing.test_release import table

import caredio

ROOT = Path(__file__).parents[2]
TINY = """
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM
tokenizer = AutoTokenizer.from_pretrained({source!r})
config = LlamaConfig(
    vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
    num_key_value_heads=4, pad_token_id=tokenizer.pad_token_id, eos_token_id=tokenizer.eos_token_id,
)
LlamaForCausalLM(config).save_pretrained({target!r})
tokenizer.save_pretrained({target!r})
"""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture
def tiny(embedded_home, tmp_path):
    """A base model of random weights with the embedded model's tokenizer."""
    from caredio.llm.local import model_path

    target = tmp_path / "tiny"
    script = TINY.format(source=str(model_path()), target=str(target))
    subprocess.run([sys.executable, "-c", script], check=True)
    return target


@pytest.fixture
def hub(tmp_path):
    """A Hub that holds caredio/cardset v1.0.0."""
    run = tmp_path / "run"
    run.mkdir()
    caredio.select(table(run), out=run, theta=0.99)
    with HubServer(tmp_path / "hub") as hub:
        publish(hub, run, tmp_path / "home", "--to", tmp_path / "r", "--version", "v1.0.0", "--push", "caredio/cardset")
        hub.run = run
        yield hub


def trl(hub, home, *arguments):
    command = [str(Path(sys.executable).parent / "trl"), *map(str, arguments)]
    environment = {**hub.environment(home), "ACCELERATE_USE_CPU": "true"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.parametrize(("method", "config"), [("sft", "china"), ("sft", "all"), ("dpo", "china-preference")])
def test_trls_own_command_trains_on_a_release(hub, tiny, tmp_path, method, config):
    flags = [
        "--use_cpu",
        "--bf16",
        "false",
        "--max_steps",
        1,
        "--report_to",
        "none",
        "--per_device_train_batch_size",
        2,
    ]
    name = ["--dataset_name", "caredio/cardset", "--dataset_config", config]
    out = tmp_path / "out"
    trl(hub, tmp_path / "fresh", method, "--model_name_or_path", tiny, *name, "--output_dir", out, *flags)
    assert (out / "model.safetensors").exists()


def test_models_load_from_their_release(hub, tiny, tmp_path):
    home = tmp_path / "home"
    recipe = [sys.executable, str(ROOT / "recipes" / "sft.py"), "--config"]
    rows = ["--dataset_name", str(hub.run / "ranked"), "--dataset_config", "china", "--model_name_or_path", str(tiny)]
    flags = ["--use_cpu", "--max_steps", "1", "--report_to", "none"]
    for name in ("sft-lora", "sft-full"):
        config, out = str(ROOT / "recipes" / "smollm2-135m" / f"{name}.yaml"), str(tmp_path / name)
        subprocess.run([*recipe, config, *rows, *flags, "--output_dir", out], check=True)
        publish(
            hub, hub.run, home, "--model", out, "--to", f"{out}-r", "--version", "v1.0.0", "--push", f"caredio/{name}"
        )
    said = python(
        hub,
        tmp_path / "fresh",
        f"""
        from peft import PeftModel
        from transformers import AutoModelForCausalLM, AutoTokenizer
        full = AutoModelForCausalLM.from_pretrained("caredio/sft-full", revision="v1.0.0")
        base = AutoModelForCausalLM.from_pretrained({str(tiny)!r})
        adapted = PeftModel.from_pretrained(base, "caredio/sft-lora", revision="v1.0.0")
        tokenizer = AutoTokenizer.from_pretrained("caredio/sft-lora", revision="v1.0.0")
        ids = tokenizer("Tea is served", return_tensors="pt")["input_ids"]
        print(full(ids).logits.shape == adapted(ids).logits.shape, len(adapted.peft_config))
        """,
    )
    assert said[-1] == "True 1"
    for name in ("sft-full", "sft-lora"):
        page = (tmp_path / f"{name}-r" / "README.md").read_text(encoding="utf-8")
        (block,) = re.findall("```python\n(.*?)```", page, re.DOTALL)
        python(hub, tmp_path / "fresh", block + "\nassert answer.ndim == 1 and 0 < len(answer) <= 100")
        assert (tmp_path / f"{name}-r" / "figures" / "loss.png").exists()


def test_a_wheel_holds_templates_benchmarks_recipes_and_prompts(tmp_path):
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(tmp_path), str(ROOT)]
    subprocess.run(build, check=True, env={**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1"})
    names = set(zipfile.ZipFile(next(tmp_path.glob("*.whl"))).namelist())
    wanted = """
        caredio/cultures.yaml caredio/topics.yaml caredio/py.typed caredio/prompts/adapt.txt
        caredio/dataset_card/README.md.jinja caredio/model_cards/README.md.jinja
        caredio/recipes/sft.py caredio/recipes/smollm2-135m/sft-lora.yaml
        caredio/data/culturalbench/sample.csv caredio/evaluation/benchmarks/culturalbench.py
    """
    assert set(textwrap.dedent(wanted).split()) <= names
    assert not any(name.startswith("tests/") for name in names)
