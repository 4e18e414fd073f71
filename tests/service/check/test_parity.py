"""The golden scores computed again on the CPU: equal for a good folder, named for a bad one."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from mmreward_service.check.parity import largest
from mmreward_service.check.report import Report, check_checkpoint
from mmreward_service.settings import Settings
from safetensors.torch import load_file, save_file


def check_with_parity(folder: Path, **settings: object) -> Report:
    return check_checkpoint(folder, Settings(checkpoint=folder, **settings), parity=True)


def test_the_bundled_model_gives_its_golden_scores(digits: Path) -> None:
    """What the trainer computed is computed again, far below the tolerance."""
    report = check_with_parity(digits)
    assert report.findings.would_serve
    assert report.parity_error is not None
    assert report.parity_error < 1e-5


def test_exchanged_weights_are_found(digits: Path) -> None:
    """Two layers exchanged: every file is in order, and every score is wrong."""
    file = digits / "model.safetensors"
    tensors = load_file(file)
    name = next(n for n in tensors if n.endswith("layers.0.mlp.up_proj.weight"))
    other = name.replace("layers.0", "layers.1")
    tensors[name], tensors[other] = tensors[other].clone(), tensors[name].clone()
    save_file(tensors, file, metadata={"format": "pt"})
    report = check_with_parity(digits)
    assert [finding.topic for finding in report.findings.problems] == ["parity"]
    assert "tolerance" in report.findings.problems[0].text


def test_scores_that_are_no_numbers_are_found(digits: Path) -> None:
    """NaN differs by NaN, which no comparison calls too much by itself."""
    file = digits / "model.safetensors"
    tensors = load_file(file)
    tensors["reward_head.out.weight"] = torch.full_like(
        tensors["reward_head.out.weight"], torch.nan
    )
    save_file(tensors, file, metadata={"format": "pt"})
    assert [f.topic for f in check_with_parity(digits).findings.problems] == ["parity"]


@pytest.mark.parametrize("differences", [[math.nan, 0.1], [0.1, math.nan], [math.nan]])
def test_one_score_that_is_no_number_is_enough(differences: list[float]) -> None:
    """max() finds a NaN or passes over it, by where it stands."""
    assert largest(differences) == math.inf
    assert largest([0.1, 0.3, 0.2]) == 0.3


def test_the_tolerance_is_the_users(digits: Path) -> None:
    """In bfloat16 the difference is not zero; a tolerance below it refuses."""
    report = check_with_parity(digits, dtype="bfloat16")
    assert report.findings.would_serve
    assert report.parity_error is not None
    assert 0 < report.parity_error < 0.1
    strict = check_with_parity(digits, dtype="bfloat16", parity_tolerance=report.parity_error / 2)
    assert not strict.findings.would_serve


def test_a_broken_folder_is_not_loaded(digits: Path) -> None:
    """The scores wait until the files are in order."""
    (digits / "processor_config.json").unlink()
    report = check_with_parity(digits)
    assert report.parity_error is None
    assert any(f.topic == "parity" and f.weight == "note" for f in report.findings.found)
