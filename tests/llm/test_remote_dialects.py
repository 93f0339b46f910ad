"""What servers refuse, in their own words, and how they are asked after that."""

import json

import pytest

from caredio.llm.access import refusal
from caredio.llm.cache import key_of
from caredio.llm.remote import Dialect, advice, learn
from caredio.llm.remote import body as body_of
from caredio.llm.remote import start_dialect as start
from caredio.llm.settings import MAX_COMPLETION_TOKENS
from caredio.llm.spec import Chat, Likelihood, Spec

SPEC = Spec(model="m")
SYSTEM = {"role": "system", "content": "You are from Japan."}
USER = {"role": "user", "content": "What do you eat?"}
MESSAGES = [SYSTEM, USER]
SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}


def words(body):
    return refusal(400, body).server_message


NO_SYSTEM = [
    {"object": "error", "message": "System role not supported", "type": "BadRequestError", "code": 400},  # vLLM, Gemma
    {"error": {"message": "Conversation roles must alternate user/assistant/user/assistant/..."}},  # vLLM, Mistral
    {"error": {"code": 500, "message": "invalid operation: System role not supported (in chat:1)"}},  # mistral.rs
    {"error": {"message": "Only user and assistant roles are supported!"}},
    {
        "error": {  # o1-mini
            "message": "Unsupported value: 'messages[0].role' does not support 'system' with this model.",
            "type": "invalid_request_error",
            "param": "messages[0].role",
            "code": "unsupported_value",
        }
    },
    {"error": {"code": 400, "message": "Developer instruction is not enabled for models/gemma-3-27b-it"}},  # Gemini
    {"error": "Error rendering prompt with jinja template: System message is not supported by this model"},
    "jinja2.exceptions.TemplateError: System role not supported",
    {"detail": [{"loc": ["body", "messages", 0, "role"], "msg": "Input should be 'user' or 'assistant'"}]},  # pydantic
    {"error": {"message": "'system' is not one of ['user', 'assistant'] - 'messages.0.role'"}},  # jsonschema
    {"error": {"message": "messages.0.role must be one of: assistant, user"}},
    {"error": {"message": "'system' is not a valid role"}},
    "Input should be 'user' or 'assistant'",
]
NEWER = "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."
OLDER = [
    {"error": {"message": "Unrecognized request argument supplied: max_completion_tokens"}},
    {
        "object": "error",  # Mistral
        "message": {
            "detail": [
                {
                    "type": "extra_forbidden",
                    "loc": ["body", "max_completion_tokens"],
                    "msg": "Extra inputs are not permitted",
                    "input": 800,
                }
            ]
        },
    },
    {
        "message": "[{'type': 'extra_forbidden', 'loc': ('body', 'max_completion_tokens'),"
        " 'msg': 'Extra inputs are not permitted'}]"
    },
    {"error": {"message": "property 'max_completion_tokens' is unsupported"}},  # Groq
]
NO_TEMPERATURE = [
    "Unsupported value: 'temperature' does not support 0.7 with this model. Only the default (1) value is supported.",
    "Unsupported parameter: 'temperature' is not supported with this model.",
    "`temperature` is deprecated for this model.",
]
NO_TOP_P = [
    "Unsupported parameter: 'top_p' is not supported with this model.",
    "`temperature` and `top_p` cannot both be specified for this model. Please use only one.",
    "The property 'top_p' is not supported by this model",
]
NO_SCHEMA = [
    "This response_format type is unavailable now",  # DeepSeek
    "Failed to deserialize the JSON body into the target type: response_format: response_format.type `json_schema` is"
    " unavailable now at line 1 column 2",
    "This model does not support response format `json_schema`.",  # Groq
    "Invalid parameter: 'response_format' of type 'json_schema' is not supported with this model.",
    'response_format type must be one of "text" or "json_object", but got: json_schema',  # llama.cpp
    "Invalid schema for response_format 'answer': 'minItems' is not permitted.",
    "Unrecognized request argument supplied: strict",
    "Additional properties are not allowed ('strict' was unexpected)",
    "'json_schema' is not one of ['json_object', 'text'] - 'response_format.type'",
    "The provided JSON schema contains features not supported by xgrammar.",  # vLLM
]
NO_FORMAT = [
    "JSON mode is not enabled for models/gemma-3-27b-it",  # Gemini
    "Unrecognized request argument supplied: response_format",
    "'response_format.type' must be 'json_schema' or 'text'",  # LM Studio, of json_object
    "Failed to parse grammar",
]


@pytest.mark.parametrize("body", NO_SYSTEM)
def test_a_refused_system_role_is_learnt_and_its_text_begins_the_first_turn(body):
    learnt = learn(Dialect(), 500 if isinstance(body, str) else 400, words(body))
    assert learnt == Dialect(system_role=False)
    assert learn(learnt, 400, words(body)) is None
    sent = body_of(SPEC, Chat(MESSAGES), learnt)
    assert sent["messages"] == [{"role": "user", "content": "You are from Japan.\n\nWhat do you eat?"}]
    assert MESSAGES == [SYSTEM, USER]


def test_a_repair_keeps_its_turns_and_a_chat_without_a_user_its_text():
    folded = Dialect(system_role=False)
    turns = [*MESSAGES, {"role": "assistant", "content": "Rice."}, {"role": "user", "content": "Again."}]
    roles = [turn["role"] for turn in body_of(SPEC, Chat(turns, SCHEMA), folded)["messages"]]
    assert roles == ["user", "assistant", "user"]
    assert body_of(SPEC, Chat([SYSTEM]), folded)["messages"] == [{**SYSTEM, "role": "user"}]
    assert body_of(SPEC, Chat([USER]), folded)["messages"] == [USER]
    assert body_of(SPEC, Likelihood(turns[:3], ""), folded)["messages"][0]["content"].startswith(
        "You are from Japan.\n\n"
    )


def test_the_name_of_the_token_limit_is_learnt_either_way():
    assert learn(start(False), 400, NEWER) == start(False, token_limit="max_completion_tokens")
    for body in OLDER:
        learnt = learn(start(True), 422, words(body))
        assert learnt is not None
        assert learnt.token_limit == "max_tokens"
    assert body_of(SPEC, Chat(MESSAGES), start(True))["max_completion_tokens"] == 512
    assert "max_tokens" not in body_of(SPEC, Chat(MESSAGES), start(True))
    assert body_of(SPEC, Likelihood(MESSAGES, ""), start(False))["max_tokens"] == 1


@pytest.mark.parametrize("text", NO_TEMPERATURE)
def test_a_refused_temperature_is_left_to_the_endpoint(text):
    assert learn(Dialect(), 400, text) == Dialect(temperature=False)
    assert "temperature" not in body_of(SPEC, Chat(MESSAGES), Dialect(temperature=False))


@pytest.mark.parametrize("text", NO_TOP_P)
def test_a_refused_top_p_is_left_to_the_endpoint(text):
    assert learn(Dialect(), 400, text) == Dialect(top_p=False)
    sent = body_of(SPEC, Chat(MESSAGES), Dialect(top_p=False))
    assert "top_p" not in sent
    assert sent["temperature"] == 0.7


@pytest.mark.parametrize("text", [*NO_SCHEMA, *NO_FORMAT])
def test_a_refused_response_format_ends_in_the_prompt_alone(text):
    dialect, seen = Dialect(), []
    while (learnt := learn(dialect, 400, text)) is not None:
        dialect = learnt
        seen.append(dialect.response_format)
    assert seen[-1] == "prompt"
    assert len(seen) <= 3
    sent = body_of(SPEC, Chat(MESSAGES, SCHEMA), dialect)
    assert "response_format" not in sent
    assert json.dumps(SCHEMA) in sent["messages"][-1]["content"]


@pytest.mark.parametrize("text", NO_SCHEMA)
def test_a_refused_schema_is_asked_for_as_any_json_first(text):
    if "json_object" not in text:
        assert learn(Dialect(), 400, text) == Dialect(response_format="json_object")


def test_a_server_that_wants_a_schema_alone_is_given_one():
    learnt = learn(Dialect(), 400, NO_FORMAT[2])
    assert learnt is not None
    sent = body_of(Spec(model="m", json_mode="json_object"), Chat(MESSAGES, SCHEMA), learnt)
    assert sent["response_format"]["type"] == "json_schema"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "This model's maximum context length is 4096 tokens. However, you requested 5000 tokens.",
        "'max_tokens' or 'max_completion_tokens' is too large: 8192. The maximum context length is 4096 tokens",
        "max_tokens is too large: 100000. This model supports at most 16384 completion tokens",
        "temperature must be between 0 and 1: 1.5 is not supported",
        "Invalid value for 'top_p': must be less than or equal to 1",
        "The model `m` does not exist or you do not have access to it.",
        "The response was filtered due to the prompt triggering Azure OpenAI's content management policy.",
        "Content Exists Risk",
        "Internal Server Error",
        "The system is overloaded",
        "Unsupported language in the prompt",
        "messages.0.role: Input should be 'user', 'assistant' or 'system'",
        "messages.0.role: Input should be 'system', 'user' or 'assistant'",
        "'tool' is not one of ['system', 'user', 'assistant']",
    ],
)
def test_a_refusal_about_something_else_teaches_nothing(text):
    for dialect in (start(False), start(True)):
        for status in (400, 404, 422, 500):
            assert learn(dialect, status, text) is None


@pytest.mark.parametrize("status", [None, 401, 403, 429, 503])
def test_other_statuses_teach_nothing(status):
    assert learn(Dialect(), status, "System role not supported") is None


@pytest.mark.parametrize(
    ("text", "settings"),
    [
        ("role: no such system", "system_role to user"),
        ("response_format: bad value", "json_mode to prompt"),
        ("the sampling temperature is odd", "temperature to none"),
        ("top_p is odd", "top_p to none"),
        ("max_tokens: what is that?", "token_limit to max_completion_tokens"),
        ("max_completion_tokens: what is that?", "token_limit to max_tokens"),
        ("system, response_format", "system_role to user or json_mode to prompt"),
        ("The controller is busy with something else", ""),
    ],
)
def test_what_cannot_be_learnt_names_what_can_be_set(text, settings):
    assert advice(400, text) == settings
    assert advice(422, text) == settings
    assert advice(500, text) == advice(None, text) == ""


def test_each_point_can_be_set():
    assert start(False, system_role="user").system_role is False
    assert start(True, system_role="system").system_role is True
    assert start(True, token_limit="max_tokens").token_limit == "max_tokens"
    assert start(False, token_limit="max_completion_tokens").token_limit == "max_completion_tokens"


def test_a_dialect_enters_no_key():
    spec = Spec(model="m")
    key = key_of(spec, Chat(MESSAGES, SCHEMA))
    body_of(spec, Chat(MESSAGES, SCHEMA), Dialect(False, MAX_COMPLETION_TOKENS, False, False, "prompt"))
    assert key_of(spec, Chat(MESSAGES, SCHEMA)) == key
