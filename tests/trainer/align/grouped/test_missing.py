"""A completion without a reward in TRL's GRPOTrainer: no part in anything that moves the policy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from mmreward_client.testing import Fault, LocalService
from mmreward_trainer.align.grouped.rewards import GroupedReward

Grpo = Callable[..., Any]


def scored(trainer: Any) -> dict[str, Any]:
    """The batch of the first step, generated and rewarded."""
    torch.manual_seed(5)
    rows = next(iter(trainer.get_train_dataloader()))
    trainer.model.train()
    return trainer._generate_and_score_completions(rows)


def gradients(trainer: Any, batch: dict[str, Any]) -> dict[str, torch.Tensor]:
    trainer.model.zero_grad()
    trainer.current_gradient_accumulation_steps = 1
    trainer._compute_loss(trainer.model, dict(batch)).backward()
    return {n: p.grad.clone() for n, p in trainer.model.named_parameters() if p.grad is not None}


def listed(values: list[float | None]) -> Callable[..., list[float | None]]:
    def reward(**_: Any) -> list[float | None]:
        return values

    return reward


def test_trl_leaves_a_none_out_of_its_group_and_gives_it_no_advantage(grpo: Grpo) -> None:
    """With one reward function: mean and deviation are of the others; a group of none is still."""
    rewards = [1.0, None, 3.0, 5.0, None, None, None, 4.0]
    advantages = scored(grpo(listed(rewards), mixed=False))["advantages"]
    assert advantages[1] == 0
    assert advantages[[0, 2, 3]].tolist() == pytest.approx([-1.0, 0.0, 1.0], abs=1e-3)
    assert advantages[4:].tolist() == [0.0] * 4


def reward_of(service: LocalService) -> GroupedReward:
    return GroupedReward(
        service.url, num_generations=4, max_completion_length=99, retries=0, max_in_flight=1
    )


@pytest.mark.parametrize("loss", ["grpo", "dapo"])
def test_a_missing_completion_has_no_part_beside_another_reward(
    grpo: Grpo, service: LocalService, loss: str
) -> None:
    """TRL alone takes it for 0 there and learns from it; with the mixin its tokens may be any
    others, and the step is the same to the last bit: no advantage, no divergence, no length."""
    other = listed([float(i) for i in range(8)])
    service.script(Fault("null", status="unparsed"), None)
    alone = scored(grpo([reward_of(service), other], mixed=False, loss_type=loss))
    assert alone["advantages"][:4].abs().min() > 0.1
    service.script(Fault("null", status="unparsed"), None)
    trainer = grpo([reward_of(service), other], loss_type=loss)
    batch = scored(trainer)
    assert batch["advantages"][:4].tolist() == [0.0] * 4
    learned = batch["completion_mask"] * batch["tool_mask"]
    assert learned[:4].sum() == 0
    assert learned[4:].sum() == batch["num_items_in_batch"] > 0
    assert trainer._metrics["train"]["completions/left_out"] == [0.5]
    before = gradients(trainer, batch)
    assert max(float(one.abs().max()) for one in before.values()) > 0
    batch["completion_ids"][:4] = (batch["completion_ids"][:4] + 7) % 200
    after = gradients(trainer, batch)
    for name, one in before.items():
        assert torch.equal(one, after[name]), name


def test_a_step_without_any_reward_moves_nothing(
    grpo: Grpo, service: LocalService, caplog: pytest.LogCaptureFixture
) -> None:
    """Not even towards the reference model; and no prompt or answer is in the log."""
    service.script(*[Fault("null", status="unparsed")] * 2)
    trainer = grpo(reward_of(service))
    with torch.no_grad():
        for one in trainer.model.parameters():
            one.add_(0.01)
    batch = scored(trainer)
    assert all(float(one.abs().max()) == 0 for one in gradients(trainer, batch).values())
    assert "What is" not in caplog.text


def test_a_missing_completion_is_read_as_it_was_written(grpo: Grpo, service: LocalService) -> None:
    """Its tokens stay in the attention: without them its log-probabilities are others than those
    of the reference, for a sharp policy by so much that the divergence is infinite, and infinity
    times a mask of 0 is NaN."""
    service.script(Fault("null", status="unparsed"), None)
    trainer = grpo(reward_of(service))
    batch = scored(trainer)
    read = trainer._get_per_token_logps_and_entropies
    found: list[torch.Tensor] = []

    def reading(*arguments: Any, **named: Any) -> Any:
        values = read(*arguments, **named)
        found.append(values[0].detach())
        return values

    trainer._get_per_token_logps_and_entropies = reading
    gradients(trainer, batch)
    # The policy has not moved from its reference yet.
    torch.testing.assert_close(found[0], batch["ref_per_token_logps"])
