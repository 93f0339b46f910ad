"""A release on its way to the Hub while any route fails in any way, and while its process is killed.

`python tests/publishing/fault_matrix.py` prints what is tested here as tables.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from publishing.fault_matrix import FAULTS, MOMENTS, ROUTES, SLOW, XET

SCRIPT = Path(__file__).with_name("fault_matrix.py")
FINAL = ("401", "403", "404", "409")  # the Hub refuses for good; anything else may go well another time


def cells(folder, *chosen):
    file = folder / "found.json"
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "TRANSFORMERS_"))}
    command = [sys.executable, SCRIPT, file, *chosen]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(file.read_text())


@pytest.fixture(scope="module")
def every(tmp_path_factory):
    return cells(tmp_path_factory.mktemp("every"))


@pytest.fixture(scope="module")
def some(tmp_path_factory):
    """What is quick: where the Hub changes something, refused and lost."""
    return cells(tmp_path_factory.mktemp("some"), "create,shards,commit,tag", "403,412,drops before,drops after")


def check(cell, fault):
    assert cell["stands"] != "BROKEN"
    assert cell["again"] == "finishes"
    if cell["said"]:
        assert cell["said"].startswith("EndpointError: caredio/r"), cell["said"]
        assert any(
            advice in cell["said"]
            for advice in ("un the same command again", "check HF_TOKEN", "check the name", "the same command goes on")
        ), cell["said"]
        assert fault in cell["said"] or "last: " in cell["said"], cell["said"]
        assert cell["stands"] in ("as before", "whole, no tag", "empty")
    else:
        assert cell["stands"] == "complete"


@pytest.mark.parametrize("route", ["create", "shards", "commit", "tag"])
def test_where_the_hub_changes_something_it_is_as_before_or_whole(some, route):
    for fault, row in some["matrix"][route].items():
        for cell in row.values():
            assert cell["hit"] == "True"
            check(cell, fault)
        if fault not in FINAL:
            assert row["once"]["stands"] == "complete", row["once"]


def test_a_killed_release_is_as_before_or_whole_and_finishes_when_it_is_run_again(some):
    assert len(some["kills"]) == 2 * MOMENTS  # before and after each of the requests
    for cell in some["kills"]:
        assert cell["killed"] == "True", cell
        assert cell["stands"] in ("as before", "whole, no tag", "complete"), cell
        assert cell["again"] == "finishes", cell
    assert {cell["stands"] for cell in some["kills"]} == {"as before", "whole, no tag", "complete"}


@pytest.mark.slow  # 137 cells, each twice
@pytest.mark.parametrize(("route", "fault"), [(one, by) for one in ROUTES for by in FAULTS if (one, by) not in SLOW])
def test_each_route_by_each_fault(every, route, fault):
    for often, cell in every["matrix"][route][fault].items():
        assert cell["hit"] == "True"
        check(cell, fault)
        if route in XET and fault.isdigit() and often == "always":
            assert f"last: status {fault} " in cell["said"]
        if (fault not in FINAL or route in XET) and often == "once":
            assert cell["stands"] == "complete", cell
