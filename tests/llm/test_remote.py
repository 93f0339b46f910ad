"""The client against a scripted endpoint, over HTTP."""

import asyncio
import pickle
import time
from collections import Counter

import pytest
from llm_server import LLMServer, reply

from caredio.errors import EndpointError, InputError
from caredio.llm import remote
from caredio.llm.access import Access
from caredio.llm.cache import key_of
from caredio.llm.limits import CallFailed
from caredio.llm.model import connect
from caredio.llm.settings import Endpoint
from caredio.llm.spec import Chat, Spec

MESSAGES = [{"role": "user", "content": "How do you greet a neighbour?"}]
SCHEMA = {
    "type": "object",
    "properties": {"greeting": {"type": "string"}},
    "required": ["greeting"],
    "additionalProperties": False,
}
SPEC = Spec(model="scripted")


def model_for(server, spec=SPEC, **endpoint):
    return connect(spec, Endpoint(base_url=server.url, **{"retries": 0, "timeout": 5.0, **endpoint}))


async def ask(model, *calls):
    try:
        return await asyncio.gather(*(model.complete(Chat(*call)) for call in calls))
    finally:
        await model.close()


def test_an_answer_is_what_the_endpoint_said_and_is_stored(server):
    model = model_for(server)
    (answer,) = asyncio.run(ask(model, (MESSAGES,)))
    sent = next(iter(server.bodies.values()))
    assert answer.text == reply(sent)
    assert answer.model == "scripted-2026-01-01"
    assert (answer.prompt_tokens, answer.completion_tokens) == (6, len(answer.text.split()))
    assert model.store.get(key_of(SPEC, Chat(MESSAGES))) == answer
    assert sent == {"model": "scripted", "messages": MESSAGES, "max_tokens": 512, "temperature": 0.7, "top_p": 0.95}


def test_a_stored_answer_sends_nothing_even_from_another_address(server):
    asyncio.run(ask(model_for(server), (MESSAGES,)))
    with LLMServer() as other:
        model = model_for(other)
        asyncio.run(ask(model, (MESSAGES,)))
        assert other.seen == []
    assert (model.usage.calls, model.usage.stored) == (0, 1)


def test_equal_calls_in_flight_are_sent_once(server):
    server.latency = 0.05
    model = model_for(server)
    answers = asyncio.run(ask(model, *[(MESSAGES,)] * 10))
    assert len(set(answers)) == 1
    assert len(server.seen) == 1
    assert model.usage.calls == 1


def test_never_more_calls_in_flight_than_allowed(server):
    server.latency = 0.05
    model = model_for(server, concurrency=3)
    asyncio.run(ask(model, *[(MESSAGES, None, draw) for draw in range(12)]))
    assert len(server.seen) == 12
    assert server.most_in_flight == 3


def test_one_model_serves_several_event_loops(server):
    model = model_for(server)
    for draw in range(3):
        asyncio.run(ask(model, (MESSAGES, None, draw)))
    assert len(server.seen) == 3


@pytest.mark.parametrize("fault", [429, 500, 503, "drop"])
def test_a_passing_fault_is_retried(fault):
    with LLMServer(fault=lambda number, body: fault if number == 0 else None) as server:
        (answer,) = asyncio.run(ask(model_for(server, retries=2), (MESSAGES,)))
        assert answer.text == reply(next(iter(server.bodies.values())))
        assert len(server.seen) == 2


def test_being_told_to_slow_down_costs_no_attempt():
    refused = []

    def fault(number, body):
        if body["messages"][0]["content"] == "unlucky" and len(refused) < 7:
            refused.append(number)
            return 429
        return None

    with LLMServer(fault=fault, latency=0.01) as server:
        others = [([{"role": "user", "content": str(n)}],) for n in range(60)]
        calls = [([{"role": "user", "content": "unlucky"}],), *others]
        answers = asyncio.run(ask(model_for(server, retries=3, concurrency=2), *calls))
        assert all(answer.text for answer in answers)
        assert len(server.seen) == 61 + 7


def test_requests_a_minute_are_kept():
    with LLMServer() as server:
        started = time.monotonic()
        calls = [([{"role": "user", "content": str(n)}],) for n in range(21)]  # ten may leave at once, a second's worth
        asyncio.run(ask(model_for(server, requests_per_minute=600), *calls))
        assert time.monotonic() - started >= 1.0


def test_a_quota_that_is_used_up_is_waited_for_without_being_told_how_long():
    """12 calls a window, and a refusal without Retry-After."""
    windows = Counter()

    def fault(number, body):
        window = time.monotonic() // 2
        windows[window] += 1
        return {"status": 429, "message": "Rate limit reached"} if windows[window] > 12 else None

    with LLMServer(fault=fault) as server:
        calls = [([{"role": "user", "content": str(n)}],) for n in range(30)]
        answers = asyncio.run(ask(model_for(server, retries=1), *calls))
        assert len(answers) == 30
    assert max(windows.values()) > 12  # it did refuse


def test_stages_share_a_minute(server):
    """Ten a second are not twenty because the second stage asks anew."""
    endpoint = Endpoint(base_url=server.url, requests_per_minute=600)
    started = time.monotonic()
    for stage in range(3):
        model = connect(Spec(model=f"scripted-{stage}"), endpoint)
        asyncio.run(ask(model, *[(MESSAGES, None, draw) for draw in range(10)]))
    assert time.monotonic() - started >= 1.9  # a second's worth at once, the rest at ten a second


@pytest.mark.parametrize(
    ("text", "reason", "requests"),
    [
        ('{"choices": []}', "not a chat completion", 3),
        ("<html>busy</html>", "an HTML page", 1),
        ('data: {"choices": []}', "an event stream", 1),
        ("12", "not a chat completion but a JSON number", 1),
    ],
)
def test_a_reply_that_is_no_completion_is_asked_for_again_where_that_can_help(text, reason, requests):
    with (
        LLMServer(fault=lambda number, body: {"body": text}) as server,
        pytest.raises(CallFailed, match=f"endpoint: {reason}"),
    ):
        asyncio.run(ask(model_for(server, retries=5), (MESSAGES, None, 1)))
    assert len(server.seen) == requests


REFUSES = {  # what servers say, and what they see once it is heeded
    "System role not supported": lambda body: body["messages"][0]["role"] == "user",
    "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.": (
        lambda body: "max_tokens" not in body and body["max_completion_tokens"] == 512
    ),
    "Unsupported value: 'temperature' does not support 0.7 with this model. Only the default (1) value is supported.": (
        lambda body: "temperature" not in body
    ),
    "This model does not support response_format `json_schema`": (
        lambda body: body.get("response_format", {}).get("type") != "json_schema"
    ),
}


@pytest.mark.parametrize("words", REFUSES)
def test_what_a_server_does_not_take_is_found_out_once(words):
    def fault(number, body):
        return None if REFUSES[words](body) else {"status": 400, "message": words}

    chat_with_system = [{"role": "system", "content": "You live here."}, *MESSAGES]
    with LLMServer(fault=fault) as server:
        endpoint = Endpoint(base_url=server.url, retries=0, concurrency=1)
        for stage in range(2):  # another model object of the same command knows it too
            calls = [(chat_with_system, SCHEMA, 10 * stage + draw) for draw in range(3)]
            assert len(asyncio.run(ask(connect(SPEC, endpoint), *calls))) == 3
        assert len(server.seen) == 6 + 1


def test_a_refusal_of_a_prompt_holds_for_every_draw_of_it():
    refusal = {"status": 400, "message": "The response was filtered due to Azure's content management policy"}
    with LLMServer(fault=lambda number, body: refusal) as server:
        for draw in range(4):
            (answer,) = asyncio.run(ask(model_for(server), (MESSAGES, None, draw)))
            assert answer.finish_reason == "content_filter"
        assert len(server.seen) == 1


def test_a_refusal_of_one_prompt_is_remembered_and_fails_no_other():
    def fault(number, body):
        if body["messages"][0]["content"] == "3":
            return {"status": 400, "message": "The response was filtered due to Azure's content management policy"}
        return None

    calls = [([{"role": "user", "content": str(n)}],) for n in range(5)]
    with LLMServer(fault=fault) as server:
        for _ in range(2):
            model = model_for(server)
            answers = asyncio.run(ask(model, *calls))
            assert [answer.finish_reason for answer in answers] == ["stop"] * 3 + ["content_filter", "stop"]
        assert len(server.seen) == 5
    assert (model.usage.failed, model.usage.stored) == (0, 5)


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (500, "endpoint: status 500"),
        (429, "endpoint: status 429"),
        (400, "endpoint: status 400"),
        ("hang", "endpoint: timeout"),
    ],
)
def test_a_lasting_fault_is_the_rows_reason(fault, reason):
    with LLMServer(fault=lambda number, body: fault, hang=1.0) as server, pytest.raises(CallFailed, match=reason):
        asyncio.run(ask(model_for(server, timeout=0.3), (MESSAGES,)))


def test_nobody_at_the_address_is_a_failed_call():
    with LLMServer() as server:
        gone = server.url
    with pytest.raises(CallFailed, match="endpoint: no connection"):
        asyncio.run(ask(connect(SPEC, Endpoint(base_url=gone, retries=0)), (MESSAGES,)))


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_refusal_ends_the_run_and_keeps_the_key_secret(status, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret")
    with LLMServer(fault=lambda number, body: status) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        with pytest.raises(EndpointError) as error:
            asyncio.run(ask(model_for(server), (MESSAGES,)))
        assert server.keys == {"Bearer sk-very-secret"}
    assert f"status {status}" in str(error.value)
    assert "scripted refusal" in str(error.value)
    assert "sk-very-secret" not in str(error.value)


def test_a_missing_key_is_told_before_anything_is_sent():
    with pytest.raises(EndpointError, match="OPENAI_API_KEY is not set, and scripted needs it"):
        connect(SPEC)


def test_the_environments_address_is_used(server, monkeypatch):
    monkeypatch.setenv("OPENAI_BASE_URL", server.url)
    asyncio.run(ask(connect(SPEC), (MESSAGES,)))
    assert len(server.seen) == 1
    assert server.keys == {"Bearer none"}


def test_the_key_is_neither_in_the_store_nor_in_a_pickle(server, monkeypatch, tmp_path):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret")
    model = connect(SPEC, Endpoint(base_url=server.url), tmp_path / "s.sqlite")
    asyncio.run(ask(model, (MESSAGES,)))
    model.store.close()
    assert b"sk-very-secret" not in b"".join(file.read_bytes() for file in tmp_path.glob("s.sqlite*"))
    assert b"sk-very-secret" not in pickle.dumps(SPEC)


@pytest.mark.parametrize("mode", ["json_schema", "json_object", "prompt"])
def test_a_schema_is_sent_as_the_endpoint_takes_it(server, mode):
    asyncio.run(ask(model_for(server, Spec(model="scripted", json_mode=mode)), (MESSAGES, SCHEMA)))
    sent = next(iter(server.bodies.values()))
    form = sent.get("response_format")
    if mode == "json_schema":
        assert form == {"type": "json_schema", "json_schema": {"name": "answer", "schema": SCHEMA, "strict": True}}
        assert sent["messages"] == MESSAGES
    else:
        assert form == ({"type": "json_object", "schema": SCHEMA} if mode == "json_object" else None)
        assert '"greeting"' in sent["messages"][-1]["content"]


def test_openai_itself_is_told_neither_a_schema_beside_json_object_nor_max_tokens():
    spec = Spec(model="m", json_mode="json_object")
    body = remote.body(spec, Chat(MESSAGES, SCHEMA), remote.start_dialect(openai=True))
    assert body["response_format"] == {"type": "json_object"}
    assert "JSON" in body["messages"][-1]["content"]  # OpenAI asks for the word
    assert body["max_completion_tokens"] == 512
    assert "max_tokens" not in body


@pytest.mark.parametrize(
    ("provider", "environment", "strict"),
    [
        ("openai", {"OPENAI_API_KEY": "k"}, True),
        ("openai", {"OPENAI_API_KEY": "k", "OPENAI_BASE_URL": "https://eu.api.openai.com/v1"}, True),
        ("openai", {"OPENAI_BASE_URL": "http://localhost:8000/v1"}, False),
        ("openai", {"OPENAI_BASE_URL": "http://openai.com.example/v1"}, False),
        ("azure", {"AZURE_OPENAI_API_KEY": "k", "AZURE_OPENAI_ENDPOINT": "https://mine.openai.azure.com"}, True),
    ],
)
def test_who_is_openai(provider, environment, strict, monkeypatch):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert Access(Spec(model="m", provider=provider), "").openai is strict


@pytest.mark.parametrize(
    ("version", "path"),
    [
        ("2024-10-21", "/openai/deployments/mine/chat/completions?api-version=2024-10-21"),
        ("", "/openai/v1/chat/completions"),
    ],
)
def test_azure_is_reached_at_its_deployment_or_its_v1_interface(server, version, path, monkeypatch):
    monkeypatch.setenv("AZURE_OPENAI_ENDPOINT", server.url.removesuffix("/v1"))
    monkeypatch.setenv("AZURE_OPENAI_API_KEY", "azure-secret")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-other-secret")
    if version:
        monkeypatch.setenv("OPENAI_API_VERSION", version)
    asyncio.run(ask(connect(Spec(model="mine", provider="azure")), (MESSAGES,)))
    assert server.paths == [path]
    assert server.keys == ({"Bearer azure-secret"} if not version else {"azure-secret"})


def test_azure_needs_its_own_variables(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-other-secret")
    with pytest.raises(EndpointError, match="AZURE_OPENAI_API_KEY is not set"):
        connect(Spec(model="mine", provider="azure"))
    monkeypatch.setenv("AZURE_OPENAI_API_KEY", "azure-secret")
    with pytest.raises(EndpointError, match="AZURE_OPENAI_ENDPOINT is not set"):
        connect(Spec(model="mine", provider="azure"))


def test_sampling_can_be_left_to_the_endpoint(server):
    asyncio.run(ask(model_for(server, Spec(model="scripted", temperature=-1, top_p=-1)), (MESSAGES,)))
    assert set(next(iter(server.bodies.values()))) == {"model", "messages", "max_tokens"}


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"concurrency": 0}, "concurrency"),
        ({"timeout": 0}, "timeout"),
        ({"max_cost": -1}, "max_cost"),
        ({"base_url": "localhost:8000"}, "is no address"),
    ],
)
def test_an_endpoint_that_cannot_be_is_told(settings, match):
    with pytest.raises(InputError, match=match):
        Endpoint(**settings)
