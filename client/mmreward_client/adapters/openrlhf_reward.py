"""OpenRLHF's reward function from a file: text only, one response at a time.

    --reward.remote_url /path/to/openrlhf_reward.py

OpenRLHF (0.11) hands over the decoded text, the prompt and the label, not the pictures; a prompt
that shows one is refused. `openrlhf_agent` gets them. It catches whatever is raised here, logs one
line and goes on without a reward; the run then ends in its experience maker, before any update. So
the error is logged here first, as an error.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmreward_client.adapters.conversation import question_of_template, response_of_query
from mmreward_client.adapters.rewarding import blocking_rewarder, logger
from mmreward_client.errors import RewardError
from mmreward_client.inputs import ScoreInput


def reward_func(
    queries: Sequence[str], prompts: Sequence[str], labels: Sequence[Any] | None = None
) -> dict[str, Any]:
    """Rewards as a tensor of shape (queries,), under the names that OpenRLHF reads.

    Raises:
        InvalidInput: a query that does not begin with its prompt, a prompt that shows a picture.
        NoReward: a response has no score.
        RewardError: the call as a whole failed.
    """
    import torch

    try:
        rewarder = blocking_rewarder()
        items = [
            ScoreInput(
                response=response_of_query(query, prompt),
                mode=rewarder.settings.mode,
                **question_of_template(prompt).fields(),
            )
            for query, prompt in zip(queries, prompts, strict=True)
        ]
        rewards = torch.tensor(rewarder.scores(items), dtype=torch.float32)
    except RewardError as error:
        logger.error("no reward, the run cannot go on: %s", error)
        raise
    return {"rewards": rewards, "scores": rewards, "extra_logs": {}}
