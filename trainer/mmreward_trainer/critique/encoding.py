"""A row of the table -> everything a step needs of it: texts as answers, media as tensors.

Runs in the workers of the data loader, where pictures are decoded and preprocessed beside the
training step.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mmreward_service.errors import ImageUnusable

from mmreward_trainer.critique.media import EncodedMedia, MediaEncoder
from mmreward_trainer.critique.packing import Group
from mmreward_trainer.critique.rows import RowError, read_pictures
from mmreward_trainer.critique.sequences import Answer, Sequence, SequenceBuilder


@dataclass(frozen=True)
class EncodedPair:
    """A pair ready for a step: answers, media, and what may be learned of it.

    Attributes:
        learns_critiques: both answers have a critique, and the run learns them.
        learned_tokens: of both critiques with their end-of-turn; 0 without.
        longest: tokens of the longer of the two sequences, pictures included.
    """

    where: str
    chosen: Answer
    rejected: Answer
    media: EncodedMedia
    is_tie: bool
    margin: float
    learns_critiques: bool
    learned_tokens: int
    longest: int
    category: str | None

    @property
    def answers(self) -> tuple[Answer, Answer]:
        return self.chosen, self.rejected


class PairEncoder:
    """Encodes rows; also the collate function of a data loader.

    Args:
        max_tokens: bound of one sequence with its pictures.
        with_critiques: whether critiques are learned at all; without, every row is bare.
    """

    def __init__(
        self,
        builder: SequenceBuilder,
        media: MediaEncoder,
        *,
        max_tokens: int,
        with_critiques: bool,
    ) -> None:
        self.builder = builder
        self.media = media
        self._max_tokens = max_tokens
        self._with_critiques = with_critiques

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, list[EncodedPair]]:
        return {"pairs": [self.encode(row) for row in rows]}

    def encode(self, row: dict[str, Any]) -> EncodedPair:
        """One row.

        Raises:
            RowError: a picture that serving would refuse, or a sequence of too many tokens.
        """
        try:
            media = self.media.encode(read_pictures(row), row["fps"])
        except (ValueError, ImageUnusable) as error:
            raise RowError(f"{row['where']}: {error}") from error
        chosen, rejected = _answer(row, "chosen"), _answer(row, "rejected")
        learns = self._with_critiques and None not in (chosen.critique, rejected.critique)
        sequences = [
            self.builder.critique(one) if learns else self.builder.bare(one)
            for one in (chosen, rejected)
        ]
        longest = max(len(self.media.expand(one, media).ids) for one in sequences)
        if longest > self._max_tokens:
            raise RowError(
                f"{row['where']}: {longest} tokens, data.max_tokens is {self._max_tokens}"
            )
        return EncodedPair(
            where=row["where"],
            chosen=chosen,
            rejected=rejected,
            media=media,
            is_tie=row["is_tie"],
            margin=row["margin"],
            learns_critiques=learns,
            learned_tokens=sum(one.learned_to - one.learned_from for one in sequences),
            longest=longest,
            category=row["category"],
        )

    def group(self, pair: EncodedPair, sequences: list[Sequence]) -> Group:
        """Sequences of a pair with their placeholders expanded."""
        return Group([self.media.expand(one, pair.media) for one in sequences], pair.media)


def _answer(row: dict[str, Any], side: str) -> Answer:
    return Answer(
        prompt=row["prompt"],
        response=row[side],
        images=0 if row["fps"] is not None else len(row["pictures"]),
        has_video=row["fps"] is not None,
        critique=row[f"{side}_reason"],
    )
