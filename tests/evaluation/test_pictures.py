from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

pytest.importorskip("lm_eval")

from lm_eval_folder import Folders, asked, named, questions, right_on, saved

from caredio import plots
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


def test_a_number_is_drawn_by_budget_where_a_ranking_has_two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of China ours has two budgets, of which one has two seeds, and random rows too; Japan has one alone."""
    figures: list[Any] = []
    save = plots.save
    monkeypatch.setattr(
        plots, "save", lambda figure, file: [figures.append((file.name, figure)), *save(figure, file)][1:]
    )
    right = [
        *[("raw", None, "", "", "china", 2), ("raw", None, "", "", "japan", 3)],
        *[("trained", 10, "carefully", "a", "china", 4), ("trained", 30, "carefully", "b", "china", 7)],
        *[("trained", 30, "carefully", "c", "china", 9), ("trained", 10, "random", "d", "china", 3)],
        *[("trained", 30, "random", "e", "china", 5), ("trained", 10, "carefully", "a", "japan", 6)],
    ]
    for system, budget, ranking, model, culture, share in right:
        made = asked(tmp_path / "tasks", {f"caredio_quiz_{culture}": questions(10, culture)}, right_on(share))
        identity = {"system": system, "culture": culture, "model": f"models/{model}", "weights_sha256": model or "raw"}
        samples.write(tmp_path / "run" / "samples", {**identity, "budget": budget, "ranking": ranking}, made)
    made_files = pictures.draw(build([tmp_path / "run"]), tmp_path)
    assert [file.name for file in made_files if "budgets" in file.name] == [
        "budgets-quiz-acc.png",
        "budgets-quiz-acc.svg",
    ]
    (figure,) = [figure for name, figure in figures if name == "budgets-quiz-acc"]
    (axis,) = [axis for axis in figure.axes if axis.get_visible() and axis.get_title()]
    assert axis.get_title() == "china"
    drawn = [(one.get_label(), [*zip(*one.get_data(), strict=True)]) for one in axis.lines]
    named_lines = {label: points for label, points in drawn if not label.startswith("_")}
    assert named_lines == {
        "carefully": [(10, 40), (30, 80)],
        "random": [(10, 30), (30, 50)],
        "raw": [(10, 20), (30, 20)],
    }
    assert [points for label, points in drawn if label.startswith("_")] == [[(30, 70), (30, 90)]]  # of the seeds


def test_adapters_of_two_models_are_no_seeds(tmp_path: Path) -> None:
    for base, budget, share in (("small", 10, 2), ("small", 30, 4), ("large", 10, 6), ("large", 30, 9)):
        made = asked(tmp_path / "tasks", {"caredio_quiz_china": questions(10)}, right_on(share))
        identity = {
            "system": "trained",
            "culture": "china",
            "model": f"{base}/{budget}",
            "weights_sha256": f"{base}{budget}",
        }
        identity |= {"base_sha256": base, "ranking": "random"}
        samples.write(tmp_path / "run" / "samples", {**identity, "budget": budget}, made)
    (column,) = build([tmp_path / "run"]).columns
    drawn = {one.label: one.y for one in pictures._budgets(column, column.numbers["china"])}
    assert drawn == {"random of small": [20, 40], "random of large": [60, 90]}  # and not [40, 65]


def test_adapters_by_two_recipes_are_no_seeds(tmp_path: Path) -> None:
    for recipe, budget, share in (("sft", 10, 2), ("sft", 30, 4), ("dpo", 10, 6), ("dpo", 30, 9)):
        made = asked(tmp_path / "tasks", {"caredio_quiz_china": questions(10)}, right_on(share))
        weights = f"{recipe}{budget}"
        identity = {"system": "trained", "culture": "china", "model": f"{recipe}/{budget}", "weights_sha256": weights}
        identity |= {"ranking": "random", "recipe": recipe, "budget": budget}
        samples.write(tmp_path / "run" / "samples", identity, made)
    (column,) = build([tmp_path / "run"]).columns
    drawn = {one.label: one.y for one in pictures._budgets(column, column.numbers["china"])}
    assert drawn == {"random, sft": [20, 40], "random, dpo": [60, 90]}  # and not [40, 65]


def test_equal_pictures_are_equal_files(tmp_path: Path) -> None:
    rows = {"china": {"raw": pictures.Point(40.0, 30.0, 50.0), "ours": pictures.Point(60.0)}}
    one, other = (
        pictures.dots(rows, ("raw", "ours"), tmp_path / name, "t", "x")[1].read_bytes() for name in ("a", "b")
    )
    assert one == other
