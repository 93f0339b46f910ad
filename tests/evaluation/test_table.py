from __future__ import annotations

import json
import re
from pathlib import Path
from statistics import fmean

import numpy as np
import pytest
from scipy import stats

pytest.importorskip("lm_eval")

from lm_eval_folder import CULTURES, Folders, asked, named, questions, right_on, saved

from caredio.errors import InputError
from caredio.evaluation.table import build
from caredio.intervals import wilson


@pytest.fixture
def folder(tmp_path: Path) -> Folders:
    return Folders(tmp_path)


def by_hand(path: Path) -> list[float]:
    """The scores in a folder's samples, read without this package."""
    return [json.loads(line)["acc"] for file in path.rglob("samples_*") for line in file.read_text().splitlines()]


def test_methods_and_benchmarks(folder: Folders) -> None:
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


def test_a_baseline_is_beaten_only_if_all_are(folder: Folders) -> None:
    raw, trained = folder("a", right_on(2)), folder("b", right_on(7))
    near = folder("c", lambda doc: "B" if int(doc["question"]) % 10 < 7 or doc["question"] == "9" else "A")
    (column,) = build(named(raw=raw, trained=trained, weak=folder("d", right_on(3)), near=near)).columns
    assert column.marks("trained") == "*"  # weak alone would be beaten
    assert column.cells["trained"].tests["every baseline"].p == 1
    assert column.marks("near") == "*"  # by 6 questions of 120: p is 0.03 alone, more by Holm's
    (column,) = build(named(raw=raw, trained=trained, weak=folder("d", right_on(3)))).columns
    assert column.marks("trained") == "*‡"


def test_role_play_and_a_part_to_play_are_no_rivals(folder: Folders) -> None:
    given = named(raw=folder("a", right_on(2)), role_play=folder("b", right_on(5)), trained=folder("c", right_on(8)))
    (column,) = build([*given, f"trained + role-play={folder('d', right_on(9))}"]).columns
    assert {name: column.marks(name) for name in column.cells} == {
        "raw": "",
        "role-play": "*",
        "trained": "*†",
        "trained + role-play": "*†",
    }


def test_worse_than_raw_is_marked_and_lower_may_be_better(folder: Folders) -> None:
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


def test_shared_questions_are_drawn_together(folder: Folders) -> None:
    raw, trained = folder("a", right_on(4), prefix="q"), folder("b", right_on(8), prefix="q")
    (column,) = build(named(raw=raw, trained=trained)).columns
    test = column.cells["trained"].tests["raw"]
    assert (test.n, test.questions) == (120, 20)
    assert test.p == 2 / 2**8  # eight questions of twenty differ, alike in all cultures
    assert "n = 20:" in column.power


def test_the_interval_of_all_cultures(folder: Folders) -> None:
    (column,) = build([folder("a", right_on(0))]).columns
    cell = column.cells["org/a"]
    assert (cell.low, cell.high) == pytest.approx(wilson(0, 120))  # no answer is right, and yet not nothing is known
    (column,) = build([folder("b", right_on(4), prefix="q")]).columns
    cell = column.cells["org/b"]
    low, high = wilson(0.4, 20)  # the same twenty questions on each culture, answered alike
    assert cell.low is not None
    assert cell.high is not None
    assert cell.high - cell.low == pytest.approx(high - low, rel=0.15)
    (column,) = build([folder("c", right_on(10), prefix="q")]).columns
    cell = column.cells["org/c"]
    assert (cell.low, cell.high) == pytest.approx(wilson(1, 20))


def test_equal_scores_are_no_certainty(tmp_path: Path) -> None:
    for metric, score in (("half", 0.25), ("bits", 2.5), ("rating", 1.0)):
        for culture in ("china", "japan"):
            measured(tmp_path / metric, "org/a", f"caredio_quiz_{metric}_{culture}", metric, [score] * 2)
    half, bits, rating = build([tmp_path / name for name in ("half", "bits", "rating")]).columns
    for found in (half.cells["org/a"], half.numbers["china"]["org/a"]):
        assert (found.low, found.high) == wilson(0.25, 2)  # two questions, which the cultures share
    for column in (bits, rating):
        assert column.scale == 1
        for found in (column.cells["org/a"], column.numbers["china"]["org/a"]):
            assert (found.low, found.high) == (None, None)


def test_a_column_has_one_kind_of_interval(tmp_path: Path) -> None:
    """Three of four are right by either system; one of the scores that is a half makes both intervals drawn."""
    for name, scores in (("a", [1.0, 1.0, 1.0, 0.0]), ("b", [1.0, 0.5, 1.0, 0.5])):
        measured(tmp_path / name, f"org/{name}", "caredio_quiz_china", "acc", scores * 5)
    (alone,) = build([tmp_path / "a"]).columns
    both = build([tmp_path / "a", tmp_path / "b"])
    (column,) = both.columns
    for found in (alone.cells["org/a"], alone.numbers["china"]["org/a"]):
        assert (found.low, found.high) == pytest.approx(wilson(0.75, 20))
    draws = np.random.default_rng(1).binomial(20, 0.75, 100_000) / 20  # of 20 questions, of which 15 are right
    for found in (column.cells["org/a"], column.numbers["china"]["org/a"]):
        assert (found.low, found.high) == pytest.approx(np.quantile(draws, [0.025, 0.975]), abs=0.051)
        assert found.low not in wilson(0.75, 20)
        assert 20 * (found.low or 0) == pytest.approx(round(20 * (found.low or 0)))  # a mean of twenty bits
    assert "95 % intervals: Wilson's of quiz, acc, whose scores are right or wrong, and " in str(
        build([tmp_path / "a"])
    )
    assert "95 % intervals: a bootstrap over questions of quiz, acc (of equal scores Wilson's of a share" in str(both)


def test_cultures_that_a_system_lacks_are_named_and_no_zero(folder: Folders) -> None:
    raw = folder("a", right_on(4))
    trained = folder("b", right_on(8), cultures=CULTURES[:2])
    found = build(named(raw=raw, trained=trained))
    (column,) = found.columns
    assert column.parts == ("china", "japan")
    assert column.cells["raw"].n == 40
    assert column.cells["trained"].value == 0.8
    assert "quiz, acc: egypt is not in the mean, as trained has no number on it." in found.notes
    assert re.search(r"^egypt +20 +40\.0 \[.*\] +-$", str(found), re.M)
    only = build(named(raw=raw, trained=trained), cultures=["japan"])
    assert only.columns[0].parts == ("japan",)
    with pytest.raises(InputError, match="nothing was measured on france"):
        build([raw], cultures=["france"])


def test_variants_and_metrics_are_columns_of_their_own(folder: Folders) -> None:
    folder("a", right_on(4))
    folder("a", right_on(6), benchmark="quiz_generated")
    found = build([folder("a", right_on(2), benchmark="quiz_cot")])
    assert {column.benchmark: column.cells["org/a"].value for column in found.columns} == {
        "quiz": 0.4,
        "quiz_generated": 0.6,
        "quiz_cot": 0.2,
    }


def test_without_samples_there_are_numbers_and_no_test(folder: Folders) -> None:
    raw, trained = folder("a", right_on(4), log_samples=False), folder("b", right_on(8))
    found = build(named(raw=raw, trained=trained))
    (column,) = found.columns
    assert column.cells["raw"].value == pytest.approx(0.4)
    assert column.cells["trained"].tests == {}
    assert column.cells["trained"].improved is not None
    what = "% Imp. C. of trained takes 6 of 6 cultures from numbers without samples: as many questions as raw's"
    assert f"quiz, acc: {what}, not known to be the same." in found.notes
    assert f"{raw}: no samples of quiz (lm_eval --log_samples), so no paired test is possible." in found.notes


def test_the_sign_test_is_over_the_cultures_that_a_system_and_raw_have(folder: Folders, tmp_path: Path) -> None:
    """Wide is better on six of six, narrow on three of its four: 2 / 2^6, Holm twice, and 2 x (1 + 4) / 2^4."""
    raw, wide = folder("a", right_on(4)), folder("b", right_on(8))
    says = {"china": 8, "japan": 8, "india": 8, "egypt": 2}
    for culture, share in says.items():
        folder("c", right_on(share), cultures=(culture,))
    (column,) = build(named(raw=raw, wide=wide, narrow=tmp_path / "c")).columns
    assert column.parts == ("china", "egypt", "india", "japan")  # the mean is of those that all have
    assert (column.cells["wide"].shown_improved, column.cells["narrow"].shown_improved) == ("6/6", "3/4")
    ps = {name: column.cells[name].improved.p for name in ("wide", "narrow")}  # type: ignore[union-attr]
    assert ps == pytest.approx({"wide": 2 * 2 / 2**6, "narrow": 10 / 2**4})


def test_a_number_without_samples_counts_among_improved_cultures_if_it_is_of_as_many_questions(
    folder: Folders, tmp_path: Path
) -> None:
    """Raw is right on 40 % of 20 questions a culture."""
    for culture, share, n in (("china", 5, 20), ("japan", 6, 20), ("india", 3, 20), ("egypt", 9, 30)):
        folder("b", right_on(share), n=n, cultures=(culture,), log_samples=False)
    found = build(named(raw=folder("a", right_on(4)), other=tmp_path / "b"))
    (column,) = found.columns
    improved = column.cells["other"].improved
    assert improved is not None
    assert improved[:3] == (2, 1, 0)
    assert improved.p == pytest.approx(1.0)  # two of three: 2 x (3 + 1) / 2^3
    assert {note for note in found.notes if "% Imp. C." in note} == {
        "quiz, acc: % Imp. C. of other takes 3 of 4 cultures from numbers without samples: as many questions as raw's,"
        " not known to be the same.",
        "quiz, acc: % Imp. C. of other leaves out egypt, as without samples 30 questions are not raw's 20.",
    }


def test_fewer_questions_of_one_are_said(folder: Folders) -> None:
    found = build(named(raw=folder("a", right_on(4)), trained=folder("b", right_on(8), n=10)))
    (column,) = found.columns
    assert column.cells["trained"].tests["raw"].n == 60
    what = "the mean is over the 60 questions that all systems share; left out: raw 60 of 120."
    assert f"quiz, acc: {what}" in found.notes


def test_seeds_are_points(folder: Folders) -> None:
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


def measured(path: Path, model: str, task: str, metric: str, values: list[float]) -> None:
    """A folder of lm-eval's, below `path`, of one task's scores on questions that cultures share."""
    made, place = "2026-01-01T00-00-00", path / task
    place.mkdir(parents=True)
    lines = [
        {"doc": {"id": f"q{n}"}, "doc_hash": "x", "filter": "none", "metrics": [metric], metric: value}
        for n, value in enumerate(values)
    ]
    (place / f"samples_{task}_{made}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    content = {"results": {task: {f"{metric},none": fmean(values)}}, "model_name": model}
    (place / f"results_{made}.json").write_text(json.dumps(content))


def rated(path: Path, model: str, values: list[float]) -> Path:
    """A folder of ratings, as a judge's samples."""
    for culture in ("china", "japan"):
        measured(path, model, f"caredio_prism_generated_judged_{culture}", "rating", values)
    return path


def test_the_average_is_the_posters(folder: Folders, tmp_path: Path) -> None:
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
    # by a second judge, in a column of its own
    for file in [*(tmp_path / "raw" / "judged").rglob("samples_*_judged_*")]:
        second = tmp_path / "raw" / "second" / file.parent.name
        second.mkdir(parents=True, exist_ok=True)
        (second / file.name.replace("_judged_", "_judged_zz_")).write_bytes(file.read_bytes())
        (results,) = file.parent.glob("results_*")
        (second / results.name).write_text(results.read_text().replace("_judged_", "_judged_zz_"))
    found = build(named(raw=tmp_path / "raw", ours=tmp_path / "ours"))
    assert found.averages == {}
    both = "prism_generated_judged and prism_generated_judged_zz"
    assert any(note.startswith("No average is given") and both in note for note in found.notes)


def test_a_question_of_two_columns_is_flipped_once_in_the_average(tmp_path: Path) -> None:
    """Easy and Hard ask the same ten questions; four differ, in both."""
    right = [float(place < 4) for place in range(10)]
    for system, scores in (("raw", right), ("ours", [float(place < 8) for place in range(10)])):
        for benchmark, metric, own in (
            ("culturalbench_easy", "acc", scores),
            ("culturalbench_hard", "acc", scores),
            ("globalopinionqa", "modal_acc", right),
            ("wvs", "modal_acc", right),
            ("prism_generated_judged", "rating", [3.0] * 10),
        ):
            measured(tmp_path / system, f"org/{system}", f"caredio_{benchmark}_china", metric, own)
    test = build(named(raw=tmp_path / "raw", ours=tmp_path / "ours")).averages["Average"]["ours"].tests["raw"]
    assert test.questions == 4 * 10
    assert test.p == 2 / 2**4  # and not 2 / 2**8


def test_equal_systems_improve_on_no_culture(tmp_path: Path) -> None:
    for system, scores in (("raw", [2 / 3, 2 / 3]), ("trained", [1, 1 / 3]), ("rival", [1 / 3, 1])):
        for culture in CULTURES:
            measured(tmp_path / system, f"org/{system}", f"caredio_quiz_{culture}", "acc", scores)
    (column,) = build(named(**{name: tmp_path / name for name in ("raw", "trained", "rival")})).columns
    for name in ("trained", "rival"):
        assert column.cells[name].shown_improved == "0/6"
        assert [test.difference for test in column.cells[name].tests.values()] == [0, 0]
        assert column.cells[name].tests["every baseline"].p == 1


def test_what_a_declaration_says_stands_below(folder: Folders) -> None:
    legend = build([folder("a", right_on(4), benchmark="normad", cultures=("china",))]).legend
    title = "NormAd, the country named"
    assert f"{title}: its reader was tested on rows in the published format alone." in legend
    assert any(line.startswith(f"{title}: For the label neutral, upstream pairs") for line in legend)


def test_how_replies_are_is_said_and_not_compared(folder: Folders) -> None:
    given = {}
    for name, share, beside in (("raw", 4, "0.5"), ("long", 4, "0.0")):
        place = folder(name, right_on(share), benchmark="quiz_generated")
        for file in place.rglob("*"):
            if file.is_file():
                text = file.read_text().replace('"acc,none"', f'"unparsed,none": {beside}, "acc,none"')
                file.write_text(text.replace('"acc": ', f'"unparsed": {beside}, "acc": '))
        given[name] = place
    found = build(named(**given))
    assert [column.metric for column in found.columns if column.main] == ["acc"]
    assert "quiz_generated, unparsed, per cent: raw 50.0, long 0.0." in found.notes
    (beside,) = (column for column in found.columns if column.metric == "unparsed")
    assert beside.cells["long"].tests == {}
    assert beside.cells["long"].improved is None


def test_every_quantity_that_is_no_share_has_a_column(tmp_path: Path) -> None:
    """BLEnD's short answers: bits per byte, of which fewer are better, and the margins."""
    names = ("bits_per_byte", "margin", "margin_per_byte")
    for system, of in (("raw", (2.0, -1.0, -0.1)), ("trained", (1.5, 1.0, 0.1))):
        rows = [
            {"doc": {"id": f"q{n}"}, "doc_hash": "x", "filter": "none", "metrics": names}
            | {name: value + n % 2 / 4 for name, value in zip(names, of, strict=True) if n < 8 or name == names[0]}
            for n in range(10)
        ]
        task, made = "caredio_blend_answers_china", "2026-01-01T00-00-00"
        means = {f"{name},none": fmean(row[name] for row in rows if name in row) for name in names}
        (tmp_path / system).mkdir()
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (tmp_path / system / f"samples_{task}_{made}.jsonl").write_text(text)
        (tmp_path / system / f"results_{made}.json").write_text(json.dumps({"results": {task: means}}))
    found = build(named(raw=tmp_path / "raw", trained=tmp_path / "trained"))
    assert [(column.metric, column.higher, column.marks("trained")) for column in found.columns if column.main] == [
        ("bits_per_byte", False, "*"),
        ("margin", True, "*"),
        ("margin_per_byte", True, "*"),
    ]
    assert [line for line in found.legend if "lower is better" in line] == [
        f"{found.columns[0].title}: lower is better."
    ]
    assert [column.title for column in found.columns] == [  # what is measured stands in each heading
        f"BLEnD short answers, in English, {measure}"
        for measure in ("bits per byte", "margin, nats", "margin, nats per byte")
    ]
    assert [column.cells["trained"].n for column in found.columns] == [10, 8, 8]  # not every question has rivals
    assert found.columns[0].shown(found.columns[0].cells["trained"].value) == "1.625"


def test_items_of_a_question_with_other_options_are_drawn_together(tmp_path: Path) -> None:
    """BLEnD's multiple choice asks a question of a region several times, with other regions' answers."""
    for name, right in (("raw", 0), ("ours", 6)):
        place = tmp_path / name
        measured(place, name, "caredio_blend_china", "acc", [float(n // 10 < right) for n in range(80)])
        (file,) = place.rglob("samples_*")
        rows = [json.loads(line) for line in file.read_text().splitlines()]
        rows = [{**row, "doc": {**row["doc"], "question_id": f"Q{n // 10}"}} for n, row in enumerate(rows)]
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    (column,) = build(named(raw=tmp_path / "raw", ours=tmp_path / "ours")).columns
    test, raw = column.cells["ours"].tests["raw"], column.numbers["china"]["raw"]
    assert (test.n, test.questions, test.p) == (80, 8, 2 / 2**6)
    assert (raw.n, raw.low, raw.high) == (80, *wilson(0, 8))
    assert "n = 8:" in column.power
