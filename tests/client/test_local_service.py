"""The service for the tests of trainers: right, and wrong where it is told to."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import socket
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import httpx2
import pytest
from mmreward_client import (
    DeadlineExceeded,
    InvalidInput,
    NotReady,
    Overloaded,
    PinMismatch,
    ProtocolError,
    RetryPolicy,
    RewardClient,
    ServerError,
    TransportError,
    Unauthorized,
    UnknownModel,
)
from mmreward_client.schema import Scored
from mmreward_client.testing import (
    KINDS,
    ComputedAnswers,
    Fault,
    FaultPlan,
    LocalService,
    RecordedAnswers,
    Side,
)
from mmreward_client.testing.wire import Wire
from service_kit import picture_uri
from service_kit.threaded import running

NEVER = RetryPolicy(retries=0)
ITEMS = [{"id": name, "prompt": "q", "response": f"answer {name}"} for name in "abc"]
GROUP = {"id": "g", "prompt": "q", "responses": ["answer a", "answer b", "answer c"]}
PAIR = {"id": "p", "prompt": "q", "chosen": "answer a", "rejected": "answer b"}


def test_one_response_has_one_score(make_client):
    """Alone, in a pair and in a group; another seed, question or picture gives another score."""
    with LocalService() as service:
        client = make_client(service.url)
        a, b, c = (result.score for result in client.score(ITEMS).data)
        pair = client.pairs([PAIR]).data[0]
        group = client.groups([GROUP]).data[0]
        assert (pair.chosen.score, pair.rejected.score) == (a, b)
        assert pair.delta == a - b
        assert pair.prob == pytest.approx(1 / (1 + 2.718281828459045 ** (b - a)))
        assert group.scores == pytest.approx([a, b, c])
        assert group.scores_from == [4, 4, 4]
        other = {**ITEMS[0], "images": [picture_uri()]}
        assert client.score([other]).data[0].score != a
    assert ComputedAnswers(1)(Side("q", "answer a")).score != a
    assert ComputedAnswers(0)(Side("q", "answer a")).score == a


def test_record(tmp_path, make_client):
    """Scores by id, by question and answer, by answer; failures; and what nobody recorded."""
    lines = [
        {"id": "a", "status": "ok", "score": 1.5},
        {"prompt": "q", "response": "answer b", "score": -2.0},
        {"response": "answer c", "score": None, "status": "unparsed"},
        {"prompt": "r", "chosen": "x", "rejected": "y", "chosen_score": 2, "rejected_score": 0.5},
    ]
    path = tmp_path / "record.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    answers = RecordedAnswers.read(path)
    with LocalService(answers) as service:
        client = make_client(service.url)
        found = client.score([*ITEMS, {"prompt": "q", "response": "nobody's"}]).data
        pair = client.pairs([{"prompt": "r", "chosen": "x", "rejected": "y"}]).data[0]
    assert [result.score for result in found] == [1.5, -2.0, None, None]
    assert [result.status for result in found] == ["ok", "ok", "unparsed", "invalid"]
    assert answers.missing == 1
    assert pair.delta == 1.5


@pytest.mark.parametrize(
    ("line", "message"),
    [("[]", "object"), ("{}", "neither"), ('{"id": "a", "score": true}', "no score")],
)
def test_damaged_record(tmp_path, line, message):
    """A line that is no record is named by file and line, unless it is the value that is wrong."""
    path = tmp_path / "record.jsonl"
    path.write_text(line)
    with pytest.raises(InvalidInput, match=message):
        RecordedAnswers.read(path)


@pytest.mark.parametrize("value", ["ok", "lost", {"status": "ok"}, float("nan"), [1]])
def test_no_answer(value):
    """What is neither a score nor a known failure is refused when the record is made."""
    with pytest.raises(InvalidInput):
        RecordedAnswers({"a": value})


FAILING = {
    "overloaded": Overloaded,
    "not_ready": NotReady,
    "deadline": DeadlineExceeded,
    "internal": ServerError,
    "silent": DeadlineExceeded,
    "drip": DeadlineExceeded,
    "drop": TransportError,
    "drop_in_body": TransportError,
    "malformed": ProtocolError,
    "wrong_order": ProtocolError,
    "wrong_length": ProtocolError,
    "wrong_id": ProtocolError,
    "other_model": PinMismatch,
}


@pytest.mark.parametrize(
    ("kind", "is_streamed"),
    [(kind, False) for kind in FAILING]
    # A stream has no order that could be wrong.
    + [(kind, True) for kind in FAILING if kind != "wrong_order"],
)
def test_every_fault_is_told_by_its_error(make_client, kind, is_streamed):
    """No fault yields a number; the next request is answered well; all are counted."""
    # The first request opens the connection: a short deadline is then spent on the fault alone,
    # also on a busy machine, and not left for the request that should be answered well.
    fault = Fault(kind, seconds=0.1 if kind == "drip" else None)
    with LocalService(faults=[None, fault]) as service:
        client = make_client(service.url, retries=NEVER, pin=service.fingerprint, timeout_s=30.0)
        call = client.stream_all if is_streamed else client.score
        call(ITEMS)
        with pytest.raises(FAILING[kind]):
            call(ITEMS, timeout_s=1.5 if kind in ("silent", "drip") else 30.0)
        assert len(client.score(ITEMS).data) == 3
        assert service.injected == {kind: 1}
        assert [asked.fault for asked in service.asked] == [None, fault, None]


def test_all_kinds_are_tried():
    """The list above, and the two that are no errors, are all there is."""
    assert set(FAILING) | {"null", "slow"} == set(KINDS)


def test_nulls(make_client):
    """Items without numbers have the status that was asked for, and the others their scores."""
    faults = [Fault("null", status="unparsed"), Fault("null", share=0.5), None]
    with LocalService(faults=faults) as service:
        client = make_client(service.url)
        assert {result.status for result in client.score(ITEMS).data} == {"unparsed"}
        half = client.score([{**ITEMS[0], "id": None}] * 200).data
        assert 60 < sum(result.score is None for result in half) < 140
        group = client.groups([GROUP]).data[0]
        assert [asked.nulls for asked in service.asked[::2]] == [3, 0]
    assert group.status == "ok"
    with LocalService(faults=[Fault("null")] * 2) as service:
        client = make_client(service.url)
        assert client.groups([GROUP]).data[0].scores == [None] * 3
        assert client.pairs([PAIR]).data[0].delta is None


def test_a_group_with_a_failing_response(make_client):
    """Comparisons with it fail, the others count; an incomplete response takes no part."""
    answers = RecordedAnswers({"one": 1.0, "two": 2.0, "bad": "truncated"})
    with LocalService(answers) as service:
        group = {"prompt": "q", "responses": ["one", "bad", "two"]}
        broken = make_client(service.url).groups([group]).data[0]
        left_out = make_client(service.url).groups([{**group, "complete": [True, False, True]}])
    assert (broken.status, broken.scores, broken.scores_from) == (
        "partial",
        [1.0, None, 2.0],
        [2, 0, 2],
    )
    assert left_out.data[0].status == "ok"
    assert left_out.data[0].scores == [1.0, None, 2.0]


def test_chances_are_repeatable():
    """The same seed hits the same requests, whatever the threads do; another seed hits others."""

    def hits(seed):
        plan = FaultPlan(chances={"overloaded": 0.2, Fault("null", share=0.5): 0.3}, seed=seed)
        with LocalService(faults=plan) as service, RewardClient(service.url, retries=0) as client:

            def ask(number):
                with contextlib.suppress(Overloaded):
                    client.score(ITEMS)

            with ThreadPoolExecutor(8) as pool:
                list(pool.map(ask, range(120)))
            assert sum(service.injected.values()) == sum(bool(one.fault) for one in service.asked)
            return [one.fault and one.fault.kind for one in service.asked], service.injected

    one, again, other = hits(7), hits(7), hits(8)
    assert one == again
    assert one[0] != other[0]
    assert Counter(one[0])["null"] > Counter(one[0])["overloaded"] > 5


def test_a_service_that_is_killed_and_comes_back():
    """Under way or not, every connection ends; on the same port it answers again."""
    with LocalService(faults=[Fault("silent")]) as service:
        address = service.url
        with (
            RewardClient(address, retries=RetryPolicy(50, 0.05, 0.1), timeout_s=60) as client,
            ThreadPoolExecutor(1) as pool,
        ):
            waiting = pool.submit(client.score, ITEMS)
            while not service.asked:
                time.sleep(0.005)
            service.stop()
            assert not client.ready()
            threading.Timer(0.2, service.start).start()
            assert len(waiting.result().data) == 3
        assert service.url == address
        assert len(service.asked) == 2


def _sleep(begun):
    begun.set()
    time.sleep(60)


def test_a_stopped_service_is_gone_for_its_forked_workers_too():
    """A worker that inherited the port does not keep it open, nor from being opened again."""
    context = multiprocessing.get_context("fork")
    begun = context.Event()
    with LocalService() as service, RewardClient(service.url, retries=0, timeout_s=10) as client:
        worker = context.Process(target=_sleep, args=(begun,))
        worker.start()
        try:
            assert begun.wait(30)
            service.stop()
            with pytest.raises(TransportError):
                client.score(ITEMS)
            service.start()
            assert client.score(ITEMS).data
        finally:
            worker.kill()
            worker.join()


def test_routes_keys_and_readiness(make_client):
    """The public routes, a key, a model that is not there, and a service that is loading."""
    with LocalService(api_key="k", fingerprint="f") as service:
        client = make_client(service.url, api_key="k", retries=NEVER)
        card = client.models().data[0]
        assert card.provenance.fingerprint == "f"
        assert client.ready()
        assert client.version()["api_version"] == 1
        with pytest.raises(Unauthorized):
            make_client(service.url).score(ITEMS)
        with pytest.raises(UnknownModel):
            client.score(ITEMS, model="another")
        with pytest.raises(PinMismatch) as caught:
            client.score(ITEMS, pin="g")
        assert caught.value.status == 409
        service.is_ready = False
        assert "being loaded" in client.ready().reasons[service.url]
        with pytest.raises(NotReady):
            client.score(ITEMS)


def test_a_refused_request_uses_no_fault_up(make_client):
    """A fault is counted when it is sent: behind the checks of key, readiness, body and pin."""
    with LocalService(api_key="k", faults=[Fault("overloaded")]) as service:
        client = make_client(service.url, api_key="k", retries=NEVER)
        with pytest.raises(Unauthorized):
            make_client(service.url).score(ITEMS)
        with pytest.raises(PinMismatch):
            client.score(ITEMS, pin="another")
        with pytest.raises(UnknownModel):
            client.score(ITEMS, model="another")
        service.is_ready = False
        with pytest.raises(NotReady):
            client.score(ITEMS)
        service.is_ready = True
        assert httpx2.post(
            f"{service.url}/v1/score", headers={"Authorization": "Bearer k"}, content=b"{"
        ).is_client_error
        assert not service.injected
        with pytest.raises(Overloaded):
            client.score(ITEMS)
        assert service.injected == {"overloaded": 1}
        assert [bool(asked.fault) for asked in service.asked] == [False] * 5 + [True]


def test_a_stop_ends_connections_that_are_being_opened(monkeypatch):
    """One that was accepted, and is noted down only while the service stops, does not hold it."""
    accepted, stopping = threading.Event(), threading.Event()
    opened = Wire.opened

    def late(wire, connection):
        accepted.set()
        stopping.wait(30)
        opened(wire, connection)

    monkeypatch.setattr(Wire, "opened", late)
    service = LocalService().start()
    with socket.create_connection(("127.0.0.1", int(service.url.rpartition(":")[2]))) as caller:
        assert accepted.wait(30)
        stopper = threading.Thread(target=service.stop)
        stopper.start()
        caller.settimeout(0.3)
        with contextlib.suppress(TimeoutError):
            caller.recv(1)  # by now the stop has walked over the connections
        stopping.set()
        stopper.join(5)
        is_stopped = not stopper.is_alive()
    stopper.join()
    assert is_stopped


def test_what_was_asked_is_kept_without_pictures():
    """Items, options and deadline are there to be counted; the bytes of pictures are not."""
    with LocalService() as service, RewardClient(service.url, timeout_s=10) as client:
        client.score([{**ITEMS[0], "images": [picture_uri()]}], critiques=3, seed=1)
    (asked,) = service.asked
    assert asked.items[0]["response"] == "answer a"
    assert asked.options["critiques"] == 3
    assert 0 < asked.deadline_ms < 10_000
    assert "base64" not in repr(asked)


def test_same_shape_as_the_real_service():
    """A reply of the service and one from here have the same fields, down to the last one."""
    from mmreward_service.engine.fake import FakeEngine

    def shape(value):
        if isinstance(value, dict):
            return {name: shape(part) for name, part in value.items() if name != "provenance"}
        return [shape(value[0])] if isinstance(value, list) and value else None

    sent = {"score": ITEMS[0], "pairs": PAIR, "groups": GROUP}
    with running(FakeEngine()) as real, LocalService() as local:
        for route, item in sent.items():
            one, other = (
                httpx2.post(f"{address}/v1/{route}", json={"items": [item]})
                for address in (real, local.url)
            )
            assert one.status_code == other.status_code == 200
            assert shape(one.json()).keys() - shape(other.json()).keys() <= {"usage", "timings"}
            assert shape(one.json()["data"]) == shape(other.json()["data"])


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: Fault("explode"),
        lambda: Fault("null", status="ok"),
        lambda: Fault("null", share=0.0),
        lambda: Fault("slow", seconds=-1.0),
        lambda: FaultPlan(chances={"drop": 0.6, "slow": 0.6}),
        lambda: FaultPlan(chances={"drop": -0.1}),
        lambda: FaultPlan({"drop": 0.5}),
        lambda: FaultPlan().add("drop"),
    ],
)
def test_impossible_faults(wrong):
    """A fault that cannot be is refused where it is written."""
    with pytest.raises(InvalidInput):
        wrong()


def test_own_function_as_answers(make_client):
    """Any function from a side to a result will do."""

    def by_length(side):
        return Scored(status="ok", score=float(len(side.response)))

    with LocalService(by_length, latency_s=0.01) as service:
        assert make_client(service.url).score(ITEMS).data[0].score == 8.0
