r"""A stock model that really runs and writes what a test wants: its last token decides on the next.

The layers add nothing (their output projections are zero), so the state that predicts a token is
the embedding of the one before; the output layer maps that to its successor. A judge's prompt that
ends with the second answer is therefore judged by the last character of that answer:

    ...!    \boxed{2, 8}          ...?    no scores          ...#    it never ends

A prompt that ends in a line break, as the default templates do, is never judged to an end either.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from mmreward_service.reward.spec import Templates
from transformers import PreTrainedTokenizerFast

from tiny_models.architectures import qwen2_5_vl
from tiny_models.tokenizer import tiny_tokenizer

GOOD, UNPARSED, ENDLESS = "!", "?", "#"
SCORES = (2.0, 8.0)

TEMPLATES = Templates(
    judge="<|im_start|>user\n{media}{prompt}\n# First\n{first}\n# Second\n{second}",
    image="<|vision_start|><|image_pad|><|vision_end|>",
    video="<|vision_start|><|video_pad|><|vision_end|>",
    end_of_turn="<|im_end|>",
    after_turn="<|im_end|>\n",
)


def build_scripted_judge(folder: Path) -> None:
    """Write a stock Qwen2.5-VL, without head and reward object, that judges as above."""
    tokenizer = tiny_tokenizer()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model, processor = qwen2_5_vl(tokenizer)
        _write_script(model, tokenizer)
    model.eval().save_pretrained(folder)
    processor.save_pretrained(folder)


def _write_script(model: Any, tokenizer: PreTrainedTokenizerFast) -> None:
    def ids(text: str) -> list[int]:
        return [int(tokenizer.convert_tokens_to_ids("Ġ" if c == " " else c)) for c in text]

    end = int(tokenizer.convert_tokens_to_ids("<|im_end|>"))
    chains = [
        [*ids(GOOD + r"\boxed{2, 8}"), end],
        [*ids(UNPARSED + "n"), end],
        ids(ENDLESS + "~~"),
        [int(tokenizer.convert_tokens_to_ids("Ċ")), *ids("~")],
    ]
    assert all(None not in chain for chain in chains)
    embed = model.get_input_embeddings().weight
    output = model.get_output_embeddings().weight
    with torch.no_grad():
        for layer in model.model.language_model.layers:
            layer.self_attn.o_proj.weight.zero_()
            layer.mlp.down_proj.weight.zero_()
        embed.normal_(0.0, 1.0)
        output.zero_()
        for before, after in {step for chain in chains for step in pairwise(chain)}:
            output[after] += embed[before]
