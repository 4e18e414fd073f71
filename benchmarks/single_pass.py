"""What a score costs: the critique alone, the single pass, and the ways that need a second one.

    python benchmarks/single_pass.py                 medium model (227 M parameters), real photos
    python benchmarks/single_pass.py --size small    the bundled model on its own digits

Variants run interleaved, in rotated order, in one process, on the same prompts and with critiques
of the same tokens: all of them end by themselves with end-of-turn (see models.py), and every
variant's tokens are counted and its scores compared with the single pass. Before each measurement
of vLLM its caches are emptied.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import tempfile
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from measuring.machine import describe_machine
from measuring.report import RESULTS, write_result
from measuring.rounds import interleave, ratio, spread
from workload import PHOTOS, Judgement, photo_judgements

from models import CACHE, checkpoint, parameters, without_reward

LABELS = {
    "critique_only": "critique only, stock vLLM",
    "critique_only_with_head": "critique only, model with head",
    "single_pass": "single pass: critique and score",
    "second_request": "critique, then one-token request (prefix cache)",
    "recomputation": "critique, then full re-computation",
    "transformers_batched": "transformers, two passes, batched",
    "transformers_one_by_one": "transformers, two passes, one by one",
}
BASELINE = "critique_only"


def main(
    size: Annotated[str, typer.Option(help="small, medium or 7b")] = "medium",
    rounds: Annotated[int, typer.Option(help="counted rounds", min=1)] = 5,
    judgements: Annotated[int, typer.Option(help="per round; 0: 24, small size 48", min=0)] = 0,
    photos: Annotated[str, typer.Option(help="folder with groups.jsonl, or `drawn`")] = str(PHOTOS),
    digits: Annotated[bool | None, typer.Option(help="digits, not photos; small: yes")] = None,
    dtype: Annotated[str, typer.Option(help="float32 or bfloat16, in every variant")] = "float32",
    batch_size: Annotated[int, typer.Option(help="transformers, batched", min=1)] = 8,
    one_by_one: Annotated[int, typer.Option(help="of them one by one, scaled up; 0: all")] = 0,
    transformers: Annotated[bool, typer.Option(help="measure transformers, too")] = True,
    kv_cache_gib: Annotated[float, typer.Option(help="per engine")] = 1.0,
    cache: Annotated[Path, typer.Option(help="where built checkpoints are")] = CACHE,
    model: Annotated[
        Path | None, typer.Option(help="another checkpoint, in place of a size")
    ] = None,
    output: Annotated[Path | None, typer.Option(help="JSON file of the result")] = None,
) -> None:
    """Measure what the score costs beside the critique."""
    if size not in ("small", "medium", "7b"):
        raise typer.BadParameter("size is small, medium or 7b")
    machine = describe_machine()
    folder = model or checkpoint(size, cache)  # type: ignore[arg-type]
    use_digits = size == "small" if digits is None else digits
    count = judgements or (48 if size == "small" else 24)
    work = digit_judgements(count) if use_digits else photo_judgements(Path(photos), count)
    seconds, facts = asyncio.run(
        measure(
            folder,
            work,
            rounds,
            dtype,
            {"batched": batch_size, "one_by_one": 1} if transformers else {},
            one_by_one or count,
            kv_cache_gib,
            size == "7b",
        )
    )
    result = {
        "machine": machine,
        "size": size if model is None else model.name,
        "parameters": parameters(folder),
        "dtype": dtype,
        "judgements_per_round": count,
        "judgements_one_by_one": one_by_one or count,
        "pictures": "digits" if use_digits else "photos" if photos != "drawn" else "drawn",
        **facts,
        "seconds": {name: spread(values) for name, values in seconds.items()},
        "ratio_to_critique_only": {
            name: ratio(values, seconds[BASELINE]) for name, values in seconds.items()
        },
    }
    report(result, output or RESULTS / f"single_pass_{size}.json")


def digit_judgements(count: int) -> list[Judgement]:
    from digit_work import held_out_judgements

    return held_out_judgements(count)


async def measure(
    folder: Path,
    work: list[Judgement],
    rounds: int,
    dtype: str,
    batch_sizes: dict[str, int],
    one_by_one: int,
    kv_cache_gib: float,
    dummy_weights: bool,
) -> tuple[dict[str, list[float]], dict[str, Any]]:
    """Seconds per variant and round, and what the variants produced."""
    from mmreward_service.engine.vllm.engine import VllmEngine
    from passes_vllm import StockEngine, VllmPasses, jobs_of

    settings: dict[str, Any] = {"dtype": dtype, "kv_cache_gib": kv_cache_gib, "max_num_seqs": 64}
    extra: dict[str, Any] = {"max_model_len": 4096 if dummy_weights else None}
    if dummy_weights:
        # Two 7B models side by side: each takes its own fixed cache, not a share of the card.
        extra["engine_args"] = {"load_format": "dummy", "gpu_memory_utilization": 0.3}
    with tempfile.TemporaryDirectory() as temporary:
        plain = without_reward(folder, Path(temporary) / "plain")
        async with contextlib.AsyncExitStack() as stack:
            engine = VllmEngine(folder, served_name="reward", **settings, **extra)
            stock = StockEngine(folder, plain, served_name="stock", **settings, **extra)
            for one in (engine, stock):
                stack.push_async_callback(one.close)
                await one.start()
            max_tokens = engine.spec.max_critique_tokens
            passes = VllmPasses(engine, stock, jobs_of(engine, work, max_tokens))
            variants: dict[str, Any] = {
                "critique_only": passes.critique_only_stock,
                "critique_only_with_head": passes.critique_only_slot,
                "single_pass": passes.single_pass,
                "second_request": passes.second_request,
                "recomputation": passes.recomputation,
            }
            warm_up, written = {}, passes.last
            if batch_sizes:
                other = await asyncio.to_thread(transformers_passes, folder, passes.jobs, dtype)
                for name, n in batch_sizes.items():
                    full = f"transformers_{name}"
                    limit = one_by_one if n == 1 else len(work)
                    variants[full] = partial(other.run, full, n, limit)
                    warm_up[full] = other.warm_up
            seconds = await interleave(variants, rounds, warm_up)
            if batch_sizes:
                written = written | other.last
            return seconds, compared(written)


def transformers_passes(folder: Path, jobs: list[Any], dtype: str) -> Any:
    import torch
    from passes_transformers import TransformersPasses

    torch.set_num_threads(len(os.sched_getaffinity(0)))
    return TransformersPasses(folder, jobs, dtype)


def compared(written: dict[str, Any]) -> dict[str, Any]:
    """Tokens of every variant, and the largest difference of its scores to the single pass."""
    written = {name: one for name, one in written.items() if name != "warm_up"}
    reference = written["single_pass"]
    differences = {}
    for name, one in written.items():
        pairs = [
            abs(a - b)
            for a, b in zip(one.scores, reference.scores, strict=False)
            if a is not None and b is not None
        ]
        if pairs and name != "single_pass":
            differences[name] = max(pairs)
    return {
        "critique_tokens_per_round": {name: sum(one.tokens) for name, one in written.items()},
        "scored_per_round": sum(score is not None for score in reference.scores),
        "max_score_difference_to_single_pass": differences,
    }


def report(result: dict[str, Any], path: Path) -> None:
    count = result["judgements_per_round"]
    tokens = result["critique_tokens_per_round"]
    rows = []
    for name, label in LABELS.items():
        if name not in result["seconds"]:
            continue
        seconds, times = result["seconds"][name], result["ratio_to_critique_only"][name]
        rows.append(
            (
                label,
                f"{seconds['median']:.2f}",
                f"{seconds['min']:.2f} - {seconds['max']:.2f}",
                f"{times['median']:.3f}",
                f"{times['min']:.3f} - {times['max']:.3f}",
                f"{count / seconds['median']:.2f}",
                str(tokens[name]),
            )
        )
    header = ("way", "seconds", "range", "x critique", "range", "judgements/s", "tokens")
    caption = (
        f"{count} judgements, {result['pictures']}, {result['parameters'] / 1e6:.1f} M parameters, "
        f"{result['dtype']}, median of {len(result['seconds'][BASELINE]['values'])} rounds"
    )
    worst = result["max_score_difference_to_single_pass"]
    cost = (result["ratio_to_critique_only"]["single_pass"]["median"] - 1) * 100
    remarks = [
        f"The score costs {cost:+.1f} % over the critique alone (goal: at most 3 %).",
        "Largest difference of a score to the single pass: "
        + ", ".join(f"{name} {value:.1e}" for name, value in worst.items())
        + f"; {result['scored_per_round']} of {count} critiques had a score.",
    ]
    if result["judgements_one_by_one"] < count:
        remarks.append(
            f"One by one was run on {result['judgements_one_by_one']} of the {count} judgements; "
            "its seconds are scaled up to all of them."
        )
    write_result(
        path, result, f"Single pass, {result['size']} model", [(caption, header, rows)], remarks
    )


if __name__ == "__main__":
    typer.run(main)
