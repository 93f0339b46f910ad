"""What a person can mend: every error here is one sentence, which lines of detail may follow, and the command
line exits with 2.

CaredioError
├── InputError      a file, row, column, flag or name that is not what was wanted
├── EndpointError   the language model's endpoint refused, failed too often, or needs a key
└── BudgetError     what the command may spend is spent
"""

import difflib
from collections.abc import Iterable


class CaredioError(Exception):
    """Base of the errors a user can mend; `str(error)` says what is wrong, where, and what to do."""


class InputError(CaredioError):
    """Input is not what was wanted."""


class EndpointError(CaredioError):
    """The endpoint cannot serve this run. Answers that arrived before are stored."""


class BudgetError(CaredioError):
    """The next call could cost more than was allowed. Answers that arrived before are stored."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The end of a message on an unknown name: the known one that is nearest; empty where none is near."""
    near = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {near[0]}?" if near else ""
