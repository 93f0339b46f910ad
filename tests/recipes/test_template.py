"""Chat templates, tokenizers and base models that lack something: known before weights are loaded, or mended."""

import json
import shutil

import pytest
from datasets import load_dataset
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

from caredio import checkpoints
from caredio.errors import InputError
from caredio.training import launch, rows, template
from caredio.training.flags import parse
from caredio.training.recipe import RECIPES, SFT

NO_SYSTEM = (
    "{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
LEAVES_OUT = NO_SYSTEM.replace(
    "{{ raise_exception('System role not supported') }}", "{% set messages = messages[1:] %}"
)
SYSTEM = "You answer as someone who lives in china would."


def model(tiny, folder, template=None, **tokens):
    """The tiny model with another tokenizer."""
    tokenizer = AutoTokenizer.from_pretrained(tiny)
    tokenizer.chat_template = template
    for name, token in tokens.items():
        setattr(tokenizer, name, token)
    shutil.copytree(tiny, folder)
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        (folder / name).unlink(missing_ok=True)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def named(run_folder, tmp_path):
    """The ranked rows as earlier releases have them in `all`: a system line names the culture."""
    files = [str(run_folder / "ranked" / f"{culture}.parquet") for culture in ("china", "united_kingdom")]

    def led(row):
        line = f"You answer as someone who lives in {row['culture']} would."
        return {"prompt": [{"role": "system", "content": line}, *row["prompt"]]}

    (tmp_path / "all").mkdir()
    load_dataset("parquet", data_files=files, split="train").map(led).to_parquet(tmp_path / "all" / "train.parquet")
    return ("--dataset_name", str(tmp_path / "all"), "--dataset_config", "default")


@pytest.fixture
def no_weights(monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("weights were loaded")

    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", refuse)
    monkeypatch.setattr(LlamaForCausalLM, "from_pretrained", refuse)


def refused(train, argv, tmp_path):
    with pytest.raises(InputError) as error:
        train(argv)
    assert not (tmp_path / "out").exists()
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.usefixtures("no_weights")
@pytest.mark.parametrize("recipe", ["sft", "dpo"])
def test_a_model_without_template_is_one_sentence(request, recipe, flags, tiny, tmp_path):
    base = model(tiny, tmp_path / "base")
    stage = "ranked" if recipe == "sft" else "preference"
    argv = flags(f"{recipe}-lora.yaml", model=base, stage=stage)
    said = refused(request.getfixturevalue(recipe).train, argv, tmp_path)
    assert said.startswith(f"{base}: its tokenizer has no chat template; give one with --chat_template_path FILE.jinja")


@pytest.mark.usefixtures("no_weights")
def test_the_script_says_so_and_exits_with_2(sft, flags, tiny, tmp_path, capsys):
    base = model(tiny, tmp_path / "base")
    with pytest.raises(SystemExit) as stopped:
        launch.main(lambda: sft.train(flags("sft-lora.yaml", model=base)))
    assert stopped.value.code == 2
    assert "give one with --chat_template_path FILE.jinja" in capsys.readouterr().err


@pytest.mark.parametrize("recipe", ["sft", "dpo"])
def test_a_template_of_ones_own_is_trained_with_and_saved(request, recipe, flags, tiny, tmp_path):
    (tmp_path / "own.jinja").write_text(NO_SYSTEM)
    stage = "ranked" if recipe == "sft" else "preference"
    own = ("--chat_template_path", str(tmp_path / "own.jinja"))
    base = model(tiny, tmp_path / "base")
    trainer = request.getfixturevalue(recipe).train(flags(f"{recipe}-lora.yaml", *own, model=base, stage=stage))
    assert trainer.processing_class.chat_template == NO_SYSTEM
    assert AutoTokenizer.from_pretrained(tmp_path / "out").chat_template == NO_SYSTEM


@pytest.mark.slow
def test_dpo_goes_on_with_the_template_of_the_adapter(sft, dpo, flags, tiny, tmp_path):
    (tmp_path / "own.jinja").write_text(NO_SYSTEM)
    base = model(tiny, tmp_path / "base")
    sft.train(flags("sft-lora.yaml", "--chat_template_path", str(tmp_path / "own.jinja"), model=base, out="sft"))
    more = ("--adapter", str(tmp_path / "sft"))
    trainer = dpo.train(flags("dpo-lora.yaml", *more, model=base, stage="preference"))
    assert trainer.processing_class.chat_template == NO_SYSTEM


def test_a_system_line_that_the_template_refuses_leads_the_user_turn(sft, flags, named, tiny, tmp_path, caplog):
    base = model(tiny, tmp_path / "base", NO_SYSTEM)
    with caplog.at_level("INFO", "caredio"):
        trainer = sft.train(flags("sft-lora.yaml", *named, model=base))
    for batch in trainer.get_train_dataloader():
        for tokens in batch["input_ids"]:
            text = trainer.processing_class.decode(tokens)
            assert text.startswith("<|im_start|>user\nYou answer as someone who lives in ")
            assert " would.\n\nA guest praises the meal" in text
    assert "the chat template takes no system message; in 12 rows it leads the user turn" in caplog.text
    record = json.loads((tmp_path / "out" / "training.json").read_text())
    assert record["system_messages_in_user_turn"] == 12
    assert record["base_sha256"] == checkpoints.weights_sha256(shutil.copytree(base, tmp_path / "copy"))


def test_a_system_line_stays_where_the_template_takes_it_and_is_not_lost_elsewhere(flags, named, tiny, tmp_path):
    table, _ = rows.tables(SFT, parse(SFT, flags("sft-lora.yaml", *named)))
    taken = template.fitted(table, SFT.answers, AutoTokenizer.from_pretrained(tiny), "all")
    assert taken == (table, 0)
    tokenizer = AutoTokenizer.from_pretrained(model(tiny, tmp_path / "base", LEAVES_OUT))
    folded, count = template.fitted(table, SFT.answers, tokenizer, "all")
    assert count == len(table) == 12
    for before, after in zip(table, folded, strict=True):
        line, question = (message["content"] for message in before["prompt"])
        assert after["prompt"] == [{"role": "user", "content": f"{line}\n\n{question}"}]
        assert after["completion"] == before["completion"]


@pytest.mark.usefixtures("no_weights")
def test_a_chat_that_the_template_refuses_is_one_sentence(sft, flags, run_folder, tiny, tmp_path):
    rows = load_dataset("parquet", data_files=str(run_folder / "ranked" / "china.parquet"), split="train")
    twice = {"prompt": [{"role": "user", "content": "One."}, {"role": "user", "content": "Two."}]}
    rows = rows.map(lambda row, number: twice if number == 2 else {"prompt": row["prompt"]}, with_indices=True)
    (tmp_path / "odd").mkdir()
    rows.to_parquet(tmp_path / "odd" / "train.parquet")
    alternating = "{% for m in messages %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception("
    alternating += "'Roles must alternate') }}{% endif %}{{ m.content }}{% endfor %}"
    base = model(tiny, tmp_path / "base", alternating)
    more = ("--dataset_name", str(tmp_path / "odd"), "--dataset_config", "default")
    said = refused(sft.train, flags("sft-lora.yaml", *more, model=base), tmp_path)
    assert "row 2: the chat template refuses user, user, assistant (Roles must alternate)" in said


@pytest.mark.slow
def test_plain_text_needs_no_template(sft, flags, tiny, tmp_path):
    (tmp_path / "text").mkdir()
    rows = [{"prompt": f"The meal is {word}.", "completion": " Thank you."} for word in ("good", "fine", "long", "hot")]
    (tmp_path / "text" / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    base = model(tiny, tmp_path / "base")
    more = ("--dataset_name", str(tmp_path / "text"), "--dataset_config", "default", "--budget", "0")
    sft.train(flags("sft-lora.yaml", *more, model=base))
    assert (tmp_path / "out" / "adapter_model.safetensors").exists()


def test_a_tokenizer_without_pad_token_pads_with_the_end(flags, tiny, tmp_path):
    base = model(tiny, tmp_path / "base", NO_SYSTEM, pad_token=None)
    assert AutoTokenizer.from_pretrained(base).pad_token is None
    found = template.tokenizer(parse(SFT, flags("sft-lora.yaml", model=base)), str(base), True)
    assert found.pad_token == found.eos_token == "<|im_end|>"


@pytest.mark.usefixtures("no_weights")
def test_what_a_base_lacks_is_one_sentence(sft, flags, tiny, tmp_path):
    def said(base, *more):
        return refused(sft.train, flags("sft-lora.yaml", *more, model=base), tmp_path)

    assert "has no pad_token and no eos_token" in said(
        model(tiny, tmp_path / "a", NO_SYSTEM, pad_token=None, eos_token=None)
    )
    shutil.copytree(tiny, tmp_path / "b")
    (tmp_path / "b" / "tokenizer.json").unlink()
    assert "holds no tokenizer" in said(tmp_path / "b")
    shutil.copytree(tiny, tmp_path / "c")
    (tmp_path / "c" / "model.safetensors").unlink()
    assert "holds no weights" in said(tmp_path / "c")
    shutil.copytree(tiny, tmp_path / "e")
    LlamaConfig.from_pretrained(tiny, vocab_size=100).save_pretrained(tmp_path / "e")
    assert "is another model's, as this knows 100" in said(tmp_path / "e")
    assert "cannot be given the adapter of these flags" in said(tiny, "--lora_target_modules", "nowhere")
    assert "--eos_token <end>: is no token of" in said(tiny, "--eos_token", "<end>")
    assert "--chat_template_path no/such" not in said(model(tiny, tmp_path / "d"))
    assert "'no/such' cannot be loaded" in said(tiny, "--chat_template_path", "no/such")
    (tmp_path / "broken.jinja").write_text("{% for %}")
    assert "the chat template refuses" in said(tiny, "--chat_template_path", str(tmp_path / "broken.jinja"))


def test_an_adapter_of_another_base_is_one_sentence(sft, flags, tiny, tmp_path, request):
    sft.train(flags("sft-lora.yaml", model=tiny, out="sft"))
    more = ("--adapter", str(tmp_path / "sft"))
    shutil.copytree(tiny, tmp_path / "other")
    config = LlamaConfig.from_pretrained(tiny)
    LlamaForCausalLM(config).save_pretrained(tmp_path / "other")  # drawn anew
    request.getfixturevalue("no_weights")
    said = refused(sft.train, flags("sft-lora.yaml", *more, model=tmp_path / "other"), tmp_path)
    assert "was trained on other weights than those of" in said


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_flag_is_known_to_every_recipe(flags, recipe):
    argv = flags(f"{recipe}-lora.yaml", "--chat_template_path", "own.jinja")
    settings = parse(RECIPES[recipe], argv)
    there = settings.own if hasattr(settings.own, "chat_template_path") else settings.training
    assert there.chat_template_path == "own.jinja"
