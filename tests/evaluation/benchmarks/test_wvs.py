from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from caredio import cultures
from caredio.errors import InputError
from caredio.evaluation import benchmark
from caredio.evaluation.benchmarks import wvs

OFFICIAL, CLONED = wvs.BENCHMARKS
# version, country, weight, Q1 (1-4), Q48 (1-10), Q122 (0-2); negative codes are "don't know", "not asked" and so on
PEOPLE = """version;B_COUNTRY_ALPHA;W_WEIGHT;Q1;Q48;Q122;Q290
6.0;MEX;1.2;1;10;0;1
6.0;MEX;0.8;1;10;0;1
6.0;MEX;0.8;2;-1;2;1
6.0;MEX;0.8;-2;1.0;;1
6.0;GBR;1.0;4;5;-4;1
"""


def written(folder: Path, text: str = PEOPLE) -> Path:
    file = folder / "WVS_Cross-National_Wave_7_csv_v6_0.csv"
    file.write_text(text, encoding="utf-8-sig")
    return file


@pytest.mark.parametrize("delimiter", [";", ","])
def test_shares_are_those_of_valid_answers(delimiter: str, tmp_path: Path) -> None:
    documents = wvs.official(written(tmp_path, PEOPLE.replace(";", delimiter)))
    shares = {(one["culture"], one["id"]): one["shares"] for one in documents}
    assert shares == {
        ("MEX", "Q1"): pytest.approx([2 / 3, 1 / 3, 0, 0]),
        ("MEX", "Q48"): pytest.approx([1 / 3, *[0] * 8, 2 / 3]),
        ("MEX", "Q122"): pytest.approx([2 / 3, 0, 1 / 3]),
        ("GBR", "Q1"): [0, 0, 0, 1],
        ("GBR", "Q48"): [0, 0, 0, 0, 1, 0, 0, 0, 0, 0],
        # nobody in Britain answered Q122: no document
    }
    (family,) = (one for one in documents if one["id"] == "Q1" and one["culture"] == "MEX")
    assert family["question"] == "How important is family in your life?"
    assert family["options"][0] == "Very important"


@pytest.mark.parametrize(("slug", "count"), [("mexico", 3), ("united_kingdom", 2), ("china", 0)])
def test_cultures_are_found_by_their_iso_code(slug: str, count: int, tmp_path: Path) -> None:
    spellings = OFFICIAL.spellings(cultures.load()[slug])
    assert len(OFFICIAL.about(slug, spellings, written(tmp_path), benchmark.LIKELIHOOD)) == count


def test_every_shipped_culture_has_a_code() -> None:
    codes = [OFFICIAL.labels[slug] for slug in cultures.load()]
    assert len({code for (code,) in codes}) == len(codes)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,2\n", "lacks B_COUNTRY_ALPHA or all of Q1, Q2 and so on; give the csv file"),
        (PEOPLE.replace("1;10;0", "1;often;0", 1), "MEX, Q48: holds 'often', where answers are codes"),
        (PEOPLE + "6.0;MEX;1\n", "row 6: has 3 cells of 7"),
        ("", "lacks B_COUNTRY_ALPHA"),
    ],
)
def test_a_changed_file_is_named(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        wvs.official(written(tmp_path, text))


def test_an_official_file_that_is_missing_is_asked_for(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"--benchmark-data wvs=FILE or in CAREDIO_WVS\."):
        OFFICIAL.path({})


def test_the_words_are_whole() -> None:
    items = wvs.items()
    assert len(items) == 166
    assert len({item.question + str(item.options) for item in items.values()}) == len(items)
    for name, item in items.items():
        assert re.fullmatch(r"[A-Z][^{}]*[^ .?][.?]", item.question), name
        assert len(item.options) > 1, name
        assert all(isinstance(option, str) for option in item.options), name
        assert int(name[1:]) < 260, name
        assert item.first in (0, 1), name


def clone(folder: Path, shares: object, questions: object) -> Path:
    (folder / "proportions_group_by_country.json").write_text(json.dumps(shares))
    (folder / "wvs_questions.json").write_text(json.dumps(questions))
    return folder


QUESTIONS = [
    {"Q_id": "Q1", "question": "Family?", "option_lst": ["Very", "Rather"]},
    {"Q_id": "Q122", "question": "Jobs?", "option_lst": ["No", "Hard to say", "Yes"]},
    {"Q_id": "Q260", "question": "Sex?", "option_lst": ["Male", "Female"]},
    {"Q_id": "Q262", "question": "Age?", "option_lst": []},
]


def test_culturespas_shares_are_made_whole(tmp_path: Path) -> None:
    shares = {"MEX": {"Q1": {"2": 0.2, "1": 0.6}, "Q122": {"2": 0.5}}, "GBR": {"Q1": {}, "Q122": {"0": 0.9}}}
    documents = wvs.culturespa(clone(tmp_path, shares, QUESTIONS))
    assert {(one["culture"], one["id"]): one["shares"] for one in documents} == {
        ("MEX", "Q1"): pytest.approx([0.75, 0.25]),
        ("MEX", "Q122"): [0, 0, 1],  # its codes begin at 0 somewhere
        ("GBR", "Q122"): [1, 0, 0],
    }


def test_a_changed_clone_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"holds no .*; give the folder data of a clone"):
        wvs.culturespa(tmp_path)
    with pytest.raises(InputError, match="is not as CultureSPA published it"):
        wvs.culturespa(clone(tmp_path, {"MEX": {"Q1": {"one": 1}}}, QUESTIONS))
    with pytest.raises(InputError, match="is not as CultureSPA published it"):
        wvs.culturespa(clone(tmp_path, {"MEX": {"Q1": {"1": 1}}}, [{"id": "Q1"}]))
