"""A data set as pairs whose sides can be scored: what is written of a row, and what is asked.

A critique model scores answers one by one: a side is known by the SHA-256 of what its score depends
on: media, question, answer, mode and a given critique. A judge compares the answers of a row with
each other: they are known together, in whatever order. What has equal keys is asked about once, in
whichever rows it stands. A row that cannot be used keeps its place and says why.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from mmreward_client.data.columns import Columns, pair_of_row
from mmreward_client.data.forms import build_of, default_root, rows_of
from mmreward_client.data.media import RowMedia
from mmreward_client.data.mm_rlhf import without_placeholders
from mmreward_client.data.options import ReadOptions
from mmreward_client.data.pair import ImageSource, PreferencePair, media_parts, sha256_of_parts
from mmreward_client.data.problems import FieldProblem
from mmreward_client.data.ranked import is_ranked, pairs_of_ranked
from mmreward_client.data.source import SourceRow
from mmreward_client.errors import InvalidInput
from mmreward_client.evaluation.question_rows import answer_row, plain_row

RANKED = "ranked"


@dataclass(frozen=True)
class Case:
    """One line of the output.

    Attributes:
        line: of the data, from 1; the pairs of a ranked row share it.
        row: the columns that are handed on.
        pair: None where the row cannot be used.
        keys: of the chosen side and of the rejected one; before a judge, of their group alone.
        group: before a judge, the answers that are compared: different texts in a fixed order.
        error: why it cannot be used.
    """

    line: int
    row: dict[str, Any]
    pair: PreferencePair | None = None
    keys: tuple[str, ...] | None = None
    group: tuple[str, ...] = ()
    error: str | None = None


class Identities:
    """SHA-256 of pictures, each file read once in the life of this object."""

    def __init__(self) -> None:
        self._of_path: dict[Path, str] = {}

    def __call__(self, image: ImageSource) -> str:
        if image.path is None:
            return image.identity()
        if image.path not in self._of_path:
            self._of_path[image.path] = image.identity()
        return self._of_path[image.path]


@dataclass(frozen=True)
class DataSet:
    """A data set that can be passed over again and again; one row is in memory at a time.

    Attributes:
        form: one of `data.forms.FORMS`, `ranked`, or None: ranked where a row has `responses` and
            `ranks`, pairs otherwise.
        mode: of scoring; `given` takes the reasons of the row as critiques.
        keeps_pictures: whether pictures inside of rows are handed on, or named by path and SHA-256
            alone, as JSON has to.
        is_judged: whether answers are compared, not scored one by one.
    """

    path: Path
    options: ReadOptions
    mode: str
    form: str | None = None
    columns: Columns | None = None
    split: str | None = None
    keeps_pictures: bool = False
    is_judged: bool = False
    identities: Identities = field(default_factory=Identities, compare=False)

    def __iter__(self) -> Iterator[Case]:
        """The cases in the order of the rows.

        Raises:
            OSError: the file cannot be read.
            InvalidInput: it is not of the kind that its name says; no such form or split.
        """
        media = RowMedia.of(self.options, default_root(self.path))
        if self.form not in (None, RANKED):
            build_of(self.form or "", self.columns)
        for source in rows_of(self.path, self.split)():
            yield from self._cases(source, media)

    def items(self, case: Case) -> Iterator[tuple[str, dict[str, Any]]]:
        """What is asked for a case: keys, and items as `RewardClient.score` or `groups` take them.

        Both sides of a pair, or, before a judge, its group.
        """
        if case.pair is None or case.keys is None:
            return
        pair = case.pair
        shared: dict[str, Any] = {"prompt": pair.prompt}
        if pair.images:
            shared["images"] = [_sendable(image) for image in pair.images]
        if pair.video is not None:
            frames = [_sendable(frame) for frame in pair.video.frames]
            shared["video"] = {"frames": frames, "fps": pair.video.fps}
        if self.is_judged:
            (key,) = case.keys
            yield key, {**shared, "id": key, "responses": list(case.group)}
            return
        sides = (
            (pair.chosen, pair.chosen_reason),
            (pair.rejected, pair.rejected_reason),
        )
        for key, (response, reason) in zip(case.keys, sides, strict=True):
            item = {**shared, "id": key, "mode": self.mode, "response": response}
            yield key, item | ({"critique": reason} if self.mode == "given" else {})

    def fingerprint(self, case: Case) -> str | None:
        """Of the pair, as a checkpoint lists its training rows; None of what is no pair."""
        return None if case.pair is None else case.pair.fingerprint(self.identities)

    def _cases(self, source: SourceRow, media: RowMedia) -> Iterator[Case]:
        line = source.where.line
        row: dict[str, Any] = {}
        try:
            if source.error is not None:
                raise InvalidInput(source.error)
            row = dict(source.fields) if self.keeps_pictures else plain_row(source.fields)
            pairs = list(self._pairs(source, media))
            texts = {text for _, pair in pairs for text in (pair.chosen, pair.rejected)}
            group = tuple(sorted(texts)) if self.is_judged else ()
            for extra, pair in pairs:
                written = self._row(row, extra, pair, line)
                if self.is_judged and pair.chosen == pair.rejected:
                    said = "both answers are the same text: there is nothing to compare"
                    yield Case(line, written, error=f"{source.where}: {said}")
                    continue
                keys = (self._group_key(pair, group),) if group else self._keys(pair)
                yield Case(line, written, pair, keys, group)
        except InvalidInput as error:
            yield Case(line, row, error=f"{source.where}: {error}")

    def _pairs(
        self, source: SourceRow, media: RowMedia
    ) -> Iterator[tuple[dict[str, Any], PreferencePair]]:
        """Each pair with what else is written of it."""
        if self.form == RANKED or (self.form is None and is_ranked(source.fields)):
            for ranked in pairs_of_ranked(source, media, self.columns):
                places = {"chosen_place": ranked.chosen_place}
                places["rejected_place"] = ranked.rejected_place
                yield places, _as_text(ranked.pair)
        elif self.form is None:
            yield {}, _as_text(pair_of_row(source, media, self.columns or Columns()))
        else:
            yield {}, build_of(self.form, self.columns)(source, media)

    def _row(
        self, row: dict[str, Any], places: dict[str, Any], pair: PreferencePair, line: int
    ) -> dict[str, Any]:
        if not places:
            # The texts under their usual names, unless the row is of MM-RLHF and has them.
            return answer_row(row, pair, self.form or "pairs", line)
        rest = {name: value for name, value in row.items() if name not in ("responses", "ranks")}
        texts = {"prompt": pair.prompt, "chosen": pair.chosen, "rejected": pair.rejected}
        return {"id": pair.id, **rest, **texts, **places}

    def _group_key(self, pair: PreferencePair, group: tuple[str, ...]) -> str:
        media = media_parts(pair, self.identities)
        return sha256_of_parts(["group", pair.prompt, str(len(media)), *media, *group])

    def _keys(self, pair: PreferencePair) -> tuple[str, ...]:
        shared = [self.mode, pair.prompt, *media_parts(pair, self.identities)]
        is_given = self.mode == "given"
        sides = ((pair.chosen, pair.chosen_reason), (pair.rejected, pair.rejected_reason))
        chosen, rejected = (
            sha256_of_parts([response, (reason or "") if is_given else "", *shared])
            for response, reason in sides
        )
        return chosen, rejected


def _as_text(pair: PreferencePair) -> PreferencePair:
    """Placeholders of a picture are no part of the question once the picture stands beside it."""
    if not pair.images and pair.video is None:
        return pair
    prompt = without_placeholders(pair.prompt)
    if not prompt:
        raise FieldProblem("prompt", "holds nothing but a placeholder")
    return replace(pair, prompt=prompt)


def _sendable(image: ImageSource) -> str | bytes:
    """Opened when its batch is sent, not before: a data set need not fit into memory."""
    return image.content if image.content is not None else str(image.path)
