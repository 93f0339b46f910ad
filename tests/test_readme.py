"""Every block of the README, run in order in an empty folder; a scripted endpoint stands in for a paid one."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hub_server import HubServer
from llm_server import LLMServer

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r"^```(bash|python)\n(.*?)^```", re.MULTILINE | re.DOTALL)
FOR_DEVELOPERS = re.compile(r"^(git clone|pip install|pytest|ruff)", re.MULTILINE)


def blocks() -> list[tuple[str, str]]:
    found = BLOCK.findall((ROOT / "README.md").read_text(encoding="utf-8"))
    return [(language, text) for language, text in found if not FOR_DEVELOPERS.search(text)]


def test_the_readme_has_blocks_of_both_kinds():
    assert {language for language, _ in blocks()} == {"bash", "python"}


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.usefixtures("embedded_home")
def test_every_block_runs(tmp_path):
    shutil.copytree(ROOT / "tests" / "data" / "blend", tmp_path / "BLEnD" / "data" / "annotations")
    (tmp_path / "recipes").symlink_to(ROOT / "recipes")
    with LLMServer() as server:
        environment = {
            **os.environ,
            "OPENAI_BASE_URL": server.url,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HF_HOME": str(tmp_path / "huggingface"),
        }
        for language, text in blocks():
            run = [sys.executable, "-c", text] if language == "python" else ["bash", "-euo", "pipefail", "-c", text]
            done = subprocess.run(run, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
            assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"
        assert server.seen
        with HubServer(tmp_path / "hub") as hub:
            push = ["caredio", "quickstart", "--push", "caredio/quick"]
            pushed = hub.environment(tmp_path / "home") | {"PATH": environment["PATH"]}
            done = subprocess.run(push, cwd=tmp_path, env=pushed, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
            tags = [request.path for request in hub.requests if request.method == "POST" and "/tag/" in request.path]
            assert len(tags) == 4  # the dataset's, and one a model
        made = {path: path.stat().st_mtime_ns for path in (tmp_path / "runs" / "quickstart").rglob("*.parquet")}
        again = subprocess.run(
            ["caredio", "quickstart"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert again.returncode == 0, again.stderr
        assert again.stderr.count("unchanged") == 10  # every stage of the run
        assert again.stdout.count("trained already") == 3
        for path, written in made.items():
            assert path.stat().st_mtime_ns == written or "release" in path.parts
