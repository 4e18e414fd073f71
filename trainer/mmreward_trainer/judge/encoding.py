"""A row of the table -> the pair in both orders of its answers, and its media as tensors."""

from __future__ import annotations

from collections.abc import Sequence as Listing
from dataclasses import dataclass
from typing import Any

from mmreward_service.errors import ImageUnusable

from mmreward_trainer.critique.media import EncodedMedia, MediaEncoder
from mmreward_trainer.critique.packing import Group
from mmreward_trainer.critique.rows import RowError, read_pictures
from mmreward_trainer.judge.comparisons import Comparison, ComparisonBuilder
from mmreward_trainer.judge.configuration import Composed
from mmreward_trainer.judge.judgements import judgement_of


@dataclass(frozen=True)
class EncodedComparisons:
    """A pair ready for a step.

    Attributes:
        answers: the comparison with the preferred answer first, then the one with it second; the
            name is that of a pair's texts in `critique.writing`.
        learned_tokens: of the judgements, with their end-of-turn.
        longest: tokens of the longer of the two sequences, pictures included.
    """

    where: str
    category: str | None
    is_tie: bool
    media: EncodedMedia
    answers: tuple[Comparison, Comparison]
    learned_tokens: int
    longest: int


class ComparisonEncoder:
    """Encodes rows; also the collate function of a data loader.

    Args:
        max_tokens: bound of one sequence with its pictures and its judgement.
        room: tokens that a judgement to be written may need.
        composed: how a judgement is made of reasons.
    """

    def __init__(
        self,
        builder: ComparisonBuilder,
        media: MediaEncoder,
        *,
        max_tokens: int,
        room: int,
        composed: Composed,
    ) -> None:
        self.builder = builder
        self.media = media
        self._max_tokens = max_tokens
        self._room = room
        self._composed = composed
        self._range: Listing[float] | None = builder.renderer.spec.score_range

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, list[EncodedComparisons]]:
        return {"pairs": [self.encode(row) for row in rows]}

    def encode(self, row: dict[str, Any]) -> EncodedComparisons:
        """One row.

        Raises:
            RowError: a picture that serving would refuse, too many tokens, or a judgement that
                contradicts its row.
        """
        try:
            media = self.media.encode(read_pictures(row), row["fps"])
        except (ValueError, ImageUnusable) as error:
            raise RowError(f"{row['where']}: {error}") from error
        answers = (self._comparison(row, True), self._comparison(row, False))
        learned, longest = 0, 0
        for one in answers:
            prompt = self.media.expand(self.builder.bare(one), media).ids
            longest = max(longest, len(prompt) + self._room)
            if one.judgement is not None:
                sequence = self.builder.judgement(one)
                tokens = sequence.learned_to - sequence.learned_from
                longest = max(longest, len(prompt) + tokens)
                learned += tokens
        if longest > self._max_tokens:
            raise RowError(
                f"{row['where']}: {longest} tokens with room for the judgement, "
                f"data.max_tokens is {self._max_tokens}"
            )
        return EncodedComparisons(
            where=row["where"],
            category=row["category"],
            is_tie=row["is_tie"],
            media=media,
            answers=answers,
            learned_tokens=learned,
            longest=longest,
        )

    def learned(self, pair: EncodedComparisons) -> Group:
        """The orders of a pair that have a judgement, as sequences with expanded placeholders.

        Raises:
            ValueError: neither order has one.
        """
        found = [self.builder.judgement(one) for one in pair.answers if one.judgement is not None]
        if not found:
            raise ValueError(f"{pair.where} has no judgement")
        return Group([self.media.expand(one, pair.media) for one in found], pair.media)

    def prompt(self, pair: EncodedComparisons, *, chosen_first: bool) -> list[int]:
        """Ids of one order up to where the judgement begins, with expanded placeholders."""
        sequence = self.builder.bare(pair.answers[0 if chosen_first else 1])
        return self.media.expand(sequence, pair.media).ids

    def _comparison(self, row: dict[str, Any], chosen_first: bool) -> Comparison:
        sides = ("chosen", "rejected") if chosen_first else ("rejected", "chosen")
        return Comparison(
            prompt=row["prompt"],
            first=row[sides[0]],
            second=row[sides[1]],
            images=0 if row["fps"] is not None else len(row["pictures"]),
            has_video=row["fps"] is not None,
            chosen_first=chosen_first,
            judgement=judgement_of(row, self._composed, self._range, chosen_first=chosen_first),
        )
