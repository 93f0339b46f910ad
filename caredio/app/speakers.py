"""Who answers on the page: a model as it is, asked to play the part, and trained; on this machine or behind an API."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from caredio import checkpoints, packages, prompts
from caredio.cultures import Culture
from caredio.errors import InputError
from caredio.evaluation import systems
from caredio.llm.limits import CallFailed
from caredio.llm.model import connect, start
from caredio.llm.settings import Endpoint
from caredio.llm.spec import Chat, Spec
from caredio.training import export

RAW, ROLE_PLAY, TRAINED = "raw", "role-play", "trained"
LONGEST = 256  # tokens of an answer
_ENDED = "(the model ended at once)"


class Speakers(Protocol):
    """What the page asks.

    Attributes:
        cultures: those that can be asked as, by slug.
        names: of the systems, in the order they answer.
        notes: sentences on what is left out.
    """

    cultures: Mapping[str, Culture]
    names: tuple[str, ...]
    notes: tuple[str, ...]

    def answer(self, name: str, culture: str, question: str) -> str:
        """What a system answers, greedily.

        Raises:
            CaredioError: it cannot.
        """


class Local:
    """Weights on this machine: one model in memory, on which an adapter is put for its answers."""

    def __init__(self, base: str, trained: Path | None, cultures: Iterable[Culture], longest: int = LONGEST) -> None:
        """Read configurations, tokenizers and headers of weights; weights are loaded by the first question.

        Args:
            base: folder or Hub id.
            trained: an adapter or a model, or a folder of one a culture.

        Raises:
            InputError: a model, a tokenizer or an adapter cannot be used, or there is none of these cultures.
        """
        packages.require("talking to a model", "train", "torch", "transformers", "peft")
        packages.quiet_transformers()
        asked = list(cultures)
        arms = [systems.System(RAW, base), systems.System(ROLE_PLAY, base, role_play=True)]
        if trained:
            arms.append(systems.trained(trained, base, [culture.slug for culture in asked]))
        found, notes = systems.subjects(arms, asked)
        self.subjects = {(subject.system, subject.culture.slug): subject for subject in found}
        self.cultures: Mapping[str, Culture] = {culture.slug: culture for culture in asked}
        self.names, self.notes, self.longest = tuple(arm.name for arm in arms), tuple(notes), longest
        self._loader, self._one = systems.Loader(), threading.Lock()

    def answer(self, name: str, culture: str, question: str) -> str:
        """What a system answers."""
        import torch

        if (subject := self.subjects.get((name, culture))) is None:
            return f"({name}: no model for {self.cultures[culture].name})"
        tokenizer = checkpoints.load_tokenizer(subject.tokenizer)
        chat = _chat(subject.instruction, question)
        if not checkpoints.takes_system(tokenizer):
            chat = [dict(turn) for turn in checkpoints.system_in_user_turn(chat)]
        inputs = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_tensors="pt", return_dict=True)
        with self._one, systems.with_adapter(self._loader.model(subject.model), subject.adapter or "") as model:
            inputs = inputs.to(model.device)
            with torch.inference_mode():
                tokens: Any = model.generate(
                    **inputs, max_new_tokens=self.longest, do_sample=False, pad_token_id=tokenizer.pad_token_id or 0
                )
        written = tokenizer.decode(tokens[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
        return written.strip() or _ENDED


class Remote:
    """A model behind an API, and what was tuned of it there."""

    def __init__(self, spec: Spec, endpoint: Endpoint, trained: Path | None, cultures: Iterable[Culture]) -> None:
        """See which models are asked; nothing is sent.

        Args:
            trained: folder that `caredio finetune` or `caredio export --adapter` left, or one of one a culture.

        Raises:
            CaredioError: `trained` names no model, or the endpoint cannot be used.
        """
        self.cultures: Mapping[str, Culture] = {culture.slug: culture for culture in cultures}
        self._part = prompts.load("systems")
        self._spec = replace(spec, temperature=0.0, max_tokens=min(spec.max_tokens, LONGEST))
        self._endpoint = endpoint
        self._tuned = {slug: name for slug in self.cultures if (name := _tuned(trained, slug))} if trained else {}
        if trained and not self._tuned:
            raise InputError(
                f"{trained}: names no model that {spec.model!r}'s endpoint serves; give a folder that `caredio"
                " finetune` or `caredio export --adapter` left, or weights without base_url."
            )
        self.names = (RAW, ROLE_PLAY, *([TRAINED] if trained else []))
        self.notes: tuple[str, ...] = ()
        self._models = {name: connect(replace(self._spec, model=name), endpoint) for name in self._asked()}

    def answer(self, name: str, culture: str, question: str) -> str:
        """What a system answers; one that was given is not asked for again."""
        model = self._tuned.get(culture) if name == TRAINED else self._spec.model
        if model is None:
            return f"({name}: no model for {self.cultures[culture].name})"
        part = self._part.part("system", adjective=self.cultures[culture].adjective) if name == ROLE_PLAY else None
        try:
            found = start(self._models[model].complete(Chat(_chat(part, question)))).result()
        except CallFailed as error:
            raise InputError(f"{model}: gave no answer ({error}).") from None
        return found.text.strip() or _ENDED

    def _asked(self) -> list[str]:
        return list(dict.fromkeys([self._spec.model, *self._tuned.values()]))


def _chat(instruction: str | None, question: str) -> list[dict[str, str]]:
    system = [{"role": "system", "content": instruction}] if instruction else []
    return [*system, {"role": "user", "content": question}]


def _tuned(trained: Path, culture: str) -> str | None:
    """The endpoint's name of what was trained for a culture; None where there is none."""
    for place in (trained / culture, trained):
        try:
            if (file := place / checkpoints.TUNED).is_file():
                job = json.loads(file.read_text(encoding="utf-8")).get("job") or {}
                return job.get("fine_tuned_model")
            if (file := place / export.RECORD).is_file():  # which vLLM serves by the folder's name
                return place.name if json.loads(file.read_text(encoding="utf-8"))["kind"] == "adapter" else None
        except (ValueError, KeyError, AttributeError):
            raise InputError(f"{file}: is damaged; make it again.") from None
    return None
