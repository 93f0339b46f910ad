"""`caredio train`: which arms there are, what is trained again, what is refused, and what an interrupt leaves."""

import dataclasses
import importlib.util
import inspect
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import typing
import zipfile
from pathlib import Path

import pytest
import yaml
from datasets import load_dataset
from test_package import FOLDERS, MADE, ROOT

import caredio
from caredio import checkpoints
from caredio.errors import CaredioError, InputError
from caredio.evaluation import systems
from caredio.training import arms, options, pipeline
from caredio.training.arms import Arm
from caredio.training.recipe import RECIPES, folder

_SHARED = Path(__file__).parents[1] / "recipes" / "conftest.py"
_spec = importlib.util.spec_from_file_location("recipe_fixtures", _SHARED)
_shared = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_shared)
run_folder, tiny, _own_cache = _shared.run_folder, _shared.tiny, _shared._own_cache

SMALL = "--logging_steps 1 --per_device_train_batch_size 2 --gradient_accumulation_steps 1"


def command(*arguments):
    return [sys.executable, "-m", "caredio.cli", *map(str, arguments)]


def asks(capsys, *arguments):
    """What the command prints on stdout."""
    from caredio import cli

    cli.main([str(argument) for argument in arguments])
    return capsys.readouterr().out


# --- flags and steps


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", {}),
        ("--learning_rate 1e-4 --use_peft", {"learning_rate": "1e-4", "use_peft": True}),
        ("--seed=7 --lora-target-modules q_proj v_proj", {"seed": 7, "lora_target_modules": ["q_proj", "v_proj"]}),
        ("--use_peft false --warmup_steps -1", {"use_peft": False, "warmup_steps": -1}),
    ],
)
def test_flags_are_read_as_they_are_typed(text, found):
    assert arms.read_flags(text) == found


@pytest.mark.parametrize("text", ["learning_rate 1", "--output_dir here", "--dataset-name=there", "--config x.yaml"])
def test_flags_that_caredio_sets_and_words_without_a_flag_are_refused(text):
    with pytest.raises(InputError, match=r"belongs to no flag|as caredio sets it"):
        arms.read_flags(text)


@pytest.mark.parametrize(
    ("rows", "flags", "steps"),
    [
        (200, {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 4, "num_train_epochs": 3}, 75),
        (6, {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 4, "num_train_epochs": 3}, 3),
        (17, {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 4, "num_train_epochs": 1}, 3),
        (17, {"per_device_train_batch_size": 8, "num_train_epochs": "0.5"}, 2),
        (100, {}, 39),  # transformers' defaults: 8 rows a step, 3 epochs
        (100, {"max_steps": 5}, 5),
    ],
)
def test_steps_are_counted_as_the_trainer_counts_them(rows, flags, steps):
    assert arms.steps(rows, flags) == steps


@pytest.mark.parametrize(
    ("shares", "rows"),
    [([], 0), ([0.2], 25), ([0.25, 0.25], 100)],  # 100 rows and 25 are 125, of which 25 are a fifth
)
def test_replayed_rows_are_counted_beside_the_culture_s(shares, rows):
    assert arms.replayed(100, [{"path": "x", "fraction": share} for share in shares]) == rows


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("{'loss': '2.51', 'grad_norm': '1.2', 'epoch': '0.08'}", "loss 2.51, epoch 0.08"),
        ("{'eval_loss': '2.1', 'eval_runtime': '3', 'epoch': '1'}", "eval_loss 2.1, epoch 1"),
        (
            "caredio: runs/x: of 100 rows, --max_length 20 cuts 3 short",
            "runs/x: of 100 rows, --max_length 20 cuts 3 short",
        ),
        ("{'train_runtime': '31', 'epoch': '3'}", ""),
        ("{'loss': broken}", ""),
        (" 17%|#    | 1/6 [00:07<00:39,  7.96s/it]", ""),
    ],
)
def test_a_line_with_a_loss_is_shown(line, shown):
    assert arms.logged(line) == shown


# --- arms


def test_a_run_has_an_arm_a_culture(run_folder, capsys):
    eights = ["--dry-run", "--", "--num_train_epochs", "3"]
    eights += ["--per_device_train_batch_size", "2", "--gradient_accumulation_steps", "4"]
    assert asks(capsys, "train", run_folder, "--model", "tiny", *eights).splitlines() == [
        "china: 6 rows, 3 steps",  # 6 rows in steps of 8, three times
        "united_kingdom: 6 rows, 3 steps",
        "2 to train, 0 finished; 6 steps by one process",
        "hours: unknown, as no step was timed; --timed takes one",
    ]
    out = asks(capsys, "train", run_folder, "--method", "dpo", "--cultures", "china", "--budget", "4", *eights)
    assert out.startswith("china: 8 rows, 3 steps\n1 to train")  # two pairs a row
    assert not (run_folder / "models").exists()


def test_python_plans_the_same(run_folder):
    planned = caredio.plan(caredio.train, run_folder, ["china"], budget=3, flags="--num_train_epochs 16")
    assert [(arm.name, arm.rows, arm.steps) for arm in planned.arms] == [("china", 3, 16)]
    assert planned.seconds is None


@pytest.fixture
def release(run_folder, tmp_path):
    """A release's folder with configs of cultures, their pairs, a pool, and all in one."""
    place, configs = tmp_path / "release", []
    for config, table in {
        "all": "ranked/china",
        "china": "ranked/china",
        "china-pool": "ranked/china",
        "china-preference": "preference/china",
        "united_kingdom": "ranked/united_kingdom",
    }.items():
        (place / config).mkdir(parents=True)
        shutil.copy(run_folder / f"{table}.parquet", place / config / "train.parquet")
        configs.append({"config_name": config, "data_files": f"{config}/*.parquet"})
    (place / "README.md").write_text(f"---\n{yaml.safe_dump({'configs': configs})}---\n")
    return place


def test_a_release_has_an_arm_a_culture_or_one_of_all(release, tmp_path):
    def planned(*arguments, **settings):
        made = caredio.plan(caredio.train, release, *arguments, out=tmp_path / "models", **settings)
        return [(arm.name, arm.given["dataset_config"], arm.rows) for arm in made.arms]

    assert planned() == [("china", "china", 6), ("united_kingdom", "united_kingdom", 6)]
    assert planned(["all"]) == [("all", "all", 6)]
    assert planned(method="dpo") == [("china", "china-preference", 12)]
    with pytest.raises(InputError, match="name a folder with --out"):
        caredio.train(release)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"cultures": ["mars"]}, "unknown culture 'mars'; known are china, united_kingdom"),
        ({"recipe": "none.yaml"}, "recipe none.yaml: no such file"),
        ({"accelerate_config": "fsdp9"}, "one of TRL's: fsdp1, fsdp2"),
        ({"flags": "--output_dir x"}, "--output_dir is not a flag"),
        ({"budget": -1}, "budget is -1"),
        ({"method": "ppo"}, "method is 'ppo'"),
        ({"cultures": "china"}, "one text"),
    ],
)
def test_a_mistake_is_one_sentence_before_anything_is_trained(run_folder, tmp_path, settings, told):
    with pytest.raises(InputError) as error:
        caredio.train(run_folder, out=tmp_path / "models", **settings)
    assert told in str(error.value)
    assert not (tmp_path / "models" / "china").exists()


def test_a_yaml_without_a_model_and_a_folder_without_tables_are_refused(run_folder, tmp_path):
    (tmp_path / "own.yaml").write_text("seed: 1\n")
    with pytest.raises(InputError, match="names no model_name_or_path"):
        caredio.train(run_folder, recipe=str(tmp_path / "own.yaml"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="is no run and no release"):
        caredio.train(tmp_path / "empty", out=tmp_path / "models")


def test_the_yaml_is_the_one_named_or_the_model_s_or_the_method_s(run_folder):
    def chosen(**settings):
        (arm,) = caredio.plan(caredio.train, run_folder, ["china"], **settings).arms
        return arm.yaml.relative_to(folder()).as_posix()

    assert chosen() == RECIPES["sft"].yaml
    assert chosen(method="dpo") == RECIPES["dpo"].yaml
    assert chosen(recipe="smollm2-135m/sft-full.yaml") == "smollm2-135m/sft-full.yaml"
    for file in sorted(folder().glob("*/sft-lora.yaml")):
        model = yaml.safe_load(file.read_text())["model_name_or_path"]
        assert chosen(model=model) == file.relative_to(folder()).as_posix()


# --- what is there already


@pytest.fixture
def arm(tmp_path, tiny):
    """An arm whose base is the tiny model."""
    file = tmp_path / "own.yaml"
    file.write_text(f"model_name_or_path: {tiny}\nseed: 1\n")
    return Arm("china", tmp_path / "out", RECIPES["sft"], file, {"budget": 3}, (), 3, "3a")


def leaves(arm, asked=None, **record):
    """What a training leaves in its folder."""
    arm.folder.mkdir(exist_ok=True)
    (arm.folder / arms.ARM).write_text(yaml.safe_dump(asked or arm.asked))
    (arm.folder / checkpoints.RECORD).write_text(json.dumps(record))


def test_a_training_of_the_same_rows_flags_and_base_is_not_repeated(arm, tiny):
    assert arms.finished(arm) is None
    whole = {"rows_sha256": "3a", "base_sha256": checkpoints.weights_sha256(tiny), "result": {}}
    leaves(arm, **whole)
    with pytest.raises(InputError, match="holds no weights"):  # which were removed
        arms.finished(arm)
    shutil.copy(tiny / "model.safetensors", arm.folder)
    assert arms.finished(arm) == whole
    for damaged in ("[]", "{}", "{"):
        (arm.folder / "training.json").write_text(damaged)
        with pytest.raises(InputError, match="is damaged; remove"):
            arms.finished(arm)
    leaves(arm, **{**whole, "rows_sha256": "3b"})
    with pytest.raises(InputError, match="of other rows"):
        arms.finished(arm)
    leaves(arm, **{**whole, "base_sha256": "0"})
    with pytest.raises(InputError, match="was trained on other weights than those of"):
        arms.finished(arm)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"rows": 4}, "rows 4, not 3"),
        ({"rows_sha256": "3b"}, "of other rows"),
        ({"recipe": "dpo"}, "recipe dpo, not sft"),
        ({"flags": {"seed": 2}}, "seed 2, not 1"),
    ],
)
def test_another_training_is_refused_and_says_what_differs(arm, change, told):
    flags = {**arm.asked["flags"], **change.get("flags", {})}
    leaves(arm, {**arm.asked, **change, "flags": flags}, rows_sha256="3a")
    with pytest.raises(InputError) as error:
        arms.finished(arm)
    assert f"holds another training ({told})" in str(error.value)
    assert "name another folder with --out" in str(error.value)


def test_what_left_no_weights_is_begun_anew_and_strange_files_are_not_touched(arm):
    leaves(arm, {**arm.asked, "rows": 4})
    (arm.folder / checkpoints.RECORD).unlink()
    assert arms.finished(arm) is None
    (arm.folder / "checkpoint-20").mkdir()  # was being written
    assert arms.finished(arm) is None
    for step in (3, 10):
        (arm.folder / f"checkpoint-{step}").mkdir()
        (arm.folder / f"checkpoint-{step}" / "trainer_state.json").write_text("{}")
    with pytest.raises(InputError, match="rows 4, not 3"):
        arms.finished(arm)
    (arm.folder / arms.ARM).unlink()
    with pytest.raises(InputError, match="none that caredio trained there"):
        arms.finished(arm)


def test_two_commands_do_not_train_in_one_folder(tmp_path):
    with pipeline.working(tmp_path), pytest.raises(InputError, match="another process is training here"):  # noqa: SIM117
        with pipeline.working(tmp_path):
            pass


def group_lives(number):
    try:
        os.killpg(number, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_process_ends_with_its_children_when_it_is_interrupted():
    child = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import time; print(1); time.sleep(600)'])"
    with pytest.raises(KeyboardInterrupt), arms._process([sys.executable, "-uc", child]) as process:
        raise KeyboardInterrupt
    assert process.returncode == -signal.SIGTERM
    while group_lives(process.pid):  # or the test's own time limit ends it
        time.sleep(0.05)


def test_a_process_ends_with_this_one():
    child = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import time; time.sleep(600)'])"
    own = "import sys; from caredio.training import arms\n"
    own += f"with arms._process([sys.executable, '-c', {child!r}]) as process:\n"
    own += "    print(process.pid, flush=True); process.wait()"
    with subprocess.Popen([sys.executable, "-c", own], stdout=subprocess.PIPE, text=True) as process:
        group = int(process.stdout.readline())
        process.terminate()
    assert process.returncode == 128 + signal.SIGTERM
    while group_lives(group):  # or the test's own time limit ends it
        time.sleep(0.05)


# --- the real thing, small


@pytest.mark.slow
def test_each_culture_is_trained_and_only_once(run_folder, tiny, tmp_path):
    out, flags = tmp_path / "models", ["--model", str(tiny), "--", "--max_steps", "2", *SMALL.split()]

    def trains(*more):
        done = subprocess.run(
            command("train", run_folder, "--out", out, *more, *flags), capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done

    first = trains("--cultures", "china")
    assert "china  loss 10.8" in first.stderr
    assert "china: sft on 6 rows, 2 steps, loss 10.8" in first.stdout
    record = json.loads((out / "china" / "training.json").read_text())
    assert [step for step, _ in record["result"]["losses"]] == [1, 2] == list(range(1, record["result"]["steps"] + 1))
    rows = load_dataset("parquet", data_files=str(run_folder / "ranked" / "china.parquet"), split="train")
    assert record["rows"] == len(rows)
    weights = (out / "china" / "adapter_model.safetensors").stat().st_mtime_ns
    again = trains()
    assert "china  unchanged" in again.stderr
    assert "united_kingdom  loss 10.8" in again.stderr
    assert (out / "china" / "adapter_model.safetensors").stat().st_mtime_ns == weights
    assert (out / "loss.png").read_bytes().startswith(b"\x89PNG")
    assert "</svg>" in (out / "loss.svg").read_text()
    found = systems.trained(out, str(tiny), ["china", "united_kingdom"])  # what `caredio evaluate --trained` takes
    assert set(found.adapter) == {"china", "united_kingdom"}


@pytest.mark.slow
def test_the_recipe_s_own_sentence_is_the_command_s(run_folder, tmp_path):
    (tmp_path / "empty").mkdir()
    tried = command("train", run_folder, "--model", tmp_path / "empty", "--out", tmp_path / "models")
    done = subprocess.run(tried, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith(f"caredio: china: {tmp_path / 'empty'}: no such model")
    assert "no such model" in (tmp_path / "models" / "china" / arms.OUTPUT).read_text()


@pytest.mark.slow
def test_a_timed_step_tells_the_hours(run_folder, tiny, tmp_path):
    planned = caredio.plan(caredio.train, run_folder, out=tmp_path / "models", model=str(tiny), flags=SMALL, timed=True)
    assert [arm.steps for arm in planned.arms] == [9, 9]
    assert planned.seconds > 0
    assert f"hours: about {18 * planned.seconds / 3600:.2g}" in str(planned)
    assert not (tmp_path / "models").exists()


def processes(word):
    """The processes whose command names something."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            text = (place / "cmdline").read_bytes().decode(errors="replace")
        except OSError:
            continue
        if word in text and place.name != str(os.getpid()):
            found.append(text)
    return found


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_an_interrupted_training_goes_on_from_its_checkpoint(run_folder, tiny, tmp_path):
    out = tmp_path / "models"
    flags = ["--max_steps", "12", "--save_strategy", "steps", "--save_steps", "2", *SMALL.split()]
    tried = command("train", run_folder, "--cultures", "china", "--model", tiny, "--out", out, "--", *flags)
    with subprocess.Popen(tried, stderr=subprocess.PIPE, text=True) as process:
        while not list(out.glob("china/checkpoint-*/trainer_state.json")):
            assert process.poll() is None, process.stderr.read()
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        said = process.communicate()[1]
    assert process.returncode == 130, said
    assert "Traceback" not in said
    assert processes(str(out)) == []
    assert not (out / "china" / "training.json").exists()
    done = subprocess.run(tried, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "china  goes on from" in done.stderr
    record = json.loads((out / "china" / "training.json").read_text())
    assert [step for step, _ in record["result"]["losses"]] == list(range(1, 13))


def test_a_crash_is_one_sentence_with_the_last_line(arm):
    error = arms._failure(arm, ["Traceback", "RuntimeError: no"], 1)
    assert type(error) is CaredioError
    assert str(error).startswith("china: the training failed with exit code 1 (RuntimeError: no); see ")
    usage = arms._failure(arm, ["usage: sft.py", "sft.py: error: argument --seed: invalid int value: 'x'", "more"], 1)
    assert isinstance(usage, InputError)
    assert str(usage) == "china: argument --seed: invalid int value: 'x'"


# --- the recipes that are installed


def test_recipes_are_listed_shown_and_copied(capsys, tmp_path):
    listed = asks(capsys, "recipes").splitlines()
    assert listed[0] == str(folder())
    assert "  smollm2-135m/sft-lora.yaml" in listed
    name = "smollm2-135m/sft-lora.yaml"
    assert asks(capsys, "recipes", name) == (folder() / name).read_text()
    assert f"--recipe {tmp_path / 'sft-lora.yaml'}" in asks(capsys, "recipes", name, tmp_path)
    assert (tmp_path / "sft-lora.yaml").read_bytes() == (folder() / name).read_bytes()
    asks(capsys, "recipes", "all", tmp_path / "every")
    assert {
        f"  {file.relative_to(tmp_path / 'every').as_posix()}" for file in (tmp_path / "every").rglob("*.yaml")
    } == set(listed[1:])
    from caredio import configuration

    for arguments in ((name, tmp_path), ("nix.yaml",), ("all",)):
        with pytest.raises(InputError):
            configuration.recipes(*arguments)


@pytest.fixture
def installed(tmp_path):
    """A folder with the package as a wheel brings it, and nothing of the sources."""
    for name in FOLDERS:
        shutil.copytree(ROOT / name, tmp_path / "tree" / name, ignore=MADE)
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copyfile(ROOT / name, tmp_path / "tree" / name)
    build = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--quiet", "-w", tmp_path]
    subprocess.run([*build, tmp_path / "tree"], check=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as content:
        content.extractall(tmp_path / "site")
    shutil.rmtree(tmp_path / "tree")
    return tmp_path / "site"


@pytest.mark.slow
def test_a_wheel_trains_where_there_are_no_recipes_at_hand(installed, run_folder, tiny, tmp_path):
    (tmp_path / "elsewhere").mkdir()

    def says(*arguments):
        environment = {**os.environ, "PYTHONPATH": str(installed)}
        done = subprocess.run(
            command(*arguments),
            cwd=tmp_path / "elsewhere",
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert says("recipes").splitlines()[0] == str(installed / "caredio" / "recipes")
    flags = ["--model", tiny, "--out", "models", "--", "--max_steps", "1", *SMALL.split()]
    assert says("train", run_folder, "--cultures", "china", *flags).startswith("china: sft on 6 rows, 1 steps")
    made = tmp_path / "elsewhere" / "models" / "china"
    assert (made / "adapter_model.safetensors").is_file()
    assert str(installed / "caredio" / "recipes" / "sft.py") in (made / arms.ARM).read_text().splitlines()[0]


# --- settings and pages


@pytest.mark.parametrize(
    ("verb", "rooms", "known"),
    [
        (caredio.train, (options.Train, options.Budget), options.TrainOptions),
        (caredio.curve, (options.Train, options.Curve), options.CurveOptions),
    ],
)
def test_settings_are_named_parameters_of_the_same_types_and_defaults(verb, rooms, known):
    declared = [(room, one) for room in rooms for one in dataclasses.fields(room)]
    assert typing.get_type_hints(known) == {one.name: typing.get_type_hints(room)[one.name] for room, one in declared}
    shown = inspect.signature(verb).parameters
    assert {one.name: shown[one.name].default for _, one in declared} == {one.name: one.default for _, one in declared}
    for room, one in declared:
        assert one.metadata["help"]
        assert one.metadata["stages"]
        with pytest.raises(InputError, match=rf"^{one.name} is .*\.$"):
            room(**{one.name: 2.5 if one.name != "test_share" else "x"})


def test_the_readme_s_table_is_of_the_recipes():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| .* \| `(\w+)` \| `china(\S*)` \| `(\S+)` \|$", text, re.MULTILINE)
    assert rows == [
        (one.name, one.table, "" if one.table == "ranked" else f"-{one.table}", one.yaml) for one in RECIPES.values()
    ]


def test_a_command_can_be_repeated_from_its_yaml(run_folder, tmp_path, capsys):
    file = tmp_path / "train.yaml"
    file.write_text(yaml.safe_dump({"data": str(run_folder), "cultures": ["china"], "budget": 2, "flags": "--seed 3"}))
    out = asks(capsys, "train", "--config", file, "--dry-run", "--", "--num_train_epochs", "5")
    assert out.startswith("china: 2 rows, 5 steps")
    from caredio import cli

    for arguments, told in (
        (["train"], "needs what to train on"),
        (["tasks-path", "--", "--x"], "takes nothing after --"),
    ):
        with pytest.raises(SystemExit) as end:
            cli.main(arguments)
        assert end.value.code == 2
        assert told in capsys.readouterr().err
