"""The OpenAPI document. Bodies are read by hand (`answer`), so their schemas are added by hand."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from mmreward_client import schema
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

_BODIES: dict[tuple[str, str], type[BaseModel]] = {
    ("/v1/score", "post"): schema.ScoreRequest,
    ("/v1/pairs", "post"): schema.PairsRequest,
    ("/v1/groups", "post"): schema.GroupsRequest,
    ("/get_reward", "post"): schema.GetRewardRequest,
}
_REPLIES: dict[tuple[str, str], type[BaseModel]] = {
    ("/v1/score", "post"): schema.ScoreReply,
    ("/v1/pairs", "post"): schema.PairsReply,
    ("/v1/groups", "post"): schema.GroupsReply,
    ("/get_reward", "post"): schema.GetRewardReply,
    ("/v1/models", "get"): schema.ModelList,
}
_ITEMS: dict[str, type[BaseModel]] = {
    "ScoreRequest": schema.ScoreItem,
    "PairsRequest": schema.PairItem,
    "GroupsRequest": schema.GroupItem,
}
_REFUSALS: dict[str, list[tuple[int, str]]] = {
    "post": [
        (400, "The body is not JSON"),
        (401, "No valid key"),
        (404, "Unknown model"),
        (409, "Not the pinned fingerprint"),
        (413, "Over a limit of size; `code` names it"),
        (422, "Wrong shape, or over another limit"),
        (429, "Too many critiques in flight; see Retry-After"),
        (500, "A fault"),
        (503, "Not ready, or the engine has stopped; see Retry-After"),
        (504, "The deadline passed before any item reached the engine"),
    ],
    "get": [(401, "No valid key"), (503, "Not ready; see Retry-After")],
}
_REF = "#/components/schemas/"
_NDJSON = {
    "schema": {
        "type": "string",
        "description": "Each item as a line when it is finished, then a line with all else.",
    }
}


def install(app: FastAPI) -> None:
    original = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _complete(original())
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way


def _complete(document: dict[str, Any]) -> dict[str, Any]:
    components = document.setdefault("components", {}).setdefault("schemas", {})
    components.update(_schemas())
    for (path, method), model in _BODIES.items():
        document["paths"][path][method]["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": {"$ref": _REF + model.__name__}}},
        }
    for (path, method), model in _REPLIES.items():
        operation = document["paths"][path][method]
        content: dict[str, Any] = {"application/json": {"schema": {"$ref": _REF + model.__name__}}}
        if path in ("/v1/score", "/v1/pairs", "/v1/groups"):
            content["application/x-ndjson"] = _NDJSON
        operation["responses"] = {"200": {"description": "Answered", "content": content}}
        for status, description in _REFUSALS[method]:
            operation["responses"][str(status)] = {
                "description": description,
                "content": {"application/json": {"schema": {"$ref": _REF + "ErrorReply"}}},
            }
    return document


def _schemas() -> dict[str, Any]:
    inputs = [(model, "validation") for model in (*_BODIES.values(), *_ITEMS.values())]
    outputs = [(model, "serialization") for model in (*_REPLIES.values(), schema.ErrorReply)]
    _, definitions = models_json_schema(
        [*inputs, *outputs],  # type: ignore[list-item]
        ref_template=_REF + "{model}",
    )
    schemas: dict[str, Any] = definitions["$defs"]
    for request, item in _ITEMS.items():
        # The envelope takes any item, so that a broken one is refused alone; this is what it means.
        schemas[request]["properties"]["items"]["items"] = {"$ref": _REF + item.__name__}
    return schemas
