from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from datasets import Dataset
from svg import texts

from caredio import features
from caredio.report import map as on_map

# two long axes of a cross in the second and third dimension, moved away from the origin
VECTORS = {"a": [5, 2, 0], "b": [5, -2, 0], "c": [5, 0, 1], "d": [5, 0, -1], "other": [9, 9, 9]}


def tables(vectors: dict[str, list[float]], cultures: dict[str, str]) -> tuple[Dataset, Dataset]:
    rows = [{"sample_id": name, "sample_embedding": None, "response_embedding": one} for name, one in vectors.items()]
    placed = {"sample_id": list(cultures), "culture": list(cultures.values())}
    return features.table(rows, features.vectors(len(rows[0]["response_embedding"]))), Dataset.from_dict(placed)


def test_components_are_those_of_a_cross() -> None:
    cultures = {"d": "mexico", "a": "china", "b": "china", "c": "mexico", "without a vector": "mexico"}
    found = on_map.place(*tables(VECTORS, cultures))
    assert found.shares == pytest.approx((0.8, 0.2))  # of squares 4 + 4 and 1 + 1
    assert np.allclose(found.points["china"], [[2, 0], [-2, 0]])
    assert np.allclose(found.points["mexico"], [[0, -1], [0, 1]])
    assert np.allclose(found.centroids()["mexico"], [0, 0])


@pytest.mark.parametrize("count", [1, 7, 16])
def test_any_number_of_cultures_is_named(tmp_path: Path, count: int) -> None:
    names = [f"culture {number}" for number in range(count)]
    vectors = {f"{name} {side}": [number, side, 1.0] for number, name in enumerate(names) for side in (0, 1)}
    given = tables(vectors, {sample: sample.rpartition(" ")[0] for sample in vectors})
    made = [on_map.draw(*given, tmp_path / name) for name in ("one", "two")]
    assert {*names} <= texts(made[0][1])
    assert any("of the variance" in text for text in texts(made[0][1]))
    assert [file.read_bytes() for file in made[0]] == [file.read_bytes() for file in made[1]]


def test_equal_vectors_have_a_place_and_no_vectors_none(tmp_path: Path) -> None:
    assert on_map.draw(*tables({"a": [1.0], "b": [1.0]}, {"a": "china", "b": "china"}), tmp_path / "equal")
    assert on_map.draw(*tables({"a": [1.0]}, {"b": "china"}), tmp_path / "none") == []
