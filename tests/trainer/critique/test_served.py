"""A checkpoint that training wrote, on the real vLLM engine: what was learned is what is served."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from mmreward_service.engine.protocol import Media, ReadJob
from mmreward_service.engine.vllm.engine import VllmEngine
from mmreward_trainer.transformers_scorer import TransformersScorer

from .commands import Command
from .conftest import Checkpoints, coloured

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.asyncio(loop_scope="module"),
]


@pytest.fixture(scope="module")
def trained(
    checkpoints: Checkpoints, colours: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """LLaVA-OneVision, whose weights are saved under other names than they are trained under."""
    command = Command(
        checkpoints("llava_onevision"), colours, tmp_path_factory.mktemp("llava"),
        **{"optimisation.max_steps": 3, "run.export_dtype": "float32", "lora.rank": 4},
    )  # fmt: skip
    command.run()
    return command.output


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def engine(trained: Path) -> AsyncIterator[VllmEngine]:
    started = VllmEngine(
        trained, dtype="float32", max_model_len=1024, kv_cache_gib=0.25, max_num_seqs=16
    )
    await started.start()
    yield started
    await started.close()


async def test_served_scores_are_those_of_the_trained_folder(
    engine: VllmEngine, trained: Path
) -> None:
    """Given critiques, right and wrong, of two pictures."""
    scorer = TransformersScorer(trained)
    for colour in ("red", "blue"):
        picture = coloured(colour, 7)
        for critique in ("I see red. Right.", "I see blue. Wrong."):
            ids = engine.renderer.render(
                prompt="What colour?", response="It is red.", images=1, mode="given",
                critique=critique,
            )  # fmt: skip
            (reading,) = (await engine.read(ReadJob(ids, Media((picture,), (colour,))))).readings
            [expected] = scorer.read([ids], [[picture]])
            assert reading.status == "ok"
            assert reading.score == pytest.approx(expected, abs=1e-4)
