"""Two releases side by side, worked by hand; runs and the Hub are compared in test_publish.py and test_hub.py."""

import hashlib
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import caredio
from caredio import cli
from caredio.errors import InputError
from caredio.publishing import diff
from caredio.publishing.versions import proposed

BEFORE = {
    "china": [("q1", "a", 3.0), ("q2", "b", 2.0), ("q2", "c", 1.5), ("q3", "d", 1.0)],
    "narnia": [("q1", "n", 1.0)],
}
# b is as it was and c has another score; a has become e, d is gone, f answers a new question
AFTER = {
    "china": [("q1", "e", 3.0), ("q2", "b", 2.0), ("q2", "c", 1.25), ("q4", "f", 0.5)],
    "uk": [("q1", "u", 1.0), ("q2", "v", 0.5)],
}


def release(folder, cultures, version="v1.0.0", kind="dataset", **columns):
    """A release of ranked rows alone: (question_id, sample_id, score), best first."""
    rows = {}
    for slug, ranked in cultures.items():
        table = [
            {
                "culture": slug,
                "question_id": question,
                "sample_id": name,
                "rank": rank,
                "score": score,
                "question": f"What of {question}?",
                "response": f"the answer {name}\n\x1b[31min red",
                **columns,
            }
            for rank, (question, name, score) in enumerate(ranked, start=1)
        ]
        (folder / slug).mkdir(parents=True)
        pq.write_table(pa.Table.from_pylist(table), folder / slug / "train.parquet")
        rows[slug] = {"train": len(table)}
    return signed(folder, {"kind": kind, "version": version, "rows": rows})


def signed(folder, record):
    folder.mkdir(exist_ok=True)
    (folder / "README.md").write_text(f"# {record['version']}\n")
    files = [file for file in sorted(folder.rglob("*")) if file.is_file() and file.name != "release.json"]
    hashes = {file.relative_to(folder).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}
    (folder / "release.json").write_text(json.dumps({**record, "files": hashes}))
    return folder


@pytest.fixture
def both(tmp_path):
    return release(tmp_path / "a", BEFORE), release(tmp_path / "b", AFTER, "v1.1.0")


def names(pairs):
    return [tuple(row and row.sample_id for row in pair) for pair in pairs]


def test_rows_are_added_removed_changed_and_rescored(both):
    found = diff.compare(*both)
    china = found.cultures["china"]
    assert names(china.added) == [(None, "f")]
    assert names(china.removed) == [("d", None)]
    assert names(china.changed) == [("a", "e")]
    assert names(china.rescored) == [("c", "c")]
    assert (found.new, found.gone, found.columns) == (["uk"], ["narnia"], [])


def test_the_changelog_counts_them(both):
    assert diff.compare(*both).lines() == [
        "since v1.0.0: 3 rows added, 2 removed, 1 changed, 1 scored anew",
        "uk is new: 2 rows added",
        "narnia is gone",
        "china: 1 row added, 1 removed, 1 changed, 1 scored anew",
        "rows of train: 5 before, 6 now",
    ]


def test_the_changelog_says_how_many_pairs_there_were_and_are(tmp_path):
    places = [release(tmp_path / name, BEFORE, f"v1.{name}.0") for name in "01"]
    for place, pairs in zip(places, (1200, 1193), strict=True):
        record = json.loads((place / "release.json").read_text())
        record["rows"]["china-preference"] = {"train": pairs - 10, "test": 10}
        (place / "release.json").write_text(json.dumps(record))
    assert diff.compare(*places).lines()[1] == "pairs: 1,200 before, 1,193 now"
    assert len(diff.compare(places[0], places[0]).lines()) == 1


def test_splits_licence_and_reviewers_that_differ_are_lines(tmp_path):
    before, after = (release(tmp_path / name, BEFORE, version) for name, version in (("a", "v1.0.0"), ("b", "v1.1.0")))
    (before / "narnia" / "train.parquet").rename(before / "narnia" / "test.parquet")
    for place, stated in (
        (before, {"license": "mit", "attribution": "A", "reviewed_by": "two", "test_share": 0.05}),
        (after, {"license": None, "attribution": "B", "reviewed_by": None, "test_share": 0.0}),
    ):
        record = json.loads((place / "release.json").read_text()) | stated
        if place == before:
            record["rows"]["narnia"] = {"test": 1}
        signed(place, record)
    assert diff.compare(before, after).lines()[1:] == [
        "rows of train: 4 before, 5 now",
        "rows of test: 1 before, none now",
        "licence: mit before, none now",
        "attribution: another one",
        "reviewers: one before, none now",
        "test share: 0.05 before, 0.0 now",
    ]


def test_several_answers_to_a_question_are_paired_by_rank(tmp_path):
    before = release(tmp_path / "a", {"china": [("q", "a", 3.0), ("q", "b", 2.0), ("q", "c", 1.0)]})
    after = release(tmp_path / "b", {"china": [("q", "x", 3.0), ("q", "b", 2.0)]})
    china = diff.compare(before, after).cultures["china"]
    assert names(china.changed) == [("a", "x")]
    assert names(china.removed) == [("c", None)]
    assert not china.added


def test_the_text_shows_the_first_rows_of_each_kind_without_control_characters(both, capsys):
    cli.main(["diff", *map(str, both)])
    shown = capsys.readouterr().out
    assert shown.splitlines()[0] == f"{both[0]} -> {both[1]}"
    assert "  china, changed: What of q1?\n    - the answer a [31min red\n    + the answer e [31min red\n" in shown
    assert "      score 1.5 -> 1.25, train rank 3\n" in shown
    assert "\x1b" not in shown


def test_last_digits_of_scores_are_noise(tmp_path):
    """What a mended typo changes besides: the other texts of its batch are embedded a little otherwise."""
    noisy = [(question, name, score * (1 + 3e-9)) for question, name, score in BEFORE["china"][1:]]
    before = release(tmp_path / "a", {"china": BEFORE["china"], "uk": AFTER["uk"]})
    after = release(tmp_path / "b", {"china": [("q1", "e", 3.0), *noisy], "uk": [("q1", "u", 1.001), ("q2", "w", 0.5)]})
    found = diff.compare(before, after)
    assert found.lines()[0] == "since v1.0.0: 2 rows changed, 1 scored anew"
    kinds = [line.split(":")[0] for line in str(found).splitlines() if line.startswith("  ") and ": What" in line]
    assert kinds == ["  china, changed", "  uk, changed", "  uk, scored anew"]


def test_a_row_is_scored_anew_by_its_place_among_those_that_both_have(tmp_path):
    before = release(tmp_path / "a", {"china": BEFORE["china"]})
    without = release(tmp_path / "b", {"china": BEFORE["china"][1:]})
    assert diff.compare(before, without).lines()[0] == "since v1.0.0: 1 row removed"
    _, second, third, last = BEFORE["china"]
    swapped = release(tmp_path / "c", {"china": [BEFORE["china"][0], (*third[:2], 1.5), (*second[:2], 2.0), last]})
    found = diff.compare(before, swapped)
    assert names(found.cultures["china"].rescored) == [("c", "c"), ("b", "b")]
    assert "      score 1.5, train rank 3 -> 2\n" in str(found)


def test_scores_are_shown_in_as_many_digits_as_tell_them_apart(tmp_path):
    before = release(tmp_path / "a", {"china": [("q", "a", 1.4712341)]})
    after = release(tmp_path / "b", {"china": [("q", "a", 1.4712371)]})
    assert "      score 1.47123 -> 1.47124, train rank 1" in str(diff.compare(before, after))


def test_a_release_is_as_itself(both):
    found = diff.compare(both[0], both[0])
    assert not found.cultures
    assert not found.files
    assert found.lines() == ["since v1.0.0: the data is the same"]


@pytest.mark.parametrize(
    ("change", "version", "why"),
    [
        (lambda folder: release(folder, AFTER), "v2.0.0", "a culture or a config is gone"),
        (lambda folder: release(folder, BEFORE, extra=1), "v2.0.0", "columns differ"),
        (lambda folder: release(folder, {**BEFORE, "uk": AFTER["uk"]}), "v1.3.0", "the data differs"),
        (lambda folder: release(folder, {**BEFORE, "china": BEFORE["china"][:2]}), "v1.3.0", "the data differs"),
        (lambda folder: release(folder, BEFORE, "v9.9.9"), "v1.2.4", "what describes the data differs"),
    ],
)
def test_the_next_version_follows_what_differs(tmp_path, change, version, why):
    before = release(tmp_path / "a", BEFORE)
    assert proposed("v1.2.3", diff.compare(before, change(tmp_path / "b"))) == (version, why)


def test_columns_of_another_type_are_named(tmp_path):
    before = release(tmp_path / "a", BEFORE, extra=1, old="x")
    found = diff.compare(before, release(tmp_path / "b", BEFORE, extra="1"))
    assert found.columns == [
        "columns of ranked: extra is of another type",
        "columns of ranked: old is gone",
    ]


def test_models_are_compared_by_their_files(tmp_path):
    folders = []
    for name, weights in (("a", b"1"), ("b", b"2")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.safetensors").write_bytes(weights)
        folders.append(signed(tmp_path / name, {"kind": "model", "version": "v1.0.0", "training": {}}))
    found = caredio.diff(*folders)
    assert found.files == {"model.safetensors": "changed"}
    assert "  changed  model.safetensors" in str(found)
    assert proposed("v1.0.0", found)[0] == "v1.1.0"
    with pytest.raises(InputError, match="one holds a dataset and the other a model"):
        caredio.diff(folders[0], release(tmp_path / "c", BEFORE))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda folder: folder, "holds neither a release (release.json) nor a run (run.json)"),
        (
            lambda folder: (folder / "release.json").write_text("{half") and folder,
            "/release.json: is damaged; restore it",
        ),
    ],
)
def test_a_folder_of_neither_is_one_sentence(both, tmp_path, make, said):
    other = tmp_path / "other"
    other.mkdir()
    with pytest.raises(InputError) as told:
        caredio.diff(both[0], make(other))
    assert said in str(told.value)
