"""What simpo.py learns and leaves behind, and what is said where TRL has no such trainer."""

import json
import math

import pytest
from safetensors.torch import load_file

from caredio.errors import InputError
from caredio.training.flags import parse
from caredio.training.recipe import SIMPO, Recipe


@pytest.fixture
def argv(flags, tiny):
    def of(*more, config="simpo-lora.yaml", **where):
        return flags(config, *more, **{"model": tiny, "stage": "preference", **where})

    return of


def test_lora_learns_without_a_reference_and_by_the_margin(simpo, argv, tmp_path):
    """The loss is -log sigmoid(beta (difference of the mean log-likelihoods) - gamma), of the first pairs here."""
    trainer = simpo.train(argv("--simpo_gamma", "1.0"))
    assert not hasattr(trainer, "ref_model")
    first = trainer.state.log_history[0]
    gap = first["rewards/margins"]  # beta times the difference
    assert abs(gap) < 1
    assert first["loss"] == pytest.approx(math.log(1 + math.exp(1.0 - gap)), abs=0.05)
    learned = load_file(tmp_path / "out" / "adapter_model.safetensors")
    assert all(weight.abs().max() > 0 for name, weight in learned.items() if "lora_B" in name)
    record = json.loads((tmp_path / "out" / "training.json").read_text())
    assert (record["recipe"], record["method"], record["rows"]) == ("simpo", "lora", 12)
    assert record["hyperparameters"].items() >= {"loss_type": "simpo", "cpo_alpha": 0.0, "beta": 2.0}.items()


def test_it_is_simpo_without_a_yaml_too(flags):
    argv = flags("simpo-lora.yaml")
    settings = parse(SIMPO, [*argv[2:], "--bf16", "false"])
    assert (settings.training.loss_type, settings.training.cpo_alpha) == ("simpo", 0.0)


def test_the_stable_neighbour_is_there(dpo, argv, tmp_path):
    dpo.train(argv("--loss_type", "sigmoid_norm", "--beta", "2.0", config="dpo-lora.yaml"))
    record = json.loads((tmp_path / "out" / "training.json").read_text())
    assert record["hyperparameters"]["loss_type"] == ["sigmoid_norm"]
    assert record["result"]["first_loss"] == pytest.approx(math.log(2), abs=1e-4)


@pytest.mark.parametrize("trainer", [("trl.experimental.gone", "CPOTrainer"), ("trl", "GoneTrainer")])
def test_a_trainer_that_trl_lost_is_one_sentence(trainer):
    gone = Recipe("simpo", "", "preference", ("prompt", "chosen", "rejected"), "", trainer, "CPOConfig")
    with pytest.raises(InputError, match=rf"has no {trainer[0]}\.{trainer[1]}; install the release"):
        gone.classes()
