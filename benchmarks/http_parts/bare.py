"""The bare engine: the service's engine without HTTP, JSON, decoding or admission.

Pictures are decoded and prompts rendered before the clock starts. Runs come as lines of JSON on
stdin, as in load.py; the first line of stdout says that the engine is ready.

    {"concurrency": 16, "first": 0, "count": 64}
"""

from __future__ import annotations

import asyncio
import base64
import collections
import io
import itertools
import json
import os
import sys
import time
from pathlib import Path
from typing import Any


def read_jobs(bodies: Path, engine: Any) -> list[Any]:
    """The same requests that the service gets, as jobs of the engine."""
    import hashlib

    from mmreward_service.engine.protocol import CritiqueJob, Media
    from PIL import Image

    jobs = []
    for line in bodies.read_bytes().splitlines():
        item = json.loads(line)["items"][0]
        data = base64.b64decode(item["images"][0].split(",", 1)[1])
        picture = Image.open(io.BytesIO(data)).convert("RGB")
        ids = engine.renderer.render(prompt=item["prompt"], response=item["response"], images=1)
        media = Media((picture,), (hashlib.sha256(data).hexdigest(),))
        jobs.append(CritiqueJob(ids, media, engine.spec.max_critique_tokens))
    return jobs


async def run(engine: Any, jobs: list[Any], order: dict[str, Any]) -> dict[str, Any]:
    first, count = order["first"], order["count"]
    turn = iter(list(itertools.islice(itertools.cycle(jobs), first, first + count)))
    latencies: list[float] = []
    readings: list[Any] = []

    async def worker() -> None:
        for job in turn:
            start = time.perf_counter()
            readings.append((await engine.critique(job)).readings[0])
            latencies.append(time.perf_counter() - start)

    start = time.perf_counter()
    await asyncio.gather(*(worker() for _ in range(order["concurrency"])))
    return {
        "wall_s": time.perf_counter() - start,
        "latencies_s": latencies,
        "statuses": dict(collections.Counter(reading.status for reading in readings)),
        "critique_tokens": sum(reading.tokens for reading in readings),
    }


def build(checkpoint: str, dtype: str) -> Any:
    if checkpoint == "fake":
        from mmreward_service.engine.fake import FakeEngine

        return FakeEngine()
    from mmreward_service.engine.vllm.engine import VllmEngine

    return VllmEngine(Path(checkpoint), dtype=dtype)


async def serve(checkpoint: str, bodies: Path, dtype: str, replies: Any) -> None:
    engine = build(checkpoint, dtype)
    await engine.start()
    jobs = read_jobs(bodies, engine)
    print("ready", file=replies, flush=True)
    loop = asyncio.get_running_loop()
    try:
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            answer = json.dumps(await run(engine, jobs, json.loads(line)))
            print(answer, file=replies, flush=True)
    finally:
        await engine.close()


if __name__ == "__main__":
    # What vLLM prints, its children too, goes to stderr: stdout is for the replies alone.
    own_stdout = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    asyncio.run(serve(sys.argv[1], Path(sys.argv[2]), sys.argv[3], own_stdout))
