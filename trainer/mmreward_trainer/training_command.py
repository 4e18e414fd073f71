"""What every training command does with its arguments and its errors."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel
from rich.console import Console

from mmreward_trainer.critique.configuration import ConfigError, load_settings, parse_change

ConfigT = TypeVar("ConfigT", bound=BaseModel)


@dataclass(frozen=True)
class Steps:
    """What a command runs, imported when its settings are known to be good.

    Attributes:
        check: called with the settings and `say`.
        train: called with settings, output, `resume` and `say`.
        errors: what a user can mend; each is told as one line.
        written: the last line of a finished run.
    """

    check: Callable[..., object]
    train: Callable[..., object]
    errors: tuple[type[Exception], ...]
    written: str


def run_training(
    kind: type[ConfigT],
    steps: Callable[[], Steps],
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
    found = steps()
    try:
        if only_check:
            found.check(config, say)
            return 0
        found.train(config, output, resume=resume, say=say)
    except KeyboardInterrupt:
        again = [one for one in sys.argv[1:] if one != "--resume"]
        say(f"Interrupted. Go on with: mmreward-train {shlex.join(again)} --resume")
        return 1
    except found.errors as error:
        say(f"error: {error}")
        return 1
    say(found.written)
    return 0
