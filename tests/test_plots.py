"""Pictures: what is drawn, from the files that are left."""

import importlib.util
from xml.etree import ElementTree

import pytest

from caredio import plots
from caredio.plots import Line


def texts(file):
    """What an SVG whose letters are text would show: its comments, in which matplotlib keeps each text."""
    parser = ElementTree.XMLParser(target=ElementTree.TreeBuilder(insert_comments=True))
    return {
        element.text.strip() for element in ElementTree.parse(file, parser).iter() if element.tag is ElementTree.Comment
    }


def test_the_loss_of_each_culture_has_an_axis(tmp_path):
    found = {"china": [[1, 3.0], [2, 2.5]], "mexico": [[1, 2.0]], "empty": []}
    png, svg = plots.losses(found, tmp_path / "loss")
    assert (png.name, svg.name) == ("loss.png", "loss.svg")
    assert png.read_bytes().startswith(b"\x89PNG")
    assert {"china", "mexico", "step", "loss"} <= texts(svg)
    assert "empty" not in texts(svg)


def test_lines_are_named_and_equal_pictures_are_equal_files(tmp_path):
    drawn = {
        "china": [Line("ours", [0, 100], [2.0, 1.5], [1.9, 1.4], [2.1, 1.6]), Line("random", [0, 100], [2.0, 1.7])],
        "mexico": [Line("ours", [0, 100], [2.0, 1.5])],
    }
    made = [plots.lines(drawn, tmp_path / name, "rows", "bits a byte") for name in ("one", "two")]
    assert {"ours", "random", "rows", "bits a byte", "china", "mexico"} <= texts(made[0][1])
    assert made[0][1].read_bytes() == made[1][1].read_bytes()
    filled = [element for element in ElementTree.parse(made[0][1]).iter() if "FillBetween" in element.get("id", "")]
    assert len(filled) == 1  # one line of three has an interval


@pytest.mark.parametrize("count", [1, 4, 5, 15])
def test_any_number_of_cultures_is_drawn(tmp_path, count):
    names = {f"culture{number}" for number in range(count)}
    _, svg = plots.lines({name: [Line("", [1], [1])] for name in names}, tmp_path / "many", "x", "y")
    assert names <= texts(svg)


def test_nothing_is_drawn_of_nothing(tmp_path):
    assert plots.losses({"china": []}, tmp_path / "loss") == []
    assert list(tmp_path.iterdir()) == []


def test_without_matplotlib_a_line_says_how_to_get_it(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with caplog.at_level("INFO", "caredio"):
        assert plots.losses({"china": [[1, 2.0]]}, tmp_path / "loss") == []
    assert "pip install 'caredio[plot]'" in caplog.text
