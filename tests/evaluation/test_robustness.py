"""The same questions asked in other ways: what a model is shown, what its numbers do, and where they stand."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from llm_server import LLMServer

import caredio
from caredio import cli
from caredio.errors import InputError
from caredio.evaluation import benchmark, robustness, samples
from caredio.evaluation.robustness import Spread
from caredio.evaluation.settings import Settings

PEOPLE = "What do people eat at noon?"
RIGHT = {"Rice", "Tea"}
QUESTIONS = [(PEOPLE, "Rice", "Bricks", "Coal", "Glass", "A"), ("And drink?", "Ink", "Oil", "Glue", "Tea", "D")]
ORDERS = [f"order{number}" for number in (1, 2, 3, 4)]


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    """Two questions on China, as CulturalBench has them."""
    file = tmp_path / "questions.csv"
    names = ["prompt_question", *(f"prompt_option_{letter}" for letter in "abcd"), "answer"]
    with file.open("w", newline="") as lines:
        writer = csv.writer(lines)
        writer.writerow(["data_idx", *names, "country"])
        writer.writerows([number, *question, "China"] for number, question in enumerate(QUESTIONS))
    return file


def options(body: dict[str, Any]) -> dict[str, str]:
    """What an option is called -> the option, as the model reads them; in their order."""
    lines = body["messages"][-1]["content"].splitlines()
    called = [line.split(" ", 1) for line in lines if line[:2] in {f"{one}." for one in "ABCDabcd1234"}]
    called += [line.split(" ", 1) for line in lines if line[:3] in {f"({one})" for one in "ABCD"}]
    return {name.strip("()."): text for name, text in called}


def oracle(body: dict[str, Any]) -> str:
    return next(name for name, text in options(body).items() if text in RIGHT)


def first(body: dict[str, Any]) -> str:
    return next(iter(options(body)))


def asked(server: LLMServer, questions: Path, out: Path, **more: Any) -> Any:
    given = {"model": "tuned", "base_url": server.url, "store": questions.with_name("answers.sqlite"), **more}
    given = {"benchmarks": "culturalbench_easy", "robustness": True, **given}
    return caredio.evaluate(["china"], out=out, culturalbench=str(questions), **given)


def found(out: Path) -> dict[str, Spread]:
    ways = [f"culturalbench_easy+{way}_generated" for way in (*robustness.WAYS, "paraphrased")]
    return {one.system: one for one in robustness.spreads(out / "samples", ways, ["china"])}


def serving(says: Callable[[dict[str, Any]], str]) -> LLMServer:
    return LLMServer(lambda _, body: says(body))


def test_each_way_shows_the_model_what_it_says(questions: Path) -> None:
    (easy, _), *_ = benchmark.chosen(["culturalbench_easy"])
    (document, _) = easy.about("china", ["china"], questions, "generated")
    shown = document["options"]
    prompt = caredio.prompts.load("choice")
    for way in robustness.WAYS:
        varied = robustness.vary(easy, way)
        (made, _) = varied.about("china", ["china"], questions, "")
        (turn,) = varied.kind.turns(made, prompt, "generated")
        lines = turn.splitlines()[2:6]
        wanted = [f"{letter}. {text}" for letter, text in zip("ABCD", shown, strict=True)]
        if way in ORDERS:
            place = ORDERS.index(way)
            wanted = [f"{letter}. {text}" for letter, text in zip("ABCD", shown[place:] + shown[:place], strict=True)]
        elif way == "brackets":
            wanted = [f"({line[0]}) {line[3:]}" for line in wanted]
        else:
            names = {"digits": "1234", "lower": "abcd"}[way]
            wanted = [f"{name}. {line[3:]}" for name, line in zip(names, wanted, strict=True)]
        assert lines == wanted
        assert made["options"][made["key"]] == document["options"][document["key"]] == "Rice"
        assert turn.splitlines()[1] == f"Question: {PEOPLE}"


def test_who_knows_is_right_in_every_way_and_who_takes_the_first_in_a_quarter_of_the_orders(
    questions: Path, tmp_path: Path
) -> None:
    with serving(oracle) as server:
        asked(server, questions, tmp_path / "knows")
    with serving(first) as server:
        asked(server, questions, tmp_path / "takes", store=tmp_path / "other.sqlite")
        assert len(server.seen) == 2 * 2 * 7  # systems, questions and ways, of which one is how it is asked anyway
    knows, takes = found(tmp_path / "knows")["raw"], found(tmp_path / "takes")["raw"]
    assert (knows.n, set(knows.by_way.values()), knows.changed) == (2, {1.0}, 0.0)
    assert list(knows.by_way) == list(robustness.WAYS)
    # each option is first in one of four orders; names and form do not change which one is
    assert sum(takes.by_way[way] for way in ORDERS) == pytest.approx(1.0)
    assert takes.by_way["digits"] == takes.by_way["lower"] == takes.by_way["brackets"] == takes.by_way["order1"]
    assert takes.changed == 1.0


def test_a_report_by_hand() -> None:
    raw = Spread("china", "b", "raw", 4, {"order1": 0.5, "order2": 0.25, "digits": 0.75}, 0.75)
    trained = Spread("china", "b", "trained", 4, {"order1": 0.75, "order2": 0.5, "digits": 0.5}, 0.5)
    head, names, *lines = robustness.report([raw, trained]).splitlines()[:4]
    assert head == "Accuracy on the same questions, asked in 3 ways: order1, order2, digits."
    assert names.split()[:4] == ["culture", "benchmark", "system", "n"]
    # the deviation of 25, 50, 75 is the root of 1250 / 3; of 50, 50, 75 that of 1250 / 9; the differences 25, 25, -25
    assert [" ".join(line.split()) for line in lines] == [
        "china b raw 4 50.0 ± 20.4 25.0 (order2) 75.0 (digits) 75.0 -",
        "china b trained 4 58.3 ± 11.8 50.0 (order2) 75.0 (order1) 50.0 +8.3 [-25.0, +25.0]",
    ]


def test_the_ways_stand_below_the_table_and_in_no_other(
    questions: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    with serving(oracle) as server:
        made = asked(server, questions, out)
    table, _, below = str(made).partition("Accuracy on the same questions")
    assert "+digits" not in table
    assert "asked in 7 ways" in below
    assert "left out, as no question of these benchmarks names a topic" in below
    assert {row["benchmark"] for row in made.results if row["system"] == "raw"} == {
        "culturalbench_easy_generated",
        *(f"culturalbench_easy+{way}_generated" for way in robustness.WAYS),
    }
    assert not [row for row in made.results if "+" in row["benchmark"] and row["system"] == "chance"]
    cli.main(["results", str(out)])
    told = capsys.readouterr().out
    assert "+digits" not in told
    assert "what was asked in other ways is left out" in told


def test_what_was_measured_before_is_not_asked_again(questions: Path, tmp_path: Path) -> None:
    with serving(oracle) as server:
        asked(server, questions, tmp_path / "run", robustness=False)
        before = len(server.seen)
        asked(server, questions, tmp_path / "run", store=tmp_path / "empty.sqlite")
        assert len(server.seen) - before == 2 * 2 * 7
        asked(server, questions, tmp_path / "run", store=tmp_path / "empty.sqlite")
        assert len(server.seen) - before == 2 * 2 * 7


def test_questions_in_other_words_are_compared_with_themselves_alone(questions: Path, tmp_path: Path) -> None:
    words = tmp_path / "words.csv"
    words.write_text('id,question\n1,"What is drunk, in other words?"\n')

    def says(body: dict[str, Any]) -> str:  # knows what is eaten, and is lost in other words
        text = body["messages"][-1]["content"]
        return "E" if "in other words" in text else oracle(body)

    with serving(says) as server:
        asked(server, questions, tmp_path / "run", paraphrases=str(words))
        texts = [body["messages"][-1]["content"] for body in server.bodies.values()]
    assert sum("in other words" in text for text in texts) == 2  # raw and in the role
    spread = found(tmp_path / "run")["raw"]
    assert (spread.n, spread.by_way["paraphrased"], spread.by_way["order1"], spread.changed) == (1, 0.0, 1.0, 1.0)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("id\n1\n", r"column question is missing; give the columns id and question"),
        ("id,question\n1,a\n1,b\n", r"line 3, column id: '1' is there twice"),
        ("id,question\n1,\n", r"line 2, column question: is empty"),
        ("id,question\nx,a\n", r"names no question of the benchmark; its ids are such as '0'"),
        (None, r"cannot be read"),
    ],
)
def test_a_file_of_paraphrases_that_does_not_fit(
    text: str | None, wanted: str, questions: Path, tmp_path: Path
) -> None:
    words = tmp_path / "words.csv"
    if text is not None:
        words.write_text(text)
    with serving(oracle) as server:
        with pytest.raises(InputError, match=wanted):
            asked(server, questions, tmp_path / "run", paraphrases=str(words))
        assert server.seen == []


def test_what_cannot_be_asked_in_other_ways_says_so(questions: Path, tmp_path: Path) -> None:
    with serving(oracle) as server:
        with pytest.raises(InputError, match=r"^robustness is for multiple choice, and no benchmark is; name one"):
            asked(server, questions, tmp_path / "run", benchmarks="culturalbench_hard")
        with pytest.raises(InputError, match=r"^robustness is given without out; name the run folder"):
            caredio.evaluate(["china"], culturalbench=str(questions), robustness=True, model="ft:m")
    with pytest.raises(InputError, match=r"^'upper' is no way to ask culturalbench_easy; there are order1, "):
        benchmark.chosen(["culturalbench_easy+upper"])
    with pytest.raises(InputError, match=r"^paraphrases is given without robustness"):
        Settings(paraphrases="words.csv")


def test_weights_are_asked_in_other_ways_through_lm_eval(questions: Path, tmp_path: Path, tiny: Path) -> None:
    out = tmp_path / "run"
    words = tmp_path / "words.jsonl"
    words.write_text(json.dumps({"id": "0", "question": "Noon, in other words?"}) + "\n")
    given = {"benchmarks": "culturalbench_easy", "culturalbench": str(questions), "robustness": True}
    caredio.evaluate(["china"], out=out, model=str(tiny), device="cpu", paraphrases=str(words), **given)
    measured = {one.benchmark: one for one in samples.find(out / "samples") if one.system == "raw"}
    assert len(measured) == 1 + len(robustness.WAYS) + 1
    for name, one in measured.items():
        rows = samples.rows(one)
        way = name.partition("+")[2]
        assert len(rows) == (1 if way == "paraphrased" else 2)
        for row in rows:
            prompts = [arguments["arg_0"] for arguments in row["arguments"].values()]
            letters = [arguments["arg_1"].strip() for arguments in row["arguments"].values()]
            assert letters == list({"digits": "1234", "lower": "abcd"}.get(way, "ABCD" * (1 if way else 4)))
            if way:  # the option of the likeliest letter is the right one, or is not
                likelihoods = [float(one[0][0]) for one in row["resps"]]
                chosen = row["doc"]["options"][likelihoods.index(max(likelihoods))]
                assert row["acc"] == float(chosen in RIGHT)
                assert len(set(prompts)) == 1


@pytest.mark.parametrize(("number", "asked_in"), [(2, ["order1", "order2", "digits", "lower", "brackets"]), (12, None)])
def test_a_way_that_a_question_does_not_have_is_not_asked(
    number: int, asked_in: list[str] | None, tmp_path: Path
) -> None:
    """Of two options, the third order is the first again; and a tenth option has no digit of its own."""
    table = [{"culture": "china", "question": "What?", "options": [f"o{n}" for n in range(number)], "key": "A"}]
    (tmp_path / "t.json").write_text(json.dumps(table))
    text = "name: t\ntitle: T\nkind: choice\nfile: t.json\nlicence: none\n"
    (tmp_path / "t.yaml").write_text(text)
    ((own, _),) = benchmark.chosen([str(tmp_path / "t.yaml")])
    prompt = caredio.prompts.load("choice")
    turns = {}
    for way in robustness.WAYS:
        varied = robustness.vary(own, way)
        for document in varied.about("china", ["china"], tmp_path / "t.json", ""):
            (turns[way],) = varied.kind.turns(document, prompt, "")
    assert list(turns) == (asked_in or [way for way in robustness.WAYS if way != "digits"])
    assert len(set(turns.values())) == len(turns)


def test_an_order_that_a_question_has_already_been_asked_in_is_asked_of_none(tmp_path: Path) -> None:
    """Of three options the fourth order is the first again; all questions are asked in the same orders."""
    table = [
        {"culture": culture, "question": f"What of {number}?", "options": [f"o{n}" for n in range(number)], "key": "A"}
        for culture, number in [("china", 3), ("mexico", 4)]
    ]
    (tmp_path / "t.json").write_text(json.dumps(table))
    (tmp_path / "t.yaml").write_text("name: t\ntitle: T\nkind: choice\nfile: t.json\nlicence: none\n")
    ((own, _),) = benchmark.chosen([str(tmp_path / "t.yaml")])
    firsts: dict[str, list[str]] = {}
    for way in ORDERS:
        for document in robustness.vary(own, way).documents(tmp_path / "t.json"):
            firsts.setdefault(document["question"], []).append(document["options"][0])
    assert firsts == {"What of 3?": ["o0", "o1", "o2"], "What of 4?": ["o0", "o1", "o2"]}
