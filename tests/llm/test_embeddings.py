"""Embeddings over HTTP: in batches the API takes, each stored as it arrives, and asked for once."""

import json
import re
import signal
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest
from llm_server import LLMServer, embedding

from caredio.errors import BudgetError, EndpointError, InputError
from caredio.llm import embeddings
from caredio.llm.cache import vector_key
from caredio.llm.embeddings import Embeddings, Vectors
from caredio.llm.limits import Usage
from caredio.llm.settings import Endpoint
from caredio.selection import embed

TEXTS = [f"text {number}" for number in range(10)]


def asked(server):
    """The texts of every request, as they came."""
    return [server.bodies[name]["input"] for name in server.seen]


def model(server, name="m", **settings):
    return Embeddings(name, Endpoint(base_url=server.url, **settings))


def expected(texts):
    return np.array([embedding(text) for text in texts], np.float32)


def test_vectors_are_in_the_order_of_their_texts(server):
    np.testing.assert_array_equal(model(server)(TEXTS[::-1]), expected(TEXTS[::-1]))


def test_what_is_stored_is_not_asked_for_again(server):
    first = model(server)
    first(TEXTS[:6])
    second = model(server)
    np.testing.assert_array_equal(second(TEXTS), expected(TEXTS))
    assert [set(texts) for texts in asked(server)] == [set(TEXTS[:6]), set(TEXTS[6:])]
    assert first.usage == Usage(1, 0, 12, 0)
    assert second.usage == Usage(1, 6, 8, 0)


def test_another_model_is_asked_anew_and_another_address_is_not(server):
    model(server, "m")(TEXTS)
    model(server, "n")(TEXTS)
    assert len(asked(server)) == 2
    with LLMServer() as elsewhere:
        model(elsewhere, "m")(TEXTS)
        assert elsewhere.seen == []


def test_a_failed_run_pays_only_for_the_rest(monkeypatch):
    monkeypatch.setattr(embeddings, "TEXTS", 3)
    broken = True
    with LLMServer(fault=lambda number, body: 500 if broken and number == 2 else None) as server:
        with pytest.raises(EndpointError, match=r"status 500.*run the same command again"):
            model(server, concurrency=1, retries=0)(TEXTS)
        before = [text for texts in asked(server)[:2] for text in texts]
        broken = False
        np.testing.assert_array_equal(model(server, concurrency=1)(TEXTS), expected(TEXTS))
        after = [text for texts in asked(server)[3:] for text in texts]
    assert sorted(before + after) == sorted(TEXTS)


def test_what_else_can_be_had_is_had_before_a_failure_is_told(monkeypatch):
    monkeypatch.setattr(embeddings, "TEXTS", 1)
    with LLMServer(fault=lambda number, body: 500 if body["input"] == ["text 3"] else None) as server:
        made = model(server, concurrency=4, retries=1)
        with pytest.raises(EndpointError, match="status 500"):
            made(TEXTS)
    assert made.store.missing([vector_key(made.spec, text) for text in TEXTS]) == {vector_key(made.spec, "text 3")}


def test_a_request_that_cannot_be_taken_says_why():
    said = "This model's maximum context length is 8192 tokens."
    with (
        LLMServer(fault=lambda number, body: {"status": 400, "message": said}) as server,
        pytest.raises(EndpointError, match=r"\(endpoint: status 400, which says: This model's maximum"),
    ):
        model(server)(TEXTS)


def test_being_told_to_slow_down_costs_no_attempt():
    with LLMServer(fault=lambda number, body: 429 if number < 3 else None) as server:
        np.testing.assert_array_equal(model(server, retries=4)(TEXTS), expected(TEXTS))


def test_limits_hold_for_vectors_too(monkeypatch):
    monkeypatch.setattr(embeddings, "TEXTS", 1)
    with LLMServer() as server:
        endpoint = Endpoint(base_url=server.url, max_total_tokens=20, concurrency=1)
        made = Embeddings("m", endpoint)
        with pytest.raises(BudgetError, match=r"calls used 16 tokens, and the next could go beyond"):
            made(TEXTS)
        assert made.usage == Usage(8, 0, 16, 0)  # two tokens a text; the next could have six, as many as its bytes
        assert len(made.store.missing([vector_key(made.spec, text) for text in TEXTS])) == 2
        Embeddings("m", Endpoint(base_url=server.url))(TEXTS)
        assert server.repeats() == 0
        with pytest.raises(InputError, match="no price is known for m"):
            Embeddings("m", Endpoint(base_url=server.url, max_cost=1.0))


def test_numbers_are_read_where_base64_is_not_known():
    data = [{"object": "embedding", "index": i, "embedding": embedding(text)} for i, text in enumerate(TEXTS[:2])]
    with LLMServer(fault=lambda number, body: {"object": "list", "model": "m", "data": data}) as server:
        np.testing.assert_array_equal(model(server)(TEXTS[:2]), expected(TEXTS[:2]))


def test_batches_hold_what_a_request_may():
    texts = ["é" * 50_000] * 4 + ["x"] * 5000
    cut = list(embeddings.batches(texts))
    assert [text for batch in cut for text in batch] == texts
    assert all(len(batch) <= 2048 and sum(len(text.encode()) for text in batch) <= 300_000 for batch in cut)
    assert [len(batch) for batch in cut] == [3, 2048, 2048, 905]
    assert list(embeddings.batches(["y" * 400_000, "z"])) == [["y" * 400_000], ["z"]]
    assert list(embeddings.batches([])) == []


def test_the_key_is_sent_and_told_to_nobody(monkeypatch, capsys, caplog):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret")
    with LLMServer(fault=lambda number, body: 401) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        made = model(server)
        with pytest.raises(EndpointError) as error:
            made(TEXTS)
        assert server.keys == {"Bearer sk-very-secret"}
    said = str(error.value)
    assert said == (
        "127.0.0.1 refused the call for model 'm' (status 401) and says: scripted refusal for key Bearer [key]. Check"
        " OPENAI_API_KEY, embedder and base_url."
    )
    assert "sk-very-secret" not in said + caplog.text
    assert b"sk-very-secret" not in made.store.path.read_bytes()


@pytest.mark.parametrize(
    ("version", "path"),
    [
        ("2024-10-21", "/openai/deployments/mine/embeddings?api-version=2024-10-21"),
        ("", "/openai/v1/embeddings"),
    ],
)
def test_a_deployment_of_azures_embeds(server, version, path, monkeypatch):
    monkeypatch.setenv("AZURE_OPENAI_ENDPOINT", server.url.removesuffix("/v1"))
    monkeypatch.setenv("AZURE_OPENAI_API_KEY", "azure-secret")
    if version:
        monkeypatch.setenv("OPENAI_API_VERSION", version)
    encode = embed.encoder("azure:mine")
    np.testing.assert_array_equal(encode(TEXTS), expected(TEXTS))
    assert server.paths == [path]
    assert server.keys == ({"azure-secret"} if version else {"Bearer azure-secret"})
    assert vector_key(encode.spec, "a") != vector_key(Embeddings("mine", Endpoint(base_url=server.url)).spec, "a")


def test_a_missing_key_is_told():
    with pytest.raises(EndpointError, match="OPENAI_API_KEY is not set, and m needs it"):
        Embeddings("m", Endpoint())


def one(vector, index=0):
    return {"object": "embedding", "index": index, "embedding": vector}


@pytest.mark.parametrize(
    "data",
    [
        [],
        [one([1.0, 2.0])],  # for two texts
        [one([1.0, 2.0]), one([1.0], 1)],
        [one([1.0, float("nan")]), one([1.0, 2.0], 1)],
        [one([]), one([], 1)],
        [one("hello"), one("world", 1)],
        "nothing of the kind",
    ],
)
def test_an_answer_that_is_no_embedding_is_told_and_not_stored(data):
    with LLMServer(fault=lambda number, body: {"object": "list", "model": "m", "data": data}) as server:
        made = model(server, retries=0)
        with pytest.raises(EndpointError, match="something else than"):
            made(TEXTS[:2])
    assert made.store.missing([vector_key(made.spec, text) for text in TEXTS[:2]])


@pytest.mark.parametrize(
    ("reply", "told"),
    [
        ({"error": {"message": "credits used up"}}, "an error instead of an answer, which says: credits used up"),
        ({"detail": "Not authenticated"}, "an error instead of an answer, which says: Not authenticated"),
        ({"data": [], "error": "credits used up"}, "which says: credits used up"),
        ({"error": {"message": "credits used up", "code": 402}}, "credits used up"),
        ("credits used up", "not embeddings but a JSON text, which says: credits used up"),
        ([{"error": {"message": "credits used up"}}], "not embeddings but a JSON list, which says: credits used up"),
        (None, "not embeddings but a JSON null"),
        (12, "not embeddings but a JSON number"),
        ({}, "something else than embeddings"),
        ({"embeddings": [[1.0, 2.0]]}, "something else than embeddings"),
    ],
)
def test_an_error_in_a_reply_of_status_200_is_told_after_one_request(reply, told):
    with LLMServer(fault=lambda number, body: {"status": 200, "body": json.dumps(reply)}) as server:
        with pytest.raises(EndpointError, match=re.escape(told)):
            model(server)(TEXTS[:2])
        assert len(server.seen) == 1


def test_an_error_that_can_pass_is_asked_for_again(monkeypatch):
    reply = {"error": {"code": 503, "message": "busy"}}
    with LLMServer(fault=lambda number, body: reply if number == 0 else None) as server:
        np.testing.assert_array_equal(model(server)(TEXTS[:2]), expected(TEXTS[:2]))
        assert len(server.seen) == 2


def test_an_empty_error_beside_embeddings_is_none():
    data = [one([1.0, 2.0])]
    with LLMServer(fault=lambda number, body: {"data": data, "error": None, "message": "done"}) as server:
        assert model(server)(["a"]).tolist() == [[1.0, 2.0]]


def test_an_endpoint_that_is_not_there_is_told():
    with LLMServer() as gone:
        pass
    with pytest.raises(EndpointError, match=r"got no answer \(endpoint: no connection \(connection refused\)\)"):
        model(gone, retries=0)(TEXTS)


def test_a_file_that_is_something_else_is_told(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("not a database, and long enough to be read as one " * 20)
    with pytest.raises(InputError, match=r"notes\.txt: cannot hold stored vectors"):
        Vectors(path)


def test_two_models_under_one_name_are_told(tmp_path):
    store = Vectors(tmp_path / "v.sqlite")
    store.put(["a"], np.ones((1, 3), np.float32))
    store.put(["b"], np.ones((1, 4), np.float32))
    with pytest.raises(InputError, match="of 3 and of 4 numbers"):
        store.get(["a", "b"])


def test_a_killed_process_pays_only_for_what_was_in_flight():
    script = """
        import sys
        from caredio.llm import embeddings
        from caredio.llm.settings import Endpoint
        embeddings.TEXTS = 1
        made = embeddings.Embeddings("m", Endpoint(base_url=sys.argv[1], concurrency=2))
        made([f"text {number}" for number in range(30)])
    """
    with LLMServer(latency=0.05) as server:
        command = [sys.executable, "-c", textwrap.dedent(script), server.url]
        killed = subprocess.Popen(command)
        while len(server.seen) < 10 and killed.poll() is None:
            time.sleep(0.002)
        killed.kill()
        assert killed.wait() == -signal.SIGKILL
        time.sleep(0.2)
        subprocess.run(command, check=True)
        assert len(set(server.seen)) == 30
        assert server.repeats() <= 2


def test_vectors_that_cannot_be_kept_are_one_sentence(tmp_path):
    store = Vectors(tmp_path / "vectors.sqlite")
    store._db.execute("DROP TABLE vectors")
    with pytest.raises(InputError, match=r"vectors.sqlite: cannot be written"):
        store.put(["k"], np.zeros((1, 4), np.float32))
    with pytest.raises(InputError, match=r"vectors.sqlite: cannot be written"):
        store.get(["k"])
