"""The service of a run: found and checked before the first step, and the same until the last.

Its fingerprint is written into the run's folder; every request insists on it, on every replica and
process, and so does a run that is resumed.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mmreward_client import RewardClient, RewardError
from mmreward_client.events import Hook
from mmreward_client.file_replacement import replace_file
from mmreward_client.schema import ModelCard

from mmreward_trainer.align.grouped.configuration import GroupedSettings
from mmreward_trainer.align.grouped.figures import Figures
from mmreward_trainer.align.grouped.rewards import CritiqueReward, GroupedReward, ServiceReward
from mmreward_trainer.critique.configuration import ConfigError

SERVICE_FILE = "service.json"
_KINDS = {"groups": "judge", "scores": "critique"}


def find_service(settings: GroupedSettings, api_key: str | None) -> ModelCard:
    """The model that will be asked.

    Raises:
        ConfigError: nothing is ready in time, no such model, or one of another kind.
    """
    service = settings.service
    try:
        with RewardClient(urls=service.urls, api_key=api_key, timeout_s=30.0) as client:
            readiness = client.wait_until_ready(timeout_s=service.wait_s)
            cards = client.models().data if readiness else []
    except (RewardError, ValueError) as error:
        raise ConfigError(f"service: {error}") from error
    if not readiness:
        raise ConfigError(f"service: not ready: {readiness}")
    named = [one for one in cards if service.model in (None, one.id)]
    if not named:
        known = ", ".join(one.id for one in cards)
        raise ConfigError(f"service.model: {service.model!r} is not served ({known})")
    wanted = _KINDS[settings.reward.kind]
    if wanted not in named[0].kinds:
        raise ConfigError(
            f"reward.kind {settings.reward.kind}: {named[0].id} is no {wanted} "
            f"({', '.join(named[0].kinds)})"
        )
    return named[0]


def pinned(settings: GroupedSettings, folder: Path, api_key: str | None) -> str:
    """The fingerprint that the run insists on, kept in its folder.

    Raises:
        ConfigError: as `find_service`; or the run was begun with another model.
    """
    found = find_service(settings, api_key).provenance.fingerprint
    file = folder / SERVICE_FILE
    if file.is_file():
        begun: str = json.loads(file.read_text(encoding="utf-8"))["fingerprint"]
        if begun != found:
            raise ConfigError(
                f"service: the run was begun with the fingerprint {begun}, the service has {found}"
            )
        return begun
    replace_file(file, json.dumps({"fingerprint": found}, indent=2) + "\n")
    return found


def make_reward(
    settings: GroupedSettings,
    fingerprint: str,
    api_key: str | None,
    processes: int,
    on_event: Hook | None = None,
) -> ServiceReward:
    """The reward function of a run."""
    service, reward, watch = settings.service, settings.reward, settings.watch
    common: dict[str, Any] = {
        "urls": service.urls,
        "api_key": api_key,
        "pin": fingerprint,
        "model": service.model,
        "on_event": on_event,
        "timeout_s": service.timeout_s,
        "silence_timeout_s": service.silence_timeout_s,
        "max_in_flight": service.max_in_flight,
        "on_failure": service.on_failure,
        "patience": service.patience,
        "critiques": reward.critiques,
        "incomplete_reward": reward.incomplete,
        "max_completion_length": settings.rl.max_completion_tokens,
        "figures": Figures(watch.phrases, watch.first_lines, settings.data.match),
    }
    if processes > 1:
        common["process_group_timeout_s"] = settings.run.process_group_timeout_s
    if reward.kind == "scores":
        return CritiqueReward(mode=reward.mode, **common)
    return GroupedReward(
        num_generations=settings.rl.completions,
        split=reward.split,
        partial=reward.partial,
        orders=reward.orders,
        comparisons=reward.comparisons,
        aggregate=reward.aggregate,
        **common,
    )
