"""Bearer keys: which routes ask for one, and what they answer without it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx2
import pytest
from fastapi.routing import APIRoute
from service_kit import KEY, serving

PUBLIC = {"/health", "/ready", "/metrics", "/version"}


@pytest.fixture
async def locked() -> AsyncIterator[httpx2.AsyncClient]:
    async with serving(api_keys=("another-key", KEY)) as client:
        yield client


async def test_every_route_but_the_public_ones_asks(locked: httpx2.AsyncClient) -> None:
    """A route that is added later is locked, or this test fails."""
    app = locked._transport.app  # type: ignore[attr-defined]
    paths = set(app.openapi()["paths"])
    assert paths - PUBLIC == {"/v1/score", "/v1/pairs", "/v1/groups", "/v1/models", "/get_reward"}
    for path, operations in app.openapi()["paths"].items():
        for method, operation in operations.items():
            reply = await locked.request(method, path)
            assert (reply.status_code == 401) == (path not in PUBLIC), path
            assert bool(operation.get("security")) == (path not in PUBLIC)
    assert any(isinstance(route, APIRoute) for route in app.routes) or paths


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Bearer",
        "Bearer ",
        "Bearer wrong",
        f"Bearer {KEY}x",
        f"Bearer {KEY[:-1]}",
        f"Basic {KEY}",
        KEY,
        "Bearer sch\u00fcssel".encode().decode("latin-1"),
    ],
)
async def test_a_wrong_key_is_401_with_a_challenge(locked: httpx2.AsyncClient, header: str) -> None:
    """The answer says which scheme is meant and nothing about the keys; no body is read."""
    headers = {"Authorization": header.encode("latin-1")} if header else {}
    for path in ("/v1/score", "/v1/pairs", "/v1/groups", "/get_reward"):
        reply = await locked.post(path, content=b"not even JSON", headers=headers)
        assert reply.status_code == 401
        assert reply.headers["WWW-Authenticate"] == "Bearer"
        assert reply.json()["error"]["type"] == "authentication"
        assert KEY not in reply.text


@pytest.mark.parametrize("key", [KEY, "another-key"])
@pytest.mark.parametrize("scheme", ["Bearer", "bearer"])
async def test_each_of_the_keys_opens(locked: httpx2.AsyncClient, key: str, scheme: str) -> None:
    """Several keys are valid at once, so that they can be changed without a gap."""
    headers = {"Authorization": f"{scheme} {key}"}
    assert (await locked.get("/v1/models", headers=headers)).status_code == 200
    body = {"items": [{"prompt": "p", "response": "r"}]}
    assert (await locked.post("/v1/score", json=body, headers=headers)).status_code == 200


async def test_without_keys_everything_is_open(client: httpx2.AsyncClient) -> None:
    """On the loopback address the service works out of the box."""
    assert (await client.get("/v1/models")).status_code == 200
