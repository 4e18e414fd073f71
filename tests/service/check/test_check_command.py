"""`mmreward-serve --check`: exit codes, the table, the JSON, and no torch where none is needed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from service_kit.real import DIGITS

_BLOCKED = """
import sys
for name in {blocked!r}.split():
    sys.modules[name] = None
sys.argv = ["mmreward-serve", *{arguments!r}]
from mmreward_service.__main__ import main
main()
"""


def run(
    *arguments: str, blocked: str = "vllm", **variables: str
) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("MMREWARD_")}
    code = _BLOCKED.format(blocked=blocked, arguments=list(arguments))
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**environment, "COLUMNS": "140", **variables},
        timeout=300,
        check=False,
    )


def report_of(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    return dict(json.loads(done.stdout))


def test_a_good_checkpoint_is_exit_code_0_without_torch_and_vllm() -> None:
    """A laptop can tell what a GPU will do."""
    done = run("--check", str(DIGITS), blocked="vllm torch transformers numpy fastapi uvicorn")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.rstrip().endswith("would serve")
    for word in ("slot", "KV cache", "float32", "bfloat16", "calibration", "On disk"):
        assert word in done.stdout


def test_a_bad_checkpoint_is_exit_code_1(digits: Path) -> None:
    """Settings, fence and folder in one list."""
    (digits / "tokenizer.json").unlink()
    done = run(
        "--check",
        str(digits),
        "--json",
        MMREWARD_ENGINE_ARGS='{"enable_lora": true}',
        MMREWARD_MAX_MODEL_LEN="4096",
    )
    report = report_of(done)
    assert done.returncode == 1
    assert report["would_serve"] is False
    topics = {problem.split(":")[0] for problem in report["problems"]}
    assert {"tokenizer", "fence", "length"} <= topics


def test_refused_settings_do_not_hide_the_folder(digits: Path) -> None:
    """A host without keys is one problem, a missing file another: both are told."""
    (digits / "tokenizer.json").unlink()
    report = report_of(run("--check", str(digits), "--json", "--host", "0.0.0.0"))
    topics = {problem.split(":")[0] for problem in report["problems"]}
    assert {"settings", "tokenizer"} <= topics


def test_json_holds_the_figures() -> None:
    """Bytes, per type and number of GPUs."""
    report = report_of(run("--check", str(DIGITS), "--json", MMREWARD_MAX_NUM_SEQS="2"))
    assert report["would_serve"] is True
    assert report["load"]["sequences"] == 2
    [one] = [m for m in report["memory"] if (m["dtype"], m["gpus"]) == ("float32", 1)]
    assert one["kv_cache_bytes"] == one["kv_bytes_per_token"] * 512 * 2
    parts = [one[name] for name in one if name.endswith("_bytes") and name != "total_bytes"]
    assert one["total_bytes"] == sum(parts)
    assert report["disk_bytes"] > one["weights_bytes"]


@pytest.mark.slow
def test_parity_is_asked_for_by_name() -> None:
    """--check-parity alone is enough, and says how far the scores are apart."""
    report = report_of(run("--check-parity", str(DIGITS), "--json"))
    assert report["parity_error"] < 1e-5


def test_without_torch_the_fence_is_said_to_be_unchecked() -> None:
    """What was not looked at is not called right."""
    arguments = '{"enable_lora": true}'
    done = run(
        "--check", str(DIGITS), "--json", blocked="vllm torch", MMREWARD_ENGINE_ARGS=arguments
    )
    [fence] = [f for f in report_of(done)["findings"] if f["topic"] == "fence"]
    assert fence["weight"] == "note"
    assert "not checked" in fence["text"]


def test_a_checkpoint_has_to_be_named() -> None:
    """Wrong usage is exit code 2."""
    done = run("--check")
    assert done.returncode == 2
    assert "needs the folder" in done.stderr
