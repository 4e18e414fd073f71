"""Two passes with transformers, as the released evaluation does it: generate, then run it again.

The first pass writes the critique; the second runs picture, prompt and critique through the model
once more and reads the head at the last critique token. One by one, or in padded batches. The
second pass leaves the output layer out; both preprocess the picture.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from mmreward_service.engine.protocol import CritiqueJob
from mmreward_trainer.transformers_scorer import TransformersScorer
from passes_vllm import Written


class ScorerOnDevice(TransformersScorer):
    """The trainer's scorer, on a GPU where there is one."""

    def __init__(self, folder: Path, dtype: torch.dtype) -> None:
        super().__init__(folder, dtype)
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.model.to(self.device)
        self.head.to(self.device)

    def _inputs(self, *arguments: Any, **options: Any) -> dict[str, Any]:
        inputs = super()._inputs(*arguments, **options)
        return {name: value.to(self.device) for name, value in inputs.items()}


class TransformersPasses:
    """Each variant runs all jobs, keeps what came out in `last` and returns seconds."""

    def __init__(self, folder: Path, jobs: Sequence[CritiqueJob], dtype: str) -> None:
        self.scorer = ScorerOnDevice(folder, getattr(torch, dtype))
        self.jobs = jobs
        self.last: dict[str, Written] = {}

    async def warm_up(self) -> float:
        return await asyncio.to_thread(self._run, "warm_up", self.jobs[:1], 1)

    async def run(self, name: str, batch_size: int, limit: int) -> float:
        """Seconds for all jobs; with a lower limit, those of the first ones scaled up."""
        jobs = self.jobs[:limit]
        # In a thread, so that the event loop of the engines beside it is not starved.
        seconds = await asyncio.to_thread(self._run, name, jobs, batch_size)
        return seconds * len(self.jobs) / len(jobs)

    def _run(self, name: str, jobs: Sequence[CritiqueJob], batch_size: int) -> float:
        written = Written()
        start = time.perf_counter()
        for i in range(0, len(jobs), batch_size):
            batch = jobs[i : i + batch_size]
            pictures = [job.media.images for job in batch]
            critiques = self.scorer.generate([job.prompt_token_ids for job in batch], pictures)
            # Where no end-of-turn came, the last token takes its place, as in the other variants.
            texts = [ids if is_finished else ids[:-1] for ids, is_finished in critiques]
            written.scores += self.scorer.read(
                [job.prompt_token_ids + ids for job, ids in zip(batch, texts, strict=True)],
                pictures,
            )
            written.tokens += [len(ids) + 1 for ids in texts]
        self.last[name] = written
        return time.perf_counter() - start
