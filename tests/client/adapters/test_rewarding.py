"""A failure is never a number: it raises, or takes its whole group out where that was asked for."""

from __future__ import annotations

import asyncio
import gc
import os
import weakref

import numpy as np
import pytest
from mmreward_client import GroupInput, InvalidInput, ScoreInput, TransportError
from mmreward_client.adapters.adapter_settings import AdapterSettings
from mmreward_client.adapters.conversation import Question
from mmreward_client.adapters.group_gathering import GroupGathering
from mmreward_client.adapters.rewarding import BlockingRewarder, NoReward, Rewarder, rewards_of
from mmreward_client.schema import Comparison, GroupResult
from mmreward_client.testing import Fault, LocalService

JUDGED = ["[[quality=9]]", "[[quality=2]]", "[[quality=5]]"]


@pytest.fixture
async def make(service_url):
    made = []

    def make(**settings):
        made.append(Rewarder(AdapterSettings(url=(service_url,), timeout_s=60, **settings)))
        return made[-1]

    yield make
    for one in made:
        await one.aclose()


async def test_a_judge_compares_the_group(make):
    """Rewards are in the order of the responses."""
    best, worst, middle = await make(kind="judge").group(GroupInput("Which?", JUDGED))
    assert best > middle > worst


async def test_a_critique_model_scores_each(make):
    """The same rewards together and alone."""
    one, other = await make().group(GroupInput("Which?", ["A.", "B."]))
    assert one != other
    assert await make().score(ScoreInput("Which?", "B.")) == other


@pytest.mark.parametrize("kind", ["critique", "judge"])
async def test_a_failed_group_stops_the_run(make, kind):
    """One bad response is enough, and the error says what it was."""
    group = GroupInput("Which?", ["A.", "[[truncated]]", "B."])
    with pytest.raises(NoReward, match="truncated"):
        await make(kind=kind).group(group)


@pytest.mark.parametrize("kind", ["critique", "judge"])
async def test_a_failed_group_is_left_out_where_asked_for(make, kind, caplog):
    """All of it and nothing else; the log tells."""
    groups = [GroupInput("Which?", ["A.", "B."]), GroupInput("Which?", ["A.", "[[unparsed]]"])]
    good, bad = await make(kind=kind, on_failure="exclude_group").groups(groups)
    assert None not in good
    assert bad is None
    assert "a group is left out" in caplog.text
    assert "[[unparsed]]" not in caplog.text


def test_partial_groups_are_a_decision():
    """Each response has a score, some comparisons failed: refused, unless accepted."""
    failed = Comparison(first=0, second=1, status="unparsed")
    group = GroupResult(
        index=0, status="partial", scores=[4.0, 6.0], scores_from=[1, 1], comparisons=[failed]
    )
    with pytest.raises(NoReward, match="partial: 1 comparisons failed: unparsed"):
        rewards_of(group, accept_partial=False)
    assert rewards_of(group, accept_partial=True) == [4.0, 6.0]
    without = group.model_copy(update={"scores": [4.0, None], "scores_from": [1, 0]})
    with pytest.raises(NoReward, match="1 of the group have no good comparison"):
        rewards_of(without, accept_partial=True)


async def test_a_service_that_is_gone_always_raises():
    """It is no property of a group: leaving every group out would train on nothing, silently."""
    settings = AdapterSettings(
        url=("http://127.0.0.1:9",), timeout_s=0.5, on_failure="exclude_group"
    )
    with pytest.raises(TransportError):
        await Rewarder(settings).groups([GroupInput("Which?", ["A.", "B."])] * 2)


async def test_retries_are_in_the_log(caplog):
    """A run that waits says what for."""
    with LocalService(faults=[Fault("overloaded")]) as service:
        rewarder = Rewarder(AdapterSettings(url=(service.url,)))
        assert isinstance(await rewarder.score(ScoreInput("Which?", "A.")), float)
        await rewarder.aclose()
    assert "attempt 1 failed" in caplog.text


def test_groups_are_not_scored_one_by_one(service_url):
    """A function that sees single responses refuses settings that need their group."""
    for changes in ({"kind": "judge"}, {"on_failure": "exclude_group"}):
        blocking = BlockingRewarder(AdapterSettings(url=(service_url,), **changes))
        with pytest.raises(InvalidInput, match="whole groups"):
            blocking.scores([ScoreInput("Which?", "A.")])


async def test_responses_that_arrive_one_by_one_meet(make):
    """In any order, groups mixed; each gets its own reward, as if the group had come in one."""
    rewarder = make(kind="judge")
    gathering = GroupGathering(rewarder, 3)
    arriving = [(key, response) for response in JUDGED for key in ("a", "b")]
    found = await asyncio.gather(
        *(gathering.reward(key, Question(f"Which {key}?"), text) for key, text in arriving)
    )
    for key in ("a", "b"):
        own = [reward for (k, _), reward in zip(arriving, found, strict=True) if k == key]
        assert own == await rewarder.group(GroupInput(f"Which {key}?", JUDGED))
    again = [gathering.reward("a", Question("Which a?"), text) for text in JUDGED]
    assert await asyncio.gather(*again) == found[::2]


async def test_an_incomplete_group_is_an_error_for_all_of_it(make):
    """Never a comparison of a part, never a wait without end."""
    gathering = GroupGathering(make(kind="judge", gather_timeout_s=0.05), 3)
    waiting = [gathering.reward("a", Question("Which?"), text) for text in JUDGED[:2]]
    found = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(one) for one in found] == [NoReward, NoReward]
    assert "2 of 3 responses" in str(found[0])


async def test_a_group_that_is_done_is_let_go(make):
    """Its pictures are not held until the time is over that it had to become complete."""

    shown = np.zeros((64, 64, 3), np.uint8)
    held = weakref.ref(shown)
    gathering = GroupGathering(make(kind="judge"), 2)

    async def group(shown):
        question = Question("Which?", (shown,))
        await asyncio.gather(*(gathering.reward("a", question, text) for text in JUDGED[:2]))

    await group(shown)
    del shown
    await asyncio.sleep(0)
    gc.collect()
    assert held() is None


async def test_one_that_is_cancelled_does_not_take_the_others_along(make):
    """The group was complete: the others get their rewards."""
    gathering = GroupGathering(make(kind="judge"), 2)
    first = asyncio.create_task(gathering.reward("a", Question("Which?"), JUDGED[0]))
    second = asyncio.create_task(gathering.reward("a", Question("Which?"), JUDGED[1]))
    await asyncio.sleep(0)
    first.cancel()
    assert isinstance(await second, float)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_worker_scores_as_its_parent(service_url):
    """A trainer may import and use an adapter before it forks its workers."""
    blocking = BlockingRewarder(AdapterSettings(url=(service_url,), timeout_s=60))
    items = [ScoreInput("Which?", "A.")]
    expected = blocking.scores(items)
    child = os.fork()
    if child == 0:
        os._exit(0 if blocking.scores(items) == expected else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert blocking.scores(items) == expected
    blocking.close()


def test_one_event_loop_after_the_other(service_url):
    """ms-swift runs each step in a loop of its own."""

    async def step():
        found = await rewarder.score(ScoreInput("Which?", "A."))
        await rewarder.aclose()
        return found

    rewarder = Rewarder(AdapterSettings(url=(service_url,), timeout_s=60))
    assert asyncio.run(step()) == asyncio.run(step())
