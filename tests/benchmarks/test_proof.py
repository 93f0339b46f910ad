"""The proof's driver: likelihoods are the evaluation's, statistics the package's, arms alike but for their rows."""

from __future__ import annotations

import argparse
import itertools
import json
import random

import proof
import proof_model
import proof_report
import pytest
from datasets import Dataset

from caredio.evaluation import metrics, paired, short_answers
from caredio.evaluation.benchmark import LIKELIHOOD
from caredio.training import heldout
from caredio.training.record import rows_sha256

FOODS = ("rice", "bread", "maize", "noodles", "lentils", "dumplings", "soup", "stew", "tea", "coffee", "couscous")
PLACES = ("park", "river", "market", "temple", "beach", "hill")


def document(number, region, answers, rivals=("rival",)):
    """A question whose answers are given by 3, 2, 1 people."""
    return {
        "id": f"q-{number}",
        "culture": region,
        "language": "en",
        "question": f"What do people have on day {number}?",
        "answers": [{"text": text, "weight": 3 - place, "also": []} for place, text in enumerate(answers)],
        "own": answers[0],
        "rivals": [{"culture": "elsewhere", "text": text} for text in rivals],
    }


@pytest.fixture(scope="module")
def every():
    draw = random.Random(0)
    return [
        document(number, region, [f"{food} at the {place}" for food, place in zip(*drawn, strict=True)])
        for number in range(40)
        for region in proof_report.REGIONS["tune"][:3]
        for drawn in [(draw.sample(FOODS, 3), draw.sample(PLACES, 3))]
    ]


@pytest.fixture(scope="module")
def pool(every, tmp_path_factory):
    own = {(one["culture"], one["id"]): one["own"] for one in every}
    return proof.Pool(proof.table(every, "tune"), own, tmp_path_factory.mktemp("proof"))


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A random 2-layer Llama under the model's tokenizer."""
    from transformers import LlamaConfig, LlamaForCausalLM, set_seed

    folder = tmp_path_factory.mktemp("tiny")
    set_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    LlamaForCausalLM(LlamaConfig(vocab_size=49152, num_key_value_heads=1, **sizes)).save_pretrained(folder)
    return folder


def test_the_likelihoods_are_those_of_the_evaluation(tiny, embedded_home):
    made = [
        document(1, "china", ["rice", "a bowl of hot noodle soup"], ["bread and butter", "rice pudding"]),
        document(22, "china", ["tea"], ["coffee"]),
        document(333, "china", ["dumplings at the night market", "tea"], ["stew", "fish and chips, with vinegar"]),
    ]
    tokenizer = proof_model.tokenizer()
    tokenizer.save_pretrained(tiny)
    base = heldout.Model(str(tiny))
    chats = proof_model.chats(made, LIKELIHOOD)
    assert "SmolLM" not in base.tokenizer.apply_chat_template(chats[0], tokenize=False)
    plain = base.likelihoods(chats, [short_answers.choices(one) for one in made])
    ours = proof_model.likelihoods(base._model, tokenizer, made)
    for one, other in zip(ours, plain, strict=True):
        assert one == pytest.approx(other, abs=1e-4)
    assert len(ours[0]) == 4
    likelihood = dict(zip(short_answers.choices(made[0]), ours[0], strict=True))
    rivals = [likelihood["bread and butter"], likelihood["rice pudding"]]
    found = proof.scores(base._model, tokenizer, base, None, made[:1], made[1:], 1)
    assert found["own"]["q-1"]["margin"] == pytest.approx(metrics.margin([likelihood["rice"]], [rivals]), abs=1e-3)
    assert set(found["own"]["q-1"]) == {"margin", "margin_per_byte", "bits_per_byte", "sem_b"}
    assert set(found["partner"]) == {"q-22", "q-333"}
    assert set(found["partner"]["q-22"]) == {"margin", "margin_per_byte"}


def test_halves_share_no_region_and_no_test_question():
    tune, confirm = (set(regions) for regions in proof_report.REGIONS.values())
    assert (len(tune), len(confirm)) == (6, 10)
    assert not tune & confirm
    assert not set(proof.TESTED["tune"]) & set(proof.TESTED["confirm"])
    assert [proof.part(name) for name in ("Al-en-01", "Al-en-02")] == [9, 2]  # sha256 ends with c7 and with de


def test_arms_are_alike_but_for_their_rows(every, pool, monkeypatch):
    monkeypatch.setattr(proof, "BUDGET", 8)
    test = proof.tested(every, "tune", "china")
    assert len(test) >= 5
    taken = {}
    for name, arm in proof.ARMS.items():
        monkeypatch.setitem(proof.ARMS, name, proof.Arm(arm.about, arm.ordered, 8 if arm.budget < proof.ALL else 12))
        taken[name] = proof.taken(pool, name, "china", 42, test)
    assert {name: len(rows) for name, rows in taken.items()} == {name: 12 if name == "all" else 8 for name in taken}
    tested = {one["id"] for one in test}
    for name, rows in taken.items():
        assert not tested & set(rows["question_id"]), name
        assert set(rows["culture"]) == {"china"}
    questions = {name: set(rows["question_id"]) for name, rows in taken.items()}
    assert questions["random_question"] == questions["random_person"] == questions["majority"]
    assert len(questions["random_question"]) == 8
    own = {one["id"]: one["own"] for one in every if one["culture"] == "china"}
    assert [own[row["question_id"]] for row in taken["majority"]] == taken["majority"]["response"][:]
    again = proof.taken(pool, "random_question", "china", 43, test)
    assert rows_sha256(again) != rows_sha256(taken["random_question"])


def test_a_test_question_among_the_rows_is_refused(every, pool):
    row = pool.by_chance("china", 42)["question_id"][0]
    with pytest.raises(AssertionError, match="a test question among the rows"):
        proof.taken(pool, "random_question", "china", 42, [{"id": row}])


def test_answers_that_more_people_gave_come_first_more_often(pool):
    first = [pool.by_people("china", seed) for seed in range(40)]
    weights = [
        pool.weights[row["culture"], row["question_id"], row["response"]]
        for rows in first
        for row in rows.select(range(6))
    ]
    assert sum(weights) / len(weights) > 2.2  # by chance 2; drawn as often as given (9 + 4 + 1) / 6


def records(gains):
    """Records of the tune half: arm -> region -> what its margin gains on each of two own and two partner questions."""
    made = []
    for region in proof_report.REGIONS["tune"]:
        raw = {f"{region}-{n}": {"margin": 1.0 + n, "margin_per_byte": 0.1, "bits_per_byte": 3.0} for n in range(2)}
        made.append({"arm": "raw", "region": region, "seed": 42, "own": raw, "partner": {}})
    raws = {one["region"]: one["own"] for one in made}
    for arm, by_region in gains.items():
        for region, (own, other) in by_region.items():
            sides = {}
            for side, asked, gain in (("own", region, own), ("partner", proof_report.partner("tune", region), other)):
                sides[side] = {
                    name: {**one, "margin": one["margin"] + gain + (0.5 if name.endswith("1") else -0.5)}
                    for name, one in raws[asked].items()
                }
            made.append({"arm": arm, "region": region, "seed": 42, "completion_tokens": 100, **sides})
    return made


def test_the_statistics_are_the_package_s():
    steps = dict(zip(proof_report.REGIONS["tune"], (0.1, 0.4, 0.9, 0.2, 0.6, 0.8), strict=True))
    null = dict.fromkeys(steps, (1.0, 0.25))
    made = records({"random_question": null, "support": {region: (1.0 + step, 0.5) for region, step in steps.items()}})
    found = {proof_report.key(one): one for one in made}
    own = proof_report.estimate(proof_report.parts(found, "tune", "support", "random_question", proof_report.OWN))
    assert own.by_region == pytest.approx(steps)
    assert own.value == pytest.approx(0.5)
    assert own.p == pytest.approx(2 / 2**6)  # all six regions of one sign
    assert own.p == paired.sign_flips(proof_report.np.array(list(own.by_region.values())))
    effect = proof_report.estimate(proof_report.parts(found, "tune", "support", "random_question", proof_report.EFFECT))
    assert effect.value == pytest.approx(0.5 - 0.25)
    assert (own.low, own.high) == paired.interval(
        proof_report.weighed(proof_report.parts(found, "tune", "support", "random_question", proof_report.OWN))
    )
    raw = proof_report.estimate(proof_report.parts(found, "tune", "support", "raw", proof_report.EFFECT))
    assert raw.value == pytest.approx(1.5 - 0.5)
    told = proof_report.report(made, "tune")
    assert f"p {2 / 64:.3f}, {paired.holm([2 / 64, effect.p])[0]:.3f}" in told
    # by hand: signs over regions of the second contrast
    values = [step - 0.25 for step in steps.values()]
    sums = [
        abs(sum(sign * value for sign, value in zip(signs, values, strict=True)))
        for signs in itertools.product((1, -1), repeat=6)
    ]
    assert effect.p == pytest.approx(sum(one >= abs(sum(values)) - 1e-12 for one in sums) / 64)


def test_a_region_counts_once_however_many_questions_it_has():
    uneven = {"china": ({"a": 1.0}, {}), "mexico": (dict.fromkeys("abc", 3.0), {})}
    made = proof_report.estimate(uneven)
    assert made.value == pytest.approx(2.0)
    assert paired.mean(proof_report.weighed(uneven)) == pytest.approx(2.0)


def test_the_confirm_half_is_read_when_it_is_whole():
    made = records({"random_question": {"china": (1.0, 0.0)}})
    with pytest.raises(SystemExit, match="fits are missing"):
        proof_report.report(made, "confirm")


def test_a_killed_run_goes_on_after_its_last_whole_line(tmp_path):
    results = tmp_path / "proof" / "tune.jsonl"
    one, two = ({"arm": "random", "region": region, "seed": 42} for region in ("china", "uk"))
    proof.append(results, one)
    with results.open("a") as file:
        file.write('{"arm": "rand')
    assert proof_report.read(results) == [one]
    proof.append(results, two)
    assert [json.loads(line) for line in results.read_text().splitlines()] == [one, two]
    done = {proof_report.key(record) for record in proof_report.read(results)}
    given = argparse.Namespace(half="tune", regions=["china", "uk", "iran"], seeds=[42], arms=["random"])
    left = [one for one in proof._wanted(given, done) if one[0] != proof.RAW]
    assert left == [("random", "iran", 42)]


@pytest.mark.slow
def test_a_fit_takes_the_steps_that_were_asked_for(tmp_path, embedded_home):
    rows = Dataset.from_list(
        [
            {
                "prompt": [{"role": "user", "content": f"What is eaten on day {number}?"}],
                "completion": [{"role": "assistant", "content": "rice"}],
            }
            for number in range(8)
        ]
    )
    found = [(fit.steps, fit.losses) for fit in proof_model.fitted(rows, 6, 1, tmp_path)]
    assert found[0][0] == 6
    assert found[0][1][1] < found[0][1][0]
    again = [(fit.steps, fit.losses) for fit in proof_model.fitted(rows, 6, 1, tmp_path)]
    assert again == found
