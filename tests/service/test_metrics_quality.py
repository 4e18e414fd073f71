"""Metrics of what the model said, held against the replies that said it."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any, get_args

import httpx2
import pytest
from mmreward_client.events import nulls_by_status
from mmreward_client.schema import (
    GroupItem,
    GroupResult,
    GroupsReply,
    PairsReply,
    ScoreReply,
    Status,
)
from mmreward_service.metrics.null_reasons import NullReason, null_reasons
from service_kit import picture_uri, serving
from service_kit.scraping import Samples, gain, samples

TRUNCATED = "[[truncated]]"


async def asked(
    client: httpx2.AsyncClient, path: str, body: dict[str, Any]
) -> tuple[dict[str, Any], Any]:
    before = await samples(client)
    reply = await client.post(path, json=body)
    assert reply.status_code == 200, reply.text
    return reply.json(), gain(before, await samples(client))


async def test_scores_and_margins_add_up_to_those_of_the_replies(
    client: httpx2.AsyncClient, pair: dict[str, Any]
) -> None:
    """Counts, and the mean from the two sums by sign; every side counts, also beside a failure."""
    pairs = [{**pair, "prompt": f"number {i}"} for i in range(8)]
    pairs.append({**pair, "rejected": TRUNCATED})
    reply, gained = await asked(client, "/v1/pairs", {"items": pairs})
    deltas = [one["delta"] for one in reply["data"] if one["delta"] is not None]
    scores = [
        one[side]["score"]
        for one in reply["data"]
        for side in ("chosen", "rejected")
        if one[side]["score"] is not None
    ]
    assert (len(deltas), len(scores)) == (8, 17)
    assert min(deltas) < 0 < max(deltas), "the fake scores are to have both signs"
    labels = {"model": "fake", "kind": "critique"}
    for name, values in (("mmreward_score", scores), ("mmreward_margin", deltas)):
        assert gained(f"{name}_bucket", **labels, le="+Inf") == len(values)
        assert gained(f"{name}_bucket", **labels, le="0.0") == sum(v <= 0 for v in values)
        total = gained(f"{name}_magnitude_total", **labels, sign="positive")
        total -= gained(f"{name}_magnitude_total", **labels, sign="negative")
        assert math.isclose(total, math.fsum(values), abs_tol=1e-9)
        assert gained(f"{name}_bucket", model="fake", kind="judge", le="+Inf") == 0


async def test_a_judge_s_scores_are_those_of_its_comparisons(
    client: httpx2.AsyncClient, pair: dict[str, Any]
) -> None:
    """Two per comparison on the judge's own scale, whatever the aggregate makes of them."""
    group = {"images": pair["images"], "prompt": "?", "responses": ["a", "b", "c"]}
    for aggregate in ("mean", "win_rate"):
        body = {"items": [group], "aggregate": aggregate}
        reply, gained = await asked(client, "/v1/groups", body)
        comparisons = reply["data"][0]["comparisons"]
        scores = [score for one in comparisons for score in one["scores"]]
        labels = {"model": "fake", "kind": "judge"}
        assert len(scores) == 12
        assert gained("mmreward_score_bucket", **labels, le="+Inf") == 12
        assert gained("mmreward_score_magnitude_total", **labels, sign="positive") == sum(scores)
    reply, gained = await asked(client, "/v1/pairs", {"items": [pair], "kind": "judge"})
    assert gained("mmreward_margin_bucket", **labels, le="+Inf") == 1
    assert gained("mmreward_score_bucket", **labels, le="+Inf") == 4
    delta = reply["data"][0]["delta"]
    sign = "positive" if delta >= 0 else "negative"
    assert gained("mmreward_margin_magnitude_total", **labels, sign=sign) == abs(delta)


async def test_texts_are_counted_one_by_one(
    client: httpx2.AsyncClient, item: dict[str, Any]
) -> None:
    """Of K critiques two are cut off: the item is ok, and the share of truncated texts shows."""
    some = {**item, "response": "[[some_truncated]]"}
    reply, gained = await asked(client, "/v1/score", {"items": [some], "critiques": 4})
    (one,) = reply["data"]
    assert one["status"] == "ok"
    name, labels = "mmreward_critiques_total", {"model": "fake", "kind": "critique"}
    assert gained(name, **labels, status="ok") == 2
    assert gained(name, **labels, status="truncated") == 2
    tokens = [critique["tokens"] for critique in one["critiques"]]
    assert gained("mmreward_critique_tokens_count", model="fake") == 4
    assert gained("mmreward_critique_tokens_sum", model="fake") == sum(tokens)
    usage = reply["usage"]
    assert gained("mmreward_completion_tokens_total", model="fake") == usage["completion_tokens"]
    computed = gained("mmreward_prompt_tokens_total", model="fake", source="computed")
    cached = gained("mmreward_prompt_tokens_total", model="fake", source="cached")
    assert (computed + cached, cached) == (usage["prompt_tokens"], usage["cached_tokens"])


async def test_a_text_that_the_caller_gave_is_none_of_the_model(
    client: httpx2.AsyncClient, item: dict[str, Any]
) -> None:
    """Modes given and none write nothing: no text, no length; their scores count."""
    items = [{**item, "mode": "given", "critique": "Fine."}, {**item, "mode": "none"}]
    _, gained = await asked(client, "/v1/score", {"items": items})
    assert gained("mmreward_critique_tokens_count", model="fake") == 0
    for status in ("ok", "truncated"):
        labels = {"model": "fake", "kind": "critique", "status": status}
        assert gained("mmreward_critiques_total", **labels) == 0
    assert gained("mmreward_score_bucket", model="fake", kind="critique", le="+Inf") == 2


async def test_unreadable_judgements_are_seen(
    client: httpx2.AsyncClient, pair: dict[str, Any]
) -> None:
    """A judge that forgets its scores: comparisons, texts and nulls say so."""
    broken = {**pair, "prompt": "[[unparsed]]"}
    _, gained = await asked(client, "/v1/pairs", {"items": [broken], "kind": "judge"})
    assert gained("mmreward_comparisons_total", model="fake", status="unparsed") == 2
    labels = {"model": "fake", "kind": "judge"}
    assert gained("mmreward_critiques_total", **labels, status="unparsed") == 2
    assert gained("mmreward_null_numbers_total", model="fake", reason="unparsed") == 1
    assert gained("mmreward_score_bucket", **labels, le="+Inf") == 0


@pytest.mark.parametrize("seed", range(6))
async def test_nulls_are_those_that_a_client_counts(seed: int, pair: dict[str, Any]) -> None:
    """The reasons sum to the nulls of the reply, of every route and however it goes wrong."""
    responses = ["a", "b", "a", "[[truncated]]", "c [[unparsed]]"][: 2 + seed % 4]
    complete = [True, seed % 2 == 0, *[True] * 3][: len(responses)]
    group = {"prompt": "?", "responses": responses, "complete": complete}
    groups = [group, {**group, "unknown": 1}, {**group, "prompt": "[[too_long]]"}, 7]
    pairs = [pair, {**pair, "chosen": TRUNCATED}, {**pair, "images": ["data:,x"]}, 7]
    singles = [{"prompt": "?", "response": text} for text in ("fine", TRUNCATED, "[[not_finite]]")]
    async with serving() as client:
        for path, items, kind in (
            ("/v1/groups", groups, GroupsReply),
            ("/v1/pairs", pairs, PairsReply),
            ("/v1/score", singles, ScoreReply),
        ):
            before = await samples(client)
            reply = await client.post(path, json={"items": items})
            after = await samples(client)
            assert reply.status_code == 200, reply.text
            gained = _nulls(after) - _nulls(before)
            assert (
                sum(gained.values()) == nulls_by_status(kind.model_validate(reply.json())).total()
            )
            if path == "/v1/groups":
                assert gained["incomplete"] == complete.count(False) * 2


def _nulls(there: Samples) -> Counter[str]:
    name = "mmreward_null_numbers_total"
    return Counter(
        {dict(labels)["reason"]: int(v) for (of, labels), v in there.items() if of == name}
    )


def test_reasons_are_the_statuses_that_fail() -> None:
    """A status that is added to the contract is added here, or this test fails."""
    failing = set(get_args(Status)) - {"ok", "partial"}
    assert set(get_args(NullReason)) == failing | {"incomplete"}


def test_a_null_of_a_group_has_the_reason_of_its_own_comparisons() -> None:
    """Not that of another response; a copy has that of any."""
    item = GroupItem(prompt="?", responses=["a", "b", "c", "c"], complete=[True, True, True, True])
    comparisons: list[dict[str, Any]] = [
        {"first": 0, "second": 1, "status": "deadline", "error": "late"},
        {"first": 0, "second": 2, "status": "truncated", "error": "cut"},
        {"first": 1, "second": 2, "status": "truncated", "error": "cut"},
    ]
    result = GroupResult(
        index=0,
        status="deadline",
        scores=[None] * 4,
        scores_from=[0] * 4,
        comparisons=comparisons,  # type: ignore[arg-type]
        error="all",
    )
    assert null_reasons(result, item) == ["deadline", "deadline", "truncated", "deadline"]


async def test_pictures_are_counted_as_they_are_decoded(
    client: httpx2.AsyncClient, item: dict[str, Any]
) -> None:
    """Two items of one picture decode it once; its size is seen once; a refused one is none."""
    small, large = picture_uri((28, 28)), picture_uri((60, 50))
    items = [
        {**item, "images": ["k"], "response": "one"},
        {**item, "images": ["k"], "response": "two"},
        {**item, "images": [large]},
        {**item, "images": ["data:image/png;base64,AAAA"]},
    ]
    _, gained = await asked(client, "/v1/score", {"items": items, "media": {"k": small}})
    assert gained("mmreward_images_total", source="new") == 2
    assert gained("mmreward_images_total", source="shared") == 1
    assert gained("mmreward_image_pixels_count") == gained("mmreward_image_bytes_count") == 2
    assert gained("mmreward_image_pixels_sum") == 28 * 28 + 60 * 50
    encoded = [len(uri) - len("data:image/png;base64,") for uri in (small, large)]
    assert gained("mmreward_image_bytes_sum") <= sum(encoded) * 3 // 4
