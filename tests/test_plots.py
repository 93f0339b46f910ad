"""Pictures: what is drawn, from the files that are left."""

import re
import subprocess
import sys
from xml.etree import ElementTree

import pytest
from svg import texts

from caredio import plots
from caredio.plots import Line


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


def test_importing_loads_no_matplotlib():
    script = "import sys, caredio.plots, caredio.report.page, caredio.verbs.plot; print('matplotlib' in sys.modules)"
    made = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert made.stdout.strip() == "False"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("two  words\nand a line", "two words and a line"),
        ("left\u202eto right\x00", "leftto right"),
        ("$\\frac{1$", "$\\frac{1$"),
        ("_private", " _private"),
        ("x" * 40, "x" * 27 + "…"),
        ("a \U00013000", "a ?"),  # a hieroglyph, which no font here has
    ],
)
def test_a_label_is_a_line_that_a_font_draws(text, shown):
    with plots.style():
        assert plots.label(text) == shown


def test_a_label_of_no_font_gives_way_and_a_page_keeps_it():
    with plots.style():
        assert plots.label("\U00013000", "culture_1a2b3c4d") == "culture_1a2b3c4d"
    with plots.style(page=True):
        assert plots.label("\U00013000", "culture_1a2b3c4d") == "\U00013000"


def test_a_picture_in_a_page_is_an_element_in_the_colour_of_its_text():
    def make():
        drawing = plots.figure(2, 1)
        axis = drawing.subplots()
        axis.scatter([0, 1], [0, 1], rasterized=True)
        axis.plot([0, 1], [0, 1], clip_on=True)
        axis.set_title(plots.label("</svg><script>alert(1)</script> $x"))
        return drawing

    svg = plots.inline(make, '"quoted"')
    assert svg == plots.inline(make, '"quoted"')
    root = ElementTree.fromstring(svg)
    kinds = {element.tag.rpartition("}")[2] for element in root.iter()}
    assert "image" in kinds
    assert not kinds & {"script", "style", "metadata", "a"}
    assert root.get("aria-label") == '"quoted"'
    assert "</svg><script>alert(1)</scr…" in [element.text for element in root.iter() if element.tag.endswith("text")]
    assert plots.INK not in svg
    assert "currentColor" in svg
    ids = [element.get("id") for element in root.iter() if element.get("id")]
    assert set(ids) == set(re.findall(r'(?:="#|url\(#)([^")]+)', svg))  # those alone that are used
    assert all(link.startswith(("#", "data:image/png;base64,")) for link in re.findall(r'xlink:href="([^"]*)"', svg))
    assert plots.inline(lambda: None, "nothing") == ""
