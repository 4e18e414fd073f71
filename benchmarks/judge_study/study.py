"""What reinforcement learning adds to the bundled judge, and what more supervised training adds.

    python benchmarks/judge_study/study.py --start CRITIQUE_MODEL --work DIR \
        --output benchmarks/results/judge_study.json

One seed after the other: a supervised run of both tasks (`mmreward-train digits-judge`), whose end
is `full`; from two states that it kept on its way a run of `mmreward-train judge --stage rl`; then
all of them on the test pictures, both orders. `half` is the first state that is sound (`--sound`,
on validation pictures), `late` the last one. What is in DIR is not done again, so an interrupted
study goes on with the same command. `CRITIQUE_MODEL` is what `mmreward-train digits --seed 0`
wrote; the seeds are those of what follows it.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

RL_ROWS = 1200
_STARTS = ("half", "late")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--start", type=Path, required=True, help="the critique model")
    parser.add_argument("--work", type=Path, required=True, help="folder of all runs")
    parser.add_argument("--output", type=Path, required=True, help="JSON file of the results")
    parser.add_argument("--seeds", type=int, nargs="+", default=[100, 101, 102])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--split", choices=("validation", "test"), default="test")
    parser.add_argument("--pairs", type=int, nargs=2, default=(1000, 500),
                        metavar=("TRAINED", "HELD"))  # fmt: skip
    parser.add_argument("--sound", type=float, default=0.8, help="accuracy of the half-trained")
    parser.add_argument("--rl-steps", type=int, default=100)
    parser.add_argument("--rl-rate", type=float, default=5e-5)
    parser.add_argument("--rl-comparisons", type=int, default=8, help="a step, 8 rollouts each")
    parser.add_argument("--rl-from", nargs="*", choices=_STARTS, default=_STARTS)
    arguments = parser.parse_args()
    results = [one_seed(arguments, seed) for seed in arguments.seeds]
    summary = {
        "command": "python benchmarks/judge_study/study.py --start CRITIQUE_MODEL --work DIR"
        f" --seeds {' '.join(map(str, arguments.seeds))}"
        f" --rl-from {' '.join(arguments.rl_from)} --output FILE",
        "sound": arguments.sound,
        "split": arguments.split,
        "rl": {
            "steps": arguments.rl_steps,
            "learning_rate": arguments.rl_rate,
            "comparisons_per_step": arguments.rl_comparisons,
            "rollouts": 8,
            "rows": RL_ROWS,
        },
        "seeds": [_without_lists(one) for one in results],
    }
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
    table = make_table(results)
    arguments.output.with_suffix(".md").write_text(table, encoding="utf-8")
    print(table)


def one_seed(arguments: argparse.Namespace, seed: int) -> dict[str, Any]:
    """Train and measure everything of one seed."""
    folder = arguments.work / f"seed_{seed}"
    folder.mkdir(parents=True, exist_ok=True)
    full = folder / "sft"
    if not (full / "config.json").exists():
        run("digits-judge", "--start", arguments.start, "--output", full, "--seed", seed,
            "--threads", arguments.threads, "--no-calibrate", "--resume")  # fmt: skip
    steps = {
        "half": sound_step(full / "run", arguments.sound),
        "late": max(kept_steps(full / "run")),
    }
    states: dict[str, Path] = {}
    for name, step in steps.items():
        if step is None:
            print(f"seed {seed}: no state on the way is sound, so none is half-trained")
            continue
        states[name] = folder / f"{name}_{step}"
        if not (states[name] / "config.json").exists():
            write_state(full / "run", step, states[name])
    states["full"] = full
    rows = folder / "rows" / "train.jsonl"
    if not rows.exists():
        write_rl_rows(seed, rows)
    for name in arguments.rl_from:
        if name in states:
            states[f"{name}_rl"] = reinforce(arguments, seed, states[name], folder / f"{name}_rl",
                                             rows)  # fmt: skip
    measured = {name: measure(arguments, folder, name, path) for name, path in states.items()}
    return {"seed": seed, "steps": steps, "models": measured, "gains": gains(measured)}


def sound_step(run_folder: Path, accuracy: float) -> int | None:
    """The first kept state that parses and judges well enough to be improved by its own tries."""
    import torch

    state = torch.load(run_folder / "resume.pt", weights_only=True)
    for record in state["validations"]:
        judged = record["judge"]
        kept = record["step"] in kept_steps(run_folder)
        if kept and judged["both_orders"] >= accuracy and judged["parsed"] >= 0.95:
            return int(record["step"])
    return None


def kept_steps(run_folder: Path) -> list[int]:
    """The steps whose states a run has kept."""
    return [int(path.stem.removeprefix("step_")) for path in run_folder.glob("step_*.pt")]


def write_state(run_folder: Path, step: int, folder: Path) -> None:
    from mmreward_trainer.digits_judge.command import write_snapshot
    from mmreward_trainer.digits_judge.configuration import JudgeConfig

    settings = json.loads((run_folder / "settings.json").read_text(encoding="utf-8"))
    lists = {name: tuple(one) for name, one in settings.items() if isinstance(one, list)}
    write_snapshot(JudgeConfig(**settings | lists), run_folder, step, folder)


def write_rl_rows(seed: int, path: Path) -> None:
    from mmreward_trainer.digits_judge.rows import preference_comparisons, write_rows

    part = path.parent.with_name(path.parent.name + ".part")
    write_rows(preference_comparisons("train", "trained", seed, RL_ROWS), part, path.stem)
    part.replace(path.parent)


def reinforce(
    arguments: argparse.Namespace, seed: int, start: Path, output: Path, rows: Path
) -> Path:
    """`mmreward-train judge`, second stage alone; resumed where it stopped."""
    if (output / "config.json").exists():
        return output
    settings = {
        "rl.max_steps": arguments.rl_steps,
        "rl.learning_rate": arguments.rl_rate,
        "rl.schedule": "constant_with_warmup",
        "rl.comparisons_per_step": arguments.rl_comparisons,
        "rl.rollouts": 8,
        "rl.rollouts_per_batch": 8 * arguments.rl_comparisons,
        "rl.weight_decay": 0.0,
        "run.seed": seed,
        "run.cpu": "true",
        "run.precision": "float32",
        "run.export_dtype": "float32",
        "run.save_every_steps": 20,
        "data.workers": 0,
    }
    given = [one for name, value in settings.items() for one in ("--set", f"{name}={value}")]
    resume = ["--resume"] if (output / "run").exists() else []
    run("judge", "--model", start, "--train", rows, "--output", output, "--stage", "rl", *given,
        *resume)  # fmt: skip
    return output


def measure(
    arguments: argparse.Namespace, folder: Path, name: str, checkpoint: Path
) -> dict[str, Any]:
    """Judge and critique figures of one checkpoint, kept beside it."""
    trained, held = arguments.pairs
    path = folder / f"{name}_{arguments.split}_{trained}_{held}.json"
    if path.exists():
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return found
    import torch
    from mmreward_service.reward.checkpoint import weights_fingerprint
    from mmreward_trainer.digits.evaluate import draw_pairs
    from mmreward_trainer.digits.metrics import quick_summary
    from mmreward_trainer.digits.scoring import load_digit_model
    from mmreward_trainer.digits_judge.evaluate import evaluate_judge

    torch.set_num_threads(arguments.threads)
    began = time.monotonic()
    model = load_digit_model(checkpoint)
    found = {
        "weights": weights_fingerprint(checkpoint),
        "judge": evaluate_judge(model, arguments.split, trained, held),
        "critique": quick_summary(
            model.score_pairs(draw_pairs(arguments.split, "trained", trained))
        ),
    }
    found["seconds"] = round(time.monotonic() - began, 1)
    path.write_text(json.dumps(found) + "\n", encoding="utf-8")
    return found


def gains(measured: dict[str, Any]) -> dict[str, Any]:
    """What reinforcement learning, and what going on under supervision, added on the same pairs."""
    from mmreward_trainer.digits_judge.evaluate import gain

    compared = [(start, after) for start in _STARTS for after in (f"{start}_rl", "full")]
    return {
        f"{before} -> {after}": {
            wording: gain(
                measured[before]["judge"][wording]["right"],
                measured[after]["judge"][wording]["right"],
            )
            for wording in ("trained", "held")
        }
        for before, after in compared
        if before in measured and after in measured
    }


_COLUMNS: list[tuple[str, Callable[[dict[str, Any]], float | None]]] = [
    ("both orders", lambda one: one["both_orders"]),
    ("clean", lambda one: one["both_orders_clean"]),
    ("hard", lambda one: one["both_orders_hard"]),
    ("one order", lambda one: one["one_order"]),
    ("order consistency", lambda one: one["order_consistency"]),
    ("ties", lambda one: one["ties"]),
    ("parsed", lambda one: one["parsed"]),
]


def make_table(results: list[dict[str, Any]]) -> str:
    """Markdown, in per cent: every model of every seed, and the gains."""
    names = [name for name, _ in _COLUMNS]
    lines = [
        "| seed | model | " + " | ".join(names) + " | held wordings | critiques |",
        "|---" * (len(names) + 4) + "|",
    ]
    for result in results:
        for name, one in result["models"].items():
            cells = [f"{100 * (read(one['judge']['trained']) or 0.0):.1f}" for _, read in _COLUMNS]
            held = f"{100 * one['judge']['held']['both_orders']:.1f}"
            cells += [held, f"{100 * one['critique']['all']:.1f}"]
            lines.append(f"| {result['seed']} | {name} | " + " | ".join(cells) + " |")
    lines += [
        "",
        "| seed | from | gain, trained wordings | gain, held wordings |",
        "|---|---|---|---|",
    ]
    for result in results:
        for name, wordings in result["gains"].items():
            cells = [_signed(one["gain"], *one["ci95"]) for one in wordings.values()]
            lines.append(f"| {result['seed']} | {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _without_lists(result: dict[str, Any]) -> dict[str, Any]:
    """Without the outcome of every single pair, which stays in the work folder."""
    models = {
        name: one
        | {
            "judge": {
                wording: {key: value for key, value in figures.items() if key != "right"}
                for wording, figures in one["judge"].items()
            }
        }
        for name, one in result["models"].items()
    }
    return result | {"models": models}


def _signed(gain: float, low: float, high: float) -> str:
    return f"{100 * gain:+.1f} [{100 * low:+.1f}, {100 * high:+.1f}]"


def run(command: str, *arguments: object) -> None:
    """One `mmreward-train` command; a failure ends the study."""
    words = [sys.executable, "-m", "mmreward_trainer", command, *map(str, arguments)]
    print(" ".join(words[1:]), flush=True)
    subprocess.run(words, check=True)


if __name__ == "__main__":
    main()
