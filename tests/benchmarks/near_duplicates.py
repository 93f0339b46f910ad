"""How fast near-duplicates are found, beside a loop over the rouge_score package: the same decisions, and the ratio.

    python tests/benchmarks/near_duplicates.py              38 topics of 100 questions
    python tests/benchmarks/near_duplicates.py 1 2000       one topic of 2000

The questions are drawn by seed from 60 words; four in ten are an earlier one with up to six words changed.
"""

import random
import sys
import time

from rouge_score.rouge_scorer import RougeScorer

from caredio.synthesis.questions import Known

THRESHOLD = 0.7
WORDS = [f"word{number}" for number in range(60)]


def topic(count: int, seed: int) -> list[str]:
    """Questions, about a third of them near-duplicates."""
    draw = random.Random(seed)
    written: list[list[str]] = []
    for _ in range(count):
        if written and draw.random() < 0.4:
            words = list(draw.choice(written))
            for _ in range(draw.randint(1, 6)):
                words[draw.randrange(len(words))] = draw.choice(WORDS)
        else:
            words = draw.choices(WORDS, k=draw.randint(8, 24))
        written.append(words)
    return [" ".join(words).capitalize() + "?" for words in written]


def by_rouge_score(texts: list[str]) -> list[bool]:
    scorer, kept, decisions = RougeScorer(["rougeL"]), [], []
    for text in texts:
        new = not any(scorer.score(old, text)["rougeL"].fmeasure >= THRESHOLD for old in kept)
        decisions.append(new)
        kept += [text] if new else []
    return decisions


def by_caredio(texts: list[str]) -> list[bool]:
    known = Known(THRESHOLD)
    return [known.add(text) for text in texts]


def main(topics: int = 38, questions: int = 100) -> None:
    pools = [topic(questions, seed) for seed in range(topics)]
    seconds = {}
    decisions = {}
    for find in (by_rouge_score, by_caredio):
        started = time.perf_counter()
        decisions[find] = [find(texts) for texts in pools]
        seconds[find] = time.perf_counter() - started
    assert decisions[by_rouge_score] == decisions[by_caredio]
    dropped = sum(not new for one in decisions[by_caredio] for new in one)
    print(
        f"{topics} x {questions} questions, {dropped} near-duplicates, equal decisions:"
        f" rouge_score {seconds[by_rouge_score]:.2f} s, caredio {seconds[by_caredio]:.3f} s,"
        f" {seconds[by_rouge_score] / seconds[by_caredio]:.0f} times as fast"
    )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
