"""The 15 shipped cultures, and a user's YAML on top of them with its mistakes told by file and line."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caredio import cultures, yamlfile
from caredio.errors import InputError

NAMED = ("united_kingdom", "china", "south_korea", "india", "singapore", "united_states", "japan")
CONTINENTS = {  # UN M49 sub-regions; the Americas parted as the inhabited continents are counted
    "Africa": ("Northern Africa", "Western Africa", "Middle Africa", "Eastern Africa", "Southern Africa"),
    "Asia": ("Western Asia", "Central Asia", "Southern Asia", "South-eastern Asia", "Eastern Asia"),
    "Europe": ("Northern Europe", "Western Europe", "Southern Europe", "Eastern Europe"),
    "North America": ("Northern America", "Central America", "Caribbean"),
    "South America": ("South America",),
    "Oceania": ("Australia and New Zealand", "Melanesia", "Micronesia", "Polynesia"),
}
WALES = """# one of my own
- slug: wales
  name: Wales
  adjective: Welsh
  languages: [cy-GB, en-GB]
  region: Northern Europe
  neighbours: [united_kingdom, germany]
"""


@pytest.fixture
def write(tmp_path):
    def written(text):
        path = tmp_path / "mine.yaml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return written


def test_15_cultures_the_paper_s_among_them():
    known = cultures.load()
    assert len(known) == 15
    assert set(NAMED) <= set(known)
    assert all(culture.slug == slug for slug, culture in known.items())
    assert len({culture.name for culture in known.values()}) == 15


def test_every_inhabited_continent_is_there():
    regions = {culture.region for culture in cultures.load().values()}
    assert regions <= {region for sub_regions in CONTINENTS.values() for region in sub_regions}
    assert [name for name, sub_regions in CONTINENTS.items() if not regions & set(sub_regions)] == []


def test_neighbours_leave_cultures_to_compare_with():
    known = cultures.load()
    for slug, culture in known.items():
        assert len(set(culture.neighbours)) == 4, slug
        assert set(culture.neighbours) <= set(known) - {slug}
        assert len(set(known) - set(culture.neighbours) - {slug}) >= 4


def test_languages_are_tags_with_a_region():
    for culture in cultures.load().values():
        assert culture.languages
        assert all(re.fullmatch(r"[a-z]{2,3}-[A-Z]{2}", tag) for tag in culture.languages), culture.slug


def test_a_file_of_one_s_own_adds_a_culture(write):
    known = cultures.load(write(WALES))
    assert list(known) == [*cultures.load(), "wales"]
    assert known["wales"] == cultures.Culture(
        "wales", "Wales", "Welsh", ("cy-GB", "en-GB"), "Northern Europe", ("united_kingdom", "germany")
    )


def test_aliases_and_places_may_be_given(write):
    wales = cultures.load(write(WALES + "  aliases: [Cymru]\n  places: [the Valleys, Cardiff]\n"))["wales"]
    assert (wales.aliases, wales.places) == (("Cymru",), ("the Valleys", "Cardiff"))
    with pytest.raises(InputError, match="places must be a non-empty list"):
        cultures.load(write(WALES + "  places: Cardiff\n"))


@pytest.mark.parametrize(("tag", "country"), [("zh-CN", "CN"), ("zh-Hant-TW", "TW"), ("eo", None), ("es-419", None)])
def test_the_country_is_that_of_the_first_language(write, tag, country):
    assert cultures.load(write(f"- slug: china\n  languages: [{tag}, en-GB]\n"))["china"].country == country


def test_a_file_of_one_s_own_overrides_the_fields_it_names(write):
    shipped = cultures.load()
    known = cultures.load(str(write("- slug: china\n  languages: [yue-HK]\n  neighbours: [wales]\n" + WALES)))
    assert known["china"] == cultures.Culture(
        "china", shipped["china"].name, "Chinese", ("yue-HK",), shipped["china"].region, ("wales",)
    )
    assert {slug: known[slug] for slug in shipped if slug != "china"} == {
        slug: culture for slug, culture in shipped.items() if slug != "china"
    }


# text after WALES (7 lines), the line the mistake is told at, words of the message
MISTAKES = {
    "unknown key": ("- slug: china\n  neighbors: [japan]\n", 8, "unknown key 'neighbors'.*neighbours"),
    "key that is no text": ("- slug: china\n  3: japan\n", 8, "unknown key 3"),
    "text where a list belongs": ("- slug: china\n\n  languages: zh-CN\n", 8, "languages must be .* list.*'zh-CN'"),
    "list where text belongs": ("\n- slug: china\n  name: [China]\n", 9, r"name must be .* str.*\['China'\]"),
    "number where text belongs": ("- slug: china\n  name: 3\n", 8, "name must be .* str, found 3"),
    "date where text belongs": ("- slug: china\n  name: 2020-01-01\n", 8, "name must be .* str"),
    "unquoted no": ("- slug: china\n  languages: [zh-CN, no]\n", 8, "languages must list text.*quote words.*'no'"),
    "unquoted no as text": ("- slug: china\n  adjective: no\n", 8, "adjective must be .* str, found False"),
    "number in a list": ("- slug: china\n  languages: [3]\n", 8, r"languages must list text only, found \[3\]"),
    "empty text": ("- slug: china\n  name: ''\n", 8, "name must be a non-empty str"),
    "empty list": ("- slug: china\n  neighbours: []\n", 8, "neighbours must be a non-empty list"),
    "no value": ("- slug: china\n  name:\n", 8, "name must be .* str, found None"),
    "duplicate slug": (WALES, 9, "'wales' is used twice"),
    "unknown neighbour": ("- slug: china\n  neighbours: [narnia]\n", 8, "'narnia' cannot be a neighbour of 'china'"),
    "itself as neighbour": ("- slug: china\n  neighbours: [china]\n", 8, "'china' cannot be a neighbour of 'china'"),
    "neighbour twice": ("- slug: china\n  neighbours: [japan, japan]\n", 8, "'japan' cannot be .*once"),
    "missing field": ("- slug: narnia\n  name: Narnia\n  region: X\n", 8, "'narnia' lacks adjective, languages, neigh"),
    "missing slug": ("- name: Narnia\n", 8, "slug must be"),
    "upper-case slug": ("- slug: China\n", 8, "slug must be lower-case letters.*'China'"),
    "slug that leaves the folder": ("- slug: ../china\n", 8, r"slug must be lower-case letters.*'\.\./china'"),
    "slug with a line end": ('- slug: "china\\n"\n', 8, "slug must be lower-case letters"),
    "slug starting with a digit": ("- slug: 1china\n", 8, "slug must be lower-case letters.*'1china'"),
    "tab": ("- slug: china\n\tname: China\n", 9, "not valid YAML"),
    "unclosed bracket": ("- slug: china\n  languages: [zh-CN\n  name: China\n", 10, "not valid YAML"),
    "list as a key": ("- slug: china\n  ? [a]\n  : b\n", 9, "not valid YAML"),
    "second document": ("---\n- slug: china\n", 8, "not valid YAML"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_told_by_file_and_line(write, mistake):
    text, line, words = MISTAKES[mistake]
    path = write(WALES + text)
    with pytest.raises(InputError, match=words) as error:
        cultures.load(path)
    assert str(error.value).startswith(f"{path}, line {line}: ")


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("- slug: china\n  name: 2020-99-99\n", 8, "2020-99-99|not valid YAML"),
        ("- &same\n  slug: china\n- *same\n", 8, "twice|alias"),
        ("- slug: china\n  name: A\n  name: B\n", 8, "name.*twice|duplicate"),
        ("- slug: china\n  name: '  '\n", 8, "name must be a non-empty str"),
        ("- slug: china\n  languages: ['']\n", 8, "languages must"),
        ("- slug: china\n  name: \a\n", 9, "not valid YAML"),
    ],
    ids=["no such day", "alias of an entry", "key twice", "blank text", "empty text in a list", "control character"],
)
def test_a_rare_mistake_is_told_by_file_and_line(write, text, line, words):
    path = write(WALES + text)
    with pytest.raises(InputError, match=words) as error:
        cultures.load(path)
    assert "\n" not in str(error.value)
    assert re.match(rf"{re.escape(str(path))}, line ({line}|{line + 1}|{line + 2}): ", str(error.value))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", ", line 1: expected a list of entries"),
        ("slug: china\n", ", line 1: expected a list of entries"),
        ("- slug: china\n- china\n", ", entry 2: expected 'key: value' lines, found 'china'"),
        ("- slug: Côte\n".encode("latin-1"), ": is not UTF-8 text"),
    ],
    ids=["empty file", "not a list", "entry that is a word", "not UTF-8"],
)
def test_a_file_of_another_kind_is_told(write, text, said):
    path = write(text)
    with pytest.raises(InputError) as error:
        cultures.load(path)
    assert str(error.value).startswith(f"{path}{said}")


def test_a_missing_file_and_a_folder_are_told(tmp_path):
    for path in (tmp_path / "none.yaml", tmp_path):
        with pytest.raises(InputError, match="cannot be read") as error:
            cultures.load(path)
        assert str(path) in str(error.value)


def test_pick_keeps_the_order_asked_for():
    known = cultures.load()
    assert [culture.slug for culture in yamlfile.pick(["japan", "china"], known, "culture")] == ["japan", "china"]
    assert yamlfile.pick(None, known, "culture") == list(known.values())


@pytest.mark.parametrize(
    ("names", "words"),
    [(["japan", "narnia"], "unknown culture 'narnia'.*brazil"), (["japan", "japan"], "'japan' is named twice")],
)
def test_pick_tells_names_that_are_unknown_or_given_twice(names, words):
    with pytest.raises(InputError, match=words):
        yamlfile.pick(names, cultures.load(), "culture")


def test_pick_wants_a_name():
    with pytest.raises(InputError, match="no culture was named; known are united_kingdom"):
        yamlfile.pick([], cultures.load(), "culture")


NAMES = [
    ("china", "china"),
    ("a__b_", "a__b_"),
    ("Japan", "japan"),
    ("South Korea", "south_korea"),
    ("north-korea", "north_korea"),
    ("Native (Arab)", "native_arab"),
    ("C\u00f4te d'Ivoire", "cote_d_ivoire"),
    ("Co\u0302te d\u2019Ivoire", "cote_d_ivoire"),
    ("t\u00fcrkiye", "turkiye"),
    ("T\u00dcRK\u0130YE", "turkiye"),
    ("Korea, Rep.", "korea_rep"),
    ("Bosnia & Herzegovina", "bosnia_herzegovina"),
    ("K\u00f8benhavn", "kobenhavn"),
    ("3rd", "culture_3rd"),
    ("all", "culture_all"),
    ("ALL", "culture_all"),
    ("default", "culture_default"),
    ("con", "culture_con"),
    ("Com1", "culture_com1"),
    ("mexico-pool", "mexico_pool"),
    ("a/b\\c", "a_b_c"),
]


@pytest.mark.parametrize(("name", "slug"), NAMES)
def test_a_name_has_a_slug_that_can_name_a_file(name, slug):
    assert cultures.slugs([name]) == {name: slug}


def test_names_in_other_scripts_have_stable_slugs_of_their_own():
    names = [
        "\u65e5\u672c",
        "\u4e2d\u56fd",
        "\ud55c\uad6d",
        "\u0930\u0942\u0938",
        "\u0930\u0938",
        "\U0001f1ef\U0001f1f5",
    ]
    found = cultures.slugs(names)
    assert len(set(found.values())) == len(names)
    assert all(re.fullmatch("culture_[0-9a-f]{8}", slug) for slug in found.values())
    assert cultures.slugs(names[:1]) == {names[0]: found[names[0]]}


def test_names_of_one_slug_are_kept_apart_and_the_slug_itself_stays(caplog):
    names = ["north_korea", "North Korea", "north-korea", "NORTH KOREA"]
    found = cultures.slugs(names)
    assert found["north_korea"] == "north_korea"
    assert len(set(found.values())) == 4
    cultures.warn_of_spellings(["north_korea", "North Korea"])
    assert "are kept apart; if they are one, spell them alike" in caplog.text


NAME = st.text(st.characters(blacklist_categories=("Cs",)), max_size=250)
HOSTILE = st.sampled_from([name for name, _ in NAMES] + ["nul", "..", "all-pool", "Default", "culture_all", "x" * 300])


@settings(max_examples=200, deadline=None)
@given(st.lists(NAME | HOSTILE, max_size=12))
def test_slugs_are_file_names_that_differ_on_every_file_system(names):
    found = cultures.slugs(names)
    assert set(found) == set(names)
    assert len(set(found.values())) == len(found)
    for slug in found.values():
        assert re.fullmatch("[a-z][a-z0-9_]*", slug)
        assert len(slug) <= 100
        assert slug not in cultures.RESERVED


def test_one_spelling_is_the_most_frequent():
    assert cultures.one_spelling(["japan", "Japan", "\uff2aapan", "Japan", "Ja\u200bpan", "china", ""]) == [
        *["Japan"] * 5,
        "china",
        "",
    ]


def test_bad_names_are_named_all_at_once_with_their_rows():
    names = ["china", "", "..", "a\nb", "..", "x" * 201, "\u200b"]
    with pytest.raises(InputError) as error:
        cultures.check_names(names)
    assert str(error.value).startswith(
        "the table: 4 culture names cannot be used (row 3: '..' holds no letter; row 4: "
    )
    assert "row 6: 'xxxx" in str(error.value)
    assert "row 7: " in str(error.value)
    cultures.check_names([name for name, _ in NAMES])


@pytest.mark.parametrize("slug", ["all", "default", "aux", "lpt9"])
def test_a_reserved_slug_is_refused_by_file_and_line(write, slug):
    with pytest.raises(InputError, match=f"line 8: slug '{slug}' cannot name a config or a file.*culture_{slug}"):
        cultures.load(write(WALES + WALES.split("\n", 1)[1].replace("slug: wales", f"slug: {slug}")))
