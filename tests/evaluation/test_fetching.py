"""CulturalBench read from the Hub, as `lm_eval` does when it is told of no file."""

import subprocess
import sys
from pathlib import Path

import pytest
from hub_server import HubServer

from caredio.evaluation import tasks_path

SAMPLE = tasks_path() / "culturalbench" / "sample.csv"
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
