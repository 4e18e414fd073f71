"""The real clients over a real socket against the real service on its fake engine.

Every status and every error that the contract names makes the round trip here; what only a broken
network or a foreign server can do is in tests/client.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import uvicorn
from client_kit import clients
from mmreward_client import (
    DeadlineExceeded,
    InvalidRequest,
    NotReady,
    Overloaded,
    PairInput,
    PinMismatch,
    RetryPolicy,
    RewardClient,
    ScoreInput,
    TooLarge,
    Unauthorized,
    UnknownModel,
    dynamic_beta,
)
from mmreward_client.cli.app import app as cli
from mmreward_service.app import create_app
from mmreward_service.engine.fake import FakeEngine
from mmreward_service.settings import Settings
from PIL import Image
from service_kit import KEY, picture, picture_bytes, picture_uri
from typer.testing import CliRunner

pytestmark = pytest.mark.filterwarnings("error")

NEVER = RetryPolicy(retries=0)


@contextlib.contextmanager
def service(engine: FakeEngine | None = None, *, wait: bool = True, **settings) -> Iterator[str]:
    """The service in a thread of its own, so that a blocking client can talk to it."""
    app = create_app(Settings(engine="fake", **settings), engine or FakeEngine())
    config = uvicorn.Config(app, port=0, log_config=None, timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        wait_for(lambda: server.started)
        port = server.servers[0].sockets[0].getsockname()[1]
        address = f"http://127.0.0.1:{port}"
        with RewardClient(address) as client:
            assert not wait or client.wait_until_ready(timeout_s=30.0)
        yield address
    finally:
        server.should_exit = True
        thread.join()


@contextlib.contextmanager
def silent_listener() -> Iterator[str]:
    """A port that accepts connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


@pytest.fixture(scope="module")
def url():
    with service(max_items=40, max_image_pixels=100_000) as address:
        yield address


@pytest.fixture(params=["blocking", "async"])
def make_client(request):
    with clients(request.param) as make:
        yield make


def item(text="A ramp.", **fields):
    return {"images": [picture_uri()], "prompt": "What is it?", "response": text, **fields}


def test_score_and_critique(make_client, url):
    """A score, its critique, usage, timings and where it comes from."""
    reply = make_client(url).score([item(id="a"), item("A cat.", id="b")])
    assert [result.id for result in reply.data] == ["a", "b"]
    first, second = reply.data
    assert first.status == second.status == "ok"
    assert first.score != second.score
    assert first.critiques[0].score == first.score
    assert first.critiques[0].text
    assert reply.usage.prompt_tokens > 0
    assert reply.timings.total_s > 0
    assert len(reply.provenance.fingerprint) == 64


def test_every_form_of_a_picture_scores_alike(make_client, url, tmp_path):
    """Path, bytes, PIL, array and data URI of one picture give one score, uploaded as it is."""
    import numpy as np

    image = picture()
    path = tmp_path / "ramp.png"
    path.write_bytes(picture_bytes(image))
    forms = [str(path), path, path.read_bytes(), picture_uri()]
    reply = make_client(url).score([ScoreInput("What is it?", "A ramp.", [form]) for form in forms])
    assert len({result.score for result in reply.data}) == 1
    # Other bytes of the same pixels: the hash of the fake engine is over what was sent.
    pixels = make_client(url).score(
        [ScoreInput("q", "r", [form]) for form in (image, np.asarray(image))]
    )
    assert [result.status for result in pixels.data] == ["ok", "ok"]


def test_given_scores_what_was_written(make_client, url):
    """The critique that was written, handed back as given, has the score it had."""
    client = make_client(url)
    written = client.score([item()]).data[0]
    text = written.critiques[0].text
    given = client.score([item(mode="given", critique=text)]).data[0]
    assert given.score == written.score
    bare = client.score([item(mode="none")]).data[0]
    assert bare.status == "ok"
    assert bare.critiques == []


def test_sampled_critiques(make_client, url):
    """K critiques: a mean, its stderr, a seed that repeats them."""
    client = make_client(url)
    one = client.score([item()], critiques=4, seed=1).data[0]
    again = client.score([item()], critiques=4, seed=1).data[0]
    assert one == again
    assert one.critiques_ok == len(one.critiques) == 4
    assert one.score_stderr > 0
    mixed = client.score([item("[[some_truncated]]")], critiques=4, seed=1).data[0]
    assert mixed.status == "ok"
    assert mixed.critiques_ok == 2


def test_video_and_conversation(make_client, url):
    """Frames with a rate, and a prompt of several turns."""
    frames = [picture(shade=shade) for shade in (0, 60, 120)]
    turns = [
        {"role": "user", "content": "What moves?"},
        {"role": "assistant", "content": "A ramp."},
        {"role": "user", "content": "Where to?"},
    ]
    reply = make_client(url).score(
        [
            {"video": (frames, 2.0), "prompt": turns, "response": "Right."},
            {"video": (frames, 4.0), "prompt": turns, "response": "Right."},
        ]
    )
    slow, fast = reply.data
    assert slow.status == fast.status == "ok"
    assert slow.score != fast.score


def test_pairs(make_client, url):
    """Delta is the difference, beta the formula's, and the swapped pair has the negative delta."""
    pair = PairInput("What is it?", "A ramp.", "A cat.", [picture()], id="p")
    reply = make_client(url).pairs([pair, pair.swap()], beta={"beta0": 0.2, "w": 1.0, "k": 0.25})
    one, other = reply.data
    assert one.delta == pytest.approx(one.chosen.score - one.rejected.score)
    assert other.delta == pytest.approx(-one.delta)
    assert one.beta == pytest.approx(dynamic_beta(one.delta, beta0=0.2, w=1.0, k=0.25))
    assert 0 < one.prob < 1
    assert one.prob + other.prob == pytest.approx(1.0)


def test_every_status_of_an_item(make_client, url):
    """Each failure keeps its place and its name, has no number, says why, and spares the others."""
    big = picture((400, 400))
    cases = [
        (item(), "ok"),
        (item(""), "invalid"),
        ({"prompt": "q", "response": "r", "colour": "red"}, "invalid"),
        (item(mode="given"), "invalid"),
        (item(images=["data:image/png;base64,AAAA"]), "image_error"),
        (item(images=[picture_bytes()[:60]]), "image_error"),
        (item(images=[big]), "image_error"),
        (item("[[refused_image]]"), "image_error"),
        (item("[[unparsed]]"), "unparsed"),
        (item("[[truncated]]"), "truncated"),
        (item("[[not_finite]]"), "not_finite"),
        (item("[[too_long]]"), "too_long"),
        (item("[[fault]]"), "internal"),
        (item("last"), "ok"),
    ]
    sent = [{**fields, "id": str(place)} for place, (fields, _) in enumerate(cases)]
    client = make_client(url)
    reply = client.score(sent)
    assert [result.status for result in reply.data] == [status for _, status in cases]
    for result in reply.data:
        assert (result.score is None) == (result.status != "ok")
        assert (result.error is None) == (result.status == "ok"), result
    streamed, whole = client.stream_all(sent)
    assert {result.index: (result.status, result.score) for result in streamed} == {
        result.index: (result.status, result.score) for result in reply.data
    }
    assert sorted(streamed, key=lambda result: result.index) == whole.data


def test_pair_with_one_bad_side(make_client, url):
    """The pair's numbers are null, the good side keeps its own."""
    reply = make_client(url).pairs([PairInput("q", "A ramp.", "[[truncated]]", [picture()])])
    (pair,) = reply.data
    assert pair.status == "truncated"
    assert pair.delta is pair.beta is pair.prob is None
    assert pair.chosen.score is not None
    assert pair.rejected.score is None


def test_deadline_brings_what_is_there(make_client, url):
    """At the deadline the finished items have scores and the others say `deadline`."""
    reply = make_client(url).score([item(), item("[[slow]]")], timeout_s=5.0)
    assert [result.status for result in reply.data] == ["ok", "deadline"]


def test_streamed_as_finished(make_client, url):
    """A slow item holds nothing up: the quick ones are there before it."""
    results, reply = make_client(url).stream_all([item("[[slow]]"), item()], timeout_s=5.0)
    assert [result.index for result in results] == [1, 0]
    assert [result.status for result in reply.data] == ["deadline", "ok"]


def test_pin(make_client, url):
    """The right fingerprint passes, another one is refused before any work."""
    fingerprint = make_client(url).models().data[0].provenance.fingerprint
    assert make_client(url, pin=fingerprint).score([item()]).data[0].status == "ok"
    with pytest.raises(PinMismatch) as caught:
        make_client(url, pin="0" * 64).score([item()])
    assert caught.value.status == 409
    assert caught.value.request_id


@pytest.mark.parametrize(
    ("options", "count", "kind", "code"),
    [
        ({"critiques": 2, "temperature": 0.0}, 1, InvalidRequest, "invalid_request"),
        ({"seed": -1}, 1, InvalidRequest, "invalid_request"),
        ({"model": "another"}, 1, UnknownModel, "unknown_model"),
        ({"critiques": 1000}, 1, InvalidRequest, "max_critiques"),
        ({"timeout_s": 1e6}, 1, InvalidRequest, "max_deadline_ms"),
        ({}, 41, TooLarge, "max_items"),
    ],
)
def test_refused_requests(make_client, url, options, count, kind, code):
    """What breaks a rule of the request raises its class with the service's code."""
    with pytest.raises(kind) as caught:
        make_client(url, retries=NEVER).score([item()] * count, **options)
    assert caught.value.code == code
    assert caught.value.message


def test_body_limit(make_client):
    """A body over the limit is TooLarge, whether or not it was read to the end."""
    with service(max_body_bytes=20_000) as address, pytest.raises(TooLarge):
        make_client(address, retries=NEVER).score([item("x" * 100_000)])


def test_keys(make_client):
    """Without the key nothing is scored; probes stay public."""
    with service(api_keys=(KEY,)) as address:
        for key in (None, "wrong"):
            stranger = make_client(address, api_key=key)
            with pytest.raises(Unauthorized):
                stranger.score([item()])
            with pytest.raises(Unauthorized):
                stranger.models()
            assert stranger.ready()
            assert stranger.version()["api_version"] == 1
        assert make_client(address, api_key=KEY).score([item()]).data[0].status == "ok"


def test_overload_is_told_and_waited_out(make_client):
    """Beyond the bound: Overloaded with Retry-After at once; a patient client gets through."""
    with service(max_in_flight=2, retry_after_s=1) as address, RewardClient(address) as holder:
        stream = holder.stream_score([item(), item("[[slow]]")])
        assert next(stream).index == 0
        with pytest.raises(Overloaded) as caught:
            make_client(address, retries=NEVER).score([item()] * 2)
        assert caught.value.status == 429
        assert caught.value.retry_after_s >= 1
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(make_client(address, timeout_s=60.0).score, [item()] * 2)
            stream.close()
            assert [result.status for result in waiting.result().data] == ["ok", "ok"]


def test_not_ready_then_ready(make_client):
    """While the model loads: NotReady with Retry-After; a retrying call waits for it."""
    may_be_ready = threading.Event()

    class Loading(FakeEngine):
        async def start(self):
            while not may_be_ready.is_set():  # noqa: ASYNC110 - set from another thread
                await asyncio.sleep(0.01)
            await super().start()

    with service(Loading(), wait=False) as address:
        client = make_client(address, retries=NEVER)
        readiness = client.ready()
        assert not readiness
        assert "loaded" in readiness.reasons[address]
        with pytest.raises(NotReady) as caught:
            client.score([item()])
        assert caught.value.status == 503
        assert caught.value.retry_after_s >= 1
        threading.Timer(0.3, may_be_ready.set).start()
        assert make_client(address).score([item()]).data[0].status == "ok"
        assert client.wait_until_ready(timeout_s=30.0)


def test_dead_engine(make_client):
    """An engine that stopped for good: NotReady, and /ready says so."""
    with service() as address:
        client = make_client(address, retries=NEVER)
        with pytest.raises(NotReady):
            client.score([item("[[dead]]")])
        with pytest.raises(NotReady):
            client.score([item()])
        assert not client.ready()


def test_hanging_up_aborts():
    """Leaving a stream hangs up, and the service aborts what is still in the engine."""
    engine = FakeEngine()
    with service(engine) as address:
        with RewardClient(address) as client:
            stream = client.stream_score([item(), item("[[slow]]")])
            assert next(stream).index == 0
            stream.close()
            wait_for(lambda: engine.aborted == 1)
        assert engine.running == 0


def test_client_deadline_of_a_silent_service(make_client):
    """If the service does not answer in time, the client's own clock ends the call."""
    with silent_listener() as address, pytest.raises(DeadlineExceeded) as caught:
        make_client(address).score([item()], timeout_s=0.3)
    assert caught.value.status is None


def test_models_shows_the_limits(make_client, url):
    """Every limit is there to be read before it is run into."""
    (card,) = make_client(url).models().data
    assert card.limits.max_items == 40
    assert card.limits.max_image_pixels == 100_000
    assert set(card.modes) == {"generate", "given", "none"}
    assert card.calibration


def test_command_line(url, tmp_path):
    """`mmreward score` and `pairs` against the service."""
    path = tmp_path / "ramp.png"
    Image.new("RGB", (20, 20)).save(path)
    runner = CliRunner()
    asked = ["pairs", str(path), "--prompt", "q", "--chosen", "a", "--rejected", "b", "--url", url]
    done = runner.invoke(cli, asked)
    assert done.exit_code == 0, done.output
    assert "fingerprint" in done.stdout
    asked = ["score", str(path), "--prompt", "q", "--response", "a", "--json", "--url", url]
    done = runner.invoke(cli, asked)
    assert done.exit_code == 0, done.output


def wait_for(condition, timeout_s=10.0):
    ends_at = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < ends_at
        time.sleep(0.02)
