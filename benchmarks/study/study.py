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
import shutil
import statistics
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Any

import typer

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from base import build_base
from measuring.machine import describe_machine
from measuring.report import RESULTS, write_result
from picture import draw
from rows import write_rows

VARIANTS: dict[str, dict[str, Any]] = {
    "critique": {},
    "no critique (scalar)": {"loss.critique": 0},
    "critique, silu head": {"reward.head": "silu"},
    "critique, linear head": {"reward.head": "linear"},
    "critique, own critiques in the last fifth": {},
}
OWN = "critique, own critiques in the last fifth"
"""The first variant until its last fifth, so it goes on from a save of the first variant's run."""
GIVEN = "true critique given"
"""Not a training: the first variant, reading the critiques of the data."""

SOURCES = ("digits", "nlvr", "mathv")


def main(
    work: Annotated[Path, typer.Option(help="folder of rows, bases and runs")],
    data: Annotated[Path | None, typer.Option(help="folder with nlvr/ and mathv/")] = None,
    seeds: Annotated[str, typer.Option(help="comma-separated")] = "0,1,2",
    variants: Annotated[str, typer.Option(help="numbers, comma-separated; empty: all")] = "",
    digits: Annotated[int, typer.Option(help="training pairs of digits", min=10)] = 8000,
    test_digits: Annotated[int, typer.Option(help="test pairs of digits", min=10)] = 400,
    steps: Annotated[int, typer.Option(help="of 32 pairs", min=2)] = 450,
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
        "data.max_tokens": 900,
        "data.unusable": "skip",
        "data.workers": 0,
        "optimisation.max_steps": steps,
        "optimisation.epochs": 1000,
        "optimisation.pairs_per_step": 32,
        "optimisation.pairs_per_batch": 4,
        "optimisation.optimizer": "muon",
        "optimisation.learning_rate": 3e-3,
        "optimisation.weight_decay": 0.01,
        "optimisation.schedule": "cosine",
        "optimisation.betas": "[0.9, 0.95]",
        "loss.label_smoothing": 0.01,
        "run.cpu": "true",
        "run.precision": "float32",
        "run.export_dtype": "float32",
        "run.seed": seed,
        "run.validation_pairs": 100,
        "run.save_every_steps": steps - _last_fifth(steps),
        **VARIANTS[name],
    }
    if name == OWN:
        start = steps - _last_fifth(steps)
        settings["own_critiques.from_step"] = start
        _fork(work / f"variant_0_seed_{seed}" / "run", folder / "run", start)
    command = [
        sys.executable, "-m", "mmreward_trainer", "critique", "--output", str(folder),
        "--model", str(base), "--train", str(work / "rows" / "train.jsonl"),
        "--validation", str(work / "rows" / "validation.jsonl"),
        *(word for key, value in settings.items() for word in ("--set", f"{key}={value}")),
    ]  # fmt: skip
    if (folder / "run").is_dir():
        command.append("--resume")
    folder.mkdir(parents=True, exist_ok=True)
    print(f"{name}, seed {seed}", flush=True)
    with (folder / "log.txt").open("a", encoding="utf-8") as log:
        subprocess.run(
            command, check=True, stdout=log, stderr=log,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )  # fmt: skip
    return folder


def _last_fifth(steps: int) -> int:
    return max(1, steps // 5)


def _fork(source: Path, target: Path, step: int) -> None:
    """Give a run the save of another to resume from; done once."""
    save = f"checkpoint-{step}"
    if not (target / "saves").exists():
        shutil.copytree(source / "saves" / save, target / "saves.part" / save)
        (target / "saves.part").rename(target / "saves")


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
    """Share of pairs that trivial rules get right, by source.

    "The longer answer wins" counts a tie of lengths as half: with a strict rule it would have 0 %
    on NLVR, whose two answers are equally long. "The commoner answer wins" prefers the answer that
    is chosen more often in these very pairs, an upper bound of what a constant can do.
    """
    rows: dict[str, list[dict[str, Any]]] = {}
    with file.open(encoding="utf-8") as stream:
        for line in stream:
            row = json.loads(line)
            rows.setdefault(row["category"], []).append(row)
    return {source: _trivial(found) for source, found in rows.items()}


def _trivial(rows: list[dict[str, Any]]) -> dict[str, float]:
    chosen = Counter(row["chosen"] for row in rows)
    lengths = [(len(row["chosen"]), len(row["rejected"])) for row in rows]
    votes = [(chosen[row["chosen"]], chosen[row["rejected"]]) for row in rows]
    return {
        "pairs": len(rows),
        "random": 0.5,
        "longer_wins": _share(lengths),
        "commoner_wins": _share(votes),
    }


def _share(values: list[tuple[int, int]]) -> float:
    return statistics.mean(0.5 if a == b else float(a > b) for a, b in values)


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
        ["commoner answer wins", *(f"{100 * beside[s]['commoner_wins']:.1f}" for s in sources)],
        ["random", *("50.0" for _ in sources)],
    ]
    header = ["variant", *(f"{source}, {beside[source]['pairs']:.0f} pairs" for source in sources)]
    caption = f"Accuracy in per cent, mean and range over {len(seeds)} seeds, {steps} steps"
    remarks = ["A pair with an unfinished critique counts as not right here; its share is given."]
    draw(result, path.with_suffix(".png"))
    write_result(path, result, "What a critique is worth", [(caption, header, table)], remarks)


def _cell(runs: list[dict[str, Any]], source: str) -> str:
    values = [100 * run[source]["right"] / run[source]["pairs"] for run in runs]
    unfinished = statistics.mean(run[source]["unfinished"] / run[source]["pairs"] for run in runs)
    text = f"{statistics.mean(values):.1f} ({min(values):.1f}-{max(values):.1f})"
    return text + (f", {100 * unfinished:.0f} % unfinished" if unfinished else "")


if __name__ == "__main__":
    typer.run(main)
