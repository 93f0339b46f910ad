"""Who answers a benchmark: a model, perhaps with adapters or a part to play, asked by lm-eval's HF backend."""

from __future__ import annotations

import logging
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from caredio import checkpoints, packages, progress, prompts
from caredio.cultures import Culture
from caredio.errors import InputError
from caredio.evaluation import tasks
from caredio.evaluation.benchmark import Benchmark, named
from caredio.prompts import Prompt

log = logging.getLogger("caredio")

BASELINES = ("chance", "fixed letter", "always False", "uniform")  # of kinds of documents
_LEFT_OUT, _FOR = ": left out", " for "  # of a note
_PROMPT = {"role": "user", "content": "?"}


@dataclass(frozen=True)
class System:
    """A model under a name; every number it gets is of questions on one culture."""

    name: str
    model: str | Mapping[str, str]  # folder or Hub id that `from_pretrained` loads, or one for each culture
    adapter: Mapping[str, str] | None = None  # culture -> folder of the PEFT adapter to put on the model
    role_play: bool = False  # a system message, or else the user's turn, tells it which culture it speaks for

    def __post_init__(self) -> None:
        if self.name == "" or self.name in BASELINES:
            raise InputError(f"a system cannot be called {self.name!r}; name it otherwise.")
        for culture, folder in (self.adapter or {}).items():
            if not checkpoints.is_adapter(Path(folder)):
                raise InputError(f"{folder}: holds no adapter_config.json, so it is no adapter for {culture!r}.")


class Subject(NamedTuple):
    """A system as it answers the questions on one culture."""

    system: str
    culture: Culture
    model: str
    adapter: str | None
    tokenizer: str  # folder or Hub id: the adapter's own where it has one
    instruction: str | None  # the system message; it leads the question where the chat template takes none


class Measurement(NamedTuple):
    """What a subject is asked: a benchmark in one of its variants."""

    subject: Subject
    benchmark: Benchmark
    variant: str

    @property
    def column(self) -> str:
        """What the results call the benchmark in this variant."""
        return named(self.benchmark.name, self.variant)

    @property
    def task(self) -> str:
        """lm-eval's name of it; the part to play is the system message of the evaluation, not of the task."""
        return tasks.name(self.benchmark.name, self.variant, self.subject.culture.slug)


def installed() -> None:
    """See that what evaluates is there.

    Raises:
        InputError: a package is missing.
    """
    packages.require("evaluation", "eval", "lm_eval", "accelerate", "peft")
    packages.quiet_transformers()


def trained(folder: Path, base: str, cultures: Sequence[str]) -> System:
    """What recipes left in a folder as the system `trained`: one model, one adapter, or one of either a culture.

    Args:
        folder: holds the model or the adapter, or a folder of one for a culture: `folder/china/`.
        base: model that adapters are put on.
        cultures: slugs that are asked about.

    Raises:
        InputError: nothing of the kind is there, or nothing for these cultures.
    """
    if not folder.is_dir():
        raise InputError(
            f"{folder}: is no folder; name one that a recipe wrote (its --output_dir), or one that holds such folders"
            " by culture."
        )
    if checkpoints.is_adapter(folder):
        return System("trained", base, dict.fromkeys(cultures, str(folder)))
    if (folder / checkpoints.CONFIG).is_file():
        return System("trained", str(folder))
    places = {
        place.name: place
        for place in sorted(folder.iterdir())
        if checkpoints.is_adapter(place) or (place / checkpoints.CONFIG).is_file()
    }
    if not places:
        raise InputError(f"{folder}: holds no trained model and no folder of one for a culture, such as china/.")
    if not set(places) & set(cultures):
        raise InputError(
            f"{folder}: holds {', '.join(places)}, and nothing for {', '.join(cultures)}; each model lies in a folder "
            "called like its culture."
        )
    adapters = {culture: str(place) for culture, place in places.items() if checkpoints.is_adapter(place)}
    models = {culture: base if culture in adapters else str(place) for culture, place in places.items()}
    return System("trained", models, adapters)


def subjects(
    systems: Sequence[System], cultures: Sequence[Culture], prompt_folders: str | None = None
) -> tuple[list[Subject], list[str]]:
    """Who can be asked about what, and a sentence on each system that is left out, wholly or for some cultures,
    or whose part to play leads the question as the chat template takes no system message.

    Configurations, tokenizers, chat templates and the headers of weights are read here, no weights.

    Args:
        prompt_folders: whose `systems.txt` tells a model its part.

    Raises:
        InputError: there is no system, a name is used twice, a model, tokenizer or adapter cannot be used, or nobody
            can be asked.
    """
    names = [system.name for system in systems]
    if not names:
        raise InputError("no system was given; give one or more to evaluate.")
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise InputError(f"two systems are called {twice!r}; give each its own name.")
    found: list[Subject] = []
    reasons: dict[str, None] = {}
    notes: list[str] = []
    checks, role_play = _Checks(), prompts.load("systems", prompt_folders)
    for system in systems:
        lacking: dict[str, list[str]] = {}
        for culture in cultures:
            subject = _subject(system, culture, role_play)
            if reason := checks.reason(subject) if subject else "no model for the culture was given":
                lacking.setdefault(reason, []).append(culture.slug)
            elif subject:
                found.append(subject)
        reasons |= dict.fromkeys(lacking)
        for reason, slugs in lacking.items():
            where = "" if len(slugs) == len(cultures) else f"{_FOR}{', '.join(slugs)}"
            notes.append(f"{system.name}{_LEFT_OUT}{where}: {reason}.")
        notes += [
            f"{system.name}: the chat template of {source!r} takes no system message; its part leads the question."
            for source in checks.without_system([subject for subject in found if subject.system == system.name])
        ]
    if not found:
        raise InputError(f"nothing can be measured: {'; '.join(reasons)}.")
    return found, notes


def still_left_out(note: str, measured: Container[tuple[str, str]]) -> str:
    """A note of `subjects` without the cultures that were measured all the same; empty where none is left.

    Args:
        measured: systems, each with the slug of a culture.
    """
    system, found, rest = note.partition(f"{_LEFT_OUT}{_FOR}")
    if not found:
        return note
    slugs, _, reason = rest.partition(": ")
    left = [slug for slug in slugs.split(", ") if (system, slug) not in measured]
    return f"{system}{found}{', '.join(left)}: {reason}" if left else ""


def _subject(system: System, culture: Culture, role_play: Prompt) -> Subject | None:
    """The system on a culture; None where it has nothing for it."""
    one_each = not isinstance(system.model, str)
    model = system.model.get(culture.slug) if isinstance(system.model, Mapping) else system.model
    adapter = (system.adapter or {}).get(culture.slug)
    if model is None or (system.adapter is not None and adapter is None and not one_each):
        return None
    tokenizer = adapter if adapter and checkpoints.has_tokenizer(Path(adapter)) else model
    instruction = role_play.part("system", adjective=culture.adjective) if system.role_play else None
    return Subject(system.name, culture, model, adapter, tokenizer, instruction)


class _Checks:
    """What models, adapters and tokenizers lack, each looked at once."""

    def __init__(self) -> None:
        self._config = cache(checkpoints.check_model)
        self._tokenizer = cache(checkpoints.load_tokenizer)
        self._adapter = cache(lambda adapter, model: checkpoints.check_adapter(adapter, model, self._config(model)))
        self._takes_system = cache(lambda source: checkpoints.takes_system(self._tokenizer(source)))

    def reason(self, subject: Subject) -> str:
        """Why the subject cannot be asked; empty when it can.

        Raises:
            InputError: a path is wrong.
        """
        self._config(subject.model)
        if subject.adapter:
            self._adapter(subject.adapter, subject.model)
        tokenizer = self._tokenizer(subject.tokenizer)
        checkpoints.check_vocabulary(tokenizer, self._config(subject.model), subject.tokenizer)
        if tokenizer.chat_template is None:
            return (
                f"{subject.tokenizer!r} has no chat template; give a model that follows instructions, or put a "
                "chat_template.jinja beside its tokenizer"
            )
        if why := checkpoints.refusal(tokenizer, [_PROMPT]):
            return f"the chat template of {subject.tokenizer!r} takes no question ({why})"
        return ""

    def without_system(self, subjects: Sequence[Subject]) -> list[str]:
        """The tokenizers, among those of subjects with a part to play, whose templates take no system message."""
        sources = dict.fromkeys(subject.tokenizer for subject in subjects if subject.instruction)
        return [source for source in sources if not self._takes_system(source)]


class Loader:
    """Models in the checkpoint's own precision, one at a time in memory."""

    def __init__(self, device: str = "") -> None:
        """Raises: InputError: there is no such device."""
        import torch

        self.device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        try:
            torch.empty(0, device=self.device)
        except (RuntimeError, AssertionError) as error:
            raise InputError(f"device is {device!r}, which cannot be used ({checkpoints.one_line(error)}).") from None
        self._name, self._model = "", None

    def model(self, name: str) -> Any:
        """The model that `from_pretrained` loads by this name.

        Raises:
            InputError: it cannot be loaded.
        """
        from transformers import AutoModelForCausalLM

        if name != self._name:
            self._name, self._model = "", None  # its memory is given back before the next one is read
            try:
                loaded: Any = AutoModelForCausalLM.from_pretrained(name, dtype="auto")
                self._model = loaded.to(self.device).eval()
            except checkpoints.REFUSED as error:
                raise InputError(f"model {name!r} cannot be loaded ({checkpoints.one_line(error)}).") from None
            self._name = name
        return self._model


def answered(
    asked: Mapping[Measurement, str],
    loader: Loader,
    folder: Path,
    files: Mapping[str, str],
    limit: int,
    batch_size: int,
) -> dict[Measurement, dict[str, Any]]:
    """What lm-eval tells of each measurement, its samples included, as if it had been asked alone.

    Args:
        asked: the measurements, and what each is called while it is made.
        folder: of the tasks.
        files: source -> where its data lies.
        limit: questions of each task, 0 for all.

    Raises:
        InputError: a model cannot be loaded, or its memory does not last.
    """
    groups: dict[tuple[str, str, str, str], list[Measurement]] = {}
    for one in asked:
        subject = one.subject
        key = (subject.model, subject.adapter or "", subject.tokenizer, subject.instruction or "")
        groups.setdefault(key, []).append(one)
    found = {}
    for (model, adapter, source, instruction), group in groups.items():
        tokenizer = checkpoints.load_tokenizer(source)
        titles = {one.task: asked[one] for one in group}
        with with_adapter(loader.model(model), adapter) as adapted:
            how = (instruction, folder, files, limit, batch_size)
            try:
                results = _measured(titles, adapted, tokenizer, *how)
            except InputError as error:
                raise InputError(f"{group[0].subject.system}, {adapter or model}: {error}") from None
        for one in group:
            found[one] = {
                name: {one.task: value[one.task]} if isinstance(value, dict) and one.task in value else value
                for name, value in results.items()
            }
    return found


def _measured(
    titles: Mapping[str, str],
    model: Any,
    tokenizer: Any,
    instruction: str,
    folder: Path,
    files: Mapping[str, str],
    limit: int,
    batch_size: int,
) -> dict[str, Any]:
    """What lm-eval tells of tasks, each with what it is called while it is asked."""
    import torch
    from lm_eval import evaluate
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    class InUserTurn(HFLM):  # which drops a system message that the template refuses
        def apply_chat_template(self, chat_history: Any, add_generation_prompt: bool = True) -> str:
            chat = checkpoints.system_in_user_turn(chat_history)
            return str(super().apply_chat_template(chat, add_generation_prompt))

    manager = TaskManager(include_path=[folder], include_defaults=False, metadata=dict(files))
    marked = tokenizer.bos_token_id is not None or tokenizer.eos_token_id is not None
    prefix = None if marked else 0  # lm-eval decodes it, to see whether a prompt begins with it
    kind = InUserTurn if instruction and not checkpoints.takes_system(tokenizer) else HFLM
    asked = kind(pretrained=model, tokenizer=tokenizer, batch_size=batch_size, prefix_token_id=prefix)
    try:
        # without what simple_evaluate adds: it asks git, whose "fatal" a user would read, and lists the machine
        with _one_bar(asked, titles):
            results: Any = evaluate(
                lm=asked,
                task_dict=manager.load(list(titles)),
                limit=limit or None,
                bootstrap_iters=0,
                log_samples=True,
                system_instruction=instruction or None,
                apply_chat_template=True,
            )
    except torch.OutOfMemoryError:
        raise InputError(
            f"the device's memory does not last for batch_size {batch_size}; give a smaller one."
        ) from None
    return dict(results)


class _Answers(NamedTuple):
    """What lm-eval tells of each answer."""

    answered: Callable[[], None]

    def add_partial(self, method: str, request: object, answer: object) -> None:
        self.answered()


class _Lengths(NamedTuple):
    """The tokens of a request, as an lm-eval model counts them, and what of it has no room."""

    prompt: int
    after: int  # what is to be found likely, or how much may be written
    context: int

    @property
    def cut(self) -> bool:
        """Whether the beginning of the prompt is dropped."""
        return self.prompt + self.after > self.context

    @property
    def lost(self) -> bool:
        """Whether nothing of the prompt is read, or not all of what is to follow it."""
        return self.after >= self.context


def _lengths(model: Any, asked: tuple[Any, ...]) -> _Lengths:
    prompt, after = asked
    if isinstance(after, dict):
        tokens, room = after["max_gen_toks"], model.max_length
    else:
        tokens, room = len(after.encode()), model.max_length + 1  # the last token is not read
    if len(prompt.encode()) + tokens < room:  # a token is a byte or more, but for one that begins
        return _Lengths(len(prompt.encode()), tokens, room)
    if isinstance(after, dict):
        return _Lengths(len(model.tok_encode(prompt)), tokens, room)
    first, second = model._encode_pair(prompt, after)
    return _Lengths(len(first), len(second), room)


def _check_lengths(model: Any, requests: Sequence[Any], title: str) -> None:
    """See that a model's context holds what lm-eval asks of a task; warns of prompts that lose their beginning.

    lm-eval drops the beginning of a prompt that is too long, and stops where nothing of it would be left.

    Raises:
        InputError: nothing would be left of a prompt.
    """
    lengths = [(one, _lengths(model, one.args)) for one in requests]
    for one, length in lengths:
        if length.lost:
            what = "reply may be" if isinstance(one.args[1], dict) else "answer is"
            raise InputError(
                f"{one.task_name}, question {one.doc.get('id', one.doc_id)!r}: the {what} {length.after} tokens long,"
                f" which leaves no room for the question in the model's context of {model.max_length} tokens; leave"
                " the benchmark out, or give a model with a longer context."
            )
    cut = [(one, length) for one, length in lengths if length.cut]
    if cut:
        longest, length = max(cut, key=lambda found: found[1].prompt + found[1].after)
        log.warning(
            "%s: %d of %d questions are longer than the model's context of %d tokens and lose their beginning"
            " (%r has %d).",
            title,
            len({one.doc_id for one, _ in cut}),
            len({one.doc_id for one in requests}),
            model.max_length,
            longest.doc.get("id", longest.doc_id),
            length.prompt + length.after,
        )


@contextmanager
def _one_bar(model: Any, titles: Mapping[str, str]) -> Iterator[None]:
    """Until the block ends, the questions that an lm-eval model answers count in this package's bar, not in lm-eval's,
    and tasks are asked one after the other.

    lm-eval's bar of the prompts that it makes has no switch.
    """
    import torch
    from lm_eval.api import task as prompting

    bar = prompting.tqdm

    def counted(ask: Callable[..., list[Any]]) -> Callable[[list[Any]], list[Any]]:
        def asking(requests: list[Any]) -> list[Any]:
            places: dict[str, list[int]] = {}
            for place, one in enumerate(requests):
                places.setdefault(one.task_name, []).append(place)
            tasks = {task: [requests[place] for place in own] for task, own in places.items()}
            for task, own in tasks.items():
                _check_lengths(model, own, titles[task])
            answers: dict[int, Any] = {}
            for task, own in tasks.items():
                progress.tell(titles[task])
                torch.manual_seed(0)  # of answers that are drawn
                questions = len({one.doc_id for one in own})
                with progress.asking(titles[task], len(own), questions, "questions") as answered:
                    model.set_cache_hook(_Answers(answered))
                    answers |= zip(places[task], ask(own, disable_tqdm=True), strict=True)
            return [answers[place] for place in range(len(requests))]

        return asking

    model.loglikelihood, model.generate_until = counted(model.loglikelihood), counted(model.generate_until)
    model._model_generate = _counting_tokens(model._model_generate)
    prompting.tqdm = lambda docs, **_: docs
    try:
        yield
    finally:
        prompting.tqdm = bar


def _counting_tokens(generate: Callable[..., Any]) -> Callable[..., Any]:
    """`generate` of an lm-eval model, whose bar says how far the replies are that are being written."""

    def counting(context: Any, max_length: int, **how: Any) -> Any:
        room = max_length - context.shape[1]

        def count(tokens: Any, scores: Any) -> Any:
            progress.detail(f"token {tokens.shape[1] - context.shape[1] + 1} of {room}")
            return scores

        return generate(context=context, max_length=max_length, logits_processor=[count], **how)

    return counting


@contextmanager
def with_adapter(model: Any, adapter: str) -> Iterator[Any]:
    """The model with the adapter on, which comes off again; without one, the model.

    Raises:
        InputError: the adapter was made for another kind of model.
    """
    if not adapter:
        yield model
        return
    from peft import PeftModel

    try:
        with packages.quiet_peft():
            adapted: Any = PeftModel.from_pretrained(model, adapter)
    except checkpoints.REFUSED as error:
        raise InputError(f"{adapter}: cannot be put on the model ({checkpoints.one_line(error)}).") from None
    try:
        yield adapted.eval()
    finally:
        adapted.unload()
