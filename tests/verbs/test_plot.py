from __future__ import annotations

from pathlib import Path

import pytest
from report_run import select
from svg import texts

import caredio
from caredio import cli
from caredio.errors import InputError

NAMES = [f"{name}.{kind}" for name in ("counts", "scores", "map", "drops", "phrases") for kind in ("png", "svg")]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    answers = {
        "china": ["hot pot", "hot pot, beef", "mild hot pot", "hot pot, lamb"],
        "uk": ["black pudding", "black pudding, eggs", "fried black pudding", "black pudding, beans"],
    }
    return select(tmp_path_factory.mktemp("plot") / "run", answers)


def test_the_figures_of_a_run_are_files(run: Path, tmp_path: Path) -> None:
    made = caredio.plot(run)
    assert made == [run / "figures" / name for name in NAMES]  # no cost, as no model was asked
    assert all(file.read_bytes().startswith((b"\x89PNG", b"<?xml")) for file in made)
    assert {"china", "uk", "hot pot", "black pudding"} <= texts(run / "figures" / "phrases.svg")
    again = caredio.plot(str(run), out=tmp_path / "new" / "pictures")
    assert [file.read_bytes() for file in again] == [file.read_bytes() for file in made]


def test_the_command_prints_where_they_are(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cli.main(["plot", str(run), "--out", str(tmp_path / "here")])
    assert capsys.readouterr().out.splitlines() == [str(tmp_path / "here" / name) for name in NAMES]


@pytest.mark.parametrize("there", [True, False])
def test_a_folder_that_is_no_ranked_run_is_one_sentence(
    there: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "none"
    if there:
        folder.mkdir()
    with pytest.raises(InputError, match=r"no finished ranked table; run `caredio select"):
        caredio.plot(folder)
    with pytest.raises(SystemExit) as stopped:
        cli.main(["plot", str(folder)])
    assert stopped.value.code == 2
    assert not (folder / "figures").exists()
