"""Who answers a benchmark: a model, perhaps with adapters or a part to play, asked by lm-eval's HF backend."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from caredio import fingerprints
from caredio.cultures import Culture
from caredio.errors import InputError
from caredio.evaluation import tasks_path

BENCHMARKS = ("culturalbench_easy", "culturalbench_hard")
BASELINE = "baseline"  # the name no system may bear
ROLE_PLAY = (
    "You speak as a member of {adjective} society: you grew up in it, live in it, and know its values, norms and "
    "customs from the inside. Answer every question as such a person would."
)


def _adapters(adapter: Mapping[str, str] | None) -> dict[str, str]:
    """What of adapters changes results: their contents, by culture."""
    return {culture: fingerprints.contents(Path(folder)) for culture, folder in (adapter or {}).items()}


@dataclass(frozen=True)
class System:
    """A model under a name; every number it gets is of questions on one culture."""

    name: str
    model: str = field(metadata={"counts": fingerprints.model})  # folder or Hub id that `from_pretrained` loads
    # culture -> folder of the PEFT adapter to put on the model
    adapter: Mapping[str, str] | None = field(default=None, metadata={"counts": _adapters})
    role_play: bool = False  # a system message tells it which culture it speaks for

    def __post_init__(self) -> None:
        if self.name in ("", BASELINE):
            raise InputError(f"a system cannot be called {self.name!r}; name it otherwise.")
        for culture, folder in (self.adapter or {}).items():
            if not (Path(folder) / "adapter_config.json").is_file():
                raise InputError(f"{folder}: holds no adapter_config.json, so it is no adapter for {culture!r}.")


class Loaded(NamedTuple):
    """A model in memory."""

    model: Any
    tokenizer: Any


def task(benchmark: str, culture: str) -> str:
    """lm-eval's name of a benchmark's questions on a culture."""
    return f"caredio_{benchmark}_{culture}"


def check(systems: Sequence[System], cultures: Sequence[Culture]) -> None:
    """See that lm-eval is there and that the systems can answer for the cultures.

    Raises:
        InputError: a package is missing, there is no system, a name is used twice, or an adapter is missing.
    """
    for package in ("lm_eval", "accelerate", "peft"):
        if find_spec(package) is None:
            raise InputError(f"evaluation needs {package}, which is not installed: pip install 'caredio[eval]'.")
    names = [system.name for system in systems]
    if not names:
        raise InputError("no system was given; give one or more to evaluate.")
    for system in systems:
        if names.count(system.name) > 1:
            raise InputError(f"two systems are called {system.name!r}; give each its own name.")
        if system.adapter is not None:
            lacking = [culture.slug for culture in cultures if culture.slug not in system.adapter]
            if lacking:
                raise InputError(f"system {system.name!r} has no adapter for {', '.join(lacking)}.")


def load(model: str, device: str = "") -> Loaded:
    """A model and its tokenizer, in the checkpoint's own precision, on `device` (CUDA where there is one when empty).

    Raises:
        InputError: it cannot be loaded, or has no chat template.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    try:
        tokenizer: Any = AutoTokenizer.from_pretrained(model)
        loaded: Any = AutoModelForCausalLM.from_pretrained(model, dtype="auto")
        loaded.to(device or ("cuda" if torch.cuda.is_available() else "cpu")).eval()
    except (OSError, ValueError, RuntimeError) as error:
        raise InputError(f"model {model!r} cannot be loaded ({str(error).splitlines()[0]}).") from None
    if tokenizer.chat_template is None:
        raise InputError(f"model {model!r} has no chat template; give one that follows instructions.")
    return Loaded(loaded, tokenizer)


def scores(
    system: System, loaded: Loaded, cultures: Sequence[Culture], file: Path, limit: int, batch_size: int
) -> dict[str, dict[str, Any]]:
    """lm-eval's numbers by task: `{"caredio_culturalbench_easy_china": {"acc,none": 0.25, "sample_len": 59, ...}}`.

    Args:
        file: CulturalBench's CSV.
        limit: questions of each task, 0 for all.

    Raises:
        InputError: a part is to be played and the model's chat template takes no system message, or an adapter does
            not fit.
    """
    from lm_eval import evaluate
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    manager = TaskManager(
        include_path=[tasks_path()], include_defaults=False, metadata={"culturalbench": str(file.absolute())}
    )
    found: dict[str, dict[str, Any]] = {}
    for instruction, adapter, group in _turns(system, loaded, cultures):
        with _wearing(loaded.model, adapter) as model:
            # without what simple_evaluate adds: it asks git, whose "fatal" a user would read, and lists the machine
            results: Any = evaluate(
                lm=HFLM(pretrained=model, tokenizer=loaded.tokenizer, batch_size=batch_size),
                task_dict=manager.load(
                    [task(benchmark, culture.slug) for culture in group for benchmark in BENCHMARKS]
                ),
                limit=limit or None,
                bootstrap_iters=0,
                log_samples=False,
                system_instruction=instruction,
                apply_chat_template=True,
            )
            found |= results["results"]
    return found


def _turns(
    system: System, loaded: Loaded, cultures: Sequence[Culture]
) -> Iterator[tuple[str | None, str | None, Sequence[Culture]]]:
    """(system message, adapter folder, cultures asked about with both)."""
    if not system.role_play and system.adapter is None:
        yield None, None, cultures
        return
    for culture in cultures:
        instruction = ROLE_PLAY.format(adjective=culture.adjective) if system.role_play else None
        if instruction and not _hears(loaded.tokenizer, instruction):
            raise InputError(f"the chat template of {system.model!r} takes no system message, so it cannot role-play.")
        yield instruction, system.adapter[culture.slug] if system.adapter else None, [culture]


def _hears(tokenizer: Any, instruction: str) -> bool:
    """Whether a system message reaches the model; lm-eval would leave one that is refused out without a word."""
    from jinja2.exceptions import TemplateError

    messages = [{"role": "system", "content": instruction}, {"role": "user", "content": "?"}]
    try:
        return instruction in tokenizer.apply_chat_template(messages, tokenize=False)
    except TemplateError:
        return False


@contextmanager
def _wearing(model: Any, adapter: str | None) -> Iterator[Any]:
    """The model with the adapter on, which comes off again.

    Raises:
        InputError: the adapter was made for another kind of model.
    """
    if adapter is None:
        yield model
        return
    from peft import PeftModel

    try:
        adapted: Any = PeftModel.from_pretrained(model, adapter)
    except (OSError, ValueError, RuntimeError) as error:
        raise InputError(f"{adapter}: cannot be put on the model ({str(error).splitlines()[0]}).") from None
    try:
        yield adapted.eval()
    finally:
        adapted.unload()
