"""The validation pairs: rows as the evaluation reads them, and the pairs that they are.

A row is known again in an answer file by its `row_sha256`, and among the training rows by the
fingerprint of its pair. A pair takes its video frames as `--frames` and `--fps` say: an overlap of
videos is found only where these are those of the training.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmreward_client.data import ImageSource, PreferencePair, ReadOptions, VideoSource, Where
from mmreward_client.data.fields import flag
from mmreward_client.errors import InvalidInput
from mmreward_client.evaluation.questions import Question, read_questions


@dataclass(frozen=True)
class ValidationRow:
    """One row; `pair` is None where it cannot be sent, and `question.error` says why."""

    question: Question
    pair: PreferencePair | None

    def names(self) -> list[str]:
        """What other pairs may share with this one: its id, and the content of its pictures.

        Raises:
            InvalidInput: a picture cannot be read.
        """
        if self.pair is None:
            return []
        frames = self.pair.video.frames if self.pair.video is not None else ()
        pictures = [*self.pair.images, *frames]
        return [f"id {self.pair.id}", *(f"picture {one.identity()}" for one in pictures)]


def read_validation(path: Path, options: ReadOptions, *, mode: str) -> list[ValidationRow]:
    """The rows of a JSON lines file, in order.

    Raises:
        OSError: the file cannot be read.
        InvalidInput: a line is no row, or there is none; the message begins with file and line.
    """
    rows = [
        ValidationRow(one, _pair(path, one)) for one in read_questions(path, options, mode=mode)
    ]
    if not rows:
        raise InvalidInput(f"{path} holds no rows")
    return rows


def _pair(path: Path, question: Question) -> PreferencePair | None:
    if question.error is not None:
        return None
    item = question.item
    return PreferencePair(
        id=item["id"],
        prompt=item["prompt"],
        chosen=item["chosen"],
        rejected=item["rejected"],
        images=_sources(item.get("images", ())),
        video=_video(item.get("video")),
        chosen_reason=None,
        rejected_reason=None,
        is_tie=flag(question.row, "is_tie"),
        category=None,
        where=Where(str(path), question.line),
        extra={},
    )


def _video(video: dict[str, Any] | None) -> VideoSource | None:
    return None if video is None else VideoSource(_sources(video["frames"]), video["fps"])


def _sources(images: Iterable[str | bytes]) -> tuple[ImageSource, ...]:
    return tuple(
        ImageSource(content=one) if isinstance(one, bytes) else ImageSource(path=Path(one))
        for one in images
    )
