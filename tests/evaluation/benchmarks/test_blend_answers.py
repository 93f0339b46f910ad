from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from caredio import cultures
from caredio.errors import InputError
from caredio.evaluation import benchmark
from caredio.evaluation.benchmarks import blend_answers

ENGLISH, NATIVE = blend_answers.BENCHMARKS


def item(*answers: tuple[list[str], list[str], int], idk: int = 0, absent: int = 0) -> dict[str, Any]:
    return {
        "question": "¿Qué?",
        "en_question": "What?",
        "annotations": [{"answers": own, "en_answers": en, "count": count} for own, en, count in answers],
        "idks": {"idk": idk, "no-answer": absent, "not-applicable": 0, "not sure": 1},
    }


RICE = item((["arroz"], ["rice", "boiled rice"], 3), (["pan"], ["bread"], 1))
REGIONS = {
    "Mexico": {"Q-1": RICE, "Q-2": item((["taco"], ["taco"], 2)), "Q-3": item((["sí"], [""], 4))},
    "Spain": {"Q-1": item((["fideos"], ["noodles"], 2), (["paella"], ["paella"], 4)), "Q-2": item(idk=5)},
    "UK": {"Q-1": item((["white bread"], ["white bread"], 5)), "Q-2": item((["a"], ["a"], 3), absent=3)},
    "China": {"Q-1": item((["面"], ["noodles"], 3), (["米饭"], ["plain rice"], 3)), "Q-2": item()},
}


def written(folder: Path, regions: Any = REGIONS, rows: bool = False) -> Path:
    for region, items in regions.items():
        made = [{"ID": one, **items[one]} for one in items] if rows else items
        (folder / f"{region}_data.json").write_text(json.dumps(made), encoding="utf-8")
    return folder


def by_id(documents: list[dict[str, Any]]) -> dict[tuple[str, str], dict[str, Any]]:
    return {(one["culture"], one["id"]): one for one in documents}


@pytest.mark.parametrize("rows", [False, True], ids=["github", "hub"])
def test_a_question_in_english(rows: bool, tmp_path: Path) -> None:
    found = by_id(ENGLISH.documents(written(tmp_path, rows=rows)))
    # Q-2 is dropped where five do not know, three have no answer, or nobody answered; Q-3 has none in English
    assert set(found) == {("Mexico", "Q-1"), ("Spain", "Q-1"), ("UK", "Q-1"), ("China", "Q-1"), ("Mexico", "Q-2")}
    assert found["Mexico", "Q-1"] == {
        "id": "Q-1",
        "culture": "Mexico",
        "language": "en",
        "question": "What?",
        "answers": [
            {"text": "rice", "weight": 3, "also": ["boiled rice"]},
            {"text": "bread", "weight": 1, "also": []},
        ],
        "own": "rice",
        "rivals": [{"culture": "Spain", "text": "paella"}],  # white bread has bread as a part; China has a tie
    }
    assert found["Mexico", "Q-2"]["own"] is None  # two annotators are too few
    assert found["China", "Q-1"]["own"] is None
    assert found["China", "Q-1"]["rivals"] == [
        {"culture": "Spain", "text": "paella"},
        {"culture": "UK", "text": "white bread"},
    ]  # rice is a part of plain rice
    assert [one["text"] for one in found["Spain", "Q-1"]["answers"]] == ["paella", "noodles"]  # by their counts


def test_a_majority_without_words_in_english_is_no_own_answer(tmp_path: Path) -> None:
    written(tmp_path, {"Spain": {"Q-1": item((["sí"], [], 5), (["no"], ["no"], 3))}})
    (found,) = ENGLISH.documents(tmp_path)
    assert [one["text"] for one in found["answers"]] == ["no"]
    assert found["own"] is None
    assert NATIVE.documents(tmp_path)[0]["own"] == "sí"


def test_the_same_questions_in_the_regions_language(tmp_path: Path) -> None:
    found = by_id(NATIVE.documents(written(tmp_path)))
    assert ("Mexico", "Q-3") in found
    assert found["Mexico", "Q-1"] == {
        "id": "Q-1",
        "culture": "Mexico",
        "language": "es",
        "question": "¿Qué?",
        "answers": [
            {"text": "arroz", "weight": 3, "also": ["rice", "boiled rice"]},
            {"text": "pan", "weight": 1, "also": ["bread"]},
        ],
        "own": "arroz",
        "rivals": [{"culture": "Spain", "text": "paella"}],  # who speaks the same language
    }
    assert found["UK", "Q-1"]["rivals"] == []


def test_changed_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"holds no \*_data\.json; give BLEnD's folder data/annotations"):
        ENGLISH.documents(tmp_path)
    for content, said in (
        ("{\n", r", line 2: is no JSON from there on; give BLEnD's folder"),
        ('"\xe9"'.encode("latin-1"), ": is no JSON in UTF-8; give BLEnD's folder"),
        ('{"Q-1": {"question": "?"}}', r": is not as BLEnD publishes it \(it lacks 'idks'\); give BLEnD's folder"),
        ('[{"question": "?"}]', r": is not as BLEnD publishes it \(it lacks 'ID'\); give"),
        ('{"Q-1": 3}', r": is not as BLEnD publishes it \(a value is of another kind\); give"),
    ):
        (tmp_path / "US_data.json").write_bytes(content if isinstance(content, bytes) else content.encode())
        with pytest.raises(InputError, match=rf"US_data\.json{said}"):
            ENGLISH.read(tmp_path)


def test_all_regions_are_read(published) -> None:
    folder = published("blend/annotations")
    kept: Counter[str] = Counter()
    top: dict[tuple[str, str], str] = {}
    for file in folder.glob("*.json"):
        for name, asked in json.loads(file.read_text()).items():
            gone, counts = asked["idks"], [one["count"] for one in asked["annotations"]]
            if counts and gone["idk"] < 5 and gone["no-answer"] + gone["not-applicable"] < 3:
                region = file.name[: -len("_data.json")]
                kept[region] += 1
                most = [one["en_answers"] for one in asked["annotations"] if one["count"] == max(counts)]
                said = {texts[0].strip() if texts else "" for texts in most}
                if max(counts) > 2 and len(said) == 1 and said != {""}:
                    (top[region, name],) = said
    documents = ENGLISH.documents(folder)
    assert sum(kept.values()) == 8000 - 578
    assert Counter(one["culture"] for one in documents) == kept
    own = {(one["culture"], one["id"]): one["own"] for one in documents if one["own"]}
    assert own == top
    assert all(one["own"] not in [rival["text"] for rival in one["rivals"]] for one in documents)


def test_both_languages_ask_the_same_questions(published) -> None:
    folder = published("blend/annotations")
    english, native = (by_id(one.documents(folder)) for one in blend_answers.BENCHMARKS)
    assert set(english) == set(native)
    assert {one["language"] for one in native.values()} >= {"ko", "zh", "es", "ar", "fa", "id", "el"}
    same = [place for place in english if english[place]["question"] == native[place]["question"]]
    assert same
    assert {region for region, _ in same} <= {"UK", "US"}


@pytest.mark.parametrize("slug", ["china", "mexico", "south_korea", "united_kingdom", "united_states"])
def test_cultures_find_their_questions(slug: str, published) -> None:
    spellings = ENGLISH.spellings(cultures.load()[slug])
    found = ENGLISH.about(slug, spellings, published("blend/annotations"), benchmark.LIKELIHOOD)
    assert 450 < len(found) < 500
    assert len({one["id"] for one in found}) == len(found)
