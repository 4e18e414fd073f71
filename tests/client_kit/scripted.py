"""A real HTTP server that answers as a test tells it to."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

FINGERPRINT = "sha256:f00d"


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
