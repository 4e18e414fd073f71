"""Every script runs from its command line at tiny size, and writes what it says."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.timeout(1200)
on_vllm = pytest.mark.parametrize("engine", ["fake", pytest.param("vllm", marks=pytest.mark.soak)])


def run(*command: str | Path) -> None:
    environment = {**os.environ, "PYTHON": sys.executable}
    done = subprocess.run(
        list(map(str, command)), env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


@pytest.mark.soak
def test_the_gpu_script_at_small_size(benchmarks: Path, tiny_model: Path, tmp_path: Path) -> None:
    """Parity and single pass on the CPU: scores agree, all ways of scoring write as many tokens."""
    run(
        benchmarks / "gpu" / "run.sh",
        *("--small", "--items", "6", "--rounds", "1"),
        *("--checkpoint", tiny_model, "--output", tmp_path),
    )
    parity = read(tmp_path / "parity_v1.json")["dtypes"]
    assert set(parity) == {"float32", "bfloat16"}
    assert parity["float32"]["runner"] == "v1"
    assert parity["float32"]["against_transformers"]["items"] > 0
    assert parity["float32"]["against_transformers"]["max"] < 1e-3
    single = read(tmp_path / "single_pass.json")
    tokens = single["critique_tokens_per_round"]
    # Stock vLLM does not mask the ids beyond the tokenizer, which a random model may write.
    assert tokens.pop("critique_only") > 0
    assert len(set(tokens.values())) == 1
    assert max(single["max_score_difference_to_single_pass"].values()) < 1e-3


def test_a_training_step_beside_the_plain_loop(
    benchmarks: Path, tiny_model: Path, tmp_path: Path
) -> None:
    """All ways of computing a step have one loss; a shared prompt is computed once."""
    output = tmp_path / "step.json"
    run(
        sys.executable,
        benchmarks / "training_step.py",
        *("--model", tiny_model, "--rounds", "1", "--pairs", "2", "--photos", "drawn"),
        *("--threads", "1", "--output", output),
    )
    result = read(output)
    losses = list(result["losses"].values())
    assert losses == pytest.approx([losses[0]] * 3, rel=1e-4)
    assert result["tokens_computed"]["shared"] < result["tokens_computed"]["plain"]
    assert result["tokens_computed"]["rows"] == result["tokens_computed"]["plain"]
    assert all(memory > 0 for memory in result["peak_mib_over_weights"].values())


@on_vllm
def test_over_http_beside_the_bare_engine(
    engine: str, benchmarks: Path, tiny_model: Path, tmp_path: Path
) -> None:
    """Both sides score the same items with the same critiques; the generator's cost is there."""
    output = tmp_path / "http.json"
    run(
        sys.executable,
        benchmarks / "over_http.py",
        *("--size", "small", "--model", tiny_model, "--rounds", "1", "--scale", "0.05"),
        *("--concurrency", "1,4", "--engine", engine, "--logs", tmp_path, "--output", output),
    )
    result = read(output)
    for level in result["levels"].values():
        assert level["service"]["statuses"] == level["bare"]["statuses"]
        assert level["service"]["critique_tokens"] == level["bare"]["critique_tokens"]
        assert level["share_of_bare"]["median"] > 0
    assert result["load_generator"]["null_endpoint"]["load_cpu_ms_per_request"] > 0


@on_vllm
def test_metrics_cost_beside_services_that_record_nothing(
    engine: str, benchmarks: Path, tiny_model: Path, tmp_path: Path
) -> None:
    """Three services on one engine score the same; shares, microseconds and scrapes are there."""
    output = tmp_path / "cost.json"
    run(
        sys.executable,
        benchmarks / "metrics_cost.py",
        *("--model", tiny_model, "--rounds", "2", "--requests", "8", "--concurrency", "4"),
        *("--loops", "200", "--engine", engine, "--logs", tmp_path, "--output", output),
    )
    result = read(output)
    assert set(result["share_of_without"]) == {"with", "without, again"}
    assert len(result["requests_per_s"]["with"]["values"]) == 2
    assert all(us > 0 for us in result["microseconds_per_recording"].values())
    assert all(page["bytes"] > 1000 for page in result["scrape"].values())


@on_vllm
def test_groups_beside_single_comparisons(
    engine: str, benchmarks: Path, tiny_model: Path, tmp_path: Path
) -> None:
    """All ways judge the same comparisons; with a real engine the group computes fewer tokens and
    encodes its picture once, and the engine's counters say what the replies say."""
    output = tmp_path / "groups.json"
    run(
        sys.executable,
        benchmarks / "groups.py",
        *("--model", tiny_model, "--groups", "4:1", "--max-tokens", "4", "--data", "drawn"),
        *(
            "--engine",
            engine,
            "--kv-cache-gib",
            "0.25",
            "--block",
            "128" if engine == "vllm" else 0,
        ),
        *("--logs", tmp_path, "--output", output),
    )
    result = read(output)
    ways = {one["way"]: one for one in result["measured"]}
    counts = {way: one["comparisons"] for way, one in ways.items()}
    assert counts.pop("balanced") == 6
    assert set(counts.values()) == {12}
    tokens = {ways[way]["prompt_tokens"] for way in counts}
    assert len(tokens) == 1
    if engine == "fake":
        return
    for one in ways.values():
        assert one["engine"]["prompt_tokens"] == one["prompt_tokens"]
        assert one["engine"]["prefix_cache_hits"] == one["cached_tokens"]
    assert ways["one_by_one"]["computed_tokens"] == tokens.pop()
    assert ways["group"]["computed_tokens"] < ways["one_by_one"]["computed_tokens"]
    assert ways["group"]["engine"]["pictures_encoded"] == 1
    assert ways["one_by_one"]["engine"]["pictures_encoded"] == 12
