"""The lm-eval task of every benchmark: a document with `turns`, each a prompt of its own, scored together.

One document a question, so that `--limit` counts questions and the standard error is over questions. For lm-eval a turn
is an ordinary prompt; only the scoring, which is the kind's, sees them together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lm_eval.api.task import ConfigurableTask

from caredio.evaluation import benchmark, tasks
from caredio.evaluation.benchmark import LIKELIHOOD, Scores
from caredio.llm import marks

if TYPE_CHECKING:
    from lm_eval.api.instance import Instance


class Turns(ConfigurableTask):
    """Documents with `turns`; lm-eval sees one of them at a time as `turn`."""

    def __init__(self, config: dict[str, Any]) -> None:
        how = dict(config["dataset_kwargs"])
        self._benchmark, self._variant = tasks.declared(how["benchmark"]), how["variant"]
        given = {key: value for key, value in config.items() if key != "class"}  # lm-eval leaves it in
        super().__init__(config={**given, "process_results": self.scores})

    def doc_to_text(self, doc: dict[str, Any], doc_to_text: Any = None) -> str:
        """The prompt of `turn`; of the first one for a bare document, as lm-eval asks when it loads a task."""
        return str(doc.get("turn", doc["turns"][0]))

    def doc_to_choice(self, doc: dict[str, Any], doc_to_choice: Any = None) -> list[str]:
        """Whose likelihoods are asked after a turn."""
        assert self._benchmark.kind.choices is not None
        return self._benchmark.kind.choices(doc)

    def doc_to_target(self, doc: dict[str, Any], doc_to_target: Any = None) -> str:
        """What is right, in words, for whoever reads samples; the kind's scoring looks into the document."""
        return str(doc.get("key", doc.get("truth", "")))

    def fewshot_context(self, doc: dict[str, Any], *positional: Any, **settings: Any) -> list[str]:
        """A context a turn, each with the system instruction and the chat template if these are on."""
        context = super().fewshot_context
        return [context({**doc, "turn": turn}, *positional, **settings) for turn in doc["turns"]]

    def construct_requests(self, doc: dict[str, Any], ctx: list[str], **settings: Any) -> list[Instance]:
        """After every context in turn: the choices' likelihoods, or a reply."""
        requests: list[Instance] = []
        for context in ctx:
            made = super().construct_requests(doc, context, **settings)
            requests += made if isinstance(made, list) else [made]
        for place, request in enumerate(requests):
            request.idx = place
        return requests

    def scores(self, doc: dict[str, Any], results: list[Any]) -> Scores:
        """The kind's scores of the document; of a written reply what is meant to be read counts, not the thinking."""
        kind = self._benchmark.kind
        if self._variant == LIKELIHOOD:
            assert kind.by_likelihoods is not None
            return kind.by_likelihoods(doc, [likelihood for likelihood, _ in results])
        return kind.by_replies(doc, [benchmark.final(_visible(reply), self._variant) for reply in results])


def _visible(reply: str) -> str:
    """A reply without its thinking; nothing where that does not end."""
    try:
        return marks.visible(reply)
    except marks.OnlyThinking:
        return ""
