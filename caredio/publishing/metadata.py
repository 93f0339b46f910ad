"""What the Hub takes in a card's YAML head and as a repository's name: looked at before anything is sent."""

from __future__ import annotations

import difflib
import functools
import logging
import re
from collections.abc import Iterable

from caredio.errors import InputError

log = logging.getLogger("caredio")

# https://huggingface.co/docs/hub/repositories-licenses, as of 2026-08; what it lacks is `other`, named in the terms
_LICENSES = """
    apache-2.0 mit openrail bigscience-openrail-m creativeml-openrail-m bigscience-bloom-rail-1.0 bigcode-openrail-m
    afl-3.0 artistic-2.0 bsl-1.0 bsd bsd-2-clause bsd-3-clause bsd-3-clause-clear c-uda cc cc0-1.0 cc-by-2.0 cc-by-2.5
    cc-by-3.0 cc-by-4.0 cc-by-sa-3.0 cc-by-sa-4.0 cc-by-nc-2.0 cc-by-nc-3.0 cc-by-nc-4.0 cc-by-nd-4.0 cc-by-nc-nd-3.0
    cc-by-nc-nd-4.0 cc-by-nc-sa-2.0 cc-by-nc-sa-3.0 cc-by-nc-sa-4.0 cdla-sharing-1.0 cdla-permissive-1.0
    cdla-permissive-2.0 wtfpl ecl-2.0 epl-1.0 epl-2.0 etalab-2.0 eupl-1.1 eupl-1.2 agpl-3.0 gfdl gpl gpl-2.0 gpl-3.0
    lgpl lgpl-2.1 lgpl-3.0 isc h-research intel-research lppl-1.3c ms-pl apple-ascl apple-amlr mpl-2.0 odc-by odbl
    open-mdw openrail++ osl-3.0 postgresql ofl-1.1 ncsa unlicense zlib pddl lgpl-lr deepfloyd-if-license
    fair-noncommercial-research-license llama2 llama3 llama3.1 llama3.2 llama3.3 llama4 grok2-community gemma unknown
    other
"""
LICENSES = frozenset(_LICENSES.split())
_COMMON = frozenset(
    ["a", "an", "and", "license", "licence", "licensed", "of", "public", "the", "under", "v", "version"]
)
_LONG = (  # as licences write themselves out; the longest first
    ("noncommercial", "nc"), ("non-commercial", "nc"), ("noderivatives", "nd"), ("sharealike", "sa"),
    ("share-alike", "sa"), ("attribution", "by"), ("creative commons", "cc"), ("international", ""),
    ("gnu affero general public", "agpl"), ("gnu lesser general public", "lgpl"), ("gnu general public", "gpl"),
    ("mozilla", "mpl"), ("eclipse", "epl"),
)  # fmt: skip
_SPDX = {
    "cc0-1.0": "CC0-1.0", "mit": "MIT", "apache-2.0": "Apache-2.0", "odbl": "ODbL-1.0", "odc-by": "ODC-By-1.0",
    "pddl": "PDDL-1.0", "cdla-permissive-1.0": "CDLA-Permissive-1.0", "cdla-permissive-2.0": "CDLA-Permissive-2.0",
    "cdla-sharing-1.0": "CDLA-Sharing-1.0", "gfdl": "GFDL-1.3-or-later", "gpl-3.0": "GPL-3.0-only",
}  # fmt: skip
_DEEDS = "https://creativecommons.org"
_SIZES = ("n<1K", "1K<n<10K", "10K<n<100K", "100K<n<1M", "1M<n<10M", "10M<n<100M", "100M<n<1B", "1B<n<10B")
_SPECIAL = {"mul": "multilingual", "multilingual": "multilingual", "code": "code"}


def check_license(name: str) -> None:
    """See that the Hub knows a licence; an empty one is none.

    Raises:
        InputError: it does not; names the most similar one.
    """
    if not name or name in LICENSES:
        return
    raise InputError(
        f"license is {name!r}, which is no licence as the Hub spells it; use such as {_nearest(name)}, or other, and"
        " give yours as terms."
    )


def spdx(license_: str) -> str | None:
    """What SPDX calls a licence of the Hub's that data is mostly under; None of others."""
    if re.fullmatch(r"cc-by(-nc)?(-sa|-nd)?-[0-9.]+", license_):
        return license_.upper()
    return _SPDX.get(license_)


def deed(license_: str) -> str | None:
    """Where Creative Commons holds one of its licences; None of others."""
    if license_ == "cc0-1.0":
        return f"{_DEEDS}/publicdomain/zero/1.0/"
    found = re.fullmatch(r"cc-(by(?:-nc)?(?:-sa|-nd)?)-([0-9.]+)", license_)
    return f"{_DEEDS}/licenses/{found[1]}/{found[2]}/" if found else None


def spdx_url(license_: str) -> str | None:
    """Where SPDX holds the text of a licence; None of one that it is not known to hold."""
    name = spdx(license_)
    return f"https://spdx.org/licenses/{name}.html" if name else None


def _nearest(name: str) -> str:
    """The licence whose words are most like those of a name: "Apache License, v2" -> apache-2.0."""
    words = _words(name)
    plain = "-".join(words)
    return min(
        sorted(LICENSES),
        key=lambda known: (
            -2 * len({*words} & {*_words(known)}) / (len({*words}) + len({*_words(known)})),
            -difflib.SequenceMatcher(None, plain, known).ratio(),
        ),
    )


def _words(license_: str) -> list[str]:
    """The words and versions of a licence's name, without those that any licence's name may have."""
    text = license_.lower()
    for long, short in _LONG:
        text = text.replace(long, f" {short} ")
    parts = re.findall(r"[a-z]+|[0-9]+(?:\.[0-9]+)?", text)
    versions = (f"{part}.0" if part.isdecimal() else part for part in parts)
    return [part for part in versions if part not in _COMMON]


def check_repo(name: str) -> None:
    """See that the Hub takes `owner/name` as a repository.

    Raises:
        InputError: it would not.
    """
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(name)
    except HFValidationError as error:
        raise InputError(f"{name!r} is no repository's name; write it as owner/name ({error}).") from None
    if "/" not in name:
        raise InputError(f"{name!r} is no repository's name; write it as owner/name.")


def languages(tags: Iterable[str | None]) -> list[str]:
    """ISO 639 codes of BCP-47 tags (ja-JP -> ja) and English names (Japanese -> ja), sorted, each once.

    What is undetermined is left out; so is what is no language, with a warning.
    """
    found, unknown = set(), set()
    for tag in {tag.strip() for tag in tags if tag and tag.strip()}:
        code = language(tag)
        if code:
            found.add(code)
        elif code is None:
            unknown.add(tag)
    if unknown:
        log.warning("language %s: no ISO 639 code; left out of the card's head.", ", ".join(map(repr, sorted(unknown))))
    return sorted(found)


def language(tag: str) -> str | None:
    """The ISO 639 code of a tag or an English name; empty where it is undetermined, None where it is no language."""
    from babel.core import get_global

    part = re.split(r"[-_]", tag)[0].lower()
    part = _names().get(tag.lower(), part)
    aliases = get_global("language_aliases")
    part = re.split(r"[-_]", aliases.get(part, part))[0]
    if part in _SPECIAL:
        return _SPECIAL[part]
    if part in ("und", "mis", "zxx", "unknown", "") or re.fullmatch("q[a-t][a-z]", part):
        return ""
    return part if re.fullmatch("[a-z]{3}", part) or part in _names().values() else None


def size_category(rows: int) -> str:
    """The Hub's word for a number of rows."""
    return next(tag for power, tag in enumerate(_SIZES, start=3) if rows < 10**power)


@functools.cache
def _names() -> dict[str, str]:
    """English name of a language, in lower case -> its code."""
    from babel import Locale

    return {name.lower(): code for code, name in Locale("en").languages.items() if re.fullmatch("[a-z]{2,3}", code)}
