"""Prompts as token ids, special tokens from the template only.

User text (question, response, given critique) that spells `<|im_end|>` or an image placeholder
would, tokenised as part of one long string, close the turn: a policy under RL finds that and
writes its own critique. So text is tokenised by a copy of the tokenizer that knows no added token
at all, and the full tokenizer reads the template alone. The same class renders for training and for
serving, so both see the same ids.

What is tokenised as one text is a setting of the templates. With `pieces` every text of a caller
and every stretch of the template is one, and nothing merges across their borders: the beginning of
two prompts up to a text is the same whatever the text. With `runs` all that stands between two
special tokens is one: for texts that spell no special token, the ids of the whole string, as a
model has seen them that was trained on strings. A token may then reach over a border.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, get_args

from mmreward_client.schema import Turn
from tokenizers import Tokenizer

from mmreward_service.reward.spec import Mode, RewardSpec, TemplateName

Part = str | list[int]
"""Text that waits for what stands beside it, or ids that are settled."""

_PROBES = ("x", " x ", "\nx\n")
"""Texts at whose borders tokenizers differ: a word, blanks around it, lines."""


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
        self._is_in_runs = templates.join == "runs"
        self._segments: dict[TemplateName, list[list[Part] | str]] = {
            name: [
                text if is_placeholder else self._template_parts(text)
                for text, is_placeholder in templates.segments(name)
            ]
            for name in get_args(TemplateName)
        }
        self._image = self._template_parts(templates.image)
        self._video = self._template_parts(templates.video)
        for name, text in (("image", templates.image), ("video", templates.video)):
            if not self._added_ids.intersection(self._encode_template(text)):
                raise PromptError(f"template {name!r} holds no special token of the tokenizer")
        self._after_turn = self._template_parts(templates.after_turn)
        self.after_turn_ids = self._encode_template(templates.after_turn)
        self.end_of_turn_id = self._single_special_token(templates.end_of_turn)
        if self._is_in_runs:
            self._check_runs()

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
            "prompt": self._prompt_parts(prompt),
            "response": self._user_parts(response),
        }
        parts = self._fill("none" if mode == "none" else "critique", fields)
        if mode == "given":
            if critique is None:
                raise PromptError("mode given without a critique")
            parts += self._user_parts(critique)
            if self.spec.read_out == "after_turn":
                parts += self._after_turn
        return self._ids(parts)

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
            "prompt": self._prompt_parts(prompt),
            "first": self._user_parts(first),
            "second": self._user_parts(second),
        }
        return self._ids(self._fill("judge", fields))

    def encode_user_text(self, text: str) -> list[int]:
        """Ids of untrusted text: never a special token, whatever it spells."""
        ids: list[int] = self._user_tokenizer.encode(text, add_special_tokens=False).ids
        if forbidden := self._added_ids.intersection(ids):
            raise PromptError(f"user text was tokenised to special tokens {sorted(forbidden)}")
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """Text of a critique the model wrote."""
        return str(self._tokenizer.decode(list(ids), skip_special_tokens=True))

    def _prompt_parts(self, prompt: str | Sequence[Turn]) -> list[Part]:
        if isinstance(prompt, str):
            return self._user_parts(prompt)
        if len(prompt) == 1:
            return self._user_parts(prompt[0].content)
        parts: list[Part] = []
        for turn in prompt:
            fields = {
                "role": self._user_parts(turn.role),
                "content": self._user_parts(turn.content),
            }
            parts += self._fill("turn", fields)
        return parts

    def _fill(self, template: TemplateName, fields: dict[str, list[Part]]) -> list[Part]:
        if not self._segments[template]:
            raise PromptError(f"the checkpoint has no template {template!r}")
        parts: list[Part] = []
        for segment in self._segments[template]:
            parts += fields[segment] if isinstance(segment, str) else segment
        return parts

    def _user_parts(self, text: str) -> list[Part]:
        return [text if self._is_in_runs else self.encode_user_text(text)]

    def _template_parts(self, text: str) -> list[Part]:
        """The ids of a template's text; in runs only its special tokens, and the text between."""
        if not self._is_in_runs:
            return [self._encode_template(text)]
        encoding = self._tokenizer.encode(text, add_special_tokens=False)
        parts: list[Part] = []
        end = 0
        for token, (start, stop) in zip(encoding.ids, encoding.offsets, strict=True):
            if token in self._added_ids:
                parts += [text[end:start], [token]]
                end = stop
        return [*parts, text[end:]]

    def _ids(self, parts: Iterable[Part]) -> list[int]:
        """Neighbouring texts as one, between the ids that are settled."""
        ids: list[int] = []
        for is_text, run in groupby(parts, key=lambda part: isinstance(part, str)):
            if is_text:
                ids += self.encode_user_text("".join(map(str, run)))
            else:
                ids += [token for part in run for token in part if not isinstance(token, str)]
        return ids

    def _check_runs(self) -> None:
        """Refuse a tokenizer whose special tokens change the text beside them, so that cutting
        there is not what it does itself."""
        templates = self.spec.templates
        for name in get_args(TemplateName):
            segments = templates.segments(name)
            for probe in _PROBES:
                fields = {text: self._user_parts(probe) for text, is_field in segments if is_field}
                texts = dict.fromkeys(fields, probe)
                if "media" in fields:
                    fields["media"], texts["media"] = self._image, templates.image
                whole = "".join(texts[text] if is_field else text for text, is_field in segments)
                if segments and self._ids(self._fill(name, fields)) != self._encode_template(whole):
                    raise PromptError(
                        f"template {name!r} cannot be joined in runs: this tokenizer changes the "
                        "text beside its special tokens; join it in pieces"
                    )

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
