"""What becomes of replies as hosts send them: an answer is finished text for people."""

import json
from contextlib import suppress

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from caredio.errors import EndpointError
from caredio.llm import marks, remote
from caredio.llm.cache import Answer, Store
from caredio.llm.limits import CallFailed
from caredio.llm.spec import Spec

SPEC = Spec(model="m")


def completion(content, finish="stop", **message):
    message = {"role": "assistant", "content": content, **message}
    return {
        "object": "chat.completion",
        "model": "m-1",
        "choices": [{"index": 0, "finish_reason": finish, "message": message}],
        "usage": {"prompt_tokens": 9, "completion_tokens": 7},
    }


def read(*args, **message):
    answer = remote.read(completion(*args, **message), SPEC)
    return answer.text, answer.finish_reason


def failure(reply):
    with pytest.raises(CallFailed) as error:
        remote.read(reply, SPEC)
    return error.value


def test_plain_text_is_kept_letter_for_letter():
    text = "  We eat <b>rice</b> at [home] & think <3 of it.\n\n"
    assert remote.read(completion(text), SPEC) == Answer(text, "stop", "m-1", 9, 7)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("<think>Who am I?</think>\n\nWe eat rice.", "We eat rice."),
        ("<think>\n\n</think>\n\nWe eat rice.", "We eat rice."),
        ("Okay, who am I?\n</think>\nWe eat rice.", "We eat rice."),
        ("<THINKING>a</THINKING>We eat rice.", "We eat rice."),
        ('<thinking mode="deep">a</thinking>We eat rice.', "We eat rice."),
        ("<think><think>a</think>We eat rice.", "We eat rice."),
        ("<think>a<think>b</think>c</think>We eat rice.", "We eat rice."),
        ("We eat <think>what?</think>rice.<think>Good.</think>", "We eat rice."),
        ("Hm. <think>a</think>b</think>We eat rice.", "We eat rice."),
        ("<thought>a</thought>We eat rice.", "We eat rice."),
        ("<reasoning>a</reasoning>\nWe eat rice.", "We eat rice."),
        ("<seed:think>a</seed:think>We eat rice.", "We eat rice."),
        ("[THINK]a[/THINK]We eat rice.", "We eat rice."),
        ("◁think▷a◁/think▷We eat rice.", "We eat rice."),
        ("<|START_THINKING|>a<|END_THINKING|><|START_RESPONSE|>We eat rice.<|END_RESPONSE|>", "We eat rice."),
        ("<|begin_of_thought|>a<|end_of_thought|><|begin_of_solution|>We eat rice.<|end_of_solution|>", "We eat rice."),
        ("<|channel>thought\na<channel|>We eat rice.", "We eat rice."),
        ("<think>a</think><answer>We eat rice.</answer>", "We eat rice."),
        (
            "<|channel|>analysis<|message|>User asks.<|end|><|start|>assistant<|channel|>final<|message|>We eat rice."
            "<|return|>",
            "We eat rice.",
        ),
        ("<|channel|>analysis<|message|>a<|start|>assistant<|channel|>final<|message|>We eat rice.", "We eat rice."),
        ("analysisThe user asks.assistantfinalWe eat rice.", "We eat rice."),
        ("Here is my thought process: a\nHere is my response: We eat rice.", "We eat rice."),
        ("We eat rice.<|im_end|>", "We eat rice."),
        ("We eat rice.</s>\n", "We eat rice."),
        ('{"response": "<think>a</think>We eat."}', '{"response": "We eat."}'),
        ("<reflection>a</reflection>\nWe eat rice.", "We eat rice."),
        ("<thinking>a<reflection>b</reflection></thinking><output>We eat rice.</output>", "We eat rice."),
        ("<scratchpad>\na\n</scratchpad>\n\n<answer>We eat rice.</answer>", "We eat rice."),
        ('<analysis lang="en">a</analysis>We eat rice.', "We eat rice."),
        ("We eat <analysis>what?</analysis>rice.", "We eat rice."),
        ("<internal_thinking>a</internal_thinking>We eat rice.", "We eat rice."),
        ("<inner_monologue>a</inner_monologue>We eat rice.", "We eat rice."),
        ("<antThinking>a</antThinking>We eat rice.", "We eat rice."),
        ("<longcat_think>a</longcat_think>We eat rice.", "We eat rice."),
        ("a</longcat_think>We eat rice.", "We eat rice."),
        ("<|thinking|>a<|/thinking|>We eat rice.", "We eat rice."),
        ("<|think|>a<|/think|>We eat rice.", "We eat rice."),
        ("<|start_think|>a<|end_think|>We eat rice.", "We eat rice."),
        ("<unused94>thought\na<unused95>We eat rice.", "We eat rice."),
        ("&lt;think&gt;a&lt;/think&gt;\nWe eat rice.", "We eat rice."),
        ("[thinking]a[/thinking]\nWe eat rice.", "We eat rice."),
        ("[Reasoning]a[/Reasoning]\nWe eat rice.", "We eat rice."),
        ("```thinking\nWho am `I`?\n```\nWe eat rice.", "We eat rice."),
        ("```thinking\na </details> b\n```\nWe eat rice.", "We eat rice."),
        ("We eat rice.\n\n```reasoning\na\n```", "We eat rice."),
        (
            '<details type="reasoning" done="true" duration="3">\n<summary>Thought for 3 seconds</summary>\n> a\n'
            "</details>\nWe eat rice.",
            "We eat rice.",
        ),
        ("assistantanalysisThe user asks.assistantfinalWe eat rice.", "We eat rice."),
        ('{"response": "<scratchpad>a</scratchpad>We eat."}', '{"response": "We eat."}'),
        ('{"response": "a</think>We eat."}', '{"response": "We eat."}'),
    ],
)
def test_thinking_is_left_out(content, text):
    assert read(content) == (text, "stop")


@pytest.mark.parametrize(
    "content",
    [
        "<think>Okay, who am",
        "We eat rice.<think>or",
        "[THINK]hm",
        "◁think▷hm",
        "<|channel|>analysis<|message|>User asks",
        "analysisThe user asks",
        "Here is my thought process: a",
        '{"response": "<think>a"}',
        "<scratchpad>Who am I?",
        "<|start_think|>hm",
        "<unused94>thought\nhm",
        "&lt;think&gt;hm",
        "```thinking\nhm",
        '<details type="reasoning">hm',
        "assistantanalysisThe user asks",
    ],
)
def test_thinking_that_does_not_end_is_no_answer(content):
    assert read(content) == ("", "reasoning")
    assert read(content, "length") == ("", "length")


def test_reasoning_beside_the_content_is_no_answer():
    assert read("We eat rice.", reasoning_content="hm", reasoning="hm") == ("We eat rice.", "stop")
    assert read(None, reasoning_content="hm") == ("", "reasoning")
    assert read("", "length", reasoning_content="hm") == ("", "length")


@pytest.mark.parametrize(
    "text",
    [
        *(
            "analysis of rice",
            "I think so.",
            "A <thinker> sits.",
            "[think] twice",
            "<think about it>",
            "a </b> b",
            "<thin>",
        ),
        *("My analysis: rice matters.", "Thought: rice.\nAnswer: rice.", "Reflection: a.", "[thinking] Well, rice."),
        *("Rice. [/thinking]", "We wrote <analysis> once.", "a &lt;think&gt; b", "a </reflection> b", "<unused1>"),
        "<details>\n<summary>More</summary>\nRice.\n</details>",
        '<details type="recipe">Rice.</details>',
        "```python\nthinking = 1\n```\nRice.",
        "```\nthinking\n```",
        "We write ```thinking``` in line.",
        "Our assistants' analysis: assistantfinal is no word.",
    ],
)
def test_text_that_only_looks_like_a_mark_stays(text):
    assert read(text) == (text, "stop")


THOUGHT = {"type": "thinking", "thinking": [{"type": "text", "text": "Who am I?"}], "closed": True}


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ([THOUGHT, {"type": "text", "text": "We eat "}, {"type": "text", "text": "rice."}], "We eat rice."),
        ([{"type": "output_text", "text": "We eat rice."}], "We eat rice."),
        (["We eat ", "rice."], "We eat rice."),
        ({"type": "text", "text": "We eat rice."}, "We eat rice."),
        (
            [{"type": "redacted_thinking", "data": "x"}, {"type": "reasoning", "text": "x"}, {"type": "x", "text": 1}],
            "",
        ),
        ([{"type": "image_url", "image_url": {"url": "x"}}, None, 7, [], {}], ""),
        ([{"type": "text", "text": None}], ""),
        ([{"type": "text", "text": "<think>a</think>"}, {"type": "text", "text": "b"}], "b"),
        (None, ""),
        (7, ""),
        (True, ""),
    ],
)
def test_parts_are_joined_and_nothing_else_becomes_text(content, text):
    assert read(content) == (text, "stop")


@pytest.mark.parametrize(
    ("finish", "kept"),
    [
        *(
            (reason, "stop")
            for reason in ("stop", "end_turn", "eos", "eos_token", "stop_sequence", "COMPLETE", None, "")
        ),
        *((reason, "length") for reason in ("length", "max_tokens", "MAX_TOKENS", "model_length", "max_output_tokens")),
        *((reason, "content_filter") for reason in ("content_filter", "SAFETY", "content_filter: PROHIBITED_CONTENT")),
        *((reason, "content_filter") for reason in ("sensitive", "RECITATION", "guardrail_intervened", "ERROR_TOXIC")),
        ("refusal", "refusal"),
        ({"type": "length", "length": 8}, "length"),
        (17, "stop"),
    ],
)
def test_why_a_reply_ended_is_read_in_hosts_words(finish, kept):
    assert read("We eat", finish) == ("We eat", kept)


@pytest.mark.parametrize("finish", ["error", "abort", "cancelled", "MALFORMED_FUNCTION_CALL", "network_error"])
def test_a_reply_that_broke_off_may_be_asked_for_again(finish):
    assert failure(completion("We eat", finish)).retryable


def test_a_refusal_and_tool_calls_are_no_answers():
    assert read(None, refusal="I can't help with that.") == ("I can't help with that.", "refusal")
    assert read([{"type": "refusal", "refusal": "No."}]) == ("No.", "refusal")
    call = [{"id": "1", "type": "function", "function": {"name": "search", "arguments": "{}"}}]
    assert read(None, "tool_calls", tool_calls=call) == ("", "stop")
    assert read("Let me look.", "tool_calls", tool_calls=call) == ("", "stop")


@pytest.mark.parametrize("text", ["We eat \ud83c", "We eat\0rice", "\udcff"])
def test_text_that_no_encoding_takes_is_told_and_can_be_stored(text, tmp_path):
    answer = remote.read({**completion(text), "model": text}, SPEC)
    assert answer.finish_reason == "not_text"
    store = Store(tmp_path / "answers.sqlite")
    store.put({"key": answer})
    assert store.get("key") == answer
    assert pa.array([answer.text, answer.model]).to_pylist() == [answer.text, answer.model]


@pytest.mark.parametrize("number", [None, "many", -3, [], {}, float("nan"), float("inf"), 10**400, 2**70])
def test_usage_that_is_no_number_counts_as_nothing(number):
    def counted(usage):
        answer = remote.read({**completion("We eat."), "usage": usage}, SPEC)
        return answer.prompt_tokens, answer.completion_tokens

    assert counted({"prompt_tokens": "12", "completion_tokens": 7.0}) == (12, 7)
    assert counted({"prompt_tokens": number, "completion_tokens": 7.0}) == (0, 0)  # half a count is none
    assert counted({"prompt_tokens": 12, "completion_tokens": number}) == (0, 0)
    assert counted(number) == (0, 0)


@pytest.mark.parametrize(
    ("reply", "words", "status"),
    [
        (
            {"choices": None, "error": {"message": "Provider returned error: credits used up", "code": 402}},
            "used up",
            402,
        ),
        ({"error": {"message": "Bad model", "metadata": {"raw": '{"error": "no such thing"}'}}}, "no such thing", 400),
        ({"error": "model not loaded"}, "model not loaded", 400),
        ({"detail": "Not authenticated"}, "Not authenticated", 400),
        ({"object": "error", "message": "no such route", "type": "x"}, "no such route", 400),
        ({"detail": [{"loc": ["body", "model"], "msg": "field required"}]}, "body.model: field required", 400),
        ({"base_resp": {"status_code": 1004, "status_msg": "login fail"}, "choices": None}, "login fail", 400),
        ({"errors": [{"message": "gone"}]}, "gone", 400),
    ],
)
def test_an_error_in_a_reply_of_status_200_is_final_in_the_servers_words(reply, words, status):
    error = failure(reply)
    assert words in error.description
    assert (error.retryable, error.status) == (False, status)
    assert error.hopeless == (status == 402)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        ({"code": 429, "message": "Rate limit exceeded"}, 429),
        ({"code": "429", "message": "slow down"}, 429),
        ({"code": "rate_limit_exceeded", "message": "slow"}, 429),
        ({"code": 502, "message": "Provider returned error"}, 502),
        ({"message": "The server is overloaded", "type": "server_error"}, 503),
        ("upstream timed out", 503),
    ],
)
def test_an_error_that_can_pass_is_retried(error, status):
    for reply in ({"error": error}, {"choices": [{"error": error, "message": {"content": "We"}}]}):
        found = failure(reply)
        assert (found.retryable, found.status, str(found)) == (True, status, f"endpoint: status {status}")


def test_an_empty_error_beside_an_answer_is_none():
    assert remote.read({**completion("We eat."), "error": None}, SPEC).text == "We eat."


@pytest.mark.parametrize(
    ("reply", "passes"),
    [
        (["no"], False),
        (12, False),
        (None, False),
        ("text", False),
        ({}, False),
        ({"response": "We eat", "done": True}, False),
        ({"choices": []}, True),
        ({"choices": [{"text": "We eat."}]}, True),
    ],
)
def test_what_is_no_chat_completion_is_told(reply, passes):
    error = failure(reply)
    assert "not a chat completion" in str(error)
    assert error.retryable == passes


def test_json_that_is_no_object_keeps_its_words():
    assert failure("credits used up").description == (
        "endpoint: not a chat completion but a JSON text, which says: credits used up"
    )
    assert failure([{"error": {"message": "credits used up"}}]).description.endswith(
        "a JSON list, which says: credits used up"
    )
    assert failure("<!-- c --><html><title>Sign in</title>").description.endswith("says: an HTML page titled 'Sign in'")
    assert failure(None).description == "endpoint: not a chat completion but a JSON null"


@pytest.mark.parametrize(
    ("body", "content_type", "told"),
    [
        (
            "<!DOCTYPE html><title>Sign  in</title>",
            "application/json",
            "an HTML page (titled 'Sign in' behind base_url)",
        ),
        ("\n<html><body>busy", "text/html", "an HTML page (behind base_url)"),
        ("<!-- c --><html><body>busy", "text/html", "an HTML page (behind base_url)"),
        ("<!-- a -->\n<!-- b\n--> <!doctype html><title>Sign in</title>", "", "an HTML page (titled 'Sign in' behind"),
        ("<meta charset=utf-8><p>busy", "text/html; charset=utf-8", "an HTML page (behind base_url)"),
        ("<!-- c -->", "", "text that is no JSON, which says: <!-- c -->"),
        ('data: {"choices": []}\n\ndata: [DONE]\n', "text/event-stream", "an event stream"),
        ('data: {"error": {"message": "no credit"}}\n\n', "", "an event stream, which says: no credit"),
        (": ping\n\ndata: {}", "", "an event stream"),
        ("Not Found", "text/plain", "text that is no JSON, which says: Not Found"),
        ('{"a": 1}\n{"a": 2}', "", "text that is no JSON"),
    ],
)
def test_a_body_that_is_something_else_is_named_and_final(body, content_type, told):
    for sent in (body, body.encode()):
        with pytest.raises(CallFailed) as error:
            remote.parse(sent, content_type)
        assert error.value.description.startswith(f"endpoint: {told}")
        assert not error.value.retryable


@pytest.mark.parametrize("body", [b"", b" \n", '{"choices": [{"mess', "[" * 100_000])
def test_a_body_that_broke_off_may_be_asked_for_again(body):
    with pytest.raises(CallFailed) as error:
        remote.parse(body)
    assert error.value.retryable


def test_json_with_a_bom_or_bytes_of_another_encoding_harms_its_row_alone():
    assert remote.parse(b'\xef\xbb\xbf {"a": "\xc3\xa9"}', "text/html") == {"a": "é"}
    reply = remote.parse(json.dumps(completion("x")).encode().replace(b'"x"', b'"caf\xe9"'))
    assert remote.read(reply, SPEC).finish_reason == "not_text"


def test_likelihoods_are_read_as_before_and_an_error_is_told_as_one():
    told = {**completion("<think>", "length"), "prompt_logprobs": [None, {"5": {"logprob": -0.6931471805599453}}]}
    assert float(remote.read_likelihood(told, SPEC).text) == pytest.approx(-1)
    with pytest.raises(EndpointError, match="log-probabilities"):
        remote.read_likelihood(completion("We"), SPEC)
    with pytest.raises(CallFailed, match="status 429"):
        remote.read_likelihood({"error": {"code": 429, "message": "slow"}}, SPEC)
    told["prompt_logprobs"][1]["5"]["logprob"] = float("nan")
    with pytest.raises(CallFailed, match="no log-probabilities"):
        remote.read_likelihood(told, SPEC)


# generated replies


THINKING = ("<think>", "</think>", "<thinking>", "</thinking>", "[THINK]", "[/THINK]", "◁think▷", "<reasoning>")
PIECES = ("<|channel|>analysis<|message|>", "<|channel|>final<|message|>", "<|end|>", "assistantfinal", "analysisWe")
ODD = ("</reasoning>", "</s>", "<answer>", '{"a": "', '"}', "\ud800", "\0", "\u200b", "é", " ", "rice")
MARKED = st.lists(st.sampled_from([*THINKING, *PIECES, *ODD]), max_size=9).map("".join)
TEXT = st.one_of(MARKED, st.text(st.characters(exclude_categories=()), max_size=20))
SCALAR = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), TEXT)
FIELDS = (
    "choices",
    "message",
    "content",
    "text",
    "type",
    "error",
    "code",
    "detail",
    "metadata",
    "raw",
    "finish_reason",
)
MORE = ("usage", "model", "refusal", "tool_calls", "prompt_tokens", "loc", "msg", "status", "base_resp", "status_msg")
NAMES = st.sampled_from([*FIELDS, *MORE]) | st.text(max_size=4)
JUNK = st.recursive(
    SCALAR, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4), max_leaves=12
)
KINDS = st.sampled_from(["text", "thinking", "refusal", "x", None])
PARTS = st.lists(st.fixed_dictionaries({"type": KINDS, "text": TEXT | JUNK}) | JUNK, max_size=4)
ENDS = st.sampled_from(["stop", "length", "content_filter", "tool_calls", "error", "eos", "MAX_TOKENS", "SAFETY"])
MESSAGE = st.fixed_dictionaries({"content": TEXT | PARTS | JUNK}, optional={"refusal": TEXT, "tool_calls": JUNK})
CHOICE = st.fixed_dictionaries({"message": MESSAGE | JUNK}, optional={"finish_reason": JUNK | ENDS, "error": JUNK})
BESIDE = {"error": JUNK, "usage": JUNK, "model": JUNK}
REPLY = st.one_of(
    JUNK,
    st.fixed_dictionaries({"choices": st.lists(CHOICE | JUNK, max_size=2) | JUNK}, optional=BESIDE),
    st.fixed_dictionaries({"choices": st.lists(CHOICE, min_size=1, max_size=1)}, optional={"model": TEXT}),
)


@pytest.mark.parametrize("examples", [200, pytest.param(2000, marks=pytest.mark.slow)])
def test_any_reply_is_an_answer_or_a_failed_call(examples):
    @settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(REPLY, st.booleans())
    def holds(reply, over_the_wire):
        try:
            if over_the_wire:
                reply = remote.parse(json.dumps(reply).encode())
            answer = remote.read(reply, SPEC)
        except CallFailed:
            return
        answer.text.encode()
        answer.model.encode()
        assert "\0" not in answer.text + answer.model
        assert answer.finish_reason in marks.REASONS
        assert min(answer.prompt_tokens, answer.completion_tokens) >= 0
        assert not any(mark in answer.text for mark in THINKING)

    holds()


@pytest.mark.parametrize("examples", [200, pytest.param(2000, marks=pytest.mark.slow)])
def test_any_body_is_json_or_a_failed_call(examples):
    bodies = (
        st.binary(max_size=40) | TEXT | st.builds(lambda one: json.dumps(one)[: len(json.dumps(one)) * 2 // 3], REPLY)
    )

    @settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(bodies, st.sampled_from(["", "application/json", "text/html; charset=gbk", "text/event-stream"]))
    def holds(body, content_type):
        with suppress(CallFailed):
            remote.read(remote.parse(body, content_type), SPEC)

    holds()
