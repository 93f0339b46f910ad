"""What is right without knowing anything: by chance, and by one fixed answer chosen without the questions' own key."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from statistics import mean

from caredio.cultures import Culture
from caredio.evaluation import culturalbench

CHANCE, FIXED_LETTER, ALWAYS_FALSE = "chance", "fixed letter", "always False"
MEANINGS = {
    CHANCE: "an option drawn evenly (Easy), each judgement by a coin (Hard); no interval",
    FIXED_LETTER: "always the letter that is most often right on the file's other cultures (Easy)",
    ALWAYS_FALSE: "every statement judged false (Hard)",
}


def chance(options: int, statements: int) -> tuple[float, float, float]:
    """The expected accuracy of guessing: one of `options`, all of `statements` judgements, and a judgement."""
    return 1 / options, 0.5**statements, 0.5


def of(culture: Culture, file: Path, limit: int = 0) -> tuple[int, dict[str, tuple[float | None, ...]]]:
    """How many questions are asked on a culture, and each baseline's shares right: Easy, Hard, Hard's judgements.

    A share is None where the baseline gives no answer of the kind, or where the file has no other culture to choose
    the letter on.
    """
    rows = culturalbench.read(file)
    asked = culturalbench.about(culture.name, file)[: limit or None]
    keys = [culturalbench.choice(row)["key"] for row in asked]
    truths = [culturalbench.judgements(row)["truth"] for row in asked]
    others = Counter(culturalbench.choice(row)["key"] for row in rows if row["country"] != culture.name)
    letter = min(others, key=lambda key: (-others[key], key)) if others else None
    guesses = [chance(len(culturalbench.LETTERS), len(truth)) for truth in truths]
    return len(asked), {
        CHANCE: tuple(mean(values) for values in zip(*guesses, strict=True)),
        FIXED_LETTER: (None if letter is None else mean(float(key == letter) for key in keys), None, None),
        ALWAYS_FALSE: (
            None,
            mean(float(not any(truth)) for truth in truths),
            mean(1 - sum(truth) / len(truth) for truth in truths),
        ),
    }
