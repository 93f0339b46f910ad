"""One document a question, whatever it takes to ask it: what lm-eval is asked, and what it scores together."""

from __future__ import annotations

from typing import Any

import pytest
from lm_eval.evaluator import evaluate
from lm_eval.tasks import TaskManager

from caredio import prompts
from caredio.evaluation import tasks, tasks_path
from caredio.evaluation.benchmarks import culturalbench
from caredio.evaluation.turns import Turns

EGYPT = [one for one in culturalbench.hard(culturalbench.SAMPLE) if one["culture"] == "Egypt"]


def run(lm: Any, task: str, **settings: Any) -> dict[str, Any]:
    """The numbers of a task."""
    known = TaskManager(include_path=[tasks_path()], include_defaults=False, metadata={"culturalbench": "sample"})
    made = evaluate(lm, known.load([task]), log_samples=False, **settings)
    assert made is not None
    return dict(made["results"][task])


def test_every_statement_is_a_chat_of_its_own(scripted: Any) -> None:
    lm = scripted(lambda _: True)
    settings: dict[str, Any] = {"system_instruction": "Be brief.", "apply_chat_template": True}
    run(lm, "caredio_culturalbench_hard_egypt", limit=1, **settings)
    assert lm.asked == [
        (
            f"<system>Be brief.<user>Question: {EGYPT[0]['question']}\nAnswer: {statement}\nIs this answer true or "
            "false for this question? You must choose either True or False.\nJudgement:<assistant>",
            answer,
        )
        for statement in EGYPT[0]["statements"]
        for answer in ("True", "False")
    ]


def test_every_order_of_the_options_is_a_prompt_of_its_own(scripted: Any) -> None:
    lm = scripted(lambda _: True)
    run(lm, "caredio_culturalbench_easy_egypt", limit=1)
    (first, *_) = (one for one in culturalbench.easy(culturalbench.SAMPLE) if one["culture"] == "Egypt")
    contexts = list(dict.fromkeys(context for context, _ in lm.asked))
    assert len(contexts) == 4
    for start, context in enumerate(contexts):
        rotated = first["options"][start:] + first["options"][:start]
        options = "\n".join(f"{letter}. {option}" for letter, option in zip("ABCD", rotated, strict=True))
        assert context.endswith(f"A, B, C and D.\nQuestion: {first['question']}\n{options}\nAnswer:")
    assert [answer for _, answer in lm.asked] == [" A", " B", " C", " D"] * 4


def test_a_reply_is_written_to_every_turn(scripted: Any) -> None:
    lm = scripted(writes=lambda _: "True")
    run(lm, "caredio_culturalbench_hard_generated_egypt", limit=1, apply_chat_template=True)
    assert [context for context, _ in lm.asked] == [
        f"<user>Question: {EGYPT[0]['question']}\nAnswer: {statement}\nIs this answer true or false for this question?"
        " You must choose either True or False. Answer with that word alone, and nothing else.<assistant>"
        for statement in EGYPT[0]["statements"]
    ]
    assert all(how["do_sample"] is False and how["max_gen_toks"] == 8 for _, how in lm.asked)


def test_the_part_to_play_is_the_system_message(scripted: Any) -> None:
    part = prompts.load("systems").part("system", adjective="Egyptian")
    for variant, lm in (("", scripted(lambda _: True)), ("_generated", scripted(writes=lambda _: "True"))):
        task = f"caredio_culturalbench_hard{variant}_role_play_egypt"
        run(lm, task, limit=2, apply_chat_template=True)
        assert len(lm.asked) == 2 * 4 * (1 if variant else 2)
        assert all(context.startswith(f"<system>{part}<user>Question: ") for context, _ in lm.asked)
    plain = scripted(lambda _: True)
    run(plain, "caredio_culturalbench_hard_egypt", limit=2, apply_chat_template=True)
    assert all(context.startswith("<user>Question: ") for context, _ in plain.asked)


def test_limit_and_standard_error_count_questions(scripted: Any) -> None:
    asked: list[str] = []

    def one_wrong(request: Any) -> bool:
        """Right but for the last judgement of the first question."""
        asked.append(request.doc["id"])
        right = request.args[1].strip() == str(request.doc["truth"][request.idx // 2])
        return right != (request.doc["id"] == asked[0] and request.idx >= 6)

    numbers = run(scripted(one_wrong), "caredio_culturalbench_hard_japan", limit=5)
    assert numbers["sample_len"] == 5
    assert len(asked) == 5 * 8
    assert numbers["acc,none"] == 4 / 5
    assert abs(numbers["judgement_acc,none"] - 19 / 20) < 1e-12
    error = (0.8 * 0.2 / 4) ** 0.5  # of 0, 1, 1, 1, 1
    assert abs(numbers["acc_stderr,none"] - error) < 1e-12
    assert abs(numbers["judgement_acc_stderr,none"] - 0.25 * error) < 1e-12


@pytest.mark.parametrize(
    ("task", "reply", "metric", "value"),
    [
        ("culturalbench_hard_generated", "<think>False?</think>\n\nTrue", "unparsed", 0.0),
        ("culturalbench_hard_generated", "<think>False or", "unparsed", 1.0),
        ("culturalbench_hard_cot", "<think>Maybe\nAnswer: True\nno, wait", "unparsed", 1.0),
        ("culturalbench_hard_cot", "<think>Maybe\nAnswer: maybe\n</think>So.\nAnswer: True", "unparsed", 0.0),
    ],
)
def test_thinking_is_no_part_of_an_answer(task: str, reply: str, metric: str, value: float, scripted: Any) -> None:
    numbers = run(scripted(writes=lambda _: reply), f"caredio_{task}_egypt", limit=2)
    assert numbers[f"{metric},none"] == value


def test_what_is_only_thought_of_is_no_short_answer() -> None:
    task = Turns.__new__(Turns)  # without the data that lm-eval would load
    task._benchmark, task._variant = tasks.declared("blend_answers"), "generated"
    doc = {"answers": [{"text": "kimchi", "weight": 3}], "language": "en"}
    assert task.scores(doc, ["<think>Is it kimchi? No.</think>\nbread"])["sem_b"] == 0
    assert task.scores(doc, ["<think>Is it bread? No.</think>\nkimchi"])["sem_b"] == 1
