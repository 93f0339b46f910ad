"""The replies in samples files, and what of a document the judge reads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from caredio.errors import InputError
from caredio.evaluation import replies
from caredio.evaluation.judging_settings import Settings
from caredio.evaluation.samples import Measured

DOC = {"id": "q1", "question": "Who wrote it?", "category": "Literacy", "scope": "Nationwide", "culture": "china"}


def arm(folder: Path, *rows: dict[str, Any], benchmark: str = "care_generated") -> Measured:
    file = folder / "samples_t_2026-01-01T00-00-00.jsonl"
    file.write_text("".join(json.dumps({"doc_hash": "h", **row}) + "\n" for row in rows))
    return Measured("raw", "japan", benchmark, "t", "m", file, "2026-01-01T00-00-00", {})


def one(folder: Path, doc: dict[str, Any], settings: Settings = Settings(), **more: str) -> replies.Reply:
    (found,), why = replies.read(arm(folder, {"doc_id": 0, "doc": doc, "resps": [["Lu Xun."]]}, **more), settings)
    assert why == ""
    return found


def test_a_document_of_ours_and_one_of_care_s_own(tmp_path: Path) -> None:
    found = one(tmp_path, DOC)
    assert found[1:] == ("q1", "literacy", "China", "Who wrote it?", None, "Literacy", "Nationwide", ["Lu Xun."])
    theirs = {"question": "誰が?", "answer": "魯迅。", "culture_type": "Social norms", "geographic_scope": "Worldwide"}
    found = one(tmp_path, {**theirs, "associated_culture": "Native (Japanese)"})
    assert found[1:] == ("h", "norms", "Japan", "誰が?", "魯迅。", "Social norms", "Worldwide", ["Lu Xun."])


@pytest.mark.parametrize(
    ("fields", "reference"),
    [
        ({"answers": [{"text": "a", "weight": 1}, {"text": "b", "weight": 5}]}, "b; a"),
        ({"answers": [{"text": "a", "weight": None}]}, "a"),
        ({"answers": ["a", "b"]}, "a; b"),
        ({"answers": [], "answer": "c"}, "c"),
        ({"answers": []}, None),
        ({"answer": "  "}, None),
        ({"answer": 7}, None),
        ({"answer": "half \ud83d"}, "half ?"),
        ({}, None),
    ],
)
def test_the_reference_is_what_most_people_said_first(
    fields: dict[str, Any], reference: str | None, tmp_path: Path
) -> None:
    assert one(tmp_path, {**DOC, **fields}).reference == reference


def test_a_field_that_is_named_is_the_one(tmp_path: Path) -> None:
    doc = {**DOC, "gold": "g", "answer": "a", "ask": "Who?"}
    found = one(tmp_path, doc, Settings(reference_field="gold", question_field="ask"))
    assert (found.asked, found.reference) == ("Who?", "g")
    with pytest.raises(
        InputError, match="line 1: the document has no field 'none' for the reference; it has id, quest"
    ):
        one(tmp_path, doc, Settings(reference_field="none"))


def test_a_reply_that_was_read_in_several_ways_is_one_reply(tmp_path: Path) -> None:
    rows = [
        {"doc_id": place, "doc": DOC, "resps": [[f"Reply {place}."]], "filtered_resps": [read], "filter": read}
        for read in ("strict", "flexible")
        for place in (0, 1)
    ]
    found, _ = replies.read(arm(tmp_path, *rows), Settings())
    assert [reply.texts for reply in found] == [["Reply 0."], ["Reply 1."]]


def test_all_that_a_system_wrote_is_its_replies_without_thinking(tmp_path: Path) -> None:
    resps = [["One.", "<think>Hm.</think>Two."], ["<think>It does not end"]]
    found, _ = replies.read(arm(tmp_path, {"doc": DOC, "resps": resps}), Settings())
    assert [reply.texts for reply in found] == [["One.", "Two.", ""]]


def test_what_holds_no_replies_says_so(tmp_path: Path) -> None:
    likelihoods = {"doc": DOC, "resps": [[["-1.5", "False"]], [["-2.5", "True"]]]}
    assert replies.read(arm(tmp_path, likelihoods), Settings()) == ([], "holds likelihoods, and no replies")
    assert replies.read(arm(tmp_path), Settings()) == ([], "holds no rows")


def test_an_unknown_rubric_is_an_error_where_the_benchmark_is_named(tmp_path: Path) -> None:
    measured = arm(tmp_path, {"doc": {**DOC, "category": "Sport"}, "resps": [["x"]]})
    with pytest.raises(InputError, match="line 1: no rubric is known for category 'Sport'; name one with --rubric"):
        replies.read(measured, Settings(benchmark="care"))
    found, why = replies.read(measured, Settings())
    assert found == []
    assert why.startswith("no rubric is known for category 'Sport'")


def test_a_benchmark_is_named_with_or_without_its_variant(tmp_path: Path) -> None:
    arms = [arm(tmp_path, benchmark=name) for name in ("care_generated", "care_cot", "prism_generated", "carex")]
    assert [one.benchmark for one in replies.wanted(arms, "care")] == ["care_generated", "care_cot"]
    assert [one.benchmark for one in replies.wanted(arms, "care_cot")] == ["care_cot"]
    assert replies.wanted(arms, None) == arms
    with pytest.raises(InputError, match=r"^there are no samples of wvs; the folders hold care_cot, care_generated, "):
        replies.wanted(arms, "wvs")
    with pytest.raises(
        InputError, match=r"^there are no samples of a benchmark; the folders hold no samples at all\.$"
    ):
        replies.wanted([], None)


def test_documents_that_share_an_id_are_questions_of_their_own(tmp_path: Path) -> None:
    docs = [{**DOC, "question": "Who wrote it?"}, {**DOC, "question": "Who drew it?"}]
    rows = [{"doc_id": n, "doc": doc, "doc_hash": f"h{n}", "resps": [["Lu Xun."]]} for n, doc in enumerate(docs)]
    found, _ = replies.read(arm(tmp_path, *rows), Settings())
    assert [reply.question for reply in found] == ["h0", "h1"]  # else the one is compared with a reply to the other
