"""BLEnD's annotations as tables, beside what the source's files hold."""

import json
from collections import Counter
from pathlib import Path

import pytest

from caredio import blend, cultures
from caredio.errors import InputError

BLEND = Path(__file__).parent / "data" / "blend"  # 24 of the 500 questions, in all 16 regions, as the source has them


def source(name):
    return json.loads((BLEND / f"{name}_data.json").read_text(encoding="utf-8"))


def test_every_region_of_the_source_is_a_culture_with_a_name():
    assert {f"{name}_data.json" for name in blend.NAMES.values()} == {file.name for file in BLEND.glob("*_data.json")}
    known = cultures.load(blend.CULTURES)
    assert set(blend.NAMES) <= set(known)
    assert known["west_java"].name == "West Java"
    assert (blend.NAMES["united_kingdom"], blend.NAMES["united_states"]) == ("UK", "US")
    ours = cultures.load()
    assert {slug: known[slug] for slug in ours} == ours  # the file adds regions, and changes none


def test_the_table_of_all_regions_says_what_people_answered():
    rows = blend.whole(BLEND).to_pylist()
    assert {row["culture"] for row in rows} == set(blend.NAMES)
    for culture, name in blend.NAMES.items():
        answers = [
            (question_id, answer["en_answers"][0].strip(), answer["count"])
            for question_id, item in source(name).items()
            for answer in item["annotations"]
            if any(text.strip() for text in answer["en_answers"])
        ]
        found = [row for row in rows if row["culture"] == culture and row["drop_reason"] not in blend.WORDINGS]
        assert Counter((row["question_id"], row["response"], row["annotators"]) for row in found) == Counter(answers)
        assert {row["question"] for row in found} <= {item["en_question"] for item in source(name).values()}
    assert {row["language"] for row in rows} == {"en"}


def test_answers_of_one_person_and_to_questions_that_do_not_apply_are_dropped():
    rows = blend.whole(BLEND).to_pylist()
    for culture, name in blend.NAMES.items():
        for question_id, item in source(name).items():
            idks = item["idks"]
            out = idks["no-answer"] + idks["not-applicable"] >= 3 or idks["idk"] >= 5
            for row in rows:
                own = (row["culture"], row["question_id"]) == (culture, question_id)
                if own and row["drop_reason"] not in blend.WORDINGS:
                    kept = row["annotators"] >= 2 and any(map(str.isalpha, row["response"])) and not out
                    assert (row["drop_reason"] is None) == kept


def test_every_other_wording_of_an_answer_is_a_row_that_is_dropped():
    rows = blend.whole(BLEND).to_pylist()
    wordings = Counter(
        (culture, question_id, wording, answer["count"])
        for culture, name in blend.NAMES.items()
        for question_id, item in source(name).items()
        for answer in item["annotations"]
        for wording in list(dict.fromkeys(text.strip() for text in answer["en_answers"] if text.strip()))[1:]
    )
    found = [row for row in rows if row["drop_reason"] == "another_wording"]
    names = ("culture", "question_id", "response", "annotators")
    assert Counter(tuple(row[name] for name in names) for row in found) == wordings


def test_a_wording_that_another_region_has_beside_one_of_this_is_a_row_that_is_dropped(tmp_path):
    idks = {"no-answer": 0, "not-applicable": 0, "idk": 0}
    given = {"West_Java": [["football"], ["futsal"]], "Indonesia": [["soccer", "Football"], ["futsal", "FOOTBALL"]]}
    for name in blend.NAMES.values():
        answers = [{"answers": [], "en_answers": one, "count": 3} for one in given.get(name, [["chess"]])]
        question = {"en_question": "What is played?", "annotations": answers, "idks": idks}
        (tmp_path / f"{name}_data.json").write_text(json.dumps({"q": question}))
    rows = [row for row in blend.whole(tmp_path).to_pylist() if row["drop_reason"] == "worded_elsewhere"]
    assert [(row["culture"], row["response"], row["annotators"]) for row in rows] == [("west_java", "soccer", 0)]


def test_wordings_of_elsewhere_are_none_of_the_region_and_stand_beside_one_of_it_in_the_source():
    rows = [row for row in blend.whole(BLEND).to_pylist() if row["drop_reason"] == "worded_elsewhere"]
    assert rows
    every = {culture: source(name) for culture, name in blend.NAMES.items()}
    for row in rows:
        given = {
            culture: [{text.strip().casefold() for text in one["en_answers"]} for one in item["annotations"]]
            for culture, held in every.items()
            if (item := held.get(row["question_id"]))
        }
        own = set().union(*given.pop(row["culture"])) - {""}
        assert row["response"].casefold() not in own
        assert any(row["response"].casefold() in one and one & own for several in given.values() for one in several)


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (None, "holds no Spain_data.json; give BLEnD's folder data/annotations"),
        ("[", "is no JSON from there on"),
        ("[]", "is not as BLEnD publishes it"),
        ('{"a": {"en_question": "?", "annotations": []}}', "it lacks 'idks'"),
    ],
)
def test_a_folder_that_is_not_blend_s_is_one_sentence(content, match, tmp_path):
    for file in BLEND.glob("*_data.json"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "Spain_data.json").unlink()
    if content is not None:
        (tmp_path / "Spain_data.json").write_text(content)
    with pytest.raises(InputError, match=match):
        blend.whole(tmp_path)
