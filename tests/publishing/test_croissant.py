"""A release for machines: croissant.json as mlcroissant reads it, and CITATION.cff."""

import itertools
import json
import logging
from configparser import ConfigParser
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml
from publishing.test_release import table

import caredio
from caredio.errors import InputError
from caredio.publishing import citation, croissant, release
from caredio.publishing.settings import Settings
from caredio.runs import Run

mlcroissant = pytest.importorskip("mlcroissant")

# https://neurips.cc/Conferences/2026/EvaluationsDatasetsHosting, the minimal set
NEURIPS = {
    "rai:dataLimitations", "rai:dataBiases", "rai:personalSensitiveInformation", "rai:dataUseCases",
    "rai:dataSocialImpact", "rai:hasSyntheticData", "prov:wasDerivedFrom", "prov:wasGeneratedBy",
}  # fmt: skip


TITLE = "Ranked answers of China, United Kingdom and narnia"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    caredio.select(table(folder), out=folder, theta=0.99)
    return folder


@pytest.fixture(scope="module")
def released(run, tmp_path_factory):
    return caredio.publish(
        run, to=tmp_path_factory.mktemp("release") / "cardset", version="v1.2.0", license="cc-by-4.0"
    )


def page(folder):
    return json.loads((folder / croissant.FILE).read_text(encoding="utf-8"))


def plain(value):
    """What mlcroissant gives, without its names of fields and with text for bytes."""
    if isinstance(value, list):
        return [plain(one) for one in value]
    if isinstance(value, dict):
        return {name.rpartition("/")[2]: plain(one) for name, one in value.items()}
    return value.decode() if isinstance(value, bytes) else value


def test_mlcroissant_finds_no_fault_and_reads_the_rows(released, caplog):
    with caplog.at_level(logging.WARNING):
        found = mlcroissant.Dataset(str(released / croissant.FILE))
    issues = found.metadata.ctx.issues
    assert not issues.errors
    # a date would make equal releases differ
    assert [text for text in issues.warnings if "datePublished" not in text] == []
    for name, file in (("all-train", "all/train"), ("china-preference-train", "china-preference/train")):
        rows = pq.read_table(released / f"{file}.parquet").to_pylist()
        read = [plain(row) for row in itertools.islice(found.records(name), 5)]
        for row, wanted in zip(read, rows[:5], strict=True):
            simple = {key: value for key, value in wanted.items() if value not in (None, [])}  # no list is [{}] there
            assert {key: row[key] for key in simple} == simple


def test_a_changed_file_is_noticed(run, tmp_path):
    folder = caredio.publish(run, to=tmp_path / "r", version="v1.0.0")
    (folder / "all" / "train.parquet").write_bytes((folder / "all" / "test.parquet").read_bytes())
    found = mlcroissant.Dataset(str(folder / croissant.FILE))
    with pytest.raises(Exception, match=r"Download\(all/train\.parquet\)"):
        next(iter(found.records("all-train")))


def test_every_file_and_every_field_that_neurips_asks_for_is_there(released):
    found = page(released)
    assert set(croissant.REQUIRED) == NEURIPS
    assert all(found[name] not in ("", [], None) for name in NEURIPS)
    record = json.loads((released / release.RECORD).read_text())
    listed = {one["contentUrl"]: one["sha256"] for one in found["distribution"]}
    assert listed == {name: sha for name, sha in record["files"].items() if name.endswith(".parquet")}
    assert (found["version"], found["license"]) == ("1.2.0", "https://spdx.org/licenses/CC-BY-4.0.html")


def test_what_is_said_comes_from_the_run(run, released):
    found, stages = page(released), json.loads((run / "run.json").read_text())["stages"]
    (origin,) = found["prov:wasDerivedFrom"]
    assert origin["prov:label"] == "own.jsonl"
    assert stages["candidates"]["made_from"]["source"]["sha256"] in origin["sc:description"]
    made = {one["prov:label"]: one["sc:description"] for one in found["prov:wasGeneratedBy"]}
    assert made == {name: f"{stages[name]['rows']} rows" for name in ("candidates", "vectors", "scored", "ranked")}
    assert found["rai:hasSyntheticData"] == "unknown"  # the table does not say who wrote
    assert "questions, and answers of 3 cultures (" in found["description"]
    body = (released / "README.md").read_text()
    assert all(f"- {limit}\n" in body for limit in found["rai:dataLimitations"])


def test_text_of_a_model_is_synthetic_and_names_its_model(server, tmp_path):
    asking = {"model": "scripted", "base_url": server.url, "retries": 0, "embedder": "openai:scripted-embedder"}
    caredio.build(["china", "brazil"], ["food"], out=tmp_path / "run", near=1, far=0, per_topic=3, **asking, theta=0.5)
    folder = caredio.publish(tmp_path / "run")
    found = page(folder)
    assert found["rai:hasSyntheticData"] is True
    agents = {
        agent["prov:label"]
        for one in found["prov:wasGeneratedBy"]
        for agent in one["prov:wasAssociatedWith"]
        if one["prov:label"] == "questions"
    }
    assert "scripted" in agents
    assert found["inLanguage"] == ["en"]
    mlcroissant.Dataset(str(folder / croissant.FILE))
    card = (folder / "README.md").read_text()
    prompts = json.loads((tmp_path / "run" / "run.json").read_text())["stages"]["questions"]["made_from"]["prompt"]
    assert all(f" {sha}" in card for sha in prompts)


def test_a_release_on_the_hub_is_read_from_its_tag(run, tmp_path):
    with Run(run) as opened:
        release.dataset(
            opened,
            tmp_path / "r",
            Settings(version="v1.0.0"),
            {},
            "caredio/cardset",
            over=release.Over(repo="caredio/cardset"),
        )
    place = "https://huggingface.co/datasets/caredio/cardset"
    found = page(tmp_path / "r")
    assert found["url"] == place
    assert found["distribution"][0]["contentUrl"] == f"{place}/resolve/v1.0.0/{found['distribution'][0]['@id']}"
    assert found["creator"]["name"] == "caredio"
    cited = yaml.safe_load((tmp_path / "r" / citation.FILE).read_text())
    assert (cited["url"], cited["authors"]) == (place, [{"name": "caredio"}])


def test_the_citation_file_has_what_its_schema_wants(released):
    """https://github.com/citation-file-format/citation-file-format, schema 1.2.0: required keys, and no others."""
    found = yaml.safe_load((released / citation.FILE).read_text())
    assert found["cff-version"] == "1.2.0"
    assert found["type"] == "dataset"
    assert {"authors", "cff-version", "message", "title"} <= set(found)
    assert set(found) <= {
        "abstract", "authors", "cff-version", "keywords", "license", "message", "references", "title", "type", "url",
        "version",
    }  # fmt: skip
    assert (found["title"], found["version"], found["license"]) == (TITLE, "v1.2.0", "CC-BY-4.0")
    (paper,) = found["references"]
    assert {"authors", "title", "type"} <= set(paper)
    assert (paper["volume"], paper["year"]) == (306, 2026)
    assert [one["family-names"] for one in paper["authors"]] == ["Yao", "Yi", "Wang", "Dou", "Xie"]


def test_authors_are_named_wherever_the_release_is_cited(run, tmp_path):
    folder = caredio.publish(run, to=tmp_path / "r", authors="Ada A., {B}en `B.`", version="v1.0.0")
    cited = yaml.safe_load((folder / citation.FILE).read_text())
    assert [one["name"] for one in cited["authors"]] == ["Ada A.", "{B}en `B.`"]
    assert [one["name"] for one in page(folder)["creator"]] == ["Ada A.", "{B}en `B.`"]
    entry = (
        f"@misc{{ranked-answers-of-china-united-kingdom-and-narnia,\n  title = {{{TITLE}}},\n"
        "  author = {{Ada A.} and {B en B.}},\n  version = {v1.0.0}\n}"
    )
    assert page(folder)["citeAs"].startswith(entry)
    assert f"The dataset itself is by `Ada A.`, `{{B}}en 'B.'`:\n\n```bibtex\n{entry}\n```\n" in (
        folder / "README.md"
    ).read_text(encoding="utf-8")
    assert not mlcroissant.Dataset(str(folder / croissant.FILE)).metadata.ctx.issues.errors
    caredio.publish(run, to=folder, version="v1.1.0")
    assert page(folder)["creator"][0]["name"] == "Ada A."


@pytest.mark.parametrize("authors", ["Ada A.,", "Ada\nA.", ", Ben"])
def test_authors_that_are_no_names_are_refused(authors):
    with pytest.raises(InputError, match=r"^authors is .*; write names with commas between, such as Ada A., Ben B\.$"):
        Settings(authors=authors)


def test_a_licence_that_spdx_does_not_know_is_left_out(run, tmp_path):
    folder = caredio.publish(run, to=tmp_path / "r", license="openrail", attribution="A: *survey*")
    found = yaml.safe_load((folder / citation.FILE).read_text())
    assert "license" not in found
    assert found["abstract"] == "Attribution of the source: A: *survey*"
    assert page(folder)["license"] == "openrail"


def test_the_package_is_cited_by_the_same_paper():
    root = Path(__file__).parents[2]
    found = yaml.safe_load((root / "CITATION.cff").read_text(encoding="utf-8"))
    settings = ConfigParser()
    settings.read(root / "setup.cfg")
    assert found["preferred-citation"] == citation.PAPER
    assert (found["version"], found["license"]) == tuple(settings["metadata"][name] for name in ("version", "license"))
    assert citation.TITLE in citation.BIBTEX
