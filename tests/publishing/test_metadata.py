"""What the Hub takes in a card's head: licences and languages as it spells them."""

import pytest

from caredio.errors import InputError
from caredio.publishing import metadata


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("CC BY 4.0", "cc-by-4.0"),
        ("MIT", "mit"),
        ("Apache 2.0", "apache-2.0"),
        ("gpl v3", "gpl-3.0"),
        ("x", ""),
        ("MIT License", "mit"),
        ("The MIT License (MIT)", "mit"),
        ("Apache License, Version 2.0", "apache-2.0"),
        ("apache2", "apache-2.0"),
        ("GNU General Public License v3", "gpl-3.0"),
        ("LGPL 2.1", "lgpl-2.1"),
        ("CC-BY-SA 4.0 International", "cc-by-sa-4.0"),
        ("Creative Commons Attribution 4.0", "cc-by-4.0"),
        ("Creative Commons Attribution-NonCommercial-ShareAlike 4.0 International", "cc-by-nc-sa-4.0"),
        ("CC0", "cc0-1.0"),
        ("BSD 3 clause", "bsd-3-clause"),
        ("The Unlicense", "unlicense"),
        ("Mozilla Public License 2.0", "mpl-2.0"),
    ],
)
def test_a_licence_that_is_none_is_refused_with_the_most_similar(name, near):
    with pytest.raises(
        InputError, match=f"which is no licence as the Hub spells it; use such as {near}{',' if near else ''}"
    ):
        metadata.check_license(name)


@pytest.mark.parametrize("name", ["", "mit", "cc-by-4.0", "openrail++", "llama3.1", "other", "unknown"])
def test_a_licence_of_the_hub_s_is_taken(name):
    metadata.check_license(name)


@pytest.mark.parametrize(
    ("name", "deed"),
    [
        ("cc-by-sa-4.0", "https://creativecommons.org/licenses/by-sa/4.0/"),
        ("cc-by-nc-nd-3.0", "https://creativecommons.org/licenses/by-nc-nd/3.0/"),
        ("cc0-1.0", "https://creativecommons.org/publicdomain/zero/1.0/"),
        ("cc", None),
        ("mit", None),
        ("unknown", None),
    ],
)
def test_a_licence_of_creative_commons_has_a_deed(name, deed):
    assert metadata.deed(name) == deed


def test_languages_become_iso_639(caplog):
    tags = ["ja-JP", "Japanese", "es-MX", "ar", "zh-Hant-TW", "zh_CN", "iw", "jpn", "yue-HK", "es-419", "EN", None, " "]
    assert metadata.languages([*tags, "und", "zxx", "unknown", "qaa-Latn", "mul"]) == [
        "ar", "en", "es", "he", "ja", "multilingual", "yue", "zh"
    ]  # fmt: skip
    assert not caplog.messages
    assert metadata.languages(["x-private", "Klingonish", "xx", "fr"]) == ["fr"]
    assert caplog.messages == [
        "language 'Klingonish', 'x-private', 'xx': no ISO 639 code; left out of the card's head."
    ]


@pytest.mark.parametrize(
    ("rows", "tag"), [(0, "n<1K"), (999, "n<1K"), (1000, "1K<n<10K"), (57_000, "10K<n<100K"), (10**6, "1M<n<10M")]
)
def test_a_number_of_rows_has_the_hub_s_word(rows, tag):
    assert metadata.size_category(rows) == tag
