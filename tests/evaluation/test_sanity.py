"""Models whose scores are known, on every kind of question and in every variant, through lm-eval.

Each number of a task is computed a second time from its samples file by `lm_eval_arithmetic`, which knows nothing of
this package; and each model scores what arithmetic says of the questions.
"""

from __future__ import annotations

import ast
import csv
import json
import math
import re
from collections.abc import Callable, Mapping
from fractions import Fraction
from pathlib import Path
from statistics import fmean
from typing import Any

import lm_eval_arithmetic as arithmetic
import pytest
import yaml
from lm_eval.api.instance import Instance
from lm_eval.evaluator import evaluate
from lm_eval.tasks import TaskManager
from lm_eval_folder import saved

from caredio import cultures
from caredio.evaluation import benchmark, tasks
from caredio.evaluation.benchmarks import blend, culturalbench

BLEND = Path(__file__).parents[1] / "data" / "blend" / "multiple_choice.csv"
VARIANTS = ["", "_generated", "_cot"]
TABLES: dict[str, list[dict[str, Any]]] = {
    "choice": [
        {"culture": "China", "question": "What is eaten?", "options": ["rice", "ice", "coal"], "key": "A"},
        {"culture": "China", "question": "What is drunk?", "options": ["ink", "tea", "oil"], "key": "B"},
        {"culture": "China", "question": "What is worn?", "options": ["a hat", "a pan", "a nail"], "key": "A"},
        {"culture": "Japan", "question": "What is cut?", "options": ["fog", "fish", "time"], "key": "B"},
    ],
    "judgements": [
        {"culture": "China", "question": "At noon?", "statements": ["rice", "coal"], "truth": [True, False]},
        {"culture": "China", "question": "At night?", "statements": ["sand", "glue"], "truth": [False, False]},
        {"culture": "Japan", "question": "At dawn?", "statements": ["fish", "soup"], "truth": [True, True]},
    ],
    "distribution": [
        {
            "culture": "China",
            "question": "How often?",
            "options": ["daily", "weekly", "never"],
            "shares": [0.7, 0.3, 0],
        },
        {"culture": "China", "question": "How many?", "options": ["one", "two"], "shares": [0.2, 0.8]},
        {"culture": "Japan", "question": "How often?", "options": ["daily", "weekly"], "shares": [0.5, 0.5]},
    ],
    "answers": [
        {"culture": "China", "question": "What is eaten?", "answers": ["congee", "buns"], "weight": [4, 1], "id": "q1"},
        {"culture": "Japan", "question": "What is eaten?", "answers": ["natto", "fish"], "weight": [3, 2], "id": "q1"},
        {
            "culture": "Japan",
            "question": "What is worn?",
            "answers": ["yukata", "kimono"],
            "weight": [2, 2],
            "id": "q2",
        },
    ],
}
BENCHMARKS = {
    "culturalbench_easy": "choice",
    "culturalbench_hard": "judgements",
    **{f"toy_{kind}": kind for kind in TABLES},
}


def shown(prompt: str) -> dict[str, str]:
    return dict(re.findall(r"^([A-Z])\. (.*)$", prompt, re.MULTILINE))


def right(request: Instance) -> Any:
    """What who knows everything says, or of a survey's question the shares of the letters."""
    prompt, document = request.args[0], request.doc
    if document.get("truth"):
        (statement,) = re.findall(r"\nAnswer: (.*)\nIs this answer", prompt, re.DOTALL)
        return str(document["truth"][document["statements"].index(statement)])
    if document.get("shares"):
        return dict(zip(shown(prompt), document["shares"], strict=True))
    if document.get("answers"):
        return document["own"] or document["answers"][0]["text"]
    count = len(document["options"])
    rotation = request.idx // count if request.request_type == "loglikelihood" else request.idx
    return "ABCD"[(document["key"] - rotation) % count]


class Player:
    """A model by what it says to a prompt: a word, or shares of words."""

    def __init__(self, says: Callable[[Instance], Any]) -> None:
        self._says = says

    def finds(self, request: Instance) -> float:
        said, word = self._says(request), request.args[1].strip()
        if isinstance(said, Mapping):
            return math.log(said[word]) if said[word] else -1e6
        return -1.0 if said in (word, None) else -3.0

    def writes(self, request: Instance) -> str:
        said = self._says(request)
        if isinstance(said, Mapping):  # the n-th of ten draws
            said = "".join(letter * round(10 * share) for letter, share in said.items())[request.idx]
        reply = "I cannot tell." if said is None else said
        return f"Let me think.\nAnswer: {reply}" if "Think step by step" in request.args[0] else reply


PLAYERS = {
    "always False": Player(lambda _: "False"),
    "first letter": Player(lambda _: "A"),
    "uniform": Player(lambda _: None),
    "oracle": Player(right),
}


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> TaskManager:
    """The tasks of CulturalBench, and of a table of each kind."""
    folder = tmp_path_factory.mktemp("tables")
    for kind, rows in TABLES.items():
        (folder / f"{kind}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        declared = {"name": f"toy_{kind}", "title": "Toy", "kind": kind, "file": f"{kind}.jsonl", "licence": "mit"}
        (folder / f"{kind}.yaml").write_text(yaml.safe_dump(declared))
    every = [*culturalbench.BENCHMARKS, *blend.BENCHMARKS]
    every += [one for one, _ in benchmark.chosen(sorted(map(str, folder.glob("*.yaml"))))]
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("CAREDIO_HOME", str(folder / "home"))
        asked = [(one, variant) for one in every for variant in one.variants]
        place = tasks.folder(asked, list(cultures.load().values()))
    files = {"culturalbench": "sample", "blend_choices": str(BLEND)}
    return TaskManager(include_path=[place], include_defaults=False, metadata=files)


def run(
    known: TaskManager, player: Player, scripted: Any, out: Path, *names: str, **settings: Any
) -> tuple[dict[str, Any], Path]:
    """What lm-eval tells, and the folder in which it saved that with the samples."""
    lm = scripted(player.finds, player.writes)
    made = evaluate(lm, known.load(list(names)), log_samples=True, apply_chat_template=True, **settings)
    assert made is not None
    return dict(made), saved(out, "scripted", made)


def tasks_of(name: str) -> list[str]:
    """The tasks of a benchmark in all variants, with and without a part to play, on two cultures."""
    heads = [f"caredio_{name}{variant}{part}" for variant in VARIANTS for part in ("", "_role_play")]
    return [f"{head}_{culture}" for head in heads for culture in ("china", "japan")]


def test_the_arithmetic_knows_nothing_of_the_package() -> None:
    tree = ast.parse(Path(arithmetic.__file__).read_text())
    imported = [node for node in ast.walk(tree) if isinstance(node, (ast.Import, ast.ImportFrom))]
    names = {alias.name for node in imported for alias in node.names} | {getattr(one, "module", "") for one in imported}
    assert not any("caredio" in str(name) for name in names)


@pytest.mark.parametrize("asked", BENCHMARKS)
@pytest.mark.parametrize("name", PLAYERS)
def test_every_number_is_that_of_the_logged_samples(
    known: TaskManager, scripted: Any, tmp_path: Path, asked: str, name: str
) -> None:
    names = tasks_of(asked)
    made, folder = run(known, PLAYERS[name], scripted, tmp_path, *names)
    for task in names:
        (file,) = folder.glob(f"samples_{task}_*.jsonl")
        for row in arithmetic.rows(file):
            systems = ["You speak as a member of" in one["arg_0"] for one in row["arguments"].values()]
            assert set(systems) == {"_role_play_" in task}
        numbers = made["results"][task]
        found = arithmetic.means(file)
        told = {key.partition(",")[0] for key in numbers if key.endswith(",none") and "_stderr" not in key}
        assert told == set(found), task
        for metric, (mean, error, _) in found.items():
            assert numbers[f"{metric},none"] == pytest.approx(mean, abs=1e-9), (task, metric)
            if error is not None:
                assert numbers[f"{metric}_stderr,none"] == pytest.approx(error, abs=1e-9), (task, metric)


def of(made: dict[str, Any], task: str) -> dict[str, float]:
    """The numbers of a task or group by metric."""
    numbers = {**made["results"], **made.get("groups", {})}[f"caredio_{task}"]
    return {key[:-5]: value for key, value in numbers.items() if key.endswith(",none") and "_stderr" not in key}


@pytest.mark.parametrize("variant", VARIANTS)
def test_sanity_models_on_culturalbench(known: TaskManager, scripted: Any, tmp_path: Path, variant: str) -> None:
    """Against counts made here from the file."""
    with culturalbench.SAMPLE.open(newline="", encoding="utf-8") as lines:
        rows = list(csv.DictReader(lines))
    true = [
        len(row[f"prompt_option_{row['answer'].lower()}"].split(", ")) if "\n(iv) " in row["prompt_question"] else 1
        for row in rows
    ]
    groups = [f"caredio_culturalbench_easy{variant}", f"caredio_culturalbench_hard{variant}"]
    found = {name: run(known, one, scripted, tmp_path, *groups)[0] for name, one in PLAYERS.items()}
    easy, hard = ({name: of(made, group[8:]) for name, made in found.items()} for group in groups)
    assert easy["oracle"]["acc"] == hard["oracle"]["acc"] == hard["oracle"]["judgement_acc"] == 1
    assert hard["always False"]["acc"] == 0
    assert hard["always False"]["judgement_acc"] == pytest.approx(1 - sum(true) / (4 * len(true)))
    if not variant:  # over four rotations each letter is right once
        for made in (found["first letter"], found["uniform"]):
            assert {of(made, f"culturalbench_easy_{slug}")["acc"] for slug in cultures.load()} == {0.25}
        assert hard["uniform"] == hard["always False"]  # a tie is False
    else:
        assert easy["uniform"]["unparsed"] == hard["uniform"]["unparsed"] == 1
        assert easy["uniform"]["acc"] == hard["uniform"]["judgement_acc"] == 0
        assert easy["always False"]["unparsed"] == hard["first letter"]["unparsed"] == 1
        assert easy["first letter"]["unparsed"] == hard["always False"]["unparsed"] == 0


def test_sanity_models_on_blend_where_a_preferred_letter_gains_nothing(
    known: TaskManager, scripted: Any, tmp_path: Path
) -> None:
    """Against the keys as the file has them."""
    with BLEND.open(newline="", encoding="utf-8") as lines:
        keys = [row["answer_idx"] for row in csv.DictReader(lines) if row["country"] == "China"]
    names = ["caredio_blend_china", "caredio_blend_generated_china"]
    found = {name: run(known, PLAYERS[name], scripted, tmp_path / name, *names) for name in ("first letter", "oracle")}
    made, folder = found["first letter"]
    assert of(made, "blend_china")["acc"] == 0.25
    assert of(made, "blend_generated_china")["acc"] == pytest.approx(keys.count("A") / len(keys)) != 0.25
    assert of(found["oracle"][0], "blend_china")["acc"] == of(found["oracle"][0], "blend_generated_china")["acc"] == 1
    (file,) = folder.glob("samples_caredio_blend_china_*.jsonl")
    for row in arithmetic.rows(file):
        shown_orders = [[*shown(one["arg_0"]).values()] for one in row["arguments"].values()][::4]
        options = row["doc"]["options"]
        assert shown_orders == [options[first:] + options[:first] for first in range(4)]


def test_sanity_models_on_tables_by_hand(known: TaskManager, scripted: Any, tmp_path: Path) -> None:
    names = [name for kind in TABLES for name in tasks_of(f"toy_{kind}") if "role_play" not in name]
    found = {name: run(known, one, scripted, tmp_path, *names)[0] for name, one in PLAYERS.items()}
    assert of(found["first letter"], "toy_choice_china")["acc"] == pytest.approx(1 / 3)  # over three rotations
    assert of(found["first letter"], "toy_choice_generated_china")["acc"] == pytest.approx(2 / 3)
    assert of(found["first letter"], "toy_choice_cot_japan")["acc"] == 0
    false = of(found["always False"], "toy_judgements_china")
    assert (false["acc"], false["judgement_acc"]) == (1 / 2, 3 / 4)
    assert of(found["always False"], "toy_judgements_generated_japan")["judgement_acc"] == 0
    for task in ("choice", "judgements"):
        assert of(found["oracle"], f"toy_{task}_cot_china")["acc"] == 1
    for variant in VARIANTS:
        assert of(found["oracle"], f"toy_distribution{variant}_china")["js_similarity"] == pytest.approx(1)
    assert of(found["uniform"], "toy_distribution_japan")["js_similarity"] == pytest.approx(1)  # so do its people
    # all on one of two that people choose alike: middle 3/4 and 1/4, of entropy 0.8113 bits; less half a bit
    lettered = of(found["first letter"], "toy_distribution_generated_japan")
    assert lettered["js_similarity"] == pytest.approx(1 - math.sqrt(0.811278 - 0.5), abs=1e-6)
    china, japan = of(found["oracle"], "toy_answers_china"), of(found["oracle"], "toy_answers_japan")
    assert china["margin"] == -1 - -3
    assert china["margin_per_byte"] == pytest.approx(-1 / len("congee") + 3 / len("natto"))
    assert china["bits_per_byte"] == pytest.approx((4 * 1 + 1 * 3) / (4 * 6 + 1 * 4) / math.log(2))
    assert japan["margin"] == 2  # of one question: to the other nobody of China answered
    assert of(found["uniform"], "toy_answers_china")["margin"] == 0
    assert of(found["oracle"], "toy_answers_generated_china") == {"sem_b": 1, "sem_w": 1, "unparsed": 0}
    assert of(found["uniform"], "toy_answers_generated_china")["sem_b"] == 0


def test_a_group_is_the_mean_over_its_questions_and_a_limit_counts_them(
    known: TaskManager, scripted: Any, tmp_path: Path
) -> None:
    group = "caredio_culturalbench_hard"
    wrong = {"china": 1, "japan": 3}  # questions that are answered wrong

    def says(request: Instance) -> str:
        place = request.doc_id < wrong.get(request.doc["culture"], 0)
        return right(request) if not place else {"True": "False", "False": "True"}[right(request)]

    made, folder = run(known, Player(says), scripted, tmp_path, group, limit=4)
    assert made["groups"][group]["sample_len"] == 4 * 15
    assert made["groups"][group]["acc,none"] == pytest.approx(float(Fraction(4 * 15 - 4, 4 * 15)))
    assert made["results"][f"{group}_japan"]["acc,none"] == 1 / 4
    files = list(folder.glob(f"samples_{group}_*.jsonl"))
    assert len(files) == 15
    assert fmean(arithmetic.scores(row)["acc"] for file in files for row in arithmetic.rows(file)) == pytest.approx(
        made["groups"][group]["acc,none"]
    )
