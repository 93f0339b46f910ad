"""Replies side by side, as text that no reply can take over."""

from __future__ import annotations

import unicodedata
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("lm_eval")

from llm_server import LLMServer
from lm_eval_folder import WRITTEN, asked, questions, saved

import caredio
from caredio import cli
from caredio.errors import InputError
from caredio.evaluation import samples
from caredio.evaluation.samples import Measured
from caredio.evaluation.side_by_side import names, plain, side_by_side


def kept(folder: Path, system: str, says: Any, n: int = 3, culture: str = "japan", **config: Any) -> Path:
    documents = [one | {"question": f"What is eaten on day {one['id'][1:]}?"} for one in questions(n)]
    task = f"caredio_care_generated_{'role_play_' if 'role' in system else ''}{culture}"
    made = asked(folder / "tasks", {task: documents}, says, **{**WRITTEN, **config})
    samples.write(folder / "run" / "samples", {"system": system, "culture": culture, "model": "m", "w": system}, made)
    return folder / "run"


def test_systems_stand_in_their_order_below_each_question(tmp_path: Path) -> None:
    for system in ("trained", "CultureLLM", "role-play", "raw"):
        run = kept(tmp_path, system, lambda doc, name=system: f"{name} says {doc['id']}.")
    assert side_by_side([run], 1) == "\n".join(
        [
            "-------- care_generated, japan",
            "",
            "What is eaten on day 0?",
            "",
            "  raw:",
            "    raw says q0.",
            "",
            "  role-play:",
            "    role-play says q0.",
            "",
            "  trained:",
            "    trained says q0.",
            "",
            "  CultureLLM:",
            "    CultureLLM says q0.",
        ]
    )
    assert side_by_side([run], 2).count("--------") == 2


def test_questions_come_in_turn_from_each_culture_those_that_most_answered_first(tmp_path: Path) -> None:
    kept(tmp_path, "raw", lambda doc: "a", n=3)
    kept(tmp_path, "trained", lambda doc: "a", n=1)
    run = kept(tmp_path, "raw", lambda doc: "b", culture="china")
    shown = side_by_side([run], 3)
    assert [line for line in shown.splitlines() if line.startswith("---")] == [
        f"-------- care_generated, {culture}" for culture in ("china", "japan", "china")
    ]
    assert shown.count("  trained:") == 1


def test_a_rival_s_folder_stands_beside_ours(tmp_path: Path) -> None:
    run = kept(tmp_path, "raw", lambda doc: "ours")
    documents = [one | {"question": f"What is eaten on day {one['id'][1:]}?"} for one in questions(3)]
    made = asked(tmp_path / "theirs", {"caredio_care_generated_japan": documents}, lambda _: "theirs", **WRITTEN)
    saved(tmp_path / "out", "them/rival", made)
    shown = side_by_side([run, tmp_path / "out"], 1)
    assert shown.endswith("  raw:\n    ours\n\n  them/rival:\n    theirs")


def test_of_likelihoods_the_likeliest_option_is_shown(tmp_path: Path) -> None:
    made = asked(tmp_path / "tasks", {"caredio_quiz_japan": questions(2)}, lambda _: "B")
    samples.write(tmp_path / "run", {"system": "raw", "culture": "japan", "model": "m"}, made)
    assert "  raw:\n    B (the likeliest option)" in side_by_side([tmp_path / "run"], 1)


def test_where_no_text_is_kept_that_is_what_is_shown(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    assert side_by_side([tmp_path / "run"], 1) == (
        f"{tmp_path / 'run'}: no replies are kept there; of likelihoods there is no text to show."
    )
    with pytest.raises(InputError, match="is no folder"):
        side_by_side([tmp_path / "none"], 1)


HOSTILE = [
    "\x1b[2J\x1b[31mred\x1b[0m text",
    "\x1b]0;a title\x07text",
    "\x1b]8;;http://evil\x1b\\text\x1b]8;;\x1b\\",
    "over\rwritten text",
    "a\x08\x08\x07\x00\x9b31mtext",
    "\u202etxet\u202c \u2066text\u2069\ufeff",
    "half \ud83d text",
    "\x1bPq#0;2;0;0;0\x1b\\text\x1bc",
    "text\x1b",
]


@pytest.mark.parametrize("hostile", HOSTILE)
def test_what_a_terminal_would_obey_is_gone(hostile: str, tmp_path: Path) -> None:
    found = plain(hostile)
    assert "text" in found or "txet" in found
    assert not [one for one in found if unicodedata.category(one) in ("Cc", "Cf", "Cs") and one not in "\n\t"]
    assert "31m" not in found
    assert "evil" not in found
    run = kept(tmp_path, "raw", lambda _: hostile, n=1)
    shown = side_by_side([run], 1)
    assert not [one for one in shown if unicodedata.category(one) in ("Cc", "Cf", "Cs") and one != "\n"]


def test_what_people_write_stays() -> None:
    joined = "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645, \U0001f468\u200d\U0001f469\u200d\U0001f467"
    text = f"Naïve {joined}, 日本語.\n\tTwo lines."
    assert plain(text) == text


def test_lines_are_no_wider_than_a_terminal(tmp_path: Path) -> None:
    kept(tmp_path, "raw", lambda _: "word " * 100 + "x" * 300)
    run = kept(tmp_path, "trained", lambda _: "お正月には餅を食べます。" * 30)
    for line in side_by_side([run], 1).splitlines():
        assert sum(2 if unicodedata.east_asian_width(one) in "WF" else 1 for one in line) <= 104


def test_thinking_is_not_shown(tmp_path: Path) -> None:
    run = kept(tmp_path, "raw", lambda doc: "<think>Hm, rice?</think>\nRice." if doc["id"] == "q0" else "<think>Hm")
    shown = side_by_side([run], 2)
    assert "Hm" not in shown
    assert "    Rice." in shown
    assert "    (nothing)" in shown


def test_systems_of_one_name_are_told_apart() -> None:
    def arm(system: str, model: str, folder: str, made: str = "1") -> Measured:
        return Measured(system, "china", "care", "t", model, Path(folder) / "samples_t_1.jsonl", made, {})

    assert names([arm("raw", "a", "x"), arm("trained", "a", "y")]) == ["raw", "trained"]
    assert names([arm("raw", "a", "x"), arm("raw", "b", "y")]) == ["raw (a)", "raw (b)"]
    assert names([arm("raw", "a", "x"), arm("raw", "a", "y", "2")]) == ["raw (x, 1)", "raw (y, 2)"]


def test_show_is_checked_before_anything_is_measured(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^show is 0; give a number of questions"):
        caredio.evaluate(["china"], out=tmp_path / "run", show=0)
    with pytest.raises(InputError, match=r"^show is given without out; name the run folder"):
        caredio.evaluate(["china"], show=2)


def test_evaluate_shows_replies_below_its_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def says(_: int, body: dict[str, Any]) -> str:
        return "B, as a Chinese" if any(one["role"] == "system" for one in body["messages"]) else "A"

    command = ["evaluate", "--cultures", "china", "--culturalbench", "sample", "--limit", "1", "--model", "ft:tuned"]
    with LLMServer(says) as server:
        cli.main([*command, "--base-url", server.url, "--out", str(tmp_path / "run"), "--show", "1", "--quiet"])
    table, _, shown = capsys.readouterr().out.partition("-------- ")
    assert "role-play" in table
    assert shown.startswith("culturalbench_easy_generated, china\n")
    assert shown.endswith("  raw:\n    A\n\n  role-play:\n    B, as a Chinese\n")
