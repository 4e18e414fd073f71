"""Templates joined in runs give the ids of the whole string, with tokens over the borders."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mmreward_client.schema import Turn
from mmreward_service.reward.prompt import PromptError, PromptRenderer
from mmreward_service.reward.spec import Templates
from pydantic import ValidationError
from reward_folders import make_spec
from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    trainers,
)

# A blank, a colon, line breaks and full stops before and behind the texts: places where the
# splitting rules and merges of real tokenizers reach over.
CRITIQUE = (
    "<|im_start|>system\nYou judge.<|im_end|>\n<|im_start|>user\n{media}\nSay: {prompt}.\n\n"
    "Answer: {response}\n\nWell?<|im_end|>\n<|im_start|>assistant\n"
)
TEXTS = {
    "critique": CRITIQUE,
    "none": "<|im_start|>{media} {prompt} {response}.\n",
    "judge": "<|im_start|>{media}\n{prompt}\nfirst {first}second {second}<|im_end|>\n",
    "image": "<|image_pad|>\n",
    "video": "<|video_pad|>",
    "turn": "{role}: {content}\n",
    "end_of_turn": "<|im_end|>",
    "after_turn": "<|im_end|>\n",
}
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|image_pad|>", "<|video_pad|>")
DIGITS = Path(__file__).parents[2] / "models" / "digits" / "tokenizer.json"


def qwen_like(**options: bool) -> str:
    """Byte-level BPE in the manner of Qwen2: its normaliser and splitting rule, merges of a small
    corpus in which words follow blanks, and full stops line breaks."""
    split = (
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
        r"|\s*[\r\n]+|\s+(?!\S)|\s+"
    )
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(split), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    corpus = ["Say: what is it.\n\nAnswer: a cat.\n\n", " \n\n\n\n: \n. \n", "the the: the.\n\n"]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=400, initial_alphabet=alphabet, show_progress=False, min_frequency=1
    )
    tokenizer.train_from_iterator(corpus, trainer)
    tokenizer.add_special_tokens(
        [AddedToken(token, normalized=False, **options) for token in SPECIAL]
    )
    return tokenizer.to_str()


def renderer_of(tokenizer_json: str, **changes: str) -> PromptRenderer:
    templates = Templates.model_validate(TEXTS | {"join": "runs"} | changes)
    spec = make_spec(templates=templates, kinds=["critique", "judge"], read_out="after_turn")
    return PromptRenderer(tokenizer_json, spec)


TOKENIZERS = {"qwen-like": qwen_like(), "digits": DIGITS.read_text(encoding="utf-8")}
RUNS = {name: renderer_of(text) for name, text in TOKENIZERS.items()}
PIECES = {name: renderer_of(text, join="pieces") for name, text in TOKENIZERS.items()}
FULL = {name: Tokenizer.from_str(text) for name, text in TOKENIZERS.items()}
every_tokenizer = pytest.mark.parametrize("name", list(TOKENIZERS))

# Texts made of what merges at borders, and any others; none of them can spell a special token.
text = st.one_of(
    st.lists(
        st.sampled_from(["\n", " ", ".", ":", "What", "the", "e", "\u0301", "7", "é", "\r", "'s"]),
        max_size=6,
    ).map("".join),
    st.text().filter(lambda made: not set(made) & set("<|>")),
)


def whole(name: str, written: str) -> list[int]:
    """What the tokenizer itself makes of the plain string."""
    return list(FULL[name].encode(written, add_special_tokens=False).ids)


@every_tokenizer
@given(prompt=text, response=text, critique=text, images=st.integers(0, 2))
def test_ids_are_those_of_the_whole_string(
    name: str, prompt: str, response: str, critique: str, images: int
) -> None:
    """Modes generate, none and given, with the read-out behind the turn."""
    fields = {"media": TEXTS["image"] * images, "prompt": prompt, "response": response}
    render = RUNS[name].render
    written = TEXTS["critique"].format(**fields)
    texts = {"prompt": prompt, "response": response, "images": images}
    assert render(**texts) == whole(name, written)
    assert render(**texts, mode="none") == whole(name, TEXTS["none"].format(**fields))
    judged = render(**texts, mode="given", critique=critique)
    assert judged == whole(name, written + critique + TEXTS["after_turn"])


@every_tokenizer
@given(prompt=text, first=text, second=text)
def test_a_comparison_is_that_of_the_whole_string(
    name: str, prompt: str, first: str, second: str
) -> None:
    """The judge's template, about a video."""
    texts = {"prompt": prompt, "first": first, "second": second}
    written = TEXTS["judge"].format(media=TEXTS["video"], **texts)
    assert RUNS[name].render_judge(video=True, **texts) == whole(name, written)


@every_tokenizer
@given(st.lists(st.tuples(st.sampled_from(["system", "user", "assistant"]), text), min_size=2))
def test_a_conversation_is_that_of_the_whole_string(
    name: str, messages: list[tuple[str, str]]
) -> None:
    """Turns written by the template `turn`, one after the other."""
    turns = [Turn(role=role, content=content or "x") for role, content in messages]
    prompt = "".join(TEXTS["turn"].format(role=t.role, content=t.content) for t in turns)
    ids = RUNS[name].render(prompt=turns, response="the")
    assert ids == whole(name, CRITIQUE.format(media="", prompt=prompt, response="the"))


@every_tokenizer
def test_pieces_differ_from_the_whole_string(name: str) -> None:
    """So the equality above says something: a blank and a word behind it are one token there."""
    texts = {"prompt": "the", "response": "the"}
    written = CRITIQUE.format(media="", **texts)
    assert PIECES[name].render(**texts) != whole(name, written)
    assert FULL[name].decode(PIECES[name].render(**texts), False) == written


def test_the_default_leaves_no_trace() -> None:
    """The dump of templates in pieces, and so every fingerprint of them, is as before there was a
    choice; runs are told and survive a round."""
    plain = Templates.model_validate(TEXTS)
    assert plain.join == "pieces"
    assert set(plain.model_dump(mode="json")) == set(TEXTS)
    assert "join" not in plain.model_dump_json()
    runs = Templates.model_validate(TEXTS | {"join": "runs"})
    assert runs.model_dump(mode="json")["join"] == "runs"
    assert Templates.model_validate_json(runs.model_dump_json()) == runs
    assert "join" not in make_spec(templates=plain).model_dump(mode="json")["templates"]
    with pytest.raises(ValidationError, match="join"):
        Templates.model_validate(TEXTS | {"join": "whole"})


@pytest.mark.parametrize("option", ["lstrip", "rstrip", "single_word"])
def test_a_tokenizer_that_changes_text_beside_special_tokens_is_refused(option: str) -> None:
    """It would not give the ids of the whole string; in pieces it is served."""
    with pytest.raises(PromptError, match="join it in pieces"):
        renderer_of(qwen_like(**{option: True}))
    renderer_of(qwen_like(**{option: True}), join="pieces")
