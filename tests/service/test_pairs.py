"""`/v1/pairs`: margin, probability and beta, or a status and nulls."""

from __future__ import annotations

import math
from typing import Any

import httpx2
import pytest
from mmreward_client import dynamic_beta
from mmreward_client.schema import PairResult, PairsReply
from mmreward_service.engine.fake import FakeEngine


async def compare(client: httpx2.AsyncClient, *items: Any, **options: Any) -> list[PairResult]:
    reply = await client.post("/v1/pairs", json={"items": list(items), **options})
    assert reply.status_code == 200, reply.text
    return PairsReply.model_validate_json(reply.content).data


async def test_delta_is_the_difference_of_the_scores_of_both_sides(
    client: httpx2.AsyncClient, pair: dict[str, Any]
) -> None:
    """The sides have the scores they have alone, and swapping them turns the sign."""
    swapped = {**pair, "chosen": pair["rejected"], "rejected": pair["chosen"]}
    one, other = await compare(client, pair, swapped)
    assert one.chosen is not None
    assert one.rejected is not None
    assert one.chosen.score is not None
    assert one.rejected.score is not None
    assert one.delta == one.chosen.score - one.rejected.score
    assert other.delta == -one.delta
    item = {"images": pair["images"], "prompt": pair["prompt"], "response": pair["chosen"]}
    alone = (await client.post("/v1/score", json={"items": [item]})).json()["data"][0]
    assert alone["score"] == one.chosen.score


async def test_beta_is_the_clients_beta(client: httpx2.AsyncClient, pair: dict[str, Any]) -> None:
    """Service and client cannot disagree about beta, on either basis."""
    (raw,) = await compare(client, pair)
    assert raw.delta is not None
    assert raw.beta == dynamic_beta(raw.delta)
    constants = {"beta0": 0.2, "w": 1.5, "k": 0.3}
    (calibrated,) = await compare(client, pair, beta={**constants, "basis": "calibrated"})
    assert calibrated.delta_calibrated is not None
    assert calibrated.beta == dynamic_beta(calibrated.delta_calibrated, **constants)


async def test_the_calibration_is_that_of_mode_and_k(
    client: httpx2.AsyncClient, engine: FakeEngine, pair: dict[str, Any]
) -> None:
    """prob is the sigmoid of delta_calibrated; without a map for exactly this, both are null."""
    for critiques in (1, 4):
        calibration = engine.spec.find_calibration("generate", critiques)
        assert calibration is not None
        (result,) = await compare(client, pair, critiques=critiques)
        assert result.delta is not None
        assert result.delta_calibrated == pytest.approx(result.delta / calibration.temperature)
        assert result.prob == pytest.approx(1 / (1 + math.exp(-result.delta_calibrated)))
    (uncalibrated,) = await compare(client, pair, critiques=2, beta={"basis": "calibrated"})
    assert (uncalibrated.prob, uncalibrated.delta_calibrated, uncalibrated.beta) == (None,) * 3
    assert uncalibrated.status == "ok"
    assert uncalibrated.delta is not None


async def test_the_noise_of_both_sides_adds_up(
    client: httpx2.AsyncClient, pair: dict[str, Any]
) -> None:
    """delta_stderr is the root of the sum of squares; null for single critiques."""
    (result,) = await compare(client, pair, critiques=4)
    assert result.chosen is not None
    assert result.rejected is not None
    assert result.chosen.score_stderr is not None
    assert result.rejected.score_stderr is not None
    expected = math.hypot(result.chosen.score_stderr, result.rejected.score_stderr)
    assert result.delta_stderr == pytest.approx(expected)
    (single,) = await compare(client, pair)
    assert single.delta_stderr is None


@pytest.mark.parametrize("broken", ["chosen", "rejected"])
async def test_a_failing_side_leaves_the_other_its_score(
    client: httpx2.AsyncClient, pair: dict[str, Any], broken: str
) -> None:
    """The pair's numbers are null and its error names the side; the good side keeps its own."""
    (result,) = await compare(client, {**pair, broken: "[[truncated]]"})
    sides = {"chosen": result.chosen, "rejected": result.rejected}
    bad = sides.pop(broken)
    (good,) = sides.values()
    assert bad is not None
    assert good is not None
    assert (bad.status, bad.score, good.status) == ("truncated", None, "ok")
    assert good.score is not None
    assert result.status == "truncated"
    numbers = (result.delta, result.delta_stderr, result.prob, result.delta_calibrated, result.beta)
    assert numbers == (None,) * 5
    assert result.error is not None
    assert result.error.startswith(broken)


async def test_a_broken_pair_leaves_the_others(
    client: httpx2.AsyncClient, pair: dict[str, Any]
) -> None:
    """An invalid pair has no sides; its picture's fault shows on both."""
    results = await compare(
        client,
        {**pair, "rejected": ""},
        {**pair, "images": ["nowhere"]},
        {**pair, "id": "good"},
    )
    assert [result.status for result in results] == ["invalid", "invalid", "ok"]
    assert results[0].chosen is None
    assert results[1].chosen is not None
    assert results[1].chosen.status == "invalid"
    assert results[2].id == "good"


async def test_given_critiques_and_none(client: httpx2.AsyncClient, pair: dict[str, Any]) -> None:
    """Both sides bring their critique, or neither does."""
    given = {**pair, "mode": "given", "chosen_critique": "Good.", "rejected_critique": "Bad."}
    one_sided = {**given}
    del one_sided["rejected_critique"]
    results = await compare(client, given, one_sided, {**pair, "mode": "none"})
    assert [result.status for result in results] == ["ok", "invalid", "ok"]
    assert results[0].rejected is not None
    assert results[0].rejected.critiques[0].text == "Bad."


async def test_a_late_side_is_a_deadline(
    client: httpx2.AsyncClient, engine: FakeEngine, pair: dict[str, Any]
) -> None:
    """The side that was in time keeps its score."""
    (result,) = await compare(client, {**pair, "rejected": "[[slow]]"}, deadline_ms=400)
    assert result.status == "deadline"
    assert result.chosen is not None
    assert result.chosen.score is not None
    assert engine.running == 0


@pytest.mark.parametrize(
    "beta", [{"beta0": 0}, {"w": -1}, {"k": -0.1}, {"basis": "other"}, {"beta": 1}, 3]
)
async def test_constants_outside_their_range_are_refused(
    client: httpx2.AsyncClient, pair: dict[str, Any], beta: Any
) -> None:
    """A wrong constant would spoil every beta of the request, so the request is refused."""
    reply = await client.post("/v1/pairs", json={"items": [pair], "beta": beta})
    assert reply.status_code == 422
    assert reply.json()["error"]["param"].startswith("beta")
