"""Settings: their types, which stage reads which, and that every way of giving them knows the same ones."""

import enum
import inspect
import pickle
import re
import typing
from dataclasses import FrozenInstanceError, dataclass, fields
from fractions import Fraction

import numpy as np
import pytest

from caredio import api, settings
from caredio.errors import InputError
from caredio.evaluation import judging_settings as judging
from caredio.evaluation import settings as evaluation
from caredio.llm.settings import Endpoint
from caredio.llm.spec import Spec
from caredio.publishing import settings as publishing
from caredio.selection import pipeline as selection
from caredio.selection import settings as selecting
from caredio.settings import setting
from caredio.synthesis import pipeline as synthesis
from caredio.synthesis import settings as synthesizing
from caredio.training import finetuning_settings as finetuning
from caredio.training import preferences, views
from caredio.training import settings as training


@dataclass(frozen=True)
class Room(settings.Settings):
    """Settings of two stages, boil and fry, and of none."""

    litres: int = setting(2, "how much water", "boil")
    salt: float = setting(0.5, "share of salt", "boil fry", everyday=True)
    lid: bool = setting(False, "whether there is a lid", "boil", counts=False)
    oil: str = setting("olive", "what it is fried in", "fry", choices=("olive", "palm"))
    cook: str | None = setting(None, "who does it", "fry", counts=lambda cook: (cook or "").lower())
    minutes: float | None = setting(None, "how long; default: until it is done", "fry")
    guests: int | None = setting(None, "how many come")
    heat: float | None = setting(1.5, "how hot", none_as=-1.0)

    @property
    def salty(self):
        return self.salt > 0.4

    @property
    def frying(self):
        return f"{self.oil} oil"


@dataclass(frozen=True)
class Next(settings.Settings):
    salt: float = setting(1.0, "share of salt", "fry")
    pans: int = setting(1, "how many pans", "fry")


def whole(name, value, optional=""):
    return f"{name} is {value}, not a whole number{optional}."


# types


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("litres", True, whole("litres", "True")),
        ("litres", "x", whole("litres", "'x'")),
        ("litres", "2", whole("litres", "'2'")),
        ("litres", 2.5, whole("litres", "2.5")),
        ("litres", 2.0, whole("litres", "2.0")),
        ("litres", float("nan"), whole("litres", "nan")),
        ("litres", None, whole("litres", "None")),
        ("guests", "two", whole("guests", "'two'", " or None")),
        ("guests", False, whole("guests", "False", " or None")),
        ("salt", "x", "salt is 'x', not a number."),
        ("salt", True, "salt is True, not a number."),
        ("salt", None, "salt is None, not a number."),
        ("salt", [0.5], "salt is [0.5], not a number."),
        ("salt", float("nan"), "salt is nan; use a number that is finite."),
        ("salt", float("-inf"), "salt is -inf; use a number that is finite."),
        ("minutes", "long", "minutes is 'long', not a number or None."),
        ("minutes", float("nan"), "minutes is nan; use a number that is finite."),
        ("lid", 1, "lid is 1, not true or false."),
        ("lid", "true", "lid is 'true', not true or false."),
        ("lid", None, "lid is None, not true or false."),
        ("oil", None, "oil is None, not text."),
        ("oil", b"olive", "oil is b'olive', not text."),
        ("cook", 7, "cook is 7, not text or None."),
        ("cook", True, "cook is True, not text or None."),
        ("oil", "motor", "oil is 'motor'; use olive, palm."),
        ("oil", "", "oil is ''; use olive, palm."),
    ],
)
def test_a_value_of_another_kind_is_one_sentence_with_the_setting_s_name(name, value, said):
    with pytest.raises(InputError) as error:
        Room(**{name: value})
    assert str(error.value) == said


@pytest.mark.parametrize(
    ("name", "value", "kept"),
    [
        ("salt", 1, 1.0),
        ("salt", np.float32(0.25), 0.25),
        ("salt", Fraction(1, 4), 0.25),
        ("minutes", 3, 3.0),
        ("minutes", None, None),
        ("litres", np.int64(7), 7),
        ("guests", 0, 0),
        ("guests", None, None),
        ("heat", -1, None),  # what older files say for None
        ("heat", None, None),
        ("heat", 0, 0.0),
        ("lid", True, True),
        ("oil", np.str_("palm"), "palm"),
        ("cook", "", ""),
    ],
)
def test_a_value_is_kept_as_the_declared_type(name, value, kept):
    found = getattr(Room(**{name: value}), name)
    assert found == kept
    assert type(found) is type(kept)


def test_equal_settings_are_equal_whatever_number_was_written():
    assert Room(salt=1, minutes=2) == Room(salt=1.0, minutes=np.float64(2))
    assert hash(Room(salt=1)) == hash(Room(salt=1.0))


def test_settings_do_not_change():
    with pytest.raises(FrozenInstanceError):
        Room().litres = 3


def test_kinds_are_the_types_and_whether_there_may_be_none():
    assert settings.kinds(Room) == {
        "litres": (int, False),
        "salt": (float, False),
        "lid": (bool, False),
        "oil": (str, False),
        "cook": (str, True),
        "minutes": (float, True),
        "guests": (int, True),
        "heat": (float, True),
    }


# stages


def test_a_stage_s_view_has_its_own_settings_and_raises_on_others():
    room = Room(litres=3, salt=0.1, oil="palm")
    boil, fry = settings.view("boil", room), settings.view("fry", room)
    assert (boil.litres, boil.salt, boil.lid) == (3, 0.1, False)
    assert (fry.salt, fry.oil, fry.cook, fry.minutes) == (0.1, "palm", None, None)
    for view, foreign in ((boil, ("oil", "cook", "minutes", "guests")), (fry, ("litres", "lid", "guests"))):
        for name in foreign:
            with pytest.raises(AttributeError, match=rf"^stage \w+ reads the setting {name}, whose declaration"):
                getattr(view, name)
    assert (room.litres, room.oil, room.guests) == (3, "palm", None)


def test_a_view_has_the_properties_that_its_settings_make():
    boil, fry = (settings.view(stage, Room(salt=0.1)) for stage in ("boil", "fry"))
    assert not boil.salty
    assert not fry.salty
    assert fry.frying == "olive oil"
    with pytest.raises(AttributeError, match="stage boil reads the setting oil"):
        _ = boil.frying


def test_a_view_is_of_its_room_and_of_the_room_s_values():
    views = [settings.view("boil", Room(litres=litres)) for litres in (1, 2)]
    assert [view.litres for view in views] == [1, 2]
    assert all(isinstance(view, Room) for view in views)


def test_what_a_stage_reads_is_recorded_and_what_changes_its_result_counted():
    rooms = [Room(lid=True, cook="Ann", guests=9), Next(pans=4)]
    assert settings.recorded("boil", rooms) == {"litres": 2, "salt": 0.5, "lid": True}
    assert settings.counted("boil", rooms) == {"litres": 2, "salt": 0.5}
    assert settings.recorded("fry", rooms[:1]) == {"salt": 0.5, "oil": "olive", "cook": "Ann", "minutes": None}
    assert settings.counted("fry", rooms[:1]) == {"salt": 0.5, "oil": "olive", "cook": "ann", "minutes": None}
    assert settings.recorded("fry", rooms)["pans"] == 4
    assert settings.recorded("bake", rooms) == settings.counted("bake", rooms) == {}


def test_a_setting_without_an_effect_beside_the_others_counts_as_its_default():
    unread = {"references": 3, "weight": 2.0, "shots": 5, "centers": 9, "validation_items": 7}
    asked = {"representativeness": "in_context", "validation": "v.csv"}
    for chosen, read in (
        ({}, {"weight"}),
        ({"representativeness": "size"}, set()),
        ({"representativeness": "size", "score": "sum"}, {"weight"}),
        ({"representativeness": "information"}, {"weight", "references"}),
        (asked, {"shots", "centers", "validation_items"}),
        ({**asked, "distinctiveness": "information"}, {"weight", "shots", "centers", "validation_items"}),
    ):
        one, two = (settings.counted("scored", [selecting.Settings(**chosen, **values)]) for values in ({}, unread))
        assert {name for name in one if one[name] != two[name]} == read
        assert {"weight", "references"} == {
            name
            for name, value in settings.counted("optimized", [selecting.Settings(**chosen, **unread)]).items()
            if name in unread and value == unread[name]
        }
        assert settings.recorded("scored", [selecting.Settings(**chosen, **unread)]).items() >= unread.items()


@pytest.mark.parametrize(
    ("measure", "stages"),
    [("cosine", {"candidates", "scored"}), ("information", {"candidates"}), ("cci", {"candidates"})],
)
def test_four_are_compared_where_each_is_asked_for_unless_another_number_is_given(measure, stages):
    default, four, five = (selecting.Settings(distinctiveness=measure, compared=n) for n in (None, 4, 5))
    for stage in ("isolated", "contrasted", "optimized", "candidates", "scored"):
        counted = [settings.counted(stage, [chosen])["compared"] for chosen in (default, four, five)]
        assert counted == [None, 4 if stage in stages else None, 5]
    assert [chosen.asked_for for chosen in (default, four, five)] == [4, 4, 5]


def test_the_fields_of_a_stage_are_those_that_name_it():
    assert [one.name for one in settings.of_stage("boil", Room)] == ["litres", "salt", "lid"]
    assert [one.name for one in settings.of_stage("fry", Next())] == ["salt", "pans"]


# rooms together


def test_values_fill_each_room_that_has_the_name():
    room, other, spec = settings.fill([Room, Next, Spec], {"salt": 1, "pans": 2, "model": "m"})
    assert (room, other) == (Room(salt=1.0), Next(salt=1.0, pans=2))
    assert spec.model == "m"
    assert settings.fill([Room], {}) == [Room()]
    assert settings.names([Room, Next]) == {"litres", "salt", "lid", "oil", "cook", "minutes", "guests", "heat", "pans"}


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("liters", "unknown setting liters; did you mean litres?"),
        ("Salt", "unknown setting Salt; did you mean salt?"),
        ("pan", "unknown setting pan; did you mean pans?"),
        ("xyzzy", "unknown setting xyzzy"),
    ],
)
def test_an_unknown_name_is_told_with_the_near_one(name, said):
    with pytest.raises(TypeError) as error:
        settings.fill([Room, Next], {name: 1})
    assert str(error.value) == said


def test_a_verb_tells_the_near_name():
    with pytest.raises(TypeError, match=r"^unknown setting budgte; did you mean budget\?$"):
        api.select("none.csv", budgte=3)


def test_a_bad_value_of_a_room_is_told_when_it_is_filled():
    with pytest.raises(InputError, match=r"^pans is 'x', not a whole number\.$"):
        settings.fill([Room, Next], {"pans": "x"})


def test_a_documented_function_shows_its_settings():
    @settings.documented(Room, Next, only=["salt", "pans", "cook"])
    def cook(dish: str, *, cook: str = "me", **settings: object) -> None:
        """Cook a dish."""

    shown = inspect.signature(cook).parameters
    assert list(shown) == ["dish", "cook", "salt", "pans"]
    assert (shown["cook"].default, shown["salt"].default, shown["pans"].default) == ("me", 0.5, 1)
    assert "salt (" in cook.__doc__
    assert "share of salt" in cook.__doc__
    assert cook.__doc__.startswith("Cook a dish.")
    assert "litres" not in cook.__doc__


# the package's own


class SelectionOptions(selecting.Ranking, selecting.Reading, selecting.Calibrating, total=False):
    """All of selection's settings as named parameters, of which each verb takes some."""


class _Reaching(api.EndpointOptions, api.ReviewerOptions, total=False):
    """What verbs take that write and review."""


ROOMS = {
    "synthesis": (synthesizing.Settings, synthesizing.Options),
    "selection": (selecting.Settings, SelectionOptions),
    "training": (training.Settings, training.Options),
    "evaluation": (evaluation.Settings, evaluation.Options),
    "judging": (judging.Settings, judging.Options),
    "publishing": (publishing.Settings, publishing.Options),
    "finetuning": (finetuning.Settings, finetuning.Options),
    "model": (Spec, api.ModelOptions),
    "endpoint": (Endpoint, _Reaching),
}
OF_VERBS = {"seed", "prompts"}  # which the verbs take by name


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_s_options_are_its_settings_with_the_same_types(room):
    declared, options = ROOMS[room]
    hints = typing.get_type_hints(declared)
    wanted = {one.name: hints[one.name] for one in fields(declared) if one.name not in OF_VERBS}
    assert typing.get_type_hints(options) == wanted
    assert options.__total__ is False
    assert options.__required_keys__ == frozenset()


@pytest.mark.parametrize("room", ["synthesis", "selection"])
def test_the_verbs_seed_and_prompts_are_of_the_settings_type(room):
    declared = {one.name: one.type for one in fields(ROOMS[room][0]) if one.name in OF_VERBS}
    assert declared == {"seed": "int", "prompts": "str | None"}
    for verb in (api.synthesize, api.select, api.build):
        shown = inspect.signature(verb).parameters
        assert {name: shown[name].annotation for name in OF_VERBS} == declared


def test_a_synthesis_takes_those_of_selection_s_settings_that_its_stages_read():
    stages = {"isolated", "contrasted", "optimized"}
    read = {one.name for one in fields(selecting.Settings) if stages & set(one.metadata["stages"])}
    assert set(typing.get_type_hints(selecting.Objective)) == read - OF_VERBS
    assert set(typing.get_type_hints(api.SynthesizeOptions)) == set(typing.get_type_hints(selecting.Objective)).union(
        *(typing.get_type_hints(ROOMS[room][1]) for room in ("synthesis", "model", "endpoint"))
    )


@pytest.mark.parametrize(
    ("verb", "options"),
    [
        (api.synthesize, api.SynthesizeOptions),
        (api.select, api.SelectOptions),
        (api.build, api.BuildOptions),
        (api.prefer, api.PreferOptions),
        (api.calibrate, api.CalibrateOptions),
        (api.evaluate, api.EvaluateOptions),
        (api.judge, api.JudgeOptions),
        (api.publish, publishing.Options),
        (api.finetune, api.FinetuneOptions),
    ],
    ids=lambda value: getattr(value, "__qualname__", None),
)
def test_a_verb_s_signature_shows_its_options_with_the_defaults_of_the_rooms(verb, options):
    shown = inspect.signature(verb).parameters
    defaults = {one.name: one.default for declared in api.VERBS[verb.__name__][0] for one in fields(declared)}
    defaults |= {one.name: one.default for _, one in api.settings_of(verb.__name__)}
    taken = set(typing.get_type_hints(options))
    assert taken <= set(shown)
    assert taken | OF_VERBS >= {one.name for _, one in api.settings_of(verb.__name__)} >= taken
    assert {name: shown[name].default for name in taken} == {name: defaults[name] for name in taken}
    assert set(shown) & set(defaults) <= taken | OF_VERBS | {"model"}  # of evaluate and publish model is another thing


SETTINGS = [declared for declared, _ in ROOMS.values() if issubclass(declared, settings.Settings)]
STAGES = {stage.name for stage in (*synthesis.STAGES, *selection.STAGES, *views.STAGES, *preferences.STAGES)} | {
    "table",
    "calibrated",
    "results",
    "judged",
    "release",
    "finetuned",
}


@pytest.mark.parametrize("declared", SETTINGS, ids=lambda declared: declared.__module__)
def test_every_setting_is_explained_has_a_default_of_its_type_and_names_stages_that_there_are(declared):
    assert len(SETTINGS) == 9
    for one in fields(declared):
        assert one.metadata["help"].strip(), one.name
        assert one.metadata["stages"] or declared in (Spec, Endpoint), one.name  # how a model is reached and sampled
        assert set(one.metadata["stages"]) <= STAGES, one.name
        assert re.fullmatch(r"[a-z_]+", one.name)
        default = getattr(declared(), one.name)
        kind, optional = settings.kinds(declared)[one.name]
        assert type(default) is kind or (optional and default is None), one.name
        if one.metadata["choices"] and default is not None:
            assert default in one.metadata["choices"], one.name
        hint = typing.get_type_hints(declared)[one.name]
        assert hint in (kind, kind | None)


@pytest.mark.parametrize("declared", SETTINGS, ids=lambda declared: declared.__module__)
def test_every_setting_of_the_package_refuses_what_it_is_not(declared):
    for one in fields(declared):
        kind, optional = settings.kinds(declared)[one.name]
        wrong = {int: (True, 2.5, "x"), float: (True, "x", float("nan")), str: (1, True), bool: (1, "x")}[kind]
        for value in (*wrong, *(() if optional else (None,))):
            with pytest.raises(InputError, match=rf"^{one.name} is .*\.$"):
                declared(**{one.name: value})


def test_a_selection_s_properties_hold_in_the_view_of_its_stage():
    chosen = selecting.Settings(representativeness="typicality", distinctiveness="information")
    assert settings.view("scored", chosen).asks
    assert settings.view("scored", chosen).combine == "sum"
    with pytest.raises(AttributeError, match="stage vectors reads the setting representativeness"):
        _ = settings.view("vectors", chosen).asks


def test_a_number_beyond_floats_is_not_finite():
    with pytest.raises(InputError, match=r"^weight is 1\d+; use a number that is finite\.$"):
        selecting.Settings(weight=10**400)


def test_a_choice_of_an_enumeration_is_its_text():
    class Score(enum.StrEnum):
        SUM = "sum"

    assert vars(selecting.Settings(score=Score.SUM))["score"] == "sum"
    assert type(selecting.Settings(score=Score.SUM).score) is str


def test_a_view_can_be_shown():
    assert "of stage scored" in repr(settings.view("scored", selecting.Settings()))


def test_a_view_can_be_pickled():
    one = settings.view("scored", selecting.Settings(budget=7))
    two = pickle.loads(pickle.dumps(one))
    assert (two.budget, type(two)) == (7, type(one))
    with pytest.raises(AttributeError, match="stage scored reads the setting split"):
        _ = two.split
