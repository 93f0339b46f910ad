"""Rows that were removed: nothing of them is in a release, and none comes back."""

import json
import re

import pytest
from publishing.test_release import table

import caredio
from caredio import cli, runs
from caredio.errors import InputError
from caredio.publishing import removals


@pytest.fixture
def run(tmp_path):
    caredio.select(table(tmp_path), out=tmp_path / "run", theta=0.99, length_ratio=1.0, compared=2)
    return tmp_path / "run"


def everything(release):
    """All text of a release's tables."""
    return {file: str(runs.read([file]).to_list()) for file in sorted(release.rglob("*.parquet"))}


def ids(release, config="china", split="train"):
    return runs.read([release / config / f"{split}.parquet"])["sample_id"][:]


def test_a_removed_row_is_nowhere_and_stays_out(run, tmp_path):
    first = caredio.publish(run, to=tmp_path / "r", test_share=0)
    row = runs.read([first / "china" / "train.parquet"])[2]
    assert sum(row["sample_id"] in text for text in everything(first).values()) > 3
    assert sum(row["response"] in text for text in everything(first).values()) > 5
    (tmp_path / "ids.txt").write_text(f"\n {row['sample_id']} \n")
    cli.main(
        ["publish", "--out", str(run), "--to", str(first), "--test-share", "0", "--remove", str(tmp_path / "ids.txt")]
    )
    for _ in range(2):  # it is remembered
        found = everything(first)
        assert not any(row["sample_id"] in text or row["response"] in text for text in found.values())
        for split in ("china", "china-pool"):
            ranks = [rank for rank in runs.read([first / split / "train.parquet"])["rank"] if rank is not None]
            assert sorted(ranks) == list(range(1, 24))
        record = json.loads((first / "release.json").read_text())
        assert (record["removed"], record["version"]) == ([row["sample_id"]], "v0.2.0")
        assert "since v0.1.0: 1 row removed" in record["changes"]
        caredio.publish(run, to=first, test_share=0)
    assert removals.remembered(run) == [row["sample_id"]]


def test_the_card_s_numbers_are_of_what_is_released(run, tmp_path):
    before = (caredio.publish(run, to=tmp_path / "r") / "README.md").read_text()
    assert "removed" not in before
    (tmp_path / "ids.txt").write_text(ids(tmp_path / "r")[0])
    release = caredio.publish(run, to=tmp_path / "r", remove=tmp_path / "ids.txt")
    page = (release / "README.md").read_text()
    assert "Rows of each stage, before 1 row was removed from the release:\n\n| stage |" in page
    pairs = {
        name: sum(len(runs.read([file])) for file in (release / f"{name}-preference").glob("*.parquet"))
        for name in ("china", "narnia", "united_kingdom")
    }
    for card, fewer in ((before, False), (page, True)):
        told = dict(re.findall(r"^\| `(\w+)` \| (\d+) \| [\d.]+ / [\d.]+ \|", card, re.MULTILINE))
        assert told.keys() == pairs.keys()
        assert ({name: int(count) for name, count in told.items()} == pairs) == fewer


def test_what_another_run_s_release_left_out_stays_out(run, tmp_path):
    first = caredio.publish(run, to=tmp_path / "r")
    gone = ids(first)[0]
    (tmp_path / "ids.csv").write_text(f"sample_id,why\n{gone},not true\n")
    caredio.publish(run, to=first, remove=tmp_path / "ids.csv")
    caredio.select(table(tmp_path), out=tmp_path / "anew", theta=0.99, length_ratio=1.0, compared=2)
    (tmp_path / "anew" / removals.FILE).write_text("0123456789abcdef\nfedcba9876543210\n")  # of a third run
    plan = caredio.plan(caredio.publish, tmp_path / "anew", to=first)
    assert (plan.removed, plan.rejected, plan.elsewhere) == (1, 0, 2)
    assert "request: 1; rejected by raters: 0\n1 of 3 ids to leave out are of this run; the others change" in str(plan)
    caredio.publish(tmp_path / "anew", to=first)
    assert gone not in str(everything(first))
    record = json.loads((first / "release.json").read_text())
    assert record["removed"] == ["0123456789abcdef", *sorted([gone, "fedcba9876543210"])]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("ids.txt", "0123456789abcdef\n", "ids.txt: '0123456789abcdef' is no sample_id of this run; take them"),
        ("ids.txt", "a\nb\nc\nd\ne\n", "'a', 'b', 'c' and 2 more are no sample_id of this run"),
        ("ids.txt", " \n", "ids.txt: holds no sample_id; give one a line, or a table with that column."),
        ("ids.csv", "id\n1\n", "ids.csv: has no column sample_id; found id."),
        ("none.txt", None, "none.txt: cannot be read (No such file or directory)."),
    ],
)
def test_ids_that_cannot_be_removed_are_one_sentence(run, tmp_path, name, content, said):
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(InputError) as told:
        caredio.publish(run, to=tmp_path / "r", remove=tmp_path / name)
    assert said in str(told.value)
    assert not (tmp_path / "r").exists()
    assert not (run / removals.FILE).exists()


def test_a_plan_removes_and_remembers_nothing(run, tmp_path):
    first = caredio.publish(run, to=tmp_path / "r")
    (tmp_path / "ids.txt").write_text(ids(first)[0])
    plan = caredio.plan(caredio.publish, run, to=first, remove=tmp_path / "ids.txt")
    assert (plan.removed, plan.version) == (1, "v0.2.0")
    assert "left out on request: 1; rejected by raters: 0\n" in str(plan)
    assert removals.remembered(run) == []
    assert json.loads((first / "release.json").read_text())["removed"] == []


def test_a_culture_of_which_nothing_is_left_is_gone_and_the_last_one_stays(run, tmp_path):
    first = caredio.publish(run, to=tmp_path / "r", test_share=0)
    pool = ids(first, "china-pool")
    (tmp_path / "china.txt").write_text("\n".join(pool))
    caredio.publish(run, to=first, test_share=0, remove=tmp_path / "china.txt")
    record = json.loads((first / "release.json").read_text())
    assert record["version"] == "v1.0.0"
    assert "china" not in record["rows"]
    page = (first / "README.md").read_text()
    assert "`china`" not in page
    rest = [name for slug in ("narnia", "united_kingdom") for name in ids(first, f"{slug}-pool")]
    (tmp_path / "rest.txt").write_text("\n".join(rest))
    with pytest.raises(InputError, match="every ranked row is removed or rejected"):
        caredio.publish(run, to=first, test_share=0, remove=tmp_path / "rest.txt")
    assert json.loads((first / "release.json").read_text()) == record


def test_the_card_counts_the_pairs_that_are_left(run, tmp_path):
    first = caredio.publish(run, to=tmp_path / "r", test_share=0)
    (tmp_path / "ids.txt").write_text("\n".join(ids(first)[:5]))
    caredio.publish(run, to=first, test_share=0, remove=tmp_path / "ids.txt")
    pairs = len(runs.read([first / "china-preference" / "train.parquet"]))
    assert f"| `china` | {pairs} | " in (first / "README.md").read_text()


def test_remembered_ids_that_are_no_text_are_one_sentence(run):
    (run / removals.FILE).write_bytes(b"\xff\xfe\0")
    with pytest.raises(InputError, match="is not UTF-8 text"):
        caredio.publish(run)
