"""A Space: what is uploaded, and that it serves the page by itself."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import yaml
from hub_server import HubServer
from publishing.test_hub import publish, python

from caredio.app import space
from caredio.errors import InputError

pytest.importorskip("gradio")


def test_a_space_is_for_what_is_on_the_hub(tmp_path):
    with pytest.raises(InputError, match="a Space shows what is on the Hub; publish it with --push"):
        space.push([str(tmp_path)], "me/look")


def test_a_space_needs_what_the_package_and_its_page_need():
    lines = space.files(["me/feasts@v1.0.0"], "me/look")["requirements.txt"].decode().splitlines()
    names = {line.split(">")[0].split("[")[0] for line in lines}
    assert {"datasets", "gradio", "pyarrow"} <= names
    assert not {"torch", "pytest", "trl"} & names


def test_a_space_serves_its_release_from_its_own_files(ranked, tmp_path):
    """Uploaded to the local Hub, fetched from there, and started as the Hub does it: in its folder, by app.py."""
    with HubServer(tmp_path / "hub") as hub:
        home = tmp_path / "home"
        publish(hub, ranked, home, "--to", tmp_path / "r", "--version", "v1.0.0", "--push", "me/feasts")
        command = [sys.executable, "-m", "caredio.cli", "browse", "me/feasts@v1.0.0", "--space", "me/look"]
        for _ in range(2):  # the second time nothing is to be done
            made = subprocess.run(command, env=hub.environment(home), capture_output=True, text=True, check=True)
            assert made.stdout.strip() == f"{hub.url}/spaces/me/look"
        (folder,) = python(
            hub,
            home,
            """
            from huggingface_hub import snapshot_download
            print(snapshot_download("me/look", repo_type="space"))
            """,
        )
        head = yaml.safe_load(Path(folder, "README.md").read_text().split("---")[1])
        assert (head["sdk"], head["app_file"], head["datasets"]) == ("gradio", "app.py", ["me/feasts"])
        script = """
            import sys, runpy, urllib.request
            sys.path.insert(0, "")
            import caredio
            from caredio.app import page
            page.wait = lambda: None
            module = runpy.run_path("app.py")
            print(caredio.__file__)
        """
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(script)],
            cwd=folder,
            env=hub.environment(home),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert os.path.realpath(done.stdout.splitlines()[-1]) == os.path.realpath(f"{folder}/caredio/__init__.py")
