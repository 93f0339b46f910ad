"""A table of one's own as a benchmark: what its YAML file may hold, how its rows are read, and how it is asked."""

from __future__ import annotations

import csv
import io
import json
import math
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from lm_eval.evaluator import evaluate
from lm_eval.tasks import TaskManager

import caredio
from caredio import cli
from caredio.errors import InputError
from caredio.evaluation import benchmark, tasks_path
from caredio.evaluation.results import Asked
from caredio.evaluation.samples import find, rows
from caredio.evaluation.settings import Settings
from caredio.evaluation.table import build

ROWS = [
    {"culture": "China", "question": "What is eaten at dawn?", "options": ["congee", "waffles", "ful"], "key": "A"},
    {"culture": "ROK", "question": "What is in the pot?", "options": ["pho", "jjigae", "borscht"], "key": "B"},
    {"culture": "china", "question": "None?", "options": ["None", "NA", "tea, or water"], "key": "C"},
]
DECLARED: dict[str, Any] = {
    "name": "street_food",
    "title": "Street food",
    "kind": "choice",
    "file": "rows.jsonl",
    "licence": "CC-BY-4.0",
}


def declare(folder: Path, content: str | bytes | None = None, **changes: Any) -> Path:
    """`folder/own.yaml` and its table."""
    declared = {**DECLARED, **changes}
    file = folder / "own.yaml"
    file.write_text(yaml.safe_dump({key: value for key, value in declared.items() if value is not None}))
    if content is not None:
        made = content.encode() if isinstance(content, str) else content
        (folder / declared["file"]).write_bytes(made)
    return file


def jsonl(made: list[dict[str, Any]]) -> str:
    return "".join(json.dumps(row) + "\n" for row in made)


def documents(file: Path) -> list[dict[str, Any]]:
    (one, _), *_ = benchmark.chosen([str(file)])
    return one.documents(one.path())


def flat(made: list[dict[str, Any]], delimiter: str = ",") -> str:
    """A csv with a column an option."""
    text = io.StringIO()
    cells = [[row["culture"], row["question"], *row["options"], row["key"]] for row in made]
    csv.writer(text, delimiter=delimiter, lineterminator="\n").writerows(
        [["country", "question", "a", "b", "c", "right"], *cells]
    )
    return text.getvalue()


def listed(made: list[dict[str, Any]]) -> str:
    """A csv whose options are a JSON list."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(made[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows({**row, "options": json.dumps(row["options"])} for row in made)
    return text.getvalue()


def parquet(made: list[dict[str, Any]]) -> bytes:
    content = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(made), content)
    return content.getvalue()


WIDE = {"columns": {"options": ["a", "b", "c"], "key": "right", "culture": "country"}}


@pytest.mark.parametrize(
    ("file", "content", "changes"),
    [
        ("rows.jsonl", jsonl(ROWS), {}),
        ("rows.json", json.dumps(ROWS), {}),
        ("rows.parquet", parquet(ROWS), {}),
        ("rows.csv", listed(ROWS), {}),
        ("rows.csv", flat(ROWS), WIDE),
        ("rows.csv", "\ufeff" + flat(ROWS, ";"), WIDE),
    ],
    ids=["jsonl", "json", "parquet", "a list in csv", "columns of csv", "a spreadsheet's csv"],
)
def test_a_table_is_read_alike_in_every_format(file: str, content: str | bytes, changes: Any, tmp_path: Path) -> None:
    found = documents(declare(tmp_path, content, file=file, **changes))
    assert [(one["culture"], one["question"], one["options"], one["key"]) for one in found] == [
        ("China", "What is eaten at dawn?", ["congee", "waffles", "ful"], 0),
        ("ROK", "What is in the pot?", ["pho", "jjigae", "borscht"], 1),
        ("china", "None?", ["None", "NA", "tea, or water"], 2),
    ]
    assert [one["orders"] for one in found] == [[[0, 1, 2], [1, 2, 0], [2, 0, 1]]] * 3  # no letter is the safe one
    assert len({one["id"] for one in found}) == 3


def test_a_question_of_fewer_options_leaves_its_last_columns_empty(tmp_path: Path) -> None:
    content = flat(ROWS) + "china,Fewer?,rice,millet,,A\n"
    found = documents(declare(tmp_path, content, file="rows.csv", **WIDE))
    assert [len(one["options"]) for one in found] == [3, 3, 3, 2]
    assert found[-1]["options"] == ["rice", "millet"]
    with pytest.raises(InputError, match=r"line 5, column a, b, c: is empty; fill it"):  # a hole is no end
        documents(declare(tmp_path, flat(ROWS) + "china,Fewer?,rice,,millet,A\n", file="rows.csv", **WIDE))


@pytest.mark.parametrize(
    "keys",
    [("A", "B", "C"), ("a", "b", "c"), (0, 1, 2), (1, 2, 3), ("0", "1", "2"), ("congee", "jjigae", "tea, or water")],
)
def test_a_key_is_a_letter_a_number_or_the_option(keys: tuple[Any, ...], tmp_path: Path) -> None:
    made = [{**row, "key": key} for row, key in zip(ROWS, keys, strict=True)]
    assert [one["key"] for one in documents(declare(tmp_path, jsonl(made)))] == [0, 1, 2]


def test_keys_of_no_form_are_told_the_forms(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"'x' is none of the 3 options; give its letter or its number or its text, in"
    ):
        documents(declare(tmp_path, jsonl([{**row, "key": "x"} for row in ROWS])))


def test_keys_that_can_be_read_in_two_ways_are_told_apart_in_the_declaration(tmp_path: Path) -> None:
    made = jsonl([{**row, "key": 1} for row in ROWS])  # the second from 0, the first from 1
    with pytest.raises(InputError, match=r"rows\.jsonl: the column key can be read as numbers from 0 and as numbers"):
        documents(declare(tmp_path, made))
    assert [one["key"] for one in documents(declare(tmp_path, made, keys="numbers from 0"))] == [1, 1, 1]
    assert [one["key"] for one in documents(declare(tmp_path, made, keys="numbers from 1"))] == [0, 0, 0]


def test_ids_are_the_tables_own_or_of_the_question(tmp_path: Path) -> None:
    again = [{**ROWS[0], "id": 7}, {**ROWS[0], "culture": "Japan", "id": 7}]  # the same question of two cultures
    assert [one["id"] for one in documents(declare(tmp_path, jsonl(again)))] == ["7", "7"]
    without = [{key: value for key, value in row.items() if key != "id"} for row in again]
    first, second = documents(declare(tmp_path, jsonl(without)))
    assert first["id"] == second["id"]


def test_a_table_on_one_culture_needs_no_column_of_it(tmp_path: Path) -> None:
    made = [{key: value for key, value in row.items() if key != "culture"} for row in ROWS]
    assert {one["culture"] for one in documents(declare(tmp_path, jsonl(made), culture="Peru"))} == {"Peru"}


def test_statements_are_judged(tmp_path: Path) -> None:
    made = "culture,question,s1,s2,t1,t2\nChina,What is true?,Tea is drunk.,Snow is hot.,TRUE,0\n"
    columns = {"statements": ["s1", "s2"], "truth": ["t1", "t2"]}
    found = documents(declare(tmp_path, made, file="rows.csv", kind="judgements", columns=columns))
    assert [(one["statements"], one["truth"]) for one in found] == [(["Tea is drunk.", "Snow is hot."], [True, False])]


def test_counts_become_shares(tmp_path: Path) -> None:
    made = [{"culture": "China", "question": "How?", "options": ["So", "Thus"], "people": [30, 10]}]
    found = documents(declare(tmp_path, jsonl(made), kind="distribution", columns={"shares": "people"}))
    assert [one["shares"] for one in found] == [[0.75, 0.25]]


PEOPLE = [  # the own answer of Peru is chicha (3 of 5), that of China tea (4 of 4); two of Japan's three agree
    {"culture": "Peru", "id": "drink", "question": "What is drunk?", "answer": "chicha", "people": 3},
    {"culture": "Peru", "id": "drink", "question": "What is drunk?", "answer": "beer", "people": 2},
    {"culture": "China", "id": "drink", "question": "What is drunk?", "answer": "tea", "people": 4},
    {"culture": "Japan", "id": "drink", "question": "What is drunk?", "answer": "green tea", "people": 2},
    {"culture": "Peru", "id": "bread", "question": "Which bread?", "answer": "pan", "people": 1},
]


def test_peoples_answers_stand_in_a_row_each_or_in_lists(tmp_path: Path) -> None:
    answers = {"kind": "answers", "columns": {"answers": "answer", "weight": "people"}}
    found = documents(declare(tmp_path, jsonl(PEOPLE), **answers))
    by_key = {(one["culture"], one["id"]): one for one in found}
    assert list(by_key) == [("Peru", "drink"), ("China", "drink"), ("Japan", "drink"), ("Peru", "bread")]
    peru = by_key["Peru", "drink"]
    assert peru["answers"] == [{"text": "chicha", "weight": 3}, {"text": "beer", "weight": 2}]
    assert (peru["own"], peru["rivals"]) == ("chicha", [{"culture": "China", "text": "tea"}])
    japan = by_key["Japan", "drink"]
    assert (japan["own"], japan["rivals"]) == (None, [{"culture": "Peru", "text": "chicha"}])  # tea is in green tea
    assert by_key["Peru", "bread"]["own"] is None
    lists = [
        {
            "culture": "Peru",
            "id": "drink",
            "question": "What is drunk?",
            "answer": ["chicha", "beer"],
            "people": [3, 2],
        },
        *PEOPLE[2:],
    ]
    assert documents(declare(tmp_path, jsonl(lists), **answers)) == found


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"question": "Which tea?"}, "line 2, column id: is that of line 1, which asks something else."),
        ({"people": 0}, "line 2, column people: holds 0; give how many people gave the answer, 1 or more."),
        ({"people": 1.5}, "line 2, column people: holds 1.5; give how many"),
        ({"people": [1, 2]}, "line 2, column people: holds 2 of 1 answers; give one for each."),
        ({"answer": ""}, "line 2, column answer: is empty"),
        ({"answer": []}, "line 2, column answer: lists no answer"),
        ({"answer": '["a"'}, "line 2, column answer: is no list in JSON (Expecting ',' delimiter at character 5)."),
    ],
)
def test_what_is_wrong_with_an_answer_is_said_by_line_and_column(change: Any, message: str, tmp_path: Path) -> None:
    made = [PEOPLE[0], {**PEOPLE[1], **change}]
    columns = {"answers": "answer", "weight": "people"}
    with pytest.raises(InputError) as refused:
        documents(declare(tmp_path, jsonl(made), kind="answers", columns=columns))
    assert message in str(refused.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"key": "D"},
            "rows.jsonl, line 2, column key: 'D' is the letter of none of the 3 options; a column of keys takes one"
            " form, and 2 of 3 rows give the letter: do so in each row.",
        ),
        ({"key": "jjigae"}, "'jjigae' is the letter of none of the 3 options; a column of keys takes one form, and 2"),
        ({"key": None}, "rows.jsonl, line 2, column key: is empty; fill it"),
        ({"question": " "}, "rows.jsonl, line 2, column question: is empty"),
        ({"options": ["pho", "", "borscht"]}, "rows.jsonl, line 2, column options: is empty"),
        ({"options": ["pho", "jjigae", "pho"]}, "rows.jsonl, line 2, column options: 'pho' is there twice"),
        ({"options": ["pho"]}, "rows.jsonl, line 2, column options: holds 1 options; give 2 to 26."),
        ({"options": []}, "rows.jsonl, line 2, column options: holds 0 options"),
        ({"options": "pho, jjigae"}, "rows.jsonl, line 2, column options: is no list; write it as JSON"),
        ({"options": [["pho"], "jjigae"]}, "rows.jsonl, line 2, column options: holds list, where text is wanted."),
        ({**ROWS[0]}, "rows.jsonl, line 2, column question: that of line 1 is the same, and so is the culture; add"),
    ],
)
def test_what_is_wrong_with_a_row_is_said_by_line_and_column(change: Any, message: str, tmp_path: Path) -> None:
    made = [ROWS[0], {**ROWS[1], **change}, ROWS[2]]
    with pytest.raises(InputError) as refused:
        documents(declare(tmp_path, jsonl(made)))
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


def test_equal_ids_of_a_culture_are_refused(tmp_path: Path) -> None:
    made = [{**row, "id": "x"} for row in ROWS]
    with pytest.raises(InputError, match=r"line 3, column id: that of line 1 is the same, .*; give each question its"):
        documents(declare(tmp_path, jsonl(made)))


@pytest.mark.parametrize("spellings", [("ROK", "South Korea"), ("south_korea", "SOUTH KOREA"), ("ROK", "South_Korea")])
def test_a_culture_has_an_id_once_however_it_is_spelled(spellings: tuple[str, str], tmp_path: Path) -> None:
    made = [{**ROWS[0], "id": 1, "culture": one, "question": f"On {one}?"} for one in spellings]
    file = declare(tmp_path, jsonl(made), labels={"south_korea": ["ROK"]})
    with pytest.raises(InputError, match=r"line 2, column id: that of line 1 is the same, and so is the culture; give"):
        documents(file)


def test_answers_of_a_culture_in_two_spellings_are_of_one_question(tmp_path: Path) -> None:
    given = [("ROK", "rice"), ("South Korea", "rice"), ("south_korea", "rice"), ("Japan", "bread")]
    made = [{"culture": culture, "question": "What?", "answers": text} for culture, text in given]
    korea, japan = documents(declare(tmp_path, jsonl(made), kind="answers", labels={"south_korea": ["ROK"]}))
    assert (korea["answers"], korea["own"]) == ([{"text": "rice", "weight": 3}], "rice")
    assert japan["rivals"] == [{"culture": "ROK", "text": "rice"}]


@pytest.mark.parametrize(
    ("changes", "made", "message"),
    [
        ({}, {"question": "q\ud800"}, "line 1, column question: holds a NUL or half of a character"),
        ({}, {"options": ["a", "b\ud800"]}, "line 1, column options: holds a NUL or half of a character"),
        ({}, {"options": "[" * 100_000}, r"line 1, column options: is no list in JSON \(it is nested too deep\)"),
        (
            {"kind": "distribution"},
            {"options": ["a", "b"], "shares": [1e308, 1e308]},
            "line 1, column shares: the sum is no number",
        ),
    ],
)
def test_what_cannot_be_asked_is_said_by_line_and_column(
    changes: dict[str, Any], made: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=message):
        documents(declare(tmp_path, jsonl([{**ROWS[0], **made}]), **changes))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"truth": [True]}, "line 1, column truth: holds 1 of 2 statements; give one for each."),
        ({"truth": [True, "perhaps"]}, "line 1, column truth: holds 'perhaps'; give true or false."),
    ],
)
def test_a_truth_for_each_statement_is_wanted(change: Any, message: str, tmp_path: Path) -> None:
    made = {"culture": "China", "question": "Q?", "statements": ["one", "other"], "truth": [True, False], **change}
    with pytest.raises(InputError, match=message.replace(".", r"\.")):
        documents(declare(tmp_path, jsonl([made]), kind="judgements"))


@pytest.mark.parametrize("shares", [[1, -1], ["many", 2], [0, 0], [1, 2, 3]])
def test_shares_are_numbers_one_an_option(shares: list[Any], tmp_path: Path) -> None:
    made = {"culture": "China", "question": "Q?", "options": ["one", "other"], "shares": shares}
    with pytest.raises(InputError, match=r"rows\.jsonl, line 1, column shares: "):
        documents(declare(tmp_path, jsonl([made]), kind="distribution"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"licence": None}, "own.yaml: lacks licence; the keys are name, title, kind, file, licence, columns,"),
        ({"colums": {}}, "own.yaml, line 1: unknown key 'colums'; did you mean columns?"),
        ({"kind": "choices"}, "own.yaml, line 2: 'choices' is no value of kind; did you mean choice?"),
        ({"name": "Street food"}, "own.yaml, line 4: name must be lower-case letters, digits and '_', and not end in"),
        ({"name": "food_cot"}, "own.yaml, line 4: name must be"),
        ({"title": 3}, "own.yaml, line 5: title must be text that is not empty, found 3."),
        ({"keys": "letter"}, "own.yaml, line 2: 'letter' is no value of keys; did you mean letters?"),
        ({"columns": {"kez": "k"}}, "own.yaml, line 2: unknown column 'kez'; did you mean key?"),
        ({"columns": {"truth": "k"}}, "own.yaml, line 2: unknown column 'truth'; of choice they are id, culture,"),
        ({"columns": {"key": ["a", "b"]}}, "own.yaml, line 2: key is one column, found ['a', 'b']."),
        ({"columns": {"options": []}}, "own.yaml, line 2: options must name a column or list some, found []."),
        ({"columns": "key"}, "own.yaml, line 1: columns must be 'name: value' lines, found 'key'."),
        ({"culture": "Peru", "columns": {"culture": "c"}}, "own.yaml, line 2: culture is one for the whole table"),
        ({"labels": {"China": ["PRC"]}}, "own.yaml, line 4: labels must be lines of a culture"),
        ({"columns": {"key": "right"}}, "rows.jsonl: column right is missing; found culture, question, options, key;"),
        ({"file": "none.csv"}, "none.csv: no such file; give the file that "),
        ({"file": "own.yaml"}, "own.yaml: unknown kind of table '.yaml'"),
    ],
)
def test_what_is_wrong_with_a_declaration_is_said_by_line(changes: Any, message: str, tmp_path: Path) -> None:
    file = declare(tmp_path, **changes)
    (tmp_path / "rows.jsonl").write_text(jsonl(ROWS))
    with pytest.raises(InputError) as refused:
        documents(file)
    assert message in str(refused.value)


def test_a_variant_stands_behind_the_file(tmp_path: Path) -> None:
    file = declare(tmp_path, jsonl(ROWS))
    found = benchmark.chosen([str(file), f"{file}:cot", f"{file}:generated", "culturalbench_easy"])
    assert [(one.name, variant) for one, variant in found] == [
        ("street_food", ""),
        ("street_food", "cot"),
        ("street_food", "generated"),
        ("culturalbench_easy", ""),
    ]
    with pytest.raises(InputError, match=r"has no variant 'cott'; there are .*own\.yaml and .*own\.yaml:generated and"):
        benchmark.chosen([f"{file}:cott"])


def test_two_benchmarks_have_two_names(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"'culturalbench_easy' is a benchmark that comes with caredio; name it"):
        benchmark.chosen([str(declare(tmp_path, name="culturalbench_easy"))])
    (tmp_path / "other").mkdir()
    files = [str(declare(folder)) for folder in (tmp_path, tmp_path / "other")]
    with pytest.raises(InputError, match=r"other/own\.yaml: is called 'street_food', as that of .*/own\.yaml is"):
        benchmark.chosen(files)
    assert len(benchmark.chosen([files[0], files[0]])) == 1


def test_another_reading_of_the_same_file_is_another_version(tmp_path: Path) -> None:
    made = jsonl([{**row, "key": 1} for row in ROWS])
    versions = set()
    for keys in ("numbers from 0", "numbers from 1"):
        (one, _), *_ = benchmark.chosen([str(declare(tmp_path, made, keys=keys))])
        versions.add(one.version)
    (again, _), *_ = benchmark.chosen([str(declare(tmp_path, made, keys="numbers from 1", title="Renamed"))])
    assert len(versions) == 2
    assert again.version in versions


def test_lm_eval_asks_it_by_the_folder_alone(
    scripted: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = declare(tmp_path, jsonl(ROWS), labels={"south_korea": ["ROK"]})
    cultures = tmp_path / "cultures.yaml"
    cultures.write_text(
        "- {slug: andes, name: Andes, adjective: Andean, languages: [qu], region: r, neighbours: [china]}\n"
    )
    monkeypatch.chdir(tmp_path)
    cli.main(["tasks-path", "--benchmarks", file.name, "--cultures-file", cultures.name])
    folder = capsys.readouterr().out.strip()
    assert Path(folder) == tasks_path("cultures.yaml", ["own.yaml"])
    monkeypatch.chdir("/")
    known = TaskManager(include_path=[folder], include_defaults=False)
    assert {"caredio_street_food_andes", "caredio_street_food_cot_role_play_china"} <= set(known.all_subtasks)
    names = ["caredio_street_food_china", "caredio_street_food_south_korea"]
    first = scripted(lambda request: request.args[1].strip() == "A")
    made = evaluate(first, known.load(names), log_samples=False)
    assert made is not None
    assert [made["results"][name]["sample_len"] for name in names] == [2, 1]
    assert [made["results"][name]["acc,none"] for name in names] == pytest.approx([1 / 3, 1 / 3])  # over rotations
    assert len(first.asked) == 3 * 3 * 3  # questions, orders, letters


def test_answers_are_measured_in_bits_and_by_what_others_answer(tiny: Path, tmp_path: Path) -> None:
    columns = {"answers": "answer", "weight": "people"}
    file = declare(tmp_path, jsonl(PEOPLE), kind="answers", columns=columns, labels={"south_korea": ["Peru"]})
    given: dict[str, Any] = {"device": "cpu", "benchmarks": f"{file},{file}:generated"}
    table = caredio.evaluate(["south_korea"], out=tmp_path / "run", model=str(tiny), **given).results
    found = {(row["metric"], row["n"]): row["value"] for row in table if row["system"] == "raw"}
    assert {("bits_per_byte", 2), ("margin", 1), ("margin_per_byte", 1), ("sem_b", 2)} <= set(found)
    (measured,) = [
        one for one in find(tmp_path / "run" / "samples") if (one.system, one.benchmark) == ("raw", "street_food")
    ]
    (drink, bread) = rows(measured)
    chicha, beer, tea = (float(reply[0][0]) for reply in drink["resps"])
    assert found["margin", 1] == pytest.approx(chicha - tea)
    (pan,) = (float(reply[0][0]) for reply in bread["resps"])
    bits = -(3 * chicha + 2 * beer) / (3 * len("chicha") + 2 * len("beer")), -pan / len("pan")  # in nats
    assert found["bits_per_byte", 2] == pytest.approx(sum(bits) / 2 / math.log(2))


def test_questions_on_cultures_that_are_not_known_are_counted(tmp_path: Path) -> None:
    made = [
        {**ROWS[0], "question": f"{n}?", "culture": name} for n, name in enumerate(["china", "PRC", "PRC", "Narnia"])
    ]
    note = (
        "left out: 3 of 4 questions of Street food are on cultures that are not known: PRC (2), Narnia (1); name what"
        " the table calls a culture under labels in own.yaml, as in 'china: [PRC]', or declare one in a file of"
        " --cultures-file."
    )

    def notes(**declared: Any) -> list[str]:
        asked = str(declare(tmp_path, jsonl(made), **declared))
        return Asked(["china"], Settings(benchmarks=f"{asked},{asked}:generated", robustness=True), None, []).notes

    assert notes() == [note]
    assert [one.partition(";")[0] for one in notes(labels={"china": "PRC"})] == [
        "left out: 1 of 4 questions of Street food are on cultures that are not known: Narnia (1)"
    ]
    assert notes(labels={"china": "PRC", "japan": "Narnia"}) == []  # known, and not asked about
    with pytest.raises(
        InputError, match=r"nothing can be asked: Street food has no question on japan; 3 of 4 questions"
    ):
        Asked(["japan"], Settings(benchmarks=str(declare(tmp_path))), None, [])


def test_it_is_evaluated_beside_other_benchmarks(tiny: Path, tmp_path: Path) -> None:
    file = declare(tmp_path, jsonl(ROWS))
    names = f"{file},{file}:generated,culturalbench_easy"
    given: dict[str, Any] = {"culturalbench": "sample", "device": "cpu", "limit": 2}
    result = caredio.evaluate(["china"], out=tmp_path / "run", model=str(tiny), benchmarks=names, **given)
    table = result.results
    assert set(table["benchmark"]) == {"street_food", "street_food_generated", "culturalbench_easy"}
    (raw,) = [row for row in table if (row["system"], row["benchmark"], row["metric"]) == ("raw", "street_food", "acc")]
    assert raw["n"] == 2
    (measured,) = [
        one for one in find(tmp_path / "run" / "samples") if (one.system, one.benchmark) == ("raw", "street_food")
    ]
    right = []
    for row in rows(measured):
        likely = [float(reply[0][0]) for reply in row["resps"]]
        for turn, order in enumerate(row["doc"]["orders"]):
            three = likely[3 * turn : 3 * turn + 3]
            right.append(order[three.index(max(three))] == row["doc"]["key"])
    assert raw["value"] == pytest.approx(sum(right) / len(right))
    blocks = str(result).split("chat template applied.")  # what was found likely, and what was written
    assert [block.count("Street food  ") for block in blocks] == [1, 1]
    assert "answers that the model wrote" in blocks[1]
    compared = build([tmp_path / "run"])
    titles = {column.benchmark: column.title for column in compared.columns if column.metric == "acc"}
    assert titles["street_food"] == "Street food"
    assert titles["street_food_generated"] == "Street food, generated"
    assert r"\par Street food\par" in compared.to("latex")
    chance = [row["value"] for row in table if (row["system"], row["benchmark"]) == ("chance", "street_food")]
    assert chance == pytest.approx([1 / 3])
