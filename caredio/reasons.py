"""Why rows are dropped, and what to change where that leaves none.

A row's `drop_reason` comes from the answer (`llm/rows.py`), a check of its text (`synthesis/checks.py`), the stage that
compares it with others, or the endpoint.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping

from caredio.errors import InputError

_MOST = 3  # pieces of advice in a message

ADVICE = (  # the first pattern that a reason matches
    (r"truncated", "answers were cut off (finish_reason length): raise max_tokens, which thinking uses up too"),
    (r"reasoning", "thinking did not end in an answer: raise max_tokens or turn thinking off at the endpoint"),
    (
        r"(?i:not[_ ]json|json[_ ]does[_ ]not[_ ]fit)",
        "the model does not keep to the JSON schema: set json_mode to prompt or name another model",
    ),
    (r"content_filter", "the endpoint's filter refuses these prompts: choose other topics or another endpoint"),
    (r"prompt_too_long", "prompts are longer than the model takes: lower max_tokens or name another model"),
    (r"not_text", "the answers hold broken characters: name another model or endpoint"),
    (r"endpoint: ", "mend the endpoint, then run the same command again"),
    (
        r"refusal|meta-talk|leaked prompt|wrong language|toxic|personal data|sweeping statement|names another culture"
        r"|names_a_culture|the question names|compares_with_elsewhere|invented_biography",
        "the model's text fails the checks: name a more capable model, or set checks to none",
    ),
    (r"too_(?:short|long)", "the model does not keep to the length: widen words, or name a more capable model"),
    (r"near_duplicate", "the model repeats itself: name a more capable model, or raise rouge_l or question_cosine"),
    (
        r"insensitive",
        "cultures would answer alike: choose other topics or a more capable model, or lower least_sensitivity",
    ),
    (r"no_other_culture", "nothing to compare with: give two cultures rows of the same question_id"),
    (
        r"no_(?:whole_)?rating|no_verdict|off_the_scale",
        "the judge does not end as it is asked to: name a more capable one",
    ),
    (r"off_question", "answers leave the question: name a more capable model, or set check_others to false"),
    (
        r"untrue|unanswered|stereotype|unrecognised",
        "the reviewer rates the text low: name a more capable writer, or lower least_truth, least_answering,"
        " least_fairness or least_recognition",
    ),
    (r"no_(?:answer|isolated_answer|other_answer)", "the answers were dropped before: see the rejects of that stage"),
    (
        r"no question|no[ _]subtopic|the rewritten question|no trait",
        "the model does not answer as asked: name a more capable one",
    ),
    (
        r"empty",
        "the model's answers are empty: name another model, raise max_tokens, or turn tools and thinking off at the"
        " endpoint",
    ),
    (r"one_response|tie$", "give questions two responses or more whose ratings differ"),
    (r"rating_", "ratings are numbers from 1 to 10"),
    (r"question_of_no_help", "the model finds no answer likelier after its question: name a more capable one"),
    (
        r"unmeasured|no_estimate",
        "no row has all of its scores: choose measures that ask no model, or a more capable one, or answer more"
        " questions",
    ),
    (r"redundant", "every row is like another: raise theta"),
    (
        r"unknown_culture|kept_for_test|no_text|piece_too_long|chat_marks|repeated",
        "no piece of evidence can be shown: give plain texts of at most 1,000 characters on cultures that are known",
    ),
    (r"no_weight", "every weight is 0: check the table's column"),
)
_MEANINGS = {  # of reasons that a selection drops rows for
    "redundant": "another row of its cluster is nearer to the centre, and stands for the cluster",
    "over_budget": "it ranks below the rows that the budget takes",
    "no_other_culture": "no other culture's answer to the question is there to compare with",
    "unmeasured": "a score could not be computed",
}
_TABLE = "the table"  # what no model wrote
_OF_A_TABLE = ((r"empty", "the text is empty: check the table's column"),)


def advice(drops: Mapping[str, int], what: str = "") -> str:
    """What to change in `what`, most frequent reason first; empty where nothing is known to help."""
    known = (*_OF_A_TABLE, *ADVICE) if what == _TABLE else ADVICE
    found: Counter[str] = Counter()
    for reason, count in drops.items():
        found[next((do for pattern, do in known if re.match(pattern, reason)), "")] += count
    del found[""]
    return "; ".join(do for do, _ in found.most_common(_MOST))


def meaning(reason: str) -> str:
    """What a drop reason of the selection means; empty for others, which name what was looked for."""
    return _MEANINGS.get(reason, "")


def nothing_left(what: str, drops: Mapping[str, int]) -> InputError:
    """The error of a table without rows: how many were dropped, why, and what to change."""
    why = ", ".join(f"{count} {reason}" for reason, count in sorted(drops.items()))
    do = advice(drops, what)
    return InputError(f"{what}: no rows{f' left ({why})' if why else ''}; nothing to work on{f': {do}' if do else ''}.")


def require_left(what: str, rows: int, drops: Mapping[str, int]) -> None:
    """Nothing, where a stage kept a row or had none to keep.

    Raises:
        InputError: it dropped them all.
    """
    if drops and not rows:
        raise nothing_left(what, drops)
