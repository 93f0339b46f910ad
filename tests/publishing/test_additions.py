"""A culture is added to a release: what was there stays byte for byte, and `all` is made anew."""

import json
import shutil

import pytest
from publishing.test_release import table

import caredio
from caredio import cli, runs
from caredio.errors import InputError
from caredio.publishing import verify

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
        (
            "a",
            0.2,
            "has no other culture than the run, whose rows take the place of the release's; leave out --add-to.",
        ),
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


STATED = {"license": "cc-by-4.0", "attribution": "A survey", "reviewed_by": "two people", "authors": "Ada A., Ben B."}


@pytest.fixture(scope="module")
def added(tmp_path_factory):
    """A release of china, the uk and narnia, and one to which japan and peru are added, with what its plan said."""
    folder = tmp_path_factory.mktemp("added")
    for name, first, new in (("a", 2, {}), ("b", 7, {"china": "japan", "narnia": "peru"})):
        (folder / name).mkdir()
        text = table(folder / name, ("rice", "toast", "roast turnips")).read_text()
        rows = [json.loads(line) | {"weight": first + place % 2} for place, line in enumerate(text.splitlines())]
        rows = [row | {"culture": new.get(row["culture"], row["culture"])} for row in rows]
        if new:
            rows = [row for row in rows if row["culture"] in new.values()]
            for row in rows:
                if row["question_id"] != "q05" or row["culture"] != "peru":
                    row["response"] = (
                        f"{'sushi' if row['culture'] == 'japan' else 'stew, stirred'} {row['response'][5:]}"
                    )
            rows[0]["response"] += " and far too many words for any pair"
        (folder / name / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        caredio.select(folder / name / f"{name}.jsonl", out=folder / name, theta=0.99)
    base = caredio.publish(folder / "a", to=folder / "base", test_share=0.2, **STATED)
    asked = {"to": folder / "r", "add_to": base}
    told = str(caredio.plan(caredio.publish, folder / "b", **asked))
    return base, caredio.publish(folder / "b", **asked), told


def card(release):
    return (release / "README.md").read_text(encoding="utf-8")


def test_provenance_of_an_added_release_is_said_to_be_that_of_the_run(added):
    page = card(added[1])
    heading, made = page.split("\n## How Japan and peru were made\n\n")[1].split("\n\n", 1)
    assert heading.startswith("Added to v0.1.0, whose card says how China, United Kingdom and narnia were made:")
    assert "\n- Text: selected from `b.jsonl` (" in made
    assert "\n- Compared: answers of these cultures with answers of their own run alone" in made
    assert "## How it was made" not in page
    assert "(those of Japan and peru; the others as the card of v0.1.0 says)" in page
    assert "source_datasets" not in page.split("---\n")[1]
    about = json.loads((added[1] / "croissant.json").read_text())
    assert about["rai:dataCollection"].startswith("China, United Kingdom and narnia: as in v0.1.0. Japan and peru: ")
    assert [one["prov:label"] for one in about["prov:wasDerivedFrom"]] == ["b.jsonl", "v0.1.0"]


def test_numbers_of_an_added_release_are_of_all_its_rows_and_a_false_one_is_found(added, tmp_path):
    release = shutil.copytree(added[1], tmp_path / "r")
    rows, pairs = [], set()
    for slug in ("china", "japan", "narnia", "peru", "united_kingdom"):
        for split in ("train", "test"):
            rows += runs.read([release / slug / f"{split}.parquet"]).to_list()
        for file in (release / f"{slug}-preference").glob("*.parquet"):
            pairs |= set(runs.read([file])["sample_id"])
    without = sum(row["sample_id"] not in pairs for row in rows)
    assert {row["weight"] for row in rows} == {2, 3, 7, 8}
    assert without
    page = card(release)
    right = ("; 2 to 8 in the ranked rows.", f"; {without} ranked row{'s have' if without > 1 else ' has'} no pair.")
    assert all(text in page for text in right)
    for text, wrong in zip(right, ("; 7 to 8 in the ranked rows.", "; 99 ranked rows have no pair."), strict=True):
        (release / "README.md").write_text(page.replace(text, wrong))
        found = [one for one in verify.run(release).findings if one.check == "card"]
        assert len(found) == 1
        assert wrong.split(" in the")[0].lstrip("; ").rstrip(".") in str(found[0])


def test_what_was_stated_of_the_cultures_that_stay_is_not_stated_of_those_added(added, tmp_path):
    base, release, told = added
    alone = "(stated of China, United Kingdom and narnia alone)"
    page = card(release)
    assert f"Reviewed by native speakers: `two people` {alone}." in page
    assert f"Attribution: `A survey` {alone}." in page
    assert f"the source is under this licence {alone}." in page
    assert "stated of" not in card(base)
    assert (
        "\nkept from v0.1.0 for the cultures that it was stated of, and not stated of the others: licence"
        " cc-by-4.0, attribution, reviewers\n" in told.replace(base.as_posix(), "v0.1.0")
    )
    about = json.loads((release / "croissant.json").read_text())
    assert "speakers: two people (China, United Kingdom and narnia alone)." in about["rai:dataAnnotationProtocol"]
    assert "China, United Kingdom and narnia alone: A survey" in " ".join(
        (release / "CITATION.cff").read_text().split()
    )
    run = release.parent / "b"
    again = caredio.publish(run, to=tmp_path / "r", add_to=base, reviewed_by="three people")
    assert "Reviewed by native speakers: `three people`.\n" in card(again)


def test_equal_answers_of_cultures_that_were_not_compared_are_told_and_are_no_fault(added):
    said = "were ranked by two runs, which compared none of their rows; 1 row says the same in both, such as "
    assert f"\nnarnia and peru {said}" in added[2]
    found = verify.run(added[1])
    assert found.findings == []
    assert any(one.startswith(f"equal_texts: narnia and peru {said}") for one in found.unchecked)
