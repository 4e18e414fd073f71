"""Whether a score depends on what computed it: vLLM or transformers, alone or in a crowd.

    python benchmarks/parity.py                    the bundled model, 200 held-out items

Per dtype, in a process of its own: every item is critiqued and scored by the engine with nothing
else in flight and all caches empty, then again among 63 others; transformers reads the score of
the same critique tokens, one item at a time. Reported are the largest differences, and how many
critiques changed their text in company (a changed text has another score with good reason, so the
difference over unchanged texts is given beside the one over all).
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from measuring.machine import describe_machine
from measuring.report import RESULTS, console, write_result
from measuring.rounds import progress

from models import DIGITS, parameters

RUNNER_SWITCH = "VLLM_USE_V2_MODEL_RUNNER"
TOLERANCE = 1e-4
"""What float32 is held to, and reported against."""


@dataclass(frozen=True)
class Written:
    """One critique by the engine: its token ids, end-of-turn included, and what was read."""

    tokens: list[int]
    status: str
    score: float | None


def main(
    checkpoint: Annotated[Path, typer.Option(help="a Qwen-VL reward model on digits")] = DIGITS,
    items: Annotated[int, typer.Option(help="held-out items", min=2)] = 200,
    group: Annotated[int, typer.Option(help="items in flight together", min=2)] = 64,
    dtypes: Annotated[str, typer.Option(help="measured in turn")] = "float32,bfloat16",
    graphs: Annotated[
        bool | None, typer.Option(help="compile and capture CUDA graphs; on a CPU: no")
    ] = None,
    runner: Annotated[str, typer.Option(help="vLLM's model runner: v1, v2 or auto")] = "auto",
    output: Annotated[Path, typer.Option(help="JSON file")] = RESULTS / "parity.json",
    only: Annotated[str, typer.Option(hidden=True)] = "",
) -> None:
    """Measure parity and batch invariance of scores."""
    if only:
        found = asyncio.run(measure(checkpoint, only, items, group, graphs))
        output.write_text(json.dumps(found), encoding="utf-8")
        return
    if runner not in ("v1", "v2", "auto"):
        raise typer.BadParameter("runner is v1, v2 or auto")
    machine = describe_machine()
    environment = dict(os.environ)
    if runner != "auto":
        environment[RUNNER_SWITCH] = "1" if runner == "v2" else "0"
    result = {
        "machine": machine,
        "checkpoint": checkpoint.name,
        "parameters": parameters(checkpoint),
        "items": items,
        "group": group,
        "dtypes": {dtype: in_process(dtype, environment) for dtype in dtypes.split(",")},
    }
    report(result, output)


def in_process(dtype: str, environment: dict[str, str]) -> dict[str, Any]:
    """One engine a process: this script again, for one dtype."""
    console.print(f"engine in {dtype}")
    with tempfile.TemporaryDirectory() as temporary:
        target = Path(temporary) / "found.json"
        command = [sys.executable, *sys.argv, "--only", dtype, "--output", str(target)]
        subprocess.run(command, check=True, env=environment)
        found: dict[str, Any] = json.loads(target.read_text(encoding="utf-8"))
        return found


async def measure(
    folder: Path, dtype: str, items: int, group: int, graphs: bool | None
) -> dict[str, Any]:
    """Everything that is measured with one dtype."""
    from digit_work import held_out_judgements
    from mmreward_service.engine.vllm.engine import VllmEngine
    from passes_vllm import jobs_of

    engine = VllmEngine(
        folder,
        dtype=dtype,
        kv_cache_gib=1.0,
        max_num_seqs=group,
        enforce_eager=None if graphs is None else not graphs,
    )
    await engine.start()
    try:
        limit = engine.spec.max_critique_tokens
        jobs = jobs_of(engine, held_out_judgements(items), limit)
        with progress() as bar:
            alone = await write_alone(engine, jobs, bar)
            crowded = await write_crowded(engine, jobs, group, bar)
        how = how_it_ran(engine)
    finally:
        await engine.close()
    reference = await asyncio.to_thread(read_with_transformers, folder, dtype, jobs, alone)
    pairs = list(zip(alone, crowded, strict=True))
    unchanged = [(a, b) for a, b in pairs if a.tokens == b.tokens]
    return {
        **how,
        "statuses": counted(one.status for one in alone),
        "score_range": score_range(alone),
        "against_transformers": differences(
            [(a.score, b) for a, b in zip(alone, reference, strict=True)]
        ),
        "alone_against_crowd": {
            "texts_changed": len(pairs) - len(unchanged),
            "unchanged_texts": differences([(a.score, b.score) for a, b in unchanged]),
            "all": differences([(a.score, b.score) for a, b in pairs]),
        },
    }


async def write_alone(engine: Any, jobs: list[Any], bar: Any) -> list[Written]:
    from passes_vllm import forget

    task = bar.add_task("alone", total=len(jobs))
    written = []
    for job in jobs:
        await forget(engine)
        written.append(await write(engine, job))
        bar.advance(task)
    return written


async def write_crowded(engine: Any, jobs: list[Any], group: int, bar: Any) -> list[Written]:
    """Every item in the company of group - 1 others; the last group is filled from the front."""
    from passes_vllm import forget

    task = bar.add_task(f"among {group - 1} others", total=len(jobs))
    written: list[Written] = []
    for start in range(0, len(jobs), group):
        await forget(engine)
        together = [jobs[i % len(jobs)] for i in range(start, start + group)]
        found = await asyncio.gather(*(write(engine, job) for job in together))
        written += found[: len(jobs) - start]
        bar.update(task, completed=len(written))
    return written


async def write(engine: Any, job: Any) -> Written:
    """The engine's own request and reading, with the token ids, which a Reading leaves out."""
    output = await engine._request(job.prompt_token_ids, job.media, engine._writing(job, rows=True))
    reading = engine._reader.critique(output.outputs[0])
    return Written(list(output.outputs[0].token_ids), reading.status, reading.score)


def read_with_transformers(
    folder: Path, dtype: str, jobs: list[Any], written: list[Written]
) -> list[float | None]:
    """Scores at the last critique token by transformers in the same dtype."""
    import torch
    from passes_transformers import ScorerOnDevice

    scorer = ScorerOnDevice(folder, getattr(torch, dtype))
    return [
        scorer.read([job.prompt_token_ids + one.tokens[:-1]], [job.media.images])[0]
        if one.score is not None
        else None
        for job, one in zip(jobs, written, strict=True)
    ]


def differences(pairs: list[tuple[float | None, float | None]]) -> dict[str, Any]:
    """Largest and mean difference over the pairs that hold two scores."""
    found = [abs(a - b) for a, b in pairs if a is not None and b is not None]
    return {
        "items": len(found),
        "max": max(found) if found else None,
        "mean": sum(found) / len(found) if found else None,
    }


def how_it_ran(engine: Any) -> dict[str, Any]:
    """Which model runner and which CUDA graph mode vLLM settled on."""
    config = engine._running().vllm_config
    mode = config.compilation_config.cudagraph_mode
    return {
        "runner": "v2" if config.use_v2_model_runner else "v1",
        "cuda_graphs": getattr(mode, "name", str(mode)),
        "eager": bool(config.model_config.enforce_eager),
        "fingerprint": engine.provenance["fingerprint"],
    }


def score_range(written: list[Written]) -> list[float]:
    scores = [one.score for one in written if one.score is not None]
    return [min(scores), max(scores)] if scores else []


def counted(statuses: Any) -> dict[str, int]:
    found: dict[str, int] = {}
    for status in statuses:
        found[status] = found.get(status, 0) + 1
    return found


def report(result: dict[str, Any], path: Path) -> None:
    rows = []
    for dtype, found in result["dtypes"].items():
        crowd = found["alone_against_crowd"]
        rows.append(
            (
                f"{dtype}, runner {found['runner']}, graphs {found['cuda_graphs']}",
                scientific(found["against_transformers"]["max"]),
                scientific(crowd["unchanged_texts"]["max"]),
                f"{crowd['texts_changed']} of {result['items']}",
                scientific(crowd["all"]["max"]),
                ", ".join(f"{k} {v}" for k, v in found["statuses"].items()),
            )
        )
    header = (
        "engine",
        "vLLM - transformers",
        "alone - crowd, same text",
        "texts changed",
        "alone - crowd, all",
        "items",
    )
    caption = (
        f"largest difference of a score, {result['items']} held-out items, {result['checkpoint']} "
        f"({result['parameters'] / 1e6:.2f} M parameters), {result['group']} in a crowd"
    )
    low, high = next(iter(result["dtypes"].values()))["score_range"] or (0.0, 0.0)
    remarks = [
        f"Scores lie between {low:.2f} and {high:.2f}.",
        f"Goal in float32: at most {TOLERANCE:g} for both differences.",
    ]
    write_result(path, result, "Parity", [(caption, header, rows)], remarks)


def scientific(value: float | None) -> str:
    return "none" if value is None else f"{value:.1e}"


if __name__ == "__main__":
    typer.run(main)
