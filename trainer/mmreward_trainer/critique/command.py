"""What `mmreward-train critique` checks and runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmreward_client.errors import InvalidInput

from mmreward_trainer.critique.configuration import ConfigError, CritiqueConfig
from mmreward_trainer.training_command import Steps, run_training


def run_critique(
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
        from mmreward_trainer.critique.check import check_run
        from mmreward_trainer.critique.run import train_critique
        from mmreward_trainer.critique.trainer import NotFiniteLoss
        from mmreward_trainer.golden import GoldenError

        errors = (ConfigError, InvalidInput, NotFiniteLoss, GoldenError)
        written = f"Written to {output}: mmreward-serve --model {output}"
        return Steps(check_run, train_critique, errors, written)

    return run_training(
        CritiqueConfig, steps, output, file, changes, settings, resume=resume, only_check=only_check
    )
