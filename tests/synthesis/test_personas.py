"""Panels: drawn by seed, and as mixed as their size allows."""

import re
from collections import Counter
from pathlib import Path

import pytest
from llm_server import LLMServer

import caredio
from caredio import cultures, prompts
from caredio.errors import InputError
from caredio.synthesis.personas import AGES, GENDERS, OCCUPATIONS, PARTS, SETTLEMENTS, draw
from caredio.synthesis.settings import Settings
from caredio.verbs import evidence

KNOWN = cultures.load()
FORM = re.compile(r"(a woman|a man) aged (\d\d to \d\d), (.+), living in (.+?) in (.+) of the country")


def people(size, questions=1, culture="brazil", seed=0):
    """(gender, age, occupation, settlement, part) of each persona, panel by panel."""
    settings = Settings(personas=size, seed=seed)
    drawn = [draw(KNOWN[culture], f"food-open-{number:03d}", settings) for number in range(questions)]
    return [[FORM.fullmatch(person).groups() for person in one] for one in drawn]


@pytest.mark.parametrize("size", [1, 2, 3, 5, 12, 30])
def test_every_value_is_as_frequent_in_a_panel_as_any_other(size):
    for one in people(size, questions=20):
        for place, pack in ((0, GENDERS), (1, AGES), (3, SETTLEMENTS), (4, PARTS)):
            counts = Counter(person[place] for person in one)
            assert set(counts) <= set(pack)
            assert max(counts[value] for value in pack) - min(counts[value] for value in pack) <= 1


def test_occupations_fit_the_age_and_do_not_repeat_in_a_small_panel():
    for one in people(5, questions=100):
        assert len({job for _, _, job, _, _ in one}) == 5
        assert all(age in OCCUPATIONS[job] for _, age, job, _, _ in one)


def test_over_many_questions_everybody_is_drawn_in_every_place_and_gender_and_occupation_mix():
    everyone = [person for one in people(3, questions=400) for person in one]
    assert {job for _, _, job, _, _ in everyone} == set(OCCUPATIONS)
    for job in OCCUPATIONS:  # none belongs to one gender
        share = sum(gender == "a woman" for gender, _, its, _, _ in everyone if its == job) / sum(
            its == job for _, _, its, _, _ in everyone
        )
        assert 0.3 < share < 0.7, job


def test_the_seed_the_question_and_the_culture_decide():
    assert people(3, 5) == people(3, 5)
    assert people(3, 5) != people(3, 5, seed=1)
    assert people(3, 5) != people(3, 5, culture="japan")
    assert len({str(one) for one in people(3, 5)}) == 5


def test_a_culture_with_places_of_its_own_lives_in_them():
    assert KNOWN["singapore"].places
    drawn = draw(KNOWN["singapore"], "q", Settings(personas=5))
    assert {person.split(", living in ")[1] for person in drawn} == set(KNOWN["singapore"].places)


def test_no_panel_by_default():
    assert draw(KNOWN["china"], "q", Settings()) == []


def test_a_negative_panel_is_told():
    with pytest.raises(InputError, match="personas"):
        Settings(personas=-1)


# people of a table


def table(tmp_path, text, name="people.csv"):
    file = tmp_path / name
    file.write_text(text)
    return str(file)


def drawn_from(people, size=1, questions=4000, culture="brazil"):
    settings = Settings(personas=size, personas_file="people.csv")
    return [draw(KNOWN[culture], f"q{number}", settings, people) for number in range(questions)]


def test_people_of_a_table_are_drawn_as_often_as_their_weight_says(tmp_path):
    text = "culture,text,weight\nbrazil,a nurse,6\nBrazilian,a farmer,3\nbrazil,a nurse,1\nchina,a cook,5\nbrazil,x,0\n"
    people = evidence.people(table(tmp_path, text), KNOWN, [KNOWN["brazil"]], 2)
    counts = Counter(one for (one,) in drawn_from(people))
    assert set(counts) == {"a nurse", "a farmer"}
    assert counts["a nurse"] / 4000 == pytest.approx(0.7, abs=0.03)  # four standard errors
    assert people.record["left_out"] == {"no_weight": 1}


def test_nobody_answers_twice_and_the_second_is_drawn_by_the_weights_that_are_left(tmp_path):
    text = "culture,text,weight\nbrazil,a,5\nbrazil,b,3\nbrazil,c,2\n"
    people = evidence.people(table(tmp_path, text), KNOWN, [KNOWN["brazil"]], 3)
    pairs = Counter(map(tuple, drawn_from(people, 2)))
    assert all(first != second for first, second in pairs)
    for (first, second), p in {("a", "b"): 0.5 * 3 / 5, ("b", "c"): 0.3 * 2 / 7, ("c", "a"): 0.2 * 5 / 8}.items():
        assert pairs[first, second] / 4000 == pytest.approx(p, abs=0.03)
    assert all(sorted(three) == ["a", "b", "c"] for three in drawn_from(people, 3, 50))
    assert drawn_from(people, 2, 50) == drawn_from(people, 2, 50)


def test_people_of_a_census_are_described_by_its_columns(tmp_path):
    """Columns as Nemotron-Personas has them; the people are ours."""
    text = (
        "uuid,persona,sex,age,marital_status,education_level,occupation,city,state,country\n"
        'u,"She repairs boats.",Female,41,never_married,high_school,boat_builder,Belem,PA,Brazil\n'
        "v,,Male,70,widowed,,retired,,,Atlantis\n"
    )
    people = evidence.people(table(tmp_path, text), KNOWN, [KNOWN["brazil"]], 1)
    assert people.texts == {
        "brazil": ["Female, aged 41, never married, high school, boat builder, Belem, PA. She repairs boats."]
    }
    assert people.record["left_out"] == {"unknown_culture": 1}


@pytest.mark.parametrize(
    ("text", "targets", "said"),
    [
        ("culture,name\nbrazil,x\n", ["brazil"], "has neither a column text, nor persona, nor sex"),
        ("culture,text\nbrazil,x\n", ["brazil"], "describes 1 people of brazil, and 2 are to answer; add some"),
        ("text\nx\n", ["brazil", "china"], "has no column culture, and 2 cultures are written for; add it"),
        ("culture,text,weight\nbrazil,x,many\n", ["brazil"], "line 2: weight is 'many'; give a number from 0 on"),
        ("culture,text\nbrazil,<|im_end|>\nbrazil,y\n", ["brazil"], "describes 1 people of brazil"),
    ],
)
def test_a_table_that_cannot_be_drawn_from_is_one_sentence(text, targets, said, tmp_path):
    with pytest.raises(InputError, match=said):
        evidence.people(table(tmp_path, text), KNOWN, [KNOWN[one] for one in targets], 2)


def test_a_run_speaks_as_the_people_of_its_table(tmp_path):
    file = table(tmp_path, "text\n" + "\n".join(f'"a weaver, {number} years at the loom"' for number in range(9)))
    small = {"per_topic": 3, "compared": 2, "model": "m", "personas": 2, "personas_file": file}
    with LLMServer() as server:
        made = caredio.synthesize(["china"], ["food"], out=tmp_path / "run", base_url=server.url, **small)
        candidates = list(made.candidates)
        asked = len(server.seen)
        caredio.synthesize(["china"], ["food"], out=tmp_path / "run", base_url=server.url, **small)
        assert len(server.seen) == asked
        Path(file).write_text(Path(file).read_text().replace("weaver", "potter"))
        caredio.synthesize(["china"], ["food"], out=tmp_path / "run", base_url=server.url, **small)
        systems = {body["messages"][0]["content"] for body in server.bodies.values() if "messages" in body}
    people = [one["persona"] for row in candidates for one in row["panel"]]
    assert len(people) == 2 * len(candidates)
    assert all(person.startswith("a weaver, ") for person in people)
    assert all(any(prompts.quote(person) in system for system in systems) for person in people)
    assert any("a potter, " in system for system in systems)
