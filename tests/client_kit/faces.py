"""Both clients behind one blocking face, so that one test holds for both."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

from mmreward_client import AsyncRewardClient, RewardClient


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

    def stream_all(
        self, items: Any, method: str = "stream_score", **options: Any
    ) -> tuple[list[Any], Any]:
        async def collect() -> tuple[list[Any], Any]:
            async with await getattr(self.client, method)(items, **options) as stream:
                return [result async for result in stream], stream.reply

        return self.runner.run(collect())

    def close(self) -> None:
        self.runner.run(self.client.aclose())
        self.runner.close()


class BlockingFace(RewardClient):
    def stream_all(
        self, items: Any, method: str = "stream_score", **options: Any
    ) -> tuple[list[Any], Any]:
        with getattr(self, method)(items, **options) as stream:
            return list(stream), stream.reply


@contextmanager
def clients(kind: Literal["blocking", "async"]) -> Iterator[Callable[..., Any]]:
    """Makes clients of one kind and closes them in the end."""
    made: list[Any] = []

    def make(*args: Any, **options: Any) -> Any:
        face = BlockingFace if kind == "blocking" else AsyncFace
        options.setdefault("timeout_s", 10.0)
        made.append(face(*args, **options))
        return made[-1]

    yield make
    for client in made:
        client.close()
