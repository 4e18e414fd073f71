"""The reward object of a judge: from the model folder where it has one, changed by the settings.

A folder that is a critique model already becomes both: it keeps head, slot, read-out and texts.
"""

from __future__ import annotations

from pathlib import Path

import mmreward_service
from mmreward_service.reward.checkpoint import CheckpointError, load_spec, read_config
from mmreward_service.reward.judge_templates import (
    MAX_JUDGEMENT_TOKENS,
    SCORE_RANGE,
    judge_templates,
    judge_text,
)
from mmreward_service.reward.spec import RewardSpec, Templates

from mmreward_trainer.critique.configuration import ConfigError
from mmreward_trainer.critique.templates import read_templates
from mmreward_trainer.judge.configuration import Judge


def judge_specification(model: Path, settings: Judge) -> RewardSpec:
    """What the trained checkpoint's reward object says; calibration, golden and rows come later.

    Raises:
        ConfigError: the folder is no checkpoint, or a text cannot be used.
    """
    try:
        config = read_config(model)
        old = load_spec(model) if "reward" in config else None
    except CheckpointError as error:
        raise ConfigError(f"model: {error}") from error
    tokens = settings.max_judgement_tokens
    if tokens is None:
        tokens = old.max_judgement_tokens if old is not None else None
    if tokens is None:
        alone = old is not None and old.kinds == ["judge"]
        tokens = old.max_critique_tokens if old is not None and alone else MAX_JUDGEMENT_TOKENS
    score_range = settings.score_range
    if score_range is None:
        score_range = old.score_range if old is not None and old.score_range else SCORE_RANGE
    is_critic = old is not None and "critique" in old.kinds
    critique_tokens = old.max_critique_tokens if old is not None and is_critic else tokens
    try:
        return RewardSpec(
            kinds=["critique", "judge"] if is_critic else ["judge"],
            head=old.head if old is not None else None,
            read_out=old.read_out if old is not None else "last_critique_token",
            score_slot=old.score_slot if old is not None else None,
            templates=_templates(config["model_type"], old, settings),
            max_critique_tokens=critique_tokens,
            max_judgement_tokens=tokens,
            score_range=score_range,
            trainer_version=mmreward_service.__version__,
        )
    except ValueError as error:
        raise ConfigError(f"judge: {error}") from error


def _templates(model_type: str, old: RewardSpec | None, settings: Judge) -> Templates:
    """The judge's text of a file, of the folder or by default; the rest as the folder has it."""
    given = None if settings.templates is None else read_templates(settings.templates)
    if given is not None and given.judge is None:
        raise ConfigError(f"judge.templates: {settings.templates} has no template 'judge'")
    if old is None or "critique" not in old.kinds:
        if given is not None:
            return given
        if old is not None and settings.principles is None:
            return old.templates
        try:
            return judge_templates(model_type, _principles(settings))
        except ValueError as error:
            raise ConfigError(f"judge: {error}") from error
    if given is not None:
        text = given.judge
    elif old.templates.judge is not None and settings.principles is None:
        text = old.templates.judge
    else:
        text = judge_text(_principles(settings))
    return Templates.model_validate(old.templates.model_dump() | {"judge": text})


def _principles(settings: Judge) -> str | None:
    if settings.principles is None:
        return None
    try:
        return settings.principles.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"judge.principles: {settings.principles}: {error}") from error
