from __future__ import annotations

from pathlib import Path

from svg import texts

from caredio.report import counts


def test_each_culture_has_a_bar_and_other_views_of_its_rows_none(tmp_path: Path) -> None:
    splits = {
        "all": {"train": 2300, "test": 25},
        "mexico": {"train": 1200, "test": 20},
        "china": {"train": 1100, "test": 5},
        "china-preference": {"train": 990},
        "china-pool": {"train": 3800},
    }
    png, svg = counts.draw(splits, tmp_path / "counts")
    assert (png.name, svg.name) == ("counts.png", "counts.svg")
    assert texts(svg) == {"Rows of each culture", "china", "mexico", "1,100 + 5", "1,200 + 20", "train", "test"}


def test_nothing_is_drawn_of_no_rows(tmp_path: Path) -> None:
    assert counts.draw({}, tmp_path / "counts") == []
    assert list(tmp_path.iterdir()) == []
