"""Items in every form a caller may hold them, and the one form they have on the wire."""

from __future__ import annotations

import base64
import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mmreward_client import InvalidInput, PairInput, ScoreInput
from mmreward_client.exchange import pairs_call, score_call
from mmreward_client.images import MediaTable
from mmreward_client.inputs import wire_items
from mmreward_client.schema import PairItem, PairsRequest, ScoreItem, ScoreRequest, Turn, parse_item

PNG = "data:image/png;base64," + base64.b64encode(b"\x89PNG\r\n\x1a\n").decode()


@dataclasses.dataclass
class Mine:
    """Somebody else's dataclass."""

    prompt: str
    response: str
    images: list
    id: str | None = None


def test_all_forms_are_the_same_item():
    """A mapping, ours, somebody's dataclass and the wire model are one item."""
    forms = [
        {"prompt": "q", "response": "r", "images": [PNG], "id": "a", "critique": None},
        ScoreInput("q", "r", [PNG], id="a"),
        Mine("q", "r", [PNG], "a"),
        ScoreItem(prompt="q", response="r", images=[PNG], id="a"),
    ]
    wired = [parse_item(ScoreItem, item) for item in wire_items(forms, MediaTable())]
    assert all(item == wired[0] for item in wired)
    assert isinstance(wired[0], ScoreItem)


@pytest.mark.parametrize("form", [list, tuple, lambda images: images[0]])
def test_one_image_or_many(form):
    """A single image needs no list around it."""
    array = np.zeros((4, 4, 3), np.uint8)
    (item,) = wire_items([{"images": form([array])}], MediaTable())
    assert len(item["images"]) == 1


def test_reused_buffer_of_a_generator_is_not_mistaken():
    """Distinct pictures stay distinct; one object shared by many items is uploaded once."""
    arrays = [np.full((2, 2), shade, np.uint8) for shade in (0, 1)]
    media = MediaTable()
    items = wire_items(({"images": [arrays[i % 2]]} for i in range(6)), media)
    assert len(media.entries) == 2
    assert [item["images"] == items[0]["images"] for item in items] == [True, False] * 3


def test_chat_prompts():
    """Messages go out as they are, models or mappings."""
    turns = [{"role": "system", "content": "Be brief."}, Turn(role="user", content="q")]
    (item,) = wire_items([{"prompt": turns, "response": "r"}], MediaTable())
    parsed = parse_item(ScoreItem, item)
    assert parsed.prompt == [
        Turn(role="system", content="Be brief."),
        Turn(role="user", content="q"),
    ]


def test_items_the_service_calls_invalid_are_sent():
    """One broken item must not keep the others from their scores: the service judges each."""
    broken = [{"prompt": 3}, {"prompt": "q", "response": "", "colour": "red"}, {}]
    call = score_call([*broken, {"prompt": "q", "response": "r"}], {}, pin=None)
    assert len(json.loads(call.content(1.0))["items"]) == 4


@pytest.mark.parametrize("item", ["text", 3, None, ["q", "r"], ScoreInput])
def test_what_is_no_item(item):
    """Its place is named."""
    with pytest.raises(InvalidInput, match="item 1"):
        wire_items([{"prompt": "q"}, item], MediaTable())


def test_swap():
    """Swapped twice is the same pair; critiques go with their responses."""
    pair = PairInput("q", "good", "bad", chosen_critique="c", rejected_critique="r")
    assert pair.swap() == PairInput("q", "bad", "good", chosen_critique="r", rejected_critique="c")
    assert pair.swap().swap() == pair


@given(
    st.lists(
        st.fixed_dictionaries(
            {"prompt": st.text(min_size=1), "chosen": st.text(min_size=1), "rejected": st.just("x")}
        ),
        min_size=1,
        max_size=3,
    ),
    st.floats(0.001, 1e5),
)
def test_body_fits_the_contract(items, remaining_s):
    """Any text makes a body that the service's own model reads, with the deadline in it."""
    call = pairs_call(items, {"critiques": 2}, pin="f", beta={"w": 0.25})
    request = PairsRequest.model_validate_json(call.content(remaining_s))
    assert 0 < request.deadline_ms <= max(1.0, remaining_s * 1000)
    assert request.deadline_ms >= 800 * remaining_s - 1
    assert request.beta.w == 0.25
    for sent, raw in zip(items, request.items, strict=True):
        assert parse_item(PairItem, raw) == PairItem(**sent)


def test_shared_picture_travels_once():
    """A group of sixteen about one picture uploads it once."""
    items = [ScoreInput("q", f"answer {n}", [PNG]) for n in range(16)]
    request = ScoreRequest.model_validate_json(score_call(items, {}, pin=None).content(1.0))
    assert list(request.media.values()) == [PNG]
    assert all(item["images"] == list(request.media) for item in request.items)
