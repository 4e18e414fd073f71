"""`/v1/score`: every mode, every status, and numbers that are numbers or null."""

from __future__ import annotations

import asyncio
import math
from typing import Any

import httpx2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mmreward_client.schema import ScoreReply, ScoreResult
from mmreward_service.engine.fake import FakeEngine
from service_kit import encode, picture_bytes, picture_uri, serving


async def score(client: httpx2.AsyncClient, *items: Any, **options: Any) -> list[ScoreResult]:
    reply = await client.post("/v1/score", json={"items": list(items), **options})
    assert reply.status_code == 200, reply.text
    return ScoreReply.model_validate_json(reply.content).data


async def test_a_critique_and_its_score(client: httpx2.AsyncClient, item: dict[str, Any]) -> None:
    """Mode generate answers with the text, its score, and how it ended."""
    (result,) = await score(client, item)
    assert result.status == "ok"
    (critique,) = result.critiques
    assert critique.score == result.score
    assert critique.text
    assert critique.finish_reason == "stop"
    assert (result.critiques_ok, result.score_stderr) == (1, None)


async def test_a_given_critique_scores_what_it_scored_when_it_was_written(
    client: httpx2.AsyncClient, item: dict[str, Any]
) -> None:
    """Mode given is the same read-out on a text from outside."""
    (written,) = await score(client, item)
    text = written.critiques[0].text
    given_item = {**item, "mode": "given", "critique": text}
    (given_result,) = await score(client, given_item)
    assert given_result.score == written.score
    assert given_result.critiques[0].text == text
    (other,) = await score(client, {**given_item, "critique": "No."})
    assert other.score != written.score


async def test_mode_none_has_a_score_and_no_critique(
    client: httpx2.AsyncClient, item: dict[str, Any]
) -> None:
    """Without a critique there is nothing in the list and nothing is counted."""
    (result,) = await score(client, {**item, "mode": "none"})
    assert result.score is not None
    assert (result.critiques, result.critiques_ok) == ([], 0)


async def test_several_critiques_have_a_mean_and_a_standard_error(
    client: httpx2.AsyncClient, item: dict[str, Any]
) -> None:
    """score is the mean, score_stderr the standard deviation (n - 1) over the root of n."""
    (result,) = await score(client, item, critiques=4)
    scores = [critique.score for critique in result.critiques if critique.score is not None]
    assert len(set(scores)) == 4
    mean = sum(scores) / 4
    deviation = math.sqrt(sum((s - mean) ** 2 for s in scores) / 3)
    assert result.score == pytest.approx(mean)
    assert result.score_stderr == pytest.approx(deviation / 2)


async def test_some_good_critiques_are_enough(
    client: httpx2.AsyncClient, item: dict[str, Any]
) -> None:
    """The mean is over the good ones, and critiques_ok says how many these are."""
    (result,) = await score(client, {**item, "response": "[[some_truncated]]"}, critiques=4)
    assert [critique.status for critique in result.critiques] == ["ok", "truncated"] * 2
    good = [critique.score for critique in result.critiques if critique.score is not None]
    assert (result.status, result.critiques_ok) == ("ok", 2)
    assert result.score == pytest.approx(sum(good) / 2)
    (result,) = await score(client, {**item, "response": "[[some_unparsed]]"}, critiques=2)
    assert (result.status, result.critiques_ok, result.score_stderr) == ("ok", 1, None)


async def test_a_seed_repeats_and_a_place_in_the_batch_does_not_matter(
    client: httpx2.AsyncClient, item: dict[str, Any]
) -> None:
    """One seed, one item, one score: alone, among others, and first or last."""
    other = {**item, "response": "Another."}
    (alone,) = await score(client, item, critiques=2, seed=7)
    _, among = await score(client, other, item, critiques=2, seed=7)
    (reseeded,) = await score(client, item, critiques=2, seed=8)
    assert alone.score == among.score != reseeded.score


@pytest.mark.parametrize(
    ("marker", "status"),
    [
        ("[[truncated]]", "truncated"),
        ("[[unparsed]]", "unparsed"),
        ("[[not_finite]]", "not_finite"),
        ("[[refused_image]]", "image_error"),
        ("[[too_long]]", "too_long"),
        ("[[fault]]", "internal"),
    ],
)
async def test_a_failure_is_a_status_and_a_null(
    client: httpx2.AsyncClient, item: dict[str, Any], marker: str, status: str
) -> None:
    """Whatever the engine runs into, the item says so and its neighbours have their scores."""
    before, failed, after = await score(client, item, {**item, "response": marker}, item)
    assert (failed.status, failed.score, failed.critiques_ok) == (status, None, 0)
    assert failed.error
    assert before.score == after.score is not None


async def test_a_score_that_is_not_finite_is_never_sent(
    client: httpx2.AsyncClient, item: dict[str, Any]
) -> None:
    """Mode none and given report not_finite as well."""
    broken = {**item, "response": "[[not_finite]]"}
    results = await score(
        client, {**broken, "mode": "none"}, {**broken, "mode": "given", "critique": "c"}
    )
    assert [result.status for result in results] == ["not_finite"] * 2


async def test_an_engine_that_claims_a_nan_is_not_believed(item: dict[str, Any]) -> None:
    """A reading that says ok and holds a NaN is a failure of that critique."""
    async with serving(FakeEngine()) as client:
        app_engine = client._transport.app.state.service.engine  # type: ignore[attr-defined]
        app_engine._drift = math.nan
        (result,) = await score(client, item)
    assert (result.status, result.score) == ("not_finite", None)


BROKEN_ITEMS: dict[str, tuple[Any, str]] = {
    "not an object": (17, "invalid"),
    "null": (None, "invalid"),
    "a list": ([], "invalid"),
    "empty": ({}, "invalid"),
    "empty response": ({"prompt": "p", "response": ""}, "invalid"),
    "response of a wrong type": ({"prompt": "p", "response": 3}, "invalid"),
    "unknown field": ({"prompt": "p", "response": "r", "image": []}, "invalid"),
    "unknown mode": ({"prompt": "p", "response": "r", "mode": "guess"}, "invalid"),
    "given without critique": ({"prompt": "p", "response": "r", "mode": "given"}, "invalid"),
    "critique without given": ({"prompt": "p", "response": "r", "critique": "c"}, "invalid"),
    "no user turn": (
        {"prompt": [{"role": "system", "content": "s"}], "response": "r"},
        "invalid",
    ),
    "unknown key": ({"images": ["nowhere"], "prompt": "p", "response": "r"}, "invalid"),
    "an address": ({"images": ["https://x/y.png"], "prompt": "p", "response": "r"}, "invalid"),
    "a path": ({"images": ["/etc/passwd"], "prompt": "p", "response": "r"}, "invalid"),
    "too many images": (
        {"images": ["data:,"] * 9, "prompt": "p", "response": "r"},
        "invalid",
    ),
    "images and video": (
        {
            "images": ["data:,"],
            "video": {"frames": ["data:,"], "fps": 1},
            "prompt": "p",
            "response": "r",
        },
        "invalid",
    ),
    "too many frames": (
        {"video": {"frames": ["data:,"] * 65, "fps": 1}, "prompt": "p", "response": "r"},
        "invalid",
    ),
    "not an image": (
        {"images": [encode(b"no image")], "prompt": "p", "response": "r"},
        "image_error",
    ),
    "cut base64": (
        {"images": [picture_uri()[:-3]], "prompt": "p", "response": "r"},
        "image_error",
    ),
    "cut file": (
        {"images": [encode(picture_bytes()[:-20])], "prompt": "p", "response": "r"},
        "image_error",
    ),
    "too long": ({"prompt": "p" * 5000, "response": "r"}, "too_long"),
}


@pytest.mark.parametrize("name", BROKEN_ITEMS)
async def test_one_broken_item_among_a_hundred(
    client: httpx2.AsyncClient, item: dict[str, Any], name: str
) -> None:
    """The broken one says what is wrong with it; ninety-nine have their scores, in order."""
    broken, status = BROKEN_ITEMS[name]
    items: list[Any] = [{**item, "id": f"i{n}", "response": f"r{n}"} for n in range(100)]
    items[41] = {**broken, "id": "i41"} if isinstance(broken, dict) and broken else broken
    results = await score(client, *items)
    assert [result.index for result in results] == list(range(100))
    assert [result.status for result in results] == ["ok"] * 41 + [status] + ["ok"] * 58
    assert results[41].error
    assert results[41].score is None
    ids = [result.id for result in results]
    assert ids[:41] + ids[42:] == [f"i{n}" for n in range(100) if n != 41]
    if isinstance(broken, dict) and broken:
        assert ids[41] == "i41"


async def test_several_critiques_need_a_critique_to_write(
    client: httpx2.AsyncClient, item: dict[str, Any]
) -> None:
    """critiques > 1 makes no sense where nothing is sampled: those items are invalid."""
    items = [item, {**item, "mode": "none"}, {**item, "mode": "given", "critique": "c"}]
    results = await score(client, *items, critiques=2)
    assert [result.status for result in results] == ["ok", "invalid", "invalid"]


async def test_a_limit_on_the_critique_cuts_it(
    client: httpx2.AsyncClient, item: dict[str, Any]
) -> None:
    """max_critique_tokens smaller than the critique is `truncated`, with the text so far."""
    (result,) = await score(client, item, max_critique_tokens=5)
    assert result.status == "truncated"
    assert result.critiques[0].finish_reason == "length"
    assert result.critiques[0].tokens == 5
    assert result.critiques[0].text == " The "


async def test_the_deadline_stops_what_is_late_and_keeps_what_is_done(
    client: httpx2.AsyncClient, engine: FakeEngine, item: dict[str, Any]
) -> None:
    """Late items are `deadline`, and their requests are gone from the engine."""
    results = await score(client, item, {**item, "response": "[[slow]]"}, deadline_ms=400)
    assert [result.status for result in results] == ["ok", "deadline"]
    assert (engine.aborted, engine.running) == (1, 0)


async def test_the_media_are_shared_and_decoded_once(
    client: httpx2.AsyncClient, engine: FakeEngine, item: dict[str, Any]
) -> None:
    """Sixteen responses about one upload: the engine sees one picture."""
    items = [{**item, "images": ["k"], "response": f"r{n}"} for n in range(16)]
    engine.pictures_seen.clear()
    results = await score(client, *items, media={"k": picture_uri((500, 400))})
    assert {result.status for result in results} == {"ok"}
    assert len(engine.pictures_seen) == 16
    assert len({id(picture) for picture in engine.pictures_seen}) == 1


async def test_the_number_of_pictures_in_memory_is_bounded(item: dict[str, Any]) -> None:
    """With room for one picture at a time all items are served; what can never fit is refused."""
    async with serving(max_pixels_in_flight=500 * 400) as client:
        items = [{**item, "images": [picture_uri((500, 400), n)]} for n in range(5)]
        items.append({**item, "images": [picture_uri((500, 401))]})
        results = await score(client, *items)
    assert [result.status for result in results] == ["ok"] * 5 + ["image_error"]


async def test_chat_messages_and_video(client: httpx2.AsyncClient) -> None:
    """A conversation and a video are scored like a question and a picture."""
    prompt = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "What moves?"},
        {"role": "assistant", "content": "A ball."},
        {"role": "user", "content": "Where to?"},
    ]
    video = {"frames": [picture_uri(shade=1), picture_uri(shade=2)], "fps": 2.0}
    results = await score(
        client,
        {"video": video, "prompt": prompt, "response": "Left."},
        {"video": {**video, "fps": 4.0}, "prompt": prompt, "response": "Left."},
        {"prompt": prompt, "response": "Left."},
    )
    assert {result.status for result in results} == {"ok"}
    assert len({result.score for result in results}) == 3


async def test_usage_counts_the_tokens_of_all_items(
    client: httpx2.AsyncClient, item: dict[str, Any]
) -> None:
    """Prompt and completion tokens are sums over items and critiques."""
    reply = (await client.post("/v1/score", json={"items": [item, item], "critiques": 3})).json()
    tokens = [one["tokens"] for result in reply["data"] for one in result["critiques"]]
    assert reply["usage"]["completion_tokens"] == sum(tokens)
    assert reply["usage"]["prompt_tokens"] > 0
    assert reply["timings"]["total_s"] >= reply["timings"]["engine_s"] > 0


scalars = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8)
)
json_values = (
    scalars
    | st.lists(scalars, max_size=3)
    | st.dictionaries(st.text(max_size=8), scalars, max_size=3)
    | st.lists(st.lists(scalars, max_size=2), max_size=2)
)
broken_items = st.one_of(
    json_values,
    st.fixed_dictionaries(
        {"prompt": json_values, "response": json_values},
        optional={"images": json_values, "mode": json_values, "critique": json_values},
    ),
)


@settings(max_examples=15)
@given(broken=st.lists(broken_items, min_size=1, max_size=8))
async def test_no_item_can_break_its_neighbour(broken: list[Any]) -> None:
    """Any JSON values as items: their neighbour is scored, and a failure has no number."""
    async with serving() as client:
        good = {"prompt": "p", "response": "r"}
        *results, last = await score(client, *broken, good)
    assert last.status == "ok"
    for result in results:
        assert (result.score is None) == (result.status != "ok")


async def test_requests_side_by_side_do_not_mix(
    client: httpx2.AsyncClient, item: dict[str, Any]
) -> None:
    """Sixty-four requests at once get the scores they get alone."""
    items = [{**item, "response": f"response {n}"} for n in range(64)]
    together = await asyncio.gather(*(score(client, one) for one in items))
    alone = await score(client, *items)
    assert [result[0].score for result in together] == [result.score for result in alone]
