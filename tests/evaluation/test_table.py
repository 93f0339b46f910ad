from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
from scipy import stats

pytest.importorskip("lm_eval")

from lm_eval_folder import asked, questions, saved

from caredio.errors import InputError
from caredio.evaluation import samples, table
from caredio.evaluation.table import build

CULTURES = ("china", "japan", "india", "egypt", "brazil", "mexico")
Folder = Callable[..., Path]


def right_on(share: int, of: int = 10) -> Callable[[dict[str, Any]], str]:
    """Right on `share` of every `of` questions."""
    return lambda doc: "B" if int(doc["question"]) % of < share else "A"


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """A folder of lm-eval, made of what a model says of a benchmark's questions on cultures."""

    def make(name: str, says: Callable[[dict[str, Any]], str], n: int = 20, **given: Any) -> Path:
        cultures, benchmark = given.pop("cultures", CULTURES), given.pop("benchmark", "quiz")
        kept = given.pop("log_samples", True)
        tasks = {f"caredio_{benchmark}_{one}": questions(n, given.get("prefix", f"{one}-")) for one in cultures}
        given.pop("prefix", None)
        made = asked(tmp_path / "tasks" / f"{name}-{benchmark}", tasks, says, **given)
        saved(tmp_path / name, f"org/{name}", made, kept)
        return tmp_path / name

    return make


def named(**folders: Path) -> list[str]:
    return [f"{name.replace('_', '-')}={path}" for name, path in folders.items()]


def by_hand(path: Path) -> list[float]:
    """The scores in a folder's samples, read without this package."""
    return [json.loads(line)["acc"] for file in path.rglob("samples_*") for line in file.read_text().splitlines()]


def test_methods_and_benchmarks(folder: Folder) -> None:
    raw, trained, rival = folder("a", right_on(4)), folder("b", right_on(8)), folder("c", right_on(5))
    found = build(named(raw=raw, trained=trained, rival=rival))
    assert found.systems == ("raw", "trained", "rival")
    (column,) = found.columns
    assert (column.title, column.parts) == ("quiz, acc", tuple(sorted(CULTURES)))
    for name, path in (("raw", raw), ("trained", trained), ("rival", rival)):
        scores = by_hand(path)
        assert column.cells[name].value == pytest.approx(fmean(scores))
        assert column.cells[name].n == len(scores) == 120
    # trained is right on 48 questions more than raw, and wrong on none where raw is right; rival on 12
    p = [stats.binomtest(48, 48).pvalue, stats.binomtest(12, 12).pvalue, stats.binomtest(36, 36).pvalue, 1.0]
    tests = {name: column.cells[name].tests for name in ("trained", "rival")}
    assert tests["trained"]["raw"].p == pytest.approx(4 * p[0])
    assert tests["trained"]["every baseline"].p == pytest.approx(3 * p[2])
    assert tests["rival"]["raw"].p == pytest.approx(2 * p[1])
    assert tests["rival"]["every baseline"].p == 1
    assert {name: column.marks(name) for name in found.systems} == {"raw": "", "trained": "*‡", "rival": "*"}
    improved = column.cells["trained"].improved
    assert improved is not None
    assert improved[:3] == (6, 0, 0)
    assert improved.p == pytest.approx(2 * 2 / 2**6)  # both systems are better on all six, Holm times two
    assert column.cells["trained"].shown_improved == "6/6"
    assert column.power == "quiz, acc: n = 120: 9.9 points are found at 80 % if 15 % of pairs differ."


def test_a_baseline_is_beaten_only_if_all_are(folder: Folder) -> None:
    raw, trained = folder("a", right_on(2)), folder("b", right_on(7))
    near = folder("c", lambda doc: "B" if int(doc["question"]) % 10 < 7 or doc["question"] == "9" else "A")
    (column,) = build(named(raw=raw, trained=trained, weak=folder("d", right_on(3)), near=near)).columns
    assert column.marks("trained") == "*"  # weak alone would be beaten
    assert column.cells["trained"].tests["every baseline"].p == 1
    assert column.marks("near") == "*"  # by 6 questions of 120: p is 0.03 alone, more by Holm's
    (column,) = build(named(raw=raw, trained=trained, weak=folder("d", right_on(3)))).columns
    assert column.marks("trained") == "*‡"


def test_role_play_and_a_part_to_play_are_no_rivals(folder: Folder) -> None:
    given = named(raw=folder("a", right_on(2)), role_play=folder("b", right_on(5)), trained=folder("c", right_on(8)))
    (column,) = build([*given, f"trained + role-play={folder('d', right_on(9))}"]).columns
    assert {name: column.marks(name) for name in column.cells} == {
        "raw": "",
        "role-play": "*",
        "trained": "*†",
        "trained + role-play": "*†",
    }


def test_worse_than_raw_is_marked_and_lower_may_be_better(folder: Folder) -> None:
    raw, worse = folder("a", right_on(8)), folder("b", right_on(3))
    (column,) = build(named(raw=raw, worse=worse)).columns
    assert column.marks("worse") == "↓"
    metric = [{"metric": "acc", "aggregation": "mean", "higher_is_better": False}]
    raw, better = (
        folder(f"{name}-error", says, metric_list=metric, benchmark="error")
        for name, says in (("a", right_on(8)), ("b", right_on(3)))
    )
    (column,) = build(named(raw=raw, better=better)).columns
    assert column.marks("better") == "*"
    assert column.cells["better"].improved is not None
    assert column.cells["better"].improved.better == 6


def test_shared_questions_are_drawn_together(folder: Folder) -> None:
    raw, trained = folder("a", right_on(4), prefix="q"), folder("b", right_on(8), prefix="q")
    (column,) = build(named(raw=raw, trained=trained)).columns
    test = column.cells["trained"].tests["raw"]
    assert (test.n, test.questions) == (120, 20)
    assert test.p == 2 / 2**8  # eight questions of twenty differ, alike in all cultures
    assert "n = 20:" in column.power


def test_cultures_that_a_system_lacks_are_named_and_no_zero(folder: Folder) -> None:
    raw = folder("a", right_on(4))
    trained = folder("b", right_on(8), cultures=CULTURES[:2])
    found = build(named(raw=raw, trained=trained))
    (column,) = found.columns
    assert column.parts == ("china", "japan")
    assert column.cells["raw"].n == 40
    assert column.cells["trained"].value == 0.8
    assert "quiz, acc: egypt is not in the mean, as trained was not asked about it." in found.notes
    assert re.search(r"^egypt +20 +40\.0 \[.*\] +-$", str(found), re.M)
    only = build(named(raw=raw, trained=trained), cultures=["japan"])
    assert only.columns[0].parts == ("japan",)
    with pytest.raises(InputError, match="nothing was measured on france"):
        build([raw], cultures=["france"])


def test_variants_and_metrics_are_columns_of_their_own(folder: Folder) -> None:
    folder("a", right_on(4))
    folder("a", right_on(6), benchmark="quiz_generated")
    found = build([folder("a", right_on(2), benchmark="quiz_cot")])
    assert {column.benchmark: column.cells["org/a"].value for column in found.columns} == {
        "quiz": 0.4,
        "quiz_generated": 0.6,
        "quiz_cot": 0.2,
    }


def test_without_samples_there_are_numbers_and_no_test(folder: Folder) -> None:
    raw, trained = folder("a", right_on(4), log_samples=False), folder("b", right_on(8))
    found = build(named(raw=raw, trained=trained))
    (column,) = found.columns
    assert column.cells["raw"].value == pytest.approx(0.4)
    assert column.cells["trained"].tests == {}
    assert column.cells["trained"].improved is not None
    assert f"{raw}: no samples of quiz (lm_eval --log_samples), so no paired test is possible." in found.notes


def test_systems_of_one_name_go_by_their_folders(folder: Folder, tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    one, other = folder("x/m", right_on(4)), folder("y", right_on(8))
    saved_as = samples.find(other)[0].path.parent
    saved_as.rename(other / "org__x__m")
    for file in other.rglob("results_*"):
        file.write_text(file.read_text().replace('"org/y"', '"org/x/m"'))
    found = build([one, other])
    assert found.systems == ("org/x/m (m)", "org/x/m (y)")
    (other / "m").mkdir()
    (other / "org__x__m").rename(other / "m" / "org__x__m")
    with pytest.raises(InputError, match="two measurements of 'org/x/m' on quiz; give each folder a name, as NAME="):
        build([one, other / "m"])
    assert build([f"raw={one}", f"trained={other / 'm'}"]).systems == ("raw", "trained")


def test_a_name_is_for_a_folder_of_one_system(folder: Folder, tmp_path: Path) -> None:
    folder("a", right_on(4)).rename(tmp_path / "both")
    folder("b", right_on(8)).rename(tmp_path / "both" / "b")
    with pytest.raises(InputError, match="holds org/a, org/b; a name such as 'raw' is for a folder of one system"):
        build([f"raw={tmp_path / 'both'}"])


def test_what_was_asked_otherwise_is_not_compared(folder: Folder) -> None:
    raw = folder("a", right_on(4))
    other = folder("b", right_on(8), metadata={"version": 2})
    with pytest.raises(
        InputError, match=r"'raw' and 'trained' were not asked the same quiz: version is 1 in one, 2 in"
    ):
        build(named(raw=raw, trained=other))
    other = folder("c", right_on(8), doc_to_text="Answer {{question}}")
    with pytest.raises(InputError, match=r"doc_to_text is 'Question \{\{question\}\}' in one, 'Answer"):
        build(named(raw=raw, trained=other))
    other = folder("d", right_on(8))
    for file in other.rglob("samples_*_china_*"):
        file.write_text(file.read_text().replace('"question": "3"', '"question": "33"'))
    with pytest.raises(InputError, match="the question 'china-3' is another one"):
        build(named(raw=raw, trained=other))


def test_fewer_questions_of_one_are_said(folder: Folder) -> None:
    found = build(named(raw=folder("a", right_on(4)), trained=folder("b", right_on(8), n=10)))
    (column,) = found.columns
    assert column.cells["trained"].tests["raw"].n == 60
    assert "quiz, acc: raw and trained share 60 of 120 questions, which their test is of." in found.notes


def test_seeds_are_points(folder: Folder) -> None:
    given = [f"ours (seed {n})={folder(f's{n}', right_on(6 + n))}" for n in range(3)]
    found = build([*named(raw=folder("a", right_on(4))), *given])
    assert any("ours with 3 seeds: 60.0, 70.0, 80.0; points" in note for note in found.notes)
    (column,) = found.columns
    assert all("every baseline" not in cell.tests for cell in column.cells.values())  # seeds are no rivals


def test_a_group_of_lm_eval_is_one_column_of_its_tasks(tmp_path: Path) -> None:
    def make(name: str, share: int) -> Path:
        tasks = {f"mini_{part}": questions(10, part) for part in ("law", "art")}
        made = asked(tmp_path / f"{name}-tasks", tasks, right_on(share))
        made["groups"], made["group_subtasks"] = (
            {"mini": {"acc,none": share / 10}},
            {"mini": [*tasks], "general": ["mini"]},
        )
        made["results"]["mini"] = made["groups"]["mini"]
        saved(tmp_path / name, name, made)
        return tmp_path / name

    found = build(named(raw=make("a", 4), trained=make("b", 9)))
    (column,) = found.columns
    assert (column.benchmark, column.parts, column.cultural) == ("mini", ("mini_art", "mini_law"), False)
    assert column.cells["trained"].value == 0.9
    assert column.cells["trained"].improved is None  # tasks are no cultures
    assert column.marks("trained") == "*"


def rated(path: Path, model: str, values: list[float]) -> Path:
    """A folder of ratings, as a judge's samples."""
    made = "2026-01-01T00-00-00"
    for culture in ("china", "japan"):
        place = path / culture
        place.mkdir(parents=True)
        task = f"caredio_prism_generated_judged_{culture}"
        lines = [
            {"doc": {"id": f"p{n}"}, "doc_hash": "x", "filter": "none", "metrics": ["rating"], "rating": value}
            for n, value in enumerate(values)
        ]
        (place / f"samples_{task}_{made}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        content = {"results": {task: {"rating,none": fmean(values)}}, "model_name": model}
        (place / f"results_{made}.json").write_text(json.dumps(content))
    return path


def test_the_average_is_the_posters(folder: Folder, tmp_path: Path) -> None:
    """Five columns, PRISM's rating times 20: as (88.79 + 59.54 + 20 x 2.187 + 46.27 + 62.38) / 5 is 60.14 there."""
    metric = [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}]
    for name, shares, ratings in (("raw", (7, 4, 5, 6), [2.0, 3.0] * 5), ("ours", (9, 6, 5, 8), [4.0, 3.5] * 5)):
        for benchmark, share in zip(("culturalbench_easy", "culturalbench_hard"), shares, strict=False):
            folder(name, right_on(share), benchmark=benchmark, metric_list=metric, cultures=("china", "japan"))
        place = tmp_path / name
        for benchmark, share in zip(("globalopinionqa", "wvs"), shares[2:], strict=True):
            folder(name, right_on(share), benchmark=benchmark, cultures=("china", "japan"))
        for file in place.rglob("*"):
            if file.is_file() and re.search("globalopinionqa|wvs", file.name + file.read_text()):
                file.write_text(file.read_text().replace('"acc', '"modal_acc'))
        if name == "ours":
            partial = build([place])
            assert partial.averages == {}
            assert any(note.startswith("No average is given") and "missing: prism" in note for note in partial.notes)
        rated(place / "judged", f"org/{name}", ratings)
    found = build(named(raw=tmp_path / "raw", ours=tmp_path / "ours"))
    average = found.averages["Average"]
    assert average["raw"].value == pytest.approx((70 + 40 + 20 * 2.5 + 50 + 60) / 5)
    assert average["ours"].value == pytest.approx((90 + 60 + 20 * 3.75 + 50 + 80) / 5)
    assert found.shown_average("Average", "ours") == "71.00*"
    assert any(line.startswith("Average: the mean of CulturalBench-Easy") for line in found.legend)


def test_unparsed_answers_are_told_and_no_column(folder: Folder) -> None:
    metric = [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}]
    place = folder("a", right_on(4), benchmark="quiz_generated", metric_list=metric)
    for file in place.rglob("*"):
        if file.is_file():
            text = file.read_text().replace('"acc,none"', '"unparsed,none": 0.25, "acc,none"')
            file.write_text(text.replace('"acc": ', '"unparsed": 0.25, "acc": '))
    found = build([place])
    assert [column.metric for column in found.columns if column.main] == ["acc"]
    assert "quiz_generated, unparsed, per cent, counted as wrong: org/a 25.0." in found.notes


def test_csv_holds_every_number(folder: Folder) -> None:
    raw, trained = folder("a", right_on(4)), folder("b", right_on(8))
    rows = list(csv.DictReader(io.StringIO(build(named(raw=raw, trained=trained)).to("csv"))))
    assert len(rows) == 2 * (len(CULTURES) + 1)
    (every,) = [row for row in rows if row["culture"] == "all" and row["system"] == "trained"]
    assert float(every["value"]) == 0.8
    assert float(every["p_raw"]) == pytest.approx(stats.binomtest(48, 48).pvalue)
    assert (every["cultures_improved"], every["cultures_compared"]) == ("6", "6")
    assert next(row for row in rows if row["culture"] == "all")["p_raw"] == ""


NASTY = r"a|b & <i>x</i> 100% $_{2}$ #\~^*"


def test_special_characters_are_escaped(folder: Folder) -> None:
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


def test_tables_of_each_format_hold_the_same_numbers(folder: Folder) -> None:
    found = build(named(raw=folder("a", right_on(4)), trained=folder("b", right_on(8))))
    for name in ("text", "markdown", "html", "latex"):
        text = found.to(name)
        assert "40.0" in text
        assert re.search(r"80\.0(\*|\\\*|\$\^\{\*\}\$)", text), name
        assert "6/6" in text
        assert "n = 120: 9.9 points" in text


def test_a_wide_table_of_text_goes_on_below(folder: Folder) -> None:
    for number in range(9):
        folder("a", right_on(4), benchmark=f"benchmark_{number}", cultures=("china",), n=10)
    text = str(build([folder("a", right_on(4), cultures=("china",), n=10)]))
    assert max(map(len, text.split("\n\nquiz")[0].splitlines()[:8])) <= table.formats._WIDE
    assert all(f"benchmark_{number}, acc" in text for number in range(9))


def test_nothing_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no results; name a run"):
        build([tmp_path])
    with pytest.raises(InputError, match="nowhere: is no folder"):
        build([tmp_path / "nowhere"])
