"""What a checkpoint folder would hold, for an engine without one: a tokenizer and a reward object.

The tokenizer is byte-level without merges: one token per byte, plus the special tokens that the
templates use. So the real PromptRenderer runs, and any text comes back as it went in.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from tokenizers import AddedToken, Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE

from mmreward_service.reward.spec import Calibration, HeadSpec, Kind, RewardSpec, Templates

SPECIAL_TOKENS = ("<|im_start|>", "<|im_end|>", "<|image|>", "<|video|>")
SCORE_SLOT = 300


def fake_tokenizer_json() -> str:
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(BPE(vocab={c: i for i, c in enumerate(alphabet)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(
        [AddedToken(text, special=True, normalized=False) for text in SPECIAL_TOKENS]
    )
    text: str = tokenizer.to_str()
    json.loads(text)
    return text


def fake_spec(
    max_critique_tokens: int = 128, kinds: Sequence[Kind] = ("critique", "judge")
) -> RewardSpec:
    has_head = "critique" in kinds
    return RewardSpec(
        kinds=list(kinds),
        head=HeadSpec(type="tanh") if has_head else None,
        read_out="last_critique_token",
        score_slot=SCORE_SLOT if has_head else None,
        templates=Templates(
            critique="<|im_start|>{media}Question: {prompt}\nAnswer: {response}\nCritique:",
            judge=(
                "<|im_start|>{media}Question: {prompt}\nFirst: {first}\nSecond: {second}\n"
                "Judgement:"
            ),
            image="<|image|>",
            video="<|video|>",
            end_of_turn="<|im_end|>",
            after_turn="<|im_end|>\n",
        ),
        max_critique_tokens=max_critique_tokens,
        score_range=(1.0, 10.0),
        calibration=[
            Calibration(
                mode="generate",
                critiques=1,
                temperature=0.8,
                interval_95=(0.6, 1.1),
                errors=12,
                pairs=400,
            ),
            Calibration(
                mode="generate",
                critiques=4,
                temperature=0.7,
                interval_95=(0.5, 1.0),
                errors=9,
                pairs=400,
            ),
            Calibration(
                kind="judge",
                mode="generate",
                critiques=1,
                temperature=2.5,
                interval_95=(2.0, 3.0),
                errors=31,
                pairs=400,
            ),
        ],
        trainer_version="fake",
    )
