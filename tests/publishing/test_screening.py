"""What is not published is refused with its place, and what only looks like it is not."""

import json
import re

import numpy as np
import pytest
from datasets import Dataset
from publishing.test_release import table

import caredio
from caredio import cli
from caredio.errors import InputError
from caredio.publishing import screening
from caredio.publishing.screening import EMAIL, TELEPHONE, TOKEN

HELD = [
    (TOKEN, f"hf_{'aB1' * 11}c", None),
    (TOKEN, f"sk-{'a1b2' * 8}", None),
    (TOKEN, f"sk-proj-{'Ab1' * 16}", None),
    (TOKEN, f"sk-ant-api03-{'Ab1_' * 20}", None),
    (TOKEN, "AKIAIOSFODNN7EXAMPLE", None),
    (TOKEN, f"ghp_{'a1B2' * 9}", None),
    (TOKEN, f"github_pat_{'a1B2' * 9}", None),
    (TOKEN, f"AIza{'a1-_' * 8}abc", None),
    (TOKEN, f"SG.{'a1B2' * 5}ab.{'c3-_' * 10}def", None),
    (TOKEN, f"ya29.{'a0Af' * 20}", None),
    (TOKEN, f"r8_{'aB1' * 12}c", None),
    (TOKEN, f"dop_v1_{'0a1b' * 16}", None),
    (TOKEN, f"AccountName=me;AccountKey={'a1B+' * 21}ab==;EndpointSuffix=core.windows.net", None),
    (TOKEN, "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.abc123", None),
    (TOKEN, "-----BEGIN RSA PRIVATE KEY-----\nMIIE", None),
    (TOKEN, "-----BEGIN PRIVATE KEY-----", None),
    (TOKEN, "-----BEGIN PGP PRIVATE KEY BLOCK-----", None),
    (EMAIL, "anna.berg+news@mail.example.co.uk", None),
    (EMAIL, "ａｎｎａ＠ｅｘａｍｐｌｅ．ｃｏｍ", None),  # in full width
    (EMAIL, "usuario@mañana.es", None),
    (EMAIL, "an\u200bna@exam\u200bple.com", None),  # with spaces of no width
    (TELEPHONE, "+49 30 901820", None),
    (TELEPHONE, "+٤٩ ٣٠ ٩٠١٨٢٠", None),  # in Arabic digits
    (TELEPHONE, "0049 30 901820", "DE"),
    (TELEPHONE, "call me at 212-555-0123", None),
    (TELEPHONE, "tel: 030/901820", None),
    (TELEPHONE, "我的电话13812345678", None),
    (TELEPHONE, "전화 010-1234-5678", None),
    (TELEPHONE, "(212) 555-0187", "US"),
    (TELEPHONE, "call 600 123 000", "ES"),
    (TELEPHONE, "020 7946 0958", "GB"),
    (TELEPHONE, "13812345678", "CN"),
    (TELEPHONE, "010-1234-5678", "KR"),
    (TELEPHONE, "090-1234-5678", "JP"),
    (TELEPHONE, "0803 123 4567", "NG"),
    (TELEPHONE, "55 1234 5678", "MX"),
    (TELEPHONE, "0812-3456-7890", "ID"),
]
HARMLESS = """
1990-2000 | from 1910 to 1945 and 1950-1953 | 1998, 1999, 2000, 2001 | 2000 2001 2002 | 1644-1911年
2023-01-15 | 15/01/2023 | 2023-01-15T10:30:00Z | 20230115 | 8 March 1917, 23 February 1918
10:00-12:30, 14:00-18:00 | from 9.00 to 17.00 1990 2000 | 1700000000 | 20231105123456
1,250,000 | 12.500.000 | Rp 12.500.000 | $1,234,567.89 | 1 000 000 | 100,000,000원 | 5000-10000 yuan
2,000,000-3,000,000 | about 30000000 people in 2010 | 3.14159265358979 | 99999999 | 12345678
@ | @ home | me @ 5:30 | rice@3.50 | x@y | a@b.c | the handle @anna.berg
question 1234567890 | ISBN 9780306406157 | ISBN 978-0-306-40615-7 | 1234567890123456 | 1234 5678 9012
1-2-3-4-5-6-7-8 | 192.168.100.200 | U+1F600 U+1F64F | call 110 or 119 | call of duty 2019 | phone in 2020-2021
sk-learn and scikit-learn | task-oriented-conversation-2024 | sk-something-long-without-any-numbers
mobile phones: 1 000 000 sold | phones: 1 250 000 | SMS 12 000 000 a day | SG. v1.2 | r8_ | dop_v1_ | AccountKey=
hf_hub_download | AKIA is a word | eyJust a word | ghp_short
"""
COUNTRIES = (None, "US", "CN", "IN", "KR", "MX", "NG", "GB", "JP", "ID", "EG", "BR", "DE", "TR", "ES", "IR", "ET", "KP")


@pytest.mark.parametrize(("what", "text", "country"), HELD, ids=lambda one: str(one)[:30])
def test_what_is_not_published_is_found_within_a_text(what, text, country):
    found = screening.reason(f"I said {text}, and they wrote it down.", country)
    assert found
    assert found[0] == what


@pytest.mark.parametrize("text", [one.strip() for line in HARMLESS.split("\n") for one in line.split("|") if one])
def test_years_prices_dates_and_numbers_are_not(text):
    assert [screening.reason(text, country) for country in COUNTRIES] == [None] * len(COUNTRIES)


def test_people_s_answers_in_sixteen_languages_hold_none(published):
    def texts(value):
        if isinstance(value, str):
            yield value
        elif isinstance(value, (dict, list)):
            for one in value.values() if isinstance(value, dict) else value:
                yield from texts(one)

    codes = {"China": "CN", "Iran": "IR", "South_Korea": "KR", "Mexico": "MX", "US": "US", "West_Java": "ID"}
    found = {
        (text, code)
        for file in sorted(published("blend/annotations").glob("*_data.json"))
        for code in [codes.get(file.stem.removesuffix("_data"))]
        for text in texts(json.loads(file.read_text(encoding="utf-8")))
        if screening.reason(text, code)
    }
    assert not found


def ranked(folder, change, out):
    """The rows of a table after a change, with vectors, ranked in a run."""
    rows = [json.loads(line) for line in table(folder).read_text().splitlines()]
    change(rows)
    draw = np.random.default_rng(0)
    for row in rows:
        row |= {name: draw.normal(size=8).tolist() for name in ("sample_embedding", "response_embedding")}
    return caredio.select(Dataset.from_list(rows), out=out, embedder="given", theta=0.99)


@pytest.mark.parametrize("column", ["question", "response", "topic_id", "generator"])
def test_a_row_is_refused_with_its_place_and_nothing_is_written(column, tmp_path):
    first = ranked(tmp_path, lambda rows: None, tmp_path / "run")
    caredio.publish(tmp_path / "run", to=tmp_path / "release")
    before = (tmp_path / "release/release.json").read_bytes()

    def change(rows):
        for row in rows:
            row |= {"topic_id": "food", "generator": "people"}
        rows[4][column] += " anna@example.com"

    made = ranked(tmp_path, change, tmp_path / "other")
    with pytest.raises(InputError) as told:
        caredio.publish(tmp_path / "other", to=tmp_path / "release")
    said = str(told.value)
    (name,) = (
        set(made.pool["sample_id"]) - set(first.pool["sample_id"])
        if column in ("question", "response")
        else {row["sample_id"] for row in made.pool if row[column] and "@" in row[column]}
    )
    place = re.match(rf"united_kingdom-pool/train, row (\d+), column {column}: holds what looks like an e-mail", said)
    assert place
    pool = made.pool.filter(lambda row: row["culture"] == "united_kingdom")
    assert pool[int(place[1]) - 1]["sample_id"] == name
    assert "leave out the row below with --remove FILE" in said
    assert [line.split()[0] for line in said.splitlines()[1:]] == [name]
    assert "anna@" not in said  # an error's text goes into logs
    assert (tmp_path / "release/release.json").read_bytes() == before


def test_the_command_line_refuses_with_2_and_writes_no_folder(tmp_path, capsys):
    def change(rows):
        for place, text in ((0, "mine is +49 30 901820"), (7, f"hf_{'aB1' * 11}"), (8, "anna@example.com")):
            rows[place]["response"] = text

    ranked(tmp_path, change, tmp_path / "run")
    with pytest.raises(SystemExit) as stopped:
        cli.main(["publish", "--out", str(tmp_path / "run"), "--quiet"])
    assert stopped.value.code == 2
    said = capsys.readouterr().err
    assert "leave out the 3 rows below" in said
    assert [what for what in (TELEPHONE, TOKEN, EMAIL) if said.count(f": {what} (") == 1] == [TELEPHONE, TOKEN, EMAIL]
    assert not (tmp_path / "run/release").exists()


def test_an_answer_beside_a_row_is_named_by_its_own_sample_id():
    other = {"culture": "china", "sample_id": "bbbb", "response": "write to anna@example.com", "shown": False}
    rows = [
        {"sample_id": "aaaa", "culture": "iran", "response": "tea", "others": [other]},
        {"sample_id": "cccc", "culture": "iran", "response": "rice", "others": [other]},
    ]
    china = Dataset.from_list([{**rows[0], "sample_id": "bbbb", "culture": "china", "response": other["response"]}])
    given = [("iran-pool", "train", Dataset.from_list(rows)), ("china-pool", "train", china)]
    assert [(one.sample_id, one.column) for one in screening.find(given, {})] == [("bbbb", "response")]
    alone = list(screening.find(given[:1], {}))  # a run's own isolated answers are no rows: those that hold them go
    assert [one.sample_id for one in alone] == ["aaaa", "cccc"]


def test_a_telephone_number_is_known_by_the_country_of_who_speaks():
    other = {"culture": "china", "sample_id": "b", "response": "13812345678"}
    row = {"sample_id": "a", "culture": "iran", "response": "13812345678", "others": [other]}
    given = [("iran-pool", "train", Dataset.from_list([row]))]
    (found,) = screening.find(given, {"china": "CN", "iran": "IR"})
    assert found.column == "others.response"
    assert not list(screening.find(given, {}))


@pytest.mark.parametrize(
    "text", ["sk-" * 60_000, "sk-a1-" * 30_000, "eyJaaaaaaaa-" * 15_000], ids=["sk", "sk-a1", "eyJ"]
)
def test_a_text_of_many_beginnings_of_tokens_is_read_to_its_end(text):
    assert screening.reason(text) is None
    found = screening.reason(f"{text} sk-proj-abcDEF1234567890abcdef")
    assert found == (screening.TOKEN, "sk-proj-abcDEF1234567890abcdef")
