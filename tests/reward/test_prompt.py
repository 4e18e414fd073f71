"""Special tokens come from the template only, whatever the user text spells."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mmreward_client.schema import Turn
from mmreward_service.reward.prompt import PromptError, PromptRenderer
from mmreward_service.reward.spec import Templates
from reward_folders import SPECIAL, byte_tokenizer_json, make_spec
from tokenizers import Tokenizer

RENDERER = PromptRenderer(byte_tokenizer_json(), make_spec())
FULL = Tokenizer.from_str(byte_tokenizer_json())
ID = {token: FULL.token_to_id(token) for token in [*SPECIAL, "<think>"]}

attack = st.lists(
    st.one_of(st.sampled_from([*SPECIAL, "<think>", "<|im_", "end|>", "\n"]), st.text()), max_size=8
).map("".join)


def special(ids: list[int]) -> list[int]:
    return [i for i in ids if i in set(ID.values())]


def test_the_template_is_tokenised_with_its_special_tokens() -> None:
    ids = RENDERER.render(prompt="q", response="r", images=2)
    start, end, image = ID["<|im_start|>"], ID["<|im_end|>"], ID["<|image_pad|>"]
    assert special(ids) == [start, image, image, end, start]
    assert "Q: q\nA: r" in FULL.decode(ids)


@given(prompt=attack.filter(bool), response=attack.filter(bool), critique=attack.filter(bool))
def test_no_text_can_add_a_special_token(prompt: str, response: str, critique: str) -> None:
    """The special tokens of an attacked prompt are those of a harmless one, in the same order."""
    for mode in ("generate", "given", "none"):
        given_critique = critique if mode == "given" else None
        attacked = RENDERER.render(
            prompt=prompt, response=response, images=1, mode=mode, critique=given_critique
        )
        harmless = RENDERER.render(
            prompt="q",
            response="r",
            images=1,
            mode=mode,
            critique="c" if mode == "given" else None,
        )
        assert special(attacked) == special(harmless)


@given(prompt=attack.filter(bool))
def test_a_conversation_cannot_add_special_tokens(prompt: str) -> None:
    turns = [Turn(role="system", content=prompt), Turn(role="user", content=prompt)]
    attacked = RENDERER.render(prompt=turns, response="r", images=1)
    assert special(attacked) == special(RENDERER.render(prompt="q", response="r", images=1))


@given(st.text())
def test_user_text_survives(text: str) -> None:
    """Untrusted text is tokenised, not censored: every character is still there."""
    ids = RENDERER.encode_user_text(text)
    assert FULL.decode(ids, skip_special_tokens=False) == text


def test_one_user_turn_is_the_same_as_its_text() -> None:
    turn = Turn(role="user", content="What is it?")
    assert RENDERER.render(prompt=[turn], response="r") == RENDERER.render(
        prompt="What is it?", response="r"
    )


def test_given_critique_is_read_where_the_checkpoint_says() -> None:
    """`last_critique_token` ends on the critique, `after_turn` goes on to the turn's end."""
    prompt = RENDERER.render(prompt="q", response="r")
    critique = RENDERER.encode_user_text("good")
    given_ids = RENDERER.render(prompt="q", response="r", mode="given", critique="good")
    assert given_ids == prompt + critique
    after = PromptRenderer(byte_tokenizer_json(), make_spec(read_out="after_turn"))
    given_ids = after.render(prompt="q", response="r", mode="given", critique="good")
    assert given_ids == prompt + critique + FULL.encode("<|im_end|>\n").ids


def test_none_uses_its_own_template_where_there_is_one() -> None:
    templates = make_spec().templates.model_dump() | {"none": "{media}{prompt}|{response}"}
    renderer = PromptRenderer(
        byte_tokenizer_json(), make_spec(templates=Templates.model_validate(templates))
    )
    assert FULL.decode(renderer.render(prompt="q", response="r", mode="none")) == "q|r"
    plain = RENDERER.render(prompt="q", response="r", mode="none")
    assert plain == RENDERER.render(prompt="q", response="r")


def test_templates_that_do_not_fit_the_tokenizer_are_refused() -> None:
    base = make_spec().templates.model_dump()
    for change, message in [
        ({"end_of_turn": "end"}, "not one special token"),
        ({"image": "picture"}, "no special token"),
    ]:
        spec = make_spec(templates=Templates.model_validate(base | change))
        with pytest.raises(PromptError, match=message):
            PromptRenderer(byte_tokenizer_json(), spec)


def test_size_counts_added_tokens() -> None:
    assert RENDERER.tokenizer_size == 256 + len(SPECIAL) + 1
