"""What `mmreward-train judge` checks and runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmreward_client.errors import InvalidInput

from mmreward_trainer.critique.configuration import ConfigError
from mmreward_trainer.judge.configuration import JudgeConfig
from mmreward_trainer.training_command import Steps, run_training


def run_judge(
    output: Path,
    file: Path | None,
    changes: dict[str, Any],
    settings: list[str],
    *,
    resume: bool,
    only_check: bool,
) -> int:
    """Exit code: 0 done, 1 failed or interrupted, 2 wrong settings."""

    def steps() -> Steps:
        from mmreward_trainer.critique.trainer import NotFiniteLoss
        from mmreward_trainer.golden import GoldenError
        from mmreward_trainer.judge.check import check_run
        from mmreward_trainer.judge.run import train_judge

        errors = (ConfigError, InvalidInput, NotFiniteLoss, GoldenError)
        written = f"Written to {output}: mmreward-serve --model {output}"
        return Steps(check_run, train_judge, errors, written)

    return run_training(
        JudgeConfig, steps, output, file, changes, settings, resume=resume, only_check=only_check
    )
