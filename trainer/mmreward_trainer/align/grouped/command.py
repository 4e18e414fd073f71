"""What `mmreward-train align grouped` checks and runs."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

from mmreward_client.errors import InvalidInput, RewardError

from mmreward_trainer.align.grouped.configuration import GroupedSettings
from mmreward_trainer.critique.configuration import ConfigError
from mmreward_trainer.training_command import Steps, run_training


def run_grouped(
    output: Path,
    file: Path | None,
    changes: dict[str, Any],
    settings: list[str],
    *,
    api_key: str | None,
    resume: bool,
    only_check: bool,
) -> int:
    """Exit code: 0 done, 1 failed or interrupted, 2 wrong settings."""

    def steps() -> Steps:
        from mmreward_trainer.align.grouped.check import check_grouped_run
        from mmreward_trainer.align.grouped.rewards import (
            PeerFailed,
            ServiceGone,
            SplitGroup,
            UnreadablePrompt,
        )
        from mmreward_trainer.align.grouped.run import train_grouped
        from mmreward_trainer.critique.trainer import NotFiniteLoss

        errors = (
            *(ConfigError, InvalidInput, RewardError, NotFiniteLoss),
            *(PeerFailed, ServiceGone, SplitGroup, UnreadablePrompt),
        )
        return Steps(
            functools.partial(check_grouped_run, api_key=api_key),
            functools.partial(train_grouped, api_key=api_key),
            errors,
            f"Written to {output}",
        )

    return run_training(
        GroupedSettings,
        steps,
        output,
        file,
        changes,
        settings,
        resume=resume,
        only_check=only_check,
    )
