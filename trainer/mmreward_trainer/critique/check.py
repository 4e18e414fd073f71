"""`--check`: what a run would do, and every row that would stop it, before a step is paid for."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mmreward_trainer.critique.configuration import CritiqueConfig
from mmreward_trainer.critique.rows import RowError, build_rows, check_apart


def check_run(config: CritiqueConfig, say: Callable[[str], None]) -> None:
    """Read all rows of both sets, encode each once, and say how long the longest is.

    Raises:
        ConfigError, InvalidInput: what a run would raise; rows at fault are listed before.
    """
    from mmreward_trainer.critique.preparation import prepare
    from mmreward_trainer.earlier_rows import check_held_out

    parts = prepare(config)
    data = config.data
    refused = 0
    fingerprints: dict[str, list[str]] = {"train": [], "validation": []}
    with tempfile.TemporaryDirectory() as scratch:
        for name, files, split in (
            ("train", data.train, data.train_split),
            ("validation", data.validation, data.validation_split),
        ):
            if not files:
                continue
            rows = build_rows(files, data, Path(scratch) / name, split=split)
            longest = 0
            found: list[str] = []
            for i in range(len(rows)):
                try:
                    longest = max(longest, parts.encoder.encode(rows.table[i]).longest)
                    fingerprints[name].append(rows.fingerprints[i])
                except RowError as error:
                    found.append(str(error))
            if name == "validation":
                check_held_out(config.model, rows)
            say(f"{name}: {len(rows)} pairs, the longest sequence {longest} tokens")
            say_left_out(rows.report, say)
            for line in found:
                say(f"  {'left out' if data.unusable == 'skip' else 'unusable'}: {line}")
            refused += len(found)
    if data.unusable == "error":
        refuse(refused)
    check_apart(fingerprints["train"], fingerprints["validation"])


def say_left_out(report: dict[str, Any], say: Callable[[str], None]) -> None:
    """The rows that reading left out, and why; `report` is that of the rows."""
    for line in report["left_out"]:
        say(f"  left out: {line}")


def refuse(unusable: int) -> None:
    """End a check that found rows which a run would stop at.

    Raises:
        RowError: it found some.
    """
    if unusable:
        raise RowError(f'{unusable} rows cannot be trained on (data.unusable = "skip" drops them)')
