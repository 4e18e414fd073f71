"""The comments of a pair as requests: what is asked, and the key that knows it again.

A key covers the settings, the three texts and, where pictures are sent, their bytes: two comments
with the same key would get the same request, so it is sent once, in this run and in all that resume
it. That is finer than the place of a row: a row that was moved keeps its reply, a row whose answer
was changed does not.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from mmreward_client.data import ImageSource, PreferencePair, Where

from mmreward_trainer.expansion.settings import Settings

Side = Literal["chosen", "rejected"]
SIDES: tuple[Side, ...] = ("chosen", "rejected")

_DATA_URI = re.compile(r"data:([\w.+/-]+);base64,([A-Za-z0-9+/=]+)")


@dataclass(frozen=True)
class Request:
    """One comment to expand. `where` and `side` tell people which; they decide about nothing."""

    key: str
    question: str
    answer: str
    comment: str
    pictures: tuple[ImageSource, ...]
    where: Where
    side: Side

    def prompt(self, settings: Settings) -> str:
        return settings.template.fill(self.question, self.answer, self.comment)

    def body(self, settings: Settings) -> dict[str, Any]:
        """The body that is sent; pictures come before the text, as data URIs.

        Raises:
            InvalidInput: a picture cannot be read.
        """
        text = self.prompt(settings)
        if not self.pictures:
            return settings.body([{"role": "user", "content": text}])
        parts: list[dict[str, Any]] = [
            {"type": "image_url", "image_url": {"url": picture.data_uri()}}
            for picture in self.pictures
        ]
        parts.append({"type": "text", "text": text})
        return settings.body([{"role": "user", "content": parts}])


def requests_of(pair: PreferencePair, settings: Settings) -> Iterator[Request]:
    """A request for each reason that the pair has: none, one or two.

    Raises:
        InvalidInput: a picture that would be sent cannot be read.
    """
    pictures = pictures_of(pair) if settings.with_pictures else ()
    identities: list[str] | None = None
    for side in SIDES:
        comment = reason(pair, side)
        if comment is None:
            continue
        if identities is None:
            identities = [picture.identity() for picture in pictures]
        answer = pair.chosen if side == "chosen" else pair.rejected
        key = _key(settings, pair.prompt, answer, comment, identities)
        yield Request(key, pair.prompt, answer, comment, pictures, pair.where, side)


def reason(pair: PreferencePair, side: Side) -> str | None:
    """The annotator's reason for this side; None where there is none."""
    return pair.chosen_reason if side == "chosen" else pair.rejected_reason


def pictures_of(pair: PreferencePair) -> tuple[ImageSource, ...]:
    return pair.images if pair.video is None else pair.video.frames


def without_pictures(body: dict[str, Any]) -> dict[str, Any]:
    """The body for people: of each picture its kind and size in place of its bytes."""
    said = json.dumps(body, ensure_ascii=False)
    shown: dict[str, Any] = json.loads(_DATA_URI.sub(_told, said))
    return shown


def _told(found: re.Match[str]) -> str:
    size_bytes = len(found[2]) * 3 // 4 - found[2].count("=")
    return f"data:{found[1]};base64,<{size_bytes} bytes left out>"


def _key(
    settings: Settings, question: str, answer: str, comment: str, identities: list[str]
) -> str:
    covered = [settings.sha256, question, answer, comment, identities]
    # ASCII: half a surrogate pair, which JSON can hold, must not end the run.
    canonical = json.dumps(covered, separators=(",", ":"))
    return hashlib.sha256(canonical.encode("ascii")).hexdigest()
