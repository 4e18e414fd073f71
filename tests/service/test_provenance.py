"""What the fingerprint covers: every part of a checkpoint that a number of a reply depends on."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from mmreward_service.engine.fake_checkpoint import fake_spec
from mmreward_service.engine.vllm.provenance import describe_engine
from mmreward_service.reward.spec import HeadSpec, RewardSpec

SPEC = fake_spec()


def described(spec: RewardSpec, folder: Path, **changes: Any) -> dict[str, Any]:
    settings = {
        "dtype": "float32", "quantization": None, "cache_dtype": "auto", "load_format": "auto",
        "weights": "ab",
    } | changes  # fmt: skip
    config: Any = SimpleNamespace(
        model_config=SimpleNamespace(
            dtype=settings["dtype"], quantization=settings["quantization"]
        ),
        load_config=SimpleNamespace(load_format=settings["load_format"]),
        cache_config=SimpleNamespace(cache_dtype=settings["cache_dtype"]),
    )
    return describe_engine(
        model_name="m", folder=folder, weights_sha256=settings["weights"], spec=spec,
        config=config, mm_processor_kwargs=None,
    )  # fmt: skip


def test_equal_engines_have_one_fingerprint(tmp_path: Path) -> None:
    """The same parts give the same fingerprint, so a pin survives a restart."""
    first, second = described(SPEC, tmp_path), described(SPEC, tmp_path)
    assert first["fingerprint"] == second["fingerprint"]


@pytest.mark.parametrize(
    "change",
    [
        {"calibration": SPEC.calibration[:1]},
        {"score_range": None},
        {"head": HeadSpec(type="silu")},
        {"read_out": "after_turn"},
        {
            "templates": SPEC.templates.model_copy(
                update={"judge": "{media}{prompt}{first}{second}"}
            )
        },
        {"kinds": ["critique"]},
    ],
    ids=lambda change: next(iter(change)),
)
def test_what_moves_a_number_moves_the_fingerprint(change: dict[str, Any], tmp_path: Path) -> None:
    """A trainer that pinned the fingerprint is told of each of these, calibration among them."""
    before = described(SPEC, tmp_path)["fingerprint"]
    assert described(SPEC.model_copy(update=change), tmp_path)["fingerprint"] != before


@pytest.mark.parametrize("name", ["dtype", "quantization", "cache_dtype", "load_format", "weights"])
def test_how_it_runs_moves_the_fingerprint(name: str, tmp_path: Path) -> None:
    """Precision, quantisation and weights belong to it."""
    before = described(SPEC, tmp_path)["fingerprint"]
    assert described(SPEC, tmp_path, **{name: "other"})["fingerprint"] != before


def test_the_processor_moves_the_fingerprint(tmp_path: Path) -> None:
    """Another pixel limit is another picture for the model."""
    before = described(SPEC, tmp_path)["fingerprint"]
    (tmp_path / "preprocessor_config.json").write_text('{"max_pixels": 784}', encoding="utf-8")
    assert described(SPEC, tmp_path)["fingerprint"] != before
