"""The test peer seen through the real clients: what publishing relies on at the Hub must hold here too.

Each script runs in a process of its own, because the clients read HF_ENDPOINT when they are imported.
"""

import http.client
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from hub_server import HubServer, Request

COMMON = """
import json
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, snapshot_download
from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError

api, repo = HfApi(), "caredio/cardset"

def commit(title, *operations, **options):
    return api.create_commit(repo, operations, commit_message=title, repo_type="dataset", **options).oid

def attempt(call, *args, **options):
    try:
        return call(*args, **options)
    except HfHubHTTPError as error:
        return error.response.status_code
    except Exception as error:
        return type(error).__name__
"""

RELEASE = """
from io import BytesIO
from datasets import load_dataset
from pyarrow import parquet, table

CARD = '''---
configs:
- config_name: china
  data_files: [{split: train, path: china/train-*.parquet}]
- config_name: japan
  data_files: [{split: train, path: japan/train-*.parquet}]
---
# CARDSet
'''

def shard(path, rows):
    parquet.write_table(table({"rank": rows}), sink := BytesIO())
    return CommitOperationAdd(path, sink.getvalue())

def ranks(version, config="china"):
    return load_dataset(repo, config, revision=version)["train"]["rank"][:]
"""

Run = Callable[..., Any]


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[HubServer]:
    with HubServer(tmp_path / "hub") as server:
        yield server


@pytest.fixture
def run(hub: HubServer, tmp_path: Path) -> Run:
    """Run a script against the Hub; what it prints last comes back, from JSON. Each run starts with empty caches."""
    homes = (tmp_path / f"home{number}" for number in range(10))

    def run_script(script: str, **environment: str) -> Any:
        process = subprocess.run(
            [sys.executable, "-c", COMMON + script],
            env=hub.environment(next(homes)) | environment,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert process.returncode == 0, process.stderr
        return json.loads(process.stdout.splitlines()[-1])

    return run_script


def commits_asked(hub: HubServer) -> list[int | None]:
    """How each request to commit ended."""
    return [one.status for one in hub.requests if one.method == "POST" and "/commit/" in one.path]


def test_tags_keep_loading_what_they_named(run: Run) -> None:
    published = run(
        RELEASE
        + """
api.create_repo(repo, repo_type="dataset")
china = shard("china/train-0.parquet", [1, 2]), shard("china/train-1.parquet", [3])
files = [*china, shard("japan/train-0.parquet", [7])]
first = commit("v1.0.0", CommitOperationAdd("README.md", CARD.encode()), *files)
api.create_tag(repo, tag="v1.0.0", revision=first, repo_type="dataset")
seen = ranks("v1.0.0")
change = [shard("china/train-0.parquet", [4, 5]), CommitOperationDelete("china/train-1.parquet")]
second = commit("v1.1.0", *change, parent_commit=first)
api.create_tag(repo, tag="v1.1.0", revision=second, repo_type="dataset")
print(json.dumps({"before": seen, "old": ranks("v1.0.0"), "new": ranks("v1.1.0")}))
"""
    )
    assert published == {"before": [1, 2, 3], "old": [1, 2, 3], "new": [4, 5]}

    read_anew = run(
        RELEASE
        + """
files = [api.list_repo_files(repo, revision=version, repo_type="dataset") for version in ("v1.0.0", "v1.1.0")]
print(json.dumps([files, ranks("v1.0.0"), ranks("v1.1.0"), ranks("main", "japan")]))
"""
    )
    kept = [".gitattributes", "README.md", "china/train-0.parquet"]
    files = [[*kept, "china/train-1.parquet", "japan/train-0.parquet"], [*kept, "japan/train-0.parquet"]]
    assert read_anew == [files, [1, 2, 3], [4, 5], [7]]


def test_push_to_hub_creates_the_repo_and_adds_configs(run: Run, hub: HubServer) -> None:
    rows = run("""
from datasets import Dataset, load_dataset
for config, ranks in {"china": [1, 2, 3], "japan": [4, 5]}.items():
    Dataset.from_dict({"rank": ranks}).push_to_hub(repo, config)
print(json.dumps([load_dataset(repo, config)["train"]["rank"][:] for config in ("china", "japan")]))
""")
    assert rows == [[1, 2, 3], [4, 5]]
    assert commits_asked(hub) == [200, 200]


def test_a_stale_parent_is_refused(run: Run) -> None:
    outcome = run("""
api.create_repo(repo, repo_type="dataset")
start = commit("start", CommitOperationAdd("a.txt", b"1"))
moved = commit("mine", CommitOperationAdd("a.txt", b"2"), parent_commit=start)
stale = attempt(commit, "theirs", CommitOperationAdd("a.txt", b"3"), parent_commit=start)
shortened = attempt(commit, "again", CommitOperationAdd("a.txt", b"3"), parent_commit=moved[:7])
titles = [one.title for one in api.list_repo_commits(repo, repo_type="dataset")]
print(json.dumps([stale, titles]))
""")
    assert outcome == [412, ["again", "mine", "start", "initial commit"]]


def test_names_are_taken_once(run: Run) -> None:
    outcome = run("""
address = api.create_repo(repo, repo_type="dataset")
names = {"repo_id": repo, "repo_type": "dataset"}
first = commit("one", CommitOperationAdd("a.txt", b"1"))
api.create_tag(tag="v1.0.0", **names)
api.create_branch(branch="try/out", revision="v1.0.0", **names)
second = commit("two", CommitOperationAdd("a.txt", b"2"))
taken = [
    attempt(api.create_repo, repo, repo_type="dataset"),
    attempt(api.create_tag, tag="v1.0.0", **names),
    attempt(api.create_branch, branch="try/out", **names),
    attempt(api.create_tag, tag="v2.0.0", revision="nowhere", **names),
]
assert api.create_repo(repo, repo_type="dataset", exist_ok=True) == address
api.create_tag(tag="v1.0.0", exist_ok=True, **names)
refs = api.list_repo_refs(**names)
assert {one.name: one.target_commit for one in refs.branches} == {"main": second, "try/out": first}
assert {one.name: one.target_commit for one in refs.tags} == {"v1.0.0": first}
api.delete_tag(tag="v1.0.0", **names)
api.delete_branch(branch="try/out", **names)
refs = api.list_repo_refs(**names)
print(json.dumps([taken, [one.name for one in refs.branches + refs.tags]]))
""")
    assert outcome == [[409, 409, 409, 404], ["main"]]


def test_writing_needs_a_token_that_may(run: Run) -> None:
    outcome = run("""
api.create_repo(repo, repo_type="dataset")
api.create_repo("caredio/secret", private=True)
statuses = [attempt(HfApi(token=token).create_tag, repo, tag="v1", repo_type="dataset")
            for token in (False, "hf_unknown", "hf_reader")]
public = HfApi(token=False).list_repo_files(repo, repo_type="dataset")
try:
    HfApi(token=False).model_info("caredio/secret")
except RepositoryNotFoundError as error:
    hidden = error.response.status_code
print(json.dumps([statuses, public, hidden, HfApi(token="hf_reader").model_info("caredio/secret").private]))
""")
    assert outcome == [[401, 401, 403], [".gitattributes"], 401, True]


@pytest.mark.parametrize("protocol", ["lfs", "xet"])
def test_both_upload_protocols_carry_the_same_bytes(run: Run, hub: HubServer, protocol: str) -> None:
    """Floats of many magnitudes make Xet group their bytes; noise makes it keep chunks as they are."""
    same = run(
        """
import pathlib, random, struct, tempfile
folder = pathlib.Path(tempfile.mkdtemp())
floats = struct.pack("<90000f", *(1 / (i + 1) for i in range(90000)))
contents = {"floats.bin": floats, "noise.bin": random.Random(1).randbytes(300000), "config.json": b"{}", "empty": b""}
for name, content in contents.items():
    (folder / name).write_bytes(content)
api.create_repo("caredio/model")
api.upload_folder(repo_id="caredio/model", folder_path=folder, path_in_repo="sub")
back = pathlib.Path(snapshot_download("caredio/model"))
print(json.dumps({name: (back / "sub" / name).read_bytes() == content for name, content in contents.items()}))
""",
        HF_HUB_DISABLE_XET={"lfs": "1", "xet": "0"}[protocol],
    )
    assert same == dict.fromkeys(["floats.bin", "noise.bin", "config.json", "empty"], True)
    uploads = [one.path for one in hub.requests if one.method == "PUT" or one.path == "/v1/shards"]
    assert len(uploads) == {"lfs": 2, "xet": 1}[protocol]


def test_a_model_comes_back_as_it_was(run: Run) -> None:
    outcome = run("""
import tempfile, torch
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM
config = LlamaConfig(vocab_size=32, hidden_size=8, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2)
model, tokens = LlamaForCausalLM(config), torch.arange(10)[None]
api.create_repo("caredio/model")
with tempfile.TemporaryDirectory() as folder:
    model.save_pretrained(folder)
    api.upload_folder(repo_id="caredio/model", folder_path=folder)
loaded = AutoModelForCausalLM.from_pretrained("caredio/model")
print(json.dumps([type(loaded).__name__, torch.equal(model(tokens).logits, loaded(tokens).logits)]))
""")
    assert outcome == ["LlamaForCausalLM", True]


def test_what_has_not_changed_makes_no_commit(run: Run, hub: HubServer) -> None:
    outcome = run("""
api.create_repo(repo, repo_type="dataset")
def files():
    return CommitOperationAdd("README.md", b"# same"), CommitOperationAdd("rows.parquet", b"same rows")
same = commit("first", *files()) == commit("second", *files())
print(json.dumps([same, len(api.list_repo_commits(repo, repo_type="dataset"))]))
""")
    assert outcome == [True, 2]
    assert commits_asked(hub) == [200]


def test_deletions(run: Run) -> None:
    outcome = run("""
api.create_repo(repo, repo_type="dataset")
paths = "china/a.txt", "china/b.txt", "chinatown.txt", "japan/a.txt"
commit("all", *(CommitOperationAdd(path, b"x") for path in paths))
commit("fewer", CommitOperationDelete("china/"), CommitOperationAdd("china/new.txt", b"y"))
api.delete_file("japan/a.txt", repo, repo_type="dataset")
missing = attempt(api.delete_file, "japan/a.txt", repo, repo_type="dataset")
print(json.dumps([missing, api.list_repo_files(repo, repo_type="dataset")]))
""")
    assert outcome == [404, [".gitattributes", "china/new.txt", "chinatown.txt"]]


def test_injected_faults(run: Run, hub: HubServer) -> None:
    """A refused and a dropped commit leave nothing; one whose answer is lost is there; uploads are tried again."""
    hub.fail("POST", "/commit/main", 503)
    hub.fail("POST", "/commit/main")
    hub.fail("POST", "/commit/main", after=True)
    hub.fail("PUT", "^/lfs/")
    hub.fail("POST", "/preupload/", 503)
    outcome = run("""
api.create_repo(repo, repo_type="dataset")
lost = [attempt(commit, title, CommitOperationAdd(f"{title}.bin", title.encode())) for title in ("one", "two", "three")]
print(json.dumps([lost, api.list_repo_files(repo, repo_type="dataset")]))
""")
    assert outcome == [[503, "RemoteProtocolError", "RemoteProtocolError"], [".gitattributes", "three.bin"]]
    assert commits_asked(hub) == [503, None, None]
    assert [one.status for one in hub.requests if one.method == "PUT"] == [None, 200, 200, 200]
    assert Request("POST", "/api/datasets/caredio/cardset/preupload/main", 503) in hub.requests
    assert hub.faults == []


def test_a_restarted_server_knows_its_repositories(run: Run, hub: HubServer, tmp_path: Path) -> None:
    run("""
api.create_repo(repo, repo_type="dataset")
print(json.dumps(commit("one", CommitOperationAdd("a.txt", b"text"))))
""")

    def ask(connection: http.client.HTTPConnection, headers: dict[str, str]) -> tuple[int, bytes]:
        connection.request("GET", "/datasets/caredio/cardset/resolve/main/a.txt", headers=headers)
        response = connection.getresponse()
        return response.status, response.read()

    kept_open = http.client.HTTPConnection(urlsplit(hub.url).netloc)
    assert ask(kept_open, {}) == (200, b"text")
    assert ask(kept_open, {"Range": "bytes=1-2"}) == (206, b"ex")
    assert ask(kept_open, {"Range": "bytes=9-"})[0] == 416
    hub.close()
    with pytest.raises(http.client.RemoteDisconnected):
        ask(kept_open, {})
    with HubServer(tmp_path / "hub") as restarted:
        assert ask(http.client.HTTPConnection(urlsplit(restarted.url).netloc), {}) == (200, b"text")
