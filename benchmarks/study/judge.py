"""Judges the test pairs of one trained checkpoint.

python benchmarks/study/judge.py FOLDER TEST.jsonl OUTPUT.json
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from mmreward_trainer.critique.configuration import CritiqueConfig, Reward
from mmreward_trainer.critique.preparation import prepare
from mmreward_trainer.critique.rows import build_rows
from mmreward_trainer.critique.validation import Judge, Judged

PAIRS_PER_BATCH = 32


def main(
    folder: Path,
    test: Path,
    output: Path,
    given: Annotated[bool, typer.Option(help="read the data's critiques as well")] = False,
) -> None:
    """Write right, wrong and unfinished pairs by source."""
    torch.set_num_threads(1)
    text = (folder / "run" / "config.json").read_text(encoding="utf-8")
    trained = CritiqueConfig.model_validate_json(text)
    config = trained.model_copy(
        update={
            "model": folder,
            "reward": Reward(),
            "lora": None,
            "data": trained.data.model_copy(update={"train": [test], "validation": []}),
        }
    )
    parts = prepare(config)
    # A row counts for every variant or for none: too long with its critiques is too long.
    with_critiques = {"loss": config.loss.model_copy(update={"critique": 1.0})}
    encode = prepare(config.model_copy(update=with_critiques)).encoder.encode
    with tempfile.TemporaryDirectory() as scratch:
        rows = build_rows([test], config.data, Path(scratch), encode=encode)
        judge = Judge(
            parts.encoder, parts.packer, parts.writer, rows.table, len(rows), PAIRS_PER_BATCH,
            with_critiques=config.loss.critique > 0,
        )  # fmt: skip
        found: dict[str, Any] = {
            "own": by_source(judge.judge(parts.model)),
            "left_out": rows.report["unusable"],
            "given": by_source(judge.judge_given(parts.model)) if given else None,
        }
    output.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


def by_source(judged: list[Judged]) -> dict[str, dict[str, int]]:
    """Counts of pairs by category; a tie of two scores is neither right nor unfinished."""
    found: dict[str, dict[str, int]] = {}
    for one in judged:
        counts = found.setdefault(one.category or "", {"pairs": 0, "right": 0, "unfinished": 0})
        counts["pairs"] += 1
        counts["right"] += one.delta is not None and one.delta > 0
        counts["unfinished"] += one.delta is None
    return found


if __name__ == "__main__":
    typer.run(main)
