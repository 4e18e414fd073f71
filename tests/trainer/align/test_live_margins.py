"""Margins from a service that runs: over real HTTP, from the service for tests."""

from __future__ import annotations

import pickle
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from mmreward_client import RewardClient
from mmreward_client.testing import Fault, LocalService
from mmreward_service.engine.fake import FakeEngine
from mmreward_trainer.align import live_margins
from mmreward_trainer.align.live_ahead import LiveMargins, LookAhead
from mmreward_trainer.align.live_margins import MarginServiceError, ServiceMargins
from mmreward_trainer.align.live_pairs import LivePair, live_pairs
from mmreward_trainer.align.margins import Margin, MarginError
from service_kit.threaded import running

from .conftest import example


@pytest.fixture
def service() -> Iterator[LocalService]:
    with LocalService() as service:
        yield service


@pytest.fixture
def source(service: LocalService) -> Iterator[ServiceMargins]:
    found = ServiceMargins([service.url], timeout_s=30.0, max_lost_calls=3)
    yield found
    found.close()


def rows(*numbers: int, **more: Any) -> list[dict[str, Any]]:
    return [example(number, **more) for number in numbers]


def texts(row: dict[str, Any]) -> dict[str, Any]:
    return {name: row[name][0]["content"] for name in ("prompt", "chosen", "rejected")}


def truth(service: LocalService, some: list[dict[str, Any]], name: str = "delta") -> list[float]:
    """What the service says of each of them alone, by the plain client."""
    with RewardClient(service.url) as client:
        items = [texts(row) | {"images": row["images"]} for row in some]
        return [getattr(client.pairs([item]).data[0], name) for item in items]


def test_margins_are_those_of_the_pairs(service: LocalService, source: ServiceMargins) -> None:
    """In the order of the rows; a calibrated one where that is the basis."""
    some = rows(3, 0, 2)
    assert source.margins(some) == [Margin(one) for one in truth(service, some)]
    other = ServiceMargins([service.url], basis="calibrated")
    assert other.margins(some) == [Margin(o) for o in truth(service, some, "delta_calibrated")]
    other.close()


def test_equal_contents_are_asked_about_once(
    service: LocalService, source: ServiceMargins, tmp_path: Path
) -> None:
    """In one batch, in a later epoch, and as a row of the other form; a picture is content."""
    some = rows(1, 2)
    found = source.margins([*some, some[0]])
    assert found[0] == found[2] != found[1]
    some[0]["images"][0].save(tmp_path / "1.png")
    table_row = texts(some[0]) | {"images": [{"path": str(tmp_path / "1.png"), "bytes": None}]}
    table_row["images"].append({"path": None, "bytes": (tmp_path / "1.png").read_bytes()})
    assert source.margins(rows(2, 1)) == [found[1], found[0]]
    assert source.asked == 2
    # The same pixels in other bytes, and two of them: another pair to the service.
    assert source.margins([table_row]) != [found[0]]
    changed = rows(1)
    changed[0]["images"][0].putpixel((0, 0), (1, 2, 3))
    assert source.margins(changed) != [found[0]]


def test_the_cache_is_bounded(service: LocalService) -> None:
    """The pair that was needed longest ago goes first; with 0 nothing is kept."""
    source = ServiceMargins([service.url], cache_pairs=2)
    for number, asked in ((0, 1), (1, 2), (0, 2), (2, 3), (0, 3), (1, 4)):
        source.margins(rows(number))
        assert source.asked == asked
    source.close()


def test_null_is_no_margin_and_is_asked_again(
    service: LocalService, source: ServiceMargins
) -> None:
    """With the status as the reason."""
    service.script(Fault("null", status="truncated"))
    assert source.margins(rows(1)) == [Margin(None, "truncated")]
    assert source.margins(rows(1)) == [Margin(one) for one in truth(service, rows(1))]


def test_a_lost_call_costs_margins_and_too_many_stop(service: LocalService) -> None:
    """What another attempt may cure; a good answer in between starts the count anew."""
    source = ServiceMargins([service.url], timeout_s=2.0, max_lost_calls=3)
    busy = Fault("overloaded", retry_after_s=60)
    service.script(busy, busy, None, busy, Fault("silent"), busy)
    assert source.margins(rows(1)) == [Margin(None, "Overloaded")]
    assert source.margins(rows(1)) == [Margin(None, "Overloaded")]
    assert source.margins(rows(1))[0].value is not None
    assert source.margins(rows(2)) == [Margin(None, "Overloaded")]
    assert source.margins(rows(2)) == [Margin(None, "DeadlineExceeded")]
    with pytest.raises(MarginServiceError, match="3 requests in a row without a margin"):
        source.margins(rows(2))
    assert source.events.tally.counts["CallFailed/Overloaded"] == 4
    source.close()


def test_answers_without_any_margin_stop_the_run_too(service: LocalService) -> None:
    """A model whose critiques cannot be read answers every request, and teaches nothing."""
    source = ServiceMargins([service.url], max_lost_calls=3)
    null = Fault("null", status="unparsed")
    service.script(null, null, None, null, null, null)
    for _ in range(2):
        assert source.margins(rows(1, 2)) == [Margin(None, "unparsed")] * 2
    assert source.margins(rows(1))[0].value is not None
    for _ in range(2):
        source.margins(rows(2))
    with pytest.raises(MarginServiceError, match=r"3 requests in a row without a margin.*unparsed"):
        source.margins(rows(2))
    source.close()


@pytest.mark.parametrize(
    ("fault", "said"),
    [("other_model", "PinMismatch"), ("malformed", "ProtocolError"), ("wrong_id", "ProtocolError")],
)
def test_what_no_attempt_cures_stops_at_once(
    service: LocalService, source: ServiceMargins, fault: Any, said: str
) -> None:
    """No number of such an answer is used."""
    source.fingerprint = source.model_now()
    service.script(Fault(fault))
    with pytest.raises(MarginServiceError, match=said):
        source.margins(rows(1))


def test_a_batch_that_is_too_large_goes_in_halves() -> None:
    """Each pair has the δ it has alone; one that is too large by itself has none."""
    noise = np.random.default_rng(0).integers(0, 255, (5, 180, 180, 3), dtype=np.uint8)
    some = [{**row, "images": [noise[i, :60, :60]]} for i, row in enumerate(rows(*range(4)))]
    large = {**example(4), "images": [noise[4]]}
    with running(FakeEngine(), max_body_bytes=40_000) as url:
        source, alone = ServiceMargins([url]), ServiceMargins([url])
        found = source.margins([*some[:2], large, *some[2:]])
        assert found[2].value is None
        assert found[2].reason == "too_large"
        del found[2]
        assert found == [alone.margins([row])[0] for row in some]
        assert source.events.tally.counts["CallFailed"] > 1
        source.close()
        alone.close()
    with running(FakeEngine(), max_in_flight=1) as url:
        source = ServiceMargins([url])
        with pytest.raises(MarginServiceError, match="max_in_flight is 1"):
            source.margins(some[:1])
        source.close()


def test_processes_are_not_kept_waiting_for_longer_than_their_group_allows() -> None:
    """A step waits for all batches that are accumulated, so many at once."""
    source = ServiceMargins(["http://a:1"], timeout_s=100.0, concurrency=4, look_ahead=8)
    assert [source.options.longest_wait_s(n) for n in (1, 4, 5, 16)] == [100.0, 100.0, 200.0, 400.0]
    alone = replace(source.options, look_ahead=0)
    assert alone.longest_wait_s(16) == 1600.0
    args: Any = SimpleNamespace(
        basis="raw", beta_rule="paper", world_size=2, ddp_timeout=300, gradient_accumulation_steps=8
    )
    LiveMargins(source, args)
    args.gradient_accumulation_steps = 9
    with pytest.raises(ValueError, match="may wait 300 s"):
        LiveMargins(source, args)
    source.close()


def test_a_changed_model_is_refused_by_the_service(
    service: LocalService, source: ServiceMargins
) -> None:
    """The pin goes with every request: nothing is computed."""
    source.margins(rows(1))
    service.fingerprint = "new weights"
    with pytest.raises(MarginServiceError, match="PinMismatch"):
        source.margins(rows(2))


def test_a_missing_calibration_is_no_null(source: ServiceMargins) -> None:
    """Every pair would be dropped; it is told once, instead."""
    with LocalService(is_calibrated=False) as service:
        calibrated = ServiceMargins([service.url], basis="calibrated")
        with pytest.raises(MarginServiceError, match="no calibration"):
            calibrated.margins(rows(1))
        calibrated.close()


def test_so_many_at_once_and_in_order() -> None:
    """What the next step waits for is never behind what a later one will need."""
    with LocalService(latency_s=0.05) as service:
        source = ServiceMargins([service.url], concurrency=2)
        some = [live_pairs(rows(number)) for number in range(8)]
        pending = [source.begin(pairs) for pairs in some]
        for one in pending:
            source.margins_of(one)
        assert service.most_in_flight == 2
        order = [asked.items[0]["chosen"] for asked in service.asked]
        wanted = [pairs[0].item["chosen"] for pairs in some]
        for place in range(0, 8, 2):
            assert set(order[place : place + 2]) == set(wanted[place : place + 2])
        source.close()


def test_waiting_for_a_turn_is_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    """Held-out pairs stand behind all batches that are held back: that takes as long as it takes,
    and every request has its own time."""
    monkeypatch.setattr(live_margins, "_SLACK_S", 0.1)
    with LocalService(latency_s=0.3) as service:
        source = ServiceMargins([service.url], concurrency=1, timeout_s=1.0)
        held = [source.begin(live_pairs(rows(number))) for number in range(8)]
        assert source.margins(rows(9)) == [Margin(one) for one in truth(service, rows(9))]
        assert all(one.done() for one in held)
        source.close()


def test_closing_does_not_wait(service: LocalService, source: ServiceMargins) -> None:
    """A request that nobody needs any more is let go; the source can be used again."""
    service.script(Fault("silent"))
    pending = source.begin(live_pairs(rows(1)))
    while not service.in_flight:
        time.sleep(0.005)
    begun = time.monotonic()
    source.close()
    assert time.monotonic() - begun < 5.0
    assert pending.cancelled()
    assert source.margins(rows(1))[0].value is not None


def test_rows_that_cannot_be_asked_about_are_named(source: ServiceMargins) -> None:
    """By their name, before anything is sent: for texts as for pictures."""
    lost = {"id": "q7", "prompt": "x", "chosen": "y", "rejected": "z",
            "images": [{"path": "no-such.png", "bytes": None}]}  # fmt: skip
    with pytest.raises(MarginError, match=r"row q7.*no-such\.png"):
        source.margins([lost])
    for change, said in (
        ({"chosen": []}, "a completion of 0 messages"),
        ({"prompt": [{"role": "tool", "content": "x"}]}, "'tool'"),
    ):
        with pytest.raises(MarginError, match=f"row q7.*{said}"):
            live_pairs(rows(1, id="q7", **change))
    with pytest.raises(MarginError, match="row q7: no column 'rejected'"):
        live_pairs([{"id": "q7", "prompt": "x", "chosen": "y"}])


def test_options_are_checked_and_the_key_is_not_shown(source: ServiceMargins) -> None:
    """At construction; it can be pickled, with its key and without its margins."""
    for wrong in ({"look_ahead": -1}, {"concurrency": 0}, {"basis": "cooked"}, {"pin": ""},
                  {"timeout_s": 0.0}, {"urls": "http://a"}, {"max_lost_calls": 0}):  # fmt: skip
        with pytest.raises(ValueError, match=next(iter(wrong))):
            ServiceMargins(**{"urls": ["http://a"], **wrong})
    keyed = ServiceMargins(["http://a"], api_key="sk-secret", look_ahead=3)
    assert "sk-secret" not in repr(keyed.options)
    assert pickle.loads(pickle.dumps(keyed)).options == keyed.options


@pytest.mark.parametrize("look_ahead", [0, 1, 3, 20])
def test_batches_are_held_back(look_ahead: int) -> None:
    """Each is asked about `look_ahead` batches before it is handed out, and none is lost."""
    begun: list[int] = []
    leads = []
    batches = LookAhead(
        iter([{"number": i} for i in range(8)]),
        look_ahead,
        lambda batch: begun.append(batch["number"]),  # type: ignore[arg-type, func-returns-value]
        lambda batch, pending: batch,
    )
    for place, batch in enumerate(batches):
        assert batch["number"] == place
        leads.append(len(begun) - place - 1)
    assert leads == [min(look_ahead, 7 - place) for place in range(8)]


def test_a_pair_is_what_the_client_takes() -> None:
    """Texts without the policy's template, pictures as they are."""
    row = rows(1)[0]
    (pair,) = live_pairs([{**row, "where": "a.jsonl:3"}])
    assert pair == LivePair("a.jsonl:3", texts(row) | {"images": row["images"]})
