"""The paper's build goes through every step of its benchmark, here of two cultures and one topic."""

import re
import sys
from pathlib import Path

import pytest
import yaml

sys.path.insert(0, str(Path(__file__).parent))
cardset = pytest.importorskip("cardset")


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_recipe_becomes_a_release_that_is_loaded(tmp_path):
    small = {**yaml.safe_load(cardset.RECIPE.read_text()), "cultures": ["china", "mexico"], "topics": ["food"]}
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(small))
    used = dict(cardset.through(tmp_path / "small.yaml", tmp_path / "run", 3))
    asked = {name: int(one.said.partition(" requests")[0].replace(",", "")) for name, one in used.items()}
    assert asked["build"] > 0
    assert asked["build again"] == asked["publish"] == asked["load"] == 0
    tables, rows = re.search(r"(\d+) tables, (\d+) rows", used["load"].said).groups()
    assert int(rows) > int(tables) > 2 * 3  # ranked, pool and vectors of two cultures
    assert all(one.peak > 50 and one.cpu > 0 for one in used.values())
