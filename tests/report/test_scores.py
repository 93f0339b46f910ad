from __future__ import annotations

from pathlib import Path

import numpy as np
from datasets import Dataset
from svg import texts

from caredio import plots
from caredio.report import scores

POOL = Dataset.from_dict(
    {
        "culture": ["china"] * 4 + ["mexico"] * 3,
        "score": [0.0, 0.0, 0.5, 4.0, 1.0, None, float("nan")],
    }
)
RANKED = Dataset.from_dict({"culture": ["china", "mexico"], "score": [4.0, 1.0]})


def test_ranked_rows_stand_in_front_of_the_pool() -> None:
    with plots.style():
        (axis,) = scores.figure(RANKED, POOL).axes
    china, best, mexico, only = (patch.get_data() for patch in axis.patches)
    assert china.edges[0] == 0
    assert china.edges[-1] == 4
    heights = china.values - china.baseline
    assert np.flatnonzero(heights).tolist() == [0, 5, 39]  # of 40 columns, each 0.1 wide
    assert np.allclose(heights[[0, 5, 39]], [0.86, 0.43, 0.43])
    assert np.flatnonzero(best.values - best.baseline).tolist() == [39]
    assert np.flatnonzero(mexico.values - mexico.baseline).tolist() == [10]  # without a score, and not a number
    assert np.array_equal(mexico.values, only.values)


def test_rows_of_one_score_are_drawn_and_rows_of_none_are_not(tmp_path: Path) -> None:
    one = Dataset.from_dict({"culture": ["china"] * 3, "score": [2.0] * 3})
    _, svg = scores.draw(one, one, tmp_path / "one")
    assert {"china", "ranked", "every row with a score"} <= texts(svg)
    none = Dataset.from_dict({"culture": ["china"], "score": [float("nan")]})
    assert scores.draw(none, none, tmp_path / "none") == []
