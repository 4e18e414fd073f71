"""A completion without a reward has no part in the loss, whatever other reward functions say.

What TRL (1.16) does with None, read in its source and tested here:

- With one reward function a None becomes NaN: it is in no mean and no deviation of its group, and
  its advantage is 0. A group with one good reward or none has no advantages at all. Good so far.
- With several functions the rewards of a completion are added by `nansum`: a None beside a number
  counts as 0, on a judge's scale from 1 to 10 the worst of answers. That is a failure turned into
  a number.
- A completion with an advantage of 0 is still pulled towards the reference model (`beta` > 0), and
  its tokens are counted where the loss is a mean over tokens (`dapo`, `bnpo`).

This mixin takes a completion to which one of this package's reward functions gave None out of all
of it: its row of rewards is emptied before they are added, and its tokens are masked. The mean over
completions of the loss `grpo` still counts it, as a zero.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from mmreward_trainer.align.grouped.service_reward import ServiceReward


class LeavesMissingOut:
    """In front of a GRPOTrainer: `class Trainer(LeavesMissingOut, GRPOTrainer): ...`

    Logs `completions/left_out`, the share of completions that had no part in the loss.
    """

    def _calculate_rewards(self: Any, inputs: Any, *more: Any) -> torch.Tensor:
        """(completions of all processes, reward functions), NaN where a completion has no part."""
        with _without_rows_in_the_log():
            rewards: torch.Tensor = super()._calculate_rewards(inputs, *more)  # type: ignore[misc]
        ours = [i for i, one in enumerate(self.reward_funcs) if _is_ours(one)]
        self._left_out = rewards[:, ours].isnan().any(dim=1)
        rewards[self._left_out] = torch.nan
        return rewards

    def _generate_and_score_completions(self: Any, inputs: Any) -> dict[str, Any]:
        output: dict[str, Any] = super()._generate_and_score_completions(inputs)  # type: ignore[misc]
        start = self.accelerator.process_index * len(inputs)
        stays = ~self._left_out[start : start + len(inputs)]
        mask = output["completion_mask"]
        # TRL's mask of the loss alone. `completion_mask` is that of the attention, too: a text that
        # is read without its own tokens has other log-probabilities than its reference.
        learned = output.get("tool_mask", torch.ones_like(mask)) * stays[:, None].to(mask)
        output["tool_mask"] = learned
        output["num_items_in_batch"] = self.accelerator.gather((mask * learned).sum()).sum()
        mode = "train" if self.model.training else "eval"
        share = float(self._left_out.float().mean())
        self._metrics[mode]["completions/left_out"].append(share)
        return output


def _is_ours(function: Any) -> bool:
    while isinstance(function, functools.partial):
        function = function.func
    return isinstance(function, ServiceReward)


@contextmanager
def _without_rows_in_the_log() -> Iterator[None]:
    """TRL warns of a completion without a reward with its whole row: prompt, answer and columns."""

    def is_no_row(record: logging.LogRecord) -> bool:
        return "All reward functions returned None" not in str(record.msg)

    logger = logging.getLogger("trl.trainer.grpo_trainer")
    logger.addFilter(is_no_row)
    try:
        yield
    finally:
        logger.removeFilter(is_no_row)
