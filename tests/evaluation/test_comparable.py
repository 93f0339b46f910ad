from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("lm_eval")
pytest.importorskip("peft")

import caredio
from caredio.errors import InputError
from caredio.evaluation import formats
from caredio.evaluation.table import build
from caredio.intervals import wilson


def folder(
    path: Path,
    scores: Mapping[str, float],
    culture: str = "china",
    made: str = "2026-01-01T00-00-00",
    benchmark: str = "quiz",
    identity: Mapping[str, Any] | None = None,
    version: int = 1,
) -> Path:
    """What one system got on questions, as lm-eval writes it."""
    path.mkdir(parents=True, exist_ok=True)
    task = f"caredio_{benchmark}_{culture}"
    rows = [
        {"doc": {"id": name}, "doc_hash": name, "filter": "none", "metrics": ["acc"], "acc": score}
        for name, score in scores.items()
    ]
    content = {
        "results": {task: {"acc,none": sum(scores.values()) / len(scores)}},
        "versions": {task: version},
        "model_name": path.parent.name if identity else path.name,
        **({"caredio": identity} if identity else {}),
    }
    (path / f"samples_{task}_{made}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (path / f"results_{made}.json").write_text(json.dumps(content))
    return path


def right(share: int, of: int, start: int = 0) -> dict[str, float]:
    return {f"q{n}": float(n < share) for n in range(start, of)}


def test_means_are_over_the_questions_that_all_were_asked(tmp_path: Path) -> None:
    raw, trained = folder(tmp_path / "a", right(10, 100)), folder(tmp_path / "b", right(9, 10))
    found = build([f"raw={raw}", f"trained={trained}"])
    (column,) = found.columns
    assert {name: (cell.value, cell.n) for name, cell in column.cells.items()} == {"raw": (1, 10), "trained": (0.9, 10)}
    assert (column.cells["raw"].low, column.cells["raw"].high) == wilson(1, 10)
    assert [(row["system"], row["culture"], row["n"], row["value"]) for row in formats.rows(found)] == [
        ("raw", "china", 10, 1),
        ("trained", "china", 10, 0.9),
        ("raw", "all", 10, 1),
        ("trained", "all", 10, 0.9),
    ]
    what = "the mean is over the 10 questions that all systems share; left out: raw 90 of 100."
    assert [note for note in found.notes if "left out" in note] == [f"quiz, acc: {what}"]


def test_what_is_left_out_is_counted_over_cultures(tmp_path: Path) -> None:
    for culture, of in (("china", 4), ("japan", 6)):
        folder(tmp_path / "a", right(3, 10), culture, f"2026-01-0{of}T00-00-00")
        folder(tmp_path / "b", right(3, of), culture, f"2026-01-0{of}T00-00-00")
    found = build([f"raw={tmp_path / 'a'}", f"trained={tmp_path / 'b'}"])
    assert found.columns[0].cells["raw"].value == 6 / 10
    assert any("the 10 questions that all systems share; left out: raw 10 of 20." in note for note in found.notes)


def test_nothing_is_better_than_a_baseline_that_scores_higher(tmp_path: Path) -> None:
    raw = folder(tmp_path / "a", dict.fromkeys(right(0, 100), 0.0))
    trained = folder(tmp_path / "b", right(60, 100))
    rival = folder(tmp_path / "c", {**right(0, 10), **{f"z{n}": 1.0 for n in range(90)}})
    (column,) = build([f"raw={raw}", f"trained={trained}", f"rival={rival}"]).columns
    for name, cell in column.cells.items():
        if "‡" in column.marks(name):
            assert cell.value > max(other.value for rival, other in column.cells.items() if rival not in (name, "raw"))
    assert {name: cell.value for name, cell in column.cells.items()} == {"raw": 0, "trained": 1, "rival": 0}
    assert column.marks("trained") == "*‡"


def test_a_culture_without_a_shared_question_is_not_compared(tmp_path: Path) -> None:
    raw, trained = tmp_path / "a", tmp_path / "b"
    folder(raw, right(4, 8))
    folder(trained, right(9, 12, start=8))
    for one in (raw, trained):
        folder(one, right(2, 4), "japan", "2026-01-02T00-00-00")
    found = build([f"raw={raw}", f"trained={trained}"])
    (column,) = found.columns
    assert column.parts == ("japan",)
    assert column.cells["raw"].n == 4
    why = "raw and trained share no question of it (raw 8, trained 4); not comparable."
    assert f"quiz, acc: china is not in the mean, as {why}" in found.notes
    (row,) = (line for line in str(found).splitlines() if line.startswith("china"))
    assert row.split()[1] == "4-8"
    assert "50.0≠ [" in row
    assert "25.0≠ [" in row
    assert any(line.startswith("≠: not comparable") for line in found.legend)
    for form in formats.FORMATS:
        assert found.to(form)


def test_numbers_without_samples_keep_their_own_questions_and_are_marked(tmp_path: Path) -> None:
    raw, trained = folder(tmp_path / "a", right(4, 8)), folder(tmp_path / "b", right(3, 4))
    folder(tmp_path / "c", right(5, 20))
    next((tmp_path / "c").glob("samples_*")).unlink()
    results = next((tmp_path / "c").glob("results_*"))
    content = json.loads(results.read_text())
    content["n-samples"] = {"caredio_quiz_china": {"original": 20, "effective": 20}}
    results.write_text(json.dumps(content))
    found = build([f"raw={raw}", f"trained={trained}", f"rival={tmp_path / 'c'}"])
    (column,) = found.columns
    assert {name: (cell.value, cell.n) for name, cell in column.cells.items()} == {
        "raw": (1, 4),
        "trained": (0.75, 4),
        "rival": (0.25, 20),
    }
    assert {name: column.marks(name) for name in column.cells} == {"raw": "", "trained": "", "rival": "°"}
    assert any(line.startswith("°: over the system's own questions") for line in found.legend)


def measured(run: Path, system: str, scores: Mapping[str, float], day: int, sha256: str = "A", **given: Any) -> None:
    """A measurement of a run: what `samples` of it holds."""
    identity = {"system": system, "culture": "china", "model": system, "weights_sha256": system} | given
    folder(
        run / f"{system}-{day}",
        scores,
        made=f"2026-01-{day:02}T00-00-00",
        identity={**identity, "benchmark_sha256": sha256},
    )


def test_measurements_of_a_system_are_joined_and_the_newest_answer_counts(tmp_path: Path) -> None:
    measured(tmp_path, "raw", {"q0": 0.0, "q1": 0.0, "q2": 1.0}, 2)
    measured(tmp_path, "raw", {"q0": 1.0, "q3": 1.0}, 3)
    measured(tmp_path, "raw", {"q1": 1.0, "q4": 0.0}, 1)
    found = build([tmp_path])
    (column,) = found.columns
    assert column.numbers["china"]["raw"].scores == {"q0": 1, "q1": 0, "q2": 1, "q3": 1, "q4": 0}
    assert column.cells["raw"].value == 3 / 5
    assert found.notes == (
        "raw: quiz on china was asked more than once, and the newer answers count: 2 scored otherwise before.",
    )


def test_the_measurement_that_most_systems_share_counts(tmp_path: Path) -> None:
    measured(tmp_path, "raw", right(4, 8), 1)
    measured(tmp_path, "raw", right(1, 3), 2, "B")
    measured(tmp_path, "trained", right(2, 3), 3, "B")
    found = build([tmp_path])
    assert {name: (cell.value, cell.n) for name, cell in found.columns[0].cells.items()} == {
        "raw": (1 / 3, 3),
        "trained": (2 / 3, 3),
    }
    why = "its file of questions is not that of what is compared"
    assert found.notes == (f"raw: quiz of 8 questions on china is left out, as {why}.",)
    measured(tmp_path, "trained", right(3, 6), 4)
    assert build([tmp_path]).columns[0].cells["trained"].n == 6  # as many share A, and this is newer


def test_a_third_system_that_was_asked_otherwise_is_left_out_and_two_are_refused(tmp_path: Path) -> None:
    measured(tmp_path, "raw", right(4, 8), 1)
    measured(tmp_path, "rival", right(4, 8), 2, "B")
    with pytest.raises(InputError, match="their questions come from files that differ"):
        build([tmp_path])
    measured(tmp_path, "trained", right(4, 8), 1)
    found = build([tmp_path])
    assert found.systems == ("raw", "trained")
    assert [note for note in found.notes if note.startswith("rival: quiz of 8 questions on china is left out")]


def test_a_second_judge_of_the_same_replies_is_named(tmp_path: Path) -> None:
    for day, judge in ((1, "gpt-1"), (2, "gpt-2")):
        measured(tmp_path, "raw", right(4, 8), day, judge={"model": judge})
    found = build([tmp_path])
    why = "its judge (gpt-1) is not that of what is compared"
    assert found.notes == (f"raw: quiz of 8 questions on china is left out, as {why}.",)


@pytest.fixture
def food(tmp_path: Path) -> Path:
    rows = [f"China;What is eaten in place {n}?;rice;bread;{'AB'[n % 2]}" for n in range(8)]
    (tmp_path / "food.csv").write_text("\n".join(["country;question;a;b;right", *rows]) + "\n")
    columns = "{culture: country, options: [a, b], key: right}"
    (tmp_path / "food.yaml").write_text(
        f"name: food\ntitle: Food\nkind: choice\nfile: food.csv\nlicence: CC0-1.0\ncolumns: {columns}\n"
    )
    return tmp_path / "food.yaml"


def test_a_run_with_few_questions_after_many_is_shown_on_the_shared_ones(
    tiny: Path, adapter: Path, food: Path, tmp_path: Path
) -> None:
    """Two evaluations of one run, by the command, then a third on another file of questions."""
    run = tmp_path / "run"
    shutil.copytree(adapter, tmp_path / "models" / "china")

    def evaluate(trained: bool, limit: int) -> None:
        models = tmp_path / "models" if trained else None
        caredio.evaluate(
            ["china"], out=run, model=str(tiny), trained=models, limit=limit, benchmarks=str(food), device="cpu"
        )

    evaluate(False, 8)
    evaluate(True, 1)
    found = build([run])
    (column,) = found.columns
    asked = ("raw", "role-play", "trained", "trained + role-play")
    assert {name: column.cells[name].n for name in asked} == dict.fromkeys(asked, 1)
    assert column.cells["chance"].n == 1
    assert [note for note in found.notes if "left out" in note] == [
        "Food: the mean is over the 1 question that all systems share; left out: raw 7 of 8, role-play 7 of 8."
    ]
    (tmp_path / "food.csv").write_text((tmp_path / "food.csv").read_text().replace("eaten", "drunk"))
    evaluate(True, 3)
    found = build([run])
    assert {name: found.columns[0].cells[name].n for name in asked} == dict.fromkeys(asked, 3)
    notes = [note for note in found.notes if "left out" in note]
    assert len(notes) == len({*notes}) == 6  # raw and role-play of 8 and 1 questions, trained ones of 1
    assert all("its file of questions is not that of what is compared" in note for note in notes)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"configs": None}, "configs is not as lm-eval writes it"),
        ({"configs": {"caredio_quiz_china": 3}}, "configs of 'caredio_quiz_china'"),
        ({"configs": {"x": {"dataset_kwargs": "culture"}}}, "dataset_kwargs of 'x'"),
        ({"versions": [1]}, "versions is not"),
        ({"n-shot": None}, "n-shot is not"),
        ({"higher_is_better": {"caredio_quiz_china": None}}, "higher_is_better of"),
        ({"higher_is_better": {"caredio_quiz_china": {"acc": "yes"}}}, "higher_is_better of"),
        ({"group_subtasks": {"g": None}}, "group_subtasks of 'g'"),
        ({"groups": 5}, "groups is not"),
        ({"n-samples": {"caredio_quiz_china": 8}}, "n-samples of"),
        ({"n-samples": {"caredio_quiz_china": {"effective": "8"}}}, "n-samples of"),
        ({"results": {"caredio_quiz_china": [1]}}, "results of 'caredio_quiz_china'"),
        ({"results": {"caredio_quiz_china": {"acc,none": float("inf")}}}, "acc,none of"),
        ({"results": {"caredio_quiz_china": {"acc,none": 10**400}}}, "acc,none of"),
        ({"results": {"caredio_quiz_china": {"acc,none": 0.5, "sample_len": []}}}, "sample_len of"),
        ({"caredio": [1]}, "caredio is not"),
        ({"caredio": {"culture": ["china"]}}, "culture of caredio"),
    ],
)
@pytest.mark.parametrize("samples", [True, False])
def test_a_results_file_of_another_shape_is_one_sentence(
    tmp_path: Path, change: dict[str, Any], says: str, samples: bool
) -> None:
    folder(tmp_path, right(4, 8))
    (file,) = tmp_path.glob("results_*")
    file.write_text(json.dumps({**json.loads(file.read_text()), **change}))
    if not samples:
        next(tmp_path.glob("samples_*")).unlink()
    with pytest.raises(InputError, match=says) as raised:
        build([tmp_path])
    assert str(file) in str(raised.value)


def test_json_that_cannot_be_read_is_one_sentence(tmp_path: Path) -> None:
    folder(tmp_path, right(4, 8))
    (file,), (rows,) = tmp_path.glob("results_*"), tmp_path.glob("samples_*")
    whole, deep = file.read_text(), "[" * 100_000 + "]" * 100_000
    file.write_text(f'{{"results": {{}}, "x": {deep}}}')
    with pytest.raises(InputError, match=r"results_.*: is JSON nested too deep"):
        build([tmp_path])
    file.write_text(f'{{"results": {{}}, "x": {"9" * 5000}}}')
    with pytest.raises(InputError, match=r"results_.*: holds a number of too many digits"):
        build([tmp_path])
    file.write_text(whole)
    before = rows.read_text()
    rows.write_text(before.replace('"id": "q0"', f'"id": "q0", "x": {deep}'))
    with pytest.raises(InputError, match=r"samples_.*, line 1: is JSON nested too deep"):
        build([tmp_path])
    rows.write_text(before.replace('"acc": 1.0', f'"acc": {10**400}', 1))
    with pytest.raises(InputError, match="line 1: acc is larger than any number"):
        build([tmp_path])


def test_groups_that_hold_each_other_end(tmp_path: Path) -> None:
    folder(tmp_path, right(4, 8))
    for file in tmp_path.iterdir():
        content = file.read_text().replace("caredio_quiz_china", "quiz")
        file.rename(tmp_path / file.name.replace("caredio_quiz_china", "quiz")).write_text(content)
    (file,) = tmp_path.glob("results_*")
    groups = {"a": ["b"], "b": ["a", "quiz"]}
    file.write_text(json.dumps({**json.loads(file.read_text()), "group_subtasks": groups}))
    assert build([tmp_path]).columns[0].parts == ("quiz",)


def test_an_id_of_several_documents_is_no_question(tmp_path: Path) -> None:
    folder(tmp_path, right(5, 20))
    (rows,) = tmp_path.glob("samples_*")
    lines = [json.loads(line) for line in rows.read_text().splitlines()]
    for number, line in enumerate(lines):
        line["doc"] = {"id": "same", "question": number}
    rows.write_text("".join(json.dumps(line) + "\n" for line in lines))
    (column,) = build([tmp_path]).columns
    ((cell,), (number,)) = column.cells.values(), column.numbers["china"].values()
    assert (cell.n, cell.value, set(number.scores or ())) == (20, 0.25, {f"q{n}" for n in range(20)})
    assert len(number.hashes) == 20


def test_a_document_that_is_there_twice_counts_twice_and_is_one_draw(tmp_path: Path) -> None:
    folder(tmp_path, {"q0": 1.0, "q1": 1.0, "q2": 0.0})
    (rows,) = tmp_path.glob("samples_*")
    lines = [json.loads(line) for line in rows.read_text().splitlines()]
    again = [{**line, "doc_id": n, "doc_hash": "h"} | {"doc": {"question": 0}} for n, line in enumerate(lines)]
    again[2] |= {"doc": {"question": 2}, "doc_hash": "other"}
    rows.write_text("".join(json.dumps(line) + "\n" for line in again))
    (column,) = build([tmp_path]).columns
    (cell,) = column.cells.values()
    assert (cell.n, cell.value) == (3, 2 / 3)  # as lm-eval has it, and not the mean of two documents
    assert "n = 2:" in build([f"raw={tmp_path}", f"again={tmp_path}"]).columns[0].power
