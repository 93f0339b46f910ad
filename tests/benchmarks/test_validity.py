"""The figures of the validity study in README.md and docs/validity.md are those that its benchmark printed."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
INTERVAL = re.compile(r"[+-]?\d\.\d{3} \[[^\]]*\]")


def intervals(text):
    """The figures with their intervals, without the spaces that line up a column."""
    return [re.sub(r"\s", "", one) for one in INTERVAL.findall(text)]


@pytest.mark.parametrize("page", ["docs/validity.md", "README.md"])
def test_figures_are_those_that_were_printed(page):
    files = (Path(__file__).parent / "validity").glob("*.txt")
    printed = {one for file in files for one in intervals(file.read_text())}
    text = (ROOT / page).read_text()
    if page == "README.md":
        text = text.split("| gain over the line named, 95 % interval |")[1].split("\n\n")[0]
    found = intervals(text)
    assert len(found) > 10
    assert [one for one in found if one not in printed] == []
