"""A culture is added to a release: what was there stays byte for byte, and `all` is made anew."""

import json
import shutil

import pytest
from publishing.test_release import table

import caredio
from caredio import cli, runs
from caredio.errors import InputError

VIEWS = ("", "-preference", "-unpaired", "-pool", "-vectors")


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """Two runs: of china, the uk and narnia, and of china, japan and narnia with other answers."""
    folder = tmp_path_factory.mktemp("runs")
    for name, answers, other in (("a", ("rice", "toast", "turnips"), None), ("b", ("soup", "sushi", "stew"), "japan")):
        (folder / name).mkdir()
        rows = table(folder / name, answers).read_text()
        (folder / name / "own.jsonl").write_text(rows.replace("united_kingdom", other) if other else rows)
        caredio.select(folder / name / "own.jsonl", out=folder / name, theta=0.99, length_ratio=1.0)
    return folder


def files(release, *slugs):
    return {
        f"{slug}{view}/{file.name}": file.read_bytes()
        for slug in slugs
        for view in VIEWS
        for file in sorted((release / f"{slug}{view}").glob("*.parquet"))
    }


def test_others_stay_and_all_is_made_anew(own, tmp_path):
    release = caredio.publish(own / "a", to=tmp_path / "r", test_share=0.2)
    before = files(release, "united_kingdom")
    cli.main(
        ["publish", "--out", str(own / "b"), "--to", str(release), "--add-to", str(release), "--test-share", "0.2"]
    )
    assert files(release, "united_kingdom") == before
    assert before
    record = json.loads((release / "release.json").read_text())
    assert record["version"] == "v0.2.0"
    assert "japan is new: " in "\n".join(record["changes"])
    rows = runs.read([release / "all" / "train.parquet"])
    assert set(rows["culture"]) == {"china", "japan", "narnia", "united_kingdom"}
    for slug in ("china", "japan", "united_kingdom"):
        own_rows = runs.read([release / slug / "train.parquet"])["sample_id"][:]
        assert own_rows == [name for name, one in zip(rows["sample_id"], rows["culture"], strict=True) if one == slug]
    assert all("soup" in text for text in runs.read([release / "china" / "train.parquet"])["response"])
    page = (release / "README.md").read_text()
    assert "United Kingdom (`united_kingdom`)" in page
    assert "Japan (`japan`)" in page


@pytest.mark.parametrize(
    ("run", "share", "said"),
    [
        ("a", 0.2, "has no other culture than the run; leave out add_to."),
        ("b", 0.5, "holds out other questions than this release would; give test_share 0.2."),
    ],
)
def test_what_cannot_be_added_is_one_sentence_and_changes_nothing(own, tmp_path, run, share, said):
    release = caredio.publish(own / "a", to=tmp_path / "r", test_share=0.2)
    before = (release / "release.json").read_bytes()
    with pytest.raises(InputError) as told:
        caredio.publish(own / run, to=release, add_to=release, test_share=share)
    assert said in str(told.value)
    assert (release / "release.json").read_bytes() == before


@pytest.mark.parametrize("file", ["united_kingdom/train.parquet", "united_kingdom-pool/train.parquet"])
@pytest.mark.parametrize("content", [None, b"PAR1"])
def test_a_file_of_the_other_release_that_cannot_be_read_is_one_sentence(own, tmp_path, capsys, file, content):
    base = caredio.publish(own / "a", to=tmp_path / "base", test_share=0.2)
    (base / file).unlink()
    if content:
        (base / file).write_bytes(content)
    arguments = ["--out", str(own / "b"), "--to", str(tmp_path / "r"), "--add-to", str(base), "--test-share", "0.2"]
    with pytest.raises(SystemExit) as exit_:
        cli.main(["publish", *arguments])
    assert exit_.value.code == 2
    said = capsys.readouterr().err
    assert f"{file}: is missing or damaged (" in said
    assert "; restore it, or add to another release." in said
    assert not (tmp_path / "r").exists()


def test_a_row_of_a_culture_that_stays_is_not_removed_in_silence(own, tmp_path):
    release = caredio.publish(own / "a", to=tmp_path / "r", test_share=0.2)
    (tmp_path / "ids.txt").write_text(runs.read([release / "united_kingdom-pool" / "train.parquet"])["sample_id"][0])
    with pytest.raises(InputError, match=r"/r: holds .* of united_kingdom, which is to be removed, in cultures that"):
        caredio.publish(own / "b", to=tmp_path / "other", add_to=release, remove=tmp_path / "ids.txt")
    assert not (tmp_path / "other").exists()
    assert not (own / "b" / "removed.txt").exists()


def test_an_answer_that_is_removed_does_not_stay_beside_cultures_that_stay(own, tmp_path):
    release = caredio.publish(own / "a", to=tmp_path / "r", test_share=0.2)
    beside = runs.read([release / "united_kingdom" / "train.parquet"])["others"][0][0]["sample_id"]
    run = shutil.copytree(own / "b", tmp_path / "b")
    (run / "removed.txt").write_text(f"{beside}\n")
    with pytest.raises(InputError, match=f"holds {beside} of .*, which is to be removed"):
        caredio.publish(run, to=tmp_path / "other", add_to=release, test_share=0.2)
    assert not (tmp_path / "other").exists()
