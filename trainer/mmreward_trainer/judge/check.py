"""`--check`: what a run would do, and every row that would stop it, before a step is paid for."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from mmreward_trainer.critique.check import refuse, say_left_out
from mmreward_trainer.critique.rows import RowError, Rows, build_rows, check_apart
from mmreward_trainer.judge.configuration import JudgeConfig
from mmreward_trainer.judge.judgements import CHOSEN_FIRST, SWAPPED, has_judgement


def check_run(config: JudgeConfig, say: Callable[[str], None]) -> None:
    """Read all rows of both sets, encode each once, and say how long the longest is.

    Raises:
        ConfigError, InvalidInput: what a run would raise; rows at fault are listed before.
    """
    from mmreward_trainer.earlier_rows import check_held_out
    from mmreward_trainer.judge.preparation import check_settings, prepare
    from mmreward_trainer.judge.selection import rows_of_stages
    from mmreward_trainer.judge.start import warn_of_start

    check_settings(config)
    parts = prepare(config)
    warn_of_start(config.model, say)
    data = config.data
    texts = {CHOSEN_FIRST: data.judgement_column, SWAPPED: data.swapped_column}
    refused = 0
    usable: dict[str, Rows] = {}
    with tempfile.TemporaryDirectory() as scratch:
        for name, files, split in (
            ("train", data.train, data.train_split),
            ("validation", data.validation, data.validation_split),
        ):
            if not files:
                continue
            rows = build_rows(files, data, Path(scratch) / name, split=split, texts=texts)
            longest, learned, ties = 0, 0, 0
            kept: list[int] = []
            found: list[str] = []
            for i in range(len(rows)):
                row = rows.table[i]
                learned += has_judgement(row)
                ties += row["is_tie"]
                try:
                    longest = max(longest, parts.encoder.encode(row).longest)
                    kept.append(i)
                except RowError as error:
                    found.append(str(error))
            say(
                f"{name}: {len(rows)} pairs, {learned} with a judgement, {ties} ties; the longest "
                f"comparison {longest} tokens with room for a judgement"
            )
            say_left_out(rows.report, say)
            for line in found:
                say(f"  {'left out' if data.unusable == 'skip' else 'unusable'}: {line}")
            refused += len(found)
            usable[name] = replace(
                rows,
                table=rows.table.select(kept),
                fingerprints=[rows.fingerprints[i] for i in kept],
            )
        if data.unusable == "error":
            refuse(refused)
        validation = usable.get("validation")
        if validation is not None:
            check_apart(usable["train"].fingerprints, validation.fingerprints)
        rows_of_stages(config, usable["train"].table)
        check_held_out(config.model, validation)
