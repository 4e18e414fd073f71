"""`--check`: what a run would do, and every row that would stop it, before a step is paid for."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

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
            for line in rows.report["left_out"]:
                say(f"  left out: {line}")
            for line in found:
                say(f"  {'left out' if data.unusable == 'skip' else 'unusable'}: {line}")
            refused += len(found)
    if refused and data.unusable == "error":
        raise RowError(f'{refused} rows cannot be trained on (data.unusable = "skip" drops them)')
    check_apart(fingerprints["train"], fingerprints["validation"])
