"""The validation rows: what is known of each before anything is asked, its pictures not kept.

A row is known again in an answer file by its key, and among the training rows by the fingerprint of
its pair. A pair takes its video frames as `--frames` and `--fps` say: an overlap of videos is found
only where these are those of the training.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmreward_client.data import ImageSource, PreferencePair, VideoSource, Where
from mmreward_client.data.fields import flag
from mmreward_client.errors import InvalidInput
from mmreward_client.evaluation.questions import Question, QuestionFile
from mmreward_client.evaluation.resuming import Key


@dataclass(frozen=True)
class ValidationRow:
    """One row.

    Attributes:
        error: why it cannot be sent; None if it can. The rest is then empty.
        fingerprint: `PreferencePair.fingerprint()`.
        names: what other pairs may share with it: its id, and the content of its pictures.
    """

    where: Where
    key: Key
    error: str | None = None
    is_tie: bool = False
    fingerprint: str = ""
    names: tuple[str, ...] = ()


def read_validation(questions: QuestionFile) -> Iterator[ValidationRow]:
    """The rows in order; the pictures of one row are in memory at a time.

    Raises:
        OSError: the file cannot be read.
        InvalidInput: a line is no row, or a picture cannot be read.
    """
    columns = questions.columns
    tie_column = (columns.is_tie if columns is not None else None) or "is_tie"
    for question in questions:
        where = Where(str(questions.path), question.line)
        if question.error is not None:
            yield ValidationRow(where, question.key, question.error)
            continue
        pair = _pair(question, where, tie_column)
        try:
            fingerprint, names = pair.fingerprint(), _names(pair)
        except InvalidInput as error:
            raise InvalidInput(f"{where}: {error}") from None
        yield ValidationRow(where, question.key, None, pair.is_tie, fingerprint, names)


def _names(pair: PreferencePair) -> tuple[str, ...]:
    frames = pair.video.frames if pair.video is not None else ()
    pictures = [*pair.images, *frames]
    return (f"id {pair.id}", *(f"picture {one.identity()}" for one in pictures))


def _pair(question: Question, where: Where, tie_column: str) -> PreferencePair:
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
        is_tie=flag(question.row, tie_column),
        category=None,
        where=where,
        extra={},
    )


def _video(video: dict[str, Any] | None) -> VideoSource | None:
    return None if video is None else VideoSource(_sources(video["frames"]), video["fps"])


def _sources(images: Iterable[str | bytes]) -> tuple[ImageSource, ...]:
    return tuple(
        ImageSource(content=one) if isinstance(one, bytes) else ImageSource(path=Path(one))
        for one in images
    )
