"""The reward manager as verl 0.9 makes and calls it: one row of a DataProto at a time."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest
from mmreward_client import GroupInput, InvalidInput, RewardClient
from mmreward_client.adapters import rewarding
from mmreward_client.adapters.rewarding import NoReward
from service_kit import picture

IMAGE = picture()
GRPO = {
    "actor_rollout_ref": {"rollout": {"n": 2}},
    "reward": {"num_workers": 1},
    "trainer": {"val_before_train": False, "test_freq": -1},
    "algorithm": {"adv_estimator": "grpo"},
    "data": {"train_batch_size": 4},
}


class Base:
    """Of verl's base class: what its constructor takes and keeps."""

    def __init__(self, config, tokenizer, compute_score):
        self.config = config
        self.tokenizer = tokenizer


class Tokenizer:
    """A token is a letter; zeros are padding."""

    def decode(self, tokens, skip_special_tokens):
        assert skip_special_tokens
        return "".join(chr(int(one)) for one in tokens)


class Rows(list):
    """Of verl's DataProto: slices are of its kind, a single row is not."""

    def __getitem__(self, place):
        found = super().__getitem__(place)
        return Rows(found) if isinstance(place, slice) else found


def row(response, uid="a", question="Which digit?"):
    """A finished response, padded on the right, with the columns of the data set."""
    import numpy as np

    tokens = np.array([ord(one) for one in response] + [0, 0])
    prompt = [{"type": "image", "image": IMAGE}, {"type": "text", "text": question}]
    return SimpleNamespace(
        batch={
            "responses": tokens,
            "attention_mask": np.array([1, 1, 1] + [1] * len(response) + [0, 0]),
        },
        non_tensor_batch={
            "uid": uid,
            "raw_prompt": np.array([{"role": "user", "content": prompt}], dtype=object),
            "data_source": "digits",
        },
    )


@pytest.fixture
async def make(adapter, settings):
    module = adapter(
        "verl_manager",
        "verl.experimental.reward_loop.reward_manager.base",
        RewardManagerBase=Base,
    )

    made = []

    def make(config=GRPO, **variables):
        settings(**variables)
        rewarding.rewarder.cache_clear()
        made.append(rewarding.rewarder())
        return module.RewardManager(
            config=config,
            tokenizer=Tokenizer(),
            compute_score=None,
            reward_router_address=None,
            reward_model_tokenizer=None,
        )

    yield make
    # Each, or its connections are found open in the middle of some later test.
    for one in made:
        await one.aclose()


def changed(**sections):
    return {name: {**found, **sections.get(name, {})} for name, found in GRPO.items()}


async def test_one_response(make, service_url):
    """Text without padding, question and picture as the policy saw them."""
    with RewardClient(service_url) as client:
        item = {"images": [IMAGE], "prompt": "Which digit?", "response": "A 7."}
        expected = client.score([item]).data[0].score
    # Scored alone: nothing of the configuration matters.
    found = await make(config={}).run_single(Rows([row("A turn before."), row("A 7.")]))
    assert found["reward_score"] == expected
    assert found["reward_extra_info"] == {"score": expected, "mmreward_excluded": 0.0}


async def test_groups_meet(make, service_url):
    """Rows arrive one by one, groups mixed; each has the reward that its group gives it."""
    responses = {"a": ["[[quality=3]]", "[[quality=8]]"], "b": ["[[quality=6]]", "[[quality=5]]"]}
    arriving = [row(responses[uid][place], uid) for place in (0, 1) for uid in "ab"]
    manager = make(kind="judge")
    found = await asyncio.gather(*(manager.run_single(Rows([one])) for one in arriving))
    with RewardClient(service_url) as client:
        groups = [GroupInput("Which digit?", texts, images=[IMAGE]) for texts in responses.values()]
        a, b = (group.scores for group in client.groups(groups).data)
    assert [one["reward_score"] for one in found] == [a[0], b[0], a[1], b[1]]
    assert found == await manager.run_batch(Rows(arriving))


async def test_a_failure_stops_the_step(make):
    """All of the group raise: none of it is trained on."""
    manager = make(kind="judge")
    rows = [row("A 7."), row("[[unparsed]]")]
    waiting = (manager.run_single(Rows([one])) for one in rows)
    found = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(one) for one in found] == [NoReward, NoReward]
    with pytest.raises(NoReward):
        await make(kind="critique").run_single(Rows([row("[[truncated]]")]))


async def test_a_group_that_is_left_out_has_no_advantage(make):
    """Equal rewards, so that a difference within the group is exactly zero, and it is logged."""
    manager = make(on_failure="exclude_group")
    found = await manager.run_batch(Rows([row("A 7."), row("[[truncated]]")]))
    assert [one["reward_score"] for one in found] == [0.0, 0.0]
    assert [one["reward_extra_info"]["mmreward_excluded"] for one in found] == [1.0, 1.0]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"reward": {"num_workers": 8}}, "reward.num_workers has to be 1"),
        ({"reward": {"num_workers": None}}, "reward.num_workers has to be 1"),
        ({"trainer": {"test_freq": 5}}, "trainer.test_freq has to be -1"),
        ({"trainer": {"val_before_train": None}}, "val_before_train has to be False"),
        ({"actor_rollout_ref": {"rollout": {"n": 1}}}, "rollout.n has to be 2 or more"),
        ({"algorithm": {"adv_estimator": "remax"}}, "remax"),
        ({"data": {"train_batch_size": 1024}}, "is 2048, over 1000"),
    ],
)
def test_what_would_tear_groups_apart_is_refused(make, changes, said):
    """When the manager is made, before the first step; verl's own defaults count."""
    with pytest.raises(InvalidInput, match=said):
        make(config=changed(**changes), kind="judge")


def test_leaving_out_needs_an_estimator_of_groups(make):
    """With a value function equal rewards do not cancel."""
    with pytest.raises(InvalidInput, match="adv_estimator gae"):
        make(config=changed(algorithm={"adv_estimator": "gae"}), on_failure="exclude_group")
    # Divided by their deviation, penalties however small have advantages of about 1.
    with pytest.raises(InvalidInput, match="use_kl_in_reward"):
        make(config=changed(algorithm={"use_kl_in_reward": True}), on_failure="exclude_group")
