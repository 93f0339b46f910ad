"""What annotators said, exported: every number worked by hand, or another library's."""

import json
import os
import subprocess
import sys
from dataclasses import replace

import pytest
from datasets import Dataset
from rating_tables import ranked_rows, run_folder
from scipy import stats

import caredio
from caredio import cli, features, runs
from caredio.app import annotations, rating_export, rating_tasks, shelf
from caredio.app.annotations import Annotation, Annotations
from caredio.app.rating_export import Ratings
from caredio.app.rating_tasks import Item, Said, Task

# three answers to each question; a and b are the culture's own
SCORES = {"amina": [(9, 6, 2), (8, 3, 1), (7, 7, 4)], "bo": [(8, 7, 1), (9, 5, 2), (6, 8, 3)]}


def tasks():
    return [
        Task(
            f"t{number}",
            "rate",
            "china",
            f"q{number}",
            "customs",
            (
                Item(f"a{number}", "china", "runs/a", f"Q{number}?", f"best {number}"),
                Item(f"b{number}", "china", "runs/a", f"Q{number}?", f"good {number}"),
                Item(f"c{number}", "iran", "runs/a", f"Q{number}?", f"other {number}"),
            ),
        )
        for number in range(3)
    ]


def found(untrue=()):
    """Both annotators' ratings; `untrue` are (annotator, sample_id) besides."""
    made = []
    for who, scores in SCORES.items():
        for task, row in zip(tasks(), scores, strict=True):
            ratings = {item.sample_id: rating for item, rating in zip(task.items, row, strict=True)}
            marked = {name: "no!" for one, name in untrue if one == who and name in ratings}
            made.append(Annotation(who, task, Said(ratings, untrue=marked)))
    return made


def test_care_s_columns_are_what_prefer_reads(tmp_path):
    ratings = Ratings(found())
    rows = list(ratings.care())
    assert len(rows) == 18
    assert rows[0] == {
        "source": "runs/a, china",
        "question": "Q0?",
        "response": "best 0",
        "culture_type": "customs",
        "associated_culture": "Native (Chinese)",
        "rating": 9,
        "culture": "china",
        "question_id": "q0",
        "place": 1.0,
        "not_true_here": False,
        "comment": "",
        "annotator": "amina",
    }
    file = tmp_path / "care.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    made = caredio.prefer(file, origin=None)
    # means: q0 8.5 6.5 1.5; q1 8.5 4 1.5; q2 6.5 7.5 3.5
    assert {
        (row["question_id"], row["chosen"][0]["content"], row["rejected"][0]["content"]) for row in made.preference
    } == {("q0", "best 0", "other 0"), ("q1", "best 1", "other 1"), ("q2", "good 2", "other 2")}


def test_not_true_is_a_column_of_its_own_beside_the_comment():
    task, *_ = tasks()
    said = Said({"a0": 3, "b0": 4, "c0": 5}, untrue={"a0": "", "b0": "no!"})
    rows = list(Ratings([Annotation("amina", task, said)]).care())
    assert [(row["not_true_here"], row["comment"]) for row in rows] == [(True, ""), (True, "no!"), (False, "")]


def test_it_is_said_how_many_people_rated_and_rejected_each(tmp_path):
    opened = run_folder(tmp_path / "run", ranked_rows(*(("china", at, f"q{at}", f"dish {at}") for at in range(1, 8))))
    folder = tmp_path / "run" / "ratings"
    rate_all(folder, opened, ["Amina"], untrue=[f"dish {at}" for at in range(2, 8)])
    names = [row["sample_id"] for row in opened.cells(range(len(opened)), "sample_id")]
    assert rating_export.reviewed(folder, names) == (
        "7 of 7 ranked rows were rated by 1 person of their cultures: 7 by 1 person; 6 are left out, called not true"
        " there: 6 by 1 person."
    )
    lines = str(rating_export.load(folder)).splitlines()
    assert lines[-7] == "Rejected, and left out of the next release: 6 by 1 person"
    assert lines[-1] == "  and 1 more"
    item = next(iter(rating_export.load(folder).own.values())).item
    long = replace(item, question="Q\x1b[31m?", response="rice " * 40)
    task = Task("t", "rate", "china", "q", None, (long,))
    said = str(Ratings([Annotation("amina", task, Said(untrue={long.sample_id: ""}))])).splitlines()[-1]
    assert said == f"  {long.sample_id} Q [31m? - {('rice ' * 40)[:87]}..."


def test_places_are_the_order_or_else_the_ratings_with_ties():
    (tied,) = [one for one in found() if one.annotator == "amina" and one.task.task_id == "t2"]
    moved = tied._replace(said=replace(tied.said, order=("c2", "a2", "b2")))
    assert [row["place"] for row in Ratings([tied]).care()] == [1.5, 1.5, 3.0]
    assert [row["place"] for row in Ratings([moved]).care()] == [2.0, 3.0, 1.0]


def test_of_one_person_s_ratings_of_an_answer_in_two_tasks_the_last_counts_once():
    task, *_ = tasks()
    before = Annotation("amina", task, Said({"a0": 3, "b0": 5}))
    after = Annotation("amina", replace(task, task_id="again", items=task.items[::2]), Said({"a0": 9}))
    ratings = Ratings([before, after, Annotation("bo", task, Said({"a0": 4}))])
    assert sorted((row["annotator"], row["response"], row["rating"]) for row in ratings.care()) == [
        ("amina", "best 0", 9),
        ("amina", "good 0", 5),
        ("bo", "best 0", 4),
    ]
    assert [row["rating"] for row in ratings.kto()] == [6.5, 5]
    assert str(ratings).startswith("china: 2 annotators, 0 tasks done, 3 ratings\n")


def test_kto_labels_are_the_mean_rating_s_unless_most_say_that_it_is_not_true():
    untrue = [("amina", "a0"), ("bo", "a0"), ("amina", "b0")]  # of b0 one of two, which is not most
    rows = {row["completion"][0]["content"]: row for row in Ratings(found(untrue)).kto()}
    assert {text: row["label"] for text, row in rows.items()} == {
        **{"best 0": False, "good 0": True, "other 0": False},
        **{"best 1": True, "good 1": False, "other 1": False},
        **{"best 2": True, "good 2": True, "other 2": False},
    }
    assert rows["good 0"]["rating"] == 6.5
    assert rows["good 0"]["prompt"] == [{"role": "user", "content": "Q0?"}]
    only_marked = Annotation("amina", tasks()[0], Said(untrue={"a0": ""}))
    (row,) = Ratings([only_marked]).kto()
    assert (row["label"], row["rating"], row["annotators"]) == (False, None, 1)


def test_own_answers_that_most_say_are_not_true_are_rejected():
    untrue = [("amina", "a0"), ("bo", "a0"), ("amina", "b0"), ("amina", "c1"), ("bo", "c1")]
    assert Ratings(found(untrue)).rejected == ["a0"]  # c1 is another culture's
    assert Ratings(found()).rejected == []


def test_agreement_is_scipy_s_between_two_people():
    amina, bo = ([rating for row in SCORES[who] for rating in row] for who in ("amina", "bo"))
    given = {one.measure: one.value for one in Ratings(found()).agreement()["china"]}
    assert given["Pearson"] == pytest.approx(stats.pearsonr(amina, bo)[0])
    assert given["Spearman"] == pytest.approx(stats.spearmanr(amina, bo)[0])
    assert given["Kendall"] == pytest.approx(stats.kendalltau(amina, bo)[0])
    # two raters of nine units: Do = mean squared difference, De = that of all 18 values
    values = amina + bo
    observed = sum((one - other) ** 2 for one, other in zip(amina, bo, strict=True)) / 9
    expected = sum((one - other) ** 2 for one in values for other in values) / (18 * 17)
    assert given["Krippendorff's alpha"] == pytest.approx(1 - observed / expected)


def test_one_person_agrees_with_nobody():
    alone = Ratings([one for one in found() if one.annotator == "bo"])
    assert alone.agreement() == {}
    assert str(alone) == "china: 1 annotator, 3 tasks done, 9 ratings"


def compared(who, verdicts):
    made = []
    for number, (accuracy, salience) in enumerate(verdicts):
        items = tuple(Item(f"{name}{number}", "china", f"data/{name}", "Q?", name) for name in "ab")
        named = {"a": f"a{number}", "b": f"b{number}", "=": "same"}
        said = Said(verdicts={"accuracy": named[accuracy], "salience": named[salience]})
        made.append(Annotation(who, Task(f"s{number}", "compare", "china", f"q{number}", None, items), said))
    return made


def test_two_datasets_are_counted_by_measure():
    ratings = Ratings([*compared("amina", ["ab", "a=", "bb"]), *compared("bo", ["ab", "=b", "ab"])])
    rows = list(ratings.study())
    assert [row["better"] for row in rows if row["measure"] == "accuracy"] == [
        "data/a", "data/a", "data/b", "data/a", "same", "data/a"
    ]  # fmt: skip
    text = str(ratings)
    # accuracy 4.5 of 6, salience 0.5 of 6; the intervals are Wilson's, by hand
    assert "  accuracy: data/a over data/b 75 % [36, 94] (n=6, 4 better, 1 worse, 1 equal)" in text
    assert "  salience: data/a over data/b 8 % [1, 48] (n=6, 0 better, 5 worse, 1 equal)" in text


def test_candidates_weigh_more_for_each_person_who_finds_them_right_and_nothing_where_most_do_not():
    candidates = features.table(
        [
            {"sample_id": name, "weight": weight}
            for name, weight in [("a0", 3.0), ("a1", None), ("b1", 2.0), ("z", 5.0)]
        ],
        features.CANDIDATES,
    )
    made = Ratings(found([("amina", "a0"), ("bo", "a0")])).weighted(candidates)
    assert dict(zip(made["sample_id"], made["weight"], strict=True)) == {"a0": 0.0, "a1": 3.0, "b1": 2.0, "z": 5.0}
    assert made.features == candidates.features


def test_files_hold_what_there_is(tmp_path):
    rows = ranked_rows(("china", 1, "q1", "rice"), ("china", 2, "q2", "duck"), others=[("iran", "tea")])
    opened = run_folder(tmp_path / "run", rows)
    tasks = rating_tasks.rating("china", opened)
    folder = tmp_path / "run" / "ratings"
    with Annotations(folder) as kept:
        who = kept.annotator("Amina")
        for at in range(2):
            shown = [item.response for item in tasks[at].shown(who)]
            kept.click(who, tasks[at], {"item": shown.index(tasks[at].items[0].response), "rate": 8})
        shown = [item.response for item in tasks[1].shown(who)]
        kept.click(who, tasks[1], {"item": shown.index("duck"), "untrue": "we eat <b>goose</b>"})
    ratings = rating_export.load(folder)
    made = rating_export.written(ratings, folder, opened).files
    assert [file.name for file in made] == ["care.jsonl", "kto.jsonl", "weighted.parquet"]
    weighted = Dataset.from_parquet(str(made[-1]), cache_dir=str(tmp_path / "cache"))
    assert dict(zip(weighted["response"], weighted["weight"], strict=True)) == {"rice": 2.0, "duck": 0.0}
    before = [file.read_bytes() for file in made]
    assert [
        file.read_bytes() for file in rating_export.written(rating_export.load(folder), folder, opened).files
    ] == before
    assert annotations.read(folder)[1] == []  # exports are no annotators
    assert ratings.rejected == [features.sample_id("china", "What of q2?", "duck")]


def rate_all(folder, opened, names, rating=8, untrue=(), why="no"):
    """Annotators who give China's answers a rating, or say that they are not true there; why=None takes this back."""
    tasks = rating_tasks.rating("china", opened)
    with Annotations(folder) as kept:
        for who in map(kept.annotator, names):
            for task in map(tasks.__getitem__, range(len(tasks))):
                for at, item in enumerate(task.shown(who)):
                    if item.culture == "china":
                        click = {"untrue": why} if item.response in untrue else {"rate": rating}
                        kept.click(who, task, {"item": at, **click})


def test_ratings_enter_the_ranking_as_weights(server, monkeypatch, tmp_path):
    monkeypatch.setenv("OPENAI_BASE_URL", server.url)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret")
    answers = {"china": ("rice with tea", "roast duck"), "mexico": ("tortillas", "mole poblano")}
    table = [
        {"question_id": f"q{at}", "question": f"What is eaten on day {at}?", "response": said, "culture": culture}
        for culture, both in answers.items()
        for at, said in enumerate(both)
    ]
    ranking = {"embedder": "openai:m", "theta": 0.99, "representativeness": "size"}
    run = tmp_path / "run"
    before = caredio.select(Dataset.from_list(table), out=run, **ranking)
    assert set(before.pool["cluster_size"]) == {1.0}
    rate_all(run / "ratings", shelf.open(run), ["Amina", "Bo"], untrue=["rice with tea"])
    made = caredio.ratings(run)
    (rejected,) = made.rejected
    said = "Rejected, and left out of the next release: 1 by 2 people\n"
    assert f"{said}  {rejected} What is eaten on day 0? - rice with tea\n" in str(made)
    after = caredio.select(run / "ratings" / "weighted.parquet", **ranking)
    sizes = {row["response"]: (row["cluster_size"], row["drop_reason"]) for row in after.pool}
    assert sizes["roast duck"] == (3.0, None)
    assert sizes["mole poblano"] == (1.0, None)
    assert "rice with tea" not in sizes
    assert after.report["candidates"]["dropped"] == {"no_weight": 1}


def test_the_command_reports_and_names_the_files(tmp_path, capsys):
    run = run_folder(tmp_path / "run", ranked_rows(("china", 1, "q1", "rice"), ("china", 2, "q2", "duck")))
    with pytest.raises(SystemExit) as end:
        cli.main(["ratings", str(tmp_path / "run")])
    assert end.value.code == 2
    assert "nobody rated anything there; `caredio rate " in capsys.readouterr().err
    rate_all(tmp_path / "run" / "ratings", run, ["Amina", "Bo", "Chen"])
    cli.main(["ratings", str(tmp_path / "run")])
    said = capsys.readouterr().out
    assert said.startswith("china: 3 annotators, 6 tasks done, 6 ratings\n  Krippendorff's alpha: not defined")
    assert "care.jsonl" in said
    rate_all(tmp_path / "elsewhere", run, ["Amina"])
    cli.main(["ratings", str(tmp_path / "run"), "--out", str(tmp_path / "elsewhere")])
    assert "china: 1 annotator, 2 tasks done, 2 ratings" in capsys.readouterr().out


def test_the_command_shows_no_bar_of_a_library(tmp_path):
    run = run_folder(tmp_path / "run", ranked_rows(("china", 1, "q1", "rice")))
    rate_all(tmp_path / "run" / "ratings", run, ["Amina"])
    shows = {name: value for name, value in os.environ.items() if name != "HF_DATASETS_DISABLE_PROGRESS_BARS"}
    command = [sys.executable, "-m", "caredio.cli", "ratings", str(tmp_path / "run")]
    done = subprocess.run(command, env=shows, capture_output=True, text=True, check=True)
    assert "weighted.parquet" in done.stdout
    assert done.stderr == ""


def test_a_release_has_no_folder_for_ratings_of_its_own(tmp_path, capsys):
    run = run_folder(tmp_path / "run", ranked_rows(("china", 1, "q1", "rice")))
    release = tmp_path / "release"
    (release / "china-pool").mkdir(parents=True)
    (release / "release.json").write_text('{"kind": "dataset", "version": "v1.0.0"}')
    runs.read([run.folder / "scored" / "all.parquet"]).to_parquet(release / "china-pool" / "train.parquet")
    with pytest.raises(caredio.InputError, match="port is 70000; give a number"):
        caredio.rate(release, port=70_000)
    for verb in ("rate", "ratings"):
        with pytest.raises(SystemExit) as end:
            cli.main([verb, str(release)])
        assert end.value.code == 2
        assert "is no run, which has a folder for ratings; name one with out." in capsys.readouterr().err


def test_rejected_rows_are_left_out_of_the_next_release_whose_card_says_so(server, monkeypatch, tmp_path):
    monkeypatch.setenv("OPENAI_BASE_URL", server.url)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret")
    dishes = {"china": ("rice", "duck", "noodles"), "mexico": ("tortillas", "mole", "tamales")}
    table = [
        {"question_id": f"q{at}", "question": f"What is eaten at feast {at}?", "response": said, "culture": culture}
        for culture, both in dishes.items()
        for at, said in enumerate(both)
    ]
    run = tmp_path / "run"
    caredio.select(Dataset.from_list(table), out=run, embedder="openai:m", theta=0.99)

    def released(version):
        folder = caredio.publish(run, version=version, test_share=0, reviewed_by="Amina")
        held = [
            row["response"]
            for config in ("china", "china-pool", "all")
            for row in runs.read([folder / config / "train.parquet"])
            if row["culture"] == "china"
        ]
        return sorted(held), (folder / "README.md").read_text(), json.loads((folder / "release.json").read_text())

    held, card, _ = released("v1.0.0")
    assert held == sorted(3 * dishes["china"])
    assert "were rated by" not in card
    rate_all(run / "ratings", shelf.open(run), ["Amina", "Bo"], untrue=["rice"])
    told = "left out on request: 0; rejected by raters: 1\n"
    assert told in str(caredio.plan(caredio.publish, run, version="v1.1.0", test_share=0))
    held, card, record = released("v1.1.0")
    assert held == sorted(3 * ("duck", "noodles"))
    assert "- 3 of 6 ranked rows were rated by 2 people of their cultures: 3 by 2 people; 1 is left out, called" in card
    assert "- Reviewed by native speakers: `Amina`." in card
    assert record["removed"] == [features.sample_id("china", "What is eaten at feast 0?", "rice")]
    assert "rice" not in card.split("## Limits")[0].replace("price", "")
    assert record["rejected"] == record["removed"]
    duck = features.sample_id("china", "What is eaten at feast 1?", "duck")
    (tmp_path / "ids.txt").write_text(duck)
    plan = caredio.plan(caredio.publish, run, remove=tmp_path / "ids.txt")
    assert (plan.removed, plan.rejected, plan.elsewhere) == (1, 1, 0)
    croissant = (run / "release" / "croissant.json").read_text()
    assert "3 of 6 ranked rows were rated by 2 people" in croissant
    # what raters take back comes in again, and what was removed on request does not
    caredio.publish(run, version="v1.2.0", remove=tmp_path / "ids.txt")
    (run / "ratings").rename(tmp_path / "away")  # another run's ratings say nothing of the row: it stays out
    assert released("v1.3.0")[0] == 3 * ["noodles"]
    (tmp_path / "away").rename(run / "ratings")
    rate_all(run / "ratings", shelf.open(run), ["Amina", "Bo"], untrue=["rice"], why=None)
    held, _, record = released("v1.4.0")
    assert held == sorted(3 * ("noodles", "rice"))
    assert (record["removed"], record["rejected"]) == ([duck], [])
