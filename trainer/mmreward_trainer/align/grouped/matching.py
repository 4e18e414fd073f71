"""Whether a completion gives the known answer of its row: a rough check without any judge.

Compared are texts in lower case without punctuation and with single spaces. `contains` looks for
the answer as whole words anywhere in the completion, `exact` wants nothing beside it. A list holds
answers of which each is right. A completion that names every possible answer is right by
`contains`: look at lengths as well.
"""

from __future__ import annotations

import re
from typing import Any, Literal

Match = Literal["contains", "exact"]
_NOT_WORDS = re.compile(r"[^\w]+")


def is_right(response: str, answer: Any, match: Match) -> bool:
    """Whether a response gives one of the right answers.

    Args:
        answer: a text, a number, or a list of them.
    """
    answers = answer if isinstance(answer, list | tuple) else [answer]
    said = f" {plain(response)} "
    for one in answers:
        wanted = plain(str(one))
        if not wanted:
            continue
        if match == "exact" and said.strip() == wanted:
            return True
        if match == "contains" and f" {wanted} " in said:
            return True
    return False


def plain(text: str) -> str:
    """Lower case, words and digits only, single spaces."""
    return _NOT_WORDS.sub(" ", text.casefold()).strip()
