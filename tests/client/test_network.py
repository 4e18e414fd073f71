"""Both clients against a real socket: what is sent, what is believed, and what every failure is."""

from __future__ import annotations

import socket
import time

import pytest
from client_kit import FINGERPRINT, Reply, envelope, score_entry
from mmreward_client import (
    DeadlineExceeded,
    InvalidInput,
    InvalidRequest,
    NotReady,
    Overloaded,
    PinMismatch,
    ProtocolError,
    RetryPolicy,
    ServerError,
    TooLarge,
    TransportError,
    Unauthorized,
    UnknownModel,
)

QUICK = RetryPolicy(retries=3, base_s=0.001, cap_s=0.001)
NEVER = RetryPolicy(retries=0)
ITEMS = [
    {"id": "a", "prompt": "q", "response": "one"},
    {"prompt": "q", "response": "three"},
    {"id": "c", "prompt": "q", "response": "seventeen"},
]


def error_body(code, family="invalid_request"):
    detail = {"message": f"because {code}", "type": family, "param": "items", "code": code}
    return {"error": detail, "request_id": "req-7"}


def closed_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def test_scores_come_back_on_their_items(server, make_client):
    """Result i belongs to item i and carries its id."""
    reply = make_client(server.url).score(ITEMS)
    assert [(r.id, r.score) for r in reply.data] == [("a", 3.0), (None, 5.0), ("c", 9.0)]


def test_options_are_sent_and_defaults_are_not(server, make_client):
    """The service's defaults stay the service's: only what was given is on the wire."""
    client = make_client(server.url, api_key="sk-1", pin=None)
    client.score(ITEMS[:1])
    client.score(ITEMS[:1], critiques=4, temperature=0.7, seed=3, max_critique_tokens=9)
    plain, full = server.received
    assert set(plain.body) == {"media", "items", "deadline_ms"}
    assert full.body["critiques"] == 4
    assert full.body["temperature"] == 0.7
    assert full.body["seed"] == 3
    assert full.body["max_critique_tokens"] == 9
    assert plain.headers["authorization"] == "Bearer sk-1"
    assert plain.headers["accept"] == "application/json"
    assert len(plain.headers["x-request-id"]) == 32


def test_misspelt_option_is_refused(server, make_client):
    """A typo must not silently change a reward."""
    with pytest.raises(TypeError, match="critique_count"):
        make_client(server.url).score(ITEMS, critique_count=4)
    assert server.received == []


def test_deadline_travels_and_shrinks(server, make_client):
    """Each attempt tells the service what is left of the one deadline, not the whole of it."""
    server.replies = [Reply(503, error_body("not_ready"), delay_s=0.2)]
    make_client(server.url, timeout_s=5.0, retries=QUICK).score(ITEMS)
    first, second = (received.body["deadline_ms"] for received in server.received)
    assert 3000 < first <= 4000
    assert second <= first - 160


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (400, "malformed_json", InvalidRequest),
        (401, "unauthorized", Unauthorized),
        (404, "unknown_model", UnknownModel),
        (404, "not_found", InvalidRequest),
        (405, "method_not_allowed", InvalidRequest),
        (409, "pin_mismatch", PinMismatch),
        (413, "max_items", TooLarge),
        (422, "invalid_request", InvalidRequest),
        (429, "overloaded", Overloaded),
        (500, "internal", ServerError),
        (503, "not_ready", NotReady),
        (504, "deadline", DeadlineExceeded),
    ],
)
def test_error_table(server, make_client, status, code, kind):
    """Each status of the contract raises its class, with status, code, field and request id."""
    server.script = lambda request: Reply(status, error_body(code))
    with pytest.raises(kind) as caught:
        make_client(server.url, retries=NEVER).score(ITEMS)
    error = caught.value
    assert type(error) is kind
    assert (error.status, error.code, error.param) == (status, code, "items")
    assert error.request_id == "req-7"
    assert f"because {code}" in str(error)


@pytest.mark.parametrize("status", [400, 401, 404, 405, 409, 413, 422])
def test_refusals_are_never_retried(server, make_client, status):
    """The same wrong request is sent once only."""
    server.script = lambda request: Reply(status, error_body("x"))
    with pytest.raises(Exception, match="because x"):
        make_client(server.url, retries=QUICK).score(ITEMS)
    assert len(server.received) == 1


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_passing_failures_are_retried(server, make_client, status):
    """One bad moment costs a pause, not the call."""
    server.replies = [Reply(status, error_body("x"))]
    reply = make_client(server.url, retries=QUICK).score(ITEMS)
    assert len(reply.data) == 3
    assert len(server.received) == 2
    assert len({r.headers["x-request-id"] for r in server.received}) == 1


@pytest.mark.parametrize("where", ["before", "inside"])
def test_dropped_connections_are_retried(server, make_client, where):
    """A connection cut before or inside the answer is asked again, and the answer is whole."""
    good = envelope([score_entry(i, item) for i, item in enumerate(ITEMS)])
    server.replies = [Reply(body=good, drop=where), Reply(body=good, drop=where)]
    reply = make_client(server.url, retries=QUICK).score(ITEMS)
    assert [r.score for r in reply.data] == [3.0, 5.0, 9.0]
    assert len(server.received) == 3


def test_dropped_for_good_is_a_transport_error(server, make_client):
    """When every attempt is cut, the caller learns that no answer came, not a number."""
    server.script = lambda request: Reply(drop="before")
    with pytest.raises(TransportError):
        make_client(server.url, retries=QUICK).score(ITEMS)
    assert len(server.received) == 1 + QUICK.retries


def test_nobody_listens(make_client):
    """A refused connection is a TransportError that names the address."""
    port = closed_port()
    with pytest.raises(TransportError, match=str(port)):
        make_client(f"http://127.0.0.1:{port}", retries=NEVER).score(ITEMS)


def test_retry_after_is_waited(server, make_client):
    """The service's Retry-After is a floor under the pause."""
    server.replies = [Reply(429, error_body("overloaded"), headers={"Retry-After": "1"})]
    begun = time.monotonic()
    make_client(server.url, retries=QUICK).score(ITEMS)
    assert time.monotonic() - begun >= 1.0


def test_pause_beyond_the_deadline_is_not_begun(server, make_client):
    """Told to come back after the deadline, the call ends at once with what it was told."""
    headers = {"Retry-After": "3600"}
    server.script = lambda request: Reply(429, error_body("overloaded"), headers=headers)
    with pytest.raises(Overloaded) as caught:
        make_client(server.url, timeout_s=5.0, retries=QUICK).score(ITEMS)
    assert caught.value.retry_after_s == 3600
    assert len(server.received) == 1


@pytest.mark.parametrize("how", [{"delay_s": 30.0}, {"drip_s": 0.05}])
def test_total_deadline_holds(server, make_client, how):
    """Silence and a drip of single bytes both end at the deadline."""
    body = envelope([score_entry(i, item) for i, item in enumerate(ITEMS)])
    server.script = lambda request: Reply(body=body, **how)
    begun = time.monotonic()
    with pytest.raises(DeadlineExceeded) as caught:
        make_client(server.url, retries=QUICK).score(ITEMS, timeout_s=1.5)
    assert caught.value.status is None
    assert caught.value.code == "client_deadline"
    # Generous: the drip alone would take a minute, the silence half of one.
    assert time.monotonic() - begun < 10.0
    assert len(server.received) == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data[:2], "3 items sent, 2"),
        (lambda data: [*data, data[0]], "3 items sent, 4"),
        (lambda data: [data[1], data[0], data[2]], "index 1 at place 0"),
        (lambda data: [data[0], data[0], data[2]], "index 0 at place 1"),
        (lambda data: [data[0], data[1], {**data[2], "id": "z"}], "has id 'z'"),
        (lambda data: [data[0], data[1], {**data[2], "score": None}], "status ok with score"),
        (lambda data: [data[0], data[1], {**data[2], "status": "truncated"}], "truncated"),
    ],
)
def test_replies_that_break_the_contract(server, make_client, change, message):
    """Missing, doubled, swapped, renamed entries and failures with a number are not believed."""
    good = [score_entry(index, item) for index, item in enumerate(ITEMS)]
    server.script = lambda request: Reply(body=envelope(change(good)))
    with pytest.raises(ProtocolError, match=message):
        make_client(server.url, retries=QUICK).score(ITEMS)
    assert len(server.received) == 1


@pytest.mark.parametrize("number", [b"NaN", b"Infinity", b"1e999"])
def test_numbers_that_are_none(server, make_client, number):
    """NaN and infinity on the wire are a broken reply, not a reward."""
    body = (
        b'{"object":"list","id":"r","model":"m","provenance":{"fingerprint":"f"},'
        b'"data":[{"index":0,"status":"ok","score":' + number + b"}]}"
    )
    server.script = lambda request: Reply(body=body)
    with pytest.raises(ProtocolError):
        make_client(server.url).score([{"prompt": "q", "response": "r"}])


@pytest.mark.parametrize(
    ("status", "body"),
    [(200, b"<html>hello</html>"), (200, b""), (301, b""), (404, b"<html>nginx</html>")],
)
def test_not_the_service(server, make_client, status, body):
    """Something else at this address is told apart from the service saying no."""
    server.script = lambda request: Reply(status, body, headers={"Location": "/elsewhere"})
    with pytest.raises(ProtocolError):
        make_client(server.url).score(ITEMS)


def test_proxy_error_keeps_its_class(server, make_client):
    """A proxy's own 502 page is a ServerError with its first words."""
    server.script = lambda request: Reply(502, b"<h1>Bad\n Gateway</h1>")
    with pytest.raises(ServerError, match="Bad Gateway"):
        make_client(server.url, retries=NEVER).score(ITEMS)


def test_pin_is_sent_and_checked(server, make_client):
    """A reply from another model stops the caller even if the service let it pass."""
    make_client(server.url, pin=FINGERPRINT).score(ITEMS)
    assert server.received[0].body["pin"] == FINGERPRINT
    with pytest.raises(PinMismatch, match=FINGERPRINT):
        make_client(server.url, pin="sha256:other").score(ITEMS)
    with pytest.raises(PinMismatch):
        make_client(server.url).score(ITEMS, pin="sha256:other")


def test_fail_over(server, make_client):
    """A dead replica costs nothing but the attempt; the others answer, and are asked first then."""
    dead = f"http://127.0.0.1:{closed_port()}"
    client = make_client(urls=[dead, server.url], retries=QUICK)
    for _ in range(3):
        assert len(client.score(ITEMS).data) == 3
    assert len(server.received) == 3


def test_fail_over_of_an_unready_replica(make_server, make_client):
    """503 from one replica sends the request to another at once, whatever Retry-After it asks."""
    loading, ready = make_server(), make_server()
    headers = {"Retry-After": "3600"}
    loading.script = lambda request: Reply(503, error_body("not_ready"), headers=headers)
    client = make_client(urls=[loading.url, ready.url])
    for _ in range(4):
        client.score(ITEMS)
    assert len(loading.received) == 1
    assert len(ready.received) == 4


def test_invalid_input_is_not_sent(server, make_client):
    """What cannot be sent raises here, names the item, and nothing reaches the service."""
    client = make_client(server.url)
    with pytest.raises(InvalidInput, match="item 1: cannot read image"):
        client.score([ITEMS[0], {"images": ["/no/such.png"], "prompt": "q", "response": "r"}])
    with pytest.raises(InvalidInput, match="no items"):
        client.score([])
    with pytest.raises(InvalidInput, match="JSON"):
        client.score([{"prompt": "q", "response": float("nan")}])
    assert server.received == []


def test_client_outlives_close_and_failure(server, make_client):
    """A failed call leaves the client usable and nothing counted as under way."""
    client = make_client(server.url, retries=NEVER)
    server.replies = [Reply(500, error_body("internal")), Reply(drop="before")]
    with pytest.raises(ServerError):
        client.score(ITEMS)
    with pytest.raises(TransportError):
        client.score(ITEMS)
    assert len(client.score(ITEMS).data) == 3


def test_ready_version_models(server, make_client):
    """The public routes: readiness gives the reason, an unreachable replica is not ready."""
    client = make_client(server.url)
    server.replies = [
        Reply(body={"status": "ready"}),
        Reply(503, error_body("not_ready")),
        Reply(body={"version": "0.1.0"}),
    ]
    assert client.ready()
    not_ready = client.ready()
    assert not not_ready
    assert not_ready.reasons[server.url] == "because not_ready"
    assert client.version() == {"version": "0.1.0"}
    assert [r.path for r in server.received] == ["/ready", "/ready", "/version"]
    dead = f"http://127.0.0.1:{closed_port()}"
    some = make_client(urls=[dead, server.url])
    server.replies = [Reply(body={})]
    readiness = some.ready()
    assert readiness
    assert readiness.reasons[dead] is not None
    assert not make_client(dead).wait_until_ready(timeout_s=0.2, interval_s=0.05)
