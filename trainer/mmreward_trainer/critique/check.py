"""`--check`: what a run would do, and every row that would stop it, before a step is paid for."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from mmreward_trainer.critique.configuration import CritiqueConfig
from mmreward_trainer.critique.rows import RowError, build_rows


def check_run(config: CritiqueConfig, say: Callable[[str], None]) -> None:
    """Read all rows, encode each once, and say how long the longest is.

    Raises:
        ConfigError, InvalidInput: what a run would raise; rows are listed before.
    """
    from mmreward_trainer.critique.preparation import prepare

    parts = prepare(config)
    with tempfile.TemporaryDirectory() as scratch:
        data = config.data
        for name, files, split in (
            ("train", data.train, data.train_split),
            ("validation", data.validation, data.validation_split),
        ):
            if not files:
                continue
            rows = build_rows(files, data, Path(scratch) / name, split=split)
            refused = 0
            tokens = 0
            for i in range(len(rows)):
                try:
                    pair = parts.encoder.encode(rows.table[i])
                except RowError as error:
                    refused += 1
                    say(f"  {error}")
                    continue
                sequences = [parts.encoder.builder.prompt(answer) for answer in pair.answers]
                pictures = sum(map(len, pair.media.pieces))
                tokens = max(tokens, max(map(len, sequences)) + pictures)
            say(f"{name}: {len(rows)} pairs, longest prompt {tokens} tokens")
            for line in rows.report["left_out"]:
                say(f"  left out: {line}")
            if refused:
                raise RowError(f"{refused} of {len(rows)} {name} rows cannot be trained on")
