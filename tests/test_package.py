"""The wheel: what a user installs holds every file that the package reads."""

import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from caredio.evaluation import metrics

ROOT = Path(__file__).parents[1]
# folder of the tree -> where the wheel holds it
FOLDERS = {
    "caredio": "caredio",
    "recipes": "caredio/recipes",
    "dataset_card": "caredio/dataset_card",
    "model_cards": "caredio/model_cards",
}
MADE = shutil.ignore_patterns("__pycache__", ".mypy_cache", ".ruff_cache")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The names in a wheel built from a copy of what setuptools reads."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in FOLDERS:
        shutil.copytree(ROOT / name, folder / "tree" / name, ignore=MADE)
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copyfile(ROOT / name, folder / "tree" / name)
    build = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--quiet", "-w", folder]
    done = subprocess.run([*build, folder / "tree"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (made,) = folder.glob("*.whl")
    return set(zipfile.ZipFile(made).namelist())


@pytest.mark.parametrize("folder", FOLDERS)
def test_the_wheel_holds_every_file_of_the_tree(folder, wheel):
    files = [file.relative_to(ROOT / folder) for file in (ROOT / folder).rglob("*") if file.is_file()]
    tree = {f"{FOLDERS[folder]}/{file.as_posix()}" for file in files if "__pycache__" not in file.parts}
    assert tree
    assert tree - wheel == set()


def test_the_wheel_holds_the_modules_that_evaluate_loads(wheel):
    assert {f"caredio/evaluation/metrics/{name}/{name}.py" for name in metrics.NAMES} <= wheel


def test_the_wheel_holds_nothing_else(wheel):
    assert {name.split("/")[0] for name in wheel if ".dist-info/" not in name} == {"caredio"}
    assert not any(name.startswith("caredio/tests") for name in wheel)


def test_the_files_that_are_tested_at_the_floors_are_there():
    _, _, command = (ROOT / ".ci" / "floors").read_text(encoding="utf-8").partition("env/bin/pytest")
    names = re.findall(r"tests/[^\s\\]+", command)
    assert len(names) > 4
    subprocess.run(["bash", "-c", f"ls {' '.join(names)}"], cwd=ROOT, check=True, capture_output=True)
