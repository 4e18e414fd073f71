"""The load generator: a process of its own with raw keep-alive connections, as lean as it gets.

Requests are complete byte strings before the clock starts, replies are kept as bytes and read only
after it has stopped. A run is one line of JSON on stdin, its result one line on stdout:

    {"port": 8000, "path": "/v1/score", "bodies": "FILE", "concurrency": 16, "first": 0,
     "count": 64}

FILE holds one request body a line. Only the standard library is imported.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import resource
import sys
import time
from pathlib import Path
from typing import Any


async def run(order: dict[str, Any]) -> dict[str, Any]:
    requests = _requests(order)
    turn = iter(range(order["count"]))
    latencies: list[float] = []
    replies: list[bytes] = []
    connections = [await _connect(order) for _ in range(min(order["concurrency"], order["count"]))]

    async def worker(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for i in turn:
            start = time.perf_counter()
            writer.write(requests[i])
            replies.append(await _reply(reader))
            latencies.append(time.perf_counter() - start)

    cpu, start = _cpu_s(), time.perf_counter()
    await asyncio.gather(*(worker(*connection) for connection in connections))
    wall, cpu = time.perf_counter() - start, _cpu_s() - cpu
    for _, writer in connections:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
    return {
        "wall_s": wall,
        "cpu_s": cpu,
        "latencies_s": latencies,
        "bytes_sent": sum(map(len, requests)),
        **_outcome(replies),
    }


def _requests(order: dict[str, Any]) -> list[bytes]:
    lines = Path(order["bodies"]).read_bytes().splitlines()
    bodies = itertools.islice(
        itertools.cycle(lines), order["first"], order["first"] + order["count"]
    )
    head = (
        f"POST {order['path']} HTTP/1.1\r\nHost: 127.0.0.1:{order['port']}\r\n"
        "Content-Type: application/json\r\nContent-Length: "
    )
    return [f"{head}{len(body)}\r\n\r\n".encode() + body for body in bodies]


async def _connect(order: dict[str, Any]) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", order["port"], limit=1 << 24)


async def _reply(reader: asyncio.StreamReader) -> bytes:
    """Status line, then the body; only replies with a content length are understood."""
    head = await reader.readuntil(b"\r\n\r\n")
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            body = await reader.readexactly(int(value))
            return head.split(b"\r\n", 1)[0] + b"\n" + body
    raise ValueError(f"a reply without content length: {head!r}")


def _outcome(replies: list[bytes]) -> dict[str, Any]:
    """Counts over all replies; `comparisons` are those of groups."""
    statuses: dict[str, int] = {}
    usage = {"prompt_tokens": 0, "cached_tokens": 0, "completion_tokens": 0}
    tokens = comparisons = 0
    for reply in replies:
        line, _, body = reply.partition(b"\n")
        code = line.split()[1].decode()
        content = json.loads(body)
        for item in content.get("data", [{"status": f"http {code}"}]):
            status = item["status"]
            statuses[status] = statuses.get(status, 0) + 1
            tokens += sum(critique["tokens"] for critique in item.get("critiques", []))
            comparisons += len(item.get("comparisons", []))
        for name in usage:
            usage[name] += content.get("usage", {}).get(name, 0)
    return {
        "statuses": statuses,
        "critique_tokens": tokens,
        "comparisons": comparisons,
        "usage": usage,
    }


def _cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def main() -> None:
    for line in sys.stdin:
        print(json.dumps(asyncio.run(run(json.loads(line)))), flush=True)


if __name__ == "__main__":
    main()
