"""Whatever an endpoint does, a stage ends with rows and reasons, or in one sentence."""

import json

import pytest
from datasets import Dataset, Features, Value
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from llm_server import LLMServer

import caredio
from caredio.errors import CaredioError
from caredio.llm import limits
from caredio.llm.cache import Store
from caredio.llm.model import connect
from caredio.llm.rows import ask
from caredio.llm.settings import Endpoint
from caredio.llm.spec import Spec

SCHEMA = {
    "type": "object",
    "properties": {"answer": {"type": "string"}},
    "required": ["answer"],
    "additionalProperties": False,
}
ROWS = 8
text = st.text(max_size=40)
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=8,
)
replies = st.fixed_dictionaries(
    {},
    optional={
        "choices": st.lists(
            st.fixed_dictionaries(
                {},
                optional={
                    "message": st.fixed_dictionaries({}, optional={"content": anything, "refusal": anything})
                    | anything,
                    "finish_reason": st.sampled_from(["stop", "length", "content_filter", "eos", None]) | anything,
                },
            )
            | anything,
            max_size=2,
        )
        | anything,
        "usage": st.dictionaries(st.sampled_from(["prompt_tokens", "completion_tokens"]), anything) | anything,
        "error": st.dictionaries(st.sampled_from(["message", "code", "type"]), anything) | anything,
        "model": anything,
    },
)
faults = st.one_of(
    st.none(),
    st.none(),
    st.sampled_from([400, 401, 402, 403, 404, 408, 409, 413, 418, 422, 429, 500, 502, 503, 529]),
    st.just("drop"),
    text,  # what the model says
    st.builds(lambda status, message: {"status": status, "message": message}, st.sampled_from([400, 403, 500]), text),
    st.builds(lambda body: {"body": body}, text),
    st.builds(lambda reply: {"body": json.dumps(reply)}, replies | anything),
)


@pytest.fixture(autouse=True)
def _at_once(monkeypatch):
    monkeypatch.setattr(limits, "_FIRST_PAUSE", 0.001)
    monkeypatch.setattr(limits, "_LONGEST_PAUSE", 0.004)
    monkeypatch.setattr(limits, "_QUOTA", 0.02)


def in_one_sentence(error):
    assert str(error).strip()
    assert "\n" not in str(error)
    assert "Traceback" not in str(error)


def check_a_stage(plan, structured, tmp_path_factory):
    def fault(number, body):
        return plan[number % len(plan)]

    store = tmp_path_factory.mktemp("store") / "s.sqlite"
    with LLMServer(fault=fault) as server:
        model = connect(Spec(model="m"), Endpoint(base_url=server.url, timeout=1.0, retries=1), store)
        try:
            asked = ask(
                Dataset.from_dict({"question": [f"Question {row}?" for row in range(ROWS)]}),
                model,
                prompt=lambda row: [{"role": "user", "content": row["question"]}],
                parse=lambda content, row, answer: {"response": content["answer"] if structured else content},
                columns=Features({"response": Value("string")}),
                schema=SCHEMA if structured else None,
                desc="asked",
                max_failed=0.3,
            )
        except CaredioError as error:
            in_one_sentence(error)
        else:
            for row in asked:
                assert (row["response"] is None) == (row["drop_reason"] is not None)
                assert not row["response"] or row["response"].encode()
        assert not any(vars(usage)["calls"] for usage in model.backend.endpoint.budget._held.values())
    Store(store).close()


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(plan=st.lists(faults, min_size=1, max_size=12), structured=st.booleans())
def test_a_stage_ends_in_rows_or_a_sentence(plan, structured, tmp_path_factory):
    check_a_stage(plan, structured, tmp_path_factory)


@pytest.mark.slow
@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@given(plan=st.lists(faults, min_size=1, max_size=12), structured=st.booleans())
def test_four_hundred_stages_end_in_rows_or_a_sentence(plan, structured, tmp_path_factory):
    check_a_stage(plan, structured, tmp_path_factory)


def check_a_synthesis(plan, tmp_path_factory):
    out = tmp_path_factory.mktemp("out")
    with LLMServer(fault=lambda number, body: plan[number % len(plan)]) as server:
        wanted = {"per_topic": 2, "neighbours": 1, "compared": 1, "model": "m", "retries": 1, "timeout": 1.0}
        reached = {"store": out / "s", "base_url": server.url}
        try:
            made = caredio.synthesize(["china"], ["food"], out=out / "run", **reached, **wanted)
        except CaredioError as error:
            in_one_sentence(error)
        else:
            assert len(made.candidates)


@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(plan=st.lists(faults | st.none(), min_size=1, max_size=30))
def test_a_synthesis_ends_in_candidates_or_a_sentence(plan, tmp_path_factory):
    check_a_synthesis(plan, tmp_path_factory)


@pytest.mark.slow
@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(plan=st.lists(faults | st.none(), min_size=1, max_size=30))
def test_a_hundred_syntheses_end_in_candidates_or_a_sentence(plan, tmp_path_factory):
    check_a_synthesis(plan, tmp_path_factory)
