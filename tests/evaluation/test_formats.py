from __future__ import annotations

import csv
import io
import json
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


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("=HYPERLINK(1)", "'=HYPERLINK(1)"),
        ("-2+3", "'-2+3"),
        ("+1", "'+1"),
        ("@SUM(1)", "'@SUM(1)"),
        ("\t=1", "'=1"),
        ("\r=1", "'=1"),
        ("a\x1b[31mb\x1b]0;c\x07\nd\u202ee\ud800", "ab de"),
    ],
)
def test_names_are_no_commands(folder: Folders, name: str, shown: str) -> None:
    path = folder("a", lambda doc: "A" if doc["question"] == "0" else "B", cultures=("china",), n=4)
    for file in path.rglob("results_*"):
        file.write_text(json.dumps({**json.loads(file.read_text()), "model_name": name}))
    found = build([path])
    for form in formats.FORMATS:
        text = found.to(form)
        text.encode()
        assert not re.search("[\0-\x09\x0b-\x1f\x7f\u202e]", text), form
    (row, _) = csv.DictReader(io.StringIO(found.to("csv")))
    assert (row["system"], row["value"]) == (shown, "0.75")
    assert [line for line in str(found).splitlines() if line.startswith(f"{shown.removeprefix(chr(39))} ")]


def test_a_number_below_zero_is_no_text(folder: Folders) -> None:
    rows = csv.DictReader(io.StringIO(build(named(raw=folder("a", right_on(8)), b=folder("b", right_on(4)))).to("csv")))
    assert [float(row["difference_to_raw"]) for row in rows if row["difference_to_raw"]] == [pytest.approx(-0.4)]


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
