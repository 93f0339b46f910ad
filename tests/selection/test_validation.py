"""Questions with known answers, out of a file in BLEnD's form."""

import json
from pathlib import Path

import pytest

from caredio.errors import InputError
from caredio.selection import validation

BLEND = Path(__file__).parents[1] / "data" / "blend" / "multiple_choice.csv"
HEAD = "country,prompt,choices,answer_idx"
CHOICES = '"{""A"": ""tea"", ""B"": ""milk""}"'


def written(folder, *lines, encoding="utf-8"):
    path = folder / "items.csv"
    path.write_bytes("\n".join(lines).encode(encoding))
    return path


def test_blend_s_own_form_is_read():
    items = validation.read(BLEND)
    assert {country: len(of) for country, of in items.items()} == {"uk": 2, "china": 1, "us": 1}
    assert items["uk"][0] == validation.Item(
        "What snacks are usually sold in front of schools in the UK?\n"
        "A. koulouri\nB. maggi\nC. pizza\nD. sweets\n"
        'Answer with JSON: {"answer": letter}',
        "D",
        ("A", "B", "C", "D"),
        "To answer the following multiple-choice question, you should choose one option only among A, B, C and D.\n"
        "Question: What snacks are usually sold in front of schools in the UK?\n"
        "A. koulouri\nB. maggi\nC. pizza\nD. sweets\n"
        "Answer with the letter of the option alone, and nothing else.",
    )
    assert validation.of(items, "united_kingdom", "f") == items["uk"]
    assert validation.of(items, "united_states", "f") == items["us"]


def test_countries_are_slugs_and_a_spreadsheet_s_mark_is_no_part_of_a_name(tmp_path):
    path = written(tmp_path, HEAD, f" South Korea ,What is drunk?,{CHOICES},B", encoding="utf-8-sig")
    items = validation.read(path)
    assert [item.key for item in items["south_korea"]] == ["B"]


@pytest.mark.parametrize(
    ("row", "told"),
    [
        (f"china,What is drunk?,{CHOICES},C", "row 2: answer_idx 'C' is none of the choices A, B"),
        (f"china,What is drunk?,{CHOICES}", "row 2: answer_idx None is none of the choices A, B"),
        ("china,What is drunk?,tea or milk,A", "row 2: choices is no JSON object"),
        ('china,What is drunk?,"[""tea""]",A', "row 2: choices is no JSON object"),
        ("china", "row 2: choices is no JSON object"),
        (f"china,,{CHOICES},A", "row 2: prompt is empty"),
    ],
)
def test_a_bad_row_is_told_with_its_number_and_column(tmp_path, row, told):
    path = written(tmp_path, HEAD, f"china,What is drunk?,{CHOICES},A", row)
    with pytest.raises(InputError) as error:
        validation.read(path)
    assert str(error.value).startswith(f"{path}, {told}")


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        (["country,prompt", "china,What?"], "column choices, answer_idx is missing; found"),
        ([HEAD], "holds no questions"),
        ([], "column country, prompt, choices, answer_idx is missing"),
        ([HEAD, f'china,"{"x" * 140_000}",{CHOICES},A'], "is not valid CSV"),
    ],
)
def test_a_bad_file_is_told(tmp_path, lines, told):
    path = written(tmp_path, *lines)
    with pytest.raises(InputError, match=told) as error:
        validation.read(path)
    assert str(error.value).startswith(str(path))


def test_what_is_no_file_or_no_text_is_told(tmp_path):
    with pytest.raises(InputError, match=r"none.csv: cannot be read \(No such file"):
        validation.read(tmp_path / "none.csv")
    with pytest.raises(InputError, match="is not UTF-8"):
        validation.read(written(tmp_path, f"{HEAD}é", encoding="latin-1"))


def test_a_culture_without_questions_is_told():
    with pytest.raises(InputError, match=r"f: no question on japan; found china, uk, us\."):
        validation.of(validation.read(BLEND), "japan", "f")


def test_another_answer_is_another_digest(tmp_path):
    line = f"china,What is drunk?,{CHOICES},"
    first, second = (validation.digest(written(tmp_path, HEAD, line + key)) for key in "AB")
    assert first != second
    assert validation.digest(written(tmp_path, HEAD, line + "A")) == first


def test_the_schema_is_json_and_takes_a_letter():
    assert json.loads(json.dumps(validation.SCHEMA))["properties"]["answer"]["enum"][:2] == ["A", "B"]
