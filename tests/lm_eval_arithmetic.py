"""Scores of lm-eval's samples files, computed from what is logged alone; nothing of the package that logged it helps.

What a prompt shows is read from the prompt, what a model said from its responses, what is right from the document.
"""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

Row = dict[str, Any]
Scores = dict[str, float]


def rows(file: Path) -> list[Row]:
    """The rows of a samples file."""
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def means(file: Path) -> dict[str, tuple[float, float | None, int]]:
    """Metric -> mean, standard error of it, and how many documents have it."""
    found: dict[str, list[float]] = {}
    for row in rows(file):
        for metric, value in scores(row).items():
            found.setdefault(metric, []).append(value)
    errors = {name: stdev(of) / math.sqrt(len(of)) if len(of) > 1 else None for name, of in found.items()}
    return {name: (fmean(of), errors[name], len(of)) for name, of in found.items()}


def scores(row: Row) -> Scores:
    """The scores of a row, by what its document holds."""
    kinds = {"truth": _judgements, "shares": _distribution, "answers": _answers, "key": _choice}
    kind = next(kind for column, kind in kinds.items() if row["doc"].get(column) is not None)
    return kind(row)


def _asked(row: Row) -> list[tuple[str, str | None]]:
    """Prompt and continuation, None where the model wrote it."""
    count = len(row["arguments"])
    arguments = [row["arguments"][f"gen_args_{place}"] for place in range(count)]
    return [(one["arg_0"], one["arg_1"] if isinstance(one["arg_1"], str) else None) for one in arguments]


def _turns(row: Row) -> list[tuple[str, dict[str, float] | str]]:
    """Each prompt, with the likelihoods of its continuations or what was written, after reasoning the end of it."""
    found: dict[str, dict[str, float]] = {}
    written = []
    for (prompt, continuation), said in zip(_asked(row), row["resps"], strict=True):
        if continuation is None:
            reply = said[0]
            if "Think step by step" in prompt:
                ends = re.findall(r"^\s*Answer:(.*)$", reply, re.MULTILINE)
                reply = ends[-1] if ends else ""
            written.append((prompt, reply))
        else:
            found.setdefault(prompt, {})[continuation.strip()] = float(said[0][0])
    return [*found.items(), *written]


def _word(reply: str) -> str:
    """The one word of a reply; nothing where there are more."""
    words = re.findall(r"[A-Za-z]+", reply)
    return words[0].lower() if len(words) == 1 else ""


def _shown(prompt: str) -> dict[str, str]:
    """Letter -> option."""
    return dict(re.findall(r"^([A-Z])\. (.*)$", prompt, re.MULTILINE))


def _choice(row: Row) -> Scores:
    document, right, unparsed = row["doc"], [], []
    for rotation, (prompt, said) in enumerate(_turns(row)):
        shown = _shown(prompt)
        key = list(shown)[(document["key"] - rotation) % len(shown)]
        assert shown[key] == document["options"][document["key"]]  # which another one may equal: it is not the key
        letter = max(shown, key=lambda one: said[one]) if isinstance(said, dict) else _word(said).upper()
        unparsed.append(float(letter not in shown))
        right.append(float(letter == key))
    return {"acc": fmean(right), **({"unparsed": fmean(unparsed)} if "unparsed" in row else {})}


def _judgements(row: Row) -> Scores:
    document, right, unparsed = row["doc"], [], []
    for prompt, said in _turns(row):
        (statement,) = re.findall(r"\nAnswer: (.*)\nIs this answer true or false", prompt, re.DOTALL)
        true = document["truth"][document["statements"].index(statement)]
        word = str(said["True"] > said["False"]).lower() if isinstance(said, dict) else _word(said)
        unparsed.append(float(word not in ("true", "false")))
        right.append(float(word == str(true).lower()))
    found = {"acc": float(min(right)), "judgement_acc": fmean(right)}
    return {**found, **({"unparsed": fmean(unparsed)} if "unparsed" in row else {})}


def _distribution(row: Row) -> Scores:
    people, turns = [*row["doc"]["shares"]], _turns(row)
    letters = list(_shown(turns[0][0]))
    if isinstance(turns[0][1], dict):
        likely = [math.exp(turns[0][1][letter]) for letter in letters]
        return {**_near([one / sum(likely) for one in likely], people)}
    said = [_word(str(reply)).upper() for _, reply in turns]
    counts = [said.count(letter) / len(said) for letter in letters]
    unparsed = 1 - sum(counts)
    return {**_near([*counts, unparsed], [*people, 0.0]), "unparsed": unparsed}


def _near(model: list[float], people: list[float]) -> Scores:
    def entropy(shares: list[float]) -> float:
        return -sum(share * math.log2(share) for share in shares if share > 0)

    middle = [(a + b) / 2 for a, b in zip(model, people, strict=True)]
    divergence = entropy(middle) - (entropy(model) + entropy(people)) / 2
    top = [share for share, likely in zip(people, model, strict=True) if math.isclose(likely, max(model))]
    modal = fmean(float(share == max(people)) for share in top)
    return {"js_similarity": 1 - math.sqrt(max(0.0, divergence)), "modal_acc": modal}


def _answers(row: Row) -> Scores:
    document = row["doc"]
    ((_, said),) = _turns(row)
    given, own = document["answers"], document["own"]
    if "characters" in row:
        return {"characters": float(len(str(said).strip())), "unparsed": float(not str(said).strip())}
    if isinstance(said, str):
        hits = [one for one in given if said.strip() and one["text"].lower() in said.lower()]
        top = max((one["weight"] for one in hits), default=0) / max(one["weight"] for one in given)
        return {"sem_b": float(bool(hits)), "sem_w": top, "unparsed": float(not said.strip())}
    nats = -sum(one["weight"] * said[one["text"]] for one in given)
    size = sum(one["weight"] * len(one["text"].encode()) for one in given)
    found = {"bits_per_byte": nats / size / math.log(2)}
    if own and (rivals := [one["text"] for one in document["rivals"] or ()]):
        per_byte = {text: said[text] / len(text.encode()) for text in (own, *rivals)}
        found["margin"] = said[own] - fmean(said[text] for text in rivals)
        found["margin_per_byte"] = per_byte[own] - fmean(per_byte[text] for text in rivals)
    return found
