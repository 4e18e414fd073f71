"""Texts that a tokenizer makes tokens of control of: the end of a turn, the place of a picture.

A prompt or an answer that spells one would end a turn or become a picture, so rows with them are
refused. Tokens that were added for another reason are plain words of the policy, as `<think>` and
`<tool_call>` of the Qwen families: a tokenizer marks them as not special, and they may be spelled.
"""

from __future__ import annotations

from typing import Any

_PLACES = ("image_token", "video_token", "audio_token")


def control_tokens(processor: Any) -> tuple[str, ...]:
    """Special tokens of the processor's tokenizer, and what stands for its media."""
    tokenizer = processor.tokenizer
    special = [
        str(one) for one in tokenizer.added_tokens_decoder.values() if one.special and one.content
    ]
    places = [getattr(one, name, None) for one in (processor, tokenizer) for name in _PLACES]
    return tuple(dict.fromkeys([*special, *(one for one in places if one)]))
