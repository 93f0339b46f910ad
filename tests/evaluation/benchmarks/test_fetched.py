"""Benchmarks out of the Hub's datasets, over HTTP; and what is said where they cannot be had."""

from __future__ import annotations

import json
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest
from hub_server import HubServer

from caredio.errors import InputError
from caredio.evaluation import benchmark

KNOWN = benchmark.load()
SERVED = [name for name, declared in KNOWN.items() if declared.hub]

ANSWER = {"answers": ["arroz"], "en_answers": ["rice"], "count": 3}
IDKS = {"idk": 0, "no-answer": 0, "not-applicable": 0}
ASKED = {"ID": "Q-1", "question": "¿Qué?", "en_question": "What?", "annotations": [ANSWER], "idks": IDKS}
CARE = ["question", "answer", "culture_type", "associated_culture", "geographic_scope"]
BANK = ["cultural group", "topic", "eval_whole_desc", "eval_persona", "eval_question"]
# file of the Hub's dataset -> its content, and benchmark -> how many documents that makes
LAID = {
    "nayeon212/BLEnD": {
        "data/annotations_hf/Mexico_data.json": json.dumps([ASKED]),
        "data/annotations_hf/Spain_data.json": json.dumps([ASKED]),
        "data/questions/Spain_questions.csv": "not fetched",
        "evaluation/mc_questions_file_v1.1.json": json.dumps(
            [{"MCQID": "1", "ID": "Q", "country": "UK", "prompt": "?", "choices": {"A": "a"}, "answer_idx": "A"}]
        ),
    },
    "geyang627/CARE-eval": {"Japanese-test.json": json.dumps([{name: name for name in CARE}])},
    "SALT-NLP/CultureBank": {
        "culturebank_tiktok.csv": ",".join(["cluster_id", *BANK]) + "".join(f"\n{row},a,b,c,d,e" for row in range(30)),
    },
    "HannahRoseKirk/prism-alignment": {
        "conversations.jsonl": json.dumps(
            {"conversation_id": "c", "user_id": "u", "conversation_type": "values guided", "opening_prompt": "?"}
        ),
        "survey.jsonl": json.dumps(
            {"user_id": "u", "location": {"birth_country": "Mexico", "reside_country": "Mexico"}}
        ),
    },
    "Anthropic/llm_global_opinions": {
        "data/global_opinions.csv": "question,selections,options\n?,\"{'Japan': [1, 0]}\",\"['a', 'b']\"\n"
    },
    "akhilayerukola/NormAd": {
        "normad_etiquette_final_data.csv": "ID,Country,Subaxis,Value,Rule-of-Thumb,Story,Gold Label\n1,japan,,,,d,no\n"
    },
}
COUNTS = {
    **{"blend": 1, "blend_answers": 2, "blend_answers_native": 2, "care": 1, "culturebank": 2, "prism": 1},
    **{"globalopinionqa": 1, "normad": 1, "normad_value": 1, "normad_rule": 1},
}
UPLOAD = """
import sys
from pathlib import Path
from huggingface_hub import HfApi
for folder in Path(sys.argv[1]).glob("*/*"):
    name = "/".join(folder.parts[-2:])
    HfApi().create_repo(name, repo_type="dataset")
    HfApi().upload_folder(folder_path=folder, repo_id=name, repo_type="dataset")
"""
READ = """
import json, sys
from caredio.errors import InputError
from caredio.errors import InputError
from caredio.evaluation import benchmark
found = {}
for name in sys.argv[1:]:
    declared = benchmark.load()[name]
    try:
        found[name] = len(declared.documents(declared.path()))
    except InputError as error:
        found[name] = str(error)
print(json.dumps(found))
"""


def read(names: list[str], environment: dict[str, str]) -> dict[str, int | str]:
    done = subprocess.run(
        [sys.executable, "-c", READ, *names], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_every_dataset_is_fetched_and_read(tmp_path: Path) -> None:
    for name, files in LAID.items():
        for file, content in files.items():
            (tmp_path / "laid" / name / file).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "laid" / name / file).write_text(content, encoding="utf-8")
    assert set(COUNTS) == {name for name in SERVED if not name.startswith("culturalbench")}
    with HubServer(tmp_path / "hub") as hub:
        environment = hub.environment(tmp_path / "home")
        subprocess.run([sys.executable, "-c", UPLOAD, str(tmp_path / "laid")], env=environment, check=True)
        assert read(list(COUNTS), environment) == COUNTS
        assert not any("Spain_questions" in request.path for request in hub.requests if request.method == "GET")


class Gate(BaseHTTPRequestHandler):
    """Answers as the Hub does about a dataset whose terms nobody accepted."""

    def do_HEAD(self) -> None:
        self.send_response(403)
        self.send_header("X-Error-Code", "GatedRepo")
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_GET = do_HEAD  # noqa: N815

    def log_message(self, *_: object) -> None:
        pass


def test_gated_data_names_the_terms_and_the_file(tmp_path: Path) -> None:
    with HTTPServer(("127.0.0.1", 0), Gate) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        with HubServer(tmp_path / "hub") as hub:
            environment = hub.environment(tmp_path / "home")
        environment["HF_ENDPOINT"] = f"http://127.0.0.1:{server.server_port}"
        found = read(SERVED, environment)
        server.shutdown()
    for name, said in found.items():
        declared = KNOWN[name]
        assert said == (
            f"{declared.title} asks for consent: accept its terms at huggingface.co/datasets/{declared.hub} and set "
            f"HF_TOKEN, or name your copy of {declared.file} with --benchmark-data {declared.source}=FILE or in the "
            f"environment variable CAREDIO_{declared.source.upper()}."
        )


def test_no_network_names_the_file(tmp_path: Path) -> None:
    with HubServer(tmp_path / "hub") as hub:
        environment = hub.environment(tmp_path / "home") | {"HF_HUB_OFFLINE": "1"}  # else it waits and tries again
    for name, said in read(SERVED, environment).items():
        declared = KNOWN[name]
        assert f"{declared.title} cannot be fetched from the Hub (" in str(said)
        assert f"give a copy of {declared.file}" in str(said)
        assert str(said).endswith(f"in the environment variable CAREDIO_{declared.source.upper()}.")


@pytest.mark.parametrize("name", KNOWN)
def test_a_file_that_is_not_there_is_asked_for(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file; give ") as caught:
        KNOWN[name].documents(tmp_path / "none.csv")
    assert KNOWN[name].file in str(caught.value)
