"""Flags, YAML and rows: everything a recipe settles before a model is loaded."""

import re
import shlex
import shutil

import pytest
import yaml
from datasets import load_dataset

from caredio.checkpoints import RECORD
from caredio.errors import InputError
from caredio.training import launch, rows
from caredio.training.flags import parse, read
from caredio.training.recipe import RECIPES, SFT, folder

SMALL = ["sft-lora", "sft-full", "dpo-lora", "kto-lora", "simpo-lora", "reward-lora"]


def recipe_of(config):
    return RECIPES[config.partition("-")[0]]


def test_every_recipe_of_the_folder_is_known_here(recipes):
    assert sorted(file.stem for file in recipes.glob("smollm2-135m/*.yaml")) == sorted(SMALL)
    assert sorted(file.stem for file in recipes.glob("[a-z]*.py")) == sorted(RECIPES)
    assert all(recipe.script.is_file() and (folder() / recipe.yaml).is_file() for recipe in RECIPES.values())


@pytest.mark.parametrize("config", SMALL)
def test_a_recipe_parses_and_the_command_line_wins(config, flags):
    settings = parse(recipe_of(config), flags(f"{config}.yaml"))
    assert settings.own.budget == 200
    assert settings.training.max_steps == 2
    assert settings.model.use_peft == ("lora" in config)
    assert not settings.training.bf16


@pytest.mark.parametrize("where", ["README.md", *(f"{name}.py" for name in RECIPES)])
def test_the_commands_to_paste_parse(recipes, monkeypatch, where):
    monkeypatch.chdir(recipes.parent)
    text = (recipes / where).read_text(encoding="utf-8").replace("\\\n", " ")
    commands = re.findall(r"^accelerate launch .*?recipes/(\w+)\.py (.*)$", text, re.MULTILINE)
    assert len(commands) >= 2
    for script, command in commands:
        assert read(RECIPES[script], [*shlex.split(command), "--use_cpu"]).data.dataset_name


def test_the_accelerate_config_is_one_process_on_the_cpu(recipes):
    from accelerate.commands.config.config_args import load_config_from_file

    config = load_config_from_file(str(recipes / "accelerate" / "cpu.yaml"))
    assert (config.use_cpu, config.num_processes) == (True, 1)


@pytest.fixture
def refused(sft, flags, tmp_path):
    """The sentence with which sft.py refuses these flags; nothing is written."""

    def of(*more, config="sft-lora.yaml", **where):
        with pytest.raises(InputError) as error:
            sft.train(flags(config, *more, **where))
        assert not (tmp_path / "out").exists()
        assert "\n" not in str(error.value)
        return str(error.value)

    return of


def test_an_unknown_key_of_a_recipe_is_refused(recipes, refused, tmp_path):
    known = yaml.safe_load((recipes / "smollm2-135m" / "sft-lora.yaml").read_text())
    (tmp_path / "typo.yaml").write_text(yaml.safe_dump(known | {"learning_rat": 1.0}))
    assert "learning_rat" in refused(config=tmp_path / "typo.yaml")


def test_the_beginning_of_a_flag_is_not_the_flag(refused):
    assert "--learning_rat" in refused("--learning_rat", "1")


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (["--push_to_hub"], "`caredio publish`"),
        (["--dataset_streaming"], "leave it out"),
        (["--budget", "-1"], "--budget is -1"),
        (["--adapter", "nowhere"], "--adapter nowhere"),
        (["--load_in_4bit", "--use_peft", "false"], "add --use_peft"),
        (["--dataset_config", "atlantis"], "atlantis"),
        (["--dataset_name", "runs/none/ranked"], "no such folder"),
        (["--dataset_revision", "v1"], "has no revisions"),
        (["--eval_strategy", "steps"], "test"),
        (["--config", "none.yaml"], "--config"),
        (["--lora_target_modules", "q_proj", "lm_head"], "--lora_target_modules lm_head"),
        (["--test_split_size", "0.1"], "--test_split_size"),
        (["--datasets", "general/chats"], "needs a `fraction`"),
        (["--resume_from_checkpoint", "nowhere"], "holds no whole trainer_state.json"),
        ([], "no-model: no such model"),
    ],
)
def test_a_mistake_is_one_sentence(refused, more, told):
    assert told in refused(*more)


def test_a_run_is_not_a_table(refused):
    assert "ranked for one" in refused(stage="")


@pytest.mark.parametrize(("kept", "told"), [(0, "no data"), (3, "no row has a rank up to --budget 2")])
def test_a_table_without_rows_of_the_budget_is_refused(refused, run_folder, tmp_path, kept, told):
    table = load_dataset("parquet", data_files=str(run_folder / "ranked" / "china.parquet"), split="train")
    table.select(list(range(6 - kept, 6))).to_parquet(tmp_path / "train.parquet")
    assert told in refused("--dataset_name", str(tmp_path), "--dataset_config", "default", "--budget", "2")


def test_preference_rows_are_not_for_sft(refused):
    assert "column completion is missing" in refused(stage="preference")


def test_a_trained_model_is_not_written_over(sft, flags, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / RECORD).touch()
    with pytest.raises(InputError, match="holds a trained model"):
        sft.train(flags("sft-lora.yaml"))


def test_a_script_says_the_sentence_and_exits_with_2(sft, flags, capsys):
    with pytest.raises(SystemExit) as stopped:
        launch.main(lambda: sft.train(flags("sft-lora.yaml", "--push_to_hub")))
    assert stopped.value.code == 2
    assert capsys.readouterr().err.endswith("`caredio publish` does, with a card and a tag.\n")


@pytest.mark.parametrize(
    ("name", "ranks"), [("sft", [1, 2]), ("dpo", [1, 1, 2, 2]), ("kto", [1, 1, 1, 2, 2, 2]), ("reward", [1, 1, 2, 2])]
)
def test_the_budget_takes_the_best_rows_or_their_pairs(flags, name, ranks):
    recipe = RECIPES[name]
    settings = parse(recipe, flags(f"{recipe.name}-lora.yaml", "--budget", "2", stage=recipe.table))
    table, test = rows.tables(recipe, settings)
    assert sorted(table["rank"]) == ranks
    assert set(table["culture"]) == {"china"}
    assert test is None


def test_a_test_split_is_read_where_there_is_one(flags, run_folder, tmp_path):
    shutil.copy(run_folder / "ranked" / "china.parquet", tmp_path / "train.parquet")
    load_dataset("parquet", data_files=str(tmp_path / "train.parquet"), split="train[:2]").to_parquet(
        tmp_path / "test.parquet"
    )
    more = ("--dataset_name", str(tmp_path), "--dataset_config", "default", "--eval_strategy", "steps", "--budget", "0")
    table, test = rows.tables(SFT, parse(SFT, flags("sft-lora.yaml", *more)))
    assert (len(table), len(test)) == (6, 2)
