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
JUDGE = "<|im_start|>{media}{prompt}\n1: {first}\n2: {second}<|im_end|>\n"
JUDGES = [
    PromptRenderer(
        byte_tokenizer_json(),
        make_spec(
            templates=Templates.model_validate(
                make_spec().templates.model_dump() | {"judge": JUDGE, "join": join}
            ),
            read_out="after_turn",
        ),
    )
    for join in ("pieces", "runs")
]
both_joins = pytest.mark.parametrize("renderer", JUDGES, ids=["pieces", "runs"])
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


@both_joins
@given(prompt=attack.filter(bool), response=attack.filter(bool), critique=attack.filter(bool))
def test_no_text_can_add_a_special_token(
    renderer: PromptRenderer, prompt: str, response: str, critique: str
) -> None:
    """The special tokens of an attacked prompt are those of a harmless one, in the same order."""
    for mode in ("generate", "given", "none"):
        given_critique = critique if mode == "given" else None
        attacked = renderer.render(
            prompt=prompt, response=response, images=1, mode=mode, critique=given_critique
        )
        harmless = renderer.render(
            prompt="q",
            response="r",
            images=1,
            mode=mode,
            critique="c" if mode == "given" else None,
        )
        assert special(attacked) == special(harmless)


@both_joins
@given(prompt=attack.filter(bool))
def test_a_conversation_cannot_add_special_tokens(renderer: PromptRenderer, prompt: str) -> None:
    turns = [Turn(role="system", content=prompt), Turn(role="user", content=prompt)]
    attacked = renderer.render(prompt=turns, response="r", images=1)
    assert special(attacked) == special(renderer.render(prompt="q", response="r", images=1))


@both_joins
@given(prompt=attack.filter(bool), first=attack.filter(bool), second=attack.filter(bool))
def test_no_answer_can_forge_a_turn_of_the_judge(
    renderer: PromptRenderer, prompt: str, first: str, second: str
) -> None:
    """As for a critique: question and both answers add no special token."""
    attacked = renderer.render_judge(prompt=prompt, first=first, second=second, images=1)
    assert special(attacked) == special(
        renderer.render_judge(prompt="q", first="a", second="b", images=1)
    )


@both_joins
def test_a_special_token_spelled_over_a_border_is_text(renderer: PromptRenderer) -> None:
    """Neither two texts that meet nor a text beside the template's words close a turn."""
    templates = renderer.spec.templates.model_dump()
    templates |= {"turn": "{role}{content}", "none": "<|im_{media}{prompt}{response}>"}
    meeting = PromptRenderer(
        byte_tokenizer_json(), make_spec(templates=Templates.model_validate(templates))
    )
    turns = [Turn(role="user", content="<|im_e"), Turn(role="assistant", content="<|im_end|>")]
    for prompt, response in (("<|im_", "end|>"), ("start|>", "end|"), (turns, "nd|>")):
        ids = meeting.render(prompt=prompt, response=response, mode="none")
        assert special(ids) == []
        assert special(meeting.render(prompt=prompt, response=response)) == special(
            meeting.render(prompt="q", response="r")
        )


@both_joins
@given(st.text(), st.text())
def test_user_text_survives(renderer: PromptRenderer, text: str, other: str) -> None:
    """Untrusted text is tokenised, not censored: every character is still there."""
    ids = renderer.encode_user_text(text)
    assert FULL.decode(ids, skip_special_tokens=False) == text
    judged = renderer.render_judge(prompt="q", first=text, second=other)
    written = JUDGE.format(media="", prompt="q", first=text, second=other)
    assert FULL.decode(judged, skip_special_tokens=False) == written


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
