"""The map: principal components as scikit-learn computes them, and a point for each row."""

import numpy as np
from app.test_markup import Seen
from sklearn.decomposition import PCA

from caredio.app import map as maps
from caredio.app import shelf


def test_points_are_on_the_principal_components():
    vectors = np.random.default_rng(0).normal(size=(40, 7)).astype(np.float32)
    points, shares = maps.projected(vectors)
    known = PCA(2).fit(vectors.astype(np.float64))
    np.testing.assert_allclose(shares, known.explained_variance_ratio_, rtol=1e-4)
    np.testing.assert_allclose(np.abs(points), np.abs(known.transform(vectors)), atol=1e-4)


def test_every_row_has_a_point_within_the_picture(ranked):
    opened = shelf.open(ranked)
    made = maps.drawn(opened)
    assert sorted(made.places) == list(range(len(opened)))
    assert made.points.min() >= 0
    assert (made.points.max(axis=0) <= (900, 640)).all()
    picture = maps.svg(opened, made, opened.of(culture="china"), opened.rows["key"][0].as_py())
    paths = [attributes for tag, attributes in Seen(picture).elements if tag == "path" and "data-row" in attributes]
    assert {one["data-row"] for one in paths} == set(opened.rows["key"].to_pylist())
    assert "<bdi>china</bdi> 11<" in picture  # a name that is read from the right takes no number with it
    assert sum("class" in one for one in paths) == len(opened) - len(opened.of(culture="china"))


def test_the_best_rows_are_drawn_where_there_are_too_many(ranked, monkeypatch):
    monkeypatch.setattr(maps, "POINTS", 5)
    opened = shelf.open(ranked)
    made = maps.drawn(opened)
    assert made.places.tolist() == [0, 1, 2, 3, 4]
    assert "22 more are not" in maps.svg(opened, made, opened.of(), "")
