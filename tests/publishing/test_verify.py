"""Verification: a release as it was written has no fault, and each planted defect is named, and no other."""

import csv
import hashlib
import json
import re
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import yaml
from datasets import Dataset
from hub_server import HubServer
from llm_server import LLMServer
from publishing.test_hub import publish, python
from publishing.test_release import table, trained

import caredio
from caredio import cli
from caredio.errors import InputError
from caredio.evaluation.benchmarks import culturalbench
from caredio.publishing import released, verify_card

CHECKS = {
    *("files", "configs", "schema", "sample_ids", "ranks", "scores", "views", "splits", "equal_texts", "card"),
    "leakage",
}


def selected(folder, change=lambda rows: None, theta=0.4, **settings):
    """A run over a table after a change, whose vectors are drawn."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = [json.loads(line) for line in table(folder).read_text().splitlines()]
    change(rows)
    draw = np.random.default_rng(0)
    for row in rows:
        row |= {name: draw.normal(size=8).tolist() for name in ("sample_embedding", "response_embedding")}
    caredio.select(Dataset.from_list(rows), out=folder / "run", embedder="given", theta=theta, **settings)
    return folder / "run"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return selected(tmp_path_factory.mktemp("verified"), budget=10)


@pytest.fixture(scope="module")
def clean(run):
    return caredio.publish(run, version="v1.0.0", test_share=0.3)


@pytest.fixture
def release(clean, tmp_path):
    """A copy of a release, to plant a defect in."""
    return shutil.copytree(clean, tmp_path / "release")


def test_a_release_that_a_model_wrote_has_no_fault(tmp_path):
    """Its pairs choose what was said before others' answers were seen."""
    with LLMServer() as server:
        asked = {"model": "scripted", "base_url": server.url, "per_topic": 3, "neighbours": 1, "subtopics": 0}
        asked |= {"embedder": "openai:m", "theta": 0.9, "review": True}
        run = caredio.build(["china", "brazil"], ["food"], out=tmp_path / "run", store=tmp_path / "store", **asked).path
    pairs = caredio.publish(run, version="v1.0.0") / "china-preference" / "train.parquet"
    rows = {row["sample_id"]: row["response"] for row in pq.read_table(pairs.parents[1] / "china").to_pylist()}
    assert any(row["chosen"][0]["content"] != rows[row["sample_id"]] for row in pq.read_table(pairs).to_pylist())
    assert not caredio.verify(run / "release").findings


def names(found):
    return {one.check for one in found.findings}


def planted(found):
    """The checks that found something; the card's is left out, which shows some of the rows and the files' sizes."""
    return names(found) - {"card"}


def edit(release, config, split, change):
    """Change the rows of a table; their columns keep their types."""
    file = release / config / f"{split}.parquet"
    old = pq.read_table(file)
    rows = old.to_pylist()
    change(rows)
    pq.write_table(pa.Table.from_pylist(rows, schema=old.schema), file)


def sign(release):
    """Give croissant.json and release.json the hashes of what is there."""
    page = json.loads((release / "croissant.json").read_text())
    for one in page["distribution"]:
        one["sha256"] = hashlib.sha256((release / one["@id"]).read_bytes()).hexdigest()
    (release / "croissant.json").write_text(json.dumps(page))
    record = json.loads((release / "release.json").read_text())
    record["files"] = {name: hashlib.sha256((release / name).read_bytes()).hexdigest() for name in record["files"]}
    (release / "release.json").write_text(json.dumps(record))


def wide_ranks(release):
    file = release / "china-preference/train.parquet"
    old = pq.read_table(file)
    place = old.schema.get_field_index("rank")
    pq.write_table(old.set_column(place, "rank", pc.cast(old["rank"], pa.int64())), file)


def left_out_rank(release):
    edit(release, "china", "train", lambda rows: rows[-1].update(rank=rows[-1]["rank"] + 1))


def raised_score(release):
    def raised(rows):
        row = next(row for row in rows if row["drop_reason"] == "over_budget")
        row["score"] += 0.001

    edit(release, "china-pool", "train", raised)


def moved_vector(release):
    def moved(rows):
        vector = rows[0]["response_embedding"]
        vector[0], vector[1] = vector[1], vector[0]

    edit(release, "china-vectors", "train", moved)


def other_words(release):
    edit(release, "china-pool", "train", lambda rows: rows[2].update(response="What nobody said"))


def other_number(release):
    page = (release / "README.md").read_text()
    line = next(line for line in page.splitlines() if line.startswith("| China (`china`)"))
    cells = line.split(" | ")
    cells[3] = str(int(cells[3]) + 1)
    (release / "README.md").write_text(page.replace(line, " | ".join(cells)))


def unlisted_config(release):
    page = (release / "README.md").read_text()
    head, body = page.removeprefix("---\n").split("---\n", 1)
    values = yaml.safe_load(head)
    values["configs"] = [one for one in values["configs"] if one["config_name"] != "china-unpaired"]
    (release / "README.md").write_text(f"---\n{yaml.safe_dump(values, sort_keys=False)}---\n{body}")


def question_in_both(release):
    held_out = pq.read_table(release / "narnia/test.parquet")["question_id"][0].as_py()
    (trained,) = pq.read_table(release / "china/train.parquet")["question_id"][:1].to_pylist()

    def moved(rows):
        for row in rows:
            if row["culture"] == "china" and row["question_id"] == trained:
                row["question_id"] = held_out

    for config in ("china", "all", "china-preference", "china-unpaired"):
        edit(release, config, "train", moved)


def pair_of_equals(release):
    edit(release, "china-preference", "train", lambda rows: rows[0].update(rejected=rows[0]["chosen"]))


def other_representativeness(release):
    for config in ("china", "all"):
        edit(release, config, "train", lambda rows: rows[0].update(representativeness=99.0))


def answer_gone_from_beside(release):
    edit(release, "china", "train", lambda rows: rows[0].update(others=[]))


def chosen_by_nobody(release):
    said = [{"role": "assistant", "content": "What nobody said"}]
    edit(release, "china-preference", "train", lambda rows: rows[0].update(chosen=said))


def asked_otherwise(release):
    asked = [{"role": "user", "content": "What nobody asked"}]
    edit(release, "china-preference", "train", lambda rows: rows[0].update(prompt=asked))


def labels_turned(release):
    edit(release, "china-unpaired", "train", lambda rows: [row.update(label=not row["label"]) for row in rows])


def rejected_text(release, config, change):
    """Change the first pair's rejected side, and that side among the single ones."""
    row = pq.read_table(release / config / "train.parquet").to_pylist()[0]
    single = config.replace("preference", "unpaired")

    def changed(rows):
        for one in rows:
            said = one.get("rejected") or one.get("completion")
            if one["sample_id"] == row["sample_id"] and said == row["rejected"] and not one.get("label"):
                change(one, said)

    edit(release, config, "train", changed)
    edit(release, single, "train", changed)


def rejected_by_nobody(release):
    rejected_text(release, "china-preference", lambda one, said: said[0].update(content="grasshoppers"))


def rejected_of_no_culture(release):
    edit(release, "china-preference", "train", lambda rows: rows[0].update(rejected_culture="atlantis"))


def answer_beside_that_nobody_gave(release):
    (first,) = pq.read_table(release / "china/train.parquet")["sample_id"][:1].to_pylist()

    def changed(rows):
        for row in rows:
            if row["sample_id"] == first:
                row["others"][0]["response"] = "invented"

    for config in ("china", "all", "china-pool"):
        edit(release, config, "train", changed)


def not_interleaved(release):
    edit(release, "all", "train", lambda rows: rows.sort(key=lambda row: (row["culture"], row["rank"])))


def named_otherwise(release):
    def changed(rows):
        rows[1]["prompt"][0]["content"] = f"You answer as someone from nowhere would.\n\n{rows[1]['question']}"

    edit(release, "all", "train", changed)


def removed_and_there(release):
    record = json.loads((release / "release.json").read_text())
    record["removed"] = pq.read_table(release / "china/train.parquet")["sample_id"].to_pylist()[:1]
    (release / "release.json").write_text(json.dumps(record))


def other_share(release):
    record = json.loads((release / "release.json").read_text()) | {"test_share": 0.0001}
    (release / "release.json").write_text(json.dumps(record))


def other_version(release):
    record = json.loads((release / "release.json").read_text()) | {"version": "v9.9.9"}
    (release / "release.json").write_text(json.dumps(record))


def more_conversations(release):
    page = (release / "README.md").read_text()
    (release / "README.md").write_text(re.sub(r"(?m)^\d+ conversations that", "999 conversations that", page))


@pytest.mark.parametrize(
    ("plant", "check", "said"),
    [
        (other_representativeness, "scores", "all/train, row 1: [0-9a-f]{16} is not as in the pool"),
        (answer_gone_from_beside, "scores", "china/train, row 1: [0-9a-f]{16} is not as in the pool"),
        (chosen_by_nobody, "views", "china-preference/train, row 1: [0-9a-f]{16} has other words than its ranked row"),
        (asked_otherwise, "views", "china-preference/train, row 1: [0-9a-f]{16} has other words than its ranked row"),
        (labels_turned, "views", r"china-unpaired/train: \d+ sides are not both here and in the pairs"),
        (
            rejected_by_nobody,
            "views",
            "china-preference/train, row 1: [0-9a-f]{16} rejects what no row of that culture",
        ),
        (rejected_of_no_culture, "views", "row 1: [0-9a-f]{16} rejects a culture that did not answer its question"),
        (answer_beside_that_nobody_gave, "sample_ids", "china-pool/train, row .*has an answer beside it of another"),
        (not_interleaved, "views", "all/train, row .*: does not come in turn, by rank and culture"),
        (named_otherwise, "views", "all/train, row 2: [0-9a-f]{16} does not name its culture before the question"),
        (removed_and_there, "sample_ids", "china/train, row 1: [0-9a-f]{16} was removed, and stands there"),
        (other_share, "splits", r"test: \d+ questions are not of this split by test_share 0.0001"),
        (other_version, "card", "where v9.9.9 is there"),
        (more_conversations, "card", "'999 conversations that align', where"),
        (wide_ranks, "schema", "china-preference/train: column rank holds int64, where features.py has int32"),
        (left_out_rank, "ranks", r"china/train: china: rank \d+ is missing among"),
        (raised_score, "scores", r"pool of china: score of 1 of \d+ rows comes out otherwise"),
        (moved_vector, "scores", r"pool of \w+: distinctiveness of \d+ of \d+ rows comes out otherwise"),
        (other_words, "sample_ids", r"china-pool/train, row 3: [0-9a-f]{16} has the sample_id of another text"),
        (other_number, "card", "README.md, china: candidates scored is given as 25, the tables have 24"),
        (unlisted_config, "configs", "china-unpaired/train: is there, and the card names no such config and split"),
        (pair_of_equals, "views", "china-preference/train, row 1: [0-9a-f]{16} rejects what it chooses"),
    ],
    ids=lambda one: getattr(one, "__name__", ""),
)
def test_a_planted_defect_is_named_and_no_other(release, plant, check, said):
    plant(release)
    sign(release)
    found = caredio.verify(release)
    assert planted(found) == {check} - {"card"}
    assert re.search(said, "\n".join(map(str, found.findings)))


@pytest.mark.parametrize(
    ("pattern", "new", "said"),
    [
        (r"\(\d+\S* %\)", "(10.5 %)", "'- `<culture>`: the ranked selection"),
        (r"range\(\d+\)", "range(400)", "'first = rows.select(range(400))', where"),
        (r"to 3 cultures", "to 30 cultures", "to 30 cultures:', where 3 is there"),
        (r'"score": \d\.\d+', '"score": 9.9', "its example has another score than the first row of all"),
        (r"(?m)^\| `china` \| \d+ ", "| `china` | 999 ", "its table of pairs has no line on china that begins with"),
        (r"(?m)^(\| `china` \| \d+ \|) \S+ /", r"\1 77 /", "its table of pairs has no line on china that"),
        (r"\| China \| train \| 1 \|", "| China | train | 77 |", "is shown among the best rows, and is none of them"),
        (r"(?m)^\| China \| train \| 2 .*\n", "", "README.md: shows 2 best rows of china"),
        (r"download_size: \d+", "download_size: 5", "5 bytes are given, "),
        (r"version = \{v1.0.0\}", "version = {v9.0.0}", "citation: version v9.0.0 is given, release.json has v1.0.0"),
    ],
)
def test_a_number_of_the_card_that_is_not_the_tables_is_named(release, pattern, new, said):
    page = (release / "README.md").read_text()
    page += "\n  version = {v1.0.0}\n"  # as in the entry of a release that has authors
    assert re.sub(pattern, new, page, count=1) != page
    (release / "README.md").write_text(re.sub(pattern, new, page, count=1))
    sign(release)
    found = caredio.verify(release)
    assert names(found) == {"card"}
    assert said in "\n".join(map(str, found.findings))


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [("CITATION.cff", "version: v1.0.0", "version: v9.0.0"), ("croissant.json", '"1.0.0"', '"9.0.0"')],
)
def test_a_version_beside_the_card_that_is_not_the_release_s_is_named(release, name, old, new):
    reseal(release, name, lambda text: text.replace(old, new))
    assert [str(one) for one in caredio.verify(release).findings] == [
        f"{name}: version v9.0.0 is given, release.json has v1.0.0"
    ]


def test_a_question_in_train_and_test_is_named_and_differs_from_the_pool_s(release):
    question_in_both(release)
    sign(release)
    found = caredio.verify(release)
    assert planted(found) == {"splits", "scores", "views"}  # nobody of the pool answered the question of its pair
    assert "1 questions are in train and in test" in str(found)


def test_another_hash_for_machines_is_named(release):
    page = json.loads((release / "croissant.json").read_text())
    page["distribution"][0]["sha256"] = "0" * 64
    record = json.loads((release / "release.json").read_text())
    (release / "croissant.json").write_text(json.dumps(page))
    record["files"]["croissant.json"] = hashlib.sha256((release / "croissant.json").read_bytes()).hexdigest()
    (release / "release.json").write_text(json.dumps(record))
    (found,) = caredio.verify(release).findings
    assert str(found) == "croissant.json: gives another hash of all/train.parquet than release.json"


@pytest.mark.parametrize("part", ["rows", "files", "removed"])
def test_a_record_that_is_damaged_is_a_fault(release, part):
    record = json.loads((release / "release.json").read_text()) | {part: 3}
    (release / "release.json").write_text(json.dumps(record))
    assert "cannot be checked to the end" in str(caredio.verify(release))


@pytest.mark.parametrize("head", ["configs: here", "configs: [3]", "configs: [{data_files: here}]"])
def test_a_head_that_is_damaged_is_a_fault(release, head):
    (release / "README.md").write_text(f"---\n{head}\n---\n")
    assert "configs" in names(caredio.verify(release))


def test_cells_without_a_value_are_a_fault(release):
    edit(release, "china", "train", lambda rows: rows[0].update(culture=None, completion=None))
    edit(release, "china-preference", "train", lambda rows: rows[0].update(rejected=None))
    edit(release, "narnia-pool", "train", lambda rows: rows.clear())
    assert {"sample_ids", "views"} <= names(caredio.verify(release))


def test_a_changed_an_added_and_a_missing_file_are_named(release):
    with (release / "README.md").open("a") as page:
        page.write("\n")
    assert names(caredio.verify(release)) == {"files"}
    (release / "notes.txt").write_text("x")
    (release / "CITATION.cff").unlink()
    assert sorted(str(one) for one in caredio.verify(release).findings) == [
        "CITATION.cff: is in release.json and not there",
        "README.md: has another hash than in release.json",
        "notes.txt: is there and not in release.json",
    ]


def test_what_a_desktop_or_git_writes_beside_a_release_is_no_fault(tmp_path):
    (tmp_path / "release.json").write_text('{"kind": "dataset", "rows": {}, "files": {}}')
    (tmp_path / "china").mkdir()
    for name in (".DS_Store", "china/.DS_Store", "china/._train.parquet", "Thumbs.db", "desktop.ini", ".gitattributes"):
        (tmp_path / name).write_bytes(b"\0")
    (tmp_path / "china" / "Thumbs.db.txt").write_text("mine")
    found = [str(one) for one in verify_card.files(released.opened(tmp_path))]
    assert found == ["china/Thumbs.db.txt: is there and not in release.json"]


def test_a_question_of_a_benchmark_is_named(tmp_path):
    with culturalbench.SAMPLE.open(newline="", encoding="utf-8") as lines:
        asked = next(row for row in csv.DictReader(lines) if row["country"] == "China")

    def leaks(rows):
        for row in rows[:3]:
            row["question"] = asked["prompt_question"].upper()

    found = caredio.verify(caredio.publish(selected(tmp_path, leaks, theta=1.0), version="v1.0.0"))
    assert names(found) == {"leakage"}
    assert f"question {asked['data_idx']} on China in row" in str(found)


def test_a_text_of_two_cultures_is_named(tmp_path):
    def same(rows):
        rows[1]["response"] = f" {rows[0]['response'].upper()}"

    found = caredio.verify(caredio.publish(selected(tmp_path, same, theta=1.0), version="v1.0.0"))
    assert names(found) == {"equal_texts"}
    assert "china and united_kingdom: 1 row says the same in both, such as" in str(found)


def test_a_release_and_its_run_are_as_they_say(run, clean):
    found = caredio.verify(clean)
    assert found.findings == []
    assert found.unchecked == []
    assert {one.partition(":")[0] for one in found.checked} == CHECKS
    of_run = caredio.verify(run)
    assert of_run.findings == []
    assert of_run.unchecked == ["configs: a run has no card", "card: a run has no card"]


@pytest.mark.parametrize(
    "settings",
    [
        {"representativeness": "prevalence", "distinctiveness": "hybrid"},
        {"representativeness": "typicality", "coverage": "mmr", "budget": 7},
        {"representativeness": "support", "coverage": "facility", "weight": 0.5, "per_question": None},
        {"ranking": "kcenter", "linkage": "single", "budget": 5},
        {"ranking": "random", "seed": 3, "compared": 1},
    ],
    ids=lambda one: "-".join(map(str, one.values())),
)
def test_scores_of_every_kind_are_made_anew(tmp_path, settings):
    found = caredio.verify(caredio.publish(selected(tmp_path, **settings)))
    assert (found.findings, found.unchecked) == ([], [])


KNOWN = "country,prompt,choices,answer_idx\n" + "".join(
    f'{one},What is eaten?,"{{""A"": ""jam""}}",A\n' for one in ("china", "narnia", "united_kingdom")
)


# the first of five falls to the last place that there is: of all rows by ifd, of those taken by rds
@pytest.mark.parametrize(("ranking", "moved"), [("ifd", 6), ("rds", 5)])
def test_the_rank_is_made_anew_of_scores_that_are_taken_as_they_stand(tmp_path, ranking, moved):
    (tmp_path / "known.csv").write_text(KNOWN)
    with LLMServer() as server:
        asked = {"ranking": ranking, "embedder": "openai:m", "model": "scripted", "base_url": server.url, "budget": 5}
        if ranking == "rds":
            asked |= {"validation": str(tmp_path / "known.csv")}
        caredio.select(table(tmp_path), out=tmp_path / "run", theta=0.4, **asked)
    release = caredio.publish(tmp_path / "run", version="v1.0.0")
    taken = [f"scores: score: what ranking {ranking} read is not in a release, so it is taken as it stands"]
    found = caredio.verify(release)
    assert (found.findings, found.unchecked) == ([], taken)

    def lowered(rows):
        next(row for row in rows if row["rank"] == 1)["score"] = -99.0

    edit(release, "china-pool", "train", lowered)
    assert f"rank of {moved} of 72 rows comes out otherwise" in str(caredio.verify(release))


def test_a_release_of_an_older_version_says_what_was_not_checked(release):
    record = json.loads((release / "release.json").read_text())
    del record["scored"]
    (release / "release.json").write_text(json.dumps(record))
    found = caredio.verify(release)
    assert (found.findings, found.unchecked) == ([], ["scores: release.json does not say what they were made by"])


def test_rows_that_were_removed_leave_no_fault_and_scores_that_are_not_made_anew(run, clean, tmp_path):
    names = pq.read_table(clean / "china/train.parquet")["sample_id"].to_pylist()[:2]
    (tmp_path / "removed.txt").write_text("\n".join(names))
    copy = shutil.copytree(run, tmp_path / "run", ignore=shutil.ignore_patterns("release", ".lock"))
    found = caredio.verify(caredio.publish(copy, remove=tmp_path / "removed.txt"))
    assert found.findings == []
    assert found.unchecked == ["scores: 2 rows were removed after they had counted"]


def test_ids_of_another_run_do_not_stop_scores_from_being_made_anew(run, clean, tmp_path):
    before = shutil.copytree(clean, tmp_path / "release")
    reseal(before, "release.json", lambda text: text.replace('"removed": []', '"removed": ["0123456789abcdef"]'))
    found = caredio.verify(caredio.publish(run, to=before))
    assert json.loads((before / "release.json").read_text())["removed"] == ["0123456789abcdef"]
    assert (found.findings, found.unchecked) == ([], [])
    assert any(one.startswith("scores: ") for one in found.checked)


def test_of_ids_that_an_older_release_removed_it_is_not_said_that_they_had_counted(release):
    record = json.loads((release / "release.json").read_text()) | {"removed": ["0123456789abcdef"]}
    del record["removed_scored"]
    (release / "release.json").write_text(json.dumps(record))
    assert caredio.verify(release).unchecked == ["scores: 1 sample_ids were removed, whose rows may have counted"]


def test_cultures_that_were_added_are_made_anew_and_the_others_are_not(clean, tmp_path):
    def renamed(rows):
        for row in rows:
            row["culture"] = {"china": "peru", "narnia": "chad"}.get(row["culture"], row["culture"])
            row["response"] = f"not {row['response']}"

    added = selected(tmp_path, renamed, budget=10)
    found = caredio.verify(caredio.publish(added, add_to=clean, test_share=0.3))
    assert found.findings == []
    (left,) = found.unchecked
    assert left.startswith("scores: china, narnia: as in the release to which cultures were added")


@pytest.fixture
def model(run, tmp_path):
    source = trained(tmp_path / "china-sft")
    record = json.loads((source / "training.json").read_text())
    record["result"] = {"first_loss": 3.5, "last_loss": 2.5, "note": float("nan")}
    (source / "training.json").write_text(json.dumps(record))
    return caredio.publish(run, model=source, to=tmp_path / "m", version="v1.0.0", authors="Ada A.")


def reseal(release, name, change):
    """Change a file's text, and give release.json its hash."""
    file = release / name
    before = file.read_text(encoding="utf-8")
    file.write_text(change(before), encoding="utf-8")
    assert file.read_text(encoding="utf-8") != before
    record = json.loads((release / "release.json").read_text())
    if name in record["files"]:
        record["files"][name] = hashlib.sha256(file.read_bytes()).hexdigest()
        (release / "release.json").write_text(json.dumps(record))


def test_of_a_model_its_files_its_record_and_its_card_are_checked_and_no_tables(model):
    found = caredio.verify(model)
    assert found.findings == []
    assert [one.partition(":")[0] for one in found.checked] == ["files", "record", "card"]
    assert found.unchecked == [
        "results: the card gives none",
        "weights: whether this training made them cannot be seen in them",
        "data: a model's release holds no rows; verify the dataset it was trained on",
    ]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("on 6 rows of", "on 600 rows of", "on 600 rows of `caredio/cardset`.', where 6 is there"),
        ("learnt from 6 rows", "learnt from 7 rows", "where 6 is there"),
        ("to 2.500 in", "to 0.500 in", "where 3.500 and 2.500 is there"),
        (
            "| learning_rate | `0.0002`",
            "| learning_rate | `0.1`",
            "learning_rate: `0.1` is given, training.json has `0",
        ),
        ("| rows | `6` |", "| rows | `60` |", "rows: `60` is given, training.json has `6`"),
        ("| rows | `6` |", "| steps | `6` |", "steps: `6` is given, is not in the record"),
        ("| rows | `6` |\n", "", "its table of training.json has no line on rows"),
        ('revision="v1.0.0"', 'revision="v2.0.0"', "where v1.0.0 is there"),
        ("version = {v1.0.0}", "version = {v2.0.0}", "where v1.0.0 is there"),
    ],
)
def test_a_figure_of_a_model_s_card_that_is_not_its_record_s_is_named(model, old, new, said):
    reseal(model, "README.md", lambda page: page.replace(old, new, 1))
    found = caredio.verify(model)
    assert names(found) == {"card"}
    assert said in str(found)


def test_a_training_json_of_another_training_is_named(model):
    reseal(model, "training.json", lambda text: text.replace('"rows": 6', '"rows": 7'))
    assert [str(one) for one in caredio.verify(model).findings] == [
        "training.json: is another than the training in release.json"
    ]


def test_a_table_that_cannot_be_read_is_named(release):
    (release / "china" / "train.parquet").write_bytes(b"PAR1 and no more")
    found = caredio.verify(release)
    assert "china/train.parquet: cannot be read (" in str(found)


def test_the_command_exits_with_1_where_it_finds_a_fault_and_2_where_there_is_nothing(clean, release, capsys):
    cli.main(["verify", str(clean)])
    assert "no fault" in capsys.readouterr().out
    pair_of_equals(release)
    for place, code, said in ((release, 1, "files  china-preference"), (release.parent / "none", 2, "no such folder")):
        with pytest.raises(SystemExit) as stopped:
            cli.main(["verify", str(place)])
        shown = capsys.readouterr()
        assert stopped.value.code == code
        assert said in shown.out + shown.err


@pytest.mark.parametrize("place", ["./none", "../none", ".runs/none", "/none", "/none/first", "~/none", "runs/a/b"])
def test_a_path_that_is_no_repository_s_name_is_no_such_folder(place):
    with pytest.raises(InputError, match=rf"^{re.escape(place)}: no such folder; name a release, a run, or owner/name"):
        caredio.verify(place)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"place": 3}, "place is 3; give"),
        ({"benchmarks": "blend"}, "benchmarks is 'blend', one text"),
        ({"benchmarks": ["blnd"]}, "'blnd' is no benchmark"),
        ({"benchmark_data": "blend"}, "benchmark_data holds 'blend'"),
        ({"benchmark_data": "culturalbench=none.csv"}, "none.csv: no such file"),
    ],
)
def test_what_cannot_be_verified_is_one_sentence(clean, arguments, said):
    with pytest.raises(InputError, match=said):
        caredio.verify(**{"place": clean, **arguments})


def test_a_release_on_the_hub_is_verified_by_its_tag(run, tmp_path):
    with HubServer(tmp_path / "hub") as hub:
        home = tmp_path / "home"
        publish(hub, run, home, "--to", tmp_path / "r", "--version", "v1.0.0", "--push", "caredio/cardset")
        said = python(
            hub,
            home,
            """
            import caredio
            for place in ("caredio/cardset@v1.0.0", "caredio/cardset"):
                print([str(one) for one in caredio.verify(place).findings])
            for place in ("caredio/cardset@v9.0.0", "another/set"):
                try:
                    caredio.verify(place)
                except caredio.InputError as error:
                    print(error)
            """,
        )
    assert said[-4:-2] == ["[]", "[]"]
    assert said[-2] == "caredio/cardset@v9.0.0: no release of this package's is tagged so; the tags there are v1.0.0."
    none = "there is no such folder here, and no release of such a dataset or model on the Hub; check the name."
    assert said[-1] == f"another/set: {none}"


def test_a_folder_that_is_not_there_costs_one_request_a_verb(run, tmp_path):
    (tmp_path / "runs").mkdir()
    verbs = ("verify(name)", "diff(name, name)", f"publish({str(run)!r}, add_to=name)")
    asking = f"""
        import os
        import caredio
        from caredio.app import shelf
        from caredio.errors import CaredioError
        os.chdir({str(tmp_path)!r})
        name = "runs/none"
        for verb in ({", ".join(f"lambda: caredio.{verb}" for verb in verbs)}, lambda: shelf.open(name)):
            try:
                verb()
            except CaredioError as error:
                print(error)
        """
    with HubServer(tmp_path / "hub") as hub:
        said = python(hub, tmp_path / "home", asking)
        assert [(one.method, one.status) for one in hub.requests] == [("GET", 404)] * 4
    start = "runs/none: there is no such folder here, and no "
    assert said == [f"{start}release of such a dataset on the Hub; check the name, or add a tag."] * 3 + [
        f"{start}such dataset on the Hub; check the name."
    ]
    unreachable = python(hub, tmp_path / "home", asking)  # which has ended
    assert len(unreachable) == 4
    for line in unreachable[:3]:
        assert line.startswith("runs/none: there is no such folder here, and http://")
        assert "gave no answer in 1 attempt (last: ConnectError). Run" in line
