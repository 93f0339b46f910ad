"""What the scores that ask a model will cost, before they cost anything."""

from __future__ import annotations

from caredio.llm.plan import ANSWER, QUESTION, Step, embedded, tokens
from caredio.selection import Config
from caredio.selection.embed import ENDPOINT
from caredio.selection.voice import turns

_CHOICE = 8  # tokens of a multiple-choice answer


def steps(
    rows: int, cultures: int, config: Config, others: int = 0, question: int = QUESTION, answer: int = ANSWER
) -> tuple[Step, ...]:
    """The calls of `select` on `rows` candidates of `cultures`; none where neither scores nor embedder ask a model.

    At most: every row is taken to be its cluster's centre, and every text to be another.

    Args:
        others: answers of other cultures and of panels that are no candidates.
        question, answer: mean lengths in characters.
    """
    asked, sample = "?" * question, {"question": "?" * question, "response": "." * answer}
    turn = tokens([{"role": "assistant", "content": "." * answer}])
    r, measured = config.represent, config.represent.representativeness
    found = []
    vectors: tuple[Step, ...] = ()
    if config.embed.embedder.startswith(ENDPOINT):
        embedder = config.embed.embedder.removeprefix(ENDPOINT)
        samples = rows * (question + 2 * answer)  # the sample, and the answer alone
        texts = 2 * rows + others
        vectors = (embedded("vectors", embedder, texts, (samples + others * answer) // max(1, texts)),)
    if measured == "in_context":
        prompt = tokens(turns("", [sample] * r.shots, asked))
        found.append(("in context", min(rows, cultures * r.centers) * r.validation_items, prompt, _CHOICE))
    if measured == "information":
        found.append(("information", rows * r.references * 2, tokens(turns("", [sample], asked)) + turn, 0))
    if config.distinct.distinctiveness == "information":
        others = min(config.distinct.compared, max(1, cultures - 1))
        found.append(("other cultures", rows * (1 + others), tokens(turns("", [], asked)) + turn, 0))
    return vectors + tuple(Step(name, calls, calls * prompt, calls * said) for name, calls, prompt, said in found)
