"""An imported llava_qwen checkpoint on the real vLLM engine, against the source's own tensors."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
import torch
from foreign_models import llava_next
from mmreward_service.engine.protocol import CritiqueJob, Media, ReadJob
from mmreward_service.engine.vllm.engine import VllmEngine
from PIL import Image
from tiny_models import gradient, noise

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.asyncio(loop_scope="module"),
]
TEXTS = {"prompt": "What is it?", "response": "A cat, on a chair."}
PICTURES = {"square": noise(1), "wide": gradient(9, 168, 56), "large": gradient(3, 224, 224)}
TOLERANCE = 1e-4


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def engine(imported_llava: Path) -> AsyncIterator[VllmEngine]:
    started = VllmEngine(
        imported_llava, dtype="float32", max_model_len=1024, kv_cache_gib=0.25, max_num_seqs=16
    )
    await started.start()
    yield started
    await started.close()


def expected(engine: VllmEngine, ids: list[int], picture: Image.Image) -> float:
    """MM-RLHF's reward of these ids by plain torch, from the tensors under their first names."""
    placeholder = engine.renderer._tokenizer.token_to_id(llava_next.PLACEHOLDERS[0])
    changed = [llava_next.IMAGE_TOKEN_INDEX if token == placeholder else token for token in ids]
    with torch.inference_mode():
        return llava_next.score(llava_next.random_tensors(512, 0), changed, picture)


@pytest.mark.parametrize("name", PICTURES)
@pytest.mark.parametrize("mode", ["given", "none"])
async def test_a_score_is_that_of_the_source(engine: VllmEngine, name: str, mode: str) -> None:
    """Read after the turn of a given critique, or without one."""
    picture = PICTURES[name]
    critique = "It is a cat indeed." if mode == "given" else None
    ids = engine.renderer.render(images=1, mode=mode, critique=critique, **TEXTS)
    (reading,) = (await engine.read(ReadJob(ids, Media((picture,), (name,))))).readings
    assert reading.status == "ok"
    assert reading.score == pytest.approx(expected(engine, ids, picture), abs=TOLERANCE)


@pytest.mark.parametrize("name", PICTURES)
async def test_a_written_critique_is_scored_after_its_turn(engine: VllmEngine, name: str) -> None:
    """The model writes, the turn ends, and the score is read at the newline behind it."""
    picture = PICTURES[name]
    media = Media((picture,), (name,))
    job = CritiqueJob(engine.renderer.render(images=1, **TEXTS), media, max_tokens=128)
    (reading,) = (await engine.critique(job)).readings
    assert reading.status == "ok", reading
    written = await engine._request(job.prompt_token_ids, media, engine._writing(job, rows=False))
    ids = list(written.outputs[0].token_ids[:-1])
    sequence = job.prompt_token_ids + ids + engine.renderer.after_turn_ids
    assert reading.score == pytest.approx(expected(engine, sequence, picture), abs=TOLERANCE)
