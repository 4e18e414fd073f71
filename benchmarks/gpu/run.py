"""The checks that need a GPU: both model runners with CUDA graphs, parity, and the 7B single pass.

    benchmarks/gpu/run.sh --output FOLDER
    benchmarks/gpu/run.sh --small --output FOLDER     the same code on a CPU, in minutes

Steps, each a process of its own, so that one failure does not hide the others:

    parity_v1, parity_v2   the bundled model in float32 and bfloat16 on either model runner of vLLM,
                           CUDA graphs on: the score against transformers, alone against a crowd
    single_pass            what the score costs with the configuration of Qwen2.5-VL-7B, random
                           weights (load_format dummy), the real tokenizer, bfloat16
    training_step          time and memory of a training step beside the plain loop, medium model
    groups                 a group's comparisons in one request beside one by one without caches,
                           the configuration of Qwen2.5-VL-7B as a stock judge

A step that this machine cannot run is reported as failed, with the end of its log. The exit code is
the number of failed steps. The second runner needs a GPU: with --small it is left out without one.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

BENCHMARKS = Path(__file__).resolve().parents[1]
STEP_TIMEOUT_S = 3600


def main(
    output: Annotated[Path, typer.Option(help="folder of results and logs")] = Path("gpu-results"),
    small: Annotated[bool, typer.Option(help="a few items, the bundled model only")] = False,
    items: Annotated[int, typer.Option(help="held-out items of the parity; 0: 200, small 16")] = 0,
    rounds: Annotated[int, typer.Option(help="of the single pass; 0: 5, small 2")] = 0,
    photos: Annotated[str, typer.Option(help="folder with groups.jsonl, or `drawn`")] = "drawn",
    checkpoint: Annotated[Path | None, typer.Option(help="in place of the bundled model")] = None,
    cache: Annotated[Path | None, typer.Option(help="where the 7B configuration is kept")] = None,
) -> None:
    """Run the checks that need a GPU."""
    output.mkdir(parents=True, exist_ok=True)
    steps = plan(
        output, small, items or (16 if small else 200), rounds or (2 if small else 5), photos,
        checkpoint, cache,
    )  # fmt: skip
    results = {name: run_step(name, command, output) for name, command in steps.items()}
    (output / "steps.json").write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    for name, result in results.items():
        print(f"{name}: {'done' if result['code'] == 0 else 'FAILED, see ' + result['log']}")
    raise typer.Exit(sum(result["code"] != 0 for result in results.values()))


def plan(
    output: Path,
    small: bool,
    items: int,
    rounds: int,
    photos: str,
    checkpoint: Path | None,
    cache: Path | None,
) -> dict[str, list[str]]:
    """Name -> command of every step."""
    import torch

    runners = ["v1"] if small and not torch.cuda.is_available() else ["v1", "v2"]
    # Graphs are captured on a GPU only; the same option on a CPU would compile instead.
    graphs = [] if small else ["--graphs"]
    group = ["--group", str(min(64, items))]
    model = ["--checkpoint", str(checkpoint)] if checkpoint else []
    steps = {
        f"parity_{runner}": [
            str(BENCHMARKS / "parity.py"),
            *("--items", str(items), "--runner", runner),
            *("--output", str(output / f"parity_{runner}.json")),
            *(graphs + group + model),
        ]
        for runner in runners
    }
    size = ["--size", "small", "--judgements", "4"] if small else ["--size", "7b"]
    model = ["--model", str(checkpoint), "--digits"] if small and checkpoint else []
    dtype = "float32" if small else "bfloat16"
    steps["single_pass"] = [
        str(BENCHMARKS / "single_pass.py"),
        *("--rounds", str(rounds), "--dtype", dtype, "--photos", photos, "--no-transformers"),
        *("--kv-cache-gib", "0.5" if small else "8"),
        *("--output", str(output / "single_pass.json")),
        *(size + model),
        *(["--cache", str(cache)] if cache else []),
    ]
    on_gpu = torch.cuda.is_available()
    steps["training_step"] = [
        str(BENCHMARKS / "training_step.py"),
        *("--rounds", str(rounds), "--photos", photos, "--dtype", dtype),
        *("--device", "cuda" if on_gpu else "cpu", "--pairs", "1" if small else "8"),
        *("--output", str(output / "training_step.json")),
        *(["--model", str(checkpoint)] if checkpoint else []),
        *(["--cache", str(cache)] if cache else []),
    ]
    judge = (
        ["--groups", "3:1", "--max-tokens", "8", "--kv-cache-gib", "0.5", "--ways", "balanced"]
        if small
        else ["--groups", "4:4,8:4,16:3", "--max-tokens", "256", "--kv-cache-gib", "8"]
    )
    steps["groups"] = [
        str(BENCHMARKS / "groups.py"),
        *("--size", "medium" if small else "7b", "--dtype", dtype, "--data", photos),
        # Larger blocks are a matter of CPUs, where they are the default.
        *("--block", "0", "--logs", str(output), "--output", str(output / "groups.json")),
        *judge,
        *(["--model", str(checkpoint)] if small and checkpoint else []),
        *(["--cache", str(cache)] if cache else []),
    ]
    return steps


def run_step(name: str, command: list[str], output: Path) -> dict[str, object]:
    log = output / f"{name}.log"
    print(f"{name}: {' '.join(command)}", flush=True)
    with log.open("w", encoding="utf-8") as stream:
        try:
            code = subprocess.run(
                [sys.executable, *command], stdout=stream, stderr=stream, timeout=STEP_TIMEOUT_S
            ).returncode
        except subprocess.TimeoutExpired:
            code = 124
    if code:
        print("".join(log.open(encoding="utf-8").readlines()[-20:]))
    return {"code": code, "command": command, "log": log.name}


if __name__ == "__main__":
    typer.run(main)
