"""Answers on disk, and what makes two calls the same call."""

import dataclasses
import hashlib
import os
import signal
import subprocess
import sys
import textwrap

import pytest

from caredio.errors import InputError
from caredio.llm.cache import Answer, Store, key_of
from caredio.llm.spec import Chat, FirstToken, Likelihood, Spec

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


# keys


MESSAGES = [{"role": "user", "content": "How do you greet a neighbour?"}]
SCHEMA = {"type": "object", "properties": {}}


def test_equal_calls_have_equal_keys_and_any_difference_another():
    spec = Spec(model="m")
    keys = {
        key_of(spec, Chat(MESSAGES)),
        key_of(spec, Chat([{**MESSAGES[0], "content": "Other"}])),
        key_of(spec, Chat(MESSAGES, SCHEMA)),
        key_of(spec, Chat(MESSAGES, draw=1)),
        key_of(Spec(model="n"), Chat(MESSAGES)),
        key_of(Spec(model="m", provider="vllm"), Chat(MESSAGES)),
        key_of(Spec(model="m", model_revision="2"), Chat(MESSAGES)),
        key_of(Spec(model="m", temperature=0.1), Chat(MESSAGES)),
        key_of(Spec(model="m", top_p=0.5), Chat(MESSAGES)),
        key_of(Spec(model="m", max_tokens=7), Chat(MESSAGES)),
    }
    assert len(keys) == 10
    assert key_of(Spec(model="m"), Chat(list(MESSAGES))) == key_of(spec, Chat(MESSAGES))


@pytest.mark.parametrize(
    ("older", "now"),
    [
        ({"temperature": -1}, {"temperature": None}),
        ({"top_p": -1.0}, {"top_p": None}),
        ({"provider": ""}, {"provider": None}),
        ({"model_revision": ""}, {"model_revision": None}),
    ],
)
def test_what_older_files_say_for_none_is_none(older, now):
    assert Spec(model="m", **older) == Spec(model="m", **now)
    assert key_of(Spec(model="m", **older), Chat(MESSAGES)) == key_of(Spec(model="m", **now), Chat(MESSAGES))


def test_what_is_not_given_stands_in_a_key_as_it_always_did():
    spec = Spec(model="m", temperature=None, top_p=None)
    call = (
        '{"draw": 0, "kind": "chat", "max_tokens": 512, "messages": [{"content": "How do you greet a neighbour?",'
        ' "role": "user"}], "model": "m", "model_revision": "", "provider": "openai", "schema": null,'
        ' "temperature": -1.0, "top_p": -1.0}'
    )
    assert key_of(spec, Chat(MESSAGES)) == hashlib.sha256(call.encode()).hexdigest()


def test_a_schema_s_own_words_are_part_of_the_key_where_there_is_a_schema():
    spec = Spec(model="m")
    assert key_of(spec, Chat(MESSAGES, instruction="JSON!")) == key_of(spec, Chat(MESSAGES))
    assert len({key_of(spec, Chat(MESSAGES, SCHEMA, instruction=words)) for words in (None, "JSON!", "Json!")}) == 3


def test_json_mode_is_part_of_the_key_only_where_there_is_a_schema():
    one, other = Spec(model="m"), Spec(model="m", json_mode="prompt")
    assert key_of(one, Chat(MESSAGES)) == key_of(other, Chat(MESSAGES))
    assert key_of(one, Chat(MESSAGES, SCHEMA)) != key_of(other, Chat(MESSAGES, SCHEMA))


CHAT = [
    {"role": "system", "content": "You live in Côte d'Ivoire."},
    {"role": "user", "content": "茶 or coffee?"},
]
FORM = {
    "type": "object",
    "properties": {"a": {"type": "string"}},
    "required": ["a"],
    "additionalProperties": False,
}
OTHER = Spec(
    model="mine",
    provider="vllm",
    model_revision="r1",
    temperature=0.0,
    top_p=-1.0,
    max_tokens=64,
    json_mode="json_object",
)


@pytest.mark.parametrize(
    ("spec", "keys"),
    [
        (Spec(), ("caa4492a1faeaabb", "a0827edc55edcee3", "125e171690e3212b", "97b3ba71eb3a5d39")),
        (Spec(model="gpt-4.1-mini"), ("9f903a9903922", "fa08c35e137de8586", "e4b988ebce76f0ef", "7a37ea9a7537f99f")),
        (OTHER, ("e6584b4fb3972623", "47cedf694ebd4a21", "276772e39882759e", "5c26a5fe0a658060")),
    ],
)
def test_keys_of_stored_answers_never_change(spec, keys):
    """What people have paid for is found by these; a change here makes them pay again."""
    made = (
        key_of(spec, Chat(CHAT)),
        key_of(spec, Chat(CHAT, FORM)),
        key_of(spec, Chat(CHAT, FORM, 3)),
        key_of(spec, Likelihood(CHAT, "Tea.")),
    )
    assert all(map(str.startswith, made, keys))


def test_a_number_has_one_spelling_in_a_key():
    whole, real = Spec(model="m", temperature=1, top_p=1), Spec(model="m", temperature=1.0, top_p=1.0)
    assert key_of(whole, Chat(CHAT)) == key_of(real, Chat(CHAT))


def test_a_setting_that_is_added_or_renamed_changes_no_key():
    @dataclasses.dataclass(frozen=True)
    class More(Spec):
        another: str = "new"

    assert key_of(More(model="m"), Chat(CHAT, FORM)) == key_of(Spec(model="m"), Chat(CHAT, FORM))
    assert key_of(More(model="m"), Likelihood(CHAT, "Tea.")) == key_of(Spec(model="m"), Likelihood(CHAT, "Tea."))


def test_a_likelihood_is_another_call_and_sampling_is_no_part_of_it():
    spec = Spec(model="m")
    keys = {
        key_of(spec, Chat(MESSAGES)),
        key_of(spec, Likelihood(MESSAGES, "")),
        key_of(spec, Likelihood(MESSAGES, "With a bow.")),
        key_of(Spec(model="n"), Likelihood(MESSAGES, "")),
        key_of(Spec(model="m", provider="vllm"), Likelihood(MESSAGES, "")),
        key_of(Spec(model="m", model_revision="2"), Likelihood(MESSAGES, "")),
    }
    assert len(keys) == 6
    sampled = Spec(model="m", temperature=0.1, top_p=0.5, max_tokens=7, json_mode="prompt")
    assert key_of(sampled, Likelihood(MESSAGES, "")) == key_of(spec, Likelihood(MESSAGES, ""))


def test_first_tokens_are_another_call_and_sampling_is_no_part_of_it():
    spec = Spec(model="m")
    call = (
        '{"kind": "first_token", "messages": [{"content": "How do you greet a neighbour?", "role": "user"}],'
        ' "model": "m", "model_revision": "", "provider": "openai", "top_logprobs": 20}'
    )
    assert key_of(spec, FirstToken(MESSAGES)) == hashlib.sha256(call.encode()).hexdigest()
    sampled = Spec(model="m", temperature=0.1, top_p=0.5, max_tokens=7, json_mode="prompt")
    assert key_of(sampled, FirstToken(MESSAGES)) == key_of(spec, FirstToken(MESSAGES))
    assert key_of(Spec(model="n"), FirstToken(MESSAGES)) != key_of(spec, FirstToken(MESSAGES))
    assert key_of(spec, FirstToken(CHAT)) != key_of(spec, FirstToken(MESSAGES))
