"""`--check`: what a run would do, and every row that would stop it, before a step is paid for."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from mmreward_trainer.align.check import encode_all
from mmreward_trainer.align.grouped.configuration import GroupedSettings
from mmreward_trainer.align.grouped.preparation import prepare
from mmreward_trainer.align.grouped.run import tables
from mmreward_trainer.align.grouped.serving import find_service
from mmreward_trainer.critique.check import refuse, say_left_out
from mmreward_trainer.critique.configuration import ConfigError


def check_grouped_run(
    settings: GroupedSettings, say: Callable[[str], None], api_key: str | None = None
) -> None:
    """Read all rows of both sets, encode each once, and say how long the longest prompt is.

    The service need not be there yet; if it is, its model must fit.

    Raises:
        ConfigError, InvalidInput: what a run would raise; rows at fault are listed before.
    """
    parts = prepare(settings)
    refused = 0
    with tempfile.TemporaryDirectory() as scratch:
        for name, rows in zip(
            ("train", "validation"), tables(settings, parts, Path(scratch), say), strict=True
        ):
            if rows is None:
                continue
            longest, unusable = encode_all(rows, parts.check, say)
            refused += unusable
            say(f"{name}: {len(rows)} prompts, the longest {longest} tokens")
            say_left_out(rows.report, say)
    impatient = settings.service.model_copy(update={"wait_s": 0.0})
    try:
        card = find_service(settings.model_copy(update={"service": impatient}), api_key)
    except ConfigError as error:
        say(f"WARNING: {error}")
    else:
        say(f"service: {card.id} ({', '.join(card.kinds)}), {card.provenance.fingerprint}")
    refuse(refused)
