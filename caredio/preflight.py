"""What can be known to fail before the first call, checked before it: in a dry run too, where no key is needed.

What a setting alone decides is checked by its room's settings, and what a table alone decides by the stage that reads
it first.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path

from caredio.errors import EndpointError, InputError
from caredio.llm.access import Access
from caredio.llm.plan import is_local
from caredio.llm.settings import Endpoint
from caredio.llm.spec import LOCAL_MODEL, Spec
from caredio.selection import embed, engine, in_context, represent, validation
from caredio.selection.embedders import ENDPOINT, GIVEN
from caredio.selection.settings import Settings as Selection
from caredio.selection.settings import threshold
from caredio.stages import Expected
from caredio.synthesis.settings import Settings as Synthesis
from caredio.synthesis.settings import check_objective, check_questions

log = logging.getLogger("caredio")

_REPEATED = (
    "at temperature 0 an answer is the same when it is asked for again: a culture that is shown cannot be compared, as"
    " the text that was shown never counts, and rows compare with fewer cultures or none; raise temperature."
)
_FEWEST = 3  # answers of a culture that a density, or an answer foreseen after another, needs


def writing(
    settings: Synthesis, selection: Selection, spec: Spec, endpoint: Endpoint, pool: Sequence[Expected]
) -> None:
    """See that candidates can be written as the settings say.

    Args:
        selection: the objective of the optimisation.
        pool: what is to be written.

    Raises:
        InputError: no model uses the address, or the optimisation would have nothing to choose by.
    """
    if spec.temperature == 0 and settings.contrast:
        log.warning(_REPEATED)
    check_questions(settings, selection)
    check_objective(settings, selection)
    embedders = (selection.embedder, settings.held_out or "")
    reviewing(settings, endpoint)
    if settings.review_model in (None, LOCAL_MODEL) or endpoint.review_base_url:
        _addressed(spec, endpoint, embedders)
    served(endpoint, embedders)
    if not settings.optimize_rounds:
        return
    if settings.objective == "likelihood":
        _likelihoods(spec, endpoint, "objective likelihood", "objective embeddings")
        measured = any(represent.most_references(one.rows, selection) for one in pool)
    else:
        measured = any(one.rows * (1 + one.panel) >= _FEWEST for one in pool)
    if not measured:
        raise InputError(
            f"optimize_rounds needs {_FEWEST} answers of a culture to compare, and {pool[0].rows} are to be written;"
            " raise per_topic, name more topics, or leave the rounds out."
        )


def reviewing(settings: Synthesis, endpoint: Endpoint) -> None:
    """See that the reviewer's endpoint or provider, where there is one, serves a reviewer.

    Raises:
        InputError: candidates are not reviewed.
    """
    given = endpoint.for_role("review") is not endpoint or settings.review_provider is not None
    if given and not settings.reviews:
        raise InputError("the reviewer's endpoint is given, but nothing is reviewed; name its model as review_model.")


def served(endpoint: Endpoint, embedders: Sequence[str]) -> None:
    """See that the embedder's endpoint, where there is one, serves an embedder.

    Raises:
        InputError: it serves none.
    """
    if endpoint.for_role("embedder") is not endpoint and not any(name.startswith(ENDPOINT) for name in embedders):
        raise InputError("the embedder's endpoint serves no embedder; name the one it serves, openai:MODEL.")


def ranking(settings: Selection, spec: Spec, endpoint: Endpoint) -> None:
    """See that candidates, whichever they are, can be scored and ranked as the settings say.

    Raises:
        InputError: no theta is known, no model uses the address, the model returns no log-probabilities, or a package
            is missing.
    """
    threshold(settings)
    measure = settings.representativeness
    if settings.asks:
        _addressed(spec, endpoint, (settings.embedder,))
    if measure == "information":
        _likelihoods(spec, endpoint, "representativeness information", "representativeness support")
    if settings.distinctiveness == "information":
        _likelihoods(spec, endpoint, "distinctiveness information", "distinctiveness hybrid")
    if settings.ranking == "ifd":
        _likelihoods(spec, endpoint, "ranking ifd", "another ranking")


def measuring(settings: Selection, pool: Sequence[Expected]) -> None:
    """See that the scores of candidates would be known.

    Args:
        pool: the candidates, written or to be written.

    Raises:
        InputError: a score would be unknown of every row, the validation file is not what was wanted or has nothing on
            a culture, or the budget is more than what is measured.
    """
    measure = settings.representativeness
    if settings.reads_validation:
        _validated(settings, pool)
    if settings.ranking != "score":
        return
    unknown = {
        "information": not any(represent.most_references(one.rows, settings) for one in pool),
        "typicality": all(one.rows * (1 + one.panel) < _FEWEST for one in pool),
    }
    if unknown.get(measure):
        raise InputError(
            f"representativeness {measure} needs {_FEWEST} answers of a culture, and no culture has as many; choose"
            " another measure, or have more questions answered."
        )


def _validated(settings: Selection, pool: Sequence[Expected]) -> None:
    file = settings.validation or ""
    items = validation.read(file, settings.prompts)
    for one in pool:
        validation.of(items, one.culture, file)
    if settings.representativeness == "in_context":
        in_context.check(settings, max((one.rows for one in pool), default=0))


def building(settings: Selection, spec: Spec, endpoint: Endpoint, out: Path | str | None) -> None:
    """See that what selection needs is there before candidates are paid for.

    An embedder that made the vectors in `out` is not loaded once more.

    Raises:
        EndpointError: an endpoint needs a key.
        InputError: the embedder cannot be loaded or has no price, or Ray is not installed.
    """
    engine.connect(settings.engine)
    if settings.embedder == GIVEN:
        raise InputError("embedder is given, but new candidates have no vectors yet; name one that makes them.")
    made = out is not None and _embedded_with(Path(out), settings.embedder)
    embed.check(settings.embedder, endpoint, load=not is_local(spec) and not made)


def pushing(push: str, release: Path, version: str | None) -> None:
    """See that a release can go to the Hub before what it holds is made.

    Args:
        push: name of the repository.
        release: the folder that is written first.
        version: its tag; None is one that will be proposed.

    Raises:
        InputError: the name is no repository's, there is no token, the folder holds something else, or the version is
            released already.
        EndpointError: the Hub does not take the token for writing.
    """
    # the Hub's client
    from caredio.publishing import hub, metadata
    from caredio.publishing.record import RECORD

    metadata.check_repo(push)
    hub.check_token(push)
    if release.is_dir() and any(release.iterdir()) and not (release / RECORD).exists():
        raise InputError(f"{release}: is not empty and holds no {RECORD}; move it, as the release is written there.")
    hub.foresee(push, "dataset", version, release)


def _addressed(spec: Spec, endpoint: Endpoint, embedders: Sequence[str]) -> None:
    """See that a model uses the address; without a model, the embedded one would be asked instead."""
    if endpoint.base_url and is_local(spec) and not any(name.startswith(ENDPOINT) for name in embedders):
        raise InputError(f"base_url {endpoint.base_url} is given without a model; name the model that it serves.")


def _likelihoods(spec: Spec, endpoint: Endpoint, setting: str, instead: str) -> None:
    """See that the model may return log-probabilities of prompts: OpenAI, Azure and the Batch API do not."""
    if is_local(spec):
        return
    try:
        openai = Access(spec, endpoint.base_url).openai
    except EndpointError:  # no key and no address of one's own
        openai = True
    if openai or endpoint.batch:
        who = "the Batch API" if endpoint.batch else f"the endpoint of {spec.model}"
        raise InputError(
            f"{setting} needs log-probabilities of prompts, which {who} does not return (vLLM does); choose {instead}"
            f"{' or leave out batch' if endpoint.batch and not openai else ''}."
        )


def _embedded_with(out: Path, embedder: str) -> bool:
    try:
        vectors = json.loads((out / "run.json").read_text(encoding="utf-8"))["stages"]["vectors"]
        return vectors["made_from"]["config"]["embedder"] == embedder
    except (OSError, ValueError, KeyError, TypeError):
        return False
