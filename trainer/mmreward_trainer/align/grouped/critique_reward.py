"""The score of each completion by itself, of a critique model; see `rewards`."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from mmreward_client import ScoreResult, TooLarge
from mmreward_client.schema import Mode

from mmreward_trainer.align.grouped.figures import Outcome
from mmreward_trainer.align.grouped.reading import Completion
from mmreward_trainer.align.grouped.service_reward import Read, ServiceReward
from mmreward_trainer.align.halving import Items, in_halves


class CritiqueReward(ServiceReward):
    """The score of each completion by itself, of a critique model: `POST /v1/score`.

    Args:
        mode: `generate` has a critique written, `none` scores without.
        critiques: sampled of each completion; the reward is the mean of their scores.
        items_per_request: completions of one request.
        others: as `ServiceReward`.
    """

    __name__ = "critique_reward"

    def __init__(
        self,
        url: str | None = None,
        *,
        mode: Mode = "generate",
        critiques: int = 1,
        items_per_request: int = 8,
        **others: Any,
    ) -> None:
        if mode not in ("generate", "none") or items_per_request < 1:
            raise ValueError("mode is generate or none, items_per_request at least 1")
        super().__init__(url, **others)
        self._mode = mode
        self._options: dict[str, Any] = {"critiques": critiques, "model": self._model}
        self._items_per_request = items_per_request

    async def _outcomes(
        self, read: Read, count: int
    ) -> tuple[list[Completion], list[Outcome], list[float]]:
        rows = read()
        # An empty text is refused by the service, and is no answer.
        asked = [i for i, row in enumerate(rows) if row.is_complete and row.response]
        size = self._items_per_request
        chunks = [asked[start : start + size] for start in range(0, len(asked), size)]
        calls = [self._call([rows[i] for i in chunk]) for chunk in chunks]
        replies = await self._caller.ask_all(
            calls, lambda results: all(result is None for result in results)
        )
        found = [Outcome(None, "item") if row.is_complete else self._cut() for row in rows]
        for chunk, reply in zip(chunks, replies, strict=True):
            for place, i in enumerate(chunk):
                if reply is None:
                    found[i] = Outcome(None, "call")
                    continue
                result = reply[place]
                if result is None:
                    self.counts["status/too_large"] += 1
                    continue
                self.counts[f"status/{result.status}"] += 1
                found[i] = Outcome(result.score, "item" if result.score is None else None)
        return rows, found, []

    def _call(
        self, rows: Sequence[Completion]
    ) -> Callable[[float], Awaitable[list[ScoreResult | None]]]:
        items = [
            {
                "images": list(row.images),
                "prompt": row.prompt,
                "response": row.response,
                "mode": self._mode,
            }
            for row in rows
        ]

        async def ask(left_s: float) -> list[ScoreResult | None]:
            ends_at = time.monotonic() + left_s
            return await in_halves(items, lambda some: self._scores(some, ends_at), self._alone)

        return ask

    async def _scores(self, items: Items, ends_at: float) -> list[ScoreResult | None]:
        left_s = max(0.001, ends_at - time.monotonic())
        return [*(await self.client.score(items, timeout_s=left_s, **self._options)).data]

    def _alone(self, error: TooLarge) -> None:
        if self._caller.stops or error.is_by_number:
            raise error
