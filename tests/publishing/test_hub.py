"""Publishing over HTTP to a local Hub, and what its users then load."""

import json
import os
import re
import subprocess
import sys
import textwrap

import pytest
import yaml
from hub_server import HubServer
from llm_server import LLMServer
from publishing.test_release import table, trained

import caredio


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    caredio.select(table(folder), out=folder, theta=0.99)
    return folder


@pytest.fixture
def hub(tmp_path):
    with HubServer(tmp_path / "hub") as hub:
        yield hub


def publish(hub, run, home, *arguments, token=True, check=True, verb=("publish",), **variables):
    """`caredio publish` in a process of its own: the Hub's address is read when its client is imported."""
    environment = hub.environment(home) | variables
    if not token:
        environment["HF_TOKEN"] = "hf_nobody"
    verb = (*verb, "--yes") if verb == ("publish",) else verb
    command = [sys.executable, "-m", "caredio.cli", *map(str, verb), "--out", str(run), *map(str, arguments)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=check)


def python(hub, home, script):
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        env=hub.environment(home),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip().splitlines()


def state(hub, home, kind="dataset", repo="caredio/cardset"):
    """(commits, tags -> commit) of a repository."""
    lines = python(
        hub,
        home,
        f"""
        from huggingface_hub import HfApi
        api = HfApi()
        print(" ".join(commit.commit_id for commit in api.list_repo_commits("{repo}", repo_type="{kind}")))
        for tag in api.list_repo_refs("{repo}", repo_type="{kind}").tags:
            print(tag.name, tag.target_commit)
        """,
    )
    return lines[0].split(), dict(line.split() for line in lines[1:])


def test_a_release_is_one_commit_and_a_tag_and_old_ones_stay(hub, run, tmp_path):
    home = tmp_path / "home"
    publish(hub, run, home, "--to", tmp_path / "r1", "--version", "v1.0.0", "--push", "caredio/cardset")
    loading = """
        from datasets import load_dataset
        rows = load_dataset("caredio/cardset", "china", split="train", revision={revision!r})
        print(rows[0]["completion"][0]["content"].split()[0], rows["rank"][:3])
    """
    before = python(hub, tmp_path / "fresh", loading.format(revision="v1.0.0"))
    other = tmp_path / "other"
    other.mkdir()
    caredio.select(table(other, ("noodles", "crumpets", "stew")), out=other, theta=0.99)
    publish(hub, other, home, "--to", tmp_path / "r2", "--version", "v1.1.0", "--push", "caredio/cardset")
    commits, tags = state(hub, home)
    assert len(commits) == 3  # the Hub's own first one, and one a release
    assert tags == {"v1.0.0": commits[1], "v1.1.0": commits[0]}
    after = [python(hub, tmp_path / "fresh", loading.format(revision=name)) for name in ("v1.0.0", "v1.1.0", None)]
    assert before == after[0] == ["rice [1, 2, 3]"]
    assert after[1] == after[2] == ["noodles [1, 2, 3]"]


def test_publishing_again_changes_nothing(hub, run, tmp_path):
    arguments = ("--to", tmp_path / "r", "--version", "v1.0.0", "--push", "caredio/cardset")
    publish(hub, run, tmp_path / "home", *arguments)
    before = state(hub, tmp_path / "home")
    publish(hub, run, tmp_path / "home", *arguments)
    assert state(hub, tmp_path / "home") == before


def test_what_a_desktop_writes_into_a_release_is_not_sent(hub, tmp_path):
    files = ("README.md", "china/train.parquet", "release.json")
    for name in (*files, ".DS_Store", "china/.DS_Store", "china/._train.parquet", "Thumbs.db"):
        (tmp_path / "r" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "r" / name).write_text('{"kind": "dataset", "version": "v0.1.0"}')
    script = f"""
        from pathlib import Path

        from huggingface_hub import HfApi

        from caredio.publishing import hub

        hub.push(Path({str(tmp_path / "r")!r}), "caredio/cardset", "dataset")
        print(*HfApi().list_repo_files("caredio/cardset", repo_type="dataset"), sep="\\n")
        """
    assert sorted(python(hub, tmp_path / "home", script)) == sorted((*files, ".gitattributes"))


def test_a_version_is_never_released_twice_with_other_content(hub, run, tmp_path):
    arguments = ("--version", "v1.0.0", "--push", "caredio/cardset")
    publish(hub, run, tmp_path / "home", "--to", tmp_path / "r1", *arguments)
    before = state(hub, tmp_path / "home")
    done = publish(hub, run, tmp_path / "home", "--to", tmp_path / "r2", "--license", "mit", *arguments, check=False)
    assert done.returncode == 2
    assert "v1.0.0 is released with other content; choose another version" in done.stderr
    assert state(hub, tmp_path / "home") == before


@pytest.mark.parametrize(
    ("method", "path", "status", "after"),
    [
        ("POST", "/commit/", 503, False),
        ("POST", "/commit/", None, True),  # the commit is made, its answer lost
        ("POST", "/commit/", 412, False),  # somebody else was faster
        ("POST", "/tag/", 500, False),  # between commit and tag
        ("POST", "/tag/", None, True),
        ("POST", "/repos/create", 429, False),
    ],
)
def test_a_fault_leaves_one_commit_and_one_tag(hub, run, tmp_path, method, path, status, after):
    hub.fail(method, path, status, after=after)
    publish(hub, run, tmp_path / "home", "--to", tmp_path / "r", "--version", "v1.0.0", "--push", "caredio/cardset")
    assert hub.faults == []
    commits, tags = state(hub, tmp_path / "home")
    assert len(commits) == 2
    assert tags == {"v1.0.0": commits[0]}


def test_a_crash_between_commit_and_tag_is_mended_by_publishing_again(hub, run, tmp_path):
    arguments = ("--to", tmp_path / "r", "--version", "v1.0.0", "--push", "caredio/cardset")
    hub.fail("POST", "/tag/", 403)
    done = publish(hub, run, tmp_path / "home", *arguments, check=False)
    assert done.returncode == 2
    commits, tags = state(hub, tmp_path / "home")
    assert (len(commits), tags) == (2, {})
    publish(hub, run, tmp_path / "home", *arguments)
    assert state(hub, tmp_path / "home") == (commits, {"v1.0.0": commits[0]})


def test_the_code_of_a_card_runs_for_every_culture_s_name(hub, tmp_path):
    names = ["C\u00f4te d'Ivoire", "north-korea", "3rd", "class", 'a "b" \\ c', "all", "mexico-pool", "\u65e5\u672c"]
    rows = [
        {
            "question_id": f"q{number}",
            "question": f"Question {number}?",
            "response": f"{name} {number}",
            "culture": name,
        }
        for number in range(3)
        for name in names
    ]
    own = tmp_path / "own.jsonl"
    own.write_text("".join(json.dumps(row) + "\n" for row in rows))
    caredio.select(own, out=tmp_path / "run", theta=0.99, compared=7, length_ratio=1.0)
    arguments = ("--to", tmp_path / "r", "--version", "v1.0.0", "--test-share", 0, "--push", "caredio/cardset")
    publish(hub, tmp_path / "run", tmp_path / "home", *arguments)
    page = (tmp_path / "r" / "README.md").read_text(encoding="utf-8")
    (block,) = re.findall("```python\n(.*?)```", page, re.DOTALL)
    found = python(
        hub,
        tmp_path / "fresh",
        block
        + textwrap.dedent("""
        import json
        from datasets import get_dataset_config_names
        names = get_dataset_config_names("caredio/cardset", revision="v1.0.0")
        whole = load_dataset("caredio/cardset", split="train", revision="v1.0.0")
        print(json.dumps([len(first), sorted(names), len(whole), sorted(set(whole["culture"]))]))
        """),
    )
    rows_of_first, configs, whole, cultures = json.loads(found[-1])
    assert (rows_of_first, whole) == (3, 24)
    assert cultures == sorted(names)
    slugs = {"cote_d_ivoire", "north_korea", "culture_3rd", "class", "a_b_c", "culture_all", "mexico_pool"}
    slugs |= {name for name in configs if re.fullmatch("culture_[0-9a-f]{8}", name)}
    assert len(slugs) == 8
    assert set(configs) == {"all"} | {
        slug + view for slug in slugs for view in ("", "-preference", "-unpaired", "-pool", "-vectors")
    }


def test_what_a_release_lacks_is_deleted_in_its_commit(hub, run, tmp_path):
    publish(hub, run, tmp_path / "home", "--to", tmp_path / "r1", "--version", "v1.0.0", "--push", "caredio/cardset")
    few = tmp_path / "few"
    few.mkdir()
    rows = [line for line in table(few).read_text().splitlines() if "narnia" not in line]
    (few / "own.jsonl").write_text("\n".join(rows))
    caredio.select(few / "own.jsonl", out=few, theta=0.99)
    publish(hub, few, tmp_path / "home", "--to", tmp_path / "r2", "--version", "v2.0.0", "--push", "caredio/cardset")
    files = python(
        hub,
        tmp_path / "home",
        """
        from huggingface_hub import HfApi
        for revision in ("v1.0.0", "v2.0.0"):
            files = HfApi().list_repo_files("caredio/cardset", repo_type="dataset", revision=revision)
            print(sum("narnia" in file for file in files))
        """,
    )
    assert int(files[0]) > 0
    assert files[1] == "0"


@pytest.mark.parametrize("repo", ["caredio/cardset", "not a name"])
def test_a_refusal_is_one_sentence_without_the_token(hub, run, tmp_path, repo):
    done = publish(
        hub,
        run,
        tmp_path / "home",
        "--to",
        tmp_path / "r",
        "--push",
        repo,
        token=repo != "caredio/cardset",
        check=False,
    )
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "hf_nobody" not in done.stderr
    sentence = done.stderr.strip().splitlines()[-1]
    assert ("check HF_TOKEN" in sentence) if repo == "caredio/cardset" else ("write it as owner/name" in sentence)


def created(hub):
    return [request for request in hub.requests if "/repos/create" in request.path or "/commit/" in request.path]


def test_a_card_that_the_hub_refuses_creates_no_repository(hub, run, tmp_path):
    """bsd is a licence that the real Hub lists and this one does not, as a Hub of another day may not."""
    arguments = ("--to", tmp_path / "r", "--push", "caredio/cardset", "--license", "bsd")
    done = publish(hub, run, tmp_path / "home", *arguments, check=False)
    assert done.returncode == 2
    sentence = done.stderr.strip().splitlines()[-1]
    assert 'refuses the card ("license" must be one of the listed identifiers); nothing was sent.' in sentence
    assert not created(hub)


@pytest.mark.parametrize("repo", ["cardset", "caredio/card--set", "caredio/" + "x" * 97, "a/b/c"])
def test_a_name_that_is_no_repository_s_is_refused_before_anything_is_asked(hub, run, tmp_path, repo):
    done = publish(hub, run, tmp_path / "home", "--to", tmp_path / "r", "--push", repo, check=False)
    assert done.returncode == 2
    assert "write it as owner/name" in done.stderr.strip().splitlines()[-1]
    assert not hub.requests


def test_languages_go_to_the_hub_as_iso_639(hub, tmp_path):
    rows = [json.loads(line) for line in table(tmp_path).read_text().splitlines()]
    spoken = {"china": "zh-Hant-TW", "united_kingdom": "English", "narnia": "und"}
    tagged = tmp_path / "tagged.jsonl"
    tagged.write_text("".join(json.dumps(row | {"language": spoken[row["culture"]]}) + "\n" for row in rows))
    caredio.select(tagged, out=tmp_path / "run", theta=0.99)
    arguments = ("--to", tmp_path / "r", "--version", "v1.0.0", "--push", "caredio/cardset")
    publish(hub, tmp_path / "run", tmp_path / "home", *arguments)
    page = (tmp_path / "r" / "README.md").read_text()
    assert yaml.safe_load(page.split("---\n")[1])["language"] == ["en", "zh"]


def fast(hub, run, home, *arguments):
    """`publish` whose pauses between attempts are short."""
    command = ["publish", "--yes", "--out", str(run), *map(str, arguments)]
    script = f"""
        import caredio.cli, caredio.publishing.hub as hub
        hub._PAUSE = 0.01
        caredio.cli.main({command!r})
    """
    script = textwrap.dedent(script)
    return subprocess.run(
        [sys.executable, "-c", script], env=hub.environment(home), capture_output=True, text=True, check=False
    )


@pytest.mark.slow  # the Hub's client tries for a minute or two
@pytest.mark.parametrize("status", [None, 503])
def test_a_lost_connection_is_not_other_content(hub, run, tmp_path, status):
    arguments = ("--to", tmp_path / "r", "--version", "v1.0.0", "--push", "caredio/cardset")
    publish(hub, run, tmp_path / "home", *arguments)
    before = state(hub, tmp_path / "home")
    hub.fail("(GET|HEAD)", "/resolve/", status, times=500)
    done = fast(hub, run, tmp_path / "fresh", *arguments)
    assert done.returncode == 2
    assert "other content" not in done.stderr
    assert "gave no answer in 6 attempts" in done.stderr
    hub.faults.clear()
    hub.fail("(GET|HEAD)", "/resolve/", status, times=2)
    assert fast(hub, run, tmp_path / "fresh2", *arguments).returncode == 0
    hub.faults.clear()
    assert state(hub, tmp_path / "home") == before


@pytest.mark.slow  # each starts a process or two
@pytest.mark.parametrize("record", [None, "{half", "[]"])
def test_a_tag_without_a_readable_record_is_not_other_content_either(hub, run, tmp_path, record):
    python(
        hub,
        tmp_path / "home",
        f"""
        from huggingface_hub import HfApi
        api = HfApi()
        api.create_repo("caredio/cardset", repo_type="dataset")
        if {record!r}:
            api.upload_file(path_or_fileobj={record!r}.encode(), path_in_repo="release.json",
                            repo_id="caredio/cardset", repo_type="dataset")
        api.create_tag("caredio/cardset", tag="v1.0.0", repo_type="dataset")
        """,
    )
    arguments = ("--to", tmp_path / "r", "--version", "v1.0.0", "--push", "caredio/cardset")
    done = publish(hub, run, tmp_path / "home", *arguments, check=False)
    assert done.returncode == 2
    assert "v1.0.0 is a tag there without a readable release.json; choose another version" in done.stderr


def test_an_unreachable_hub_is_told(hub, run, tmp_path, monkeypatch):
    environment = {**hub.environment(tmp_path / "home"), "HF_ENDPOINT": "http://127.0.0.1:9"}
    command = ["publish", "--yes", "--out", str(run), "--to", str(tmp_path / "r"), "--push", "caredio/cardset"]
    script = (
        f"import caredio.publishing.hub as hub; hub._PAUSE = 0.01; import caredio.cli; caredio.cli.main({command!r})"
    )
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    assert "gave no answer in 6 attempts" in done.stderr


def test_a_model_is_released_with_its_tag(hub, run, tmp_path):
    model = trained(tmp_path / "china-sft")
    publish(
        hub, run, tmp_path / "home", "--model", model, "--to", tmp_path / "r", "--version", "v1.0.0",
        "--push", "caredio/china",
    )  # fmt: skip
    commits, tags = state(hub, tmp_path / "home", "model", "caredio/china")
    assert tags == {"v1.0.0": commits[0]}
    assert os.path.exists(tmp_path / "r" / "release.json")


def test_a_hub_dataset_is_selected_from_and_published_in_one_command(hub, tmp_path):
    python(
        hub,
        tmp_path / "home",
        f"""
        from datasets import Dataset
        Dataset.from_json({str(table(tmp_path))!r}, cache_dir={str(tmp_path)!r}).push_to_hub("people/said", "feasts")
        """,
    )
    verb = ("select", "people/said", "--dataset-config", "feasts", "--theta", 0.99)
    arguments = ("--version", "v1.0.0", "--push", "caredio/chosen", "--license", "cc-by-sa-4.0")
    publish(hub, tmp_path / "run", tmp_path / "home", *arguments, verb=verb)
    before = state(hub, tmp_path / "home", repo="caredio/chosen")
    assert list(before[1]) == ["v1.0.0"]
    publish(hub, tmp_path / "run", tmp_path / "home", *arguments, verb=verb)
    assert state(hub, tmp_path / "home", repo="caredio/chosen") == before
    loaded = python(
        hub,
        tmp_path / "fresh",
        """
        from datasets import load_dataset
        from huggingface_hub import HfApi, hf_hub_download
        print(load_dataset("caredio/chosen", "china", split="train", revision="v1.0.0")["rank"][:3])
        print(HfApi().dataset_info("people/said").sha)
        print(open(hf_hub_download("caredio/chosen", "README.md", repo_type="dataset")).read())
        """,
    )
    ranks, commit, *page = loaded
    assert ranks == "[1, 2, 3]"
    assert (
        f"- Text: selected from `people/said` (config `feasts`, commit `{commit}`); this build wrote none of it."
        in page
    )
    deed = "https://creativecommons.org/licenses/by-sa/4.0/"
    stated = "the publisher of this release states that the source is under this licence."
    assert f"[`cc-by-sa-4.0`]({deed}): {stated}" in page
    assert not any("written by" in line or line.startswith("language:") for line in page)


def test_a_build_publishes_what_it_ranked(hub, tmp_path):
    asked = ("--cultures", "china,brazil", "--topics", "food", "--per-topic", 3, "--neighbours", 1, "--compared", 1)
    ranked = ("--embedder", "openai:e", "--theta", 0.5, "--version", "v2.0.0", "--test-share", 0)
    with LLMServer() as server:
        reached = ("--model", "scripted", "--base-url", server.url, "--push", "caredio/built")
        publish(hub, tmp_path / "run", tmp_path / "home", *asked, *ranked, *reached, verb=("build",))
    commits, tags = state(hub, tmp_path / "home", repo="caredio/built")
    assert list(tags) == ["v2.0.0"]
    assert tags["v2.0.0"] == commits[0]


@pytest.mark.parametrize("variable", ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"])
def test_offline_mode_is_one_sentence_before_anything_is_made_or_tried(hub, run, tmp_path, variable):
    asked = ("--to", tmp_path / "r", "--version", "v1.0.0", "--push", "caredio/cardset")
    ranked = ("--push", "caredio/cardset", "--theta", 0.99)
    for verb, arguments in ((("publish",), asked), (("select", table(tmp_path)), ranked)):
        folder = run if verb == ("publish",) else tmp_path / "run"
        done = publish(hub, folder, tmp_path / "home", *arguments, check=False, verb=verb, **{variable: "1"})
        assert done.returncode == 2
        sentence = "nothing goes to the Hub while HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE is set; unset it, then run"
        said = done.stderr.strip().splitlines()[-1]
        assert said == f"caredio: caredio/cardset: {sentence} the same command again."
        assert "attempt" not in done.stderr
    assert not (tmp_path / "run").exists()
    assert not hub.requests


def test_a_release_is_described_only_where_there_is_one(tmp_path):
    with pytest.raises(caredio.InputError, match="push names no repository"):
        caredio.select(table(tmp_path), out=tmp_path / "run", license="mit")
    assert not (tmp_path / "run").exists()


ARGUMENTS = ("--version", "v1.0.0", "--push", "caredio/cardset")


@pytest.mark.slow  # each starts a process or two
@pytest.mark.parametrize(
    ("status", "path"),
    [
        (402, "/repos/create"),
        (409, "/repos/create"),
        (451, "/repos/create"),
        (400, "/commit/"),
        (409, "/commit/"),
        (413, "/commit/"),
        (422, "/tag/"),
        (402, "/lfs/"),
        (413, "/lfs/"),
    ],
)
def test_a_refusal_for_good_is_told_at_once_in_the_hub_s_words(hub, run, tmp_path, status, path):
    hub.fail("POST|PUT", path, status, times=50, words="Private storage limit reached")
    done = fast(hub, run, tmp_path / "home", "--to", tmp_path / "r", *ARGUMENTS)
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert f"refused (status {status}: Private storage limit reached)" in done.stderr.strip().splitlines()[-1]
    refused = [one for one in hub.requests if one.method in ("POST", "PUT") and path in one.path]
    assert len(refused) == 1 or path == "/lfs/"  # files are sent side by side
    assert "attempt 1" not in done.stderr


@pytest.mark.slow  # each starts a process or two
@pytest.mark.parametrize(
    ("path", "status", "words"),
    [("/commit/", 409, "A commit has happened since"), ("/tag/", 425, "Too early"), ("/repos/create", 408, "Timeout")],
)
def test_what_may_pass_is_tried_again(hub, run, tmp_path, path, status, words):
    hub.fail("POST", path, status, words=words)
    done = fast(hub, run, tmp_path / "home", "--to", tmp_path / "r", *ARGUMENTS)
    assert done.returncode == 0, done.stderr
    assert f"status {status}: {words}, attempt 1 of 6" in done.stderr
    commits, tags = state(hub, tmp_path / "home")
    assert tags == {"v1.0.0": commits[0]}


@pytest.mark.parametrize("status", [403, 409])
def test_a_repository_that_is_there_need_not_be_created(hub, run, tmp_path, status):
    making = 'from huggingface_hub import HfApi; HfApi().create_repo("caredio/cardset", repo_type="dataset")'
    python(hub, tmp_path / "home", making)
    hub.fail("POST", "/repos/create", status, words="You may not create this")
    done = fast(hub, run, tmp_path / "home", "--to", tmp_path / "r", *ARGUMENTS)
    assert done.returncode == 0, done.stderr
    commits, tags = state(hub, tmp_path / "home")
    assert tags == {"v1.0.0": commits[0]}


def test_a_selection_that_cannot_be_pushed_is_refused_before_it_is_made(hub, tmp_path):
    """A token that may only read, one nobody knows, and a version that is taken."""
    own = table(tmp_path)
    select = ["select", own, "--theta", "0.99"]
    reading = hub.environment(tmp_path / "home") | {"HF_TOKEN": "hf_reader"}
    strange = reading | {"HF_TOKEN": "hf_nobody"}
    for environment, words in ((reading, "the token of the Hub may only read"), (strange, "check HF_TOKEN")):
        command = [sys.executable, "-m", "caredio.cli", *map(str, select), "--out", str(tmp_path / "run"), *ARGUMENTS]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 2, done.stderr
        assert words in done.stderr.strip().splitlines()[-1]
        assert not (tmp_path / "run").exists()
    assert not created(hub)
    for _ in range(2):  # the same release again is no other content
        publish(hub, tmp_path / "run", tmp_path / "home", *ARGUMENTS, verb=select)
    done = publish(hub, tmp_path / "other", tmp_path / "home", *ARGUMENTS, verb=select, check=False)
    assert done.returncode == 2
    assert "v1.0.0 is released already" in done.stderr
    assert "choose another version" in done.stderr
    assert not (tmp_path / "other").exists()


@pytest.mark.slow  # each starts a process or two
@pytest.mark.parametrize("status", [None, 500, 429])
def test_a_hub_that_does_not_answer_beforehand_is_no_error(hub, tmp_path, status):
    hub.fail("GET", "whoami|/refs", status)
    publish(hub, tmp_path / "run", tmp_path / "home", *ARGUMENTS, verb=["select", table(tmp_path), "--theta", "0.99"])
    assert len(state(hub, tmp_path / "home")[1]) == 1
