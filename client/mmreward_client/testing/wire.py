"""A real HTTP server on the loopback address that hands each request to one function.

A thread per connection. Stopping closes the connections as well, as a killed process does, and the
same port can be taken again.
"""

from __future__ import annotations

import contextlib
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Request:
    """One request; names of headers in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Response:
    """What is sent back, and how badly.

    Attributes:
        chunks: the body, in the pieces in which it is sent; several are a stream.
        wait_s: before the answer; infinite: until the caller hangs up.
        drip_s: before every byte of the body.
        send_bytes: end of the connection after so many bytes of the body; 0: before the answer.
    """

    status: int
    chunks: tuple[bytes, ...]
    headers: Mapping[str, str] = field(default_factory=dict)
    wait_s: float = 0.0
    drip_s: float | None = None
    send_bytes: int | None = None


Answerer = Callable[[Request], contextlib.AbstractContextManager[Response]]
"""Left when the response is on its way, or the caller is gone."""


class Wire:
    """The socket, its threads, and its connections.

    Args:
        port: 0 takes a free one, and keeps it over a stop.
    """

    def __init__(self, answer: Answerer, port: int = 0) -> None:
        self._answer = answer
        self._port = port
        self._lock = threading.Lock()
        self._connections: set[socket.socket] = set()
        self._stopping = threading.Event()
        self._server: ThreadingHTTPServer | None = None
        self._thread: threading.Thread | None = None

    @property
    def port(self) -> int:
        return self._port

    def start(self) -> None:
        """Listen.

        Raises:
            OSError: the port is taken.
        """
        if self._server is not None:
            return
        self._stopping.clear()
        server = ThreadingHTTPServer(("127.0.0.1", self._port), _handler(self))
        server.daemon_threads = False  # so that closing waits for them
        self._port = server.server_port
        self._server = server
        self._thread = threading.Thread(
            target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Close the port and every connection."""
        server, self._server = self._server, None
        if server is None:
            return
        self._stopping.set()
        server.shutdown()
        assert self._thread is not None
        self._thread.join()
        # A forked worker may hold the socket, too: closed here alone it would go on listening.
        _shut_down(server.socket)
        server.socket.close()
        with self._lock:
            for connection in self._connections:
                _shut_down(connection)
        server.server_close()

    def handle(self, handler: BaseHTTPRequestHandler) -> None:
        length = int(handler.headers.get("Content-Length") or 0)
        request = Request(
            handler.command,
            handler.path.partition("?")[0],
            {name.lower(): value for name, value in handler.headers.items()},
            handler.rfile.read(length),
        )
        with self._answer(request) as response:
            try:
                self._send(handler, response)
            except OSError:
                handler.close_connection = True  # the caller hung up

    def _send(self, handler: BaseHTTPRequestHandler, response: Response) -> None:
        is_there = self._waited(handler.connection, response.wait_s)
        if not is_there or response.send_bytes == 0:
            handler.close_connection = True
            return
        handler.send_response(response.status)
        for name, value in response.headers.items():
            handler.send_header(name, value)
        body = response.chunks
        if len(body) == 1:
            handler.send_header("Content-Length", str(len(body[0])))
        else:
            handler.send_header("Transfer-Encoding", "chunked")
            body = (*(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in body), b"0\r\n\r\n")
        handler.end_headers()
        for piece in _pieces(body, response.send_bytes, is_drip=response.drip_s is not None):
            if response.drip_s is not None and not self._waited(
                handler.connection, response.drip_s
            ):
                break
            handler.wfile.write(piece)
        if response.send_bytes is not None:
            handler.close_connection = True
            _shut_down(handler.connection)

    def _waited(self, connection: socket.socket, seconds: float) -> bool:
        """False if the caller hung up, or this side stops, before the time is over."""
        ends_at = time.monotonic() + seconds
        while (left_s := ends_at - time.monotonic()) > 0:
            readable, _, _ = select.select([connection], [], [], min(left_s, 0.02))
            if self._stopping.is_set():
                return False
            if readable and not connection.recv(1, socket.MSG_PEEK):
                return False
            if readable:
                self._stopping.wait(min(left_s, 0.02))  # the next request, sent too early
        return not self._stopping.is_set()

    def opened(self, connection: socket.socket) -> None:
        with self._lock:
            self._connections.add(connection)
            if self._stopping.is_set():
                # Accepted before the stop, and perhaps too late for its walk over the connections.
                _shut_down(connection)

    def closed(self, connection: socket.socket) -> None:
        with self._lock:
            self._connections.discard(connection)


def _shut_down(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


def _pieces(body: Sequence[bytes], left: int | None, *, is_drip: bool) -> Iterator[bytes]:
    """The body as it is written, cut after `left` bytes, where the connection is to end."""
    for chunk in body:
        part = chunk if left is None else chunk[:left]
        if not is_drip:
            yield part
        else:
            yield from (part[place : place + 1] for place in range(len(part)))
        if left is not None:
            left -= len(part)
            if left <= 0:
                return


def _handler(wire: Wire) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def setup(self) -> None:
            super().setup()
            wire.opened(self.connection)

        def finish(self) -> None:
            wire.closed(self.connection)
            with contextlib.suppress(OSError):
                super().finish()

        def handle_one_request(self) -> None:
            # A connection that is cut while it is idle is no event for anybody's log.
            with contextlib.suppress(ConnectionError):
                super().handle_one_request()
                return
            self.close_connection = True

        def log_message(self, format: str, *arguments: Any) -> None: ...

        def do_GET(self) -> None:
            wire.handle(self)

        do_POST = do_GET

    return Handler
