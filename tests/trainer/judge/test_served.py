"""A judge that training wrote, on the real vLLM engine: the same ids in, the same text out."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from mmreward_service.engine.protocol import CritiqueJob, Media
from mmreward_service.engine.vllm.engine import VllmEngine
from mmreward_trainer.critique.run import tables
from mmreward_trainer.judge.preparation import load_model, prepare

from .conftest import ATTACK, Trained, coloured, judge_config

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.asyncio(loop_scope="module"),
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def engine(trained: Trained) -> AsyncIterator[VllmEngine]:
    started = VllmEngine(
        trained.output, dtype="float32", max_model_len=512, kv_cache_gib=0.25, max_num_seqs=16
    )
    await started.start()
    yield started
    await started.close()


async def test_the_engine_writes_what_the_trained_model_writes(
    engine: VllmEngine, trained: Trained
) -> None:
    """Greedy, of each training row in both orders: equal prompts, equal judgements."""
    config = judge_config(trained.output, trained.config.data.train[0].parent)
    config = config.model_copy(update={"judge": type(config.judge)()})
    parts = prepare(config)
    assert parts.spec.templates == engine.spec.templates
    train, _ = tables(
        config.data, trained.output / "again", parts.encoder.encode, lambda line: None
    )
    model = load_model(config, parts.spec, trained.output).eval()
    finished = 0
    for number in range(4):
        row = train.table[number]
        pair = parts.encoder.encode(row)
        [written] = parts.writer.write(model, [pair], temperature=0.0)
        picture = coloured(("red", "green", "blue")[number % 3], number)
        for comparison, ids in zip(pair.answers, written, strict=True):
            prompt = engine.renderer.render_judge(
                prompt=row["prompt"], first=comparison.first, second=comparison.second, images=1
            )
            assert prompt == parts.encoder.builder.prompt(comparison)
            outcome = await engine.write(
                CritiqueJob(
                    prompt, Media((picture,), (f"{number}",)), engine.spec.max_tokens("judge")
                )
            )
            [reading] = outcome.readings
            assert (reading.finish_reason == "stop") == (ids is not None)
            if ids is not None:
                assert reading.text == parts.encoder.builder.renderer.decode(ids)
                finished += 1
    assert train.table[2]["chosen"] == ATTACK
    assert finished > 0
