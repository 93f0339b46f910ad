"""An endpoint's settings, and those of a role that is served elsewhere."""

import subprocess
import sys

import numpy as np
import pytest
from llm_server import LLMServer, embedding

import caredio
from caredio.errors import BudgetError, EndpointError, InputError
from caredio.llm import embeddings
from caredio.llm.embeddings import Embeddings
from caredio.llm.settings import Endpoint

TEXTS = [f"text {number}" for number in range(10)]


def test_settings_are_read_without_heavy_packages():
    heavy = "torch datasets pyarrow pandas numpy openai httpx httpx2 aiohttp transformers"
    script = f"import sys, caredio.llm.settings, caredio.llm.spec; print(*set({heavy.split()}) & set(sys.modules))"
    found = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert found.stdout.strip() == ""


def test_a_role_without_settings_of_its_own_shares_the_endpoint():
    endpoint = Endpoint(base_url="http://a/v1", requests_per_minute=5)
    assert endpoint.for_role("embedder") is endpoint
    assert endpoint.for_role("judge") is endpoint


def test_a_role_has_its_own_address_key_and_limits_and_what_may_be_spent_is_shared():
    endpoint = Endpoint(
        base_url="http://a/v1",
        api_key_variable="A_KEY",
        requests_per_minute=5,
        max_cost=1.0,
        embedder_base_url="http://b/v1",
        embedder_tokens_per_minute=7,
    )
    own = endpoint.for_role("embedder")
    assert (own.base_url, own.api_key_variable) == ("http://b/v1", None)
    assert (own.requests_per_minute, own.tokens_per_minute) == (None, 7)
    assert own.limits.rate is not endpoint.limits.rate
    assert own.budget is endpoint.budget
    assert endpoint.for_role("embedder") is own
    assert own.for_role("embedder") is own


def test_a_role_with_a_key_alone_keeps_the_address():
    own = Endpoint(base_url="http://a/v1", embedder_api_key_variable="B_KEY").for_role("embedder")
    assert (own.base_url, own.api_key_variable) == ("http://a/v1", "B_KEY")


@pytest.mark.parametrize("wrong", [{"embedder_base_url": "localhost"}, {"embedder_tokens_per_minute": -1}])
def test_a_role_s_setting_that_cannot_be_is_one_sentence(wrong):
    with pytest.raises(InputError, match=next(iter(wrong))):
        Endpoint(**wrong)


def test_each_role_s_server_sees_its_own_requests_and_key(server, monkeypatch):
    monkeypatch.setenv("WRITER_KEY", "sk-writer")
    monkeypatch.setenv("EMBEDDER_KEY", "sk-embedder")
    with LLMServer() as other:
        addresses = {"base_url": server.url, "embedder_base_url": other.url}
        keys = {"api_key_variable": "WRITER_KEY", "embedder_api_key_variable": "EMBEDDER_KEY"}
        sizes = {"per_topic": 1, "neighbours": 1, "compared": 1, "personas": 0, "checks": "none", "theta": 0.9}
        caredio.build(
            ["china", "japan"], ["food"], out="run", model="m", embedder="openai:e", **addresses, **keys, **sizes
        )
        assert {path.rpartition("/")[2] for path in server.paths} == {"completions"}
        assert {path.rpartition("/")[2] for path in other.paths} == {"embeddings"}
        assert (server.keys, other.keys) == ({"Bearer sk-writer"}, {"Bearer sk-embedder"})


@pytest.fixture(autouse=True)
def _in_a_folder(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)


def test_a_budget_holds_for_all_roles(monkeypatch):
    monkeypatch.setattr(embeddings, "TEXTS", 1)
    with LLMServer() as server:
        endpoint = Endpoint(embedder_base_url=server.url, max_total_tokens=20)
        with pytest.raises(BudgetError, match="could go beyond max_total_tokens 20"):
            Embeddings("m", endpoint)(TEXTS)
        assert sum(used.prompt_tokens for used in endpoint.budget.spent.values()) <= 20


def test_a_failure_names_the_role_s_settings():
    with (
        LLMServer(fault=lambda number, body: 404) as server,
        pytest.raises(EndpointError, match="Check embedder_base_url: nothing answers"),
    ):
        Embeddings("m", Endpoint(embedder_base_url=server.url))(TEXTS)
    with pytest.raises(EndpointError, match=r"check embedder and embedder_base_url, and run the same command again"):
        Embeddings("m", Endpoint(embedder_base_url=server.url, retries=0))(TEXTS)
    with pytest.raises(EndpointError, match=r"NO_KEY is not set.*endpoint of your own with embedder_base_url"):
        Embeddings("m", Endpoint(embedder_api_key_variable="NO_KEY"))


def test_vectors_of_a_role_s_server_are_read():
    with LLMServer() as server:
        found = Embeddings("m", Endpoint(embedder_base_url=server.url))(TEXTS)
    np.testing.assert_array_equal(found, np.array([embedding(text) for text in TEXTS], np.float32))


def test_a_role_on_the_same_host_keeps_to_its_limits():
    host = {"base_url": "http://h/v1", "requests_per_minute": 6}
    endpoint = Endpoint(**host, tokens_per_minute=100, embedder_api_key_variable="K")
    assert endpoint.for_role("embedder").limits is endpoint.limits
    fewer = Endpoint(**host, embedder_tokens_per_minute=50).for_role("embedder")
    assert (fewer.requests_per_minute, fewer.tokens_per_minute) == (6, 50)
    elsewhere = Endpoint(**host, embedder_base_url="http://e/v1").for_role("embedder")
    assert elsewhere.requests_per_minute is None


def test_what_older_files_say_for_none_is_none():
    addresses = dict.fromkeys(("base_url", "api_key_variable", "embedder_base_url", "embedder_api_key_variable"), "")
    rates = ("requests_per_minute", "tokens_per_minute")
    limits = dict.fromkeys((*rates, *(f"embedder_{rate}" for rate in rates), "max_cost", "max_total_tokens"), 0)
    older = Endpoint(**addresses, **limits)
    assert older == Endpoint()
    assert older.for_role("embedder") is older
    assert all(getattr(older, name) is None for name in {**addresses, **limits})


@pytest.mark.parametrize("name", ["max_cost", "max_total_tokens", "requests_per_minute"])
def test_a_limit_below_none_is_one_sentence(name):
    with pytest.raises(InputError, match=rf"^{name} is -2(\.0)?; use a limit above 0, or leave it out for none\.$"):
        Endpoint(**{name: -2})


@pytest.mark.parametrize("name", ["api_key_variable", "embedder_api_key_variable"])
def test_a_key_is_no_name_of_a_variable(name):
    with pytest.raises(InputError, match=f"{name} takes the name of an environment variable, not the key itself"):
        Endpoint(**{name: "sk-proj-1234"})
