"""A checkpoint whose head holds NaN, served for real: never a number, always a status."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from mmreward_service.reward.checkpoint import load_spec
from safetensors.torch import load_file, save_file
from service_kit.real import DIGITS, real_service

pytestmark = [pytest.mark.vllm, pytest.mark.slow, pytest.mark.timeout(1800)]


def test_a_nan_in_the_head_is_not_finite_everywhere(tmp_path: Path) -> None:
    """/ready says why it is not ready; generate, given and none answer `not_finite`."""
    folder = tmp_path / "broken"
    shutil.copytree(DIGITS, folder)
    file = folder / "model.safetensors"
    tensors = load_file(file)
    name = next(name for name in tensors if name.startswith("reward_head.") and "bias" in name)
    tensors[name] = tensors[name] * float("nan")
    save_file(tensors, file, metadata={"format": "pt"})
    golden = load_spec(folder).golden[0]
    item = {"images": [golden.image], "prompt": golden.prompt, "response": golden.response}
    items = [
        item,
        {**item, "mode": "given", "critique": golden.critique},
        {**item, "mode": "none"},
    ]
    with real_service(folder, tmp_path / "log") as client:
        ready = client.get("/ready")
        assert ready.status_code == 503
        assert "not_finite" in ready.json()["error"]["message"]
        data = client.post("/v1/score", json={"items": items}).json()["data"]
        assert [one["status"] for one in data] == ["not_finite"] * 3
        assert [one["score"] for one in data] == [None] * 3
        sampled = client.post("/v1/score", json={"items": [item], "critiques": 3}).json()["data"][0]
        assert (sampled["status"], sampled["critiques_ok"]) == ("not_finite", 0)
