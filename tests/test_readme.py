"""Every block of the README and of the pages it links to, run in order; a scripted endpoint stands in for a paid one.

A block's tag says what it is: `bash` and `python` are run, `text` shows lines that the block before it prints. `sh`
installs, and `console` shows a session on data that is not in this repository; neither is run here. `.ci/run` runs the
first two blocks of the README, which are `sh`.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from datasets import load_dataset
from hub_server import HubServer
from llm_server import LLMServer

from caredio import runs

ROOT = Path(__file__).parents[1]
PAGES = ["README.md", "recipes/README.md", *sorted(f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?://)([^)#]*)(#[^)]*)?\)")
DURATION = re.compile(r"\b\d+ s\b")


def blocks(page):
    return BLOCK.findall((ROOT / page).read_text(encoding="utf-8"))


@pytest.mark.parametrize("page", PAGES)
def test_a_block_s_tag_says_whether_it_is_run(page):
    assert {tag for tag, _ in blocks(page)} <= {"bash", "python", "text", "sh", "console"}


def test_the_readme_has_blocks_of_both_kinds_and_is_short():
    assert {"bash", "python"} <= {tag for tag, _ in blocks("README.md")}
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 250


def test_the_first_line_ranks_and_the_second_tests():
    (first, line), (second, tests) = blocks("README.md")[:2]
    assert (first, line.count("\n"), line.split(" && ")[-1]) == ("sh", 1, "caredio quickstart\n")
    assert (second, tests.count("\n"), tests.split(" && ")[-1]) == ("sh", 1, "pytest -n 2 --dist loadfile\n")


def test_no_command_stands_twice():
    commands = [text for page in PAGES for tag, text in blocks(page) if tag in ("bash", "python")]
    assert len(commands) == len(set(commands))


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    for target, anchor in LINK.findall((ROOT / page).read_text(encoding="utf-8")):
        file = (ROOT / page).parent / target if target else ROOT / page
        assert file.exists(), target
        if anchor:
            titles = re.findall(r"^#+ (.*)$", file.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor[1:] in {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


def shows(screen, output):
    """Whether the lines of a screen come in that order in an output; `...` stands for what is left out."""
    left = iter(DURATION.sub("N s", output).splitlines())
    return [line for line in DURATION.sub("N s", screen).splitlines() if line != "..." and line not in left] == []


def test_a_screen_is_lines_of_an_output_in_their_order():
    assert shows("a\n...\nc in 3 s\n", "a\nb\nc in 5 s\n")
    assert not shows("c\na\n", "a\nb\nc\n")
    assert not shows("d\n", "a\nb\nc\n")


class Reader:
    """Someone who types what the pages say, in one folder."""

    def __init__(self, folder, environment):
        self.folder, self.environment = folder, environment

    def types(self, tag, text):
        """What a block prints; it must succeed."""
        command = [sys.executable, "-c", text] if tag == "python" else ["bash", "-euo", "pipefail", "-c", text]
        done = subprocess.run(
            command, cwd=self.folder, env=self.environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr

    def reads(self, page):
        printed = None
        for tag, text in blocks(page):
            if tag in ("bash", "python"):
                printed = self.types(tag, text)
            elif tag == "text" and printed is not None:
                assert shows(text, printed), f"{text}\n{printed}"


@pytest.fixture(scope="module")
def empty(tmp_path_factory, session_home):
    """A reader in a folder with what the pages take for given: the recipes, and BLEnD's annotations."""
    folder = tmp_path_factory.mktemp("reader")
    shutil.copytree(ROOT / "tests" / "data" / "blend", folder / "BLEnD" / "data" / "annotations")
    (folder / "recipes").symlink_to(ROOT / "recipes")
    with LLMServer() as server:
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("OPENAI_", "AZURE_"))},
            "CAREDIO_HOME": session_home,
            "OPENAI_BASE_URL": server.url,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HF_HOME": str(folder / "huggingface"),
        }
        yield Reader(folder, environment)


@pytest.fixture(scope="module")
def reader(empty):
    """A reader who has typed the whole README."""
    empty.reads("README.md")
    return empty


@pytest.mark.slow
def test_the_quickstart_prints_the_screen_of_the_readme(empty):
    screen = next(text for tag, text in blocks("README.md") if tag == "text")
    assert shows(screen, empty.types("sh", "caredio quickstart"))


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("page", PAGES[1:])
def test_every_block_of_a_page_runs_after_the_readme(page, reader):
    reader.reads(page)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_the_embedded_model_s_run_is_built_trained_measured_and_released(reader, tmp_path):
    run = reader.folder / "runs" / "first"
    ranked = runs.read(sorted((run / "ranked").glob("*.parquet")))
    assert set(ranked["culture"]) == {"china", "united_kingdom", "south_korea"}
    results = runs.read(sorted((run / "results").glob("*.parquet")))
    assert {"raw", "role-play", "trained"} <= set(results["system"])
    china = load_dataset(str(run / "release"), "china", cache_dir=str(tmp_path / "cache"))
    rows = [row["response"] for split in china.values() for row in split]
    assert sorted(rows) == sorted(row["response"] for row in ranked if row["culture"] == "china")
    assert (run / "release-china" / "adapter_model.safetensors").exists()


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_run_that_is_repeated_makes_nothing_anew(reader):
    run = reader.folder / "runs" / "first"
    made = {path: path.stat().st_mtime_ns for path in run.rglob("*.parquet") if "release" not in path.parts}
    build = next(text for tag, text in blocks("README.md") if "runs/first" in text and text.startswith("caredio build"))
    assert reader.types("bash", build).count("unchanged") == 11
    assert {path: path.stat().st_mtime_ns for path in made} == made


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_dataset_and_model_go_to_the_hub(reader, tmp_path):
    with HubServer(tmp_path / "hub") as hub:
        online = Reader(reader.folder, hub.environment(tmp_path / "home") | {"PATH": reader.environment["PATH"]})
        publish = "caredio publish --out runs/first --version v1.0.0"
        online.types("bash", f"{publish} --push caredio/quick --yes")
        online.types("bash", f"{publish} --model runs/first/models/china --push caredio/quick-china --yes")
        tags = [request.path for request in hub.requests if request.method == "POST" and "/tag/" in request.path]
        assert len(tags) == 2
