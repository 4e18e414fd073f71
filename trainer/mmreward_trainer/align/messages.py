"""Rows of the table -> what TRL's collator for pictures takes: messages and decoded images.

Runs in the workers of the data loader. Pictures are bounded and decoded by the service's own
functions. The policy's own chat template renders the texts; TRL tokenises what it renders with
special tokens, so a text that spells one is refused: it would become a picture or end a turn.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mmreward_service.errors import ImageUnusable
from mmreward_service.images import ImageLimits, check_payload, decode

from mmreward_trainer.align.collating import Batch, Collate, Rows
from mmreward_trainer.critique.rows import RowError, read_pictures


def refuse_long(where: str, tokens: int, max_tokens: int) -> None:
    """Raises: RowError: more tokens than are allowed."""
    if tokens > max_tokens:
        raise RowError(f"{where}: {tokens} tokens, data.max_tokens is {max_tokens}")


@dataclass
class MessageCollator:
    """Reads pictures, makes messages, and delegates.

    Args:
        inner: TRL's collator.
        special: texts that no row may spell, see `control_tokens`.
        max_tokens: bound of one answer's sequence with its pictures.
    """

    inner: Collate
    special: tuple[str, ...]
    limits: ImageLimits
    max_tokens: int

    def __call__(self, rows: Rows) -> Batch:
        """The batch of `inner`.

        Raises:
            RowError: names the row whose picture cannot be decoded, whose text spells a special
                token, or whose answer is too long.
        """
        batch = dict(self.inner([self.example(row) for row in rows]))
        lengths = batch["attention_mask"].sum(1).tolist()
        for i, length in enumerate(lengths):
            refuse_long(rows[i % len(rows)]["where"], length, self.max_tokens)
        return batch

    def example(self, row: dict[str, Any]) -> dict[str, Any]:
        """One row for TRL."""
        self.check_texts(row)
        try:
            pictures = read_pictures({"where": row["where"], "pictures": row["images"]})
            images = [decode(check_payload(one, self.limits)) for one in pictures]
        except (ValueError, ImageUnusable) as error:
            raise RowError(f"{row['where']}: {error}") from error
        return {
            "images": images,
            "prompt": [{"role": "user", "content": row["prompt"]}],
            "chosen": [{"role": "assistant", "content": row["chosen"]}],
            "rejected": [{"role": "assistant", "content": row["rejected"]}],
        }

    def check_texts(self, row: dict[str, Any]) -> None:
        """What can be refused before anything is encoded.

        Raises:
            RowError: names the row and its text that spells a special token.
        """
        for name in ("prompt", "chosen", "rejected"):
            found = next((one for one in self.special if one in row[name]), None)
            if found is not None:
                raise RowError(f"{row['where']}: {name} spells the special token {found!r}")
