from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from caredio import cultures
from caredio.errors import InputError
from caredio.evaluation import benchmark
from caredio.evaluation.benchmarks import prism

(DECLARED,) = prism.BENCHMARKS


def conversation(number: int, user: str, kind: str, prompt: str = "Is tipping right?") -> dict[str, Any]:
    return {
        "conversation_id": f"c{number}",
        "user_id": user,
        "conversation_type": kind,
        "opening_prompt": prompt,
        "conversation_turns": 2,
        "conversation_history": [{"turn": 0, "role": "user", "content": prompt}],
        "included_in_balanced_subset": True,
    }


def person(user: str, birth: str, reside: str) -> dict[str, Any]:
    return {"user_id": user, "location": {"birth_country": birth, "reside_country": reside}}


SURVEY = [
    person("u1", "Mexico", "Mexico"),
    person("u2", "Mexico", "United Kingdom"),
    person("u3", "Korea, Republic of", "Korea, Republic of"),
    person("u4", "Prefer not to say", ""),
]
CONVERSATIONS = [
    conversation(1, "u1", "values guided"),
    conversation(2, "u1", "unguided"),
    conversation(3, "u2", "values guided"),
    conversation(4, "u3", "controversy guided", " Who is right? "),
    conversation(5, "u4", "values guided"),
    conversation(6, "u1", "values guided", " "),
]


def written(folder: Path, conversations: list[Any] = CONVERSATIONS, survey: list[Any] = SURVEY) -> Path:
    for name, rows in (("conversations", conversations), ("survey", survey)):
        (folder / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return folder


def test_the_rule_takes_guided_prompts_of_people_at_home(tmp_path: Path) -> None:
    assert [one["id"] for one in DECLARED.documents(written(tmp_path))] == ["c1", "c4"]
    mexico, korea = prism.read(tmp_path)
    assert mexico == {
        "id": "c1",
        "culture": "Mexico",
        "language": "en",
        "question": "Is tipping right?",
        "answers": [],
        "own": None,
        "rivals": [],
        "category": "values guided",
    }
    assert korea["question"] == "Who is right?"


@pytest.mark.parametrize(("slug", "number"), [("mexico", "c1"), ("south_korea", "c4")])
def test_cultures_find_their_prompts(slug: str, number: str, tmp_path: Path) -> None:
    spellings = DECLARED.spellings(cultures.load()[slug])
    (found,) = DECLARED.about(slug, spellings, written(tmp_path), benchmark.GENERATED)
    assert found["id"] == number


def test_missing_files_and_people_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"holds no conversations\.jsonl; give PRISM's folder"):
        prism.read(tmp_path)
    written(tmp_path, survey=SURVEY[1:])
    with pytest.raises(InputError, match="the survey has no 'u1', who wrote c1"):
        prism.read(tmp_path)
    with pytest.raises(InputError, match=r"is no folder; give PRISM's folder"):
        prism.read(tmp_path / "survey.jsonl")
    written(tmp_path, [{"conversation_id": "c1"}])
    with pytest.raises(InputError, match=r"conversations\.jsonl: lacks user_id, conversation_type"):
        prism.read(tmp_path)
