"""The test peer seen through the real clients: what publishing relies on at the Hub must hold here too.

Each script runs in a process of its own, because the clients read HF_ENDPOINT when they are imported.
"""

import base64
import hashlib
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


def test_the_routes_answer_as_the_hub_does(hub: HubServer) -> None:
    """What the clients read of each answer, route by route, without a client."""
    connection = http.client.HTTPConnection(urlsplit(hub.url).netloc)

    def ask(method: str, path: str, body: Any = None, token: str = "hf_writer") -> tuple[int, Any, Any]:
        sent = body if isinstance(body, (bytes, type(None))) else json.dumps(body).encode()
        connection.request(method, path, sent, {"Authorization": f"Bearer {token}"} if token else {})
        answer = connection.getresponse()
        text = answer.read()
        kind = answer.headers.get("Content-Type") == "application/json" or text[:1] in (b"{", b"[")
        return answer.status, json.loads(text) if kind and text else text, answer.headers

    who = ask("GET", "/api/whoami-v2")[1]
    assert {*who} >= {"name", "type", "orgs"}
    assert who["auth"]["accessToken"]["role"] == "write"
    assert ask("GET", "/api/whoami-v2", token="")[0] == 401
    good, bad = ("---\nlicense: mit\n---\n", "---\nlicense: mine\n---\n")
    assert ask("POST", "/api/validate-yaml", {"content": good, "repoType": "dataset"}, token="")[:2] == (
        200,
        {"errors": [], "warnings": []},
    )
    status, refused, _ = ask("POST", "/api/validate-yaml", {"content": bad, "repoType": "dataset"})
    assert status == 400
    assert refused["errors"][0]["message"]

    making = {"name": "set", "organization": "caredio", "type": "dataset"}
    made = ask("POST", "/api/repos/create", making)
    again = ask("POST", "/api/repos/create", making)
    assert (made[0], again[0]) == (200, 409)
    assert made[1]["url"] == again[1]["url"] == f"{hub.url}/datasets/caredio/set"

    repo, oid = "/api/datasets/caredio/set", hashlib.sha256(b"rows").hexdigest()
    batch = {"operation": "upload", "transfers": ["basic"], "objects": [{"oid": oid, "size": 4}], "hash_algo": "sha256"}
    path = "/datasets/caredio/set.git/info/lfs/objects/batch"
    (planned,) = ask("POST", path, batch)[1]["objects"]
    assert planned["actions"]["upload"]["href"] == f"{hub.url}/lfs/{oid}"
    assert ask("PUT", f"/lfs/{oid}", b"rows", token="")[0] == 200
    assert "actions" not in ask("POST", path, batch)[1]["objects"][0]
    files = [{"path": name, "size": 4, "sample": "AAAA"} for name in ("a.parquet",)]
    (plan,) = ask("POST", f"{repo}/preupload/main", {"files": files})[1]["files"]
    assert (plan["uploadMode"], plan["shouldIgnore"], "oid" in plan) == ("lfs", False, False)

    head = ask("GET", repo)[1]["sha"]
    content = base64.b64encode(b"# set").decode()
    lines = [
        {"key": "header", "value": {"summary": "one", "description": "", "parentCommit": head}},
        {"key": "file", "value": {"path": "README.md", "content": content, "encoding": "base64"}},
        {"key": "lfsFile", "value": {"path": "china/a.parquet", "algo": "sha256", "oid": oid, "size": 4}},
    ]
    body = b"\n".join(json.dumps(line).encode() for line in lines)
    committed = ask("POST", f"{repo}/commit/main", body)[1]
    assert {*committed} >= {"commitOid", "commitUrl"}
    assert ask("POST", f"{repo}/commit/main", body)[0] == 412  # the parent is stale
    (newest, _) = ask("GET", f"{repo}/commits/main")[1]
    assert {*newest} >= {"id", "title", "message", "authors", "date"}
    assert newest["authors"] == [{"user": "tester"}]
    info = ask("GET", f"{repo}/revision/main")[1]
    assert {*info} >= {"id", "sha", "lastModified", "private", "siblings", "tags"}
    assert [one["rfilename"] for one in info["siblings"]] == [".gitattributes", "README.md", "china/a.parquet"]

    tree = {one["path"]: one for one in ask("GET", f"{repo}/tree/main")[1]}
    assert {path: one["type"] for path, one in tree.items()} == {
        ".gitattributes": "file",
        "README.md": "file",
        "china": "directory",
    }
    (large,) = ask("GET", f"{repo}/tree/main/china?recursive=true&expand=false")[1]
    assert large["lfs"] == {**large["lfs"], "oid": oid, "size": 4}
    assert {"size", "oid"} <= {*large}

    tag = committed["commitOid"]
    assert [ask("POST", f"{repo}/tag/{tag}", {"tag": "v1.0.0"})[0] for _ in range(2)] == [200, 409]
    refs = ask("GET", f"{repo}/refs")[1]
    assert {*refs} == {"branches", "tags", "converts"}
    assert refs["tags"] == [{"name": "v1.0.0", "ref": "refs/tags/v1.0.0", "targetCommit": tag}]
    assert ask("GET", f"{repo}/refs?include_prs=1")[1]["pullRequests"] == []

    for method in ("HEAD", "GET"):
        status, text, headers = ask(method, "/datasets/caredio/set/resolve/v1.0.0/china/a.parquet", token="")
        assert (status, text) == (200, b"rows" if method == "GET" else b"")
        assert (headers["X-Repo-Commit"], headers["X-Linked-Etag"]) == (tag, f'"{oid}"')
        assert headers["X-Xet-Hash"] is None  # downloads stay plain HTTP
    for path, code in (
        (f"{repo}/tree/main/none", "EntryNotFound"),
        ("/datasets/caredio/set/resolve/main/none", "EntryNotFound"),
        (f"{repo}/revision/none", "RevisionNotFound"),
        ("/api/datasets/caredio/none", "RepoNotFound"),
    ):
        status, _, headers = ask("GET", path)
        assert (status, headers["X-Error-Code"]) == (404, code)
    assert ask("GET", "/api/datasets/caredio/none", token="")[0] == 401  # strangers are not told what is there
    assert [ask("GET", path)[0] for path in ("/api/agent-harnesses", "/api/telemetry/x")] == [404, 404]
    assert {*ask("GET", f"{repo}/xet-write-token/main")[1]} == {"accessToken", "exp", "casUrl"}


def test_a_pull_request_is_a_ref_and_a_gated_repository_asks_who_reads(run: Run) -> None:
    outcome = run("""
api.create_repo(repo, repo_type="dataset")
start = commit("start", CommitOperationAdd("a.txt", b"1"))
made = api.create_commit(repo, [CommitOperationAdd("a.txt", b"2")], commit_message="mine", repo_type="dataset",
                         parent_commit=start, create_pr=True)
refs = api.list_repo_refs(repo, repo_type="dataset", include_pull_requests=True)
names = {"repo_type": "dataset", "filename": "a.txt"}
texts = [open(api.hf_hub_download(repo, revision=one, **names)).read() for one in ("main", "refs/pr/1")]
api.update_repo_settings(repo, repo_type="dataset", gated="auto")
import tempfile
stranger = attempt(HfApi(token=False).hf_hub_download, repo, revision="main", cache_dir=tempfile.mkdtemp(), **names)
print(json.dumps([made.pr_revision, [one.ref for one in refs.pull_requests], texts,
                  api.dataset_info(repo).gated, api.dataset_info(repo).sha == start, stranger]))
""")
    assert outcome == ["refs/pr/1", ["refs/pr/1"], ["1", "2"], "auto", True, 401]
