"""`--check`: what a run would do, and every row that would stop it, before a step is paid for."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mmreward_trainer.align.configuration import AlignSettings
from mmreward_trainer.align.preparation import prepare_parts, service_of
from mmreward_trainer.align.rows import PairTable
from mmreward_trainer.align.run import column_of, tables
from mmreward_trainer.critique.check import refuse, say_left_out
from mmreward_trainer.critique.configuration import ConfigError
from mmreward_trainer.critique.rows import RowError


def check_policy_run(settings: AlignSettings, say: Callable[[str], None]) -> None:
    """Read all rows of both sets, encode each once, and say how long the longest is.

    Raises:
        ConfigError, InvalidInput, MarginServiceError: what a run would raise; rows at fault are
            listed before.
    """
    parts = prepare_parts(settings)
    _say_service(settings, say)
    column = column_of(settings)

    def tokens(row: dict[str, Any]) -> int:
        return int(parts.collate([row])["input_ids"].shape[1])

    refused = 0
    with tempfile.TemporaryDirectory() as scratch:
        for name, rows in zip(
            ("train", "validation"), tables(settings, parts, Path(scratch), say, None), strict=True
        ):
            if rows is None:
                continue
            longest, unusable = encode_all(rows, tokens, say)
            refused += unusable
            say(f"{name}: {len(rows)} pairs, the longest sequence {longest} tokens")
            say_left_out(rows.report, say)
            if column is not None:
                for reason, count in column.check(rows.table).items():
                    say(f"  {count} without {column.column} ({reason})")
    refuse(refused)


def encode_all(
    rows: PairTable, tokens: Callable[[dict[str, Any]], int], say: Callable[[str], None]
) -> tuple[int, int]:
    """Encode each row once: the tokens of the longest, and how many cannot be used; these are said.

    Args:
        tokens: of a row; raises RowError for one that cannot be used.
    """
    longest = unusable = 0
    for row in rows.table:
        try:
            longest = max(longest, tokens(row))
        except RowError as error:
            say(f"  unusable: {error}")
            unusable += 1
    return longest, unusable


def _say_service(settings: AlignSettings, say: Callable[[str], None]) -> None:
    try:
        source = service_of(settings)
    except ValueError as error:
        raise ConfigError(f"margins: {error}") from error
    if source is not None:
        say(f"margins: {', '.join(source.options.urls)} serve the model {source.model_now()}")
        source.close()
