"""The reward function and the executor as OpenRLHF 0.11 calls them."""

from __future__ import annotations

import asyncio
import importlib.util
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmreward_client import GroupInput, InvalidInput, RewardClient
from mmreward_client.adapters import openrlhf_reward, rewarding
from mmreward_client.adapters.rewarding import NoReward
from service_kit import picture, picture_bytes

PROMPT = "<|im_start|>user\nWhich digit?<|im_end|>\n<|im_start|>assistant\n"
SHOWN = PROMPT.replace("Which", "<|vision_start|><|image_pad|><|vision_end|>Which")
PNG = picture_bytes(picture())


class SingleTurn:
    """Of OpenRLHF's executor: the rollout with its tokens, and no reward without an endpoint."""

    def __init__(self, remote_rm_url=None):
        assert remote_rm_url is None

    async def execute(self, prompt, label, params, max_length, tokenizer, engine, images=None):
        tokens = tokenizer.encode(prompt)
        request = await engine.generate(tokens, params, multi_modal_data=None)
        answer = request.outputs[0].token_ids
        return {
            "prompt": prompt,
            "observation_tokens": tokens + answer,
            "action_ranges": [(len(tokens), len(tokens) + len(answer))],
            "reward": None,
            "scores": None,
            "extra_logs": {},
        }


class Tokenizer:
    """A token is a letter."""

    def encode(self, text):
        return [ord(one) for one in text]

    def __call__(self, text, add_special_tokens, return_tensors):
        return {"input_ids": torch.tensor([self.encode(text)])}

    def decode(self, tokens, skip_special_tokens):
        text = "".join(chr(one) for one in tokens)
        return text.replace("<|im_end|>", "") if skip_special_tokens else text


class Rollout:
    """An engine that answers with the next of its texts."""

    def __init__(self, *texts):
        self.texts = list(texts)

    async def generate(self, tokens, params, multi_modal_data=None):
        answer = self.texts.pop(0) + "<|im_end|>"
        output = SimpleNamespace(token_ids=Tokenizer().encode(answer), finish_reason="stop")
        output.logprobs = None
        return SimpleNamespace(outputs=[output])


@pytest.fixture
def expected(service_url):
    """The score of a response to the question, with the picture or without."""

    def score(response, images=()):
        with RewardClient(service_url) as client:
            item = {"images": images, "prompt": "Which digit?", "response": response}
            return client.score([item]).data[0].score

    return score


@pytest.fixture
async def execute(adapter, settings):
    module = adapter("openrlhf_agent", "openrlhf.utils.agent", SingleTurnAgentExecutor=SingleTurn)

    def make(**variables):
        settings(**variables)
        rewarding.rewarder.cache_clear()
        executor = module.AgentExecutor()

        async def execute(engine, prompt=PROMPT, images=None):
            params = SimpleNamespace(max_tokens=64, logprobs=None)
            return await executor.execute(
                prompt=prompt,
                label=None,
                sampling_params=params,
                max_length=4096,
                hf_tokenizer=Tokenizer(),
                llm_engine=engine,
                images=images,
            )

        return execute

    yield make
    await rewarding.rewarder().aclose()


def test_a_reward_function_from_a_file(settings, expected):
    """Loaded by its path, as OpenRLHF does; a tensor with an entry per query."""
    path = Path(openrlhf_reward.__file__)
    spec = importlib.util.spec_from_file_location("reward_func", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found = module.reward_func([PROMPT + "A 7.<|im_end|>"], [PROMPT], ["7"])
    assert torch.equal(found["rewards"], torch.tensor([expected("A 7.")]))
    assert torch.equal(found["scores"], found["rewards"])
    assert found["extra_logs"] == {}


def test_a_failure_of_the_function_is_logged_and_raised(settings, caplog):
    """OpenRLHF catches it and logs a line of its own at a level that is often hidden."""
    with pytest.raises(NoReward, match="unparsed"):
        openrlhf_reward.reward_func([PROMPT + "[[unparsed]]"], [PROMPT], [None])
    assert "the run cannot go on" in caplog.text
    assert [record.levelname for record in caplog.records] == ["ERROR"]


def test_a_prompt_with_a_picture_needs_the_executor(settings):
    """The function is not given the pictures: scored without, it would be another question."""
    with pytest.raises(InvalidInput, match="no picture"):
        openrlhf_reward.reward_func([SHOWN + "A 7."], [SHOWN], [None])


async def test_the_executor_scores_with_the_picture(execute, expected):
    """The rollout is that of OpenRLHF; reward and scores are numbers."""
    found = await execute()(Rollout("A 7."), SHOWN, images=[PNG])
    assert found["reward"] == found["scores"] == expected("A 7.", [PNG])
    assert found["reward"] != expected("A 7.")
    assert found["prompt"] == SHOWN


async def test_a_failure_of_the_executor_ends_the_run(execute):
    """It raises what OpenRLHF does not catch there."""
    with pytest.raises(NoReward, match="truncated"):
        await execute()(Rollout("[[truncated]]"))


async def test_the_executor_compares_groups(execute, service_url):
    """The responses to a prompt are tasks of one loop: they are judged together."""
    texts = ["[[quality=3]]", "[[quality=8]]"]
    run, engine = execute(kind="judge", group_size=2), Rollout(*texts)
    found = await asyncio.gather(*(run(engine) for _ in texts))
    with RewardClient(service_url) as client:
        (group,) = client.groups([GroupInput("Which digit?", texts)]).data
    assert sorted(one["reward"] for one in found) == sorted(group.scores)


async def test_a_group_is_of_one_picture(execute, service_url):
    """Copies are one picture, another picture makes another group of the same question.

    Arrays of this size have one repr, whatever is in the middle of them.
    """
    black = np.zeros((64, 64, 3), np.uint8)
    dotted = black.copy()
    dotted[32, 32] = 255
    shown = [black, dotted, black.copy(), dotted.copy()]
    texts = ["A 7.", "A 7.", "A 3.", "A 3."]
    run = execute(kind="judge", group_size=2)
    runs = [run(Rollout(text), SHOWN, images=[one]) for text, one in zip(texts, shown, strict=True)]
    found = [one["reward"] for one in await asyncio.gather(*runs)]
    with RewardClient(service_url) as client:
        groups = [GroupInput("Which digit?", texts[1:3], images=[one]) for one in shown[:2]]
        first, second = (one.scores for one in client.groups(groups).data)
    assert found == [first[0], second[0], first[1], second[1]]
    assert first != second


@pytest.mark.parametrize(
    ("variables", "said"),
    [({"kind": "judge"}, "GROUP_SIZE"), ({"on_failure": "exclude_group"}, "ON_FAILURE")],
)
def test_what_the_executor_cannot_keep_is_refused(execute, variables, said):
    """When it is made, before the first rollout."""
    with pytest.raises(InvalidInput, match=said):
        execute(**variables)
