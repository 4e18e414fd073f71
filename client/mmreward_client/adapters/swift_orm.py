"""ms-swift's reward plug-in `mmreward`: whole groups, judged or scored, from its GRPO trainer.

    swift rlhf --rlhf_type grpo --external_plugins plugin.py --reward_funcs mmreward ...

with `import mmreward_client.adapters.swift_orm` in plugin.py. ms-swift (4.6) calls a reward
function once per step and process, with its completions in a row and the columns of the data beside
them. Groups of `num_generations` follow each other; a group that two processes share cannot be
compared and is refused.

A None of a reward function becomes a zero there: it is turned to NaN, and the weighted sum over the
functions (`nansum`) counts that as 0. So nothing is returned for a single response: a failure
raises. With `MMREWARD_ON_FAILURE=exclude_group` all of its group get None: equal sums, so that this
function adds nothing to their advantages.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

from mmreward_client.adapters.conversation import question_of
from mmreward_client.adapters.rewarding import Rewarder
from mmreward_client.errors import InvalidInput
from mmreward_client.images import identity_of
from mmreward_client.inputs import GroupInput

try:
    from swift.rewards import AsyncORM, orms
except ImportError as error:
    raise ImportError(
        "mmreward_client.adapters.swift_orm is for ms-swift (tried with 4.6.0), which cannot be "
        f"imported here: {error}"
    ) from error


class MMReward(AsyncORM):  # type: ignore[misc]
    """Made by ms-swift with its arguments, of which `num_generations` counts."""

    def __init__(self, args: Any = None, **others: Any) -> None:
        super().__init__(args, **others)
        self._rewarder = Rewarder()
        size = getattr(args, "num_generations", None) or self._rewarder.settings.group_size
        if size is None:
            raise InvalidInput("the size of a group is unknown: set MMREWARD_GROUP_SIZE")
        self._size = int(size)

    async def __call__(self, completions: Sequence[str], **columns: Any) -> list[float | None]:
        """A reward per completion; None for all of a group that is left out.

        Args:
            completions: the texts of the policy, group after group.
            columns: `messages` with the answer as the last turn, `images`, `prompt_id` and the
                columns of the data set, each with an entry per completion.

        Raises:
            InvalidInput: a group in pieces, or something that cannot be sent.
            NoReward: a response without a reward, unless its group is to be left out.
            RewardError: the call as a whole failed.
        """
        groups = groups_of(completions, columns, self._size)
        try:
            rewards = await self._rewarder.groups(groups)
        finally:
            # Each step there is an event loop of its own: connections of the last one are lost.
            await self._rewarder.aclose()
        return [
            reward
            for group, found in zip(groups, rewards, strict=True)
            for reward in (found if found is not None else [None] * len(group.responses))
        ]


def groups_of(completions: Sequence[str], columns: dict[str, Any], size: int) -> list[GroupInput]:
    """Neighbours with one question are a group.

    Equal prompts have one `prompt_id` there even where their pictures differ, so both count.

    Raises:
        InvalidInput: their number is no multiple of `size`; a video.
    """
    if any(columns.get("videos") or ()):
        raise InvalidInput("videos: this adapter sends pictures only")
    messages = columns["messages"]
    images = columns.get("images") or [None] * len(completions)
    ids = columns.get("prompt_id") or [None] * len(completions)
    questions = [
        question_of(_without_answer(turns), shown)
        for turns, shown in zip(messages, images, strict=True)
    ]

    def is_of(place: int) -> tuple[Any, Any, Any]:
        question = questions[place]
        return ids[place], repr(question.prompt), [identity_of(one) for one in question.images]

    groups = []
    for _, run in groupby(range(len(completions)), key=is_of):
        places = list(run)
        if len(places) % size:
            raise InvalidInput(
                f"{len(places)} responses to one prompt in this process, in groups of {size}: a "
                "group in pieces cannot be compared. Make per_device_train_batch_size times "
                "steps_per_generation a multiple of num_generations (in evaluation "
                "per_device_eval_batch_size, with num_generations_eval the same)"
            )
        for start in range(0, len(places), size):
            own = places[start : start + size]
            fields = questions[own[0]].fields()
            groups.append(GroupInput(responses=[completions[i] for i in own], **fields))
    return groups


def _without_answer(messages: Sequence[dict[str, Any]]) -> Sequence[dict[str, Any]]:
    is_answered = bool(messages) and messages[-1].get("role") == "assistant"
    return messages[:-1] if is_answered else messages


orms["mmreward"] = MMReward
