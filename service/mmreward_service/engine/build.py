"""The engine that the settings name, imported only when it is the one."""

from __future__ import annotations

from pathlib import Path

from mmreward_service.engine.protocol import Engine
from mmreward_service.reward.judge_templates import stock_judge_templates
from mmreward_service.reward.spec import Templates
from mmreward_service.settings import Settings


def build_engine(settings: Settings) -> Engine:
    """An engine that has not been started.

    Raises:
        ValueError: the checkpoint, or an engine argument, is refused.
    """
    if settings.engine == "fake":
        from mmreward_service.engine.fake import FakeEngine

        return FakeEngine(model_name=settings.served_name or "fake")

    from mmreward_service.engine.vllm.engine import VllmEngine

    assert settings.checkpoint is not None  # the settings have seen to it
    return VllmEngine(
        settings.checkpoint,
        served_name=settings.served_name,
        dtype=settings.dtype,
        max_model_len=settings.max_model_len,
        kv_cache_gib=settings.kv_cache_gib,
        max_num_seqs=settings.max_num_seqs,
        max_images=settings.max_images_per_item,
        engine_args=settings.engine_args,
        stock_judge=_stock_judge(settings.stock_judge, settings.checkpoint),
    )


def _stock_judge(wanted: str | Path | None, folder: Path) -> Templates | None:
    """Templates that make a judge of a stock model; None: the folder is a reward model."""
    if wanted is None:
        return None
    from mmreward_service.reward.checkpoint import read_config  # brings torch

    return stock_judge_templates(wanted, read_config(folder))
