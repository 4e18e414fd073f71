"""verl's custom reward function: one response at a time, scored by a critique model.

    reward.custom_reward_function.path=pkg://mmreward_client.adapters.verl_score
    reward.custom_reward_function.name=compute_score

verl (0.9) calls it by keyword with `data_source`, `solution_str`, `ground_truth` and `extra_info`,
in several processes; the question is not among these, so it is read from columns of `extra_info`,
which the keys of `custom_reward_function.reward_kwargs` name. What is raised ends the step: verl
has no place for a response without a reward, a None would be missing only later, and a NaN would
reach the advantages unnoticed. `verl_manager` needs no extra columns and can compare groups.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmreward_client.adapters.conversation import question_of
from mmreward_client.adapters.rewarding import blocking_rewarder, rewarder
from mmreward_client.errors import InvalidInput
from mmreward_client.inputs import ScoreInput


async def compute_score(
    data_source: str,
    solution_str: str,
    ground_truth: Any,
    extra_info: Mapping[str, Any] | None = None,
    *,
    prompt_key: str = "question",
    images_key: str = "images",
    **others: Any,
) -> dict[str, float]:
    """The reward of one response.

    Args:
        extra_info: the data set's column, with the question and its pictures.
        prompt_key, images_key: where they are in it; there may be no pictures.
        others: what else this version of verl hands over; not used.

    Returns:
        `{"score": reward}`. A number alone would be logged by verl as an accuracy.

    Raises:
        InvalidInput: no question, or a picture that cannot be read.
        NoReward: the response has no score.
        RewardError: the call as a whole failed.
    """
    item = _item(solution_str, extra_info, prompt_key, images_key)
    return {"score": await rewarder().score(item)}


def compute_score_blocking(
    data_source: str,
    solution_str: str,
    ground_truth: Any,
    extra_info: Mapping[str, Any] | None = None,
    *,
    prompt_key: str = "question",
    images_key: str = "images",
    **others: Any,
) -> dict[str, float]:
    """The same as an ordinary function, for `reward_manager.name=remote`, which takes no other."""
    item = _item(solution_str, extra_info, prompt_key, images_key)
    return {"score": blocking_rewarder().scores([item])[0]}


def _item(
    response: str, extra_info: Mapping[str, Any] | None, prompt_key: str, images_key: str
) -> ScoreInput:
    columns = extra_info or {}
    if columns.get(prompt_key) is None:
        there = ", ".join(sorted(map(str, columns))) or "nothing"
        raise InvalidInput(
            f"extra_info.{prompt_key} is missing (there are: {there}): add the question to the "
            "data, or name its key in reward.custom_reward_function.reward_kwargs.prompt_key"
        )
    question = question_of(columns[prompt_key], columns.get(images_key))
    return ScoreInput(response=response, mode=rewarder().settings.mode, **question.fields())
