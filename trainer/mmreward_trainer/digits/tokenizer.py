"""A byte-level BPE tokenizer trained on the generated texts: any text encodes, digits stay apart.

A digit is one token, together with the space before it, and never merges with its neighbours: the
model copies and compares digits, and each should look the same wherever it stands.
"""

from __future__ import annotations

from tokenizers import Regex, Tokenizer, decoders, pre_tokenizers, trainers
from tokenizers.models import BPE
from transformers import PreTrainedTokenizerFast

from mmreward_trainer.digits.critiques import write_critique
from mmreward_trainer.digits.pairs import draw_pair

SPECIAL_TOKENS = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|image_pad|>",
    "<|video_pad|>",
)
TOKENIZER_SIZE = 760
VOCABULARY_SIZE = 768
"""A multiple of 64 with ids to spare: one of them is the score slot."""
SCORE_SLOT = VOCABULARY_SIZE - 1

_CORPUS_PAIRS = 6000
_PIECES = r" ?\p{N}| ?\p{L}+| ?[^\s\p{L}\p{N}]|\s"


def train_tokenizer(extra_texts: tuple[str, ...] = ()) -> PreTrainedTokenizerFast:
    """The tokenizer of the bundled model. It depends on the wordings alone, not on any seed."""
    tokenizer = Tokenizer(BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_PIECES), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=TOKENIZER_SIZE - len(SPECIAL_TOKENS),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_corpus(extra_texts), trainer)
    tokenizer.add_special_tokens(list(SPECIAL_TOKENS))
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        clean_up_tokenization_spaces=False,
        # The processor of Qwen2.5-VL asks its tokenizer for these by name.
        extra_special_tokens={"image_token": "<|image_pad|>", "video_token": "<|video_pad|>"},
    )
    if len(fast) != TOKENIZER_SIZE:
        raise ValueError(f"the tokenizer has {len(fast)} ids instead of {TOKENIZER_SIZE}")
    return fast


def _corpus(extra_texts: tuple[str, ...]) -> list[str]:
    texts = list(extra_texts) * (_CORPUS_PAIRS // 4)
    for index in range(_CORPUS_PAIRS):
        pair = draw_pair("train", "trained", 0, index)
        texts += [pair.prompt, pair.chosen.text, pair.rejected.text]
        # A sample of the critiques: their few words would otherwise take all the merges first.
        if index % 4 == 0:
            texts += [write_critique(pair, pair.chosen), write_critique(pair, pair.rejected)]
    return texts
