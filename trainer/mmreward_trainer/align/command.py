"""What `mmreward-train align mm-dpo` and `dense-dpo` check and run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmreward_client.errors import InvalidInput

from mmreward_trainer.align.configuration import AlignSettings
from mmreward_trainer.critique.configuration import ConfigError
from mmreward_trainer.training_command import Steps, run_training


def run_align(
    kind: type[AlignSettings],
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
        from mmreward_trainer.align.check import check_policy_run
        from mmreward_trainer.align.margins import MarginError
        from mmreward_trainer.align.run import train_policy
        from mmreward_trainer.critique.trainer import NotFiniteLoss

        errors = (ConfigError, InvalidInput, MarginError, NotFiniteLoss)
        return Steps(check_policy_run, train_policy, errors, f"Written to {output}")

    return run_training(
        kind, steps, output, file, changes, settings, resume=resume, only_check=only_check
    )
