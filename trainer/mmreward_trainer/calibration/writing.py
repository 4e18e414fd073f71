"""Calibrations into the config.json of a checkpoint, and nothing else.

The other calibrations and every other field stay as they are, weights are not opened, and at every
moment config.json is either the old or the new one.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from mmreward_client.file_replacement import replace_file
from mmreward_client.schema import describe
from mmreward_service.reward.checkpoint import CheckpointError, read_config
from mmreward_service.reward.spec import Calibration, RewardSpec
from pydantic import ValidationError


def replace_calibrations(folder: Path, fitted: Iterable[Calibration]) -> None:
    """Put each in the place of the one with the same kind, mode and K, or behind the others.

    Raises:
        CheckpointError: there is no config.json with a valid reward object.
        OSError: config.json cannot be written.
    """
    config = read_config(folder)
    reward = config.get("reward")
    if not isinstance(reward, dict):
        raise CheckpointError(f"{folder}/config.json has no `reward` object: not a reward model")
    try:
        held = RewardSpec.model_validate(reward).calibration
        # Of what is kept, the text is kept: nothing is added to a calibration of another release.
        listed = dict(zip((one.key for one in held), reward.get("calibration", []), strict=True))
        listed |= {one.key: one.model_dump(mode="json") for one in fitted}
        reward["calibration"] = list(listed.values())
        RewardSpec.model_validate(reward)
    except ValidationError as error:
        raise CheckpointError(f"{folder}/config.json, reward: {describe(error)}") from error
    replace_file(folder / "config.json", json.dumps(config, indent=2, ensure_ascii=False) + "\n")
