"""The prompt of an expansion: a text with the places {question}, {answer} and {comment}.

The packaged one asks for what table 7 of arXiv 2502.10391 asks for, in words of our own: expand the
comment alone, keep its strengths and weaknesses, be professional, do not answer the question, do
not speculate. All places are filled in one pass, so that braces in someone's answer stay what they
are.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from pathlib import Path

from mmreward_client.errors import InvalidInput

PLACES = ("question", "answer", "comment")
_PLACE = re.compile(r"\{([A-Za-z_]+)\}")


@dataclass(frozen=True)
class Template:
    """A prompt with each of its places exactly once.

    Raises:
        InvalidInput: a place is missing, stands twice, or is unknown.
    """

    text: str

    def __post_init__(self) -> None:
        found = _PLACE.findall(self.text)
        unknown = sorted(set(found) - set(PLACES))
        if unknown:
            raise InvalidInput(f"a template has no place {{{unknown[0]}}}: {_listed()}")
        for place in PLACES:
            if found.count(place) != 1:
                times = "is missing" if place not in found else "stands there more than once"
                raise InvalidInput(f"{{{place}}} {times}: a template has each of {_listed()} once")

    def fill(self, question: str, answer: str, comment: str) -> str:
        """The prompt of one comment."""
        texts = {"question": question, "answer": answer, "comment": comment}
        return "".join(
            texts[part] if number % 2 else part for number, part in enumerate(self._parts)
        )

    @cached_property
    def _parts(self) -> list[str]:
        """Texts and, at odd positions, places between them."""
        return _PLACE.split(self.text)


def read_template(path: Path | None = None) -> Template:
    """A template of a UTF-8 text file; the packaged one if None. Space around it is not kept.

    Raises:
        OSError: the file cannot be read.
        InvalidInput: it is not UTF-8, or not a template; the message begins with the path.
    """
    if path is None:
        packaged = files("mmreward_trainer.expansion").joinpath("template.txt")
        return Template(packaged.read_text(encoding="utf-8").strip())
    try:
        return Template(path.read_text(encoding="utf-8").strip())
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{path}: not UTF-8: {error.reason}") from None
    except InvalidInput as error:
        raise InvalidInput(f"{path}: {error}") from None


def _listed() -> str:
    return ", ".join(f"{{{place}}}" for place in PLACES)
