"""A trained run becomes a checkpoint folder: weights, reward object, golden items, card."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mmreward_service.reward.checkpoint import load_spec, write_spec

from mmreward_trainer.critique.export import export_checkpoint
from mmreward_trainer.critique.rows import Rows
from mmreward_trainer.earlier_rows import write_all_training_rows
from mmreward_trainer.golden import golden_items
from mmreward_trainer.judge.configuration import JudgeConfig
from mmreward_trainer.judge.preparation import Parts
from mmreward_trainer.judge.validation import JudgedPair, figures
from mmreward_trainer.model_card.runs import card_of
from mmreward_trainer.model_card.writing import write_model_card

RESULT_FILE = "result.json"
COMMAND = "mmreward-train judge"

Say = Callable[[str], None]


def publish(
    config: JudgeConfig,
    parts: Parts,
    save: Path,
    base: Path,
    train: Rows,
    validation: Rows | None,
    judged: list[JudgedPair],
    account: dict[str, Any],
    run: Path,
    output: Path,
    say: Say,
) -> None:
    """Write the folder.

    Args:
        save: the last stage's weights, or adapters for `base`.
        judged: validation pairs as the trained model judged them.
        account: of the stages, for `result.json`.
    """
    output.mkdir(parents=True, exist_ok=True)
    training_rows = write_all_training_rows(output, config.model, train.fingerprints)
    spec = parts.spec.model_copy(update={"training_rows": training_rows})
    export_checkpoint(
        save, base, output, spec, dtype=config.run.export_dtype, processor=parts.processor
    )
    if spec.head is not None:
        before = load_spec(config.model)  # a head is always the start's
        # One that was read without critiques is checked without them.
        critiques = not before.golden or any(one.critique for one in before.golden)
        golden = golden_items(
            output, critiques=critiques, dtype="float32", progress=lambda done: None
        )
        write_spec(output, spec.model_copy(update={"golden": golden}))
    found = {f"eval_{name}": value for name, value in figures(judged).items()} if judged else None
    result = {
        "command": COMMAND,
        "stages": account,
        "rows": train.report,
        "validation_rows": None if validation is None else validation.report,
        "validation": found,
        "validation_conditions": {"kind": "judge", "orders": "both", "sampling": "greedy"},
    }
    (run / RESULT_FILE).write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    # Another README.md would be put aside, not lost: a run must not fail at its very end over it.
    write_model_card(output, card_of(output), overwrite=True)
    for name, value in (found or {}).items():
        say(f"validation {name.removeprefix('eval_')}: {value:g}")
