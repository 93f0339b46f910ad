"""Releases that follow one another on the local Hub: versions, plans, losers, removals, additions, pull requests."""

import json
import shutil
import subprocess
import sys

import pytest
from hub_server import HubServer
from publishing.test_hub import publish, python, state
from publishing.test_release import table

import caredio

NAME = "caredio/cardset"


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """Runs: a, b (and d) with another answer for china, and c with japan in place of the uk."""
    folder = tmp_path_factory.mktemp("runs")
    for name, answer, other in (("a", "rice", None), ("b", "noodles", None), ("c", "soup", "japan")):
        (folder / name).mkdir()
        rows = table(folder / name, (answer, "toast", "turnips")).read_text()
        (folder / name / "own.jsonl").write_text(rows.replace("united_kingdom", other) if other else rows)
        caredio.select(folder / name / "own.jsonl", out=folder / name, theta=0.99, length_ratio=1.0)
    shutil.copytree(folder / "b", folder / "d")  # a run is one command's at a time
    return folder


@pytest.fixture
def hub(tmp_path):
    with HubServer(tmp_path / "hub", orgs=("caredio",)) as hub:
        yield hub


def script(hub, tmp_path, own, lines):
    """What a script prints last, from JSON; `publish(run, ...)` releases one of the runs at the Hub."""
    head = f"""
import json
import caredio
from huggingface_hub import HfApi
def publish(run, **given):
    given = {{"push": {NAME!r}, "to": {str(tmp_path)!r} + "/r", **given}}
    return caredio.publish({str(own)!r} + "/" + run, **given)
def tags():
    return sorted(tag.name for tag in HfApi().list_repo_refs({NAME!r}, repo_type="dataset").tags)
"""
    return json.loads(python(hub, tmp_path / "home", head + lines)[-1])


def test_versions_are_proposed_over_the_newest_on_the_hub(hub, own, tmp_path):
    found = script(
        hub,
        tmp_path,
        own,
        f"""
for run, given in (("a", {{}}), ("a", {{}}), ("b", {{}}), ("b", {{"license": "mit"}}), ("c", {{}}), ("c", {{}})):
    publish(run, **given)
differ = caredio.diff("{NAME}@v0.1.0", "{NAME}@v0.2.0")
plan = caredio.plan(caredio.publish, "{own}/c", push="{NAME}")
low = str(caredio.plan(caredio.publish, "{own}/c", push="{NAME}", version="v0.1.9")).splitlines()[0]
newest = json.load(open("{tmp_path}/r/release.json"))
print(json.dumps([tags(), differ.lines(), str(plan).splitlines()[-1], plan.target.tagged, low, newest["changes"][:2]]))
""",
    )
    tags, lines, last, tagged, low, changes = found
    assert low == "release of a dataset: v0.1.9 (lower than the last one, v1.0.0)"
    assert tags == ["v0.1.0", "v0.2.0", "v0.2.1", "v1.0.0"]
    changed = lines[0].split(": ")[1].split()[0]
    assert lines[0].startswith(f"since {NAME}@v0.1.0: {changed} rows changed")
    assert f"china: {changed} rows changed" in lines
    # what China answers is what the others' distinctiveness is measured against
    assert all("rows scored anew" in line for line in lines if not line.startswith(("since", "china")))
    assert (last, tagged) == (f"nothing differs from {NAME}@v1.0.0", True)
    assert changes[0].startswith("since v0.2.1: ")
    assert len(state(hub, tmp_path / "home")[0]) == 5


@pytest.mark.slow  # several releases, each with its figures
def test_of_two_publishers_the_loser_plans_again(hub, own, tmp_path):
    """The other one releases while this one's plan is being read."""
    plans, tags = script(
        hub,
        tmp_path,
        own,
        """
publish("a")
plans = []
def reading(plan):
    plans.append([plan.version, plan.last])
    if len(plans) == 1:
        publish("b", to=str(plan.folder) + "-other")
    return True
publish("c", confirm=reading)
print(json.dumps([plans, tags()]))
""",
    )
    assert plans == [["v1.0.0", f"{NAME}@v0.1.0"], ["v1.0.0", f"{NAME}@v0.2.0"]]
    assert tags == ["v0.1.0", "v0.2.0", "v1.0.0"]


def test_the_loser_of_one_version_is_given_the_next_or_told(hub, own, tmp_path):
    plans, tags, told = script(
        hub,
        tmp_path,
        own,
        """
publish("a")
plans = []
def reading(plan):
    plans.append(plan.version)
    if len(plans) == 1:
        publish("b", to=str(plan.folder) + "-other")
    return True
publish("d", license="mit", confirm=reading)
told = ""
try:
    publish("c", version="v0.2.0")
except caredio.InputError as error:
    told = str(error)
print(json.dumps([plans, tags(), told]))
""",
    )
    assert plans == ["v0.2.0", "v0.2.1"]
    assert tags == ["v0.1.0", "v0.2.0", "v0.2.1"]
    assert told == f"{NAME}: v0.2.0 is released with other content; choose another version."


def test_a_crash_before_the_tag_is_mended_whatever_the_version_was(hub, own, tmp_path):
    hub.fail("POST", "/tag/", 403, words="no")
    done = publish(hub, own / "a", tmp_path / "home", "--to", tmp_path / "r", "--push", NAME, check=False)
    assert done.returncode == 2
    assert state(hub, tmp_path / "home")[1] == {}
    publish(hub, own / "a", tmp_path / "home", "--to", tmp_path / "r", "--push", NAME)
    commits, tags = state(hub, tmp_path / "home")
    assert (len(commits), tags) == (2, {"v0.1.0": commits[0]})


@pytest.mark.slow  # several releases, each with its figures
def test_removals_and_additions_follow_the_release_on_the_hub(hub, own, tmp_path):
    rows, removed, cultures, tags = script(
        hub,
        tmp_path,
        own,
        f"""
from datasets import load_dataset
publish("a")
gone = load_dataset("{NAME}", "china", split="train", revision="v0.1.0")["sample_id"][0]
open("{tmp_path}/ids.txt", "w").write(gone)
publish("a", remove="{tmp_path}/ids.txt")
publish("c", add_to="{NAME}", to="{tmp_path}/other")
rows = [gone in load_dataset("{NAME}", "all", split="train", revision=tag)["sample_id"] for tag in tags()]
whole = load_dataset("{NAME}", split="train", revision=tags()[-1])
print(json.dumps([rows, json.load(open("{tmp_path}/other/release.json"))["removed"] == [gone],
                  sorted(set(whole["culture"])), tags()]))
""",
    )
    assert tags == ["v0.1.0", "v0.2.0", "v0.3.0"]
    assert rows == [True, False, False]
    assert removed is True
    assert cultures == ["china", "japan", "narnia", "united_kingdom"]
    (own / "a" / "removed.txt").unlink()


@pytest.mark.slow  # several releases, each with its figures
def test_private_gated_and_another_s_organisation(hub, own, tmp_path):
    found = script(
        hub,
        tmp_path,
        own,
        f"""
publish("a", private=True, gated="manual")
info = HfApi().dataset_info("{NAME}")
try:
    HfApi(token=False).dataset_info("{NAME}")
    hidden = False
except Exception as error:
    hidden = type(error).__name__
told = ""
try:
    publish("a", push="strangers/cardset")
except caredio.EndpointError as error:
    told = str(error)
print(json.dumps([info.private, info.gated, hidden, told]))
""",
    )
    private, gated, hidden, told = found
    assert (private, gated, hidden) == (True, "manual", "RepositoryNotFoundError")
    assert told.startswith("strangers/cardset: ")
    assert "refused (status 403" in told
    assert "rights to create a dataset under this namespace" in told
    assert "check HF_TOKEN and that it may write there" in told


@pytest.mark.slow  # several releases, each with its figures
def test_a_pull_request_is_opened_once_and_bears_no_tag(hub, own, tmp_path):
    found = script(
        hub,
        tmp_path,
        own,
        f"""
publish("a")
before = HfApi().dataset_info("{NAME}").sha
for _ in range(2):
    publish("b", create_pr=True)
refs = HfApi().list_repo_refs("{NAME}", repo_type="dataset", include_pull_requests=True)
files = HfApi().list_repo_files("{NAME}", repo_type="dataset", revision="refs/pr/1")
print(json.dumps([HfApi().dataset_info("{NAME}").sha == before, [one.ref for one in refs.pull_requests], tags(),
                  "release.json" in files]))
""",
    )
    assert found == [True, ["refs/pr/1"], ["v0.1.0"], True]


def test_nothing_goes_to_the_hub_unless_somebody_says_so(hub, own, tmp_path):
    command = [sys.executable, "-m", "caredio.cli", "publish", "--out", own / "a", "--to", tmp_path / "r"]
    done = subprocess.run(
        [*map(str, command), "--push", NAME],
        env=hub.environment(tmp_path / "home"),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert f"to the Hub: the dataset {NAME}, which is created: one commit and the tag v0.1.0" in done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert last == f"caredio: nothing was written or sent; give --yes to publish this at {NAME}."
    assert not (tmp_path / "r").exists()
    assert {request.method for request in hub.requests} <= {"GET", "HEAD"}
