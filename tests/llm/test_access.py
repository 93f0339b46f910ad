"""Addresses, keys, refusals, and what keeps a request from its endpoint."""

import asyncio
import json
import socket
import ssl
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx2
import openai
import pytest
from llm_server import LLMServer

from caredio.errors import CaredioError, EndpointError, InputError
from caredio.llm.access import Access, check_address, refusal
from caredio.llm.limits import CallFailed
from caredio.llm.settings import Endpoint
from caredio.llm.spec import Spec

SPEC = Spec(model="m")
AZURE = Spec(model="mine", provider="azure")


def send(access):
    """The error of a request to where `access` leads."""

    async def sent():
        client = access.open(1)
        try:
            await client.post("/chat/completions", cast_to=httpx2.Response, body={})
        except Exception as error:
            return error
        finally:
            await client.close()

    return asyncio.run(sent())


def failed(access):
    with pytest.raises((CallFailed, EndpointError)) as error:
        raise access.failure(send(access))
    return error.value


# addresses


@pytest.mark.parametrize(
    "address",
    [
        "http://[::1/v1",
        "localhost:8000/v1",
        "api.example.com/v1",
        "//host/v1",
        "http:/host/v1",
        "http://",
        "http:///v1",
        "https://https://host/v1",
        "http://my host/v1",
        "http://host/v 1",
        "http://host\n.example/v1",
        "http://host:99999/v1",
        "http://host:0/v1",
        "http://host:/v1",
        "http://host:port/v1",
        "ftp://host/v1",
        "file:///v1",
        "http://me:hunter2@host/v1",
        "http://hunter2@host/v1",
        "http://host/v1?api-version=1",
        "http://host/v1#x",
        "http://.host/v1",
        "http://a..b/v1",
        "http://" + "a" * 64 + ".example/v1",
        "<http://host/v1>",
        "http://host\\v1",
        "http://256.1.1.1/v1",
        "http://☃.invalid/v1",
        "http://１２７.0.0.1:1/v1",
        "http://1.2.3.4.5/v1",
        "http://0300.1/v1",
        "http://0x7f.1/v1",
        "http://127.0.0.01/v1",
        "http://2130706433/v1",
        "http://1.2.3./v1",
        "http://[1::2::3]/v1",
    ],
)
def test_what_is_no_address_is_told_at_once(address, monkeypatch):
    for called in (lambda: check_address(address), lambda: Endpoint(base_url=address), lambda: Access(SPEC, address)):
        with pytest.raises(InputError, match=r"base_url .* is no address") as error:
            called()
        assert "hunter2" not in str(error.value)
        assert "\n" not in str(error.value)
    monkeypatch.setenv("OPENAI_BASE_URL", address)
    with pytest.raises(InputError, match=r"\$OPENAI_BASE_URL .* is no address"):
        Access(SPEC, "")


@pytest.mark.parametrize(
    ("given", "address"),
    [
        ("", ""),
        ("  http://host:8000/v1/ \n", "http://host:8000/v1"),
        ("http://[::1]:8000/v1", "http://[::1]:8000/v1"),
        ("https://host/v1/chat/completions", "https://host/v1"),
        ("https://host/v1/chat/completions/", "https://host/v1"),
        ("http://under_score/v1", "http://under_score/v1"),
        ("http://127.0.0.1:8000/v1", "http://127.0.0.1:8000/v1"),
        ("http://127.0.0.1./v1", "http://127.0.0.1./v1"),
        ("http://10.example/v1", "http://10.example/v1"),
        ("http://gpu-7:8000/v1", "http://gpu-7:8000/v1"),
        ("https://münchen.example/v1", "https://münchen.example/v1"),
        ("HTTP://HOST/v1", "HTTP://HOST/v1"),
        ("http://host/proxy/a:b/v1", "http://host/proxy/a:b/v1"),
    ],
)
def test_an_address_is_taken_without_what_surrounds_it(given, address):
    assert check_address(given) == address


# keys


@pytest.mark.parametrize("key", ["sk-1\n", "sk-1\r\n", "\t sk-1 ", '"sk-1"', "'sk-1'\n", '"sk-1\n"'])
def test_what_files_leave_around_a_key_is_stripped(key, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", key)
    with LLMServer(fault=lambda number, body: 401) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        send(Access(SPEC, ""))
        assert server.keys == {"Bearer sk-1"}


@pytest.mark.parametrize("key", ["sk-1\nsk-2", "sk 1", "sk-\x7f", "sk-ключ", "sk-1\u200b"])
def test_a_key_that_no_header_holds_is_told_without_it(key, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", key)
    with pytest.raises(EndpointError, match=r"OPENAI_API_KEY holds .*; copy the key anew") as error:
        Access(SPEC, "")
    assert key not in str(error.value)
    assert ("ASCII" in str(error.value)) != key.isascii()


@pytest.mark.parametrize("key", ["", " \n", '""'])
def test_a_key_of_white_space_is_none(key, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", key)
    with pytest.raises(EndpointError, match="OPENAI_API_KEY is not set"):
        Access(SPEC, "")


def keys_sent(access, server):
    send(access)
    return server.keys


def test_openais_key_goes_to_no_other_address(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-openai")
    monkeypatch.setenv("OPENAI_ORG_ID", "org-mine")
    monkeypatch.setenv("HOST_KEY", "sk-host")
    with LLMServer(fault=lambda number, body: 401) as server:
        assert keys_sent(Access(SPEC, server.url), server) == {"Bearer none"}
        error = failed(Access(SPEC, server.url))
        assert "OPENAI_API_KEY was not sent" in str(error)
        assert "api_key_variable" in str(error)
        server.keys.clear()
        assert keys_sent(Access(SPEC, server.url, "HOST_KEY"), server) == {"Bearer sk-host"}
        assert "Check HOST_KEY" in str(failed(Access(SPEC, server.url, "HOST_KEY")))
        server.keys.clear()
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        assert keys_sent(Access(SPEC, server.url + "/"), server) == {"Bearer sk-openai"}
    with pytest.raises(EndpointError, match="NO_SUCH is not set"):
        Access(SPEC, "http://host/v1", "NO_SUCH")


def test_a_key_in_place_of_its_variable_is_not_repeated():
    with pytest.raises(InputError, match="the name of an environment variable") as error:
        Access(SPEC, "http://host/v1", "sk-secret-1")
    assert "sk-secret-1" not in str(error.value)


@pytest.mark.parametrize(
    ("address", "sent"),
    [
        ("https://api.openai.com/v1", True),
        ("https://eu.api.openai.com/v1", True),
        ("https://openai.com.example/v1", False),
        ("https://myopenai.com/v1", False),
        ("http://localhost:8000/v1", False),
    ],
)
def test_where_openais_key_belongs(address, sent, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-openai")
    assert (Access(SPEC, address).open(1).api_key == "sk-openai") == sent


def test_no_organisation_is_told_to_others(monkeypatch):
    monkeypatch.setenv("OPENAI_ORG_ID", "org-mine")
    monkeypatch.setenv("OPENAI_PROJECT_ID", "proj-mine")
    client = Access(SPEC, "http://host/v1").open(1)
    assert not {"org-mine", "proj-mine"} & {str(value) for value in client.default_headers.values()}


def test_azures_key_goes_to_azure_alone(monkeypatch):
    monkeypatch.setenv("AZURE_OPENAI_API_KEY", "azure")
    assert Access(AZURE, "https://mine.openai.azure.com").open(1).api_key == "azure"
    with pytest.raises(EndpointError, match=r"AZURE_OPENAI_API_KEY is not sent to host\.example"):
        Access(AZURE, "https://host.example")
    assert Access(AZURE, "https://host.example", "AZURE_OPENAI_API_KEY").open(1).api_key == "azure"


# refusals, as hosts have them: of one prompt, of all, for now


def outcome(status, body, headers=None):
    response = httpx2.Response(
        status, json=body, headers=headers or {}, request=httpx2.Request("POST", "http://host/v1/chat/completions")
    )
    made = openai.AsyncOpenAI(api_key="k", base_url="http://host/v1")._make_status_error_from_response(response)
    return Access(SPEC, "http://host/v1").describe(made)


AZURE_FILTER = {
    "error": {
        "message": "The response was filtered due to the prompt triggering Azure OpenAI's content management policy.",
        "param": "prompt",
        "code": "content_filter",
        "status": 400,
        "innererror": {"code": "ResponsibleAIPolicyViolation", "content_filter_result": {"hate": {"filtered": True}}},
    }
}
FILTERED = [
    (400, AZURE_FILTER),
    (400, {"error": {"code": "400", "message": "x", "provider_specific_fields": AZURE_FILTER["error"]}}),  # LiteLLM
    (400, {"error": {"code": "content_policy_violation", "message": "Your request was rejected."}}),
    (400, {"error": {"code": "invalid_prompt", "message": "Invalid prompt: flagged as violating our usage policy."}}),
    (400, {"error": {"message": "Content Exists Risk", "type": "invalid_request_error"}}),  # DeepSeek
    (400, {"detail": "Content Exists Risk"}),
    (400, {"error": {"type": "content_filter", "message": "The request was rejected as high risk", "code": 400}}),
    (400, {"error": {"code": "data_inspection_failed", "message": "Input data may contain inappropriate content."}}),
    (403, {"error": {"code": 403, "message": "Your input was flagged", "metadata": {"reasons": ["hate"]}}}),
    (403, {"code": "x", "error": "Content violates usage guidelines."}),  # xAI
    (400, {"error": {"code": 400, "message": "Request blocked: PROHIBITED_CONTENT", "status": "INVALID_ARGUMENT"}}),
    (400, {"error": {"code": "1301", "message": "系统检测到输入或生成内容可能包含不安全或敏感内容"}}),  # Zhipu
]
TOO_LONG = [
    (400, {"error": {"code": "context_length_exceeded", "message": "x"}}),
    (
        400,
        {"message": "This model's maximum context length is 4096 tokens. However, you requested 5000 tokens"},
    ),  # vLLM
    (
        400,
        {"error": {"type": "exceed_context_size_error", "message": "the request exceeds the available context size"}},
    ),
    (500, {"error": {"message": "the request exceeds the available context size, try increasing it"}}),  # llama.cpp
    (422, {"error": "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096. Given: 5000"}),  # TGI
    (
        400,
        {"message": "Prompt contains 40000 tokens, too large for model with 32768 maximum context length"},
    ),  # Mistral
    (400, {"error": {"message": "prompt is too long: 210000 tokens > 200000 maximum"}}),
    (
        400,
        {"error": {"message": "The input token count (40000) exceeds the maximum number of tokens allowed (32768)."}},
    ),
    (413, "Payload Too Large"),
    (429, {"error": {"message": "Request too large for m on tokens per min (TPM): Limit 10000, Requested 11000."}}),
]


@pytest.mark.parametrize(("status", "body"), FILTERED)
def test_a_prompt_that_a_filter_refuses_is_refused_for_good(status, body):
    found = outcome(status, body)
    assert (found.final, found.retryable, found.hopeless, found.status) == ("content_filter", False, False, status)


@pytest.mark.parametrize(("status", "body"), TOO_LONG)
def test_a_prompt_that_is_too_long_is_refused_for_good(status, body):
    found = outcome(status, body)
    assert (found.final, found.retryable, found.hopeless) == ("prompt_too_long", False, False)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (401, {"error": {"message": "Incorrect API key provided"}}),
        (403, {"error": {"message": "Your account was flagged for usage policy violations"}}),
        (403, {"error": {"message": "Key limit exceeded"}}),
        (402, {"error": {"message": "Insufficient credits", "code": 402}}),
        (429, {"error": {"code": "insufficient_quota", "message": "You exceeded your current quota"}}),
        (404, {"error": {"code": "model_not_found", "message": "The model `m` does not exist"}}),
        (400, {"error": {"code": "model_not_found", "message": "no such model"}}),
        (405, {"detail": "Method Not Allowed"}),
        (400, {"error": {"message": "max_tokens is too large: 100000. This model supports at most 4096 tokens"}}),
    ],
)
def test_a_refusal_of_all_calls_is_hopeless(status, body):
    found = outcome(status, body)
    assert (found.final, found.retryable, found.hopeless) == ("", False, True)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (429, {"error": {"code": 429, "status": "RESOURCE_EXHAUSTED", "message": "You exceeded your current quota"}}),
        (500, {"error": {"message": "Internal Server Error"}}),
        (503, "upstream connect error"),
        (529, {"error": {"type": "overloaded_error", "message": "Overloaded"}}),
        (408, {}),
        (400, {"error": {"code": "json_validate_failed", "message": "Failed to generate JSON."}}),  # Groq: drawn anew
    ],
)
def test_what_can_pass_is_neither_final_nor_hopeless(status, body):
    found = outcome(status, body)
    assert (found.final, found.retryable, found.hopeless) == ("", True, False)


def test_a_refused_request_is_one_rows_failure():
    found = outcome(400, {"error": {"message": "messages: at least one message is required"}})
    assert (found.final, found.retryable, found.hopeless) == ("", False, False)
    assert found.description == "endpoint: status 400, which says: messages: at least one message is required"


def test_payment_required_for_a_while_is_waited_out():
    found = outcome(402, {"error": {"message": "in-flight budget", "code": 402}}, {"Retry-After": "3"})
    assert (found.retryable, found.wait, found.hopeless) == (True, 3.0, False)


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("<html><head><title>404 Not Found</title></head></html>", "says: an HTML page titled '404 Not Found'. Check"),
        ({"detail": "Not Found"}, "says: Not Found. Check base_url: nothing answers at"),
        ("404 page not found", "most addresses end in /v1"),
        ({"error": {"message": "Invalid URL (POST /v1/v1/chat/completions)"}}, "most addresses end in /v1"),
        ({"error": {"message": "model 'm' not found, try pulling it first"}}, "Check OPENAI_API_KEY, model and"),
    ],
)
def test_an_unknown_path_and_an_unknown_model_are_told_apart(body, told):
    with LLMServer(fault=lambda number, _: {"status": 404, "body": body}) as server:
        error = failed(Access(SPEC, server.url))
    assert isinstance(error, EndpointError)
    assert told in str(error)


def test_a_page_instead_of_words_is_named():
    page = "<!DOCTYPE html>\n<html><head><title>502 Bad\nGateway</title></head><body>x</body></html>"
    with LLMServer(fault=lambda number, _: {"status": 502, "body": page}) as server:
        error = failed(Access(SPEC, server.url))
    assert error.description == "endpoint: status 502, which says: an HTML page titled '502 Bad Gateway'"


def test_the_key_is_taken_out_of_whatever_is_said(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    access = Access(SPEC, "")
    inside = access.failure(
        CallFailed("an error instead of an answer", server_message="no money for sk-secret\x00\ud800")
    )
    assert inside.server_message == "no money for [key] ?"
    with pytest.raises(EndpointError) as error:
        access.failure(refusal(402, {"error": {"message": "no money for sk-secret"}}))
    assert "sk-secret" not in str(error.value)


# connections


@contextmanager
def listening(wrap=None):
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *args):
            pass

    class Quiet(ThreadingHTTPServer):
        def handle_error(self, *args):
            pass

    server = Quiet(("127.0.0.1", 0), Handler)
    if wrap:
        server.socket = wrap(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_a_certificate_that_is_not_trusted_ends_the_run():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(Path(__file__).with_name("untrusted.pem"))
    with listening(context.wrap_socket) as place:
        error = failed(Access(SPEC, f"https://{place}/v1"))
    assert isinstance(error, EndpointError)
    assert "its certificate is not trusted: self-signed certificate" in str(error)


def test_tls_to_a_plain_port_ends_the_run():
    with listening() as place:
        error = failed(Access(SPEC, f"https://{place}/v1"))
    assert isinstance(error, EndpointError)
    assert "http:// may be meant" in str(error)


def test_nobody_at_the_port_may_pass_soon():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    error = failed(Access(SPEC, f"http://127.0.0.1:{port}/v1"))
    assert error.description == "endpoint: no connection (connection refused)"
    assert (error.retryable, error.few) == (True, True)


def test_a_name_that_is_not_found_may_pass_soon():
    error = failed(Access(SPEC, "http://no-such-host.invalid/v1"))
    assert error.description == "endpoint: no connection (host name not found)"
    assert (error.retryable, error.few) == (True, True)


def test_a_proxy_that_does_not_answer_is_named(monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "")
    assert "proxy" in failed(Access(SPEC, "http://no-such-host.invalid/v1")).description


def test_a_connection_that_is_closed_may_pass():
    with LLMServer(fault=lambda number, body: "drop") as server:
        error = failed(Access(SPEC, server.url))
    assert str(error) == "endpoint: no connection"
    assert (error.retryable, error.few) == (True, False)


@pytest.mark.parametrize("error", [TimeoutError(), ValueError("x"), json.JSONDecodeError("x", "y", 0), OSError("x")])
def test_other_errors_are_failed_calls(error):
    access = Access(SPEC, "http://host/v1")
    try:
        assert access.failure(error).retryable
    except CaredioError:
        pytest.fail("no call of many would fail for it")
