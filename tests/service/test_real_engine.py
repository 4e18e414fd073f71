"""The bundled model behind the real command: every status, caused for real on vLLM."""

from __future__ import annotations

import json
import re
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from mmreward_client import dynamic_beta
from mmreward_client.schema import PairsReply, ScoreReply, ScoreResult
from mmreward_service.reward.checkpoint import load_spec
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_families
from service_kit import encode, picture, picture_bytes, picture_uri
from service_kit.real import DIGITS, ServiceClient, real_service

pytestmark = [pytest.mark.vllm, pytest.mark.slow, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceClient]:
    log = tmp_path_factory.mktemp("service") / "log"
    with real_service(DIGITS, log, stall_after_s=2) as client:
        yield client


@pytest.fixture(scope="module")
def items() -> list[dict[str, Any]]:
    """Pictures and answers that the checkpoint carries with it."""
    return [
        {"images": [golden.image], "prompt": golden.prompt, "response": golden.response}
        for golden in load_spec(DIGITS).golden
    ]


def score(service: ServiceClient, items: list[Any], **options: Any) -> list[ScoreResult]:
    reply = service.post("/v1/score", json={"items": items, **options})
    assert reply.status_code == 200, reply.text
    return ScoreReply.model_validate_json(reply.content).data


def metric(service: ServiceClient, name: str) -> float:
    """Sum of a metric over its labels."""
    text = service.get("/metrics").text
    values = re.findall(rf"^{re.escape(name)}(?:{{[^}}]*}})? (\S+)$", text, re.MULTILINE)
    assert values, f"{name} is not exported"
    return sum(float(value) for value in values)


def wait_until_idle(service: ServiceClient) -> None:
    end = time.monotonic() + 120
    while metric(service, "vllm:num_requests_running") + metric(
        service, "vllm:num_requests_waiting"
    ):
        assert time.monotonic() < end, "requests are left in the engine"
        time.sleep(0.2)


def test_ready_with_the_golden_scores_of_the_trainer(service: ServiceClient) -> None:
    """What transformers computed at training, vLLM reads within 1e-4."""
    reply = service.get("/ready")
    assert reply.status_code == 200, reply.text
    assert reply.json()["parity_error"] <= 1e-4


def test_a_critique_is_written_and_its_score_is_that_of_the_given_text(
    service: ServiceClient, items: list[dict[str, Any]]
) -> None:
    """Generate and given agree where the text re-tokenises to the tokens that wrote it."""
    written = score(service, items)
    assert {result.status for result in written} == {"ok"}
    texts = [result.critiques[0].text for result in written]
    assert all(texts)
    given = [{**item, "mode": "given", "critique": t} for item, t in zip(items, texts, strict=True)]
    again = score(service, given)
    close = [
        one.score == pytest.approx(other.score, abs=1e-3)
        for one, other in zip(written, again, strict=True)
    ]
    assert sum(close) >= len(close) - 1


def test_sampled_critiques_have_a_spread_and_a_seed_repeats_them(
    service: ServiceClient, items: list[dict[str, Any]]
) -> None:
    """K critiques of one prefill; the same seed writes the same texts."""
    one, again = (score(service, items[:2], critiques=4, seed=3) for _ in range(2))
    for first, second in zip(one, again, strict=True):
        assert len(first.critiques) == 4
        assert [c.text for c in first.critiques] == [c.text for c in second.critiques]
        good = [c for c in first.critiques if c.status == "ok"]
        assert first.critiques_ok == len(good)


def test_one_broken_item_of_each_kind_among_a_hundred(
    service: ServiceClient, items: list[dict[str, Any]]
) -> None:
    """Each broken item gets its own status; everybody else is scored, in order."""
    item = items[0]
    long_picture = encode(picture_bytes(picture((3000, 1))))
    broken: dict[int, tuple[Any, str]] = {
        3: ("not an object", "invalid"),
        11: ({**item, "response": ""}, "invalid"),
        20: ({**item, "images": ["nowhere"]}, "invalid"),
        31: ({**item, "images": [encode(b"not a picture")]}, "image_error"),
        45: ({**item, "images": [item["images"][0][:-5]]}, "image_error"),
        58: ({**item, "images": [long_picture]}, "image_error"),
        77: ({**item, "prompt": "how many? " * 3000}, "too_long"),
    }
    batch = [broken[n][0] if n in broken else items[n % len(items)] for n in range(100)]
    results = score(service, batch)
    assert [result.index for result in results] == list(range(100))
    for n, result in enumerate(results):
        expected = broken[n][1] if n in broken else "ok"
        assert result.status == expected, (n, result.error)
        assert (result.score is None) == (expected != "ok")
        assert bool(result.error) == (expected != "ok")


def test_a_critique_that_is_cut_is_truncated(
    service: ServiceClient, items: list[dict[str, Any]]
) -> None:
    """Without its end a critique has no score, and the text so far is shown."""
    for result in score(service, items, max_critique_tokens=2):
        assert (result.status, result.score) == ("truncated", None)
        assert result.critiques[0].finish_reason == "length"
        assert result.critiques[0].tokens == 2


def test_mode_none_reads_one_score(service: ServiceClient, items: list[dict[str, Any]]) -> None:
    """A score without a critique costs one token and is finite."""
    for result in score(service, [{**item, "mode": "none"} for item in items]):
        assert result.status == "ok"
        assert result.critiques == []


def test_pairs_have_margin_probability_and_beta(
    service: ServiceClient, items: list[dict[str, Any]]
) -> None:
    """beta is the client's formula on the margin; prob stands where there is a calibration."""
    item = items[0]
    pair = {
        "images": item["images"],
        "prompt": item["prompt"],
        "chosen": item["response"],
        "rejected": "A purple giraffe.",
    }
    reply = service.post("/v1/pairs", json={"items": [pair, {**pair, "images": ["nowhere"]}]})
    good, bad = PairsReply.model_validate_json(reply.content).data
    assert good.delta is not None
    assert good.chosen is not None
    assert good.rejected is not None
    assert good.chosen.score is not None
    assert good.rejected.score is not None
    assert good.delta == good.chosen.score - good.rejected.score
    assert good.beta == dynamic_beta(good.delta)
    calibrated = load_spec(DIGITS).find_calibration("generate", 1) is not None
    assert (good.prob is not None) == calibrated
    assert (bad.status, bad.delta, bad.beta) == ("invalid", None, None)


def test_text_alone_has_rewards_or_an_error(service: ServiceClient) -> None:
    """/get_reward: as many finite numbers as queries, or a refusal."""
    prompt = "Which digit is it?"
    body = {"query": [prompt + " A four.", prompt + " A cat."], "prompts": [prompt] * 2}
    reply = service.post("/get_reward", json=body)
    assert reply.status_code in (200, 422), reply.text
    if reply.status_code == 200:
        assert len(reply.json()["rewards"]) == 2
    else:
        assert reply.json()["error"]["code"] == "not_scored"


def test_lines_arrive_one_by_one(service: ServiceClient, items: list[dict[str, Any]]) -> None:
    """Every item once, the rest last."""
    headers = {"Accept": "application/x-ndjson"}
    with service.stream("POST", "/v1/score", json={"items": items}, headers=headers) as reply:
        *lines, last = [json.loads(line) for line in reply.iter_lines()]
    assert sorted(line["index"] for line in lines) == list(range(len(items)))
    assert last["usage"]["completion_tokens"] > 0


def test_a_deadline_takes_its_requests_out_of_the_engine(
    service: ServiceClient, items: list[dict[str, Any]]
) -> None:
    """Too much work for the time: late items are `deadline`, and the engine is idle soon."""
    batch = [{**items[0], "images": [picture_uri((28, 28), n)]} for n in range(60)]
    reply = service.post(
        "/v1/score", json={"items": batch, "critiques": 16, "temperature": 2.0, "deadline_ms": 300}
    )
    if reply.status_code == 504:  # a machine so busy that none reached the engine
        return
    results = ScoreReply.model_validate_json(reply.content).data
    late = [result for result in results if result.status == "deadline"]
    assert late
    assert all(result.score is None for result in late)
    wait_until_idle(service)
    assert score(service, items[:1])[0].status == "ok"


def test_pictures_of_an_aborted_request_are_scored_when_they_come_again(
    service: ServiceClient, items: list[dict[str, Any]]
) -> None:
    """What was cut off on its way to the engine leaves nothing behind that spoils the next try."""
    for attempt in range(3):
        batch = [{**items[0], "images": [picture_uri((40 + attempt, 28), n)]} for n in range(30)]
        options = {"critiques": 16, "temperature": 2.0, "deadline_ms": 400}
        service.post("/v1/score", json={"items": batch, **options})
        assert {result.status for result in score(service, batch)} == {"ok"}


def test_hanging_up_takes_the_requests_out_of_the_engine(
    service: ServiceClient, items: list[dict[str, Any]]
) -> None:
    """A caller who closes the connection leaves no work behind, and no permit is lost."""
    batch = [{**items[0], "images": [picture_uri((28, 28), n)]} for n in range(60)]
    body = json.dumps({"items": batch, "critiques": 16, "temperature": 2.0}).encode()
    address = ("127.0.0.1", service.base_url.port)
    with socket.create_connection(address) as connection:
        head = f"POST /v1/score HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
        connection.sendall(head.encode() + body)
        end = time.monotonic() + 120
        while not metric(service, "vllm:num_requests_running"):
            assert time.monotonic() < end
            time.sleep(0.02)
    cancelled = 'outcome="cancelled",route="/v1/score"'
    end = time.monotonic() + 120
    while f"{cancelled}}} 1.0" not in service.get("/metrics").text:
        assert time.monotonic() < end
        time.sleep(0.1)
    wait_until_idle(service)
    assert metric(service, "mmreward_critiques_in_flight") == 0
    assert score(service, items[:1])[0].status == "ok"


def test_the_metrics_of_the_engine_are_on_the_same_page(
    service: ServiceClient, items: list[dict[str, Any]]
) -> None:
    """Ours and vLLM's, one scrape in either format; both count the same tokens."""
    ours = [f"mmreward_{kind}_tokens_total" for kind in ("prompt", "completion")]
    theirs = ["vllm:prompt_tokens_total", "vllm:generation_tokens_total"]
    before = [metric(service, name) for name in ours + theirs]
    score(service, items)
    wait_until_idle(service)
    gained = [metric(service, name) - old for name, old in zip(ours + theirs, before, strict=True)]
    assert gained[0] > 0
    assert gained[:2] == gained[2:]
    assert metric(service, "mmreward_ready") == 1
    page = service.get("/metrics", headers={"Accept": "application/openmetrics-text"}).text
    names = {sample.name for family in open_families(page) for sample in family.samples}
    assert {*ours, *theirs, "vllm:e2e_request_latency_seconds_bucket"} <= names
    assert not any(name.endswith("_created") for name in names)


def engine_process(service: ServiceClient) -> Any:
    import psutil  # comes with vLLM

    children = psutil.Process(service.process.pid).children(recursive=True)
    return next(child for child in children if "EngineCore" in child.name())


def test_an_engine_that_hangs_is_not_ready_until_it_goes_on(
    service: ServiceClient, items: list[dict[str, Any]]
) -> None:
    """vLLM's process is stopped while it has a question: health is well, /ready is not."""
    engine = engine_process(service)
    engine.suspend()
    with ThreadPoolExecutor(1) as pool:
        pending = pool.submit(score, service, items[:1])
        try:
            end = time.monotonic() + 60
            while (ready := service.get("/ready")).status_code == 200:
                assert time.monotonic() < end
                time.sleep(0.2)
            assert ready.json()["error"]["code"] == "engine_stalled"
            assert service.get("/health").status_code == 200
            assert metric(service, "mmreward_ready") == 0
            assert metric(service, "mmreward_engine_silence_seconds") > 2
            assert not pending.done()
        finally:
            engine.resume()
        assert pending.result()[0].status == "ok"
    assert service.get("/ready").status_code == 200
    assert metric(service, "mmreward_engine_silence_seconds") == 0


def test_an_engine_that_dies_is_503_and_not_ready(
    service: ServiceClient, items: list[dict[str, Any]]
) -> None:
    """The last test: vLLM's process is killed while it works. Nobody gets a number."""
    batch = {"items": items * 8, "critiques": 16, "temperature": 2.0}
    with ThreadPoolExecutor(1) as pool:
        pending = pool.submit(service.post, "/v1/score", json=batch)
        while not metric(service, "vllm:num_requests_running"):
            time.sleep(0.02)
        engine_process(service).kill()
        reply = pending.result()
    assert (reply.status_code, reply.json()["error"]["code"]) == (503, "engine_stopped")
    ready = service.get("/ready")
    assert (ready.status_code, ready.json()["error"]["code"]) == (503, "engine_stopped")
    again = service.post("/v1/score", json={"items": items})
    assert again.status_code == 503
    assert "Retry-After" in again.headers
    assert service.get("/health").status_code == 200
