from __future__ import annotations

import csv
from pathlib import Path

import pandas
import pytest

from caredio import cultures
from caredio.errors import InputError
from caredio.evaluation import benchmark
from caredio.evaluation.benchmarks import culturebank

(DECLARED,) = culturebank.BENCHMARKS
# as the Hub's file has them
COLUMNS = [
    *("cluster_id", "cultural group", "context", "goal", "relation", "actor", "actor_behavior", "recipient"),
    *("recipient_behavior", "other_descriptions", "topic", "agreement", "num_support_bin", "time_range"),
    *("eval_whole_desc", "eval_scenario", "eval_persona", "eval_question"),
]
GROUPS = ["American", "Koreans", "international students", "Chinese"]


def written(folder: Path, clusters: int = 97, columns: list[str] = COLUMNS) -> Path:
    """Two rows a cluster, clusters not in their order."""
    file = folder / "culturebank_tiktok.csv"
    with file.open("w", newline="") as lines:
        writer = csv.DictWriter(lines, columns, extrasaction="ignore")
        writer.writeheader()
        for row in range(2 * clusters):
            cluster = row * 7 % clusters
            writer.writerow(
                {
                    **dict.fromkeys(columns, "x"),
                    "cluster_id": cluster,
                    "cultural group": GROUPS[cluster % 4],
                    "topic": "Food",
                    "eval_whole_desc": f"They eat {row}.",
                    "eval_persona": f"I am {row}.",
                    "eval_question": f"What of {row}?",
                }
            )
    return file


def test_the_split_is_upstreams(tmp_path: Path) -> None:
    """As grounded_eval.py of github SALT-NLP/CultureBank takes it, with pandas."""
    file = written(tmp_path)
    frame = pandas.read_csv(file).groupby("cluster_id").first().reset_index()
    frame = frame.sample(frac=1, random_state=1234).reset_index(drop=True)
    wanted = frame.tail(int(len(frame) * ((1.0 - 0.8) / 2)))
    documents = DECLARED.documents(file)
    assert len(documents) == 9
    assert [one["id"] for one in documents] == [str(cluster) for cluster in wanted["cluster_id"]]
    assert [one["answers"][0]["text"] for one in documents] == list(wanted["eval_whole_desc"])
    assert documents[0]["question"] == f"{wanted.iloc[0]['eval_persona']} {wanted.iloc[0]['eval_question']}"
    assert documents == DECLARED.documents(tmp_path)


def test_groups_are_found_by_what_a_people_is_called(tmp_path: Path) -> None:
    documents = culturebank.read(written(tmp_path, 400))
    found = {
        slug: DECLARED.about(slug, DECLARED.spellings(culture), tmp_path, benchmark.GENERATED)
        for slug, culture in cultures.load().items()
    }
    assert {slug for slug, one in found.items() if one} == {"united_states", "south_korea", "china"}
    students = sum(one["culture"] == "international students" for one in documents)
    assert sum(map(len, found.values())) == len(documents) - students


def test_a_changed_column_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="lacks eval_question; give culturebank_tiktok"):
        culturebank.read(written(tmp_path, columns=COLUMNS[:-1]))
    file = written(tmp_path)
    file.write_text(file.read_text().replace("\n0,", "\nfirst,", 1))
    with pytest.raises(InputError, match="row 1: cluster_id 'first' is no number"):
        culturebank.read(file)
