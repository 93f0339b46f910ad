"""A run of a few rows with vectors of their own, in several scripts, some of them hostile."""

from __future__ import annotations

from pathlib import Path

from datasets import Dataset

import caredio

HOSTILE = [
    "<script>document.title='owned'</script>",
    "</style><img src=x onerror=\"document.title='owned'\">",
    "{{ 7 * 7 }} {% for x in y %} </section></body>",
    "-->]]><svg onload=alert(1)> $\\frac{1$ `code` **bold** \u202egnp.exe",
]
ANSWERS = {
    "china": ["春节吃饺子，全家团圆。", "春节要放鞭炮。", "我们喝龙井茶。", "吃月饼"],
    "مصر": ["نأكل الكشري في الغداء", "نشرب الشاي بعد الغداء", "الكشري طعام شعبي", "نزور العائلة"],
    "भारत": ["हम दिवाली पर मिठाई बाँटते हैं", "दिवाली पर दीये जलाते हैं", "चाय पीते हैं", "रंगोली बनाते हैं"],
    "$x_1$ & <b>y</b>": HOSTILE,
}


def rows(answers: dict[str, list[str]]) -> Dataset:
    """A row for each answer: its number's question, and vectors that lie apart."""
    made = []
    for place, (culture, responses) in enumerate(answers.items()):
        for number, response in enumerate(responses):
            vector = [1.0 + place, float(number), 0.5 * place * number, 1.0]
            made.append(
                {
                    "question": f"What of {number}? {response if culture.startswith('$') else ''}",
                    "question_id": str(number),
                    "response": response,
                    "culture": culture,
                    "sample_embedding": vector,
                    "response_embedding": vector[::-1],
                }
            )
    return Dataset.from_list(made)


def select(out: Path, answers: dict[str, list[str]] = ANSWERS) -> Path:
    """A run folder of the best three rows of each culture."""
    caredio.select(rows(answers), out=out, embedder="given", theta=0.9999, compared=9, budget=3)
    return out
