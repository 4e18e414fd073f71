"""An endpoint that answers every POST with the same scored item and does nothing else.

What a run against it costs is what the load generator costs. Prints its port, then serves until
its stdin is closed.
"""

from __future__ import annotations

import asyncio
import json
import sys

_CRITIQUE = {"text": "x" * 300, "score": 0.5, "status": "ok", "finish_reason": "stop", "tokens": 64}
_ITEM = {"index": 0, "id": None, "status": "ok", "score": 0.5, "critiques": [_CRITIQUE]}
_BODY = json.dumps({"object": "list", "data": [_ITEM], "padding": "x" * 900}).encode()
_REPLY = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(_BODY) + _BODY


class Null(asyncio.Protocol):
    """Counts the bytes of a request's body and answers when they are there."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.head = b""
        self.missing = 0

    def data_received(self, data: bytes) -> None:
        if self.missing == 0:
            self.head += data
            head, separator, body = self.head.partition(b"\r\n\r\n")
            if not separator:
                return
            length = next(
                int(line.split(b":")[1])
                for line in head.split(b"\r\n")
                if line.lower().startswith(b"content-length")
            )
            self.missing, self.head = length - len(body), b""
        else:
            self.missing -= len(data)
        if self.missing == 0:
            self.transport.write(_REPLY)  # type: ignore[attr-defined]


async def serve() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Null, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()


if __name__ == "__main__":
    asyncio.run(serve())
