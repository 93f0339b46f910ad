"""The paper's own build: its YAML is the paper's, and a dry run counts from it, by arithmetic that is done here too."""

import math

import pytest
import yaml

from caredio import cli, cultures, topics
from caredio.api import VERBS
from caredio.selection.settings import PAPER
from caredio.settings import fill
from caredio.training.recipe import folder

FILE = folder() / "cardset.yaml"
LISTED = {"gpt-4o-mini": (0.15, 0.60), "text-embedding-3-small": (0.02, 0.0)}  # dollars for a million tokens, by OpenAI
TEXTS, BYTES, QUESTION, ANSWER = 2048, 300_000, 120, 400  # texts and bytes of a request; usual characters of a text


def recipe():
    return yaml.safe_load(FILE.read_text(encoding="utf-8"))


def test_it_is_the_paper_s_build_of_all_cultures_and_topics():
    said = recipe()
    assert said.items() >= {**PAPER, "per_topic": 100, "theta": 0.7, "budget": 1000, "rouge_l": 0.7}.items()
    assert (said["model"], said["embedder"]) == ("gpt-4o-mini", "openai:text-embedding-3-small")
    assert said["cultures"] == list(cultures.load())
    assert said["topics"] == list(topics.load())
    assert (len(said["cultures"]), len(said["topics"])) == (15, 38)


def test_each_line_is_a_setting_of_a_build_and_a_value_that_it_may_have():
    fill(VERBS["build"][0], {name: value for name, value in recipe().items() if name not in ("cultures", "topics")})


def questions(said):
    """(calls, questions written) of a topic: each round asks for half of what lacks of each of three types."""
    calls = written = 0
    left = [said["per_topic"] // 3 + (place < said["per_topic"] % 3) for place in range(3)]
    for _ in range(said["rounds"]):
        for place, lacks in enumerate(left):
            asked = math.ceil(lacks / (2 * said["per_call"])) * min(said["per_call"], lacks) if lacks else 0
            calls += math.ceil(lacks / (2 * said["per_call"]))
            written += asked
            left[place] -= asked
    return calls, written


def counted(said):
    """Stage -> calls, by hand from the YAML; of all cultures each answers each universal question."""
    of_topic, written = questions(said)
    assert written == said["per_topic"]
    rows = len(said["cultures"]) * len(said["topics"]) * said["per_topic"]
    others = said["near"] + said["far"] + said["compared"]
    texts = rows * (2 + others)
    length = (texts * ANSWER + rows * (QUESTION + 1)) // texts
    return {
        "subtopics": len(said["topics"]),
        "questions": len(said["topics"]) * of_topic,
        "sensitivity": len(said["topics"]) * said["per_topic"],
        "answers": rows,
        "adapted": rows,
        "isolated answers": rows * (1 + others),
        "answers judged": rows * others,
        "drawn again": 0,
        "judged again": 0,
        "contrastive answers": rows,
        "vectors": math.ceil(texts / min(TEXTS, BYTES // length)),
    }


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"per_topic": 10, "near": 1, "compared": 3, "per_call": 2},
        {"cultures": ["china", "japan", "mexico"], "topics": ["food", "power"], "per_topic": 30, "rounds": 9, "far": 1},
    ],
    ids=["as it ships", "another size", "fewer"],
)
def test_every_number_of_a_dry_run_comes_from_the_yaml(changed, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    said = {**recipe(), **changed}
    file = FILE
    if changed:
        file = tmp_path / "changed.yaml"
        file.write_text(yaml.safe_dump(said))
    cli.main(["build", "--config", str(file), "--dry-run"])
    _, *lines, note = capsys.readouterr().out.splitlines()
    rows = {line[:22].strip(): [float(cell.replace(",", "")) for cell in line[22:].split()] for line in lines}
    total = rows.pop("total")
    wanted = counted(said)
    if changed.get("cultures"):  # those that are shown answer the universal questions too, drawn for each
        assert rows.pop("answers")[0] > wanted.pop("answers")
    assert {stage: cells[0] for stage, cells in rows.items()} == wanted
    if "answers" in rows:
        assert total[:3] == [sum(cells[place] for cells in rows.values()) for place in range(3)]
    for stage, (calls, prompt, answer, dollars) in rows.items():
        paid = LISTED["text-embedding-3-small" if stage == "vectors" else "gpt-4o-mini"]
        assert dollars == pytest.approx((prompt * paid[0] + answer * paid[1]) / 1e6, abs=0.005)
        assert answer <= calls * said["max_tokens"]
    assert "gpt-4o-mini, text-embedding-3-small are asked" in note


def test_it_is_listed_and_copied_as_recipes_are(capsys, tmp_path):
    cli.main(["recipes"])
    assert "  cardset.yaml" in capsys.readouterr().out.splitlines()
    cli.main(["recipes", "cardset.yaml", str(tmp_path)])
    assert f"--config {tmp_path / 'cardset.yaml'}" in capsys.readouterr().out
    assert (tmp_path / "cardset.yaml").read_bytes() == FILE.read_bytes()
