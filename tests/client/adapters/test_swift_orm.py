"""The plug-in as ms-swift 4.6 calls it: once a step, with its own columns, awaited."""

from __future__ import annotations

import copy
from types import SimpleNamespace

import pytest
from mmreward_client import GroupInput, InvalidInput, RewardClient
from mmreward_client.adapters.rewarding import NoReward
from service_kit import picture, picture_bytes

PNGS = [picture_bytes(picture(shade=shade)) for shade in (0, 90)]
TEXTS = ["[[quality=3]]", "[[quality=8]]"]


class AsyncORM:
    """Of ms-swift's base class: what its constructor takes and keeps."""

    def __init__(self, args=None, **kwargs):
        self.args = args


@pytest.fixture
def make(adapter, settings):
    module = adapter("swift_orm", "swift.rewards", AsyncORM=AsyncORM, orms={})

    def make(size=2, **variables):
        settings(**variables)
        assert module.orms["mmreward"] is module.MMReward
        return module.orms["mmreward"](args=SimpleNamespace(num_generations=size))

    return make


def batch(*groups):
    """Groups of completions, one picture each, as columns; the rows of a group are copies."""
    rows = []
    for number, texts in enumerate(groups):
        for text in texts:
            turns = [
                {"role": "user", "content": "<image>Which digit?"},
                {"role": "assistant", "content": text},
            ]
            rows.append(
                {
                    "messages": turns,
                    # Equal messages have one id there, whatever the pictures.
                    "prompt_id": "prompt_0",
                    "request_id": f"r{len(rows)}",
                    "images": [{"bytes": copy.copy(PNGS[number % 2]), "path": None}],
                    "is_truncated": False,
                    "solution": "7",
                }
            )
    columns = {name: [one[name] for one in rows] for name in rows[0]}
    return [one["messages"][-1]["content"] for one in rows], columns


async def test_groups_are_compared(make, service_url):
    """Two groups with one question and two pictures stay two groups."""
    completions, columns = batch(TEXTS, TEXTS[::-1])
    found = await make(kind="judge")(completions, trainer_state=None, **columns)
    with RewardClient(service_url) as client:
        groups = [
            GroupInput("Which digit?", texts, images=[png])
            for texts, png in zip((TEXTS, TEXTS[::-1]), PNGS, strict=True)
        ]
        expected = [group.scores for group in client.groups(groups).data]
    assert found == [*expected[0], *expected[1]]
    assert found[0] < found[1]


async def test_two_groups_of_one_prompt(make, service_url):
    """A row that is in the step twice: two groups, not one of twice the size."""
    completions, columns = batch(TEXTS)
    twice = {name: found * 2 for name, found in columns.items()}
    found = await make(kind="judge")(completions * 2, **twice)
    assert found[:2] == found[2:]
    with pytest.raises(InvalidInput, match="2 responses to one prompt in this process"):
        await make(size=4, kind="judge")(completions, **columns)


async def test_a_group_in_pieces_is_refused(make):
    """What another process has of it cannot be compared; the error says what to change."""
    completions, columns = batch(TEXTS, TEXTS)
    cut = {name: found[:3] for name, found in columns.items()}
    with pytest.raises(InvalidInput, match="per_device_train_batch_size"):
        await make(kind="judge")(completions[:3], **cut)


async def test_a_failure_raises(make):
    """A None would be summed up as a zero there."""
    completions, columns = batch(TEXTS, ["A 7.", "[[truncated]]"])
    for kind in ("critique", "judge"):
        with pytest.raises(NoReward, match="truncated"):
            await make(kind=kind)(completions, **columns)


async def test_left_out_is_the_whole_group(make):
    """None for each of it, rewards for the others."""
    completions, columns = batch(TEXTS, ["A 7.", "[[truncated]]"])
    found = await make(on_failure="exclude_group")(completions, **columns)
    assert [one is None for one in found] == [False, False, True, True]


async def test_videos_are_refused(make):
    """Without its frames the reward would be of another question."""
    completions, columns = batch(TEXTS)
    with pytest.raises(InvalidInput, match="videos"):
        await make()(completions, **columns, videos=[["a.mp4"], None])


def test_the_size_of_a_group_has_to_be_known(adapter):
    """Of ms-swift's arguments, or of the environment."""
    module = adapter("swift_orm", "swift.rewards", AsyncORM=AsyncORM, orms={})
    with pytest.raises(InvalidInput, match="MMREWARD_GROUP_SIZE"):
        module.MMReward()
