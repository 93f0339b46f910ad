"""A model, an adapter or a tokenizer as files: which they are, their hashes, and what they lack.

Everything here is read before any weights are loaded, so that a mistake is one sentence before time is spent.
"""

from __future__ import annotations

import copy
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from huggingface_hub.errors import StrictDataclassError

from caredio import contents
from caredio.errors import InputError

RECORD = "training.json"  # what a recipe leaves beside the weights
TUNED = "finetune.json"  # what is left of a model that an API keeps
ADAPTER = "adapter_config.json"
CONFIG = "config.json"
STATE = "trainer_state.json"  # what the Trainer writes last into a checkpoint that it can go on from
_STEPS = re.compile(r"checkpoint-([0-9]+)")
_INDEX = "model.safetensors.index.json"
# The first kind that is there is what `from_pretrained` reads.
_WEIGHTS = (("model*.safetensors", _INDEX, "adapter_model.safetensors"), ("pytorch_model*.bin*", "adapter_model.bin"))
_VOCABULARY = (("tokenizer.json",), ("tokenizer.model", "*.spm", "vocab.*", "merges.txt", "*.tiktoken"))
_SCORES = "is a preference model: it scores answers and writes none; name one that another recipe made."
_TOKENIZER = ("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "chat_template.*")
# what a wrong file leads to in transformers and PEFT
REFUSED = (OSError, ValueError, RuntimeError, KeyError, TypeError, AttributeError, StrictDataclassError)


def is_whole(checkpoint: Path) -> bool:
    """Whether the Trainer wrote a checkpoint to its end, not killed as it did."""
    try:
        json.loads((checkpoint / STATE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return True


def last(folder: Path) -> Path | None:
    """The whole checkpoint of most steps, `checkpoint-STEPS`, among those that the Trainer left in its output."""
    found = [(int(name[1]), place) for place in folder.iterdir() if (name := _STEPS.fullmatch(place.name))]
    return next((place for _, place in sorted(found, reverse=True) if is_whole(place)), None)


def is_adapter(folder: Path) -> bool:
    """Whether a folder holds an adapter."""
    return (folder / ADAPTER).is_file()


def has_tokenizer(folder: Path) -> bool:
    """Whether a folder holds a tokenizer of its own."""
    return bool(_first(folder, _VOCABULARY))


def weights_sha256(folder: Path) -> str:
    """The hash of the weights and of their configuration; which release of transformers wrote it does not count."""
    configuration = json.loads((folder / CONFIG).read_text(encoding="utf-8")) if (folder / CONFIG).is_file() else {}
    plain = {key: value for key, value in configuration.items() if key not in ("transformers_version", "_name_or_path")}
    files = [*_first(folder, _WEIGHTS), *_those(folder, [ADAPTER])]
    return _hash({"config": plain, "files": contents.sha256(files)})


def tokenizer_sha256(folder: Path) -> str:
    """The hash of the tokenizer's files, the chat template among them."""
    return contents.sha256([*_first(folder, _VOCABULARY), *_those(folder, _TOKENIZER)])


def sha256(folder: Path) -> str:
    """The identity of a model or an adapter: weights, configuration, and the tokenizer that lies beside them."""
    return _hash({"weights": weights_sha256(folder), "tokenizer": tokenizer_sha256(folder)})


def folder(model: str, revision: str | None = None) -> Path:
    """Where a model's files are: its folder, or that of the Hub's snapshot, fetched with its weights.

    Raises:
        InputError: the Hub's weights cannot be fetched.
    """
    if Path(model).is_dir():
        return Path(model)
    from transformers.utils.hub import cached_file, get_checkpoint_shard_files

    optional: dict[str, Any] = {"revision": revision, "_raise_exceptions_for_missing_entries": False}
    try:
        for name in ("model.safetensors", _INDEX, "pytorch_model.bin", "pytorch_model.bin.index.json"):
            if found := cached_file(model, name, **optional):
                if name.endswith(".index.json"):
                    get_checkpoint_shard_files(model, found, revision=revision)
                break
        return Path(str(cached_file(model, CONFIG, revision=revision))).parent
    except (OSError, ValueError) as error:
        raise InputError(f"model {model!r} cannot be fetched ({one_line(error)}).") from None


def check_model(model: str) -> Any:
    """The configuration of a model that can be loaded, as far as its files tell without reading the weights.

    Args:
        model: folder or Hub id.

    Raises:
        InputError: there is no such model, it is no causal language model, or weights are missing or cut off.
    """
    from transformers import AutoConfig

    if is_adapter(Path(model)) and not (Path(model) / CONFIG).is_file():
        raise InputError(
            f"model {model!r} is an adapter; name its base model here, and the adapter as what was trained."
        )
    try:
        config = AutoConfig.from_pretrained(model)
        shapes(config)
    except REFUSED as error:
        where = "" if Path(model).is_dir() else "no such folder here, and on the Hub: "
        raise InputError(f"model {model!r} cannot be loaded ({where}{one_line(error)}).") from None
    if any(name.endswith("ForSequenceClassification") for name in config.architectures or ()):
        raise InputError(f"model {model!r} {_SCORES}")
    if Path(model).is_dir():
        check_weights(Path(model))
    return config


def check_adapter(adapter: str, model: str, config: Any) -> None:
    """See that an adapter is whole and fits the model, without reading the model's weights.

    Args:
        adapter: folder.
        model: folder or Hub id of the base model.
        config: that model's configuration.

    Raises:
        InputError: a file is missing or damaged, or the adapter was made for another model.
    """
    from peft import PeftConfig

    place = Path(adapter)
    check_weights(place)
    try:
        peft_config: Any = PeftConfig.from_pretrained(adapter)
        if peft_config.task_type == "SEQ_CLS":
            raise InputError(f"{adapter}: {_SCORES}")
        own = shapes(config, peft_config) if peft_config.peft_type == "LORA" else None
    except REFUSED as error:
        raise InputError(f"{adapter}: cannot be put on the model {model!r} ({one_line(error)}).") from None
    held = _tensors(place / "adapter_model.safetensors")
    if own is not None and held is not None:
        known = {**{f"base_model.model.{name}": shape for name, shape in shapes(config).items()}, **own}
        judged = sorted({*own, *(name for name in held if "lora_" in name or name in known)})
        if wrong := [name for name in judged if held.get(name) != known.get(name)]:
            there, fits = (shapes_.get(wrong[0], "missing") for shapes_ in (held, known))
            raise InputError(
                f"{adapter}: was made for another model than {model!r} ({wrong[0]} is {there} in the adapter and "
                f"{fits} by the model); name the adapter's base model as model."
            )
    _check_base(place, model, peft_config.base_model_name_or_path)


def check_weights(place: Path) -> None:
    """See that the weights in a folder are whole, by their headers.

    Raises:
        InputError: there are none, or one is missing or damaged.
    """
    if (place / _INDEX).is_file():
        try:
            listed = set(json.loads((place / _INDEX).read_text(encoding="utf-8"))["weight_map"].values())
        except (ValueError, KeyError, AttributeError):
            raise InputError(f"{place / _INDEX}: is damaged; copy the model again.") from None
        if missing := sorted(name for name in listed if not (place / name).is_file()):
            raise InputError(f"{place}: {', '.join(missing)} is missing; copy the model again.")
    files = _first(place, _WEIGHTS)
    if not files:
        raise InputError(f"{place}: holds no weights; name a folder that a recipe wrote, or a model's.")
    for file in files:
        _tensors(file)


def shapes(config: Any, peft_config: Any = None) -> dict[str, list[int]]:
    """Name -> shape of a model's weights, or of the adapter's that `peft_config` puts on it; takes no memory for them.

    Raises:
        ValueError: the model is no causal language model, or lacks the layers that the adapter is put on.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

    scores = getattr(peft_config, "task_type", None) == "SEQ_CLS"  # a preference model's adapter
    with torch.device("meta"):
        model: Any = (AutoModelForSequenceClassification if scores else AutoModelForCausalLM).from_config(config)
        named = dict(model.named_parameters())
        if peft_config is not None:
            from peft import get_peft_model, get_peft_model_state_dict

            peft_config = copy.deepcopy(peft_config)
            peft_config.base_model_name_or_path = None  # else PEFT warns that this model has no name
            peft_config.init_lora_weights = False  # some ways of beginning read the base model's weights
            named = get_peft_model_state_dict(get_peft_model(model, peft_config), save_embedding_layers=False)
    return {name: list(value.shape) for name, value in named.items()}


def load_tokenizer(source: str, **origin: Any) -> Any:
    """The tokenizer of a folder or a model on the Hub.

    Raises:
        InputError: there is none.
    """
    from transformers import AutoTokenizer

    if Path(source).is_dir() and not has_tokenizer(Path(source)):
        raise InputError(f"{source}: holds no tokenizer; copy the tokenizer's files of its base model there.")
    try:
        return AutoTokenizer.from_pretrained(source, **origin)
    except REFUSED as error:
        raise InputError(f"the tokenizer of {source!r} cannot be loaded ({one_line(error)}).") from None


def check_vocabulary(tokenizer: Any, config: Any, source: str) -> None:
    """See that a model knows every token of a tokenizer; tokens added to it may be unused, and are not counted.

    Raises:
        InputError: the tokenizer is another model's.
    """
    known = getattr(config.get_text_config(), "vocab_size", None)
    if known is not None and tokenizer.vocab_size > known:
        raise InputError(
            f"{source}: its tokenizer has {tokenizer.vocab_size} tokens and is another model's, as this knows {known}."
        )


def refusal(tokenizer: Any, messages: Sequence[Mapping[str, str]]) -> str:
    """What the chat template says against a chat, such as "System role not supported"; empty when it takes it."""
    from jinja2.exceptions import TemplateError

    try:
        tokenizer.apply_chat_template(list(messages), tokenize=False)
    except (TemplateError, TypeError, ValueError) as error:
        return one_line(error)
    return ""


def takes_system(tokenizer: Any) -> bool:
    """Whether a system message reaches the model: a template may refuse it, or leave it out without a word."""
    line = "You answer briefly."
    chat = [{"role": "system", "content": line}, {"role": "user", "content": "?"}]
    return not refusal(tokenizer, chat) and line in tokenizer.apply_chat_template(chat, tokenize=False)


def led_by_system(messages: Sequence[Mapping[str, str]]) -> bool:
    """Whether a system message stands before a user's turn."""
    return [message["role"] for message in messages[:2]] == ["system", "user"]


def system_in_user_turn(messages: Sequence[Mapping[str, str]]) -> list[Mapping[str, str]]:
    """A chat whose system message leads the first user turn, for templates that take none."""
    if not led_by_system(messages):
        return list(messages)
    system, user, *rest = messages
    return [{**user, "content": f"{system['content']}\n\n{user['content']}"}, *rest]


def one_line(error: BaseException) -> str:
    """The start of what an error says, on one line, without a full stop of its own."""
    return " ".join(str(error).split())[:300].rstrip(".") or type(error).__name__


def _tensors(file: Path) -> dict[str, list[int]] | None:
    """Name -> shape of the tensors in a safetensors file; None of another file."""
    from safetensors import SafetensorError, safe_open

    if file.suffix != ".safetensors" or not file.is_file():
        return None
    try:
        with safe_open(file, "pt") as held:
            return {name: held.get_slice(name).get_shape() for name in held.keys()}  # noqa: SIM118 (it is no dict)
    except (SafetensorError, OSError) as error:
        raise InputError(f"{file}: is damaged ({one_line(error)}); copy or train it again.") from None


def _check_base(adapter: Path, model: str, named: str | None) -> None:
    """See that the adapter was trained on these very weights, where that is known."""
    file, trained_on = adapter / RECORD, None
    if file.is_file():
        try:
            trained_on = json.loads(file.read_text(encoding="utf-8")).get("base_sha256")
        except (ValueError, AttributeError):
            raise InputError(f"{file}: is damaged; train the adapter again.") from None
    elif named and Path(named).is_dir():
        trained_on = weights_sha256(Path(named))
    if trained_on and trained_on != weights_sha256(folder(model)):
        raise InputError(
            f"{adapter}: was trained on other weights than those of {model!r} (on {named}); name its base as model."
        )


def _first(place: Path, kinds: Sequence[Sequence[str]]) -> list[Path]:
    """The files of the first kind that is there."""
    return next((files for patterns in kinds if (files := _those(place, patterns))), [])


def _those(place: Path, patterns: Sequence[str]) -> list[Path]:
    return sorted(file for pattern in patterns for file in place.glob(pattern) if file.is_file())


def _hash(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
