"""Prompts of other trainers reach the service as what the policy was shown, or not at all."""

from __future__ import annotations

import numpy as np
import pytest
from mmreward_client import InvalidInput
from mmreward_client.adapters.conversation import (
    Question,
    question_of,
    question_of_template,
    response_of_query,
)
from service_kit import picture, picture_bytes

PNG = picture_bytes(picture())


def test_pictures_of_a_column():
    """The placeholder goes, the picture stays; `datasets` gives bytes and path, bytes count."""
    turns = [{"role": "user", "content": "<image>\nWhich digit?"}]
    expected = Question("Which digit?", (PNG,))
    assert question_of(turns, [{"bytes": PNG, "path": "gone.png"}]) == expected
    assert question_of("<image>Which digit?", PNG) == expected
    array = np.empty(1, dtype=object)
    array[0] = {"bytes": PNG, "path": None}
    assert question_of(np.array(turns), array) == expected


def test_pictures_inside_of_messages():
    """Parts of all shapes in use; a part without a picture belongs to the column."""
    image = picture()
    for part, column, sent in (
        ({"type": "image", "image": image}, None, image),
        ({"type": "image", "image": image, "bytes": PNG}, None, PNG),
        ({"type": "image", "image": "file:///a/cat.png"}, None, "/a/cat.png"),
        ({"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}, None, None),
        ({"type": "image"}, ["cat.png"], "cat.png"),
    ):
        turns = [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": [part, {"type": "text", "text": "Which?"}]},
        ]
        found = question_of(turns, column)
        assert found.images == (sent or "data:image/png;base64,AA==",)
        assert found.prompt == [turns[0], {"role": "user", "content": "Which?"}]


@pytest.mark.parametrize(
    ("turns", "images", "said"),
    [
        ([{"role": "user", "content": "<image>Which?"}], None, "there is no picture"),
        (
            [{"role": "user", "content": [{"type": "video", "video": "a.mp4"}]}],
            None,
            "type 'video'",
        ),
        ([{"role": "system", "content": "Hi"}], None, "no user turn"),
        ([{"role": "tool", "content": "1"}, {"role": "user", "content": "?"}], None, "role 'tool'"),
        ([{"role": "user", "content": None}], None, "content is NoneType"),
        (
            [{"role": "user", "content": "A?"}, {"role": "user", "content": "<image>B?"}],
            ["cat.png"],
            "outside of the first user turn",
        ),
        ([{"role": "user", "content": "Which?"}], [{"path": None}], "a picture without"),
        ([{"role": "user", "content": "<image><image>Same?"}], ["cat.png"], "2 times, of 1"),
        (
            [{"role": "user", "content": [{"type": "image"}, {"type": "image"}]}],
            ["cat.png", None],
            "2 times, of 1",
        ),
        (
            [{"role": "user", "content": [{"type": "image", "image": PNG}, {"type": "image"}]}],
            ["cat.png"],
            "which is which",
        ),
    ],
)
def test_what_cannot_be_shown_is_refused(turns, images, said):
    """Scored without its picture or turn, the reward would be of another question."""
    with pytest.raises(InvalidInput, match=said):
        question_of(turns, images)


def test_chatml_is_taken_apart():
    """The service applies its own template: that of the policy must not stand inside of it."""
    prompt = (
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n"
        "<|vision_start|><|image_pad|><|image_pad|><|vision_end|>Which?<|im_end|>\n"
        "<|im_start|>assistant\n"
    )
    system, user = {"role": "system", "content": "Be brief."}, {"role": "user", "content": "Which?"}
    assert question_of_template(prompt, ["cat.png"]) == Question([system, user], ("cat.png",))
    assert question_of_template(prompt + "<think>\n", "cat.png").prompt == [system, user]
    assert question_of_template("Q: why?\nA:") == Question("Q: why?\nA:")
    with pytest.raises(InvalidInput, match="no picture"):
        question_of_template(prompt)
    with pytest.raises(InvalidInput, match="no whole sequence"):
        question_of_template(prompt.replace("<|im_end|>\n<|im_start|>assistant", "x"))


def test_the_answer_in_a_query():
    """Prompt and end of turn are no part of it; what the policy wrote inside stays."""
    assert response_of_query("Why?So.<|im_end|>\n", "Why?") == "So."
    assert response_of_query("Why?A<|im_end|>B", "Why?") == "A<|im_end|>B"
    with pytest.raises(InvalidInput, match="does not begin"):
        response_of_query("Who?", "Why?")
