"""Representativeness is the size of a centre's cluster, and nothing elsewhere."""

import pytest
from datasets import Dataset

from caredio import features
from caredio.errors import InputError
from caredio.selection import represent


def clustered(rows):
    empty = dict.fromkeys(features.SCORED) | {"others": []}
    columns = features.Features(
        {name: features.SCORED[name] for name in (*features.CANDIDATES, "cluster", "cluster_size", "is_center")}
    )
    return Dataset.from_list(
        [{name: value for name, value in {**empty, **row}.items() if name in columns} for row in rows],
        features=columns,
    )


def sized(table):
    return represent.run(table, NO_VECTORS, represent.Config())


NO_VECTORS = features.table([], features.vectors(2))
ROWS = [
    {"sample_id": "a", "cluster_size": 3, "is_center": False},
    {"sample_id": "b", "cluster_size": 3, "is_center": True},
    {"sample_id": "c", "cluster_size": 1, "is_center": True},
    {"sample_id": "d", "cluster_size": 3, "is_center": False},
]


def test_r_is_the_size_of_the_centre_s_cluster():
    table = sized(clustered(ROWS))
    assert table["representativeness"][:] == [None, 3.0, 1.0, None]
    assert table.features["representativeness"] == features.SCORED["representativeness"]
    assert table.remove_columns("representativeness").to_list() == clustered(ROWS).to_list()


def test_a_table_without_centres_keeps_the_column_s_type():
    table = sized(clustered(ROWS[:1]))
    assert table["representativeness"][:] == [None]
    assert table.features["representativeness"] == features.SCORED["representativeness"]


def test_old_scores_are_replaced():
    old = clustered(ROWS).add_column("representativeness", [9.0] * 4)
    assert sized(old)["representativeness"][:] == [None, 3.0, 1.0, None]


def test_dropped_rows_stay_behind():
    table = clustered(ROWS).add_column("drop_reason", [None, None, "empty", None])
    assert sized(table)["sample_id"][:] == ["a", "b", "d"]


@pytest.mark.parametrize("missing", ["cluster", "cluster_size", "is_center"])
def test_a_missing_column_is_named(missing):
    with pytest.raises(InputError, match=f"column {missing} is missing"):
        sized(clustered(ROWS).remove_columns(missing))
