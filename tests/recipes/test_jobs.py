"""The header by which `uv run` and Hugging Face Jobs install what a recipe needs, and the line that starts one."""

import configparser
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from caredio.training import flags
from caredio.training.recipe import RECIPES

ROOT = Path(__file__).parents[2]
# the regular expression of PEP 723
HEADER = re.compile(r"(?m)^# /// (?P<type>[a-zA-Z0-9-]+)$\s(?P<content>(^#(| .*)$\s)+)^# ///$")


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=lambda recipe: recipe.name)
def test_the_header_names_what_the_extra_brings(recipe):
    (block,) = HEADER.finditer(recipe.script.read_text(encoding="utf-8"))
    assert block["type"] == "script"
    lines = (line[2:] if line.startswith("# ") else line[1:] for line in block["content"].splitlines(keepends=True))
    header = tomllib.loads("".join(lines))
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    assert header["dependencies"] == setup["options.extras_require"]["train"].split()
    assert header["requires-python"] == setup["options"]["python_requires"]


@pytest.fixture
def line():
    """The words of the documented line."""
    page = (ROOT / "docs" / "train.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```console\n(hf jobs .*?)```", page, re.DOTALL)
    return shlex.split(block.replace("\\\n", " "))


def test_hf_takes_the_line(line):
    hf = Path(sys.executable).parent / line[0]
    dry = [*line[1:4], "--dry-run", *line[4:]]
    done = subprocess.run([hf, *dry], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "recipes/sft.py" in done.stdout
    assert "Job not submitted" in done.stdout


def test_the_recipe_takes_the_flags_of_the_line(line, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # the YAML is found in the package
    given = line[line.index("recipes/sft.py") + 1 :]
    settings = flags.read(RECIPES["sft"], [*given, "--use_cpu", "--bf16", "false"])
    assert settings.model.model_name_or_path == "Qwen/Qwen2.5-7B-Instruct"
    assert (settings.data.dataset_config, settings.training.output_dir) == ("china", "/models/china")


def test_a_file_of_ones_own_goes_over_the_packages(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    own = tmp_path / "smollm2-135m" / "sft-lora.yaml"
    own.parent.mkdir()
    own.write_text("model_name_or_path: mine\n")
    argv = ["--config", "smollm2-135m/sft-lora.yaml", "--use_cpu", "--bf16", "false"]
    assert flags.read(RECIPES["sft"], argv).model.model_name_or_path == "mine"
    own.unlink()
    assert flags.read(RECIPES["sft"], argv).model.model_name_or_path == "SmolLM2-135M-Instruct"
