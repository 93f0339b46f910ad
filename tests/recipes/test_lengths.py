"""Rows longer than --max_length: what is cut and what is dropped is counted, and is what TRL cuts and drops."""

import json

import pytest
from datasets import Dataset

from caredio.errors import InputError
from caredio.training.recipe import RECIPES

SHORT, LONG = "Tea.", " ".join(["tea"] * 200)  # 200 tokens more


def chat(role, text):
    return [{"role": role, "content": text}]


def rows(name, sizes):
    """A row of a recipe for each (prompt, answer)."""
    made = []
    for number, (prompt, answer) in enumerate(sizes):
        row = {"prompt": chat("user", f"{number}. {prompt}"), "rank": number + 1}
        sides = {"completion": answer} if name in ("sft", "kto") else {"chosen": answer, "rejected": SHORT}
        row |= {side: chat("assistant", text) for side, text in sides.items()}
        made.append(row | ({"label": number % 2 == 0} if name == "kto" else {}))
    return Dataset.from_list(made)


@pytest.fixture
def trained(request, flags, tiny, tmp_path):
    """The trainer of a recipe on those rows with --max_length 100, and its record."""

    def of(name, sizes, *more):
        (tmp_path / "rows").mkdir()
        rows(name, sizes).to_parquet(tmp_path / "rows" / "train.parquet")
        where = ("--dataset_name", str(tmp_path / "rows"), "--dataset_config", "default", "--max_length", "100")
        argv = flags(f"{name}-lora.yaml", *where, "--max_steps", "1", *more, model=tiny)
        return request.getfixturevalue(name).train(argv), json.loads((tmp_path / "out" / "training.json").read_text())

    return of


SIZES = [(SHORT, SHORT), (SHORT, LONG), (LONG, SHORT), (SHORT, SHORT), (SHORT, SHORT)]


@pytest.mark.parametrize(
    ("name", "cut", "dropped"), [("sft", 1, 1), ("dpo", 1, 1), ("kto", 1, 1), ("simpo", 1, 1), ("reward", 0, 2)]
)
def test_what_is_cut_and_dropped_is_counted_and_told(trained, caplog, name, cut, dropped):
    trainer, record = trained(name, SIZES)
    assert (record["rows"], record["rows_cut"], record["rows_dropped"]) == (5, cut, dropped)
    assert len(trainer.train_dataset) == 5 - dropped  # TRL drops no others
    assert f"of 5 rows, --max_length 100 cuts {cut} short and leaves {dropped} out; raise it" in caplog.text


def test_the_end_is_kept_where_that_is_asked_for(trained):
    trainer, record = trained("sft", SIZES, "--truncation_mode", "keep_end")
    assert (record["rows_cut"], record["rows_dropped"], len(trainer.train_dataset)) == (2, 0, 5)


def test_one_row_in_a_hundred_and_more_is_a_warning(trained, caplog):
    _, record = trained("sft", [(SHORT, LONG), *[(SHORT, SHORT)] * 100])
    assert record["rows_cut"] == 1
    assert "--max_length" not in caplog.text


@pytest.mark.parametrize("name", RECIPES)
def test_rows_of_which_nothing_is_left_are_one_sentence(trained, name):
    with pytest.raises(InputError, match="--max_length 100 leaves nothing to learn in any of 3 rows"):
        trained(name, [(LONG, SHORT)] * 3)
