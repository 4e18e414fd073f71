"""The ways of getting a critique and a score out of vLLM that single_pass.py compares.

All of them send the same prompts through the same code of the service's engine; what differs is
which requests they make. Before each measurement the caches of the engine are emptied, so that no
round profits from the round before it.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmreward_service.engine.protocol import CritiqueJob, Media, ReadJob
from mmreward_service.engine.vllm.engine import VllmEngine
from mmreward_service.engine.vllm.environment import prepare_environment
from workload import Judgement

# Tables and progress go to the same terminal. Set before vLLM is imported, which the engine does.
os.environ.setdefault("VLLM_LOGGING_LEVEL", "WARNING")


class StockEngine(VllmEngine):
    """The same engine code around vLLM's own model class: no head, no slot, no raw logits.

    It can only write. `plain` is the checkpoint without its reward part.
    """

    def __init__(self, checkpoint: Path, plain: Path, **arguments: Any) -> None:
        super().__init__(checkpoint, **arguments)
        self._arguments["model"] = str(plain)
        del self._arguments["hf_overrides"], self._arguments["logprobs_mode"]

    def _build(self) -> Any:
        prepare_environment(enforce_eager=self._eager)
        from vllm.engine.arg_utils import AsyncEngineArgs
        from vllm.v1.engine.async_llm import AsyncLLM

        return AsyncLLM.from_engine_args(AsyncEngineArgs(**self._arguments))


@dataclass
class Written:
    """What one run of a variant produced: per judgement the number of tokens and the score."""

    tokens: list[int] = field(default_factory=list)
    scores: list[float | None] = field(default_factory=list)


def jobs_of(engine: VllmEngine, judgements: list[Judgement], max_tokens: int) -> list[CritiqueJob]:
    """Pictures decoded and prompts rendered: the part that every variant has in common."""
    return [
        CritiqueJob(
            prompt_token_ids=engine.renderer.render(
                prompt=one.prompt, response=one.response, images=1
            ),
            media=Media(images=(one.picture(),), hashes=(one.image_hash,)),
            max_tokens=max_tokens,
        )
        for one in judgements
    ]


class VllmPasses:
    """Each method runs all jobs at once, keeps what came out in `last` and returns seconds."""

    def __init__(self, engine: VllmEngine, stock: StockEngine | None, jobs: list[CritiqueJob]):
        self.engine = engine
        self.stock = stock
        self.jobs = jobs
        self.last: dict[str, Written] = {}

    async def critique_only_stock(self) -> float:
        """Stock vLLM writes, nobody scores."""
        assert self.stock is not None
        return await self._write(self.stock, "critique_only")

    async def critique_only_slot(self) -> float:
        """The model with the head writes, but no score row is asked for."""
        return await self._write(self.engine, "critique_only_with_head")

    async def single_pass(self) -> float:
        """What the service does."""
        await forget(self.engine)
        start = time.perf_counter()
        outcomes = await self._all(self.engine.critique)
        seconds = time.perf_counter() - start
        readings = [outcome.readings[0] for outcome in outcomes]
        self.last["single_pass"] = Written(
            [r.tokens for r in readings], [r.score for r in readings]
        )
        return seconds

    async def second_request(self) -> float:
        """Write; then a request of one token, whose prefix is still in the cache."""
        await forget(self.engine)
        written = Written()

        async def one(job: CritiqueJob) -> tuple[int, float | None]:
            output = await self._generate(self.engine, job)
            return len(output), await self._read(job, output)

        start = time.perf_counter()
        for tokens, score in await self._all(one):
            written.tokens.append(tokens)
            written.scores.append(score)
        seconds = time.perf_counter() - start
        self.last["second_request"] = written
        return seconds

    async def recomputation(self) -> float:
        """Write; forget prefix and picture; then compute the whole sequence again.

        The forgetting itself is not counted.
        """
        await forget(self.engine)
        start = time.perf_counter()
        outputs = await self._all(lambda job: self._generate(self.engine, job))
        seconds = time.perf_counter() - start
        await forget(self.engine, preprocessed=False)
        start = time.perf_counter()
        scores = await asyncio.gather(
            *(self._read(job, output) for job, output in zip(self.jobs, outputs, strict=True))
        )
        seconds += time.perf_counter() - start
        self.last["recomputation"] = Written([len(output) for output in outputs], list(scores))
        return seconds

    async def _write(self, engine: VllmEngine, name: str) -> float:
        await forget(engine)
        start = time.perf_counter()
        outputs = await self._all(lambda job: self._generate(engine, job))
        seconds = time.perf_counter() - start
        self.last[name] = Written([len(output) for output in outputs])
        return seconds

    async def _all(self, call: Callable[[CritiqueJob], Awaitable[Any]]) -> list[Any]:
        return list(await asyncio.gather(*(call(job) for job in self.jobs)))

    async def _generate(self, engine: VllmEngine, job: CritiqueJob) -> list[int]:
        """The request that the engine itself sends, without score rows; its token ids."""
        output = await engine._request(
            job.prompt_token_ids, job.media, engine._writing(job, rows=False)
        )
        return list(output.outputs[0].token_ids)

    async def _read(self, job: CritiqueJob, output: list[int]) -> float | None:
        """The score at the last token before the one that ended the critique."""
        ids = job.prompt_token_ids + output[:-1]
        outcome = await self.engine.read(ReadJob(ids, job.media))
        return outcome.readings[0].score


async def forget(engine: VllmEngine, preprocessed: bool = True) -> None:
    """Empty the prefix cache, the encoder cache and, if asked for, that of the preprocessor."""
    llm = engine._running()
    if await llm.reset_prefix_cache() is False:
        raise RuntimeError("the prefix cache could not be emptied: a request is still running")
    await llm.reset_encoder_cache()
    if preprocessed:
        await llm.reset_mm_cache()
