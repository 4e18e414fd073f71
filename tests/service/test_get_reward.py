"""/get_reward in OpenRLHF's shape: numbers for all, or an error for all."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest
from service_kit import serving

PROMPT = "What is two and two?"


async def ask(client: httpx2.AsyncClient, *responses: str, **more: Any) -> httpx2.Response:
    body = {
        "query": [PROMPT + response for response in responses],
        "prompts": [PROMPT] * len(responses),
        **more,
    }
    return await client.post("/get_reward", json=body)


async def test_rewards_are_the_raw_scores(client: httpx2.AsyncClient) -> None:
    """What /v1/score says of prompt and response, in the order of the queries."""
    reply = await ask(client, "Four.", "Five.", labels=["4", None])
    assert reply.status_code == 200
    items = [{"prompt": PROMPT, "response": text} for text in ("Four.", "Five.")]
    data = (await client.post("/v1/score", json={"items": items})).json()["data"]
    body = reply.json()
    assert body["rewards"] == body["scores"] == [one["score"] for one in data]
    tokens = [float(one["critiques"][0]["tokens"]) for one in data]
    assert body["extra_logs"] == {"critique_tokens": tokens}


async def test_a_trailing_end_of_turn_is_not_part_of_the_response(
    client: httpx2.AsyncClient,
) -> None:
    """Trainers decode their sequences with special tokens left in."""
    plain, ended = await ask(client, "Four."), await ask(client, "Four.<|im_end|>\n")
    assert plain.json() == ended.json()


async def test_a_query_without_its_prompt_is_refused_by_index(client: httpx2.AsyncClient) -> None:
    """Where the response begins cannot be guessed."""
    body = {"query": [PROMPT + "a", "something else"], "prompts": [PROMPT, PROMPT]}
    reply = await client.post("/get_reward", json=body)
    assert reply.status_code == 422
    assert "query[1]" in reply.json()["error"]["message"]


@pytest.mark.parametrize(
    ("response", "status", "code"),
    [
        ("[[truncated]]", 422, "not_scored"),
        ("[[not_finite]]", 422, "not_scored"),
        ("", 422, "not_scored"),
        ("[[fault]]", 500, "internal"),
        ("[[dead]]", 503, "engine_stopped"),
        ("[[slow]]", 504, "deadline"),
    ],
)
async def test_one_failure_is_everybodys(response: str, status: int, code: str) -> None:
    """That shape has no place for a failure: no null, no zero, an error that names the query."""
    async with serving(default_deadline_s=0.3) as client:
        reply = await ask(client, "Four.", response)
    assert reply.status_code == status, reply.text
    assert reply.json()["error"]["code"] == code
    assert "rewards" not in reply.json()


@pytest.mark.parametrize(
    "body",
    [
        {"query": [], "prompts": []},
        {"query": ["a"], "prompts": []},
        {"query": ["a"], "prompts": ["a", "b"]},
        {"query": "a", "prompts": "a"},
        {"prompts": ["a"]},
    ],
)
async def test_a_wrong_shape_is_422(client: httpx2.AsyncClient, body: Any) -> None:
    """As many prompts as queries, and at least one."""
    assert (await client.post("/get_reward", json=body)).status_code == 422
