from __future__ import annotations

import csv
import io
import re
from pathlib import Path

import pytest
from scipy import stats

pytest.importorskip("lm_eval")

from lm_eval_folder import CULTURES, Folders, named, right_on

from caredio.errors import InputError
from caredio.evaluation import formats
from caredio.evaluation.table import build

NASTY = r"a|b & <i>x</i> 100% $_{2}$ #\~^*"


@pytest.fixture
def folder(tmp_path: Path) -> Folders:
    return Folders(tmp_path)


def test_csv_holds_every_number(folder: Folders) -> None:
    raw, trained = folder("a", right_on(4)), folder("b", right_on(8))
    rows = list(csv.DictReader(io.StringIO(build(named(raw=raw, trained=trained)).to("csv"))))
    assert len(rows) == 2 * (len(CULTURES) + 1)
    (every,) = [row for row in rows if row["culture"] == "all" and row["system"] == "trained"]
    assert float(every["value"]) == 0.8
    assert float(every["p_raw"]) == pytest.approx(stats.binomtest(48, 48).pvalue)
    assert (every["cultures_improved"], every["cultures_compared"]) == ("6", "6")
    assert next(row for row in rows if row["culture"] == "all")["p_raw"] == ""


def test_special_characters_are_escaped(folder: Folders) -> None:
    found = build([f"{NASTY}={folder('a', right_on(4))}"])
    assert found.systems == (NASTY,)
    markdown = found.to("markdown")
    head = markdown.splitlines()[2]
    row = next(line for line in markdown.splitlines() if line.startswith(r"| a\|b"))
    assert len(re.findall(r"(?<!\\)\|", row)) == len(re.findall(r"(?<!\\)\|", head)) == 3
    assert r"\<i\>" in row
    page = found.to("html")
    assert "<i>" not in page
    assert "a|b &amp; &lt;i&gt;x" in page
    latex = found.to("latex")
    assert r"a\textbar{}b \& \textless{}i\textgreater{}x\textless{}/i\textgreater{} 100\% \$\_\{2\}\$ \#" in latex
    assert r"\textbackslash{}\textasciitilde{}\textasciicircum{}$^{*}$" in latex
    (line, *_) = csv.DictReader(io.StringIO(found.to("csv")))
    assert line["system"] == NASTY
    with pytest.raises(InputError, match="'latx' is no format of results; did you mean latex"):
        found.to("latx")


def test_tables_of_each_format_hold_the_same_numbers(folder: Folders) -> None:
    found = build(named(raw=folder("a", right_on(4)), trained=folder("b", right_on(8))))
    for name in ("text", "markdown", "html", "latex"):
        text = found.to(name)
        assert "40.0" in text
        assert re.search(r"80\.0(\*|\\\*|\$\^\{\*\}\$)", text), name
        assert "6/6" in text
        assert "n = 120: 9.9 points" in text


def test_a_wide_table_of_text_goes_on_below(folder: Folders) -> None:
    for number in range(9):
        folder("a", right_on(4), benchmark=f"benchmark_{number}", cultures=("china",), n=10)
    text = str(build([folder("a", right_on(4), cultures=("china",), n=10)]))
    assert max(map(len, text.split("\n\nquiz")[0].splitlines()[:8])) <= formats._WIDE
    assert all(f"benchmark_{number}, acc" in text for number in range(9))
