"""What can be known to fail before the first call, checked before it: in a dry run too, where no key is needed.

What a setting alone decides is checked by its Config, and what a table alone decides by the stage that reads it first.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from caredio import selection, synthesis
from caredio.errors import EndpointError, InputError
from caredio.llm.access import Access
from caredio.llm.client import Endpoint
from caredio.llm.plan import Candidates, is_local
from caredio.llm.spec import Spec
from caredio.selection import embed, engine, represent, validation

_FEWEST = 3  # answers of a culture that a density, or an answer foreseen after another, needs


def writing(config: synthesis.Config, spec: Spec, endpoint: Endpoint, pool: Sequence[Candidates]) -> None:
    """See that candidates can be written as the settings say.

    Args:
        pool: what is to be written.

    Raises:
        InputError: no model uses the address, or the optimisation would have nothing to choose by.
    """
    optimize = config.optimize
    _addressed(spec, endpoint, (optimize.embed.embedder, optimize.held_out))
    if not optimize.optimize_rounds:
        return
    if optimize.objective == "likelihood":
        _likelihoods(spec, endpoint, "--objective likelihood", "--objective embeddings")
        measured = any(represent.most_references(one.rows, one.panel, represent.Config()) > (0, 0) for one in pool)
    else:
        measured = any(one.rows * (1 + one.panel) >= _FEWEST for one in pool)
    if not measured:
        raise InputError(
            f"--optimize-rounds needs {_FEWEST} answers of a culture to compare, and {pool[0].rows} are to be written;"
            " raise --per-topic, name more --topics, or leave the rounds out."
        )


def ranking(config: selection.Config, spec: Spec, endpoint: Endpoint, pool: Sequence[Candidates]) -> None:
    """See that candidates can be scored and ranked as the settings say.

    Args:
        pool: the candidates, written or to be written.

    Raises:
        InputError: a score would be unknown of every row, a package is missing, the validation file is not what was
            wanted or has nothing on a culture, or the budget is more than what is measured.
    """
    measure = config.represent.representativeness
    if config.asks:
        _addressed(spec, endpoint, (config.embed.embedder,))
    if measure == "information":
        _likelihoods(spec, endpoint, "--representativeness information", "--representativeness typicality")
    if config.distinct.distinctiveness == "information":
        _likelihoods(spec, endpoint, "--distinctiveness information", "--distinctiveness cosine")
    if measure == "in_context":
        _in_context(config, pool)
    if config.rank.ranking != "score":
        return
    unknown = {
        "information": all(represent.most_references(one.rows, one.panel, config.represent) == (0, 0) for one in pool),
        "typicality": all(one.rows * (1 + one.panel) < _FEWEST for one in pool),
    }
    if unknown.get(measure):
        raise InputError(
            f"--representativeness {measure} needs {_FEWEST} answers of a culture, and no culture has as many; choose"
            " another measure, or have more questions answered."
        )


def _in_context(config: selection.Config, pool: Sequence[Candidates]) -> None:
    shown = config.represent
    items = validation.read(shown.validation)
    for one in pool:
        validation.of(items, one.culture, shown.validation)
    most = max((one.rows for one in pool), default=0)
    if config.rank.ranking == "score" and min(config.rank.budget, most) > shown.centers:
        raise InputError(
            f"in_context measures at most {shown.centers} rows a culture (--centers), and --budget asks for"
            f" {config.rank.budget} of {most}; raise --centers or lower --budget."
        )


def building(config: selection.Config, spec: Spec, endpoint: Endpoint, where: engine.Config, out: Path) -> None:
    """See that what selection needs is there before candidates are paid for.

    An embedder that made the vectors in `out` is not loaded once more.

    Raises:
        EndpointError: an endpoint needs a key.
        InputError: the embedder cannot be loaded or has no price, or Ray is not installed.
    """
    engine.connect(where)
    if config.embed.embedder == embed.GIVEN:
        raise InputError("embedder is given, but new candidates have no vectors yet; name one that makes them.")
    embed.check(config.embed, endpoint, load=not is_local(spec) and not _embedded_with(out, config.embed.embedder))


def pushing(push: str, release: Path, version: str) -> None:
    """See that a release can go to the Hub before what it holds is made.

    Args:
        push: name of the repository.
        release: the folder that is written first.
        version: its tag.

    Raises:
        InputError: the name is no repository's, there is no token, the folder holds something else, or the version is
            released already.
        EndpointError: the Hub does not take the token for writing.
    """
    from huggingface_hub import get_token

    from caredio.publishing import hub, metadata
    from caredio.publishing.release import RECORD

    metadata.check_repo(push)
    if not get_token():
        raise InputError(f"--push {push} needs a token of the Hub that may write there: export HF_TOKEN.")
    if release.is_dir() and any(release.iterdir()) and not (release / RECORD).exists():
        raise InputError(f"{release}: is not empty and holds no {RECORD}; move it, as the release is written there.")
    hub.foresee(push, "dataset", version, release)


def _addressed(spec: Spec, endpoint: Endpoint, embedders: Sequence[str]) -> None:
    """See that a model uses the address; without --model, the embedded one would be asked instead."""
    if endpoint.base_url and is_local(spec) and not any(name.startswith(embed.ENDPOINT) for name in embedders):
        raise InputError(f"--base-url {endpoint.base_url} is given without --model; name the model that it serves.")


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
            f"{' or leave out --batch' if endpoint.batch and not openai else ''}."
        )


def _embedded_with(out: Path, embedder: str) -> bool:
    try:
        vectors = json.loads((out / "run.json").read_text(encoding="utf-8"))["stages"]["vectors"]
        return vectors["made_from"]["config"]["embedder"] == embedder
    except (OSError, ValueError, KeyError, TypeError):
        return False
