from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path

import pytest
from scipy import stats

pytest.importorskip("lm_eval")

from lm_eval_folder import CULTURES, Folders, asked, named, questions, right_on

from caredio.errors import InputError
from caredio.evaluation import formats, samples
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


def marks(row: dict[str, str]) -> str:
    """The marks of a row of CSV, by the rules that docs/evaluation.md gives."""
    found, sign = "", 1 if row["higher_is_better"] == "True" else -1
    for reference, mark in (("raw", "*"), ("role_play", "†"), ("every_baseline", "‡")):
        if row[f"p_{reference}"] and float(row[f"p_{reference}"]) < 0.05:
            better = sign * float(row[f"difference_to_{reference}"]) > 0
            found += mark if better else "↓" * (reference == "raw")
    return found + "≠" * (row["comparable"] == "False") + "°" * (row["own_questions"] == "True")


@pytest.mark.parametrize("higher", [True, False])
def test_csv_tells_every_mark_of_the_text(folder: Folders, higher: bool) -> None:
    metric = {"metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": higher}]}
    systems = {"raw": 5, "role-play": 6, "trained": 9, "poor": 1, "unknown": 7}
    given = []
    for name, share in systems.items():
        for culture in ("china", "japan"):
            own = f"{name}-" if culture == "japan" else "q"  # so that no question on Japan is shared
            kept = name != "unknown"
            folder(name, right_on(share), 40, (culture,), prefix=own, log_samples=kept, **metric)
        given.append(f"{name}={folder.path / name}")
    found = build(given)
    rows = list(csv.DictReader(io.StringIO(found.to("csv"))))
    (main, by_culture, *_) = str(found).split("\n\n")
    told = {row["system"]: marks(row) for row in rows if row["culture"] == "all"}
    shown = {name: re.search(rf"^{name} +[\d.]+(\S*)", main, re.M) for name in systems}
    assert told == {name: one[1] for name, one in shown.items() if one}
    assert told == {
        **{"raw": "", "role-play": "", "unknown": "°"},
        **({"trained": "*†‡", "poor": "↓"} if higher else {"trained": "↓", "poor": "*†‡"}),
    }
    for culture in ("china", "japan"):
        (line,) = re.findall(rf"^{culture} .*$", by_culture, re.M)
        cells = re.findall(r"\d\.\d([≠°]?)(?= |$)", line)
        assert cells == [marks(row) for row in rows if row["culture"] == culture]
    assert set(re.findall("[≠°]", by_culture)) == {"≠", "°"}


def test_csv_holds_models_asked_about_other_cultures(tmp_path: Path) -> None:
    says = {("china", "china"): 9, ("china", "japan"): 4, ("japan", "china"): 5, ("japan", "japan"): 8}
    for (model, culture), share in says.items():
        made = asked(tmp_path / "tasks", {f"caredio_quiz_{culture}": questions(10, culture)}, right_on(share))
        identity = {"system": "trained", "culture": culture, "model": f"models/{model}", "weights_sha256": model}
        samples.write(tmp_path / "run" / "samples", identity, made)
    rows = list(csv.DictReader(io.StringIO(build([tmp_path / "run"]).to("csv"))))
    told = {(row["model_of"] or row["culture"], row["culture"]): float(row["value"]) for row in rows[:2] + rows[3:]}
    assert (rows[2]["culture"], len(rows)) == ("all", 5)
    assert told == {key: share / 10 for key, share in says.items()}


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


def test_a_bracket_that_begins_a_row_is_no_argument_of_latex(folder: Folders) -> None:
    found = build([f"[2pt] ours={folder('a', right_on(4))}"])
    rows = [line for line in found.to("latex").splitlines() if "[2pt] ours" in line]
    assert rows
    assert not [row for row in rows if row.startswith("[")]
