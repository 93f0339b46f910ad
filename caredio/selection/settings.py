"""The settings of a selection, and the objective of synthesis' optimisation."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypedDict

from caredio import settings
from caredio.errors import InputError
from caredio.selection.embedders import GIVEN, MINILM, identity
from caredio.settings import setting

REPRESENTATIVENESS = ("size", "in_context", "information", "typicality", "support", "prevalence")
ASKING = ("in_context", "information")  # those that ask a model
DISTINCTIVENESS = ("cosine", "hybrid", "information", "cci")
ASKING_D = ("information", "cci")
SCORES = ("auto", "product", "sum")
RANKINGS = ["score", "random", "longest", "kcenter", "facility_location", "ifd", "rds"]  # as in rank.py
COVERAGE = ("none", "mmr", "facility", "best_answer")  # as in coverage.py
LINKAGES = ("average", "single")
FEW = 4  # cultures that answers are compared with where each is asked for (seed 001, Eq. 1)
THETA = {  # the similarity above which clusters merge, of embedders that it is known of
    "openai:text-embedding-3-small": 0.7,  # seed 001, 4.3
    "openai:text-embedding-3-large": 0.7,
    MINILM: 0.75,  # what `caredio calibrate` finds on half of the questions of BLEnD
}
WITHOUT_EFFECT = ("THETA", "PAPER")  # theta itself is part of the fingerprint


def _in_context(stage: str, chosen: Settings) -> bool:
    return chosen.representativeness == "in_context"


def _validated(stage: str, chosen: Settings) -> bool:
    return chosen.reads_validation


def _conditioned(stage: str, chosen: Settings) -> bool:
    return stage != "scored" or chosen.representativeness == "information"


def _compares(stage: str, chosen: Settings) -> bool:
    asked_for = stage not in ("candidates", "scored") or (stage == "scored" and chosen.distinctiveness in ASKING_D)
    return not (asked_for and chosen.compared == FEW)  # which is what none stands for there


def _summed(stage: str, chosen: Settings) -> bool:
    return stage != "scored" or chosen.combine == "sum"


def _by_score(stage: str, chosen: Settings) -> bool:
    return chosen.ranking == "score"


def _relevant(stage: str, chosen: Settings) -> bool:
    return chosen.coverage == "mmr" and chosen.ranking == "score"


_TABLE = "table"  # the stage of what describes a table of one's own; it stands in the table's record


@dataclass(frozen=True)
class Settings(settings.Settings):
    """The settings of a selection, by stage."""

    budget: int = setting(1000, "most rows a culture keeps", "scored", everyday=True)
    embedder: str = setting(
        MINILM,
        "sentence-transformers model, by name or folder; openai:MODEL or azure:DEPLOYMENT asks an endpoint; given: the"
        " table's vectors",
        "vectors optimized calibrated grounding",
        counts=identity,
        everyday=True,
    )
    theta: float | None = setting(
        # the similarity that held stands in the record of the stage
        None,
        "similarity above which clusters merge; default: the embedder's",
        "scored",
        counts=False,
        everyday=True,
    )
    representativeness: str = setting(
        "support", "how a sample's centrality is measured", "scored", choices=REPRESENTATIVENESS, everyday=True
    )
    distinctiveness: str = setting(
        "hybrid", "how a response's distance is measured", "scored", choices=DISTINCTIVENESS, everyday=True
    )
    dataset_config: str | None = setting(None, "of a Hub dataset: the config, where it has several", _TABLE)
    split: str = setting("train", "of a Hub dataset: the split", _TABLE)
    revision: str | None = setting(None, "of a Hub dataset: branch, tag or commit", _TABLE)
    question_column: str | None = setting(
        None, "text or chat messages; default: question, prompt, messages or conversations", _TABLE
    )
    response_column: str | None = setting(
        None, "text or chat messages; default: response, completion, messages or conversations", _TABLE
    )
    culture_column: str | None = setting(None, "default: culture", _TABLE)
    id_column: str | None = setting(None, "question ids; default: question_id", _TABLE)
    weight_column: str | None = setting(
        None, "how many people gave a row; default: weight, where there is one, else each row counts once", _TABLE
    )
    match_by: str | None = setting(
        None,
        "what makes two questions the same: their id or their text; default: the id where there is one",
        _TABLE,
        choices=("id", "text"),
    )
    compared: int | None = setting(
        None,
        f"other cultures whose answers distinctiveness compares; default: all that answered, of a table of one's own;"
        f" {FEW} where a model is asked for them",
        "isolated contrasted optimized candidates scored",
        matters=_compares,
    )
    embedding_batch_size: int = setting(64, "texts embedded at once", "vectors optimized grounding", counts=False)
    linkage: str = setting(
        "average", "clusters merge by their mean or by their highest similarity", "scored calibrated", choices=LINKAGES
    )
    references: int = setting(
        8, "information: other answers of the culture it is read on", "scored optimized", matters=_conditioned
    )
    estimates: int = setting(
        3,
        "cci: how often a model estimates how widely a row is shared; the mean counts",
        "scored",
        counts=False,  # where it does, as an argument of the stage
    )
    validation: str | None = setting(
        # its items count
        None,
        "in_context and rds: multiple-choice questions, a csv file as BLEnD's",
        "scored",
        counts=False,
    )
    validation_items: int = setting(
        # the standard error of a share of 100 is at most 0.05
        100,
        "in_context and rds: most questions of a culture that are used",
        "scored",
        matters=_validated,
    )
    centers: int = setting(
        200, "in_context: most centres a culture has measured, largest first", "scored", matters=_in_context
    )
    shots: int = setting(3, "in_context: samples of the cluster that are shown", "scored", matters=_in_context)
    score: str = setting(
        "auto",
        "how r and d combine; auto: product of size or in_context with cosine or hybrid, else sum of z-scores",
        "scored",
        choices=SCORES,
    )
    weight: float = setting(1.0, "weight of distinctiveness in the sum", "scored optimized", matters=_summed)
    ranking: str = setting(
        "score",
        "what rows are ranked by: the score, or a baseline over all rows that can be compared",
        "scored",
        choices=RANKINGS,
    )
    per_question: int | None = setting(
        1, "rows of a question that are taken before another question has as many; none: any number", "scored"
    )
    topic_share: float | None = setting(
        2.0, "most of the rows taken a topic has, as a multiple of its share of all rows; none: any", "scored"
    )
    coverage: str = setting(
        "none",
        "how the order spreads over questions and subjects, besides",
        "scored",
        choices=COVERAGE,
        matters=_by_score,
    )
    coverage_weight: float = setting(
        1.0, "mmr: how much a near question costs, in standard deviations of the score", "scored", matters=_relevant
    )
    lowest: float = setting(0.5, "lowest theta tried", "calibrated")
    highest: float = setting(0.95, "highest theta tried", "calibrated")
    step: float = setting(0.01, "distance between those tried", "calibrated")
    engine: str = setting(
        "local",
        "where to embed, cluster and compare: here, or on Ray's workers",
        "vectors scored calibrated",
        choices=("local", "ray"),
        counts=False,
    )
    seed: int = setting(0, "seed of every draw", "candidates scored optimized", everyday=True)
    prompts: str | None = setting(
        None,
        "folder of prompt files that replace the shipped ones (`caredio prompts`)",
        "scored optimized",
        counts=False,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in (
            "budget",
            "compared",
            "per_question",
            "embedding_batch_size",
            "references",
            "estimates",
            "validation_items",
            "centers",
            "shots",
        ):
            if (value := getattr(self, name)) is not None and value < 1:
                raise InputError(f"{name} is {value}; it must be at least 1.")
        if self.theta is not None and not -1 <= self.theta <= 1:
            raise InputError(f"theta is {self.theta}; use a cosine similarity up to 1, or leave it to the embedder.")
        if not 0 <= self.weight < math.inf:
            raise InputError(f"weight is {self.weight}; use a number from 0 on.")
        if not 0 <= self.coverage_weight < math.inf:
            raise InputError(f"coverage_weight is {self.coverage_weight}; use a number from 0 on.")
        if self.topic_share is not None and self.topic_share < 1:
            raise InputError(f"topic_share is {self.topic_share}; use a number from 1 on, which is each topic's share.")
        if self.coverage != "none" and self.ranking != "score":
            raise InputError(
                f"coverage {self.coverage} spreads rows by score, and ranking is {self.ranking}; drop one."
            )
        if not -1 <= self.lowest < self.highest <= 1 or self.step <= 0:
            raise InputError("theta is tried from lowest to highest, -1 to 1, in steps above 0.")
        if self.representativeness == "in_context" and not self.validation:
            raise InputError("in_context needs questions with known answers: name a file as validation.")
        if self.ranking == "rds" and not self.validation:
            raise InputError("ranking rds selects by questions with known answers: name a file as validation.")
        if self.ranking == "rds" and self.embedder == GIVEN:
            raise InputError("ranking rds embeds questions with known answers, and embedder is given; name one.")
        if self.match_by == "text" and self.id_column:
            raise InputError("id_column says to match by id and match_by by text; give one of them.")
        if self.score == "product" and not _are_shares(self.representativeness, self.distinctiveness):
            raise InputError(
                "a product of scores that can be negative ranks nothing; of representativeness size and in_context, and"
                " of distinctiveness cosine and hybrid, have a product; the others need the score sum."
            )

    @property
    def asks(self) -> bool:
        """Whether scoring asks a model."""
        return self.representativeness in ASKING or self.distinctiveness == "cci" or self.measures_likelihood

    @property
    def reads_validation(self) -> bool:
        """Whether scoring reads questions with known answers."""
        return self.representativeness == "in_context" or self.ranking == "rds"

    @property
    def asked_for(self) -> int:
        """How many other cultures a model is asked about: for their answers, or how a response fits them."""
        return FEW if self.compared is None else self.compared

    @property
    def most_compared(self) -> int | None:
        """How many other cultures a response's distinctiveness is over, at most; None: all."""
        return self.asked_for if self.distinctiveness in ASKING_D else self.compared

    @property
    def measures_likelihood(self) -> bool:
        """Whether scoring reads a model's log-probabilities."""
        return "information" in (self.representativeness, self.distinctiveness) or self.ranking == "ifd"

    @property
    def combine(self) -> str:
        """`product` or `sum`: the former where both scores are shares of something, as in seed 001."""
        return combined(self.score, self.representativeness, self.distinctiveness)


def threshold(chosen: Settings) -> float:
    """The theta that was chosen, or that of the embedder.

    Raises:
        InputError: none is known of the embedder and none was given.
    """
    if chosen.theta is not None:
        return chosen.theta
    if chosen.embedder not in THETA:
        raise InputError(
            f"no theta is known for embedder {chosen.embedder!r}; `caredio calibrate` finds one, or give one as theta,"
            " the cosine from which two samples are of one cluster."
        )
    return THETA[chosen.embedder]


def combined(score: str, representativeness: str, distinctiveness: str) -> str:
    """How r and d combine, as `Settings.combine`."""
    if score != "auto":
        return score
    return "product" if _are_shares(representativeness, distinctiveness) else "sum"


def _are_shares(representativeness: str, distinctiveness: str) -> bool:
    return representativeness in ("size", "in_context") and distinctiveness in ("cosine", "hybrid")


class Objective(TypedDict, total=False):
    """Those of the `Settings` that a synthesis takes too, as named parameters."""

    embedder: str
    embedding_batch_size: int
    compared: int | None
    references: int
    weight: float


class Ranking(Objective, total=False):
    """Those of the `Settings` by which candidates are ranked, as named parameters."""

    budget: int
    theta: float | None
    representativeness: str
    distinctiveness: str
    linkage: str
    estimates: int
    validation: str | None
    validation_items: int
    centers: int
    shots: int
    score: str
    ranking: str
    per_question: int | None
    topic_share: float | None
    coverage: str
    coverage_weight: float
    engine: str


class Reading(TypedDict, total=False):
    """Those of the `Settings` that describe a table of one's own, as named parameters."""

    dataset_config: str | None
    split: str
    revision: str | None
    question_column: str | None
    response_column: str | None
    culture_column: str | None
    id_column: str | None
    weight_column: str | None
    match_by: str | None


class Calibrating(Reading, total=False):
    """Those of the `Settings` that a calibration takes, as named parameters."""

    embedder: str
    embedding_batch_size: int
    compared: int | None
    linkage: str
    lowest: float
    highest: float
    step: float
    engine: str


PAPER: Ranking = {  # 3.3 and Eq. 1 of the paper; theta is the embedder's
    "representativeness": "size",
    "distinctiveness": "cosine",
    "score": "product",
    "compared": FEW,
    "per_question": None,
    "topic_share": None,
    "coverage": "none",
}
