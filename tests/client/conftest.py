"""A real HTTP server that does what a test tells it, and both clients behind one blocking face."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from mmreward_client import AsyncRewardClient, RewardClient

FINGERPRINT = "sha256:f00d"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Warnings are errors in this folder: an unclosed socket must not pass."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.filterwarnings("error"))


def envelope(data: list[dict[str, Any]], **changes: Any) -> dict[str, Any]:
    reply = {
        "object": "list",
        "id": "r-1",
        "model": "fake",
        "provenance": {"fingerprint": FINGERPRINT},
        "data": data,
    }
    return {**reply, **changes}


def score_entry(index: int, item: dict[str, Any]) -> dict[str, Any]:
    """The score is the length of the response: a score on the wrong item shows."""
    score = float(len(item["response"]))
    critique = {"text": f"about {item['response']}", "score": score, "finish_reason": "stop"}
    return {
        "index": index,
        "id": item.get("id"),
        "status": "ok",
        "score": score,
        "critiques_ok": 1,
        "critiques": [critique],
    }


def good_reply(request: Received) -> dict[str, Any]:
    items = request.body["items"]
    return envelope([score_entry(index, item) for index, item in enumerate(items)])


@dataclass
class Received:
    """One request as it arrived."""

    path: str
    headers: dict[str, str]
    body: Any


@dataclass
class Reply:
    """One scripted answer. `drop` closes the connection: before the answer, or inside the body."""

    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    delay_s: float = 0.0
    drop: str | None = None
    drip_s: float | None = None


Script = Callable[[Received], Reply]


class ScriptedServer:
    """Answers on a real socket; `replies` are used up first, then `script` answers."""

    def __init__(self) -> None:
        self.received: list[Received] = []
        self.replies: list[Reply] = []
        self.script: Script = lambda request: Reply(body=good_reply(request))
        self.lock = threading.Lock()
        self.stopping = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def log_message(self, *args: Any) -> None: ...

            def do_GET(self) -> None:
                outer.answer(self)

            do_POST = do_GET

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = False
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        self.thread = threading.Thread(
            target=self.http.serve_forever, kwargs={"poll_interval": 0.01}
        )
        self.thread.start()

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        length = int(handler.headers.get("Content-Length") or 0)
        raw = handler.rfile.read(length)
        headers = {name.lower(): value for name, value in handler.headers.items()}
        request = Received(handler.path, headers, json.loads(raw) if raw else None)
        with self.lock:
            self.received.append(request)
            reply = self.replies.pop(0) if self.replies else None
        reply = reply or self.script(request)
        self.stopping.wait(reply.delay_s)
        if reply.drop == "before":
            handler.close_connection = True
            return
        content = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
        try:
            handler.send_response(reply.status)
            for name, value in reply.headers.items():
                handler.send_header(name, value)
            handler.send_header("Content-Length", str(len(content)))
            handler.end_headers()
            self.write(handler, reply, content)
        except OSError:
            handler.close_connection = True  # the client hung up

    def write(self, handler: BaseHTTPRequestHandler, reply: Reply, content: bytes) -> None:
        if reply.drop == "inside":
            handler.wfile.write(content[: len(content) // 2])
            handler.close_connection = True
        elif reply.drip_s is not None:
            for place in range(len(content)):
                handler.wfile.write(content[place : place + 1])
                if self.stopping.wait(reply.drip_s):
                    break
        else:
            handler.wfile.write(content)

    def close(self) -> None:
        self.stopping.set()
        self.http.shutdown()
        self.thread.join()
        self.http.server_close()


@pytest.fixture
def make_server() -> Iterator[Callable[[], ScriptedServer]]:
    servers: list[ScriptedServer] = []

    def make() -> ScriptedServer:
        servers.append(ScriptedServer())
        return servers[-1]

    yield make
    for server in servers:
        server.close()


@pytest.fixture
def server(make_server: Callable[[], ScriptedServer]) -> ScriptedServer:
    return make_server()


class AsyncFace:
    """An AsyncRewardClient called like a blocking one, all its calls in one event loop."""

    def __init__(self, *args: Any, **options: Any) -> None:
        self.runner = asyncio.Runner()
        self.client = AsyncRewardClient(*args, **options)

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.client, name)

        async def call(*args: Any, **options: Any) -> Any:
            return await method(*args, **options)

        return lambda *args, **options: self.runner.run(call(*args, **options))

    def stream_all(self, items: Any, **options: Any) -> tuple[list[Any], Any]:
        async def collect() -> tuple[list[Any], Any]:
            async with await self.client.stream_score(items, **options) as stream:
                return [result async for result in stream], stream.reply

        return self.runner.run(collect())

    def close(self) -> None:
        self.runner.run(self.client.aclose())
        self.runner.close()


class BlockingFace(RewardClient):
    def stream_all(self, items: Any, **options: Any) -> tuple[list[Any], Any]:
        with self.stream_score(items, **options) as stream:
            return list(stream), stream.reply


@pytest.fixture(params=["blocking", "async"])
def make_client(request: pytest.FixtureRequest) -> Iterator[Callable[..., Any]]:
    """Every test over the network holds for both clients."""
    clients: list[Any] = []

    def make(*args: Any, **options: Any) -> Any:
        kind = BlockingFace if request.param == "blocking" else AsyncFace
        options.setdefault("timeout_s", 10.0)
        clients.append(kind(*args, **options))
        return clients[-1]

    yield make
    for client in clients:
        client.close()


@pytest.fixture
def wire() -> Any:
    """The names above, for test modules: a folder of tests is no package to import from."""

    class Names:
        fingerprint = FINGERPRINT
        reply = Reply
        good_reply = staticmethod(good_reply)
        envelope = staticmethod(envelope)
        score_entry = staticmethod(score_entry)
        now = staticmethod(time.monotonic)

    return Names
