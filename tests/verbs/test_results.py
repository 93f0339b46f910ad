from __future__ import annotations

import csv
import inspect
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("lm_eval")

from lm_eval_folder import Folders, named, right_on

import caredio
from caredio import cli
from caredio.errors import InputError

CULTURES = ("china", "japan")


@pytest.fixture
def given(tmp_path: Path) -> list[str]:
    """Two folders of lm-eval, with names."""
    folder = Folders(tmp_path)
    return named(raw=folder("a", right_on(4), cultures=CULTURES), ours=folder("b", right_on(8), cultures=CULTURES))


def test_the_command_prints_what_the_function_says(given: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    found = caredio.results(*given)
    cli.main(["results", *given])
    assert capsys.readouterr().out == f"{found}\n"
    assert "80.0*" in str(found)
    cli.main(["results", *given, "--quiet"])
    assert capsys.readouterr().out == f"{found}\n"
    cli.main(["results", *given, "--format", "markdown", "--cultures", "japan"])
    said = capsys.readouterr().out
    assert said == caredio.results(*given, cultures=["japan"]).to("markdown")
    assert "china" not in said


@pytest.mark.parametrize(
    ("name", "begins"),
    [
        ("t.md", "**Methods"),
        ("t.csv", "system,"),
        ("t.html", "<!doctype"),
        ("t.tex", r"\par Methods"),
        ("t.txt", "Methods and"),
    ],
)
def test_the_ending_of_a_file_says_its_format(
    given: list[str], tmp_path: Path, name: str, begins: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "new" / name
    cli.main(["results", *given, "--to", str(file)])
    assert capsys.readouterr().out == f"{file}\n"
    assert file.read_text().startswith(begins)


def test_a_format_goes_over_the_ending(given: list[str], tmp_path: Path) -> None:
    caredio.results(*given, to=tmp_path / "t.md", format="csv")
    assert next(csv.DictReader((tmp_path / "t.md").open()))["system"] == "raw"


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--format", "latx"], "'latx' is no format of results; did you mean latex?"),
        (["--cultures", "france"], "nothing was measured on france; leave that out of cultures."),
        (["--to", "/dev/null/t.md"], "cannot be written"),
        (["nowhere"], "nowhere: is no folder; name a run, or what lm_eval had as --output_path."),
    ],
)
def test_a_mistake_is_one_sentence(
    given: list[str], flags: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        cli.main(["results", *given, *flags])
    assert stopped.value.code == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert sentence in said.err
    assert said.err.count("\n") == 1


def test_nothing_to_compare_is_a_mistake() -> None:
    with pytest.raises(InputError, match="nothing to compare: name one or more runs"):
        caredio.results()


def test_pictures_are_drawn(given: list[str], tmp_path: Path) -> None:
    caredio.results(*given, plot=tmp_path / "pictures")
    assert {file.name for file in (tmp_path / "pictures").iterdir()} == {"quiz-acc.png", "quiz-acc.svg"}


def test_the_seed_changes_what_is_drawn_alone(tmp_path: Path) -> None:
    folder = Folders(tmp_path)
    shared = {
        name: folder(name, right_on(share), 97, CULTURES, prefix="q") for name, share in (("raw", 4), ("ours", 8))
    }
    given = named(**shared)
    one, again, other = (caredio.results(*given, seed=seed).columns[0].cells["ours"] for seed in (0, 0, 1))
    assert one == again
    assert (one.value, one.tests["raw"].p) == (other.value, other.tests["raw"].p)
    assert (one.low, one.high) != (other.low, other.high)


def test_the_command_takes_what_the_function_takes() -> None:
    (commands,) = (action for action in cli._parser()._actions if action.dest == "command")
    choices: Any = commands.choices
    flags = {action.dest for action in choices["results"]._actions} - {"help", "quiet"}
    assert flags == set(inspect.signature(caredio.results).parameters)


def test_an_ending_without_a_format_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"t\.docx: no format is known by this ending; end it in \.txt, "):
        caredio.results(tmp_path / "nothing", to=tmp_path / "t.docx")
