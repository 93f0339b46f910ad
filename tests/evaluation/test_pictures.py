from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

pytest.importorskip("lm_eval")
pytest.importorskip("matplotlib")

from lm_eval_folder import Folders, asked, named, questions, right_on, saved

from caredio.evaluation import pictures, samples
from caredio.evaluation.table import build


def texts(file: Path) -> set[str]:
    """What an SVG shows: matplotlib keeps each text as a comment."""
    parser = ElementTree.XMLParser(target=ElementTree.TreeBuilder(insert_comments=True))
    every: Any = ElementTree.parse(file, parser).iter()
    return {one.text.strip() for one in every if one.tag is ElementTree.Comment}


def lines(file: Path) -> list[str]:
    """The paths of an SVG's lines, without ticks and frame."""
    groups = [one for one in ElementTree.parse(file).iter() if one.get("id", "").startswith("line2d_")]
    return [path.get("d", "") for group in groups for path in group.findall("{*}path") if "clip-path" in path.attrib]


def test_each_culture_is_drawn_with_its_intervals(tmp_path: Path) -> None:
    folder = Folders(tmp_path)
    given = named(raw=folder("a", right_on(4)), ours=folder("b", right_on(8)))
    png, svg = pictures.draw(build(given), tmp_path)
    assert (png.name, svg.name) == ("quiz-acc.png", "quiz-acc.svg")
    assert {"quiz, acc", "raw", "ours", "china", "mexico"} <= texts(svg)
    assert len([one for one in lines(svg) if one.count("L") == 1]) == 2 * 6  # an interval of each on six cultures


def points(file: Path) -> list[tuple[float, float]]:
    """Where the dots of an SVG lie."""
    every = [one for one in ElementTree.parse(file).iter() if one.get("id", "").startswith("line2d_")]
    dots = [use for one in every for group in one.findall("{*}g[@clip-path]") for use in group.findall("{*}use")]
    return [(float(one.get("x", "nan")), float(one.get("y", "nan"))) for one in dots]


def frame(file: Path) -> tuple[list[float], list[float]]:
    """The left and right, and the upper and lower, ends of an SVG's axes."""
    (group,) = (one for one in ElementTree.parse(file).iter() if one.get("id") == "axes_1")
    path = next(one for one in group.iter() if one.tag.endswith("path"))
    numbers = [float(one) for one in path.get("d", "").replace("M", " ").replace("L", " ").replace("z", " ").split()]
    return sorted(set(numbers[0::2])), sorted(set(numbers[1::2]))


def test_points_lie_within_the_frame_and_the_legend_names_what_is_drawn(tmp_path: Path) -> None:
    folder = Folders(tmp_path)
    given = named(raw=folder("a", right_on(0)), ours=folder("b", right_on(10)))
    given += named(elsewhere=folder("c", right_on(5), benchmark="other"))
    made = pictures.draw(build(given), tmp_path)
    svg = next(one for one in made if one.name == "quiz-acc.svg")
    assert {"raw", "ours", "per cent"} <= texts(svg)
    assert "elsewhere" not in texts(svg)
    (left, right), (top, bottom) = frame(svg)
    assert len(points(svg)) == 2 * 6
    for x, y in points(svg):  # 0 and 100 per cent, in the first and the last row too
        assert left + 5 < x < right - 5
        assert top + 5 < y < bottom - 5


def test_seeds_are_points_without_intervals(tmp_path: Path) -> None:
    folder = Folders(tmp_path)
    seeds = [f"ours (seed {n})={folder(f's{n}', right_on(6 + n))}" for n in range(2)]
    _, svg = pictures.draw(build([*named(raw=folder("a", right_on(4))), *seeds]), tmp_path)
    assert {"raw", "ours"} <= texts(svg)
    assert "ours (seed 0)" not in texts(svg)
    assert len([one for one in lines(svg) if one.count("L") == 1]) == 6  # of raw alone


def test_what_was_forgotten_is_one_picture_of_general_benchmarks(tmp_path: Path) -> None:
    for name, share in (("raw", 8), ("trained", 5)):
        for task in ("mmlu_like", "truth_like"):
            saved(tmp_path / name, name, asked(tmp_path / "tasks", {task: questions(10)}, right_on(share)))
    made = pictures.draw(build(named(raw=tmp_path / "raw", trained=tmp_path / "trained")), tmp_path)
    assert [file.name for file in made] == ["general.png", "general.svg"]
    assert {"mmlu_like, acc", "truth_like, acc", "raw", "trained"} <= texts(made[1])


def test_models_asked_about_other_cultures_are_squares(tmp_path: Path) -> None:
    says = {("china", "china"): 9, ("china", "japan"): 4, ("japan", "china"): 5, ("japan", "japan"): 8}
    for (model, culture), share in says.items():
        made = asked(tmp_path / "tasks", {f"caredio_quiz_{culture}": questions(10, culture)}, right_on(share))
        identity = {"system": "trained", "culture": culture, "model": f"models/{model}", "weights_sha256": model}
        samples.write(tmp_path / "run" / "samples", identity, made)
    made = pictures.draw(build([tmp_path / "run"]), tmp_path)
    assert [file.name for file in made if file.suffix == ".svg"] == ["quiz-acc.svg", "across-trained-quiz-acc.svg"]
    assert {"90.0", "40.0", "50.0", "80.0", "model of", "asked about", "quiz, acc: trained"} <= texts(made[-1])


def test_equal_pictures_are_equal_files(tmp_path: Path) -> None:
    rows = {"china": {"raw": pictures.Point(40.0, 30.0, 50.0), "ours": pictures.Point(60.0)}}
    one, other = (
        pictures.dots(rows, ("raw", "ours"), tmp_path / name, "t", "x")[1].read_bytes() for name in ("a", "b")
    )
    assert one == other
