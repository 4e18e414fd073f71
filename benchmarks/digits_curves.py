"""Draws the training curves of digit models from their training records.

python benchmarks/digits_curves.py models/digits [MORE ...] --output docs/bundled-model-curves.png
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()

    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (losses, accuracy) = pyplot.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
    colours = {"critique": "tab:blue", "score": "tab:red", "none": "tab:grey"}
    names = {"critique": "critique", "score": "score", "none": "score, no critique"}
    for number, folder in enumerate(arguments.folders):
        record = json.loads((folder / "training_record.json").read_text(encoding="utf-8"))
        # A model that learned to judge as well keeps the record of the critique model it was.
        record = record.get("critique_model", record)
        steps = [row["step"] for row in record["curve"]]
        for part, colour in colours.items():
            values = [row[part] for row in record["curve"]]
            label = names[part] if number == 0 else None
            losses.plot(steps, values, color=colour, linewidth=0.9, alpha=0.7, label=label)
        at = [row["step"] for row in record["validation"]]
        for part, style, colour in (
            ("trained", "-", "tab:green"),
            ("held", "--", "tab:orange"),
        ):
            values = [row[part]["clean"] for row in record["validation"]]
            label = f"clean, {part} wordings" if number == 0 else None
            accuracy.plot(at, values, style, color=colour, marker=".", label=label)
        start = record["settings"]["critique_steps"]
        for axes in (losses, accuracy):
            axes.axvline(start, color="black", linewidth=0.5)
    losses.set(yscale="log", xlabel="step", ylabel="loss", title="training losses")
    accuracy.set(xlabel="step", ylabel="pairwise accuracy", title="validation, self-written")
    accuracy.axhline(0.5, color="black", linewidth=0.5, linestyle=":")
    for axes in (losses, accuracy):
        axes.legend(frameon=False, fontsize=8)
    figure.savefig(arguments.output, dpi=80)


if __name__ == "__main__":
    main()
