"""Accuracy, beta and calibration of trained digit models, critiques self-written.

    python benchmarks/digits_accuracy.py models/digits [MORE ...] --split test --output FILE

One checkpoint per training seed. The test split is for the final report: whatever is chosen is
chosen with `--split validation`.
"""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path
from typing import Any


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--split", choices=("validation", "test"), default="validation")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--pairs", type=int, nargs=3, default=(2500, 1200, 400),
                        metavar=("TRAINED", "HELD", "SAMPLED"))  # fmt: skip
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()

    import torch
    from mmreward_service.reward.checkpoint import load_spec, weights_fingerprint
    from mmreward_trainer.digits.evaluate import Sizes, evaluate
    from mmreward_trainer.digits.scoring import load_digit_model

    torch.set_num_threads(arguments.threads)
    results = []
    for folder in arguments.folders:
        record = json.loads((folder / "training_record.json").read_text(encoding="utf-8"))
        spec = load_spec(folder)
        figures = evaluate(
            load_digit_model(folder), arguments.split, spec.calibration, Sizes(*arguments.pairs)
        )
        results.append(
            {
                "seed": record["settings"]["seed"],
                "weights": weights_fingerprint(folder),
                "training_seconds": record["seconds"],
                **figures,
            }
        )
        print(f"seed {record['settings']['seed']}: {_line(figures['trained_wordings'])}")
    summary = {"split": arguments.split, "summary": _summary(results), "seeds": results}
    arguments.output.write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
    print(f"written to {arguments.output}")


def _line(figures: dict[str, Any]) -> str:
    cells = figures["accuracy"]["all"]
    return f"clean {cells['clean']['accuracy']} hard {cells['hard']['accuracy']}"


def _summary(results: list[dict[str, Any]]) -> dict[str, Any]:
    """Accuracy by set and kind: mean, smallest and largest over seeds."""
    summary: dict[str, Any] = {}
    for name in ("trained_wordings", "held_wordings", "sampled_8", "no_critique"):
        table = {}
        for kind in results[0][name]["accuracy"]:
            row = {}
            for part in ("clean", "hard"):
                values = [r[name]["accuracy"][kind][part]["accuracy"] for r in results]
                if None not in values:
                    row[part] = {
                        "mean": round(statistics.fmean(values), 4),
                        "min": min(values),
                        "max": max(values),
                    }
            table[kind] = row
        summary[name] = table
    return summary


if __name__ == "__main__":
    main()
