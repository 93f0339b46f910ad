"""What nobody gives anew: a later release keeps it, says so, and lets an explicit value take its place."""

import json

import pytest
import yaml
from hub_server import HubServer
from publishing.test_hub import publish
from publishing.test_release import table, trained

import caredio
from caredio import cli, runs
from caredio.errors import InputError
from caredio.publishing import kept, record
from caredio.publishing.settings import Settings

STATED = {"license": "cc-by-sa-4.0", "attribution": "A survey", "terms": "Ask first", "reviewed_by": "two people"}
STATED["authors"] = "Ada A., Ben B."
FLAGS = ["--license", "cc-by-sa-4.0", "--attribution", "A survey", "--reviewed-by", "two people", "--test-share", "0.3"]
FLAGS += ["--authors", "Ada A., Ben B."]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    caredio.select(table(folder), out=folder, theta=0.99)
    return folder


def held_out(folder):
    return set(runs.read([folder / "all" / "test.parquet"])["question_id"])


def noted(folder):
    return json.loads((folder / "release.json").read_text())


def test_what_is_not_given_is_as_in_the_release_before(run, tmp_path):
    folder = caredio.publish(run, to=tmp_path / "r", test_share=0.3, **STATED)
    before = held_out(folder)
    gone = runs.read([folder / "china" / "train.parquet"])["sample_id"][0]
    (tmp_path / "ids.txt").write_text(gone)
    asked = {"to": folder, "remove": tmp_path / "ids.txt"}
    told = str(caredio.plan(caredio.publish, run, **asked))
    said = "licence cc-by-sa-4.0, attribution, terms, reviewers, authors, test share 0.3"
    assert f"\nkept from v0.1.0: {said}\nleft out on request: 1; rejected by raters: 0\n" in told
    caredio.publish(run, **asked)
    assert (noted(folder)["version"], noted(folder)["test_share"]) == ("v0.2.0", 0.3)
    assert STATED.items() <= noted(folder).items()
    assert held_out(folder) == before
    page = (folder / "README.md").read_text()
    assert yaml.safe_load(page.split("---\n")[1])["license"] == "cc-by-sa-4.0"
    assert "Attribution: `A survey`." in page
    assert "Reviewed by native speakers: `two people`." in page
    (run / "removed.txt").unlink()


def test_what_is_given_takes_its_place_and_an_empty_text_takes_it_back(run, tmp_path):
    folder = caredio.publish(run, to=tmp_path / "r", test_share=0.3, **STATED)
    given = {"license": "mit", "attribution": "", "test_share": 0.05, "terms": "Ask first"}
    (line,) = [one for one in str(caredio.plan(caredio.publish, run, to=folder, **given)).splitlines() if "than" in one]
    assert line == (
        "other than in v0.1.0: licence mit (there: cc-by-sa-4.0), no attribution, test share 0.05 (there: 0.3)"
    )
    caredio.publish(run, to=folder, **given)
    caredio.publish(run, to=folder)
    made = noted(folder)
    assert {name: made[name] for name in STATED} == {**STATED, "license": "mit", "attribution": None}
    assert made["test_share"] == 0.05
    assert "Attribution" not in (folder / "README.md").read_text()


def test_a_yaml_that_names_the_share_of_a_first_release_means_it(run, tmp_path):
    folder = caredio.publish(run, to=tmp_path / "r", test_share=0.3)
    (tmp_path / "publish.yaml").write_text("test_share: 0.05\nlicense: mit\n")
    cli.main(["publish", "--config", str(tmp_path / "publish.yaml"), "--out", str(run), "--to", str(folder)])
    assert (noted(folder)["test_share"], noted(folder)["license"]) == (0.05, "mit")
    described = {"test_share": 0.05, "out": tmp_path / "other", "theta": 0.99}
    assert caredio.select(table(tmp_path), **described).path  # which needs no push


def test_a_record_of_an_earlier_version_keeps_what_it_knows(run, tmp_path):
    folder = caredio.publish(run, to=tmp_path / "r", **STATED)
    old = {name: value for name, value in noted(folder).items() if name not in (*STATED, "test_share", "rejected")}
    (folder / "release.json").write_text(json.dumps(old))
    plan = caredio.plan(caredio.publish, run, to=folder)
    assert "kept from" not in str(plan)
    caredio.publish(run, to=folder)
    assert (noted(folder)["license"], noted(folder)["test_share"]) == (None, 0.05)


def test_a_model_keeps_its_texts_and_nothing_of_a_dataset(run, tmp_path):
    source = trained(tmp_path / "china-sft")
    folder = caredio.publish(run, model=source, to=tmp_path / "m", license="mit", terms="Ask")
    by = caredio.publish(run, model=source, to=tmp_path / "by", authors="Ada A.")
    assert "The model itself is by `Ada A.`:\n\n```bibtex\n@misc{by,\n  title = {by},\n  author = {{Ada A.}},\n" in (
        by / "README.md"
    ).read_text(encoding="utf-8")
    (source / "config.json").write_text('{"a": 1}')
    plan = caredio.plan(caredio.publish, run, model=source, to=folder)
    assert "\nkept from v0.1.0: licence mit, terms\n" in str(plan)
    of_dataset = record.Release("r", tmp_path, {"kind": "dataset", "license": "mit"})
    assert kept.of(Settings(), "model", of_dataset, "v1.0.0") == kept.Kept(Settings())


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("test_share", "much", "test_share is 'much', not a number or None; give this setting."),
        ("license", "none of yours", "use such as .*; give this setting."),
        ("attribution", ["A"], "attribution is .'A'., not text or None; give this setting."),
    ],
)
def test_a_damaged_record_is_one_sentence_until_the_setting_is_given(tmp_path, name, value, said):
    last = record.Release("me/x@v1.0.0", tmp_path, {"kind": "dataset", name: value})
    with pytest.raises(InputError, match=f"^me/x@v1.0.0: release.json is damaged, .*{said}$"):
        kept.of(Settings(), "dataset", last, "v1.0.0")
    given = Settings(test_share=0.1, license="mit", attribution="B")
    assert kept.of(given, "dataset", last, "v1.0.0").settings == given


def test_no_version_is_proposed_over_what_is_none(run, tmp_path):
    folder = caredio.publish(run, to=tmp_path / "r")
    damaged = noted(folder) | {"version": "latest"}
    (folder / "release.json").write_text(json.dumps(damaged))
    with pytest.raises(InputError) as told:
        caredio.publish(run, to=folder)
    said = (
        f"{folder}: release.json says version 'latest', over which none can be proposed; give version, such as v1.0.0."
    )
    assert str(told.value) == said
    assert noted(folder) == damaged
    assert caredio.plan(caredio.publish, run, to=folder, version="v1.0.0").version == "v1.0.0"


def test_the_newest_on_the_hub_is_what_is_kept(run, tmp_path):
    with HubServer(tmp_path / "hub", orgs=("caredio",)) as hub:
        home, push = tmp_path / "home", ["--push", "caredio/cardset"]
        publish(hub, run, home, "--to", tmp_path / "one", *push, *FLAGS)
        said = publish(hub, run, home, "--to", tmp_path / "two", *push, "--terms", "Ask first").stderr
    assert "kept from v0.1.0: licence cc-by-sa-4.0, attribution, reviewers, authors, test share 0.3" in said
    assert "other than in v0.1.0: terms\n" in said
    made = noted(tmp_path / "two")
    assert (made["version"], made["test_share"]) == ("v0.1.1", 0.3)
    assert {name: made[name] for name in STATED} == STATED
    assert held_out(tmp_path / "one") == held_out(tmp_path / "two")


def test_a_culture_that_is_added_is_split_as_those_that_stay(run, tmp_path):
    base = caredio.publish(run, to=tmp_path / "r", test_share=0.3, license="mit")
    (tmp_path / "own").mkdir()
    rows = table(tmp_path / "own").read_text().replace("china", "japan")
    (tmp_path / "own" / "own.jsonl").write_text(rows)
    caredio.select(tmp_path / "own" / "own.jsonl", out=tmp_path / "own", theta=0.99)
    told = str(caredio.plan(caredio.publish, tmp_path / "own", add_to=base))
    assert (
        f"\nkept from {base} for the cultures that it was stated of, and not stated of the others: licence mit\n"
        in told
    )
    assert f"\nkept from {base}: test share 0.3\n" in told


def test_a_text_stays_stated_of_the_cultures_that_it_was_stated_of_when_they_are_made_anew(run, tmp_path):
    """China and others are stated, japan is added, and then china's rows are made anew beside japan's."""
    folder = caredio.publish(run, to=tmp_path / "r", license="mit", attribution="A survey")
    (tmp_path / "own").mkdir()
    rows = table(tmp_path / "own").read_text()
    for old, new in (("china", "japan"), ("narnia", "peru"), ("united_kingdom", "chad")):
        rows = rows.replace(old, new)
    (tmp_path / "own" / "own.jsonl").write_text(rows)
    caredio.select(tmp_path / "own" / "own.jsonl", out=tmp_path / "own", theta=0.99)
    caredio.publish(tmp_path / "own", to=folder, add_to=folder)
    of = ["china", "narnia", "united_kingdom"]
    assert noted(folder)["stated_of"] == {"license": of, "attribution": of}
    told = str(caredio.plan(caredio.publish, run, to=folder, add_to=folder))
    assert "for the cultures that it was stated of, and not stated of the others: licence mit, attribution\n" in told
    caredio.publish(run, to=folder, add_to=folder)
    assert noted(folder)["stated_of"] == {"license": of, "attribution": of}
    page = (folder / "README.md").read_text()
    assert "Attribution: `A survey` (stated of China, United Kingdom and narnia alone)." in page
    told = str(caredio.plan(caredio.publish, tmp_path / "own", to=folder))
    assert "left out, as no culture of this release is one that it was stated of: licence mit, attribution" in told
    assert "kept from" not in told
    caredio.publish(tmp_path / "own", to=folder)
    made = noted(folder)
    assert (made["license"], made["attribution"], "stated_of" in made) == (None, None, False)
    assert "stated of" not in (folder / "README.md").read_text().partition("## Changes")[0]
