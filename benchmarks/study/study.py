"""What a critique is worth to a reward model, over training seeds, on digits, NLVR and MATH-V.

    python benchmarks/study/study.py --data DATA --work WORK          all variants, three seeds
    python benchmarks/study/study.py --data DATA --work WORK --variants 0,2 --seeds 0

Every run is one `mmreward-train critique` in a process of its own (`--parallel` at once), resumed
if it was interrupted; a run that is finished is not repeated. All variants see the same pairs in
the same order. Accuracy is on test pairs with self-written greedy critiques, but for "true critique
given", which reads the data's critiques and shows what perfect critiques would give. Beside every
figure stand the share of random guesses and of "the longer answer wins".
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Any

import typer

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from base import build_base
from measuring.machine import describe_machine
from measuring.report import RESULTS, write_result
from rows import write_rows

VARIANTS: dict[str, dict[str, Any]] = {
    "critique": {},
    "critique, own critiques at the end": {"own_critiques.from_step": "LAST_FIFTH"},
    "no critique (scalar)": {"loss.critique": 0},
    "critique, silu head": {"reward.head": "silu"},
    "critique, linear head": {"reward.head": "linear"},
}
GIVEN = "true critique given"
"""Not a training: the first variant, reading the critiques of the data."""

SOURCES = ("digits", "nlvr", "mathv")


def main(
    work: Annotated[Path, typer.Option(help="folder of rows, bases and runs")],
    data: Annotated[Path | None, typer.Option(help="folder with nlvr/ and mathv/")] = None,
    seeds: Annotated[str, typer.Option(help="comma-separated")] = "0,1,2",
    variants: Annotated[str, typer.Option(help="numbers, comma-separated; empty: all")] = "",
    digits: Annotated[int, typer.Option(help="training pairs of digits", min=10)] = 8000,
    test_digits: Annotated[int, typer.Option(help="test pairs of digits", min=10)] = 500,
    steps: Annotated[int, typer.Option(help="of 32 pairs", min=2)] = 500,
    warm_up_steps: Annotated[int, typer.Option(help="of the vision tower", min=1)] = 1400,
    parallel: Annotated[int, typer.Option(help="runs at once", min=1)] = 2,
    output: Annotated[Path, typer.Option(help="JSON file")] = RESULTS / "critique_study.json",
) -> None:
    """Train and compare."""
    machine = describe_machine()
    chosen = [list(VARIANTS)[int(i)] for i in variants.split(",")] if variants else list(VARIANTS)
    wanted = [int(seed) for seed in seeds.split(",")]
    rows = work / "rows"
    counts = write_rows(rows, {"train": digits, "validation": 100, "test": test_digits}, data)
    for seed in wanted:
        build_base(work / f"base_{seed}", seed, warm_up_steps, threads=parallel)
    jobs = [(name, seed) for seed in wanted for name in chosen]
    with ThreadPoolExecutor(parallel) as pool:
        folders = list(pool.map(lambda job: train(work, *job, steps), jobs))
    first = next(iter(VARIANTS))
    with ThreadPoolExecutor(parallel) as pool:
        tasks = [(folder, name == first) for folder, (name, _) in zip(folders, jobs, strict=True)]
        measured = list(pool.map(lambda task: measure(task[0], rows, given=task[1]), tasks))
    found: dict[str, list[dict[str, Any]]] = {}
    for (name, _), result in zip(jobs, measured, strict=True):
        found.setdefault(name, []).append(result["own"])
        if result.get("given") is not None:
            found.setdefault(GIVEN, []).append(result["given"])
    report(machine, found, counts, baselines(rows / "test.jsonl"), wanted, steps, output)


def train(work: Path, name: str, seed: int, steps: int) -> Path:
    """One run; returns its checkpoint folder."""
    number = list(VARIANTS).index(name)
    folder = work / f"variant_{number}_seed_{seed}"
    if (folder / "run" / "result.json").is_file():
        return folder
    base = work / f"base_{seed}"
    settings = {
        "reward.templates": base / "templates.json",
        "reward.max_critique_tokens": 96,
        "data.max_tokens": 1500,
        "data.unusable": "skip",
        "data.workers": 0,
        "optimisation.max_steps": steps,
        "optimisation.epochs": 1000,
        "optimisation.pairs_per_step": 32,
        "optimisation.pairs_per_batch": 8,
        "optimisation.learning_rate": 3e-3,
        "optimisation.schedule": "cosine",
        "optimisation.betas": "[0.9, 0.95]",
        "loss.label_smoothing": 0.01,
        "loss.none": 0.2,
        "run.cpu": "true",
        "run.precision": "float32",
        "run.export_dtype": "float32",
        "run.seed": seed,
        "run.validation_pairs": 100,
        **VARIANTS[name],
    }
    if settings.get("own_critiques.from_step") == "LAST_FIFTH":
        settings["own_critiques.from_step"] = steps - max(1, steps // 5)
    command = [
        sys.executable, "-m", "mmreward_trainer", "critique", "--output", str(folder),
        "--model", str(base), "--train", str(work / "rows" / "train.jsonl"),
        "--validation", str(work / "rows" / "validation.jsonl"),
        *(word for key, value in settings.items() for word in ("--set", f"{key}={value}")),
    ]  # fmt: skip
    if (folder / "run" / "config.json").is_file():
        command.append("--resume")
    folder.mkdir(parents=True, exist_ok=True)
    print(f"{name}, seed {seed}", flush=True)
    with (folder / "log.txt").open("a", encoding="utf-8") as log:
        subprocess.run(
            command, check=True, stdout=log, stderr=log,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )  # fmt: skip
    return folder


def measure(folder: Path, rows: Path, *, given: bool) -> dict[str, Any]:
    """Judged test pairs of one checkpoint: {"own": by source, "given": the same or None}."""
    file = folder / "run" / "test.json"
    if not file.is_file():
        judge = str(Path(__file__).with_name("judge.py"))
        command = [sys.executable, judge, str(folder), str(rows / "test.jsonl"), str(file)]
        command += ["--given"] if given else []
        subprocess.run(command, check=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return found


def baselines(file: Path) -> dict[str, dict[str, float]]:
    """Share of pairs that a coin and the longer answer get right, by source; ties are wrong."""
    longer: dict[str, list[bool]] = {}
    with file.open(encoding="utf-8") as stream:
        for line in stream:
            row = json.loads(line)
            is_longer = len(row["chosen"]) > len(row["rejected"])
            longer.setdefault(row["category"], []).append(is_longer)
    return {
        source: {"random": 0.5, "longer_wins": statistics.mean(wins), "pairs": len(wins)}
        for source, wins in longer.items()
    }


def report(
    machine: dict[str, Any],
    found: dict[str, list[dict[str, Any]]],
    counts: dict[str, int],
    beside: dict[str, dict[str, float]],
    seeds: list[int],
    steps: int,
    path: Path,
) -> None:
    """The result as JSON and as a table of means and ranges over seeds."""
    result = {
        "machine": machine, "rows": counts, "baselines": beside, "seeds": seeds, "steps": steps,
        "variants": found,
    }  # fmt: skip
    sources = [source for source in SOURCES if source in beside]
    table = [[name, *(_cell(runs, source) for source in sources)] for name, runs in found.items()]
    table += [
        ["longer answer wins", *(f"{100 * beside[s]['longer_wins']:.1f}" for s in sources)],
        ["random", *("50.0" for _ in sources)],
    ]
    header = ["variant", *(f"{source}, {beside[source]['pairs']:.0f} pairs" for source in sources)]
    caption = f"Accuracy in per cent, mean and range over {len(seeds)} seeds, {steps} steps"
    remarks = ["Unfinished critiques count as wrong here; their share is in the JSON file."]
    write_result(path, result, "What a critique is worth", [(caption, header, table)], remarks)


def _cell(runs: list[dict[str, Any]], source: str) -> str:
    values = [100 * run[source]["right"] / run[source]["pairs"] for run in runs]
    return f"{statistics.mean(values):.1f} ({min(values):.1f}-{max(values):.1f})"


if __name__ == "__main__":
    typer.run(main)
