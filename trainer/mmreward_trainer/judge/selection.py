"""The rows that each stage can learn from, chosen before anything is trained."""

from __future__ import annotations

from typing import Any

from mmreward_trainer.critique.configuration import ConfigError
from mmreward_trainer.judge.configuration import JudgeConfig, StageName
from mmreward_trainer.judge.judgements import has_judgement

Selected = tuple[Any, int]
"""A `datasets.Dataset`, and how many rows were left out of it."""


def rows_of_stages(config: JudgeConfig, table: Any) -> dict[StageName, Selected]:
    """Of every stage of the run, so that the second one cannot fail after the first.

    Raises:
        ConfigError: a stage has no row to learn from, or rows that its rollouts cannot take.
    """
    selected = {name: rows_of_stage(name, table) for name in config.stages}
    if config.rl.use_vllm and "rl" in selected:
        rows, _ = selected["rl"]
        videos = sum(fps is not None for fps in rows["fps"])
        if videos:
            raise ConfigError(
                f"rl.use_vllm: rows with videos are not prepared for ({videos} of {len(rows)})"
            )
    return selected


def rows_of_stage(name: StageName, table: Any) -> Selected:
    """The rows that a stage can learn from, and how many it cannot.

    Raises:
        ConfigError: no row is left.
    """
    texts = table.remove_columns(["pictures"])
    if name == "sft":
        kept = [i for i, row in enumerate(texts) if has_judgement(row)]
        reason = "no row has a judgement or two reasons: give judgements, or leave out the stage"
    else:
        kept = [i for i, row in enumerate(texts) if not row["is_tie"]]
        reason = "every row is a tie: there is no order to learn"
    if not kept:
        raise ConfigError(f"{name}: {reason}")
    return table.select(kept), len(table) - len(kept)
