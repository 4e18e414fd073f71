"""Ready-made hooks for `on_event`: an own Prometheus registry, or a trainer's own logger.

    steps, exported = StepLog(), PrometheusHook()
    client = RewardClient(url, on_event=several(steps, exported))
    ...
    wandb.log({"loss": loss, **steps.step()})

Nothing here is needed to use the client, and nothing is imported before it is used.
"""

from __future__ import annotations

from mmreward_client.events import Event, Hook
from mmreward_client.hooks.prometheus import PrometheusHook
from mmreward_client.hooks.step_log import StepLog

__all__ = ["PrometheusHook", "StepLog", "several"]


def several(*hooks: Hook) -> Hook:
    """One hook that tells all of these, in order; what one raises keeps the rest from hearing."""

    def tell(event: Event) -> None:
        for hook in hooks:
            hook(event)

    return tell
