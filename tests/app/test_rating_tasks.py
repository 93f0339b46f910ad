"""What annotators are asked, and what they can say: built of tables worked by hand."""

import json

import pytest
from rating_tables import ranked_rows, run_folder

from caredio import features, runs
from caredio.app import rating_tasks, shelf
from caredio.app.rating_tasks import Item, Said, Task, clicked
from caredio.errors import InputError

OTHERS = [("iran", "tea"), ("iran", "water"), ("mexico", "  Rice "), ("mexico", "corn"), ("china", "noodles")]


@pytest.fixture
def opened(tmp_path):
    rows = ranked_rows(
        ("china", 2, "q1", "rice"), ("china", 1, "q2", "duck"), ("china", 3, "q1", "bread"), others=OTHERS
    ) + ranked_rows(("mexico", 1, "q1", "corn"))
    return run_folder(tmp_path / "runs" / "first", rows)


def test_a_task_is_a_question_the_best_row_first_with_one_answer_of_each_other_culture_in_turn(opened):
    tasks = rating_tasks.rating("china", opened)
    assert len(tasks) == 2
    first, second = tasks[0], tasks[1]
    assert (first.question_id, first.items[0].response) == ("q2", "duck")
    assert [item.response for item in second.items[:2]] == ["rice", "bread"]
    # the culture's own other answer is none of another culture, and "  Rice " says what "rice" says
    assert {(item.culture, item.response) for item in second.items[2:]} == {
        ("iran", "tea"),
        ("iran", "water"),
        ("mexico", "corn"),
    }
    assert {item.culture for item in first.items[1:3]} == {"iran", "mexico"}
    assert {item.source for item in second.items} == {"runs/first"}
    assert [one.items[0].response for one in map(rating_tasks.rating("china", opened).__getitem__, (0, 1))] == [
        "duck",
        "rice",
    ]


def test_what_is_removed_from_releases_is_not_rated(opened):
    gone = [features.sample_id("china", "What of q2?", "duck"), "mexico-corn"]
    (opened.folder / "removed.txt").write_text("".join(f"{name}\n" for name in gone))
    tasks = rating_tasks.rating("china", opened)
    assert [item.response for task in map(tasks.__getitem__, range(len(tasks))) for item in task.items][:2] == [
        "rice",
        "bread",
    ]
    assert {item.response for item in tasks[0].items[2:]} == {"tea", "water"}


def test_a_question_of_many_rows_is_several_tasks(tmp_path):
    rows = ranked_rows(*(("china", rank, "q1", f"dish {rank}") for rank in range(1, 8)), others=OTHERS)
    tasks = rating_tasks.rating("china", run_folder(tmp_path / "run", rows))
    own = [[item.response for item in tasks[number].items if item.culture == "china"] for number in range(len(tasks))]
    assert own == [["dish 1", "dish 2", "dish 3"], ["dish 4", "dish 5", "dish 6"], ["dish 7"]]
    assert max(len(tasks[number].items) for number in range(len(tasks))) == 6
    assert len(set(tasks.names)) == 3


def test_two_datasets_answer_one_question_in_a_task(opened, tmp_path):
    rows = ranked_rows(("china", 1, "other-id", "dumplings"), ("china", 2, "q9", "soup"))
    rows[0]["question"] = "what of  Q1?"  # the same words
    other = run_folder(tmp_path / "second", rows)
    task = rating_tasks.rating("china", opened, other)[1]
    assert [(item.source.rpartition("/")[2], item.response) for item in task.items[:3]] == [
        ("first", "rice"),
        ("first", "bread"),
        ("second", "dumplings"),
    ]


def test_two_datasets_are_compared_by_question_or_else_by_rank(opened, tmp_path):
    same = run_folder(tmp_path / "same", ranked_rows(("china", 1, "q1", "soup"), ("china", 2, "q7", "goose")))
    by_question = rating_tasks.comparing("china", opened, same)
    assert [[item.response for item in by_question[at].items] for at in range(len(by_question))] == [
        ["rice", "soup"],
        ["bread", "soup"],
    ]
    apart = run_folder(tmp_path / "apart", ranked_rows(("china", 1, "x", "soup"), ("china", 2, "y", "goose")))
    by_rank = rating_tasks.comparing("china", opened, apart)
    assert [[item.response for item in by_rank[at].items] for at in range(len(by_rank))] == [
        ["duck", "soup"],
        ["rice", "goose"],
    ]
    assert len(rating_tasks.comparing("china", opened, opened)) == 1  # rice and bread; a row beside itself is none


def test_answers_are_shuffled_for_each_annotator_and_stay_so():
    items = tuple(Item(str(at), "china", "a", "Q?", str(at)) for at in range(4))
    task = Task("t", "rate", "china", "q", None, items)
    orders = {annotator: task.shown(annotator) for annotator in map(str, range(200))}
    assert orders == {annotator: task.shown(annotator) for annotator in orders}
    firsts = [shown[0].sample_id for shown in orders.values()]
    assert all(30 < firsts.count(name) < 70 for name in "0123")
    assert Task("u", "rate", "china", "q", None, items).shown("1") != task.shown("1")


ITEMS = tuple(
    Item(name, "china", source, f"{name}?", name) for name, source in (("a", "one"), ("b", "two"), ("c", "x"))
)
RATE = Task("t", "rate", "china", "q", None, ITEMS)
COMPARE = Task("t", "compare", "china", "q", None, ITEMS[:2])


def after(task, *clicks):
    said = Said()
    for click in clicks:
        said = clicked(task, said, "me", click)
    return said


def test_clicks_add_up():
    names = [item.sample_id for item in RATE.shown("me")]
    said = after(
        RATE,
        {"item": 0, "rate": 3},
        {"item": 0, "rate": 9},
        {"item": 1, "rate": 4},
        {"item": 1, "rate": None},
        {"item": 2, "move": 0},
        {"item": 2, "untrue": "no"},
        {"item": 1, "untrue": ""},
        {"item": 1, "untrue": None},
    )
    assert said == Said(ratings={names[0]: 9}, order=(names[2], names[0], names[1]), untrue={names[2]: "no"})
    assert not said.done(RATE)
    said = clicked(RATE, said, "me", {"item": 1, "rate": 10})
    assert said.done(RATE)
    assert said.contradictions(RATE) == [(names[0], names[1])]
    sides = [item.sample_id for item in COMPARE.shown("me")]
    said = after(COMPARE, {"verdict": "accuracy", "side": "right"}, {"verdict": "salience", "side": "same"})
    assert said.verdicts == {"accuracy": sides[1], "salience": "same"}
    assert said.done(COMPARE)
    assert not after(COMPARE, {"verdict": "accuracy", "side": "left"}).done(COMPARE)


@pytest.mark.parametrize(
    ("task", "click"),
    [
        (RATE, {}),
        (RATE, {"item": 3, "rate": 1}),
        (RATE, {"item": -1, "rate": 1}),
        (RATE, {"item": True, "rate": 1}),
        (RATE, {"item": "0", "rate": 1}),
        (RATE, {"item": 0}),
        (RATE, {"item": 0, "rate": 0}),
        (RATE, {"item": 0, "rate": 11}),
        (RATE, {"item": 0, "rate": 5.5}),
        (RATE, {"item": 0, "rate": "5"}),
        (RATE, {"item": 0, "move": 3}),
        (RATE, {"item": 0, "untrue": ["x"]}),
        (RATE, {"verdict": "accuracy", "side": "left"}),
        (COMPARE, {"item": 0, "rate": 5}),
        (COMPARE, {"verdict": "beauty", "side": "left"}),
        (COMPARE, {"verdict": "accuracy", "side": "a"}),
        (RATE, "rate"),
        (RATE, [1]),
    ],
)
def test_what_is_no_click_is_refused(task, click):
    with pytest.raises(InputError):
        after(task, click)


def test_a_release_s_pool_can_be_rated_like_a_run(opened, tmp_path):
    release = tmp_path / "release"
    (release / "china-pool").mkdir(parents=True)
    (release / "release.json").write_text(json.dumps({"kind": "dataset", "version": "v1.0.0"}))
    pool = runs.read([opened.folder / "scored" / "all.parquet"])
    pool.filter(lambda row: row["culture"] == "china").to_parquet(release / "china-pool" / "train.parquet")
    assert rating_tasks.rating("china", shelf.open(release)).names == rating_tasks.rating("china", opened).names
