"""People's short answers: what is asked of a document, and its scores worked by hand."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from lm_eval.api.instance import Instance
from lm_eval.evaluator import evaluate
from lm_eval.tasks import TaskManager

from caredio import prompts
from caredio.evaluation import short_answers, tasks_path
from caredio.evaluation.benchmark import COT, GENERATED, LIKELIHOOD

BLEND = Path(__file__).parents[1] / "data" / "blend"  # 24 of BLEnD's questions in all 16 regions
DOCUMENT: dict[str, Any] = {
    "id": "Al-en-01",
    "culture": "china",
    "question": "What is eaten for breakfast?",
    "answers": [{"text": "rice porridge", "weight": 3, "also": ["congee"]}, {"text": "buns", "weight": 1, "also": []}],
    "own": "rice porridge",
    "rivals": [
        {"culture": "uk", "text": "toast"},
        {"culture": "us", "text": "cereal"},
        {"culture": "iran", "text": "toast"},
    ],
}


def test_each_text_is_asked_once_people_s_answers_first() -> None:
    assert short_answers.choices(DOCUMENT) == ["rice porridge", "buns", "toast", "cereal"]
    assert short_answers.choices({**DOCUMENT, "own": None, "rivals": []}) == ["rice porridge", "buns"]


def test_scores_are_bits_of_people_s_answers_and_the_margin_over_the_rivals() -> None:
    scores = short_answers.by_likelihoods(DOCUMENT, [-13.0, -8.0, -10.0, -12.0])
    bits = (3 * 13.0 + 1 * 8.0) / math.log(2)
    assert scores == pytest.approx(
        {
            "bits_per_byte": bits / (3 * len("rice porridge") + len("buns")),
            "margin": -13.0 - (-10.0 - 12.0 - 10.0) / 3,  # two regions say toast
            "margin_per_byte": -13.0 / 13 - (-10.0 / 5 - 12.0 / 6 - 10.0 / 5) / 3,
        }
    )


@pytest.mark.parametrize("lacking", [{"own": None}, {"rivals": []}, {"rivals": None}])
def test_a_question_without_own_answer_or_rivals_has_no_margin(lacking: dict[str, Any]) -> None:
    document = {**DOCUMENT, **lacking}
    found = [-1.0] * len(short_answers.choices(document))
    assert list(short_answers.by_likelihoods(document, found)) == ["bits_per_byte"]


def test_a_reply_is_right_where_it_holds_a_wording_of_an_answer() -> None:
    def score(reply: str) -> dict[str, float]:
        return short_answers.by_replies(DOCUMENT, [reply])

    assert score("Rice porridge.") == {"sem_b": 1.0, "sem_w": 1.0, "unparsed": 0.0}
    assert score("some congee")["sem_b"] == 1.0
    assert score("steamed buns") == pytest.approx({"sem_b": 1.0, "sem_w": 1 / 3, "unparsed": 0.0})
    assert score("toast") == {"sem_b": 0.0, "sem_w": 0.0, "unparsed": 0.0}
    assert score(" \n") == {"sem_b": 0.0, "sem_w": 0.0, "unparsed": 1.0}


def test_likelihoods_follow_the_bare_question_and_a_written_answer_is_asked_to_be_short() -> None:
    prompt = prompts.load(short_answers.KIND.prompt)
    (bare,), (written,), (reasoned,) = (
        short_answers.turns(DOCUMENT, prompt, variant) for variant in (LIKELIHOOD, GENERATED, COT)
    )
    assert bare.strip() == DOCUMENT["question"]
    assert written.startswith(f"{DOCUMENT['question']}\nAnswer in a few words")
    assert '"Answer:"' in reasoned


def test_an_open_question_is_asked_as_it_is_and_its_reply_only_counted() -> None:
    kind = short_answers.OPEN
    assert kind.choices is None
    assert [part.strip() for part in kind.turns(DOCUMENT, prompts.load(kind.prompt), GENERATED)] == [
        DOCUMENT["question"]
    ]
    assert kind.by_replies(DOCUMENT, [" a reply "]) == {"characters": 7.0, "unparsed": 0.0}
    assert kind.by_replies(DOCUMENT, [""])["unparsed"] == 1.0


# --- through lm-eval


def of_length(scripted: Any) -> Any:
    """A model that finds a text as likely as it is short, and writes the same answer to everything."""

    class OfLength(scripted):  # type: ignore[misc]
        def loglikelihood(self, requests: list[Instance]) -> list[tuple[float, bool]]:
            self.asked += [request.args for request in requests]
            return [(-0.5 * len(request.args[1]) - 1, False) for request in requests]

        def generate_until(self, requests: list[Instance]) -> list[str]:
            self.asked += [request.args for request in requests]
            return ["I would say rice."] * len(requests)

    return OfLength(lambda request: True)


def run(lm: Any, task: str, **settings: Any) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    known = TaskManager(include_path=[tasks_path()], include_defaults=False, metadata={"blend": str(BLEND)})
    made: Any = evaluate(lm, known.load([task]), log_samples=True, apply_chat_template=True, **settings)
    return made["results"][task], made["samples"][task]


def test_lm_eval_s_means_are_over_the_questions_that_have_a_score(scripted: Any) -> None:
    lm = of_length(scripted)
    results, samples = run(lm, "caredio_blend_answers_china", bootstrap_iters=0)
    margins, bits = [], []
    for sample in samples:
        document = sample["doc"]
        prompt, text = lm.asked[0]
        del lm.asked[: len(sample["arguments"])]
        assert prompt.endswith("<assistant>")  # through the chat template, with nothing between it and the answer
        assert text == document["answers"][0]["text"]
        nats = {text: -0.5 * len(text) - 1 for _, text in (sample["arguments"])}
        people = [(answer["text"], answer["weight"]) for answer in document["answers"]]
        total = -sum(weight * nats[text] for text, weight in people) / math.log(2)
        bits.append(total / sum(weight * len(text.encode()) for text, weight in people))
        assert ("margin" in sample) == bool(document["own"] and document["rivals"])
        if "margin" in sample:
            rivals = [nats[rival["text"]] for rival in document["rivals"]]
            margins.append(nats[document["own"]] - sum(rivals) / len(rivals))
            assert sample["margin"] == pytest.approx(margins[-1])
    assert not lm.asked
    assert 0 < len(margins) < len(samples)
    assert results["margin,none"] == pytest.approx(sum(margins) / len(margins))
    assert results["bits_per_byte,none"] == pytest.approx(sum(bits) / len(bits))


def test_a_limit_counts_questions(scripted: Any) -> None:
    lm = of_length(scripted)
    _, samples = run(lm, "caredio_blend_answers_china", limit=3, bootstrap_iters=0)
    assert len(samples) == 3
    assert len({prompt for prompt, _ in lm.asked}) == 3 < len(lm.asked)


def test_written_answers_are_looked_through_for_people_s(scripted: Any) -> None:
    results, samples = run(of_length(scripted), "caredio_blend_answers_generated_china", bootstrap_iters=0)
    right = ["rice" in [one["text"] for one in sample["doc"]["answers"]] for sample in samples]
    found = [sample["sem_b"] == 1.0 for sample in samples]
    assert all(one <= other for one, other in zip(right, found, strict=True))
    assert results["sem_b,none"] == pytest.approx(sum(found) / len(found))
    assert results["unparsed,none"] == 0
