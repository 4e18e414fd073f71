"""Reward functions for TRL's GRPOTrainer: scores of the service, and None for what has none.

    from mmreward_trainer.align.grouped.rewards import GroupedReward

    reward = GroupedReward(
        "http://127.0.0.1:8000",
        num_generations=args.num_generations,
        end_token_ids=[processor.tokenizer.eos_token_id],
    )
    GRPOTrainer(model=..., reward_funcs=reward, args=args, train_dataset=...)

`GroupedReward` has each group of completions judged as a whole: a completion's reward is the mean
of its own scores over its comparisons (Generative RLHF-V, arXiv 2505.18531, grouped comparison;
`aggregate` has other ways). `CritiqueReward` has each completion scored by itself, by a critique
model. A completion without a score has the reward None, never a number: TRL leaves it out of its
group's mean and gives it no advantage. With a second reward function beside, TRL would take the
missing one for 0: see `missing`.

A completion that was cut at the length limit is not judged. The paper gives it 0; here it is None
unless `incomplete_reward` names a number.
"""

from __future__ import annotations

from mmreward_trainer.align.grouped.calls import ServiceGone
from mmreward_trainer.align.grouped.critique_reward import CritiqueReward
from mmreward_trainer.align.grouped.figures import Figures
from mmreward_trainer.align.grouped.gathering import PeerFailed, SplitGroup
from mmreward_trainer.align.grouped.grouped_reward import GroupedReward
from mmreward_trainer.align.grouped.reading import UnreadablePrompt
from mmreward_trainer.align.grouped.service_reward import ServiceReward

__all__ = [
    "CritiqueReward",
    "Figures",
    "GroupedReward",
    "PeerFailed",
    "ServiceGone",
    "ServiceReward",
    "SplitGroup",
    "UnreadablePrompt",
]
