"""An imported classifier on the real vLLM engine: its own scores, none where it cannot write."""

from __future__ import annotations

from pathlib import Path

import pytest
from foreign_models import stock
from mmreward_service.engine.protocol import CritiqueJob, Media, ReadJob
from mmreward_service.engine.vllm.engine import VllmEngine
from mmreward_trainer.importing.conversion import Wishes
from tiny_models import gradient, noise
from transformers import AutoProcessor

from .conftest import importing

TEXTS = {"prompt": "What is it?", "response": "A cat, on a chair."}


@pytest.mark.vllm
@pytest.mark.slow
@pytest.mark.timeout(900)
async def test_a_classifier_without_an_output_layer_is_served(tmp_path: Path) -> None:
    """Mode none gives the classifier's logit; mode generate gives no number within its limit."""
    source, output = tmp_path / "source", tmp_path / "out"
    classifier = stock.build_classifier(source, "qwen2_5_vl")
    assert importing(Wishes(source), output) == 0
    processor = AutoProcessor.from_pretrained(source)
    engine = VllmEngine(
        output, dtype="float32", max_model_len=1024, kv_cache_gib=0.25, max_num_seqs=8
    )
    await engine.start()
    try:
        for number, picture in enumerate((noise(1), gradient(7, 112, 56))):
            media = Media((picture,), (f"picture-{number}",))
            ids = engine.renderer.render(images=1, mode="none", **TEXTS)
            (reading,) = (await engine.read(ReadJob(ids, media))).readings
            made = stock.inputs(processor, TEXTS["prompt"], TEXTS["response"], picture)
            expected = stock.classifier_score(classifier, made)
            assert reading.score == pytest.approx(expected, abs=1e-3)
            writing = engine.renderer.render(images=1, **TEXTS)
            job = CritiqueJob(writing, media, max_tokens=engine.spec.max_critique_tokens)
            (written,) = (await engine.critique(job)).readings
            assert written.status in ("truncated", "unparsed")
            assert written.score is None
    finally:
        await engine.close()
