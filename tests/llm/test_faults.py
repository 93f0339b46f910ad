"""What becomes of rows under fire, and what they take. The figures at full size are `tests/benchmarks`'."""

import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

from datasets import Dataset, Features, Value
from llm_server import LLMServer, reply

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
FAULTS = {429: 0.05, 500: 0.03, "drop": 0.02, "hang": 0.01, "bad": 0.02}


def asked(server, store):
    return ask(
        Dataset.from_dict({"question": [f"Question {row}?" for row in range(400)]}),
        connect(Spec(model="m"), Endpoint(base_url=server.url, timeout=1.0, retries=3), store),
        prompt=lambda row: [{"role": "user", "content": row["question"]}],
        parse=lambda content, row, answer: {"response": content["answer"]},
        columns=Features({"response": Value("string")}),
        schema=SCHEMA,
        desc="asked",
    )


def test_faults_lose_no_row_and_change_no_answer(tmp_path):
    came, struck = Counter(), Counter()

    def fault(number, body):
        question = body["messages"][0]["content"]
        if len(body["messages"]) == 3:  # a repair is answered as the question should have been
            return reply({**body, "messages": body["messages"][:1]})
        came[question] += 1
        if question == "Question 7?":
            return 500  # always
        kind = random.Random(question).choices([*FAULTS, None], [*FAULTS.values(), 0.87])[0]
        if kind is None or came[question] > 1:
            return None
        struck[kind] += 1
        return "{cut" if kind == "bad" else kind

    with LLMServer() as server:
        calm = asked(server, tmp_path / "calm.sqlite")
    with LLMServer(fault=fault, hang=3.0) as server:
        odd = asked(server, tmp_path / "odd.sqlite")
    assert set(struck) == set(FAULTS)
    assert odd["drop_reason"][7] == "endpoint: status 500"
    assert [row for row in odd if row["response"] is not None] == [
        row for row in calm if row["question"] != "Question 7?"
    ]


def test_a_stage_of_wide_rows_takes_little_memory():
    script = Path(__file__).parents[1] / "benchmarks" / "memory.py"
    told = subprocess.run([sys.executable, script, "--rows", "2000"], capture_output=True, text=True, check=True).stdout
    words = told.split()
    before, most = float(words[5]), float(words[8])
    assert "2000 rows" in told
    assert 0 < most - before < 250, told
