"""Run folders of a few ranked rows, written by hand."""

import json

from caredio import features
from caredio.app import shelf


def ranked_rows(*rows, others=()):
    """Rows of `features.SCORED` from (culture, rank, question_id, response), each with `others` beside it."""
    made = []
    for culture, rank, question_id, response in rows:
        question = f"What of {question_id}?"
        made.append(
            {
                "sample_id": features.sample_id(culture, question, response),
                "question_id": question_id,
                "culture": culture,
                "question": question,
                "response": response,
                "rank": rank,
                "score": 1.0,
                "others": [
                    {"culture": other, "sample_id": f"{other}-{text}", "response": text, "shown": True}
                    for other, text in others
                ],
            }
        )
    return made


def run_folder(folder, rows):
    (folder / "scored").mkdir(parents=True)
    (folder / "candidates").mkdir()
    (folder / "run.json").write_text(json.dumps({"stages": {}}))
    features.table(rows, features.SCORED).to_parquet(folder / "scored" / "all.parquet")
    features.table(rows, features.CANDIDATES).to_parquet(folder / "candidates" / "candidates.parquet")
    return shelf.open(folder)
