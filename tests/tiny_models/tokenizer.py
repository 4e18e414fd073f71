"""A byte-level BPE tokenizer of about 420 ids with the special tokens of Qwen-VL and LLaVA.

Every byte has a token, so any text round-trips; the few merges come from a fixed corpus, so the
ids are the same in every run.
"""

from __future__ import annotations

from tokenizers import Tokenizer, decoders, pre_tokenizers, trainers
from tokenizers.models import BPE
from transformers import PreTrainedTokenizerFast

SPECIAL_TOKENS = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
    "<image>",
    "<video>",
)

_CORPUS = (
    "The answer names the digit in the picture and says where it is.",
    "The picture shows a cat on a chair; the answer says a dog.",
    "Question: how many digits are there? Answer: there are four digits.",
    "That is right. That is wrong. It is on the left, on the right, above, below.",
)


def tiny_tokenizer() -> PreTrainedTokenizerFast:
    """The tokenizer; special tokens have the highest ids."""
    tokenizer = Tokenizer(BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_CORPUS, trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        additional_special_tokens=[
            token for token in SPECIAL_TOKENS if token not in ("<|im_end|>", "<|endoftext|>")
        ],
    )
    return fast
