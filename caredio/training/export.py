"""What a recipe left, for other programs: an adapter merged into its base, or laid out for a server of several.

Both forms hold files that transformers from 4.56 on reads, as vLLM and the converters to GGUF bring releases of their
own: the tokenizer's class and the rotary embedding are written under the names of transformers 4 too.
"""

from __future__ import annotations

import json
import logging
import shlex
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from caredio import checkpoints, disk, packages, runs
from caredio.errors import InputError
from caredio.llm import local
from caredio.llm.spec import LOCAL_MODEL

log = logging.getLogger("caredio")

RECORD = "export.json"
_ADAPTER = ("adapter_config.json", "adapter_model.safetensors")
_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)  # those that vLLM's --max-lora-rank takes
_DEFAULT_RANK = 16
_TOKENIZER = (
    *("tokenizer*", "special_tokens_map.json", "added_tokens.json", "chat_template.jinja", "vocab.*"),
    *("merges.txt", "*.model", "*.tiktoken", "*.spm"),
)


@dataclass(frozen=True)
class Exported:
    """What was exported, and the commands that take it.

    Attributes:
        path: the folder.
        base: folder or Hub id of the base model.
        commands: to serve it, or to convert it.
    """

    path: Path
    base: str
    commands: tuple[str, ...]

    def __str__(self) -> str:
        return "\n".join([f"{self.path}/", *(f"  {command}" for command in self.commands)])


def adapters(model: Path) -> dict[str, Path]:
    """The adapters in a folder by their names: itself, or those of a folder with one a culture.

    Raises:
        InputError: there is none.
    """
    if (model / checkpoints.TUNED).exists():
        raise InputError(
            f"{model}: its model is kept by the API that tuned it, so there are no weights to export;"
            f" {checkpoints.TUNED} records it."
        )
    if not model.is_dir():
        raise InputError(f"{model}: is no folder; name one that a recipe wrote, or one that holds such folders.")
    if checkpoints.is_adapter(model):
        return {model.resolve().name: model}
    if (model / checkpoints.CONFIG).is_file():
        raise InputError(
            f"{model}: holds a whole model, and no adapter to merge; vLLM and converters to GGUF take it as it is."
        )
    found = {place.name: place for place in sorted(model.iterdir()) if checkpoints.is_adapter(place)}
    if not found:
        raise InputError(f"{model}: holds no adapter and no folder of one for a culture, such as china/.")
    return found


def base_of(adapter: Path) -> str:
    """Folder or Hub id of the model that an adapter was trained on, as it was recorded.

    Raises:
        InputError: that is not known, or the record is damaged.
    """
    record = _read(adapter / checkpoints.RECORD)
    named = record.get("base_model") or _read(adapter / checkpoints.ADAPTER).get("base_model_name_or_path")
    if not named:
        raise InputError(f"{adapter}: does not say which model it was trained on; name that as base.")
    return str(local.model_path()) if named in (LOCAL_MODEL, local.ON_HUB) and record.get("base_weights") else named


def merged(found: Mapping[str, Path], base: str, folder: Path) -> Exported:
    """Each adapter merged into its base, with its tokenizer and training.json, in the dtype of the base.

    Args:
        found: name -> adapter; several go to folders of these names.
        base: folder or Hub id.

    Raises:
        InputError: an adapter does not fit the base, or `folder` holds something else.
    """
    commands = []
    for name, adapter in found.items():
        place = folder / name if len(found) > 1 else folder
        record = {"kind": "merged", **_identity(adapter, base)}
        if not _holds(place, record):
            with _replacing(place, record) as making:
                _merge(adapter, base, making)
            log.info("%s: %s merged into %s", place, adapter, base)
        file = f"{place.name}.gguf"
        commands += [
            f"vllm serve {_quoted(place)}",
            f"python convert_hf_to_gguf.py {_quoted(place)} --outfile {_quoted(place / file)}",
        ]
    return Exported(folder, base, tuple(commands))


def servable(found: Mapping[str, Path], base: str, folder: Path) -> Exported:
    """Adapters as vLLM's server of several adapters reads them, with the command that serves them.

    Args:
        found: name -> adapter; several go to folders of these names.
        base: folder or Hub id.

    Raises:
        InputError: vLLM would refuse an adapter, or `folder` holds something else.
    """
    ranks, modules = [], []
    for name, adapter in found.items():
        ranks.append(_rank(adapter))
        place = folder / name if len(found) > 1 else folder
        record = {"kind": "adapter", **_identity(adapter, base)}
        if not _holds(place, record):
            with _replacing(place, record) as making:
                _copy(adapter, base, making)
        modules.append(f"{shlex.quote(name)}={_quoted(place)}")
    rank = next(one for one in _RANKS if one >= max(ranks))
    flags = [f"--max-lora-rank {rank}"] * (rank > _DEFAULT_RANK) + [f"--max-loras {len(found)}"] * (len(found) > 1)
    template = _own_template(found, base, folder)
    flags += [f"--chat-template {_quoted(template)}"] if template else []
    line = " ".join(["vllm serve", _quoted(base), "--enable-lora", *flags, "--lora-modules", *modules])
    return Exported(folder, base, (line,))


def _merge(adapter: Path, base: str, making: Path) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    packages.quiet_transformers()
    source = str(adapter) if checkpoints.has_tokenizer(adapter) else base
    tokenizer = checkpoints.load_tokenizer(source)
    try:
        model: Any = AutoModelForCausalLM.from_pretrained(base, dtype="auto")
        with packages.quiet_peft():
            adapted: Any = PeftModel.from_pretrained(model, str(adapter))
            model = adapted.merge_and_unload(safe_merge=True)
    except checkpoints.REFUSED as error:
        raise InputError(f"{adapter}: cannot be merged into {base!r} ({checkpoints.one_line(error)}).") from None
    model.save_pretrained(making)
    tokenizer.save_pretrained(making)
    record = {**_read(adapter / checkpoints.RECORD), "merged": _identity(adapter, base)}
    _write(making / checkpoints.RECORD, record)
    _readable(making)


def _copy(adapter: Path, base: str, making: Path) -> None:
    """The adapter's files, its base named as the server is to load it."""
    kept = {*_ADAPTER, checkpoints.RECORD, *(file.name for name in _TOKENIZER for file in adapter.glob(name))}
    for file in sorted(adapter / name for name in kept):
        if file.is_file():
            shutil.copyfile(file, making / file.name)
    config = {**_read(adapter / checkpoints.ADAPTER), "base_model_name_or_path": base}
    _write(making / checkpoints.ADAPTER, config)
    _readable(making)


def _readable(folder: Path) -> None:
    """Write under the names of transformers 4 too what transformers 5 calls otherwise."""
    tokenizer = folder / "tokenizer_config.json"
    if tokenizer.is_file():
        held = _read(tokenizer)
        if held.get("tokenizer_class") == "TokenizersBackend":  # which 4 does not know; 5 takes the name of 4 for it
            held["tokenizer_class"] = "PreTrainedTokenizerFast"
        for name in ("backend", "is_local", "local_files_only"):
            held.pop(name, None)
        if isinstance(extra := held.get("extra_special_tokens"), list):  # a dictionary in 4, for which this is the list
            held["additional_special_tokens"] = extra
            del held["extra_special_tokens"]
        _write(tokenizer, held)
    config = folder / checkpoints.CONFIG
    if config.is_file():
        held = _read(config)
        rope = held.get("rope_parameters")
        if isinstance(rope, dict) and "rope_theta" in rope:  # else 4 takes its default
            scaling = {name: value for name, value in rope.items() if name != "rope_theta"}
            held |= {"rope_theta": rope["rope_theta"]}
            held |= {"rope_scaling": scaling} if rope.get("rope_type", "default") != "default" else {}
        _write(config, held)


def _rank(adapter: Path) -> int:
    """The rank of an adapter that vLLM serves.

    Raises:
        InputError: it would refuse it, or serve it otherwise than it was trained.
    """
    config = _read(adapter / checkpoints.ADAPTER)
    kinds = {
        f"is of the kind {config.get('peft_type')}": config.get("peft_type") != "LORA",
        "is DoRA (use_dora)": bool(config.get("use_dora")),
        "holds whole layers (modules_to_save)": bool(config.get("modules_to_save")),
        "holds biases (bias)": config.get("bias", "none") != "none",
        "has ranks or scales of its own for some layers": bool(
            config.get("rank_pattern") or config.get("alpha_pattern")
        ),
        f"has rank {config.get('r')}, above {_RANKS[-1]}": int(config.get("r") or 0) > _RANKS[-1],
    }
    for what, wrong in kinds.items():
        if wrong:
            raise InputError(f"{adapter}: {what}, which vLLM does not serve as an adapter; export it merged.")
    return int(config["r"])


def _own_template(found: Mapping[str, Path], base: str, folder: Path) -> Path | None:
    """The chat template of the adapters, where it is not that of the base, which a server would use.

    Raises:
        InputError: they have several.
    """
    own = {name: place for name, place in found.items() if checkpoints.has_tokenizer(place)}
    templates = {name: checkpoints.load_tokenizer(str(place)).chat_template for name, place in own.items()}
    if not templates or set(templates.values()) == {checkpoints.load_tokenizer(base).chat_template}:
        return None
    if len(set(templates.values())) > 1 or len(own) < len(found):
        raise InputError(f"{', '.join(found)}: were trained through several chat templates; export them one by one.")
    first = folder / next(iter(own)) if len(found) > 1 else folder
    return file if (file := first / "chat_template.jinja").is_file() else None


def _identity(adapter: Path, base: str) -> dict[str, str]:
    return {
        "base_model": base,
        "base_sha256": checkpoints.weights_sha256(checkpoints.folder(base)),
        "adapter_sha256": checkpoints.sha256(adapter),
        "caredio": runs.version(),
    }


def _holds(folder: Path, record: dict[str, Any]) -> bool:
    """Whether a folder holds this very export."""
    return (folder / RECORD).is_file() and _read(folder / RECORD) == record


@contextmanager
def _replacing(folder: Path, record: dict[str, Any]) -> Iterator[Path]:
    """A folder to export into, which takes the place of `folder` once it is whole.

    Raises:
        InputError: `folder` holds something that is no export, or the disk refuses.
    """
    making = folder.with_name(f".{folder.name}.making")
    with disk.writing(folder):
        if folder.exists() and any(folder.iterdir()) and not (folder / RECORD).is_file():
            raise InputError(f"{folder}: is not empty and holds no {RECORD}; name another folder to export to.")
        shutil.rmtree(making, ignore_errors=True)
        try:
            making.mkdir(parents=True)
            yield making
            _write(making / RECORD, record)
            if folder.exists():
                shutil.rmtree(folder)
            making.rename(folder)
        finally:
            shutil.rmtree(making, ignore_errors=True)


def _read(file: Path) -> dict[str, Any]:
    """What a JSON file holds; nothing where there is none.

    Raises:
        InputError: it is damaged.
    """
    if not file.is_file():
        return {}
    try:
        return dict(json.loads(file.read_text(encoding="utf-8")))
    except (ValueError, TypeError):
        raise InputError(f"{file}: is damaged; train the adapter again.") from None


def _write(file: Path, held: dict[str, Any]) -> None:
    file.write_text(json.dumps(held, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _quoted(path: Path | str) -> str:
    return shlex.quote(str(path))
