"""What the scores that ask a model will cost, before they cost anything."""

from __future__ import annotations

from caredio.llm.plan import ANSWER, QUESTION, Step, tokens
from caredio.selection import Config
from caredio.selection.voice import turns

_CHOICE = 8  # tokens of a multiple-choice answer


def steps(rows: int, cultures: int, config: Config, question: int = QUESTION, answer: int = ANSWER) -> tuple[Step, ...]:
    """The calls of `select` on `rows` candidates of `cultures`; none where no score asks a model.

    At most: every row is taken to be its cluster's centre. `question` and `answer` are mean lengths in characters.
    """
    asked, sample = "?" * question, {"question": "?" * question, "response": "." * answer}
    said = tokens([{"role": "assistant", "content": "." * answer}])
    r, measured = config.represent, config.represent.representativeness
    found = []
    if measured == "in_context":
        prompt = tokens(turns("", [sample] * r.shots, asked))
        found.append(("in context", min(rows, cultures * r.centers) * r.validation_items, prompt, _CHOICE))
    if measured == "information":
        found.append(("information", rows * r.references * 2, tokens(turns("", [sample], asked)) + said, 0))
    if config.distinct.distinctiveness == "information":
        others = min(config.distinct.compared, max(1, cultures - 1))
        found.append(("other cultures", rows * (1 + others), tokens(turns("", [], asked)) + said, 0))
    return tuple(Step(name, calls, calls * prompt, calls * answer) for name, calls, prompt, answer in found)
