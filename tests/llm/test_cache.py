"""Answers on disk."""

import os
import signal
import subprocess
import sys
import textwrap

import pytest

from caredio.errors import InputError
from caredio.llm.cache import Answer, Store

ANSWER = Answer("We shake hands.\n\u4f60\u597d", "stop", "m-1", 12, 5)


def test_an_answer_comes_back_as_it_was(tmp_path):
    store = Store(tmp_path / "answers.sqlite")
    assert store.get("k") is None
    store.put({"k": ANSWER})
    assert store.get("k") == ANSWER
    assert Store(tmp_path / "answers.sqlite").get("k") == ANSWER


def test_the_first_answer_to_a_key_stays(tmp_path):
    store = Store(tmp_path / "answers.sqlite")
    store.put({"k": ANSWER})
    store.put({"k": Answer("other", "stop", "m", 0, 0)})
    assert store.get("k") == ANSWER
    assert len(store) == 1


def test_a_killed_process_loses_no_stored_answer(tmp_path):
    script = """
        import os, signal, sys
        from caredio.llm.cache import Answer, Store
        store = Store(sys.argv[1])
        for number in range(50):
            store.put({str(number): Answer("x", "stop", "m", 1, 1)})
        os.kill(os.getpid(), signal.SIGKILL)
    """
    path = tmp_path / "answers.sqlite"
    killed = subprocess.run([sys.executable, "-c", textwrap.dedent(script), str(path)], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert len(Store(path)) == 50


def test_a_file_that_is_something_else_is_told(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("not a database, and long enough to be read as one " * 20)
    with pytest.raises(InputError, match=r"notes\.txt: cannot hold stored answers"):
        Store(path)


def test_the_default_file_lies_in_the_cache_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("CAREDIO_HOME", str(tmp_path / "mine"))
    assert Store().path == tmp_path / "mine" / "answers.sqlite"
    monkeypatch.delenv("CAREDIO_HOME")
    assert Store().path.parts[-3:] == (".cache", "caredio", "answers.sqlite")
    assert os.fspath(Store().path).startswith(os.path.expanduser("~"))


def test_a_disk_that_is_full_is_one_sentence_and_the_same_store_goes_on(tmp_path):
    """SQLite's own limit on pages stands for the disk's."""
    store = Store(tmp_path / "answers.sqlite")
    store.put({"k": ANSWER})
    pages = store._db.execute("PRAGMA page_count").fetchone()[0]
    store._db.execute(f"PRAGMA max_page_count = {pages}")
    wide = Answer("x" * 100_000, "stop", "m", 1, 1)
    with pytest.raises(InputError, match=r"answers.sqlite: cannot be written .*full.*the same command goes on"):
        store.put({"wide": wide})
    assert store.get("k") == ANSWER
    store._db.execute(f"PRAGMA max_page_count = {pages + 1000}")
    store.put({"wide": wide})
    assert store.get("wide") == wide


@pytest.mark.parametrize("call", ["get", "put", "pending", "submitted", "keys", "collect", "submit"])
def test_a_store_that_breaks_is_one_sentence_wherever_it_is_used(tmp_path, call):
    store = Store(tmp_path / "answers.sqlite")
    for table in ("answers", "pending", "batches"):
        store._db.execute(f"DROP TABLE {table}")
    arguments = {"get": ["k"], "put": [{"k": ANSWER}], "pending": [["k"]], "keys": ["f"], "submit": ["f", ["k"]]}
    with pytest.raises(InputError, match=r"answers.sqlite: cannot be written \(no such table"):
        getattr(store, call)(*{"collect": ["f", {"k": ANSWER}], "submitted": [], **arguments}[call])
