from __future__ import annotations

import json
from pathlib import Path

import pytest

from caredio import checkpoints
from caredio.errors import InputError


def model(folder: Path, **files: str) -> Path:
    folder.mkdir(parents=True)
    base = {"config.json": '{"model_type": "llama"}', "model.safetensors": "weights", "tokenizer.json": "{}"}
    for name, text in (base | files).items():
        (folder / name).write_text(text)
    return folder


BASE = {"weights": checkpoints.weights_sha256, "all": checkpoints.sha256, "tokenizer": checkpoints.tokenizer_sha256}


@pytest.mark.parametrize(
    ("changed", "differ"),
    [
        ({"model.safetensors": "Weights"}, {"weights", "all"}),
        ({"config.json": '{"model_type": "llama", "rope_theta": 2}'}, {"weights", "all"}),
        ({"adapter_config.json": '{"lora_alpha": 8}'}, {"weights", "all"}),
        ({"tokenizer.json": "{ }"}, {"tokenizer", "all"}),
        ({"chat_template.jinja": "?"}, {"tokenizer", "all"}),
        ({"config.json": '{"transformers_version": "9", "model_type": "llama"}'}, set()),
        ({"README.md": "?", "training.json": "{}", "trained_on.txt": "?", "pytorch_model.bin": "unread"}, set()),
    ],
)
def test_the_hashes_follow_what_decides_the_answers(tmp_path: Path, changed: dict[str, str], differ: set[str]) -> None:
    one, other = model(tmp_path / "one"), model(tmp_path / "other", **changed)
    assert {name for name, of in BASE.items() if of(one) != of(other)} == differ


def test_weights_that_are_missing_or_cut_off_are_one_sentence(tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    with pytest.raises(InputError, match="holds no weights"):
        checkpoints.check_weights(tmp_path)
    index = {"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    import numpy as np

    whole = tmp_path / "model-00001-of-00002.safetensors"
    save_file({"a": np.zeros(64)}, whole)
    with pytest.raises(InputError, match=r"model-00002-of-00002\.safetensors is missing"):
        checkpoints.check_weights(tmp_path)
    (tmp_path / "model-00002-of-00002.safetensors").write_bytes(whole.read_bytes()[:-8])
    with pytest.raises(InputError, match=r"model-00002-of-00002\.safetensors: is damaged"):
        checkpoints.check_weights(tmp_path)
    (tmp_path / "model.safetensors.index.json").write_text("{")
    with pytest.raises(InputError, match=r"index\.json: is damaged"):
        checkpoints.check_weights(tmp_path)


def test_a_folder_without_a_tokenizer_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "qwen2"}')  # for which transformers makes an empty one
    with pytest.raises(InputError, match="holds no tokenizer"):
        checkpoints.load_tokenizer(str(tmp_path))
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(InputError, match="cannot be loaded") as caught:
        checkpoints.load_tokenizer(str(tmp_path))
    assert "\n" not in str(caught.value)


def test_the_last_checkpoint_is_the_last_that_was_written_to_its_end(tmp_path: Path) -> None:
    assert checkpoints.last(tmp_path) is None
    for name, state in {"3": "{}", "10": "{}", "20": '{"epoch": 1', "30": "", "40": None, "best": "{}"}.items():
        (tmp_path / f"checkpoint-{name}").mkdir()
        if state is not None:
            (tmp_path / f"checkpoint-{name}" / checkpoints.STATE).write_text(state)
    assert checkpoints.last(tmp_path) == tmp_path / "checkpoint-10"
