"""What DPO, KTO and a reward model learn of a region's answers, on questions that none of them was trained on.

    python tests/benchmarks/learning.py --cultures china --methods dpo,kto,reward

Pairs are people's answers to BLEnD's questions (the packaged sample): chosen is the answer that most of a region's
annotators gave, rejected the one that most of another region's gave to the same question. A share of the questions is
held out by their id. The likelihoods are computed here, from transformers and PEFT alone; intervals are of a bootstrap
over questions (95 %).

    margin       beta x (log-ratio of chosen - log-ratio of rejected) to the model before training; 0 learned nothing
    accuracy     how often the reward model puts chosen above rejected
    longer wins  how often the rule "the longer answer is the right one" does; an equal length counts half
"""

from __future__ import annotations

import argparse
import importlib
import itertools
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset

from caredio import quickstart
from caredio.publishing.split import is_test

TEST_SHARE = 0.3
LEAST = 2  # annotators behind a region's answer
METHODS = ("dpo", "kto", "reward")
RECIPES = Path(__file__).parents[2] / "recipes" / "smollm2-135m"
Pair = dict[str, Any]


def majority(rows: Dataset) -> dict[str, dict[str, tuple[str, str]]]:
    """question_id -> culture -> (question, the answer most of its annotators gave); no answer where the top is tied."""
    answers: dict[tuple[str, str], list[tuple[int, str, str]]] = defaultdict(list)
    for row in rows:
        answers[row["question_id"], row["culture"]].append((row["annotators"], row["question"], row["response"]))
    found: dict[str, dict[str, tuple[str, str]]] = defaultdict(dict)
    for (question_id, culture), given in answers.items():
        given.sort(reverse=True)
        if given[0][0] >= LEAST and (len(given) == 1 or given[0][0] > given[1][0]):
            found[question_id][culture] = given[0][1:]
    return found


def pairs(culture: str, rows: Dataset) -> list[Pair]:
    """The culture's answer over each other culture's to the same question, unless one holds the other."""
    made = []
    for question_id, answers in sorted(majority(rows).items()):
        if culture not in answers:
            continue
        question, chosen = answers[culture]
        for other, (_, rejected) in sorted(answers.items()):
            held = chosen.casefold() in rejected.casefold() or rejected.casefold() in chosen.casefold()
            if other != culture and not held:
                row: Pair = {"question_id": question_id, "prompt": [{"role": "user", "content": question}]}
                row |= {
                    side: [{"role": "assistant", "content": text}]
                    for side, text in (("chosen", chosen), ("rejected", rejected))
                }
                made.append(row)
    return made


def unpaired(made: list[Pair]) -> list[Pair]:
    """Each side as a row with its label; a chosen answer once."""
    rows = {}
    for row in made:
        for side, label in (("chosen", True), ("rejected", False)):
            key = row["question_id"], label, row[side][0]["content"]
            rows[key] = {"prompt": row["prompt"], "completion": row[side], "label": label}
    return list(rows.values())


def log_likelihoods(model: Any, tokenizer: Any, chats: list[tuple[list[Any], list[Any]]]) -> np.ndarray:
    """log p(completion | prompt) in nats, summed over tokens, of each chat; float64[n]."""
    found = []
    for prompt, completion in chats:
        start = tokenizer.apply_chat_template(prompt, add_generation_prompt=True, return_dict=False)
        whole = tokenizer.apply_chat_template(prompt + completion, return_dict=False)
        tokens = torch.tensor([whole], device=model.device)
        with torch.no_grad():
            logits = model(tokens).logits[0, len(start) - 1 : -1].float()
        targets = tokens[0, len(start) :]
        found.append(float(logits.log_softmax(-1).gather(1, targets[:, None]).sum()))
    return np.array(found)


def rewards(model: Any, tokenizer: Any, chats: list[tuple[list[Any], list[Any]]]) -> np.ndarray:
    """What a reward model gives each chat; float64[n]."""
    found = []
    for prompt, completion in chats:
        tokens = torch.tensor([tokenizer.apply_chat_template(prompt + completion, return_dict=False)])
        with torch.no_grad():
            found.append(float(model(tokens.to(model.device)).logits[0, 0]))
    return np.array(found)


def interval(values: np.ndarray, questions: list[str], seed: int = 0, draws: int = 2000) -> str:
    """Mean and 95 % interval of a bootstrap over questions."""
    by_question = defaultdict(list)
    for value, question in zip(values, questions, strict=True):
        by_question[question].append(float(value))
    sums = np.array([(sum(own), len(own)) for own in by_question.values()])
    drawn = np.random.default_rng(seed).integers(len(sums), size=(draws, len(sums)))
    totals = sums[drawn].sum(1)
    low, high = np.quantile(totals[:, 0] / totals[:, 1], [0.025, 0.975])
    return f"{np.mean(values):+.3f} ({low:+.3f} to {high:+.3f})"


def trained(method: str, made: list[Pair], folder: Path, flags: list[str]) -> Any:
    """The trainer of a recipe that has run on these pairs."""
    rows = unpaired(made) if method == "kto" else made
    table = folder / "data" / "train.parquet"
    table.parent.mkdir(parents=True)
    Dataset.from_list([{name: row[name] for name in row if name != "question_id"} for row in rows]).to_parquet(table)
    recipe = RECIPES / f"{method}-lora.yaml"
    own = ["--config", str(recipe), "--dataset_name", str(table.parent), "--budget", "0", "--output_dir"]
    return importlib.import_module(f"caredio.recipes.{method}").train([*own, str(folder / "made"), *flags])


def measure(method: str, culture: str, rows: Dataset, flags: list[str]) -> None:
    """Train on a culture's pairs, and print what held-out pairs say."""
    split = {False: [], True: []}
    for row in pairs(culture, rows):
        split[is_test(row["question_id"], TEST_SHARE)].append(row)
    test = split[True]
    with tempfile.TemporaryDirectory() as made:
        trainer = trained(method, split[False], Path(made), flags)
    model, tokenizer = trainer.accelerator.unwrap_model(trainer.model).eval(), trainer.processing_class
    of = [row["question_id"] for row in test]
    sides = {side: [(row["prompt"], row[side]) for row in test] for side in ("chosen", "rejected")}
    print(
        f"{method} {culture}: {len(split[False])} pairs, {trainer.state.global_step} steps;"
        f" held out {len(test)} pairs of {len(set(of))} questions"
    )
    if method == "reward":
        found = accuracies(test, *(rewards(model, tokenizer, sides[side]) for side in ("chosen", "rejected")))
    else:
        found = gains(model, tokenizer, sides, trainer.args.beta)
    for name, values in found.items():
        print(f"  {name:<22} {interval(values, of)}")


def accuracies(test: list[Pair], chosen: np.ndarray, rejected: np.ndarray) -> dict[str, np.ndarray]:
    """Whether a pair is put right: by its rewards, by length alone, and the one minus the other."""
    right = (chosen > rejected) + 0.5 * (chosen == rejected)
    lengths = [len(row["chosen"][0]["content"]) - len(row["rejected"][0]["content"]) for row in test]
    longer = (np.sign(lengths) + 1) / 2
    return {"accuracy": right, "longer wins": longer, "accuracy - longer wins": right - longer}


def gains(model: Any, tokenizer: Any, sides: dict[str, Any], beta: float) -> dict[str, np.ndarray]:
    """beta x what a pair's sides, and their difference, gained in likelihood over the model without its adapter."""
    after = {side: log_likelihoods(model, tokenizer, chats) for side, chats in sides.items()}
    with model.disable_adapter():
        before = {side: log_likelihoods(model, tokenizer, chats) for side, chats in sides.items()}
    gained = {side: beta * (after[side] - before[side]) for side in sides}
    rewarded = {f"reward of {side}": values for side, values in gained.items()}
    return {"margin": gained["chosen"] - gained["rejected"], **rewarded}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cultures", default="china,mexico,south_korea")
    parser.add_argument("--data", default=str(quickstart.SAMPLE), help="a table in the sample's columns")
    parser.add_argument("--methods", default=",".join(METHODS))
    parser.add_argument("flags", nargs="*", help="the recipe's, after --")
    given = parser.parse_args()
    rows = Dataset.from_parquet(given.data).filter(lambda row: row["drop_reason"] is None)
    for culture, method in itertools.product(given.cultures.split(","), given.methods.split(",")):
        measure(method, culture, rows, given.flags)
        sys.stdout.flush()


if __name__ == "__main__":
    main()
