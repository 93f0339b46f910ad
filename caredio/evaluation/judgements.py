"""An lm-eval task whose documents hold several statements, each judged true or false by itself.

One document a question, so that `--limit` counts questions and the standard error is over questions. For lm-eval every
statement is an ordinary multiple-choice prompt with the choices True and False; only the scoring sees them together.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import mean
from typing import TYPE_CHECKING, Any

from lm_eval.api.task import ConfigurableTask

if TYPE_CHECKING:
    from lm_eval.api.instance import Instance


class Judgements(ConfigurableTask):
    """Documents with `statements`; the templates see one of them at a time as `statement`."""

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__(config={key: value for key, value in config.items() if key != "class"})  # lm-eval leaves it in

    def doc_to_text(self, doc: dict[str, Any], doc_to_text: Any = None) -> Any:
        """The prompt of `statement`; of the first one for a bare document, as lm-eval asks when it loads a task."""
        return super().doc_to_text({"statement": doc["statements"][0], **doc}, doc_to_text)

    def fewshot_context(self, doc: dict[str, Any], *positional: Any, **settings: Any) -> list[str]:
        """A context a statement, each with the system instruction and the chat template if these are on."""
        context = super().fewshot_context
        return [context({**doc, "statement": statement}, *positional, **settings) for statement in doc["statements"]]

    def construct_requests(self, doc: dict[str, Any], ctx: list[str], **settings: Any) -> list[Instance]:
        """log p(True) and log p(False) after every context, in this order."""
        requests: list[Instance] = []
        for context in ctx:
            requests += super().construct_requests(doc, context, **settings)
        for place, request in enumerate(requests):
            request.idx = place
        return requests


def score(doc: dict[str, Any], results: Sequence[tuple[float, bool]]) -> dict[str, float]:
    """acc: 1 if every judgement of the document is right; judgement_acc: the share that is.

    Args:
        doc: holds `truth`, a bool a statement.
        results: (log-likelihood, greedy) of True and of False, statement by statement.
    """
    judged = [true > false for (true, _), (false, _) in zip(results[::2], results[1::2], strict=True)]
    right = [judgement == truth for judgement, truth in zip(judged, doc["truth"], strict=True)]
    return {"acc": float(all(right)), "judgement_acc": mean(map(float, right))}
