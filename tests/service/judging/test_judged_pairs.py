"""`/v1/pairs` with a judge: both orders or no number, and the judge's own calibration."""

from __future__ import annotations

import math
from typing import Any

import httpx2
import pytest
from mmreward_client import dynamic_beta
from mmreward_client.schema import PairResult, PairsReply
from mmreward_service.engine.fake import FakeEngine
from service_kit import serving

GOOD, BAD = "right [[quality=8]]", "wrong [[quality=3]]"


async def judge(client: httpx2.AsyncClient, *items: Any, **options: Any) -> list[PairResult]:
    body = {"items": list(items), "kind": "judge", **options}
    reply = await client.post("/v1/pairs", json=body)
    assert reply.status_code == 200, reply.text
    return PairsReply.model_validate_json(reply.content).data


async def test_both_orders_are_judged_and_averaged(
    client: httpx2.AsyncClient, engine: FakeEngine, pair: dict[str, Any]
) -> None:
    """delta is the mean of the orders; each side has the mean of its scores and both texts."""
    before = engine.finished
    (result,) = await judge(client, {**pair, "chosen": GOOD, "rejected": BAD})
    assert engine.finished - before == 2
    assert (result.status, result.delta, result.orders) == ("ok", 5.0, (5.0, 5.0))
    assert result.chosen is not None
    assert result.rejected is not None
    assert (result.chosen.score, result.rejected.score) == (8.0, 3.0)
    assert [one.score for one in result.chosen.critiques] == [8.0, 8.0]
    assert [one.score for one in result.rejected.critiques] == [3.0, 3.0]
    assert [one.text for one in result.chosen.critiques] == [
        one.text for one in result.rejected.critiques
    ]
    assert result.chosen.critiques_ok == 2


async def test_a_liking_for_the_first_place_cancels(
    client: httpx2.AsyncClient, pair: dict[str, Any]
) -> None:
    """Such a judge says 6 : 5 in either order: the orders contradict each other, delta is 0."""
    biased = "[[first_wins]][[quality=5]]"
    (result,) = await judge(client, {**pair, "chosen": "a " + biased, "rejected": "b " + biased})
    assert result.orders == (1.0, -1.0)
    assert result.delta == 0.0
    page = (await client.get("/metrics")).text
    assert 'mmreward_preference_swap_total{consistent="false"} 1.0' in page


async def test_the_calibration_is_the_judges_own(
    client: httpx2.AsyncClient, engine: FakeEngine, pair: dict[str, Any]
) -> None:
    """Not that of the critique model in the same checkpoint; none for another K."""
    calibration = engine.spec.find_calibration("generate", 1, "judge")
    assert calibration is not None
    item = {**pair, "chosen": GOOD, "rejected": BAD}
    beta = {"beta0": 0.2, "w": 1.5, "k": 0.3, "basis": "calibrated"}
    (result,) = await judge(client, item, beta=beta)
    assert result.delta_calibrated == 5.0 / calibration.temperature
    assert result.prob == pytest.approx(1 / (1 + math.exp(-result.delta_calibrated)))
    assert result.beta == dynamic_beta(result.delta_calibrated, beta0=0.2, w=1.5, k=0.3)
    (other,) = await judge(client, item, critiques=4)
    assert (other.prob, other.delta_calibrated) == (None, None)
    assert other.beta == dynamic_beta(5.0)


async def test_the_noise_is_that_of_the_differences(
    client: httpx2.AsyncClient, pair: dict[str, Any]
) -> None:
    """K judgements per order: standard errors of their differences, not of the sides' scores,
    which come from the same texts; and swapping the sides turns every sign."""
    options = {"critiques": 8, "seed": 3}
    (one,) = await judge(client, pair, **options)
    swapped = {**pair, "chosen": pair["rejected"], "rejected": pair["chosen"]}
    (other,) = await judge(client, swapped, **options)
    assert one.chosen is not None
    assert one.rejected is not None
    assert one.chosen.critiques_ok == 16
    halves = []
    for half in (slice(0, 8), slice(8, 16)):
        deltas = [
            (a.score or 0) - (b.score or 0)
            for a, b in zip(one.chosen.critiques[half], one.rejected.critiques[half], strict=True)
        ]
        mean = sum(deltas) / 8
        halves.append((mean, math.sqrt(sum((d - mean) ** 2 for d in deltas) / 7 / 8)))
    assert one.orders == pytest.approx((halves[0][0], halves[1][0]))
    assert one.delta == pytest.approx((halves[0][0] + halves[1][0]) / 2)
    assert one.delta_stderr == pytest.approx(math.hypot(halves[0][1], halves[1][1]) / 2)
    assert one.chosen.score_stderr is not None
    assert other.delta == pytest.approx(-one.delta)  # type: ignore[operator]
    assert other.orders == pytest.approx((-one.orders[1], -one.orders[0]))  # type: ignore[index]


@pytest.mark.parametrize("slow", [False, True])
async def test_without_one_order_there_is_no_number(
    engine: FakeEngine, pair: dict[str, Any], slow: bool
) -> None:
    """What the other order says is biased by position: shown as a judgement, never as a score."""
    fails = _FailsSecond(slow)
    async with serving(fails) as client:
        item = {**pair, "chosen": GOOD, "rejected": BAD}
        (result,) = await judge(client, item, **({"deadline_ms": 3000} if slow else {}))
    assert result.status == ("deadline" if slow else "unparsed")
    assert result.error is not None
    assert result.error.startswith("chosen second: ")
    numbers = (result.delta, result.prob, result.delta_calibrated, result.beta, result.orders)
    assert numbers == (None,) * 5
    for side, points in ((result.chosen, 8.0), (result.rejected, 3.0)):
        assert side is not None
        assert (side.score, side.status) == (None, result.status)
        assert side.critiques[0].score == points
        assert [one.score for one in side.critiques[1:]] == [None] * (not slow)


class _FailsSecond(FakeEngine):
    """A judge that fails where the rejected answer is shown first."""

    def __init__(self, slow: bool) -> None:
        super().__init__()
        self._marker = "[[slow]]" if slow else "[[unparsed]]"

    async def write(self, job: Any) -> Any:
        text = self.renderer.decode(job.prompt_token_ids)
        if text.index("wrong") < text.index("right"):
            ids = self.renderer.render_judge(
                prompt=self._marker, first=BAD, second=GOOD, images=len(job.media.images)
            )
            job = type(job)(**{**vars(job), "prompt_token_ids": ids})
        return await super().write(job)


async def test_a_judge_writes_and_is_given_nothing(
    client: httpx2.AsyncClient, pair: dict[str, Any]
) -> None:
    """Other modes are invalid for the item, and the others are served."""
    given = {**pair, "mode": "given", "chosen_critique": "x", "rejected_critique": "y"}
    results = await judge(client, given, {**pair, "mode": "none"}, {**pair, "images": ["no"]}, pair)
    assert [one.status for one in results] == ["invalid", "invalid", "invalid", "ok"]
    assert "a judge writes" in (results[0].error or "")


async def test_null_means_critique_where_there_is_one(
    client: httpx2.AsyncClient, pair: dict[str, Any]
) -> None:
    """A checkpoint that is both answers as it always did unless a judge is asked for."""
    body = {"items": [pair]}
    plain = (await client.post("/v1/pairs", json=body)).json()["data"]
    named = (await client.post("/v1/pairs", json={**body, "kind": "critique"})).json()["data"]
    assert plain == named
    assert plain[0]["orders"] is None


async def test_a_judge_alone(pair: dict[str, Any], item: dict[str, Any]) -> None:
    """Starts without golden scores, judges pairs and groups, refuses scores by name, and says so
    at /v1/models."""
    async with serving(FakeEngine(kinds=["judge"])) as client:
        assert (await client.get("/ready")).json()["parity_error"] is None
        reply = await client.post("/v1/pairs", json={"items": [pair]})
        assert len(reply.json()["data"][0]["orders"]) == 2
        group = {"prompt": "q", "responses": ["a", "b"]}
        reply = await client.post("/v1/groups", json={"items": [group]})
        assert reply.json()["data"][0]["status"] == "ok"
        for route, body, param in (
            ("/v1/score", {"items": [item]}, None),
            ("/v1/pairs", {"items": [pair], "kind": "critique"}, "kind"),
            ("/get_reward", {"query": ["q a"], "prompts": ["q"]}, None),
        ):
            reply = await client.post(route, json=body)
            error = reply.json()["error"]
            assert (reply.status_code, error["code"], error["param"]) == (422, "kind", param)
            assert "'critique'" in error["message"]
        (card,) = (await client.get("/v1/models")).json()["data"]
        assert (card["kinds"], card["modes"], card["read_out"]) == (["judge"], ["generate"], "text")
        assert card["default_tokens"] == {"judge": 128}
        assert card["score_range"] == [1.0, 10.0]


async def test_a_critique_model_alone_judges_nothing(pair: dict[str, Any]) -> None:
    """422 with the code `kind`, for groups and for pairs that ask for a judge."""
    async with serving(FakeEngine(kinds=["critique"])) as client:
        group = {"prompt": "q", "responses": ["a", "b"]}
        for route, body in (
            ("/v1/groups", {"items": [group]}),
            ("/v1/pairs", {"items": [pair], "kind": "judge"}),
        ):
            reply = await client.post(route, json=body)
            assert (reply.status_code, reply.json()["error"]["code"]) == (422, "kind")
        assert (await client.post("/v1/pairs", json={"items": [pair]})).status_code == 200
