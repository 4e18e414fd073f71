"""The custom reward function as verl 0.9 calls it: by keyword, awaited or in a thread."""

from __future__ import annotations

import inspect

import pytest
from mmreward_client import InvalidInput, RewardClient
from mmreward_client.adapters import rewarding, verl_score
from mmreward_client.adapters.rewarding import NoReward
from service_kit import picture, picture_bytes

PNG = picture_bytes(picture())


def call(solution: str, **changes: object) -> dict[str, object]:
    """What its reward manager passes; it adds two entries to `extra_info`."""
    columns = {"question": "<image>Which digit?", "images": [{"bytes": PNG, "path": None}]}
    extra = {**columns, "num_turns": 2, "rollout_reward_scores": {}, **changes}
    return {
        "data_source": "digits",
        "solution_str": solution,
        "ground_truth": "7",
        "extra_info": extra,
    }


@pytest.fixture(autouse=True)
async def _closed(settings):
    yield
    await rewarding.rewarder().aclose()


async def test_the_reward_is_the_score_of_the_service(service_url):
    """Question and picture come from extra_info; both forms of the function agree."""
    with RewardClient(service_url) as client:
        item = {"images": [PNG], "prompt": "Which digit?", "response": "A 7."}
        expected = client.score([item]).data[0].score
    assert inspect.iscoroutinefunction(verl_score.compute_score)
    assert await verl_score.compute_score(**call("A 7.")) == {"score": expected}
    assert verl_score.compute_score_blocking(**call("A 7.")) == {"score": expected}
    renamed = call(
        "A 7.", question=None, query=[{"role": "user", "content": "<image>Which digit?"}]
    )
    found = await verl_score.compute_score(**renamed, prompt_key="query", reward_router_address="x")
    assert found == {"score": expected}


async def test_a_failure_raises():
    """verl has no place for a missing reward, and a NaN would reach the advantages."""
    with pytest.raises(NoReward, match="unparsed"):
        await verl_score.compute_score(**call("[[unparsed]]"))
    with pytest.raises(NoReward, match="truncated"):
        verl_score.compute_score_blocking(**call("[[truncated]]"))


async def test_a_missing_question_is_named():
    """The error says what there is, and which option names another key."""
    with pytest.raises(InvalidInput, match=r"there are: answer.*prompt_key"):
        await verl_score.compute_score("d", "A 7.", "7", {"answer": "7"})


async def test_the_environment_decides_the_mode(settings):
    """Without a critique the same response scores differently."""
    written = await verl_score.compute_score(**call("A 7."))
    await rewarding.rewarder().aclose()
    rewarding.rewarder.cache_clear()
    settings(mode="none")
    assert await verl_score.compute_score(**call("A 7.")) != written
