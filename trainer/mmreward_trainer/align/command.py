"""What `mmreward-train align mm-dpo` and `dense-dpo` do with their arguments and their errors."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import Any

from mmreward_client.errors import InvalidInput
from rich.console import Console

from mmreward_trainer.align.configuration import AlignSettings
from mmreward_trainer.critique.configuration import ConfigError, load_settings, parse_change


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
    console = Console(stderr=True)
    is_first = os.environ.get("RANK", "0") == "0"

    def say(line: str) -> None:
        if is_first or line.startswith("error"):
            console.print(line, highlight=False, markup=False, soft_wrap=True)

    try:
        config = load_settings(kind, file, changes | dict(map(parse_change, settings)))
    except ConfigError as error:
        say(f"error: {error}")
        return 2
    # After the settings: importing torch takes seconds, a wrong name should not.
    from mmreward_trainer.align.check import check_policy_run
    from mmreward_trainer.align.margins import MarginError
    from mmreward_trainer.align.run import train_policy
    from mmreward_trainer.critique.trainer import NotFiniteLoss

    try:
        if only_check:
            check_policy_run(config, say)
            return 0
        train_policy(config, output, resume=resume, say=say)
    except KeyboardInterrupt:
        again = [one for one in sys.argv[1:] if one != "--resume"]
        say(f"Interrupted. Go on with: mmreward-train {shlex.join(again)} --resume")
        return 1
    except (ConfigError, InvalidInput, MarginError, NotFiniteLoss) as error:
        say(f"error: {error}")
        return 1
    say(f"Written to {output}")
    return 0
