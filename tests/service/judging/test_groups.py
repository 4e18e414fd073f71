"""`/v1/groups` on the fake engine: scores, statuses, and what happens when comparisons fail."""

from __future__ import annotations

import json
from typing import Any

import httpx2
import pytest
from mmreward_client.schema import GroupResult, GroupsReply
from mmreward_service.engine.fake import FakeEngine
from service_kit import encode, picture_uri, serving


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
    """A judge that prefers whoever is first is never consistent; a single order cannot tell."""
    item = group("[[first_wins]] a", "[[first_wins]] b", "[[first_wins]] c")
    (both,) = await judge(client, item)
    assert both.order_consistency == 0.0
    (once,) = await judge(client, item, orders="balanced", aggregate="win_rate")
    assert once.order_consistency is None
    assert len(once.comparisons) == 3
    assert once.scores == [0.5, 0.5, 0.5]


async def test_k_opponents_in_a_ring(client: httpx2.AsyncClient) -> None:
    """Two opponents for each of six, in both orders: twelve comparisons instead of thirty."""
    (result,) = await judge(client, group(*points(1, 2, 3, 4, 5, 6)), comparisons=2)
    assert len(result.comparisons) == 12
    assert result.scores_from == [4] * 6
    assert result.scores == [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]


@pytest.mark.parametrize("marker", ["[[unparsed]]", "[[truncated]]"])
async def test_a_failing_comparison_leaves_the_other_scores_right(
    client: httpx2.AsyncClient, marker: str
) -> None:
    """One response spoils its own comparisons: they are marked, and the others score as if it had
    not been there. It has no good comparison, so it has no score."""
    (result,) = await judge(client, group(*points(7, 3), f"bad {marker}", *points(9)))
    status = marker.strip("[]")
    assert result.status == "partial"
    assert result.scores == [7.0, 3.0, None, 9.0]
    assert result.scores_from == [4, 4, 0, 4]
    for one in result.comparisons:
        is_bad = 2 in (one.first, one.second)
        assert one.status == (status if is_bad else "ok")
        assert (one.scores is None) == is_bad
        assert bool(one.error) == is_bad
        assert one.critique is not None
    assert result.error is not None
    assert result.error.startswith(
        f"6 of 12 comparisons failed, the first of them (1, 2): {status}"
    )


async def test_a_group_without_a_good_comparison_has_the_status_of_the_first(
    client: httpx2.AsyncClient,
) -> None:
    """Nothing but nulls, and no number."""
    (result,) = await judge(client, group("a [[unparsed]]", "b [[unparsed]]"))
    assert (result.status, result.scores, result.scores_from) == ("unparsed", [None] * 2, [0] * 2)
    assert result.order_consistency is None


async def test_incomplete_responses_take_no_part(client: httpx2.AsyncClient) -> None:
    """No score, no comparison; their places in the lists are kept."""
    item = group(*points(7, 3, 9, 5), complete=[True, False, True, True])
    (result,) = await judge(client, item)
    assert result.status == "ok"
    assert result.scores == [7.0, None, 9.0, 5.0]
    assert result.scores_from == [4, 0, 4, 4]
    assert {index for one in result.comparisons for index in (one.first, one.second)} == {0, 2, 3}


async def test_an_empty_response_is_judged_like_any_other(client: httpx2.AsyncClient) -> None:
    """A policy that ends at once does not cost its group the scores."""
    (result,) = await judge(client, group("", *points(4, 2)))
    assert result.status == "ok"
    assert result.scores[1:] == [4.0, 2.0]
    assert result.scores[0] is not None
    assert result.scores_from == [4, 4, 4]


async def test_a_group_of_one_is_invalid_and_the_others_are_served(
    client: httpx2.AsyncClient,
) -> None:
    """One response, or one complete one, cannot be compared: no division by zero."""
    results = await judge(
        client,
        group("alone"),
        group("a", "b", complete=[True, False]),
        group("a", "b", complete=[True]),
        group(*points(4, 2)),
        {"responses": []},
    )
    assert [result.status for result in results] == [*["invalid"] * 3, "ok", "invalid"]
    assert results[0].error is not None
    assert "needs two" in results[0].error
    # Lists keep one entry per response, whatever is wrong with the group.
    assert [result.scores for result in results[:3]] == [[None], [None, None], [None, None]]
    assert [result.scores_from for result in results[:3]] == [[0], [0, 0], [0, 0]]


async def test_identical_responses_are_judged_once(
    client: httpx2.AsyncClient, engine: FakeEngine
) -> None:
    """Copies share the score of the first, and comparisons name the first."""
    before = engine.finished
    good, bad = points(7, 3)
    (result,) = await judge(client, group(good, bad, good, good))
    assert engine.finished - before == 2
    assert result.scores == [7.0, 3.0, 7.0, 7.0]
    assert result.scores_from == [2, 2, 2, 2]
    assert {(one.first, one.second) for one in result.comparisons} == {(0, 1), (1, 0)}


async def test_copies_of_one_text_are_compared_with_it_once(
    client: httpx2.AsyncClient, engine: FakeEngine
) -> None:
    """Every copy has the mean of the two scores, which no position favours."""
    before = engine.finished
    item = group("same [[first_wins]][[quality=5]]", "x", "same [[first_wins]][[quality=5]]")
    (result,) = await judge(client, {**item, "complete": [True, False, True]})
    assert engine.finished - before == 1
    assert [(one.first, one.second, one.scores) for one in result.comparisons] == [(0, 0, (6, 5))]
    assert result.scores == [5.5, None, 5.5]
    assert result.scores_from == [1, 0, 1]
    assert result.order_consistency is None


async def test_several_judgements_of_a_comparison_are_averaged(client: httpx2.AsyncClient) -> None:
    """K samples: the mean of the good ones, their number, and the first good text."""
    (result,) = await judge(client, group(*points(7, 3)), critiques=4)
    assert [one.critiques_ok for one in result.comparisons] == [4, 4]
    (some,) = await judge(client, group("a [[some_unparsed]]", "b"), critiques=4, seed=1)
    assert [one.critiques_ok for one in some.comparisons] == [2, 2]
    assert some.status == "ok"
    assert all(one.critique is not None and "boxed" in one.critique for one in some.comparisons)
    (again,) = await judge(client, group("a [[some_unparsed]]", "b"), critiques=4, seed=1)
    assert again == some


@pytest.mark.parametrize("aggregate", ["mean", "additive", "win_rate", "bradley_terry"])
async def test_every_aggregation_keeps_a_clear_order(
    client: httpx2.AsyncClient, aggregate: str
) -> None:
    """A judge without doubt: whichever way, best to worst is best to worst."""
    (result,) = await judge(client, group(*points(2, 9, 5, 7)), aggregate=aggregate)
    assert None not in result.scores
    assert sorted(range(4), key=lambda i: result.scores[i] or 0) == [0, 2, 3, 1]


async def test_a_picture_is_decoded_once_per_group(
    client: httpx2.AsyncClient, engine: FakeEngine
) -> None:
    """All comparisons of a group see the same picture in memory."""
    engine.pictures_seen.clear()
    await judge(client, group(*points(1, 2, 3, 4)))
    assert len(engine.pictures_seen) == 12
    assert len({id(picture) for picture in engine.pictures_seen}) == 1


async def test_a_broken_picture_fails_its_group_alone(client: httpx2.AsyncClient) -> None:
    """Every comparison says so, and the other group is served."""
    broken = group(*points(1, 2), images=[encode(b"no picture")])
    bad, good = await judge(client, broken, group(*points(1, 2)))
    assert bad.status == "image_error"
    assert [one.status for one in bad.comparisons] == ["image_error"] * 2
    assert bad.scores == [None, None]
    assert good.status == "ok"
    page = (await client.get("/metrics")).text
    assert 'mmreward_comparisons_total{model="fake",status="image_error"} 2.0' in page


@pytest.mark.parametrize(
    ("marker", "status"),
    [("[[too_long]]", "too_long"), ("[[fault]]", "internal"), ("[[refused_image]]", "image_error")],
)
async def test_whatever_the_engine_refuses_is_a_status(
    client: httpx2.AsyncClient, marker: str, status: str
) -> None:
    """Of the comparisons that it refuses; the prompt is not in the error."""
    (result,) = await judge(client, group(*points(7, 3), marker))
    assert {one.status for one in result.comparisons if 2 in (one.first, one.second)} == {status}
    assert result.scores == [7.0, 3.0, None]
    assert "quality" not in (result.error or "")


async def test_at_the_deadline_what_is_finished_counts(
    client: httpx2.AsyncClient, engine: FakeEngine
) -> None:
    """The slow response has no score, the others have theirs, and nothing is left running."""
    (result,) = await judge(client, group(*points(7, 3), "[[slow]]"), deadline_ms=3000)
    assert result.status == "partial"
    assert result.scores == [7.0, 3.0, None]
    late = [one for one in result.comparisons if one.status == "deadline"]
    assert len(late) == 4
    assert engine.running == 0


async def test_an_engine_that_dies_in_the_middle_is_503_or_said_in_the_line(
    engine: FakeEngine, client: httpx2.AsyncClient
) -> None:
    """As one document the whole request is refused; in a stream the group is marked, and what was
    finished before keeps its score."""
    item = group(*points(7, 3), "z [[dead]]")
    reply = await client.post("/v1/groups", json={"items": [item]})
    assert (reply.status_code, reply.json()["error"]["code"]) == (503, "engine_stopped")
    async with serving(FakeEngine()) as other:
        lines = {"Accept": "application/x-ndjson"}
        reply = await other.post("/v1/groups", json={"items": [item]}, headers=lines)
    first, last = [json.loads(line) for line in reply.text.splitlines()]
    result = GroupResult.model_validate(first)
    assert result.status == "partial"
    assert result.scores == [7.0, 3.0, None]
    assert {one.status for one in result.comparisons} == {"ok", "internal"}
    assert last["object"] == "list"


async def test_groups_stream_as_they_are_finished(client: httpx2.AsyncClient) -> None:
    """A line per group, the slow one last, and together what the one document holds."""
    body = {"items": [group(*points(1, 2), "[[slow]]"), group(*points(3, 4))], "deadline_ms": 3000}
    reply = await client.post("/v1/groups", json=body, headers={"Accept": "application/x-ndjson"})
    *lines, last = [json.loads(line) for line in reply.text.splitlines()]
    assert [line["index"] for line in lines] == [1, 0]
    assert [line["status"] for line in lines] == ["ok", "partial"]
    assert last["usage"]["completion_tokens"] > 0


async def test_permits_are_comparisons_times_samples(engine: FakeEngine) -> None:
    """What can never fit is 413 before a comparison is made; what fits gives all permits back."""
    async with serving(engine, max_in_flight=24) as client:
        fits = group(*points(1, 2, 3, 4))
        before = engine.finished
        reply = await client.post("/v1/groups", json={"items": [fits], "critiques": 3})
        assert (reply.status_code, reply.json()["error"]["code"]) == (413, "max_in_flight")
        huge = group(*(str(n) for n in range(100_000)))
        reply = await client.post("/v1/groups", json={"items": [huge]})
        assert (reply.status_code, reply.json()["error"]["code"]) == (413, "max_in_flight")
        assert engine.finished == before
        await judge(client, fits, critiques=2)
        await judge(client, group(*points(1, 2), images=["nowhere"]), fits)
        assert "mmreward_critiques_in_flight 0.0" in (await client.get("/metrics")).text


async def test_comparisons_and_orders_are_counted(client: httpx2.AsyncClient) -> None:
    """By status; and pairs by whether both orders agree."""
    await judge(client, group(*points(7, 3), "[[unparsed]]"))
    await judge(client, group("[[first_wins]] a", "[[first_wins]] b"))
    page = (await client.get("/metrics")).text
    assert 'mmreward_comparisons_total{model="fake",status="ok"} 4.0' in page
    assert 'mmreward_comparisons_total{model="fake",status="unparsed"} 4.0' in page
    assert 'mmreward_comparisons_total{model="fake",status="deadline"} 0.0' in page
    assert 'mmreward_preference_swap_total{consistent="true"} 1.0' in page
    assert 'mmreward_preference_swap_total{consistent="false"} 1.0' in page


@pytest.mark.parametrize(
    ("options", "param"),
    [
        ({"orders": "one"}, "orders"),
        ({"comparisons": 0}, "comparisons"),
        ({"comparisons": "some"}, "comparisons"),
        ({"aggregate": "median"}, "aggregate"),
        ({"kind": "judge"}, "kind"),
    ],
)
async def test_wrong_options_refuse_the_request(
    client: httpx2.AsyncClient, options: dict[str, Any], param: str
) -> None:
    """422, and the field is named."""
    reply = await client.post("/v1/groups", json={"items": [group("a", "b")], **options})
    assert reply.status_code == 422
    assert reply.json()["error"]["param"].startswith(param)
