"""Heads forced to an extreme on a real engine: the slot is never sampled, and nothing is hidden.

One module, two engines in turn: every score 190 on a model that never ends a turn, and every score
NaN on one that does.
"""

from __future__ import annotations

import asyncio
import math
import os
import signal
from collections.abc import AsyncIterator

import psutil
import pytest
import pytest_asyncio
from mmreward_service.engine.protocol import CritiqueJob, EngineDead, EngineError, Media, ReadJob
from mmreward_service.engine.vllm.engine import VllmEngine
from mmreward_service.reward.slot import SLOT_OFFSET
from prometheus_client import REGISTRY
from tiny_models import TinyOptions, noise

pytestmark = [pytest.mark.vllm, pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]

IMAGE = Media((noise(1),), ("noise-1",))


async def started(folder) -> VllmEngine:
    engine = VllmEngine(folder, dtype="float32", kv_cache_gib=0.25, max_num_seqs=32)
    await engine.start()
    return engine


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def forced_high(checkpoints) -> AsyncIterator[VllmEngine]:
    options = TinyOptions(head_type="linear", head_bias=190.0, ending="never")
    engine = await started(checkpoints("qwen2_5_vl", options))
    yield engine
    await engine.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def forced_nan(checkpoints) -> AsyncIterator[VllmEngine]:
    engine = await started(checkpoints("qwen2_5_vl", TinyOptions(head_bias=math.nan)))
    yield engine
    await engine.close()


def prompt(engine: VllmEngine) -> list[int]:
    return engine.renderer.render(prompt="What is it?", response="A cat.", images=1)


async def sampled(engine: VllmEngine, temperature: float, max_tokens: int):
    """Raw outputs of 16 critiques (one where greedy), score rows included.

    End-of-turn may be drawn by chance on the model that never leads to it.
    """
    job = CritiqueJob(
        prompt(engine),
        IMAGE,
        max_tokens=max_tokens,
        critiques=1 if temperature == 0 else 16,
        temperature=temperature,
        seed=1,
    )
    output = await engine._request(job.prompt_token_ids, IMAGE, engine._writing(job, rows=True))
    return output.outputs


@pytest.mark.parametrize("temperature", [0.0, 1.0, 2.0])
async def test_highest_score_never_makes_the_slot_a_token(forced_high, temperature):
    """At a score of 190 the slot is the largest thing a head may write; still no padded id is ever
    sampled, and each row carries exactly that score."""
    used = forced_high.renderer.tokenizer_size
    outputs = await sampled(forced_high, temperature, max_tokens=100)
    assert sum(len(one.token_ids) for one in outputs) >= 100
    for one in outputs:
        assert len(one.token_ids) == len(one.logprobs)
        assert max(one.token_ids) < used
        for row in one.logprobs:
            assert row[forced_high.spec.score_slot].logprob + SLOT_OFFSET == 190.0


async def test_forced_score_is_read_back(forced_high):
    """190 in, 190 out."""
    outcome = await forced_high.read(ReadJob(prompt(forced_high), IMAGE))
    assert outcome.readings[0].score == 190.0


def running_requests() -> float:
    return sum(
        sample.value
        for metric in REGISTRY.collect()
        for sample in metric.samples
        if sample.name == "vllm:num_requests_running"
    )


async def until(condition, seconds: float = 60.0) -> None:
    async with asyncio.timeout(seconds):
        while not await condition():  # noqa: ASYNC110 - vLLM offers no event for it
            await asyncio.sleep(0.05)


async def test_cancelling_a_critique_aborts_it_in_the_engine(forced_high):
    """A caller that goes away frees its place: all of its K critiques leave vLLM's scheduler."""
    job = CritiqueJob(
        prompt(forced_high), IMAGE, max_tokens=3500, critiques=8, temperature=0.2, seed=2
    )
    task = asyncio.create_task(forced_high.critique(job))

    async def all_running() -> bool:
        return running_requests() >= 8

    await until(all_running)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    async def none_running() -> bool:
        # The gauge moves with the steps of the scheduler: give it one.
        await forced_high.read(ReadJob(prompt(forced_high), IMAGE))
        return running_requests() == 0

    await until(none_running)
    assert forced_high._llm.get_num_unfinished_requests() == 0


@pytest.mark.parametrize("temperature", [0.0, 1.0, 2.0])
async def test_nan_score_never_makes_the_slot_a_token(forced_nan, temperature):
    """A NaN would win every argmax; in the slot it is minus infinity."""
    used = forced_nan.renderer.tokenizer_size
    for one in await sampled(forced_nan, temperature, max_tokens=100):
        assert len(one.token_ids) == len(one.logprobs)
        assert max(one.token_ids) < used
        for row in one.logprobs:
            assert row[forced_nan.spec.score_slot].logprob == -math.inf


async def test_nan_score_is_not_finite_and_keeps_the_text(forced_nan):
    """A head that holds NaN gives no number, but the critique is there to be read."""
    job = CritiqueJob(prompt(forced_nan), IMAGE, max_tokens=64)
    (reading,) = (await forced_nan.critique(job)).readings
    assert (reading.status, reading.score) == ("not_finite", None)
    assert reading.text
    (read,) = (await forced_nan.read(ReadJob(prompt(forced_nan), IMAGE))).readings
    assert (read.status, read.score) == ("not_finite", None)


async def test_death_of_vllm_is_noticed(forced_nan):
    """Last of this module: when vLLM's process is killed, requests and the check say so."""
    await forced_nan.check()
    children = psutil.Process().children(recursive=True)
    cores = [child for child in children if "EngineCore" in " ".join(child.cmdline())]
    for child in cores or children:
        os.kill(child.pid, signal.SIGKILL)

    async def dead() -> bool:
        try:
            await forced_nan.check()
        except EngineDead:
            return True
        return False

    await until(dead)
    with pytest.raises(EngineError):
        await forced_nan.read(ReadJob(prompt(forced_nan), IMAGE))
