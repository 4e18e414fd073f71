"""Who answers: asked before the first request, so that a whole file has one origin."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmreward_client.errors import UnknownModel
from mmreward_client.evaluation.resuming import Origin
from mmreward_client.sync import RewardClient


def served_by(client: RewardClient, model: str | None, request: Mapping[str, Any]) -> Origin:
    """The origin of answers to `request`, with the kind `judge` of a model that is nothing else.

    Raises:
        RewardError: the service cannot be asked, or does not have the model.
    """
    for card in client.models().data:
        if model in (None, card.id):
            kind = {"kind": "judge"} if card.kinds == ["judge"] else {}
            return Origin(card.provenance.fingerprint, {**request, **kind})
    raise UnknownModel(f"the service has no model {model!r}", status=404, param="model")
