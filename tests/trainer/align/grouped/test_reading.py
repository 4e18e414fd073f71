"""What TRL hands over, as the service wants it."""

from __future__ import annotations

from typing import Any

import pytest
from mmreward_trainer.align.grouped.reading import (
    Completion,
    Ending,
    UnreadablePrompt,
    prompt_of,
    read_completions,
)

from .conftest import END, picture, prompt, step


def read(arguments: dict[str, Any], **more: Any) -> list[Completion]:
    named = ("prompts", "completions", "completion_ids")
    columns = {name: value for name, value in arguments.items() if name not in named}
    return read_completions(*(arguments[name] for name in named), columns, Ending([END]), **more)


def test_texts_leave_the_messages_and_pictures_stand_beside_them() -> None:
    """A single user turn is its text; the pictures are those of the column, else of the message."""
    arguments = step(["a", "b"], 2)
    first, second = read(arguments)
    assert first.prompt == "What is it?"
    assert first.response == "a"
    assert list(first.images) == arguments["images"][0]
    assert first.key == second.key
    del arguments["images"]
    [alone, _] = read(arguments)
    assert list(alone.images) == [arguments["prompts"][0][0]["content"][0]["image"]]
    assert alone.key == first.key


def test_plain_columns_are_taken_as_they_are() -> None:
    """Texts for prompts and completions, no pictures; another column can hold the question."""
    arguments = {"prompts": ["<|user|>Why?"], "completions": ["So."], "completion_ids": [[1, END]]}
    [row] = read(arguments)
    assert (row.prompt, row.response, list(row.images)) == ("<|user|>Why?", "So.", [])
    [row] = read({**arguments, "question": ["Why?"]}, prompt_column="question")
    assert row.prompt == "Why?"
    with pytest.raises(UnreadablePrompt, match="no column 'question'"):
        read(arguments, prompt_column="question")


def test_a_conversation_stays_one_of_texts() -> None:
    """System and earlier turns are sent as they are; empty ones are left out."""
    turns = [
        {"role": "system", "content": ""},
        {"role": "user", "content": [{"type": "text", "text": "Hi."}]},
        {"role": "assistant", "content": "Yes?"},
        {"role": "user", "content": "What is it?"},
    ]
    assert prompt_of(turns) == [
        {"role": "user", "content": "Hi."},
        {"role": "assistant", "content": "Yes?"},
        {"role": "user", "content": "What is it?"},
    ]


@pytest.mark.parametrize(
    ("turns", "said"),
    [
        ([{"role": "tool", "content": "7"}], "the role 'tool'"),
        ([{"role": "user", "content": None}], "message 0 of a prompt has no text"),
        ([{"role": "user", "content": [{"type": "audio"}]}], "'audio', which is not judged"),
        ([*prompt(1), {"role": "assistant", "content": "A"}, *prompt(2)], "outside of the first"),
    ],
)
def test_what_the_service_does_not_take_is_named(turns: list[Any], said: str) -> None:
    """Nothing is dropped without a word."""
    arguments = {"prompts": [turns], "completions": ["a"], "completion_ids": [[END]]}
    with pytest.raises(UnreadablePrompt, match=said):
        read(arguments)


def test_a_completion_that_was_cut_is_known_by_its_last_token() -> None:
    """Or by its length where no token is named; naming neither is refused."""
    assert [row.is_complete for row in read(step(["a", "b"], 2, cut={1}))] == [True, False]
    by_length = Ending(max_completion_length=3)
    assert by_length.is_complete([1, 1])
    assert not by_length.is_complete([1, 1, 1])
    assert Ending([END], 3).is_complete([1, 1, END])
    assert not Ending([END]).is_complete([])
    with pytest.raises(ValueError, match="end_token_ids"):
        Ending()


def test_another_picture_is_another_prompt() -> None:
    """Keys tell pixels, bytes and paths apart; two objects of the same pixels are one picture."""
    kinds = [picture(1), picture(2), b"\x89PNG", "a.png", {"bytes": b"\xff\xd8", "path": None}]
    keys = {read({**step(["a"], 1), "images": [[one]]})[0].key for one in (*kinds, picture(1))}
    assert len(keys) == len(kinds)
    [row] = read({**step(["a"], 1), "images": [[kinds[-1]]]})
    assert list(row.images) == [b"\xff\xd8"]
