"""Rows of a run, a release and the Hub: what is listed, in which order, what is found, and what a row holds."""

import json
import re
import unicodedata

import numpy as np
import pytest
from app.conftest import HOSTILE
from hub_server import HubServer
from publishing.test_hub import publish, python
from rating_tables import ranked_rows, run_folder

from caredio import runs
from caredio.app import shelf
from caredio.app.opened import standing
from caredio.errors import InputError
from caredio.publishing.split import is_test

_PLACED = ("key", "stage", "split", "rank", "drop_reason")


@pytest.fixture(scope="module")
def run(ranked):
    return shelf.open(ranked)


def responses(opened, numbers):
    return [row["response"] for row in opened.cells(numbers, "response")]


def test_a_run_s_rows_are_its_pool_best_first(run, ranked):
    pool = runs.read(sorted((ranked / "scored").glob("*.parquet")))
    assert sorted(run.rows["key"].to_pylist()) == sorted(pool["sample_id"])
    stages, ranks = (run.rows[name].to_pylist() for name in ("stage", "rank"))
    kept = stages.count("ranked")
    assert stages == ["ranked"] * kept + ["scored"] * (len(run) - kept)
    assert ranks[:kept] == sorted(ranks[:kept])
    assert kept == 18
    assert set(run.rows["drop_reason"].to_pylist()[kept:]) <= {"over_budget", "redundant"}


def test_a_row_has_all_columns_of_its_table(run, ranked):
    pool = {row["sample_id"]: row for row in runs.read(sorted((ranked / "scored").glob("*.parquet")))}
    for place in (0, len(run) - 1):
        row = run.row(place)
        assert {name: row[name] for name in pool[row["sample_id"]]} == pool[row["sample_id"]]
        assert run.place(row["key"]) == place


@pytest.mark.parametrize(
    ("words", "count"),
    [
        ("", 27),
        ("rice", 9),
        ("RICE honey", 1),
        ('"rice honey"', 0),
        ('"rice with"', 8),
        ("feast 49", 3),
        ("${window", 1),
        ("عليكم", 1),
    ],
)
def test_every_word_is_in_a_row_that_is_found(run, words, count):
    found = run.search(words)
    assert len(found) == count
    assert list(found) == sorted(found)


@pytest.mark.parametrize(
    ("said", "searched"),
    [
        ("आलू की स\u092c\u094d\u091c\u093cी", "सब्\u095bी"),  # a letter with its dot, and the letter that has one
        ("คนไทยกินข้าวต้มเป็นอาหารเช้า", "ข้าวต้ม"),  # no space around it
        ("ปลาในน้\u0e33", "น้\u0e4d\u0e32"),
        ("설날에는 떡국을 먹습니다", unicodedata.normalize("NFD", "떡국")),
        (unicodedata.normalize("NFD", "설날에는 떡국을 먹습니다"), "떡국"),
        ("نشرب الشاي", "ﺍﻟﺸﺎﻱ"),  # as some PDFs have it
        ("نَشْرَبُ الشَّايَ", "الشاي"),
        ("نشرب الشـــاي", "الشَّاي"),
        ("לֶחֶם וּזֵיתִים", "לחם"),
        ("ＣＡＦＥ　１００円", "cafe 100"),
        ("İstanbul'da çay", "İSTANBUL"),
    ],
)
def test_a_word_is_found_however_it_is_encoded(said, searched, tmp_path):
    opened = run_folder(tmp_path / "run", ranked_rows(("a", 1, "q1", said), ("b", 1, "q1", "bread")))
    assert responses(opened, opened.search(searched)) == [said]
    assert responses(opened, opened.search(f'"{searched}"')) == [said]


def test_filters_hold_together(run):
    found = run.search("rice", culture="china", topic_id="feasts", level="customs")
    assert {row["culture"] for row in run.cells(found, "culture")} == {"china"}
    assert len(found) == 4
    assert len(run.search("", culture="atlantis")) == 0
    assert len(run.of(culture=None, stage="ranked")) == 18


def test_a_release_says_which_rows_are_held_out(released):
    opened = shelf.open(released)
    assert not opened.is_run
    rows = opened.cells(range(len(opened)), "question_id", "stage", "split")
    assert {row["split"] for row in rows if row["stage"] != "ranked"} == {None}
    for row in rows:
        if row["stage"] == "ranked":
            assert row["split"] == ("test" if is_test(row["question_id"], 0.3) else "train")
    assert {row["split"] for row in rows} == {"train", "test", None}


def test_a_release_s_ranks_are_those_of_its_splits(released):
    opened = shelf.open(released)
    given = {(row["key"], row["split"]): row["rank"] for row in opened.cells(opened.of(stage="ranked"), *_PLACED)}
    written = {
        (row["sample_id"], file.stem): row["rank"]
        for file in (*released.glob("*/train.parquet"), *released.glob("*/test.parquet"))
        if "-" not in file.parent.name and file.parent.name != "all"
        for row in runs.read([file])
    }
    assert given == written
    assert {standing(row) for row in opened.cells(opened.of(split="test", rank=1), *_PLACED)} == {
        '<span class="badge good">test rank 1</span>'
    }


@pytest.mark.parametrize("place", ["ranked", "released"])
def test_vectors_are_those_of_the_rows(place, request):
    opened = shelf.open(request.getfixturevalue(place))
    keys, vectors = opened.vectors
    assert sorted(keys) == sorted(opened.rows["key"].to_pylist())
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_rows_dropped_on_the_way_are_listed_with_their_stage(written):
    opened = shelf.open(written)
    rejects = {file.parts[-3]: runs.read([file]) for file in written.glob("*/rejects/*.parquet")}
    assert rejects  # else this tests nothing
    for stage, table in rejects.items():
        places = opened.of(stage=stage)
        assert len(places) == len(table)
        keys = {opened.row(int(place))["key"] for place in places}
        assert len(keys) == len(table)
        assert sorted(row["drop_reason"] for row in opened.cells(places, "drop_reason")) == sorted(table["drop_reason"])


def test_a_run_that_is_made_anew_changes_nothing_of_what_is_open(ranked, tmp_path):
    import shutil

    shutil.copytree(ranked, tmp_path / "run")
    opened = shelf.open(tmp_path / "run")
    before = opened.row(3)
    shutil.rmtree(tmp_path / "run" / "scored")
    assert opened.row(3) == before


def test_a_run_is_open_while_another_process_works_in_it(ranked):
    with runs.Run(ranked):
        assert len(shelf.open(ranked)) == 27


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda folder: None, "is no run, no release and no owner/name of one on the Hub"),
        (lambda folder: folder.mkdir(), "is no run and no release"),
        (lambda folder: (folder.mkdir(), (folder / "run.json").write_text("{")), "is damaged"),
        (
            lambda folder: (folder.mkdir(), (folder / "run.json").write_text('{"stages": {}}')),
            "holds no rows to look at",
        ),
        (
            lambda folder: (folder.mkdir(), (folder / "release.json").write_text(json.dumps({"kind": "model"}))),
            "is the release of a model",
        ),
    ],
)
def test_what_holds_no_rows_is_one_sentence(make, said, tmp_path):
    make(tmp_path / "there is")
    with pytest.raises(InputError, match=re.escape(said)):
        shelf.open(tmp_path / "there is")


def test_a_damaged_table_is_named(ranked, tmp_path):
    import shutil

    shutil.copytree(ranked, tmp_path / "run")
    (file,) = (tmp_path / "run" / "scored").glob("*.parquet")
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(InputError, match=re.escape(str(file))):
        shelf.open(tmp_path / "run")


def test_a_release_on_the_hub_is_read_by_its_tag(ranked, tmp_path):
    with HubServer(tmp_path / "hub") as hub:
        publish(hub, ranked, tmp_path / "home", "--to", tmp_path / "r", "--version", "v1.0.0", "--push", "me/feasts")
        told = python(
            hub,
            tmp_path / "fresh",
            """
            from caredio.app import shelf
            from caredio.errors import CaredioError
            opened = shelf.open("me/feasts@v1.0.0")
            print(len(opened), len(opened.of(stage="ranked")))
            print(sorted({path.parent.name for path in opened.folder.glob("*/*.parquet")}))
            print(len(opened.vectors[0]))
            for name in ("me/feasts@v9.9.9", "me/nothing"):
                try:
                    shelf.open(name)
                except CaredioError as error:
                    print(error)
            """,
        )
    assert told[:3] == ["27 18", "['china', 'china-pool', 'mexico', 'mexico-pool', 'peru', 'peru-pool']", "27"]
    assert told[3].startswith("me/feasts@v9.9.9: ")
    assert told[4].startswith("me/nothing: there is no such folder here, and no such dataset on the Hub")


def test_hostile_text_is_a_text_like_others(run):
    (place,) = run.search('"window.hacked = 1"')
    assert run.row(int(place))["response"] == HOSTILE
