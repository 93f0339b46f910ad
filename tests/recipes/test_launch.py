"""What every recipe does: both ends of the loss, evaluation, resuming, reports, and what goes wrong in a sentence."""

import json
import math
import os
import shutil
import signal
import socket
import subprocess
import sys
import time

import pytest
import torch
from datasets import load_dataset
from safetensors.torch import load_file

from caredio.errors import InputError
from caredio.training import launch


def record(folder):
    return json.loads((folder / "training.json").read_text())


def test_the_first_and_the_last_loss_are_logged_whatever_the_interval(sft, flags, tiny, tmp_path):
    trainer = sft.train(flags("sft-lora.yaml", "--logging_steps", "100", "--max_steps", "3", model=tiny))
    logged = [(log["step"], log["loss"]) for log in trainer.state.log_history if "loss" in log]
    assert [step for step, _ in logged] == [1, 3]
    result = record(tmp_path / "out")["result"]
    assert (result["first_loss"], result["last_loss"]) == (logged[0][1], logged[1][1])
    assert result["train_loss"] == pytest.approx((logged[0][1] + 2 * logged[1][1]) / 3, rel=1e-3)
    assert result["first_loss"] == pytest.approx(math.log(49152), abs=1)  # the model is random


@pytest.fixture
def split(run_folder, tmp_path):
    """The flags of a table of pairs with 8 to train on and `tests` to test on."""

    def of(tests):
        pairs = load_dataset("parquet", data_files=str(run_folder / "preference" / "china.parquet"), split="train")
        (tmp_path / "pairs").mkdir()
        pairs.select(range(8)).to_parquet(tmp_path / "pairs" / "train.parquet")
        pairs.select(range(8, 8 + tests)).to_parquet(tmp_path / "pairs" / "test.parquet")
        return ("--dataset_name", str(tmp_path / "pairs"), "--dataset_config", "default")

    return of


def test_the_test_split_is_measured_before_and_after(dpo, flags, tiny, split, tmp_path):
    more = ("--eval_strategy", "steps", "--eval_steps", "100", "--eval_on_start", "--learning_rate", "1e-2")
    trainer = dpo.train(flags("dpo-lora.yaml", *split(4), *more, "--max_steps", "8", model=tiny))
    assert len(trainer.eval_dataset) == 4
    measured = record(tmp_path / "out")["result"]["eval"]
    assert measured["first"]["eval_loss"] == pytest.approx(math.log(2), abs=1e-4)  # nothing has moved
    assert measured["first"]["eval_rewards/margins"] == pytest.approx(0, abs=1e-4)
    assert measured["last"]["eval_rewards/margins"] > 0
    assert not any("runtime" in name or "second" in name for name in measured["last"])
    assert record(tmp_path / "out")["result"]["eval_loss"] == measured["last"]["eval_loss"]


def test_an_empty_split_is_one_sentence(dpo, flags, tiny, split):
    with pytest.raises(InputError, match=r"pairs.*test"):
        dpo.train(flags("dpo-lora.yaml", *split(0), "--eval_strategy", "epoch", model=tiny))


def out_of_memory_on_the_cpu(*_, **__):
    return torch.empty(1 << 50)


def out_of_memory_on_a_gpu(*_, **__):
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")


@pytest.mark.parametrize("step", [out_of_memory_on_the_cpu, out_of_memory_on_a_gpu])
def test_memory_that_does_not_suffice_is_one_sentence_with_what_helps(sft, flags, tiny, monkeypatch, capsys, step):
    from trl import SFTTrainer

    monkeypatch.setattr(SFTTrainer, "training_step", step)
    with pytest.raises(SystemExit) as stopped:
        launch.main(lambda: sft.train(flags("sft-lora.yaml", model=tiny)))
    assert stopped.value.code == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert "--per_device_train_batch_size (now 2) and raise --gradient_accumulation_steps (now 1)" in said
    assert "--gradient_checkpointing true (now false)" in said
    assert "--max_length (now 1024), or give --load_in_4bit" in said


def test_what_trl_refuses_is_one_sentence(dpo, flags, tiny):
    more = ("--loss_type", "nca_pair", "--f_divergence_type", "js_divergence")
    with pytest.raises(InputError, match="recipe dpo: cannot train with these flags"):
        dpo.train(flags("dpo-lora.yaml", *more, model=tiny, stage="preference"))


def test_several_gpus_without_a_launcher_are_one_sentence(sft, flags, monkeypatch):
    """There is no such machine here: what TRL's arguments count is set."""
    from trl import SFTConfig

    monkeypatch.setattr(SFTConfig, "n_gpu", property(lambda self: 2))
    with pytest.raises(InputError, match="2 GPUs and one process: start the recipe with `accelerate launch`"):
        sft.train(flags("sft-lora.yaml"))


def test_tensorboard_shows_what_was_trained_on(sft, flags, tiny, run_folder, tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    sft.train(flags("sft-lora.yaml", "--report_to", "tensorboard", "--budget", "4", model=tiny))
    (events,) = (tmp_path / "out").rglob("events.out.tfevents.*")
    written = EventAccumulator(str(events.parent)).Reload()
    (text,) = written.Tensors("data/text_summary")
    data = json.loads(text.tensor_proto.string_val[0])
    done = record(tmp_path / "out")
    assert data == {name: done[name] for name in data}
    assert data["dataset_name"] == str(run_folder / "ranked")
    assert {"dataset_revision", "rows_sha256", "budget", "recipe"} <= set(data)
    assert [point.step for point in written.Scalars("train/loss")] == [1, 2]


def test_a_reporter_that_is_not_installed_is_one_sentence(sft, flags, tiny, monkeypatch):
    monkeypatch.setitem(sys.modules, "trackio", None)
    with pytest.raises(InputError, match="--report_to trackio"):
        sft.train(flags("sft-lora.yaml", "--report_to", "trackio", model=tiny))


@pytest.fixture
def process(recipes, tmp_path):
    """A recipe as a process of its own."""

    def of(recipe, argv):
        command = [sys.executable, str(recipes / f"{recipe}.py"), *argv]
        environment = {**os.environ, "HF_HOME": str(tmp_path / "hf"), "OMP_NUM_THREADS": "1"}
        with (tmp_path / "printed").open("w") as printed:
            return subprocess.Popen(command, env=environment, stdout=printed, stderr=subprocess.STDOUT)

    return of


@pytest.mark.slow
@pytest.mark.parametrize("config", ["sft-lora", "sft-full", "dpo-lora", "kto-lora", "dpo-lora on an adapter"])
def test_a_killed_training_resumes_to_the_uninterrupted_weights(sft, process, flags, tiny, tmp_path, config):
    config, _, adapter = config.partition(" on ")
    recipe = config.partition("-")[0]
    stage = {"sft": "ranked", "dpo": "preference", "kto": "unpaired"}[recipe]
    steps = ("--max_steps", "12", "--save_strategy", "steps", "--save_steps", "4")
    if adapter:
        sft.train(flags("sft-lora.yaml", model=tiny, out="sft"))
        steps += ("--adapter", str(tmp_path / "sft"))

    def argv(out):
        return flags(f"{config}.yaml", *steps, "--resume_from_checkpoint", "true", model=tiny, stage=stage, out=out)

    assert process(recipe, argv("whole")).wait() == 0, (tmp_path / "printed").read_text()
    killed = process(recipe, argv("killed"))
    state = tmp_path / "killed" / "checkpoint-4" / "trainer_state.json"
    while not state.exists() and killed.poll() is None:
        time.sleep(0.001)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert not (tmp_path / "killed" / "training.json").exists()
    half = tmp_path / "killed" / "checkpoint-8"  # what a kill in the middle of saving leaves
    shutil.rmtree(half, ignore_errors=True)
    half.mkdir()
    assert process(recipe, argv("killed")).wait() == 0, (tmp_path / "printed").read_text()
    name = "model.safetensors" if config == "sft-full" else "adapter_model.safetensors"
    one, other = (load_file(tmp_path / folder / name) for folder in ("whole", "killed"))
    assert one.keys() == other.keys()
    assert all(torch.equal(one[key], other[key]) for key in one)
    first, second = (record(tmp_path / folder)["result"] for folder in ("whole", "killed"))
    assert [first[key] for key in ("first_loss", "last_loss", "steps")] == [
        second[key] for key in ("first_loss", "last_loss", "steps")
    ]


def test_there_is_nothing_to_resume_at_first(sft, flags, tiny, tmp_path):
    sft.train(flags("sft-lora.yaml", "--resume_from_checkpoint", "true", model=tiny))
    assert record(tmp_path / "out")["result"]["steps"] == 2


@pytest.fixture
def launched(recipes, tmp_path):
    """`accelerate launch` with one of our files, begun."""

    def of(config, argv, *more):
        accelerate = [sys.executable, "-m", "accelerate.commands.launch"]
        file = recipes / "accelerate" / f"{config}.yaml"
        environment = {**os.environ, "HF_HOME": str(tmp_path / "hf"), "OMP_NUM_THREADS": "1"}
        with (tmp_path / "printed").open("a") as printed:
            command = [*accelerate, "--config_file", str(file), *more, str(recipes / "sft.py"), *argv]
            return subprocess.Popen(command, env=environment, stdout=printed, stderr=subprocess.STDOUT)

    return of


@pytest.mark.slow
def test_two_processes_and_two_machines_follow_one_process(launched, flags, tiny, tmp_path):
    """The same 2 rows a step in each, so the same loss but for the order of additions; both machines are this one.

    The 6 rows are a multiple of that: accelerate fills up an epoch's last step with rows of its beginning.
    """

    def argv(out, rows):
        more = ("--max_steps", "6", "--lora_dropout", "0.0", "--seed", "3", "--per_device_train_batch_size", rows)
        return flags("sft-lora.yaml", *more, model=tiny, out=out)

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    machines = ("--num_processes", "2", "--main_process_ip", "127.0.0.1", "--main_process_port", port)
    both = argv("machines", "1")
    for begun in (
        [launched("cpu", argv("one", "2"))],
        [launched("cpu-2", argv("processes", "1"))],
        [launched("multi-node", both, *machines, "--machine_rank", rank) for rank in ("0", "1")],
    ):
        assert [process.wait() for process in begun] == [0] * len(begun), (tmp_path / "printed").read_text()
    one = record(tmp_path / "one")
    before = load_file(tmp_path / "one" / "adapter_model.safetensors")
    for name in ("processes", "machines"):
        two = record(tmp_path / name)
        assert (one["result"]["processes"], two["result"]["processes"]) == (1, 2)
        assert one["hyperparameters"]["rows_per_step"] == two["hyperparameters"]["rows_per_step"] == 2
        for key in ("first_loss", "last_loss", "train_loss"):
            assert two["result"][key] == pytest.approx(one["result"][key], rel=1e-4)
        after = load_file(tmp_path / name / "adapter_model.safetensors")
        assert all(torch.allclose(before[weight], after[weight], atol=1e-4) for weight in before)


def test_a_recipe_ends_when_the_command_that_started_it_is_gone():
    script = (
        "import time; from caredio.training import launch;"
        " launch.main(lambda: (print('begun', flush=True), time.sleep(300)))"
    )
    environment = {**os.environ, launch.WATCHED: "1"}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", script], env=environment, **pipes) as process:
        assert process.stdout.readline() == b"begun\n"
        process.stdin.close()  # as the system does with a command that was killed
        assert process.wait(60) == 143
