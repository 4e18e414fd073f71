"""`/v1/groups` on the fake engine: scores, statuses, and what happens when comparisons fail."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx2
import pytest
from mmreward_client.schema import GroupResult, GroupsReply
from mmreward_service.engine.fake import FakeEngine
from service_kit import picture_uri, serving


def group(*responses: str, **more: Any) -> dict[str, Any]:
    return {
        "images": [picture_uri()],
        "prompt": "What is it?",
        "responses": list(responses),
        **more,
    }


def points(*qualities: int) -> list[str]:
    return [f"answer {n} [[quality={q}]]" for n, q in enumerate(qualities)]


async def judge(client: httpx2.AsyncClient, *items: Any, **options: Any) -> list[GroupResult]:
    reply = await client.post("/v1/groups", json={"items": list(items), **options})
    assert reply.status_code == 200, reply.text
    return GroupsReply.model_validate_json(reply.content).data


async def test_a_score_is_the_mean_of_a_responses_own_scores(client: httpx2.AsyncClient) -> None:
    """Every pair in both orders: n (n - 1) comparisons, and each response's own points."""
    (result,) = await judge(client, group(*points(7, 3, 9), id="g"))
    assert (result.status, result.id, result.error) == ("ok", "g", None)
    assert result.scores == [7.0, 3.0, 9.0]
    assert result.scores_from == [4, 4, 4]
    pairs = {(one.first, one.second) for one in result.comparisons}
    assert pairs == {(i, j) for i in range(3) for j in range(3) if i != j}
    for one in result.comparisons:
        assert one.critique is not None
        assert one.critiques_ok == 1
        assert one.tokens > 0
    assert result.order_consistency == 1.0


async def test_a_position_bias_shows_and_cancels(client: httpx2.AsyncClient) -> None:
    """A judge that prefers whoever is first is never consistent; balanced games cannot tell."""
    item = group("[[first_wins]] a", "[[first_wins]] b", "[[first_wins]] c")
    both, = await judge(client, item)
    assert both.order_consistency == 0.0
    once, = await judge(client, item, orders="balanced")
    assert once.order_consistency is None
    assert len(once.comparisons) == 3
    assert sorted(one.first for one in once.comparisons) == [0, 1, 2]
