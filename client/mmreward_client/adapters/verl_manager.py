"""verl's reward manager: prompt and pictures as the policy saw them; whole groups where needed.

    reward.reward_manager.source=importlib
    reward.reward_manager.name=RewardManager
    reward.reward_manager.module.path=pkg://mmreward_client.adapters.verl_manager

verl (0.9) hands each finished response to one of `reward.num_workers` processes, drawn by chance,
and that process to `run_single`. A judge compares the responses of a group, so they have to meet:
with one worker they do, in its event loop. All that keeps a group from being complete there is
refused when the manager is made: more workers, validation (its groups have another size and are
padded), an advantage with a baseline of its own, more responses in a step than a worker can hold.

Left out is a group, with `MMREWARD_ON_FAILURE=exclude_group`, by giving all its responses the same
reward: verl takes numbers only. In estimators that compare within a group their advantage is then
exactly zero. Refused are other estimators, and a KL term in the reward, which would be all that is
left of it, scaled up to the size of an advantage. `mmreward_excluded` in the log tells the share.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Mapping
from typing import Any

from mmreward_client.adapters.conversation import Question, question_of
from mmreward_client.adapters.group_gathering import GroupGathering
from mmreward_client.adapters.rewarding import all_or_none, rewarder
from mmreward_client.errors import InvalidInput
from mmreward_client.inputs import ScoreInput

try:
    from verl.experimental.reward_loop.reward_manager.base import RewardManagerBase
except ImportError as error:
    raise ImportError(
        "mmreward_client.adapters.verl_manager is for verl (tried with 0.9.1), which cannot be "
        f"imported here: {error}"
    ) from error

GROUP_RELATIVE = frozenset({"grpo", "grpo_vectorized", "rloo", "rloo_vectorized", "opo"})
"""Estimators of verl whose advantage is zero where all rewards of a group are equal."""

_MOST_WAITING = 1000
"""Calls that an asynchronous Ray actor takes at once; the rest of a group would wait behind."""


class RewardManager(RewardManagerBase):  # type: ignore[misc]
    """Made by verl, with these arguments, in each of its reward workers.

    Args:
        config: verl's whole configuration.
        tokenizer: the policy's.
        compute_score: a custom reward function; not used.

    Raises:
        InvalidInput: a configuration in which groups could not be compared.
    """

    def __init__(
        self,
        config: Any,
        tokenizer: Any,
        compute_score: Any = None,
        reward_router_address: str | None = None,
        reward_model_tokenizer: Any = None,
    ) -> None:
        super().__init__(config, tokenizer, compute_score)
        self._rewarder = rewarder()
        self._gathering: GroupGathering | None = None
        if self._rewarder.settings.needs_groups:
            size = _group_size(config)
            if self._rewarder.settings.on_failure == "exclude_group":
                _check_estimator(config)
            self._gathering = GroupGathering(self._rewarder, size)

    async def run_single(self, data: Any) -> dict[str, Any]:
        """The reward of the last row of a `DataProto`: verl scores the last sequence of several."""
        row = data[-1]
        response = await asyncio.to_thread(self._response, row)
        question = question_of(row.non_tensor_batch["raw_prompt"])
        reward = await self._reward(question, response, row.non_tensor_batch)
        is_excluded = reward is None
        score = 0.0 if reward is None else reward  # of a whole group: see the module's docstring
        return {
            "reward_score": score,
            "reward_extra_info": {"score": score, "mmreward_excluded": float(is_excluded)},
        }

    async def run_batch(self, data: Any) -> list[dict[str, Any]]:
        """The rewards of all rows, for versions of verl that hand over batches."""
        return await all_or_none([self.run_single(data[i : i + 1]) for i in range(len(data))])

    def _response(self, row: Any) -> str:
        """Without padding, special tokens and end of turn; rows are padded on the right."""
        tokens = row.batch["responses"]
        length = int(row.batch["attention_mask"][-tokens.shape[-1] :].sum())
        return str(self.tokenizer.decode(tokens[:length], skip_special_tokens=True))

    async def _reward(
        self, question: Question, response: str, columns: Mapping[str, Any]
    ) -> float | None:
        if self._gathering is None:
            mode = self._rewarder.settings.mode
            item = ScoreInput(response=response, mode=mode, **question.fields())
            return await self._rewarder.score(item)
        return await self._gathering.reward(str(columns["uid"]), question, response)


def _group_size(config: Any) -> int:
    """How many responses a group has, where nothing keeps them apart.

    Raises:
        InvalidInput: something does.
    """
    size = int(_setting(config, "actor_rollout_ref.rollout.n", 1))
    wrong = []
    if size < 2:
        wrong.append("actor_rollout_ref.rollout.n has to be 2 or more")
    if int(_setting(config, "reward.num_workers", 8)) != 1:
        wrong.append("reward.num_workers has to be 1: several workers would each see parts")
    if _setting(config, "trainer.val_before_train", True):
        wrong.append("trainer.val_before_train has to be False")
    if int(_setting(config, "trainer.test_freq", -1)) > 0:
        wrong.append("trainer.test_freq has to be -1: validation does not roll out whole groups")
    if str(_setting(config, "algorithm.adv_estimator", "gae")) == "remax":
        wrong.append("algorithm.adv_estimator remax adds a response to each group")
    prompts = int(_setting(config, "data.train_batch_size", 0))
    if prompts * size > _MOST_WAITING:
        wrong.append(f"data.train_batch_size * rollout.n is {prompts * size}, over {_MOST_WAITING}")
    if wrong:
        raise InvalidInput("groups cannot be compared: " + "; ".join(wrong))
    return size


def _check_estimator(config: Any) -> None:
    found = str(_setting(config, "algorithm.adv_estimator", "gae"))
    if found not in GROUP_RELATIVE:
        raise InvalidInput(
            f"MMREWARD_ON_FAILURE=exclude_group: with algorithm.adv_estimator {found} the equal "
            f"rewards of a group do not cancel; they do with {', '.join(sorted(GROUP_RELATIVE))}"
        )
    if _setting(config, "algorithm.use_kl_in_reward", False):
        raise InvalidInput(
            "MMREWARD_ON_FAILURE=exclude_group: algorithm.use_kl_in_reward has to be False: equal "
            "rewards would not stay equal; actor_rollout_ref.actor.use_kl_loss leaves them alone"
        )


def _setting(config: Any, dotted: str, default: Any) -> Any:
    """A value of a configuration whose sections may be missing."""
    missing: dict[str, Any] = {}
    *sections, name = dotted.split(".")
    section = functools.reduce(lambda node, part: node.get(part) or missing, sections, config)
    found = section.get(name)
    return default if found is None else found
