"""The YAML of every base model: it parses, says what it must, and trains that model's architecture in small.

The weights of these models are not here. An architecture is built from its configuration class with small numbers,
under a tokenizer with the model's chat template: TRL's copy of it, and Mistral's as it is published.
"""

from importlib import resources

import pytest
import yaml
from accelerate.commands.config.config_args import load_config_from_file
from transformers import AutoTokenizer

from caredio.errors import InputError
from caredio.training.flags import read
from caredio.training.recipe import RECIPES, SFT, folder

MISTRAL = (
    "{{ bos_token }}{% for m in messages %}{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception("
    "'Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}{% if m['role'] == 'user' %}"
    "{{ '[INST] ' + m['content'] + ' [/INST]' }}{% elif m['role'] == 'assistant' %}{{ m['content'] + eos_token }}"
    "{% else %}{{ raise_exception('Only user and assistant roles are supported!') }}{% endif %}{% endfor %}"
)
SMALL = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 16,
}
# folder -> configuration class, TRL's copy of the chat template, whether it takes a system message
MODELS = {
    "gemma-2-9b-it": ("Gemma2Config", "gemma", False),
    "gemma-3-1b-it": ("Gemma3TextConfig", "gemma3", True),
    "gemma-3-27b-it": ("Gemma3Config", "gemma3", True),
    "llama-3.1-8b-instruct": ("LlamaConfig", "llama3_1", True),
    "mistral-7b-instruct": ("MistralConfig", None, False),
    "qwen2.5-7b-instruct": ("Qwen2Config", "qwen2_5", True),
    "qwen3-4b-instruct-2507": ("Qwen3Config", "qwen3_instruct_2507", True),
}
FILES = sorted(file for file in folder().glob("*/*.yaml") if file.parent.name != "accelerate")
ROWS = {"sft": 200, "dpo": 200, "simpo": 200, "reward": 200, "kto": 400}  # at the least, of 200 ranked rows
OF_THE_MODEL = {
    *("model_name_or_path", "lora_target_modules", "output_dir"),
    *("per_device_train_batch_size", "gradient_accumulation_steps"),
}


def test_each_base_model_has_a_file_of_each_method_and_none_is_unknown():
    named = {f"{model}/{method}-lora" for model in MODELS for method in ("sft", "dpo")}
    small = {f"smollm2-135m/{name}" for name in ("sft-full", *(f"{name}-lora" for name in RECIPES))}
    assert {f"{file.parent.name}/{file.stem}" for file in FILES} == named | small


@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parent.name}/{file.stem}")
def test_a_file_parses_and_200_rows_give_50_steps(file, tmp_path):
    recipe = RECIPES[file.stem.partition("-")[0]]
    settings = read(recipe, ["--config", str(file), "--use_cpu"])
    training, model = settings.training, settings.model
    step = training.per_device_train_batch_size * training.gradient_accumulation_steps
    assert ROWS[recipe.name] * training.num_train_epochs / step >= 50
    assert settings.own.budget == 200
    assert model.use_peft == ("lora" in file.stem)
    if file.parent.name in MODELS:
        assert (model.dtype, training.bf16, training.gradient_checkpointing) == ("bfloat16", True, True)


@pytest.mark.parametrize("method", ["sft", "dpo"])
def test_the_files_of_a_method_differ_in_what_is_the_model_s(method):
    known = [yaml.safe_load((folder() / model / f"{method}-lora.yaml").read_text()) for model in MODELS]
    assert len({str({key: value for key, value in one.items() if key not in OF_THE_MODEL}) for one in known}) == 1
    assert {one["per_device_train_batch_size"] * one["gradient_accumulation_steps"] for one in known} == {8}


def test_every_accelerate_file_is_one_that_accelerate_loads(recipes):
    files = {file.stem: load_config_from_file(str(file)) for file in (recipes / "accelerate").glob("*.yaml")}
    processes = {name: (config.num_processes, config.num_machines, config.use_cpu) for name, config in files.items()}
    assert processes == {"cpu": (1, 1, True), "cpu-2": (2, 1, False), "multi-node": (16, 2, False)}


def test_trl_s_own_accelerate_files_are_there_by_name():
    names = {file.name for file in resources.files("trl.accelerate_configs").iterdir()}
    assert {"fsdp1.yaml", "fsdp2.yaml", "zero1.yaml", "zero2.yaml", "zero3.yaml"} <= names


def built(tiny, model, place):
    """A folder with the model's architecture in small and random, and its chat template."""
    import transformers

    kind, template, _ = MODELS[model]
    tokenizer = AutoTokenizer.from_pretrained(tiny)
    text = MISTRAL
    if template:
        text = (resources.files("trl.chat_templates") / f"{template}.jinja").read_text(encoding="utf-8")
    tokenizer.chat_template = text
    numbers = {**SMALL, "vocab_size": len(tokenizer), "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    if kind == "Gemma3Config":
        tower = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
        config = transformers.Gemma3Config(
            text_config=numbers, vision_config={**tower, "image_size": 32, "patch_size": 16}, mm_tokens_per_image=4
        )
        net = transformers.Gemma3ForConditionalGeneration(config)
    else:
        config = getattr(transformers, kind)(**numbers)
        net = transformers.AutoModelForCausalLM.from_config(config)
    net.save_pretrained(place)
    tokenizer.save_pretrained(place)
    return place


@pytest.fixture
def argv(run_folder, tmp_path):
    """One step of a base model's own YAML, on the CPU."""

    def of(model, method, place, *more):
        recipe = RECIPES[method]
        return [
            *("--config", str(folder() / model / f"{method}-lora.yaml"), "--model_name_or_path", str(place)),
            *("--dataset_name", str(run_folder / recipe.table), "--dataset_config", "china"),
            *("--output_dir", str(tmp_path / "out"), "--max_steps", "1", "--gradient_accumulation_steps", "1"),
            *("--use_cpu", "--warmup_steps", "0", *more),
        ]

    return of


@pytest.mark.slow
@pytest.mark.parametrize("method", ["sft", "dpo"])
@pytest.mark.parametrize("model", MODELS)
def test_a_base_model_s_architecture_trains_one_step(request, tiny, tmp_path, argv, model, method):
    from peft import PeftModel
    from safetensors.torch import load_file

    place = built(tiny, model, tmp_path / "base")
    trainer = request.getfixturevalue(method).train(argv(model, method, place))
    learned = load_file(tmp_path / "out" / "adapter_model.safetensors")
    ups = {name: weight for name, weight in learned.items() if "lora_B" in name}
    assert len(ups) == 14  # seven layers of each of two blocks, and none of the tower that reads pictures
    assert all(weight.abs().max() > 0 for weight in ups.values())
    if method == "sft":  # no template marks what the assistant says, and none has to
        labels = [token for token in trainer.train_dataset["labels"][0] if token != -100]
        text = trainer.processing_class.decode(labels)
        assert "As in china" in text
        assert "praises the meal" not in text
    kind = type(trainer.model.get_base_model())
    assert PeftModel.from_pretrained(kind.from_pretrained(place), tmp_path / "out")


@pytest.mark.parametrize("model", MODELS)
def test_a_system_message_reaches_each_model(tiny, tmp_path, run_folder, model):
    """As a message of its own where the template takes one, else at the start of the user's turn."""
    from datasets import load_dataset

    from caredio.training import template

    tokenizer = AutoTokenizer.from_pretrained(built(tiny, model, tmp_path / "base"))
    table = load_dataset("parquet", data_files=str(run_folder / "ranked" / "china.parquet"), split="train")
    line = "You answer as someone who lives in China would."
    led = table.map(lambda row: {"prompt": [{"role": "system", "content": line}, *row["prompt"]]})
    rows, folded = template.fitted(led, SFT.answers, tokenizer, "all")
    assert folded == (0 if MODELS[model][2] else 6)
    text = tokenizer.apply_chat_template(rows[0]["prompt"] + rows[0]["completion"], tokenize=False)
    assert text.count(line) == 1
    assert text.index(line) < text.index("A guest praises the meal") < text.index("As in china")


def test_mistral_s_roles_must_alternate(sft, tiny, tmp_path, argv):
    from datasets import Dataset

    place = built(tiny, "mistral-7b-instruct", tmp_path / "base")
    turn = {"role": "user", "content": "One."}
    (tmp_path / "odd").mkdir()
    Dataset.from_list([{"prompt": [turn, turn], "completion": [{"role": "assistant", "content": "Yes."}]}]).to_parquet(
        tmp_path / "odd" / "train.parquet"
    )
    odd = ("--dataset_name", str(tmp_path / "odd"), "--dataset_config", "default", "--budget", "0")
    with pytest.raises(InputError, match="refuses user, user, assistant"):
        sft.train(argv("mistral-7b-instruct", "sft", place, *odd))
