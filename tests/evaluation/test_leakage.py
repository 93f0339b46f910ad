"""Questions of a benchmark that were planted in rows of training, and those that only look like one of them."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset
from llm_server import LLMServer

import caredio
from caredio import cli
from caredio.errors import InputError
from caredio.evaluation import leakage
from caredio.evaluation.leakage import CONTAINED, EQUAL, NEAR, Leak, Row
from caredio.evaluation.results import Asked
from caredio.evaluation.settings import Settings

NOON = "What do people of the river towns usually eat at noon on the day of the harvest?"
LONG = (
    "Which of the following sentences describes best how a guest who comes to the house of a farmer in the hills for"
    " the first time should greet the oldest person of the family before anybody else is served a cup of tea?"
)


def choice(question: str, number: str = "1", culture: str = "china") -> dict[str, Any]:
    return {"id": number, "culture": culture, "question": question, "options": ["rice", "ice"], "key": 0}


def row(text: str, answer: str = "Rice.", culture: str = "china", name: str = "a1") -> Row:
    prompt, completion = [{"role": "user", "content": text}], [{"role": "assistant", "content": answer}]
    given = {"sample_id": name, "culture": culture, "prompt": prompt, "completion": completion}
    (made,) = leakage.rows_of([given])
    return made


def found(document: dict[str, Any], *rows: Row) -> list[tuple[str, float]]:
    return [(one.how, one.similarity) for one in leakage.find({"b": [document]}, rows)]


@pytest.mark.parametrize(
    ("text", "how"),
    [
        (NOON, EQUAL),
        (f"  {NOON.upper()}!", EQUAL),
        (NOON.replace("the river", "river").replace("a", "ａ"), EQUAL),  # full-width letters
        (f"You live in China. {NOON} Answer in one word.", CONTAINED),
        (f"Question: {NOON}\nA. rice\nB. ice\nAnswer:", CONTAINED),
        (f'Please answer this question "{NOON}"', CONTAINED),
        (f"Q) {NOON}", CONTAINED),
        (f"Someone (it was a guest: {NOON}) asked", CONTAINED),
        (f"Noon - {NOON}", CONTAINED),
        (f"{NOON[:-1]} and explain why", CONTAINED),
        (f"Hello\r{NOON}", CONTAINED),
        (NOON.replace("harvest", "\u200fhar\u200bve\u00adst\u2060"), EQUAL),
    ],
)
def test_a_question_is_found_however_it_is_written(text: str, how: str) -> None:
    assert found(choice(NOON), row(text)) == [(how, 1.0)]


def test_a_question_in_an_answer_is_found_too() -> None:
    assert found(choice(NOON), row("Ask something.", answer=f"Gladly: {NOON}")) == [(CONTAINED, 1.0)]


def test_a_question_without_spaces_between_words_is_found() -> None:
    asked = "在收获的那一天，河边城镇的人们中午通常吃什么？"
    assert found(choice(asked), row(f"请回答。{asked}")) == [(CONTAINED, 1.0)]
    assert found(choice(asked), row(asked.replace("中午", "晚上"))) == []


def test_similarity_is_jaccards_of_runs_of_three_words() -> None:
    # 39 words but for articles; with the ends marked 41 runs, of which one other word changes 3: 38 of 44
    text = LONG.replace("oldest", "eldest")
    kept = [word for word in LONG.rstrip("?").lower().split() if word not in ("a", "an", "the")]
    expected = (len(kept) + 2 - 3) / (len(kept) + 2 + 3)
    assert expected > leakage.NEAR_ABOVE
    assert found(choice(LONG), row(text)) == [(NEAR, round(expected, 3))]


def test_questions_of_one_template_are_others() -> None:
    template = "What is the most popular sport among children in {}?"
    assert found(choice(template.format("China")), row(template.format("Mexico"))) == []
    assert found(choice(template.format("China")), row(template.format("China").replace("sport", "food"))) == []
    # a long one is near, unless it is about another culture
    text = LONG.replace("hills", "valleys")
    assert [how for how, _ in found(choice(LONG), row(text))] == [NEAR]
    assert found(choice(LONG), row(text, culture="mexico")) == []
    south = choice(LONG, culture="south_korea")
    assert [how for how, _ in found(south, row(text, culture="South Korea"))] == [NEAR]


@pytest.mark.parametrize(("culture", "leaks"), [("UK", 1), ("British", 1), ("United Kingdom", 1), ("Japan", 0)])
def test_a_row_on_a_culture_of_an_unknown_name_may_be_on_any(culture: str, leaks: int) -> None:
    near = LONG.replace("tea", "chai")
    assert len(found(choice(LONG, culture="united_kingdom"), row(near, culture=culture))) == leaks


def test_a_question_of_five_words_is_found_within_a_text_and_a_shorter_one_as_a_whole() -> None:
    five, four = "Who pours tea for guests?", "Who pours the tea first?"  # but for articles
    assert found(choice(five), row(f"Tell me: {five[:-1]} of yours?")) == [(CONTAINED, 1.0)]
    assert found(choice(five), row("Who pours tea for your guests?")) == []
    assert found(choice(four), row(f"Tell me: {four}")) == []
    assert found(choice(four), row(f"({four})")) == [(EQUAL, 1.0)]
    assert found(choice("早上吃什么"), row("请问大家早上吃什么呢")) == []


def test_a_longer_question_is_found_beside_one_that_begins_like_it() -> None:
    asked = [choice(NOON, "n"), choice(f"{NOON[:-1]} in the hills?", "h"), choice(NOON[: NOON.index(" at noon")], "s")]
    text = f"Say: {NOON[:-1]} in the hills, please"
    leaks = leakage.find({"b": asked}, [row(text)])
    assert sorted((one.id, one.how) for one in leaks) == [("h", CONTAINED), ("n", CONTAINED), ("s", CONTAINED)]


@pytest.mark.parametrize(
    ("one", "other", "n"),
    [
        ("कि", "की", 1),  # Hindi
        ("काम करना", "कम करना", 2),
        ("কি", "কী", 1),  # Assamese
        ("كِتاب", "كُتاب", 1),  # Arabic, with vowel signs
        ("กี", "กา", 1),  # Thai, whose letters are words
    ],
)
def test_vowel_signs_are_part_of_words(one: str, other: str, n: int) -> None:
    assert leakage.words(one) != leakage.words(other)
    assert len(leakage.words(one)) == n


def test_statements_options_and_long_answers_count() -> None:
    judged = {"id": "1", "culture": "china", "question": "Who?", "statements": [NOON, "No."], "truth": [True, False]}
    assert found(judged, row("Read.", answer=f"Who? {NOON} No.")) == [(EQUAL, 1.0)]
    answered = {"id": "1", "culture": "china", "question": "Why?", "answers": [{"text": NOON, "weight": 1}]}
    assert found(answered, row("Tell.", answer=NOON)) == [(EQUAL, 1.0)]
    assert found({**answered, "answers": [{"text": "tea", "weight": 1}]}, row("Tell.", answer="Tea!")) == []


def test_rows_of_pairs_and_of_marked_answers_are_read() -> None:
    def said(text: str) -> list[dict[str, str]]:
        return [{"role": "assistant", "content": text}]

    pair = {"culture": "china", "prompt": said("?"), "chosen": said(NOON), "rejected": said(LONG)}
    marked = {"culture": "china", "prompt": said("?"), "completion": said(LONG), "label": True}
    rows = list(leakage.rows_of([pair, marked]))
    assert [one.sample_id for one in rows] == ["number 1", "number 2"]
    leaks = leakage.find({"b": [choice(NOON, "n"), choice(LONG, "l")]}, rows)
    assert {(one.id, one.sample_id) for one in leaks} == {("n", "number 1"), ("l", "number 1"), ("l", "number 2")}


def test_rows_of_chats_and_of_texts_are_read() -> None:
    parts = [{"type": "text", "text": NOON}, {"type": "image"}]
    rows: list[dict[str, Any]] = [
        {"messages": [{"role": "user", "content": NOON}, {"role": "assistant", "content": "Rice."}]},
        {"messages": [{"role": "user", "content": parts}, {"role": "assistant", "content": None}]},
        {"text": f"### Question\n{NOON}\n### Answer\nRice."},
        {"prompt": NOON, "chosen": "Rice.", "rejected": "Ice."},
        {"prompt": [{"role": "user", "content": None}], "completion": []},
    ]
    read = list(leakage.rows_of(rows))
    assert {one.sample_id for one in leakage.find({"b": [choice(NOON)]}, read)} == {f"number {n}" for n in range(1, 5)}
    assert read[4].texts == ()


def test_a_leak_is_told_once_by_its_closest_text() -> None:
    one = row(NOON, answer=f"You ask: {NOON}")
    assert leakage.find({"b": [choice(NOON)]}, [one, one]) == [Leak("b", "1", "china", "a1", EQUAL, 1.0)]


# --- in an evaluation

QUESTIONS = [(NOON, "Rice", "Bricks", "Coal", "Glass", "A"), (LONG, "Ink", "Oil", "Glue", "Tea", "D")]


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


def trained_on(question: str, out: Path) -> Path:
    """A run that ranked three questions, one of them this."""
    texts = ["What is worn at a wedding?", "What is sung at a wedding?", question]
    answers = {"china": ["silk", "songs", "noodles"], "mexico": ["lace", "hymns", "mole"]}
    rows = [
        {
            "question_id": f"q{number}",
            "culture": culture,
            "question": text,
            "response": f"{given[number]}, as everybody knows",
            "sample_embedding": [float(number == place) for place in range(3)],
            "response_embedding": [1.0, float(number), float(culture == "china")],
        }
        for culture, given in answers.items()
        for number, text in enumerate(texts)
    ]
    caredio.select(Dataset.from_list(rows), out=out, embedder="given", theta=0.99)
    return out


def command(server: LLMServer, questions: Path, out: Path, *more: str) -> list[str]:
    asked = ["evaluate", "--out", str(out), "--cultures", "china", "--model", "ft:m", "--base-url", server.url]
    files = ["--culturalbench", str(questions), "--store", str(questions.with_name("answers.sqlite"))]
    return [*asked, *files, "--benchmarks", "culturalbench_easy", "--quiet", *more]


def record(out: Path) -> dict[str, Any]:
    (made,) = json.loads((out / "run.json").read_text())["stages"]["results"]["measured"]
    return dict(made["leakage"])


def test_a_clean_run_is_reported_with_what_was_looked_at(questions: Path, tmp_path: Path) -> None:
    out = trained_on("What is given to guests at a wedding?", tmp_path / "run")
    with LLMServer(lambda *_: "A") as server:
        cli.main(command(server, questions, out))
    wanted = {"sources": ["ranked"], "rows": 6, "questions": {"CulturalBench-Easy": 2}, "leaks": [], "unchecked": []}
    assert record(out) == wanted


def test_a_leaked_benchmark_is_refused_before_anything_is_asked(
    questions: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = trained_on(NOON, tmp_path / "run")
    with LLMServer(lambda *_: "A") as server:
        for more in ([], ["--dry-run"]):
            with pytest.raises(SystemExit) as stopped:
                cli.main(command(server, questions, out, *more))
            assert stopped.value.code == 2
            told = capsys.readouterr().err
            assert (
                "1 of 2 questions of CulturalBench-Easy stand in rows of training: question 0 on china in row" in told
            )
            assert "(equal)" in told
            assert told.rstrip().endswith("--allow-leaked.")
        assert server.seen == []
        assert not (out / "results").exists()
        cli.main(command(server, questions, out, "--allow-leaked"))
    assert "1 of 2 questions of CulturalBench-Easy" in capsys.readouterr().out  # below the table too
    found = record(out)
    ranked = caredio.Result({"ranked": None}, {}, out).ranked
    holders = {one["sample_id"] for one in ranked if one["question"] == NOON}
    assert {(one["id"], one["how"], one["sample_id"]) for one in found["leaks"]} == {
        ("0", EQUAL, one) for one in holders
    }
    assert len(holders) == 2


def test_what_a_model_says_it_was_trained_on_is_read(questions: Path, tmp_path: Path) -> None:
    out = trained_on(NOON, tmp_path / "run")
    models = tmp_path / "models"
    for culture, table in (("china", str(out / "ranked")), ("mexico", str(tmp_path / "nowhere"))):
        (models / culture).mkdir(parents=True)
        made = {"dataset_name": table, "dataset_config": culture, "dataset_split": "train", "budget": None}
        (models / culture / "training.json").write_text(json.dumps(made))
    with caredio.runs.Run(tmp_path / "other") as run:
        learned = leakage.training(run, models)
    assert learned.sources == [f"{out / 'ranked'} (china)"]
    assert {one.culture for one in learned.rows} == {"china"}
    assert [one.how for one in leakage.find({"b": [choice(NOON)]}, learned.rows)] == [EQUAL]
    (unread,) = learned.unread
    assert "mexico/training.json names" in unread
    assert "could not be checked" in unread


def test_a_budget_leaves_out_the_rows_below_it(tmp_path: Path) -> None:
    out = trained_on(NOON, tmp_path / "run")
    (tmp_path / "model").mkdir()
    made = {"dataset_name": str(out / "ranked"), "dataset_config": "china", "dataset_split": "train", "budget": 1}
    (tmp_path / "model" / "training.json").write_text(json.dumps(made))
    with caredio.runs.Run(tmp_path / "other") as run:
        (only,) = leakage.training(run, tmp_path / "model").rows
    ranked = caredio.Result({"ranked": None}, {}, out).ranked
    assert [one["sample_id"] for one in ranked if one["culture"] == "china" and one["rank"] == 1] == [only.sample_id]


def recorded(folder: Path, rows: list[dict[str, Any]], **more: Any) -> Path:
    """A folder whose record names a table of these rows."""
    folder.mkdir(parents=True, exist_ok=True)
    table = folder / "data"
    table.mkdir()
    (table / "train.jsonl").write_text("".join(json.dumps(one) + "\n" for one in rows))
    (folder / "training.json").write_text(json.dumps({"dataset_name": str(table), "dataset_config": None, **more}))
    return folder


def learned(folder: Path, model: Path | None = None, trained: Path | None = None) -> leakage.Training:
    with caredio.runs.Run(folder / "no run") as run:
        return leakage.training(run, trained, model)


def test_what_a_model_was_trained_from_is_read_too(tmp_path: Path) -> None:
    first = recorded(tmp_path / "first", [{"text": "One."}], base_model="owner/base")
    adapter = recorded(tmp_path / "adapter", [{"text": "Two."}], base_model=str(first))
    last = recorded(tmp_path / "last", [{"text": "Three."}], base_model=str(first), adapter=str(adapter))
    assert [one.texts for one in learned(tmp_path, last).rows] == [("Three.",), ("One.",), ("Two.",)]
    assert learned(tmp_path, last).rows[0] == learned(tmp_path, trained=last).rows[0]
    assert [one.texts for one in learned(tmp_path, first, last).rows] == [("Three.",), ("One.",), ("Two.",)]


def test_a_leaked_model_is_refused_without_being_called_trained(questions: Path, tiny: Path, tmp_path: Path) -> None:
    model = tmp_path / "model"
    shutil.copytree(tiny, model)
    recorded(model, [{"messages": [{"role": "user", "content": NOON}]}])
    given: dict[str, Any] = {"culturalbench": str(questions), "benchmarks": "culturalbench_easy", "device": "cpu"}
    with pytest.raises(InputError, match=r"1 of 2 questions .* stands in rows of training: question 0 on china in row"):
        caredio.evaluate(["china"], model=str(model), out=tmp_path / "run", **given)


def test_two_budgets_of_one_table_are_both_read(tmp_path: Path) -> None:
    rows = [{"text": text, "rank": rank} for rank, text in enumerate(["One.", "Two.", "Three."], 1)]
    small, large = recorded(tmp_path / "small", rows, budget=1), tmp_path / "large"
    large.mkdir()
    record = json.loads((small / "training.json").read_text())
    (large / "training.json").write_text(json.dumps({**record, "budget": 2}))
    made = learned(tmp_path, large, small)
    assert [one.texts for one in made.rows] == [("One.",), ("Two.",)]
    assert len(made.sources) == 1


def test_a_budget_without_ranks_takes_every_row(tmp_path: Path) -> None:
    made = learned(tmp_path, recorded(tmp_path / "model", [{"text": "One."}, {"text": "Two."}], budget=1))
    assert [one.texts for one in made.rows] == [("One.",), ("Two.",)]


@pytest.mark.parametrize("record", ["[1]", "{", '{"steps": 3}', '{"dataset_name": ["a"]}'])
def test_a_record_that_names_no_data_could_not_be_checked(record: str, tmp_path: Path) -> None:
    (tmp_path / "training.json").write_text(record)
    made = learned(tmp_path, tmp_path)
    assert made.rows == []
    (unread,) = made.unread
    assert unread.endswith("so it could not be checked.")


def test_rows_without_a_known_column_are_told(questions: Path, tmp_path: Path) -> None:
    model = recorded(tmp_path / "model", [{"instruction": NOON}, {"instruction": LONG}])
    asked = Asked(["china"], Settings(culturalbench=str(questions), benchmarks="culturalbench_easy"), None, [])
    leakage.check(asked, learned(tmp_path, model), allowed=False)
    (told,) = asked.leakage["unchecked"]
    assert told in asked.notes
    assert f"2 of 2 rows of {model / 'data'} (None) hold no text in a known column (prompt, " in told
    assert told.endswith("could not be checked.")


@pytest.mark.parametrize("name", ["datasketch"])
def test_without_its_package_the_check_says_what_to_install(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda asked: None if asked == name else object())
    with pytest.raises(InputError, match=r"^the check of leakage needs datasketch, .*'caredio\[eval\]'"):
        leakage.find({"b": [choice(NOON)]}, [row(NOON)])
