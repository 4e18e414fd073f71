"""Prompts as token ids, special tokens from the template only.

User text (question, response, given critique) that spells `<|im_end|>` or an image placeholder
would, tokenised as part of one long string, close the turn: a policy under RL finds that and
writes its own critique. So every piece is tokenised by itself: the template's own text by the full
tokenizer, user text by a copy of it that knows no added token at all. The same class renders for
training and for serving, so both see the same ids; pieces never merge across their borders.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

from mmreward_client.schema import Turn
from tokenizers import Tokenizer

from mmreward_service.reward.spec import Mode, RewardSpec, TemplateName


class PromptError(ValueError):
    """A prompt that cannot be rendered, or templates that do not fit the tokenizer."""


class PromptRenderer:
    """Renders the prompts of one checkpoint. Pure, thread-safe, no I/O after construction."""

    def __init__(self, tokenizer_json: str, spec: RewardSpec) -> None:
        self.spec = spec
        self._tokenizer = Tokenizer.from_str(tokenizer_json)
        added = json.loads(tokenizer_json).get("added_tokens") or []
        self._added_ids = frozenset(int(token["id"]) for token in added)
        self._user_tokenizer = _without_added_tokens(tokenizer_json)
        templates = spec.templates
        self._segments: dict[TemplateName, list[list[int] | str]] = {
            name: [
                text if is_placeholder else self._encode_template(text)
                for text, is_placeholder in templates.segments(name)
            ]
            for name in get_args(TemplateName)
        }
        self._image = self._encode_template(templates.image)
        self._video = self._encode_template(templates.video)
        for name, ids in (("image", self._image), ("video", self._video)):
            if not self._added_ids.intersection(ids):
                raise PromptError(f"template {name!r} holds no special token of the tokenizer")
        self.after_turn_ids = self._encode_template(templates.after_turn)
        self.end_of_turn_id = self._single_special_token(templates.end_of_turn)

    @classmethod
    def from_checkpoint(cls, folder: Path, spec: RewardSpec) -> PromptRenderer:
        return cls((folder / "tokenizer.json").read_text(encoding="utf-8"), spec)

    @property
    def tokenizer_size(self) -> int:
        """One more than the largest id in use; ids from here on are padding."""
        return max(self._tokenizer.get_vocab(with_added_tokens=True).values()) + 1

    def render(
        self,
        *,
        prompt: str | Sequence[Turn],
        response: str,
        images: int = 0,
        video: bool = False,
        mode: Mode = "generate",
        critique: str | None = None,
    ) -> list[int]:
        """Token ids of one item, with one placeholder token per image or video.

        Mode `generate` ends where the critique begins; `given` ends where the score of the given
        critique is read; `none` ends where the score without a critique is read.
        """
        fields = {
            "media": self._image * images + (self._video if video else []),
            "prompt": self._encode_prompt(prompt),
            "response": self.encode_user_text(response),
        }
        ids = self._fill("none" if mode == "none" else "critique", fields)
        if mode == "given":
            if critique is None:
                raise PromptError("mode given without a critique")
            ids += self.encode_user_text(critique)
            if self.spec.read_out == "after_turn":
                ids += self.after_turn_ids
        return ids

    def render_judge(
        self,
        *,
        prompt: str | Sequence[Turn],
        first: str,
        second: str,
        images: int = 0,
        video: bool = False,
    ) -> list[int]:
        """Token ids of one comparison, ending where the judgement begins."""
        fields = {
            "media": self._image * images + (self._video if video else []),
            "prompt": self._encode_prompt(prompt),
            "first": self.encode_user_text(first),
            "second": self.encode_user_text(second),
        }
        return self._fill("judge", fields)

    def encode_user_text(self, text: str) -> list[int]:
        """Ids of untrusted text: never a special token, whatever it spells."""
        ids: list[int] = self._user_tokenizer.encode(text, add_special_tokens=False).ids
        if forbidden := self._added_ids.intersection(ids):
            raise PromptError(f"user text was tokenised to special tokens {sorted(forbidden)}")
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """Text of a critique the model wrote."""
        return str(self._tokenizer.decode(list(ids), skip_special_tokens=True))

    def _encode_prompt(self, prompt: str | Sequence[Turn]) -> list[int]:
        if isinstance(prompt, str):
            return self.encode_user_text(prompt)
        if len(prompt) == 1:
            return self.encode_user_text(prompt[0].content)
        ids: list[int] = []
        for turn in prompt:
            fields = {
                "role": self.encode_user_text(turn.role),
                "content": self.encode_user_text(turn.content),
            }
            ids += self._fill("turn", fields)
        return ids

    def _fill(self, template: TemplateName, fields: dict[str, list[int]]) -> list[int]:
        if not self._segments[template]:
            raise PromptError(f"the checkpoint has no template {template!r}")
        ids: list[int] = []
        for segment in self._segments[template]:
            ids += fields[segment] if isinstance(segment, str) else segment
        return ids

    def _encode_template(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        return ids

    def _single_special_token(self, text: str) -> int:
        ids = self._encode_template(text)
        if len(ids) != 1 or ids[0] not in self._added_ids:
            raise PromptError(f"end_of_turn {text!r} is not one special token of the tokenizer")
        return ids[0]


def _without_added_tokens(tokenizer_json: str) -> Tokenizer:
    """The same tokenizer with no added token: their spellings are plain text to it."""
    raw: dict[str, Any] = json.loads(tokenizer_json)
    raw["added_tokens"] = []
    # A post-processor may name special tokens that are gone now; user text gets none anyway.
    raw["post_processor"] = None
    return Tokenizer.from_str(json.dumps(raw))
