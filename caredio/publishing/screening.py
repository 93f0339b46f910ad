"""What may not be published: access tokens, e-mail addresses and telephone numbers, wherever in a table they stand.

They are looked for by their form, so an address or a number that is written out in words is not found.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from datasets import Dataset

from caredio.errors import InputError
from caredio.synthesis.checks import folded

TOKEN, EMAIL, TELEPHONE = "an access token", "an e-mail address", "a telephone number"
_SHOWN = 20  # rows in a message
_QUOTED = 4  # characters of what was found in a message
_HASHES = frozenset(("sample_id", "prompt_sha"))  # made by this package
# names and identifiers, in which digits are no telephone number
_NAMES = frozenset(
    ("question_id", "topic_id", "evidence_id", "generator", "model_revision", "language", "culture", "drop_reason")
)
_VIEWS = ("-preference", "-unpaired")  # whose texts stand in the other tables, but for answers in contrast

# what a text holds at least in which anything can be found: RE2, over all texts at once
_MAY_HOLD = r"[@＠﹫]|hf_|sk-|sk_|rk_|AKIA|ASIA|gh[a-z]_|github_pat_|glpat-|xox|AIza|npm_|gsk_|eyJ|PRIVATE KEY"
_MAY_HOLD += r"|SG\.|ya29\.|r8_|do[opr]_v1_|(?i:AccountKey)"
_TOKEN = re.compile(
    r"(?<![A-Za-z0-9])(?:"
    r"hf_[A-Za-z0-9]{20,}"  # Hugging Face
    # OpenAI, Anthropic, OpenRouter; bounded, as a text of many such beginnings is read from each of them
    r"|sk-(?:[a-z]{1,20}[0-9]{0,8}-){0,4}(?=[\w-]{0,200}[0-9])(?=[\w-]{0,200}[A-Za-z])[A-Za-z0-9_]{16,}"
    r"|[sr]k_(?:live|test)_[A-Za-z0-9]{16,}|A(?:KIA|SIA)[0-9A-Z]{16}|AIza[\w-]{35}"  # Stripe, AWS, Google
    r"|gh[oprsu]_[A-Za-z0-9]{20,}|github_pat_\w{22,}|glpat-[\w-]{20,}|xox[abeoprs]-[\w-]{10,}"  # GitHub, GitLab, Slack
    r"|npm_[A-Za-z0-9]{36}|gsk_[A-Za-z0-9]{40,}|r8_[A-Za-z0-9]{37,40}"  # npm, Groq, Replicate
    r"|SG\.[\w-]{16,32}\.[\w-]{32,64}|ya29\.[\w-]{30,}|do[opr]_v1_[0-9a-f]{64}"  # SendGrid, Google, DigitalOcean
    r"|(?i:AccountKey)=[A-Za-z0-9+/]{40,}={0,2}"  # Azure
    r"|eyJ[\w-]{8,2000}\.eyJ[\w-]{8,}\.[\w-]*"  # JSON Web Token
    r")|-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----"
)
_EMAIL = re.compile(r"[\w.+%-]{1,64}@(?:[\w-]{1,63}\.)+[^\W\d_]{2,}")
_WORDS = (
    r"(?<!\w)(?:(?:tele)?phones?|(?:tele)?phone numbers?|tel|mobile|cell(?: ?phone)?|whatsapp|hotline|fax|dial|sms"
    r"|call(?: me| us)?(?: at| on)?|tel[eé]fono|telefone|celular|móvil|telefon|handy|téléphone|telepon|hp|simu|waya"
    r"|τηλ(?:έφωνο)?)(?: is)?"
    r"|电话|手机|微信|電話(?:番号)?|携帯|전화(?:번호)?|휴대폰|핸드폰|연락처|هاتف|تلفن|موبایل|جوال|فون|फ़ोन|फोन|मोबाइल|ফোন|ስልክ"
)
_CALLED = re.compile(rf"(?:{_WORDS})(?:是|は)?[\W_]{{0,6}}(?P<number>\d[\d ()./-]{{5,20}}\d)(?!\d)", re.IGNORECASE)
_DATES = re.compile(r"(?:1\d|20)\d\d ?[-/. ] ?(?:(?:1\d|20)\d\d|\d{1,2} ?[-/.] ?\d{1,2})|\d{1,2}[-/.]\d{1,2}[-/.]\d{4}")
_AMOUNT = re.compile(r"\d{1,3}(?:[.,]\d{3})+")  # 12.500.000
_ROUND = re.compile(r"[1-9]\d{0,2}(?: \d{3})* 000")  # 1 250 000, where no country's rules say what it is
_LEAST_DIGITS = 7  # of a telephone number
_NEAR = re.compile(r"(?:\d\D{0,4}){6}\d")  # so many of them, with what may stand between
_LEAST_GROUPED, _LEAST_MOBILE = 9, 10  # digits of a national number that no word introduces


class Found(NamedTuple):
    """What may not be published, and where it stands."""

    sample_id: str  # of the row to leave out
    place: str  # config/split and row
    column: str
    what: str
    text: str  # as it was found

    def __str__(self) -> str:
        return f"{self.place}, column {self.column}: {self.what} ({self.text[:_QUOTED]}...)"


class _Cells(NamedTuple):
    """The texts of a column, or of a field of a nested one, with the row, the sample and the culture of each."""

    column: str
    texts: pa.Array
    rows: np.ndarray
    sample_ids: pa.Array | None
    cultures: pa.Array | None


def check(tables: Iterable[tuple[str, str, Dataset]], countries: Mapping[str, str | None]) -> None:
    """See that no text of a release holds what may not be published.

    Args:
        tables: (config, split, table) of all that is to be published.
        countries: culture -> ISO 3166 code, by whose rules a telephone number without its + is known.

    Raises:
        InputError: some do; names the first, and a row's sample_id on each further line.
    """
    found = find(tables, countries)
    if not found:
        return
    more = f"\n  and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    lines = "".join(f"\n  {one.sample_id}  {one}" for one in found[:_SHOWN])
    first, rows = found[0], len({one.sample_id for one in found})
    which = f"the {rows} rows" if rows > 1 else "the row"
    raise InputError(
        f"{first.place}, column {first.column}: holds what looks like {first.what}, which is not published; mend the"
        f" text where it comes from, or leave out {which} below with --remove FILE, a list of sample_ids.{lines}{more}"
    )


def find(tables: Iterable[tuple[str, str, Dataset]], countries: Mapping[str, str | None]) -> list[Found]:
    """What may not be published, each row and kind once; of the places of a text that in its own row."""
    given = sorted(tables, key=lambda one: (one[0].endswith(_VIEWS), not one[0].endswith("-pool")))
    samples = {name for config, _, table in given if config.endswith("-pool") for name in table["sample_id"][:]}
    found: dict[tuple[str, str], Found] = {}
    quoted: set[str] = set()
    for config, split, table in given:
        for cells, cell, (what, text) in _suspects(table, countries):
            row = int(cells.rows[cell])
            own = cells.sample_ids[cell].as_py() if cells.sample_ids is not None else None
            name = str(own if own in samples else table["sample_id"][row])
            before = found.get((name, what))
            beside = before is not None and "." in before.column and "." not in cells.column
            if (before is None or beside) and not (config.endswith(_VIEWS) and text in quoted):
                found[name, what] = Found(name, f"{config}/{split}, row {row + 1}", cells.column, what, text)
            quoted.add(text)
    return list(found.values())


def reason(text: str, country: str | None = None, digits: bool = True) -> tuple[str, str] | None:
    """What in a text may not be published, and the part that it is; None where nothing is found.

    Args:
        country: ISO 3166 code, whose telephone numbers are known without their +.
        digits: whether telephone numbers are looked for.
    """
    text = folded(text)
    for what, pattern in ((TOKEN, _TOKEN), (EMAIL, _EMAIL)):
        if found := pattern.search(text):
            return what, found.group()
    number = telephone(text, country) if digits else None
    return (TELEPHONE, number) if number else None


def telephone(text: str, country: str | None = None) -> str | None:
    """The first telephone number in a text; None where there is none.

    One begins with + or follows a word such as "call", or is a valid number of the country in the groups in which it is
    written there, or with its leading 0, or of a mobile telephone. Years, dates and amounts are none.
    """
    if not _NEAR.search(text):
        return None
    for called in _CALLED.finditer(text):
        number = called["number"]
        enough = sum(character.isdigit() for character in number) >= _LEAST_DIGITS
        if enough and not any(other.fullmatch(number) for other in (_DATES, _AMOUNT, _ROUND)):
            return number
    import phonenumbers

    for match in phonenumbers.PhoneNumberMatcher(text, country):
        if _is_telephone(match.raw_string, match.number, country):
            return match.raw_string
    return None


def _is_telephone(written: str, number: Any, country: str | None) -> bool:
    """Whether a valid number is written as a telephone number, and no year, amount or identifier."""
    import phonenumbers

    if written.startswith(("+", "00")):
        return True
    if _DATES.search(written) or _AMOUNT.fullmatch(written):
        return False
    digits = len(phonenumbers.national_significant_number(number))
    if not written.isdecimal():
        strictly = phonenumbers.PhoneNumberMatcher(written, country, leniency=phonenumbers.Leniency.STRICT_GROUPING)
        return digits >= _LEAST_GROUPED and any(strictly)
    if written.startswith("0"):
        return digits >= _LEAST_GROUPED
    mobile = phonenumbers.number_type(number) == phonenumbers.PhoneNumberType.MOBILE
    return mobile and digits >= _LEAST_MOBILE


def _suspects(table: Dataset, countries: Mapping[str, str | None]) -> Iterator[tuple[_Cells, int, tuple[str, str]]]:
    """The cells in which something is found: their column, their place in it, and what it is."""
    looked = functools.lru_cache(maxsize=None)(reason)  # equal texts stand in many rows
    arrow = table.with_format("arrow")[:]
    cultures = arrow["culture"] if "culture" in arrow.column_names else None
    for name in arrow.column_names:
        start = 0
        for chunk in arrow[name].chunks:
            rows = np.arange(start, start + len(chunk))
            start += len(chunk)
            for cells in _texts(name, chunk, rows):
                for cell in _may_hold(cells.texts):
                    spoken = cells.cultures[cell] if cells.cultures is not None else None
                    spoken = spoken or (cultures[int(cells.rows[cell])] if cultures is not None else None)
                    country = countries.get(spoken.as_py()) if spoken is not None else None
                    digits = cells.column.rpartition(".")[2] not in _NAMES
                    if found := looked(cells.texts[cell].as_py(), country, digits):
                        yield cells, cell, found


def _may_hold(texts: pa.Array) -> list[int]:
    """The places of the texts that may hold something, each distinct text looked at once."""
    distinct = texts.unique()
    digits = pc.greater_equal(pc.count_substring_regex(distinct, r"\p{Nd}"), _LEAST_DIGITS)
    able = distinct.filter(pc.or_(pc.match_substring_regex(distinct, _MAY_HOLD), digits))
    return np.flatnonzero(pc.is_in(texts, able).to_numpy(zero_copy_only=False)).tolist() if len(able) else []


def _texts(
    column: str, cells: pa.Array, rows: np.ndarray, sample_ids: pa.Array | None = None, cultures: pa.Array | None = None
) -> Iterator[_Cells]:
    """The texts of a column, field by field where it is nested."""
    kind = cells.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        if column.rpartition(".")[2] not in _HASHES:
            yield _Cells(column, cells, rows, sample_ids, cultures)
    elif pa.types.is_list(kind) or pa.types.is_large_list(kind):
        parents = pc.list_parent_indices(cells).to_numpy()
        yield from _texts(column, pc.list_flatten(cells), rows[parents])
    elif pa.types.is_struct(kind):
        fields = {field.name: pc.struct_field(cells, place) for place, field in enumerate(kind)}
        for name, values in fields.items():
            yield from _texts(f"{column}.{name}", values, rows, fields.get("sample_id"), fields.get("culture"))
