"""CulturalBench read from the Hub, as `lm_eval` does when it is told of no file."""

import subprocess
import sys
from pathlib import Path

import pytest
from hub_server import HubServer

from caredio.evaluation import tasks_path
from caredio.evaluation.benchmarks.culturalbench import SAMPLE

UPLOAD = """
from huggingface_hub import HfApi
api = HfApi()
api.create_repo("kellycyy/CulturalBench", repo_type="dataset")
api.upload_file(
    path_or_fileobj={sample!r}, path_in_repo="CulturalBench-Easy.csv", repo_id="kellycyy/CulturalBench",
    repo_type="dataset",
)
"""


@pytest.mark.slow
def test_the_tasks_fetch_the_benchmark_by_themselves(tmp_path):
    with HubServer(tmp_path / "hub") as hub:
        environment = hub.environment(tmp_path / "home")
        environment.pop("CAREDIO_CULTURALBENCH", None)
        subprocess.run([sys.executable, "-c", UPLOAD.format(sample=str(SAMPLE))], env=environment, check=True)
        command = [str(Path(sys.executable).parent / "lm_eval"), "--include_path", str(tasks_path())]
        command += ["--tasks", "caredio_culturalbench_hard_china", "--model", "dummy"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-3000:]
        fetched = [request for request in hub.requests if "resolve" in request.path and request.method == "GET"]
    assert any("CulturalBench-Easy.csv" in request.path for request in fetched)
    assert "judgement_acc" in done.stdout


UPLOAD_MODEL = """
from huggingface_hub import HfApi
HfApi().create_repo("caredio/tiny")
HfApi().upload_folder(folder_path={folder!r}, repo_id="caredio/tiny")
"""


@pytest.mark.slow
def test_a_model_of_the_hub_is_known_by_its_contents(tiny, tmp_path):
    with HubServer(tmp_path / "hub") as hub:
        environment = hub.environment(tmp_path / "home")
        subprocess.run([sys.executable, "-c", UPLOAD_MODEL.format(folder=str(tiny))], env=environment, check=True)
        command = [
            sys.executable,
            "-m",
            "caredio.cli",
            "evaluate",
            "--out",
            str(tmp_path / "run"),
            "--cultures",
            "china",
        ]
        command += ["--culturalbench", "sample", "--limit", "1", "--device", "cpu", "--model"]
        said = []
        for model in ("caredio/tiny", str(tiny)):
            done = subprocess.run([*command, model], env=environment, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr[-3000:]
            said.append(done.stderr)
        wrong = subprocess.run([*command, "caredio/none"], env=environment, capture_output=True, text=True, check=False)
    assert ["unchanged" in text for text in said] == [False, True]
    assert wrong.returncode == 2
    assert "model 'caredio/none' cannot be loaded (no such folder here, and on the Hub: " in wrong.stderr
    assert "Traceback" not in wrong.stderr
