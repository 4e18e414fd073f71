"""Rows of the table of prompts -> what TRL takes: messages and decoded pictures."""

from __future__ import annotations

from typing import Any

from mmreward_service.errors import ImageUnusable
from mmreward_service.images import ImageLimits, check_payload, decode

from mmreward_trainer.critique.rows import RowError, read_pictures


class Messages:
    """Rows of the table as TRL takes them: messages, decoded pictures, the known answer.

    As a transform of a `datasets.Dataset` it is called with columns of drawn rows. The completions
    of a prompt share its pictures as one object each, so that they are decoded and hashed once.
    """

    def __init__(self, limits: ImageLimits) -> None:
        self._limits = limits

    def __call__(self, columns: dict[str, list[Any]]) -> dict[str, list[Any]]:
        """Columns `prompt`, `images`, `answer`, `where`.

        Raises:
            RowError: names the row whose picture cannot be decoded.
        """
        decoded: dict[str, list[Any]] = {}
        for where, pictures in zip(columns["where"], columns["pictures"], strict=True):
            if where not in decoded:
                decoded[where] = self.pictures({"where": where, "pictures": pictures})
        return {
            "prompt": [[{"role": "user", "content": text}] for text in columns["prompt"]],
            "images": [decoded[where] for where in columns["where"]],
            "answer": columns["answer"],
            "where": columns["where"],
        }

    def pictures(self, row: dict[str, Any]) -> list[Any]:
        """The decoded pictures of one row.

        Raises:
            RowError: one cannot be read or decoded; names the row.
        """
        try:
            return [decode(check_payload(one, self._limits)) for one in read_pictures(row)]
        except (ValueError, ImageUnusable) as error:
            raise RowError(f"{row['where']}: {error}") from error

    def tokens(self, row: dict[str, Any], processor: Any) -> int:
        """How long the prompt of one row is, pictures included.

        Raises:
            RowError: a picture cannot be used.
        """
        content = [{"type": "image", "image": one} for one in self.pictures(row)]
        content.append({"type": "text", "text": row["prompt"]})
        encoded = processor.apply_chat_template(
            [[{"role": "user", "content": content}]],
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
        )
        return len(encoded["input_ids"][0])
