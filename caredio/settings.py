"""Settings: one frozen field is a flag, a key of a YAML file, a named parameter, and part of its stages' fingerprints.

Each room has one flat class of them. A field names the stages that read it: `view` keeps a stage from reading others,
`recorded` is what of them run.json holds for a stage, `counted` what of them makes another result.
"""

from __future__ import annotations

import functools
import inspect
import math
import numbers
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import Field, dataclass, field, fields
from typing import Any, NamedTuple, TypeVar

from caredio.errors import InputError, did_you_mean

_KINDS: dict[type, tuple[type, ...]] = {
    str: (str,),
    bool: (bool,),
    int: (numbers.Integral,),
    float: (numbers.Real,),
}
_WORDS = {str: "text", bool: "true or false", int: "a whole number", float: "a number"}
S = TypeVar("S", bound="Settings")
F = TypeVar("F", bound=Callable[..., Any])


class Setting(NamedTuple):
    """What is declared of a field, its default apart."""

    help: str
    stages: tuple[str, ...] = ()
    choices: Sequence[str] = ()
    counts: bool | Callable[[Any], Any] = True
    everyday: bool = False
    none_as: float | str | None = None
    matters: Callable[[str, Any], bool] | None = None


def setting(
    default: Any,
    help: str,
    stages: str = "",
    *,
    choices: Sequence[str] = (),
    counts: bool | Callable[[Any], Any] = True,
    everyday: bool = False,
    none_as: float | str | None = None,
    matters: Callable[[str, Any], bool] | None = None,
) -> Any:
    """A field of a Settings class.

    Args:
        default: None where "not given" is a value of its own.
        help: what `--help` says.
        stages: names of the stages that read it, with spaces between.
        choices: the values it may have.
        counts: False where it changes no result, or a function of the value to what of it does.
        everyday: whether `--help` shows it first.
        none_as: what older files say for None; it is taken for None, and stands for None in keys and fingerprints.
        matters: whether it has an effect on a stage (its name) beside the other settings; else it counts as its
            default does.
    """
    declared = Setting(help, tuple(stages.split()), choices, counts, everyday, none_as, matters)
    return field(default=default, metadata=declared._asdict())


@dataclass(frozen=True)
class Settings:
    """The base of each room's settings: values are of the declared types.

    Raises:
        InputError: a value is of another type or none of its choices; names the setting.
    """

    def __post_init__(self) -> None:
        declared = kinds(self.__class__)  # type: ignore[arg-type]
        for one in fields(self):
            value: Any = getattr(self, one.name)
            kind, optional = declared[one.name]
            if value is None and optional:
                continue
            if not isinstance(value, _KINDS[kind]) or (isinstance(value, bool) and kind is not bool):
                hint = " or None" if optional else ""
                raise InputError(f"{one.name} is {value!r}, not {_WORDS[kind]}{hint}.")
            if kind is float and not _finite(value):
                raise InputError(f"{one.name} is {value}; use a number that is finite.")
            choices = one.metadata.get("choices")
            if choices and value not in choices:
                raise InputError(f"{one.name} is {value!r}; use {', '.join(choices)}.")
            made = str.__str__(value) if isinstance(value, str) else kind(value)  # 1 is 1.0 where a share is wanted
            object.__setattr__(self, one.name, None if optional and made == one.metadata.get("none_as") else made)

    def as_stored(self) -> dict[str, Any]:
        """The settings as keys and fingerprints hold them: what is not given is its `none_as` there."""
        return {
            one.name: one.metadata.get("none_as") if getattr(self, one.name) is None else getattr(self, one.name)
            for one in fields(self)
        }


def _finite(value: Any) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


@functools.cache
def kinds(room: type) -> dict[str, tuple[type, bool]]:
    """Field -> its type, and whether it may be None."""
    found = {}
    for name, hint in typing.get_type_hints(room).items():
        options = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
        found[name] = next(kind for kind in options if kind is not type(None)), type(None) in options
    return found


@functools.cache
def _views(room: type, stage: str) -> type:
    foreign = {one.name for one in fields(room) if stage not in one.metadata.get("stages", ())}

    def __getattribute__(self: Settings, name: str) -> Any:  # noqa: N807
        if name in foreign:
            raise AttributeError(f"stage {stage} reads the setting {name}, whose declaration does not name it")
        return object.__getattribute__(self, name)

    def __repr__(self: Settings) -> str:  # noqa: N807
        return f"{room.__module__}.{room.__name__} of stage {stage}"

    def __reduce__(self: Settings) -> tuple[Any, ...]:  # noqa: N807
        return view, (stage, _with(room, self))

    own = {
        "__getattribute__": __getattribute__,
        "__repr__": __repr__,
        "__reduce__": __reduce__,
        "__doc__": room.__doc__,
    }
    return type(room.__name__, (room,), own)


def view(stage: str, settings: S) -> S:
    """`settings` as a stage may read them: a field that does not name the stage raises AttributeError."""
    made: S = _with(_views(settings.__class__, stage), settings)  # type: ignore[arg-type]
    return made


def _with(room: type, settings: Settings) -> Any:
    """A `room` with the values of `settings`, those that a view hides included."""
    made: Any = object.__new__(room)
    for one in fields(settings):
        object.__setattr__(made, one.name, object.__getattribute__(settings, one.name))
    return made


def of_stage(stage: str, room: type[Settings] | Settings) -> list[Field[Any]]:
    """The fields that a stage reads."""
    return [one for one in fields(room) if stage in one.metadata.get("stages", ())]


def recorded(stage: str, rooms: Sequence[Settings]) -> dict[str, Any]:
    """Name -> value of what a stage reads."""
    return {one.name: getattr(room, one.name) for room in rooms for one in of_stage(stage, room)}


def counted(stage: str, rooms: Sequence[Settings]) -> dict[str, Any]:
    """Name -> what of the value changes the stage's result; settings without effect are left out."""
    found = {}
    for room in rooms:
        for one in of_stage(stage, room):
            counts, matters = one.metadata.get("counts", True), one.metadata.get("matters")
            value = getattr(room, one.name) if matters is None or matters(stage, room) else one.default
            if counts is not False:
                found[one.name] = counts(value) if callable(counts) else value
    return found


def names(rooms: Iterable[type]) -> set[str]:
    """The names of all settings of rooms."""
    return {one.name for room in rooms for one in fields(room)}


def check_names(given: Iterable[str], known: Iterable[str]) -> None:
    """See that settings are known by their names.

    Raises:
        TypeError: one is not; names the nearest.
    """
    known = sorted(known)
    for name in given:
        if name not in known:
            raise TypeError(f"unknown setting {name}{did_you_mean(name, known)}")


def fill(rooms: Sequence[type], given: Mapping[str, Any]) -> list[Any]:
    """The settings of each room, from values by name; a name that several rooms have sets all of them.

    Raises:
        InputError: a value is not what was wanted.
        TypeError: a name is none of theirs.
    """
    check_names(given, names(rooms))
    return [room(**{name: value for name, value in given.items() if name in names([room])}) for room in rooms]


def documented(*rooms: type, only: Iterable[str] | None = None) -> Callable[[F], F]:
    """Names the settings of `rooms` in a function's signature and docstring, in place of its `**settings`.

    Args:
        only: of the settings, those that the function takes, where it does not take all.
    """

    def document(function: F) -> F:
        shown = inspect.signature(function)
        own = [one for one in shown.parameters.values() if one.kind is not one.VAR_KEYWORD]
        seen = {one.name for one in own}
        lines = []
        for one in (one for room in rooms for one in fields(room)):
            if one.name in seen or (only is not None and one.name not in only):
                continue
            seen.add(one.name)
            own.append(inspect.Parameter(one.name, inspect.Parameter.KEYWORD_ONLY, default=one.default))
            choices = one.metadata.get("choices")
            among = f" [{', '.join(choices)}]" if choices else ""
            lines.append(f"        {one.name} ({one.type}, default {one.default!r}): {one.metadata['help']}{among}")
        function.__signature__ = shown.replace(parameters=own)  # type: ignore[attr-defined]
        function.__doc__ = (function.__doc__ or "").rstrip() + "\n\n    Settings:\n" + "\n".join(lines) + "\n    "
        return function

    return document
