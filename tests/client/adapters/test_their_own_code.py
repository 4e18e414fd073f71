"""The trainers' own code calls the adapters, where their packages can be imported.

These packages pin versions of transformers and TRL that exclude each other and those of this
project, so no common installation has them; docs/adapters.md says how these tests were run.
"""

from __future__ import annotations

import asyncio
import math
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from mmreward_client import RewardClient
from mmreward_client.adapters import openrlhf_reward, rewarding
from mmreward_client.adapters.rewarding import NoReward
from service_kit import picture, picture_bytes

PNG = picture_bytes(picture())
IMAGE = picture()
# Their modules warn on import, as they please.
pytestmark = pytest.mark.filterwarnings("ignore")


class Letters:
    """A token is a letter, 0 is padding."""

    def decode(self, tokens, skip_special_tokens=True):
        return "".join(chr(int(one)) for one in tokens)

    def __call__(self, text, add_special_tokens, return_tensors):
        return {"input_ids": torch.tensor([[ord(one) for one in text]])}


@pytest.fixture
def scores(service_url):
    """What the service itself says."""

    def score(*responses, images=(PNG,)):
        with RewardClient(service_url) as client:
            item = {"images": images, "prompt": "Which digit?"}
            return [
                one.score for one in client.score([{**item, "response": r} for r in responses]).data
            ]

    return score


@pytest.fixture
async def closed(settings):
    yield
    await rewarding.rewarder().aclose()


@pytest.fixture
def openrlhf(settings):
    return pytest.importorskip("openrlhf.utils.agent", reason="OpenRLHF cannot be imported here")


@pytest.fixture
def swift(settings):
    pytest.importorskip("swift.rewards", reason="ms-swift cannot be imported here")
    return pytest.importorskip(
        "swift.rl_core.grpo_algorithm", reason="ms-swift's trainer cannot be imported here"
    )


@pytest.fixture
def verl(settings):
    return pytest.importorskip("verl.trainer.ppo.reward", reason="verl cannot be imported here")


async def test_openrlhf_asks_the_route(openrlhf, service_url, scores):
    """Its HTTP client and `/get_reward`; a failure ends in an error, not in a number."""
    executor = openrlhf.SingleTurnAgentExecutor([f"{service_url}/get_reward"])
    (found,) = await executor._fetch_rewards_via_http(["Which digit?A 7."], ["Which digit?"], ["7"])
    assert found["rewards"] == scores("A 7.", images=())
    assert found["scores"] == found["rewards"]


async def test_openrlhf_loads_the_function(openrlhf, scores):
    """Its own loader, its own thread, its own reading of the reply."""
    executor = openrlhf.SingleTurnAgentExecutor(openrlhf_reward.__file__)
    output = await _rollout(executor, "Which digit?", "A 7.")
    assert torch.tensor([output["reward"]]).tolist() == pytest.approx(scores("A 7.", images=()))
    failed = await _rollout(executor, "Which digit?", "[[truncated]]")
    assert (failed["reward"], failed["scores"]) == (None, None)


async def test_openrlhf_runs_the_executor(openrlhf, scores, closed):
    """Its rollout, then the reward with the picture; a failure leaves the executor."""
    agent = pytest.importorskip("mmreward_client.adapters.openrlhf_agent")
    assert issubclass(agent.AgentExecutor, openrlhf.AgentExecutorBase)
    executor = agent.AgentExecutor()
    output = await _rollout(executor, "<image>Which digit?", "A 7.", [PNG])
    assert output["reward"] == scores("A 7.")[0]
    with pytest.raises(NoReward):
        await _rollout(executor, "Which digit?", "[[truncated]]")


async def _rollout(executor, prompt, response, images=None):
    class Engine:
        async def generate(self, tokens, params, multi_modal_data=None):
            answer = [ord(one) for one in response]
            output = SimpleNamespace(token_ids=answer, finish_reason="stop", logprobs=None)
            return SimpleNamespace(outputs=[output])

    params = SimpleNamespace(max_tokens=64, logprobs=None)
    return await executor.execute(prompt, "7", params, 4096, Letters(), Engine(), images)


def test_swift_computes_rewards(swift, scores, service_url):
    """Its own rows and its own event loop: a step after the other, groups in one piece."""
    orm = pytest.importorskip("mmreward_client.adapters.swift_orm")
    plugin = orm.orms["mmreward"](args=SimpleNamespace(num_generations=2))
    for texts in (("A 7.", "A 2."), ("A 5.", "A 1.")):
        found = swift.compute_rewards_per_func(_samples(texts), [plugin], [None], "cpu")
        assert found[:, 0].tolist() == pytest.approx(scores(*texts))
    with pytest.raises(NoReward):
        swift.compute_rewards_per_func(_samples(["A 7.", "[[truncated]]"]), [plugin], [None], "cpu")


def test_swift_takes_a_none_for_zero(swift, settings):
    """Why a single None is never returned; of a whole group it leaves no advantage."""
    from swift.rl_core.advantage import compute_advantages

    single = torch.tensor([[3.0], [math.nan]])
    _, rewards = compute_advantages(single, torch.ones(1), num_generations=2)
    assert rewards.tolist() == [3.0, 0.0]
    settings(on_failure="exclude_group")
    orm = pytest.importorskip("mmreward_client.adapters.swift_orm")
    plugin = orm.orms["mmreward"](args=SimpleNamespace(num_generations=2))
    samples = _samples(["A 7.", "A 2."]) + _samples(["A 7.", "[[truncated]]"], "prompt_1")
    found = swift.compute_rewards_per_func(samples, [plugin], [None], "cpu")
    advantages, _ = compute_advantages(found, torch.ones(1), num_generations=2)
    assert advantages[:2].abs().min() > 0
    assert advantages[2:].tolist() == [0.0, 0.0]


def _samples(texts, prompt_id="prompt_0"):
    from swift.rl_core.data import GRPOSample

    return [
        GRPOSample(
            messages=[
                {"role": "user", "content": "<image>Which digit?"},
                {"role": "assistant", "content": text},
            ],
            images=[{"bytes": PNG, "path": None}],
            prompt_id=prompt_id,
            request_id=f"{prompt_id}-{place}",
            finish_reason="stop",
        )
        for place, text in enumerate(texts)
    ]


async def test_verl_loads_the_function(verl, scores, closed):
    """Its configuration, its loader, its own reward manager."""
    config = _config(
        custom_reward_function={
            "path": "pkg://mmreward_client.adapters.verl_score",
            "name": "compute_score",
            "reward_kwargs": {"prompt_key": "query"},
        }
    )
    manager = verl.load_reward_manager(config, Letters())
    found = await manager.run_single(_rows("A 7."))
    assert found["reward_score"] == scores("A 7.")[0]
    with pytest.raises(NoReward):
        await manager.run_single(_rows("[[truncated]]"))


@pytest.mark.parametrize("kind", ["critique", "judge"])
async def test_verl_loads_the_manager(verl, settings, service_url, scores, kind, closed):
    """As a module of a package and as a file; responses arrive one by one."""
    settings(kind=kind)
    texts = ["[[quality=3]]", "[[quality=8]]"]
    module = pytest.importorskip("mmreward_client.adapters.verl_manager")
    with RewardClient(service_url) as client:
        item = {"images": [IMAGE], "prompt": "Which digit?", "responses": texts}
        expected = scores(*texts, images=[IMAGE])
        if kind == "judge":
            expected = client.groups([item]).data[0].scores
    for path in ("pkg://mmreward_client.adapters.verl_manager", str(Path(module.__file__))):
        manager_config = {"source": "importlib", "name": "RewardManager", "module": {"path": path}}
        manager = verl.load_reward_manager(_config(reward_manager=manager_config), Letters())
        found = await asyncio.gather(*(manager.run_single(_rows(text)) for text in texts))
        assert [one["reward_score"] for one in found] == expected
        assert type(manager).assemble_rm_scores(_rows(*texts), expected).sum(1).tolist() == (
            pytest.approx(expected)
        )


def test_equal_rewards_are_no_advantage_in_verl(verl):
    """Of each estimator for which a group may be left out: zero for it, not for its neighbour."""
    import numpy as np
    from verl.trainer.ppo.core_algos import get_adv_estimator_fn

    manager = pytest.importorskip("mmreward_client.adapters.verl_manager")
    rewards = torch.zeros(4, 3)
    rewards[2, 2] = 1.0  # of a group beside the one that was left out
    mask = torch.tensor([[1, 1, 1], [1, 1, 0], [1, 1, 1], [1, 1, 0]]).float()
    for name in manager.GROUP_RELATIVE:
        advantages, _ = get_adv_estimator_fn(name)(
            token_level_rewards=rewards, response_mask=mask, index=np.array(["a", "a", "b", "b"])
        )
        assert advantages[:2].abs().max() == 0, name
        assert advantages[2:].abs().max() > 0, name


def _config(**reward):
    from omegaconf import OmegaConf

    defaults = {
        "num_workers": 1,
        "custom_reward_function": {"path": None, "name": "compute_score"},
        "reward_manager": {"source": "register", "name": "naive", "module": {"path": None}},
    }
    return OmegaConf.create(
        {
            "reward": {**defaults, **reward},
            "actor_rollout_ref": {"rollout": {"n": 2}},
            "trainer": {"val_before_train": False, "test_freq": -1},
            "algorithm": {"adv_estimator": "grpo"},
            "data": {"train_batch_size": 4},
        }
    )


def _rows(*texts):
    import numpy as np
    from tensordict import TensorDict
    from verl import DataProto

    length = max(map(len, texts))
    responses = torch.tensor([[ord(one) for one in text.ljust(length, "\0")] for text in texts])
    mask = torch.cat([torch.ones(len(texts), 3, dtype=torch.long), (responses > 0).long()], dim=1)
    parts = [{"type": "image", "image": IMAGE}, {"type": "text", "text": "Which digit?"}]
    columns = {
        "uid": "a",
        "data_source": "digits",
        "reward_model": {"ground_truth": "7"},
        "extra_info": {"query": "<image>Which digit?", "images": [{"bytes": PNG, "path": None}]},
        "raw_prompt": [{"role": "user", "content": parts}],
    }
    arrays = {}
    for name, value in columns.items():
        arrays[name] = np.empty(len(texts), dtype=object)
        for place in range(len(texts)):
            arrays[name][place] = value
    batch = {"prompts": torch.ones(len(texts), 3), "responses": responses, "attention_mask": mask}
    return DataProto(batch=TensorDict(batch, batch_size=len(texts)), non_tensor_batch=arrays)
