"""The OpenAPI document is a promise: it changes only when somebody means to change it.

Renew the snapshot after an intended change, and read its diff:

    python tests/contract/renew_openapi.py
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import mmreward_client.schema as schema
from mmreward_service.app import create_app
from mmreward_service.engine.fake import FakeEngine
from mmreward_service.settings import Settings

SNAPSHOT = Path(__file__).parent / "openapi.json"


def document() -> dict[str, Any]:
    document = create_app(Settings(engine="fake"), FakeEngine()).openapi()
    # The version of the package changes with every release, the promise does not.
    return {**document, "info": {**document["info"], "version": "any"}}


def render() -> str:
    return json.dumps(document(), indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def test_the_document_is_the_snapshot() -> None:
    """Whoever changes a route, a field or a status sees it here."""
    assert json.loads(SNAPSHOT.read_text(encoding="utf-8")) == document(), __doc__


def test_every_reference_leads_somewhere() -> None:
    """No schema refers to one that is not there."""
    text = render()
    names = set(document()["components"]["schemas"])
    assert set(re.findall(r'"#/components/schemas/([^"]+)"', text)) <= names


def test_the_documented_fields_are_the_models() -> None:
    """Bodies and replies in the document have the fields of the wire models."""
    schemas = document()["components"]["schemas"]
    for model in (
        schema.ScoreRequest,
        schema.PairsRequest,
        schema.GroupsRequest,
        schema.ScoreItem,
        schema.PairItem,
        schema.GroupItem,
        schema.ScoreReply,
        schema.PairsReply,
        schema.GroupsReply,
        schema.GetRewardReply,
        schema.ErrorReply,
        schema.ModelList,
    ):
        assert set(schemas[model.__name__]["properties"]) == set(model.model_fields)
