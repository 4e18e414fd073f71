"""OpenRLHF's executor with pictures: its own single-turn rollout, then the reward.

    --train.agent_func_path /path/to/openrlhf_agent.py

OpenRLHF (0.11) hands pictures to executors alone. What is raised here is not caught there: the run
ends. All responses to a prompt are tasks of one event loop, so a judge can compare them: then
`MMREWARD_GROUP_SIZE` has to be `--rollout.n_samples_per_prompt`, of evaluation as well. Leaving a
group out is not offered: an executor does not see which estimator its rewards go to.
"""

from __future__ import annotations

import asyncio
from typing import Any

from mmreward_client.adapters.conversation import Question, question_of_template
from mmreward_client.adapters.group_gathering import GroupGathering
from mmreward_client.adapters.rewarding import NoReward, rewarder
from mmreward_client.errors import InvalidInput
from mmreward_client.images import identity_of
from mmreward_client.inputs import ScoreInput

try:
    from openrlhf.utils.agent import SingleTurnAgentExecutor
except ImportError as error:
    raise ImportError(
        "mmreward_client.adapters.openrlhf_agent is for OpenRLHF (tried with 0.11.2), which cannot "
        f"be imported here: {error}"
    ) from error


class AgentExecutor(SingleTurnAgentExecutor):  # type: ignore[misc]
    """Found by OpenRLHF under this name, made without arguments.

    Raises:
        InvalidInput: settings that cannot be kept here.
    """

    def __init__(self) -> None:
        super().__init__(None)
        self._rewarder = rewarder()
        settings = self._rewarder.settings
        if settings.on_failure == "exclude_group":
            raise InvalidInput("MMREWARD_ON_FAILURE: OpenRLHF has no way to leave a group out")
        self._gathering: GroupGathering | None = None
        if settings.kind == "judge":
            if settings.group_size is None:
                raise InvalidInput("MMREWARD_GROUP_SIZE: needed where a judge compares groups")
            self._gathering = GroupGathering(self._rewarder, settings.group_size)

    async def execute(
        self,
        prompt: str,
        label: Any,
        sampling_params: Any,
        max_length: int,
        hf_tokenizer: Any,
        llm_engine: Any,
        images: Any = None,
    ) -> dict[str, Any]:
        """The rollout of the base class with `reward` and `scores`.

        Raises:
            InvalidInput: a prompt or a picture that cannot be sent.
            NoReward: the response has no reward.
            RewardError: the call as a whole failed.
        """
        output: dict[str, Any] = await super().execute(
            prompt, label, sampling_params, max_length, hf_tokenizer, llm_engine, images
        )
        start, end = output["action_ranges"][-1]
        response = await asyncio.to_thread(
            hf_tokenizer.decode, output["observation_tokens"][start:end], skip_special_tokens=True
        )
        reward = await self._reward(question_of_template(prompt, images), response)
        output.update(reward=reward, scores=reward)
        return output

    async def _reward(self, question: Question, response: str) -> float:
        if self._gathering is None:
            mode = self._rewarder.settings.mode
            item = ScoreInput(response=response, mode=mode, **question.fields())
            return await self._rewarder.score(item)
        # Two rows with one question and equal pictures may mix their responses: they are one group.
        key = (repr(question.prompt), tuple(map(identity_of, question.images)))
        reward = await self._gathering.reward(key, question, response)
        if reward is None:
            raise NoReward("a group was left out, which OpenRLHF has no place for")
        return reward
