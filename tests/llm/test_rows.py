"""One call per row: order, repair, drops and the share of failures."""

import asyncio
import os
import signal
import time

import pytest
from datasets import Dataset, Features, Value
from llm_server import LLMServer

from caredio.errors import EndpointError, InputError
from caredio.llm.cache import Answer, Store
from caredio.llm.limits import Backend
from caredio.llm.model import Model, connect
from caredio.llm.rows import Unusable, ask, gather
from caredio.llm.settings import Endpoint
from caredio.llm.spec import Spec

SCHEMA = {
    "type": "object",
    "properties": {"n": {"type": "integer"}},
    "required": ["n"],
    "additionalProperties": False,
}
ROWS = Dataset.from_list([{"text": f"row {number}"} for number in range(20)])
COLUMNS = Features({"said": Value("string")})


def run(server, rows=ROWS, parse=lambda content, row, answer: {"said": content}, model=None, **options):
    model = model or connect(Spec(model="scripted"), Endpoint(base_url=server.url, retries=0, timeout=5))
    return ask(
        rows,
        model,
        prompt=lambda row: [{"role": "user", "content": row["text"]}],
        parse=parse,
        columns=COLUMNS,
        desc="asked",
        **options,
    )


def echo(number, body):
    return body["messages"][0]["content"].upper()


def test_every_row_gets_its_own_answer_in_order():
    with LLMServer(fault=echo) as server:
        asked = run(server)
    assert asked["text"][:] == ROWS["text"][:]
    assert asked["said"][:] == [text.upper() for text in ROWS["text"]]
    assert asked["drop_reason"][:] == [None] * 20
    assert asked.features["said"] == Value("string")


def test_an_unusable_answer_is_repaired_once_and_told_why():
    def fault(number, body):
        return "fine" if len(body["messages"]) == 3 else "bad"

    def parse(content, row, answer):
        if content == "bad":
            raise Unusable("not good enough")
        return {"said": content}

    with LLMServer(fault=fault) as server:
        asked = run(server, parse=parse)
        repair = next(body for body in server.bodies.values() if len(body["messages"]) == 3)
    assert set(asked["said"]) == {"fine"}
    assert repair["messages"][1] == {"role": "assistant", "content": "bad"}
    assert "not good enough" in repair["messages"][2]["content"]


@pytest.mark.parametrize(("content", "finish", "reason"), [("We eat", "length", "truncated"), ("", "stop", "empty")])
def test_the_words_of_a_repair_are_part_of_stored_keys(content, finish, reason):
    with LLMServer(fault=lambda number, body: {"content": content, "finish_reason": finish}) as server:
        run(server, ROWS.select([0]))
        repair = list(server.bodies.values())[1]["messages"]
    assert repair == [
        {"role": "user", "content": "row 0"},
        {"role": "assistant", "content": content},
        {"role": "user", "content": f"That cannot be used: {reason}. Answer again, exactly as asked."},
    ]


def own_prompt(folder, name, text):
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.txt").write_text(text)
    return str(folder)


def test_a_repair_prompt_of_ones_own_asks_for_the_repairs_alone_again(tmp_path):
    def fault(number, body):  # each second row is not usable at first
        text = body["messages"][0]["content"]
        return "fine" if len(body["messages"]) == 3 or int(text.split()[1]) % 2 else "bad"

    def parse(content, row, answer):
        if content == "bad":
            raise Unusable("not good enough")
        return {"said": content}

    mine = own_prompt(tmp_path / "mine", "repair", "[user]\n$reason: $$5 if you mend it.\n")
    with LLMServer(fault=fault) as server:
        run(server, parse=parse)
        assert len(server.seen) == 30
        run(server, parse=parse, prompts=mine)
        assert len(server.seen) == 40
        first, later = (list(server.bodies.values())[part] for part in (slice(30), slice(30, None)))
    assert {len(body["messages"]) for body in later} == {3}
    assert {body["messages"][2]["content"] for body in later} == {"not good enough: $5 if you mend it."}
    words = "That cannot be used: not good enough. Answer again, exactly as asked."
    assert {body["messages"][2]["content"] for body in first if len(body["messages"]) == 3} == {words}


JSON_MODE = Spec(model="scripted", json_mode="prompt")
STATED = """row 0

Answer with JSON alone, fitting this JSON schema: {"type": "object", "properties": {"n": {"type": "integer"}}, \
"required": ["n"], "additionalProperties": false}"""


def test_the_words_that_state_a_schema_never_change():
    with LLMServer(fault=lambda number, body: '{"n": 1}') as server:
        model = connect(JSON_MODE, Endpoint(base_url=server.url, retries=0))
        run(server, ROWS.select([0]), lambda content, row, answer: {"said": str(content["n"])}, model, schema=SCHEMA)
        (sent,) = server.bodies.values()
    assert sent["messages"] == [{"role": "user", "content": STATED}]
    assert "response_format" not in sent


def test_a_schema_prompt_of_ones_own_is_sent_and_asks_again_where_there_is_a_schema(tmp_path):
    mine = own_prompt(tmp_path / "mine", "schema", "[user]\nJSON like $schema, please.\n")
    with LLMServer(fault=lambda number, body: '{"n": 1}') as server:
        for options in ({}, {"schema": SCHEMA}):
            for folder in (None, mine, mine):
                model = connect(JSON_MODE, Endpoint(base_url=server.url, retries=0))
                parse = lambda content, row, answer: {"said": str(content)}  # noqa: E731
                run(server, ROWS.select([0]), parse, model, prompts=folder, **options)
        sent = [body["messages"][0]["content"] for body in server.bodies.values()]
    assert sent == [
        "row 0",
        STATED,
        STATED.replace("Answer with JSON alone, fitting this JSON schema: ", "JSON like ") + ", please.",
    ]


def test_a_prompt_that_asks_cannot_lack_its_slot(tmp_path, server):
    mine = own_prompt(tmp_path / "mine", "repair", "[user]\nOnce more.\n")
    with pytest.raises(InputError, match=r"repair\.txt: slot \$reason is missing"):
        run(server, prompts=mine)
    with pytest.raises(InputError, match=r"nowhere: no such folder of prompts"):
        run(server, prompts=str(tmp_path / "nowhere"))
    assert server.seen == []


def test_parse_sees_the_messages_that_were_first_asked_in_a_repair_too():
    seen = []

    def parse(content, row, answer):
        seen.append(answer.messages)
        if content == "bad":
            raise Unusable("not good enough")
        return {"said": content}

    with LLMServer(fault=lambda number, body: "fine" if len(body["messages"]) == 3 else "bad") as server:
        run(server, ROWS.select([0]), parse=parse)
        run(server, ROWS.select([0]), parse=parse)  # both stored
    assert seen == [[{"role": "user", "content": "row 0"}]] * 4


def test_the_reason_of_a_drop_is_not_the_sentence_that_asks_again():
    def parse(content, row, answer):
        raise Unusable("the text is no good", reason="no_good")

    with LLMServer(fault=echo) as server:
        asked = run(server, ROWS.select([0]), parse=parse)
        repair = list(server.bodies.values())[1]["messages"][2]
    assert asked["drop_reason"][0] == "no_good"
    assert repair["content"] == "That cannot be used: the text is no good. Answer again, exactly as asked."


@pytest.mark.parametrize("model", ["scripted", Spec(model="scripted")])
def test_a_model_may_be_a_name_or_a_spec(model, server, monkeypatch):
    monkeypatch.setenv("OPENAI_BASE_URL", server.url)
    asked = ask(
        ROWS,
        model,
        prompt=lambda row: [{"role": "user", "content": row["text"]}],
        parse=lambda content, row, answer: {"said": content},
        columns=COLUMNS,
    )
    assert all(asked["said"])
    assert {body["model"] for body in server.bodies.values()} == {"scripted"}


def test_twice_unusable_is_dropped_with_the_reason_and_the_rest_stays():
    def parse(content, row, answer):
        if row["text"] == "row 3":
            raise Unusable("no good")
        return {"said": content}

    with LLMServer(fault=echo) as server:
        asked = run(server, parse=parse)
        assert len(server.seen) == 21
    assert [row for row, reason in enumerate(asked["drop_reason"]) if reason] == [3]
    assert asked[3] == {"text": "row 3", "said": None, "drop_reason": "no good", "unusable": "ROW 3"}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{not json", "not_json"),
        ('{"n": "one"}', "json_does_not_fit"),
        ('{"n": 1, "m": 1}', "json_does_not_fit"),
        ("  ", "empty"),
    ],
)
def test_json_that_does_not_fit_is_a_reason(text, reason):
    with LLMServer(fault=lambda number, body: text) as server:
        asked = run(server, ROWS.select([0]), schema=SCHEMA)
    assert asked["drop_reason"][0] == reason


@pytest.mark.parametrize(
    "text",
    [
        '```json\n{"n": 4}\n```',
        '```\n{"n": 4}\n```',
        '```JSON5\n{"n": 4}```',
        '~~~json\n{"n": 4}\n~~~',
        '\ufeff{"n": 4}',
        'Here is the JSON you asked for:\n\n```\n{"n": 4}\n```\nI hope it helps {really}.',
        '{"n": 4} is my answer.',
        'First {"n": "one"}, or better {"n": 4}.',
        '{"n": 3} was wrong. {"n": 4}',
        '{"n": 4}\n{"m": "}{"}',
        '<think>{"n": 1}</think>{"n": 4}',
        '{{n}} is {"n": 4}',
        '{"n": 4}<|im_end|>',
    ],
)
def test_json_is_read_whatever_stands_around_it(text):
    with LLMServer(fault=lambda number, body: text) as server:
        asked = run(server, ROWS.select([0]), parse=lambda content, row, answer: {"said": str(content)}, schema=SCHEMA)
        assert len(server.seen) == 1
    assert asked["said"][0] == "{'n': 4}"


WORDS = {**SCHEMA, "properties": {"n": {"type": "string"}}}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"n": 4,}', "not_json"),
        ('{"n": 4', "not_json"),
        ("{" * 5000, "not_json"),
        ('{"n":' * 5000, "not_json"),
        ('{"n": "a\\ud800"}', "not_text"),
        ('{"n": "a\\u0000"}', "not_text"),
        ('{"n": "\\u003cthink\\u003ehm"}', "reasoning"),
        ('{"m": 1} and {"n": 2}', "json_does_not_fit"),
        ("[1]", "json_does_not_fit"),
    ],
)
def test_json_that_is_none_or_holds_no_text_is_a_reason(text, reason):
    with LLMServer(fault=lambda number, body: text) as server:
        asked = run(server, ROWS.select([0]), schema=WORDS)
    assert asked["drop_reason"][0] == reason


@pytest.mark.parametrize("around", ["{}", "```json\n{}\n```"])
def test_thinking_inside_json_strings_is_left_out(around):
    text = around.replace("{}", r'{"n": "\u003cthink\u003ehm\u003c/think\u003eWe eat \\u0000 {}."}')
    with LLMServer(fault=lambda number, body: text) as server:
        asked = run(server, ROWS.select([0]), parse=lambda content, row, answer: {"said": content["n"]}, schema=WORDS)
    assert asked["said"][0] == r"We eat \u0000 {}."


@pytest.mark.parametrize(
    ("fault", "reason", "calls"),
    [
        ({"content": "We eat rice at", "finish_reason": "content_filter"}, "content_filter", 1),
        ({"content": None, "message": {"refusal": "I can't."}}, "refusal", 1),
        ({"content": "", "finish_reason": "length", "message": {"reasoning_content": "hm"}}, "truncated", 1),
        ({"content": "<think>hm", "finish_reason": "length"}, "truncated", 1),
        ({"content": "We eat rice at", "finish_reason": "length"}, "truncated", 2),
        ({"content": "We eat rice at", "finish_reason": "MAX_TOKENS"}, "truncated", 2),
        ({"content": "<think>hm"}, "reasoning", 2),
        ({"content": None}, "empty", 2),
        ({"content": "\u200b"}, "empty", 2),
        ({"content": "a\ud800"}, "not_text", 2),
        ({"content": None, "finish_reason": "tool_calls", "message": {"tool_calls": [{"id": "1"}]}}, "empty", 2),
    ],
)
def test_what_is_no_finished_text_is_dropped_and_asked_again_where_that_may_help(fault, reason, calls):
    with LLMServer(fault=lambda number, body: fault) as server:
        asked = run(server, ROWS.select([0]))
        assert len(server.seen) == calls
        run(server, ROWS.select([0]))
        assert len(server.seen) == calls  # remembered
    assert asked["drop_reason"][0] == reason
    assert asked["said"][0] is None


def test_only_the_row_of_a_text_that_no_encoding_takes_is_lost(tmp_path):
    def fault(number, body):
        return {"content": "half \ud83c"} if body["messages"][0]["content"] == "row 7" else echo(number, body)

    with LLMServer(fault=fault) as server:
        asked = run(server)
    assert [row for row, reason in enumerate(asked["drop_reason"]) if reason] == [7]
    asked.to_parquet(tmp_path / "rows.parquet")
    assert Dataset.from_parquet(str(tmp_path / "rows.parquet"))["said"][6] == "ROW 6"


def stored(text, finish):
    """What `ask` makes of an answer that an earlier version stored."""

    class Silent(Backend):
        async def send(self, request, held):
            return Answer(text, finish, "m", 1, 1)

    return ask(
        ROWS.select([0]),
        Model(Spec(model=f"{text}/{finish}"), Silent(), Store()),
        prompt=lambda row: [{"role": "user", "content": row["text"]}],
        parse=lambda content, row, answer: {"said": content},
        columns=COLUMNS,
        desc="asked",
    )[0]


def test_answers_of_earlier_versions_are_read_as_new_ones_are():
    assert stored("<think>hm</think>\nWe eat.", "stop")["said"] == "We eat."
    assert stored("We \u200c eat.", "end_turn")["said"] == "We \u200c eat."
    assert stored("We", "max_tokens")["drop_reason"] == "truncated"
    assert stored("We", "content_filter")["drop_reason"] == "content_filter"
    assert stored("", "prompt_too_long")["drop_reason"] == "prompt_too_long"


def test_a_failed_share_below_the_bound_is_dropped_above_it_the_run_stops():
    def fault(number, body):
        return 500 if body["messages"][0]["content"] == "row 7" else None

    with LLMServer(fault=fault) as server:
        asked = run(server)
        assert asked["drop_reason"][7] == "endpoint: status 500"
        assert asked["drop_reason"][:].count(None) == 19
        with pytest.raises(EndpointError, match=r"1 of 20 calls got no answer .*run the same command again"):
            run(server, max_failed=0.04)


def test_calls_refused_over_how_they_are_asked_name_what_can_be_set():
    said = {"status": 400, "message": "role: no such system"}
    with (
        LLMServer(fault=lambda number, body: said) as server,
        pytest.raises(EndpointError, match=r"no such system\).*: set system_role to user, then run the command again"),
    ):
        run(server)


def test_what_arrived_before_the_run_stopped_is_not_asked_again():
    down = True

    def fault(number, body):
        return 500 if down and body["messages"][0]["content"] == "row 19" else None

    with LLMServer(fault=fault) as server:
        with pytest.raises(EndpointError):
            run(server, max_failed=0.0)
        down = False
        asked = run(server, max_failed=0.0)
        assert asked["drop_reason"][:] == [None] * 20
        assert server.repeats() <= 20
    assert all(asked["said"])


@pytest.mark.parametrize("fault", [503, "drop"])
@pytest.mark.parametrize("rows", [10, 100, 700])
def test_an_endpoint_that_dies_is_one_sentence_and_what_came_is_kept(fault, rows):
    def dies(number, body):
        return fault if number >= 5 else None

    table = Dataset.from_list([{"text": f"row {number}"} for number in range(rows)])
    with LLMServer(fault=dies) as server:
        reason = "status 503" if fault == 503 else "no connection|timeout"
        with pytest.raises(EndpointError, match=rf"calls got no answer \(endpoint: ({reason}).*same command again"):
            run(server, table)
        server.fault = None
        stored = len(Store())
        model = connect(Spec(model="scripted"), Endpoint(base_url=server.url, retries=0, timeout=5))
        asked = run(server, table, model=model)
    assert stored <= 5
    assert (model.usage.stored, model.usage.calls) == (stored, rows - stored)
    assert asked["drop_reason"][:].count(None) == rows


def until_complete(story):
    asyncio.new_event_loop().run_until_complete(story)


@pytest.mark.parametrize("runner", [until_complete, asyncio.run])
def test_an_interrupt_in_a_notebook_stops_what_was_still_to_be_asked(runner):
    """A loop runs in the main thread, where the interrupt is an error (Jupyter) or cancels its task (asyncio.run)."""
    table = Dataset.from_list([{"text": f"row {number}"} for number in range(2000)])

    async def notebook():
        run(server, table)

    def interrupts(number, body):
        if number == 100:
            os.kill(os.getpid(), signal.SIGINT)

    with LLMServer(fault=interrupts, latency=0.05) as server:
        handler = signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            with pytest.raises(KeyboardInterrupt):
                runner(notebook())
        finally:
            signal.signal(signal.SIGINT, handler)
        seen = len(server.seen)
        assert 0 < seen < 1500
        time.sleep(0.3)
        assert len(server.seen) == seen


def test_no_rows_no_calls(server):
    asked = run(server, ROWS.select([]))
    assert len(asked) == 0
    assert asked.column_names == ["text", "said", "drop_reason", "unusable"]
    assert server.seen == []


def test_works_inside_a_running_event_loop(server):
    async def notebook():
        return run(server)

    assert len(asyncio.run(notebook())) == 20


def test_a_map_of_many_rows_does_not_spin_while_its_first_are_under_way(monkeypatch):
    waits = []
    wait = asyncio.wait
    monkeypatch.setattr(asyncio, "wait", lambda *given, **named: waits.append(1) or wait(*given, **named))

    async def work(place):
        await asyncio.sleep(0.2 if place < 16 else 0)  # those after the first are done long before it
        return {"place": place}

    total = 20_000
    found = gather(range(total), work, Features({"place": Value("int64")}), "m")
    assert found["place"].to_pylist() == list(range(total))
    assert not waits  # `datasets` waits again and again where a thousand coroutines of one map are open


def test_rows_that_wait_are_not_read_yet(tmp_path):
    rows = Dataset.from_dict({"text": [f"row {number}" for number in range(8000)]})
    prompted = 0

    class Waits(Backend):
        """Answers once it has been seen how many prompts were written by then."""

        def __init__(self):
            self.most, self.go = 0, None

        async def send(self, request, held):
            if self.go is None:
                self.go = asyncio.get_running_loop().create_task(asyncio.sleep(1.0))
            await self.go
            self.most = self.most or prompted
            return Answer(request.messages[0]["content"].upper(), "stop", "m", 1, 1)

    def prompt(row):
        nonlocal prompted
        prompted += 1
        return [{"role": "user", "content": row["text"]}]

    backend = Waits()
    model = Model(Spec(model="m"), backend, Store(tmp_path / "answers.sqlite"))
    said = ask(
        rows, model, prompt=prompt, parse=lambda content, row, answer: {"said": content}, columns=COLUMNS, desc="asked"
    )
    assert said["said"][:] == [text.upper() for text in rows["text"]]
    assert 1000 < backend.most <= 4096


@pytest.mark.parametrize(
    ("changed", "match"),
    [
        ({"prompt": lambda row: "hi"}, "prompt returned 'hi', where a list of messages"),
        ({"prompt": lambda row: []}, r"prompt returned \[\], where"),
        ({"prompt": lambda row: [{"role": "user"}]}, "with role and content was wanted"),
        ({"parse": lambda content, row, answer: content}, "parse returned '.*', where a dict of said"),
        ({"parse": lambda content, row, answer: {"sayd": content}}, "parse returned sayd, where a dict of said"),
        ({"columns": Features({"said": Value("int64")})}, "parse returned a value of another type"),
        ({"columns": ["said"]}, "in columns the datasets.Features"),
        ({"dataset": [{"text": "a"}]}, "ask takes a datasets.Dataset"),
    ],
)
def test_what_is_no_question_about_rows_is_one_sentence(server, changed, match):
    given = {
        "dataset": Dataset.from_dict({"text": ["a", "b"]}),
        "model": connect(Spec(model="scripted"), Endpoint(base_url=server.url)),
        "prompt": lambda row: [{"role": "user", "content": row["text"]}],
        "parse": lambda content, row, answer: {"said": content},
        "columns": Features({"said": Value("string")}),
        **changed,
    }
    with pytest.raises(InputError, match=match):
        ask(given.pop("dataset"), given.pop("model"), **given)
