"""What each loop makes of a policy, over training seeds, on held-out pictures.

    python benchmarks/loops/study.py --work WORK                    three seeds, all comparisons
    python benchmarks/loops/study.py --work WORK --seeds 0 --comparisons mm_dpo

For each seed one policy that hallucinates (`policy`), rows made of its own answers (`rows`), and
from that start every training of `trainings.COMPARISONS`, each a process of its own; the rewards
come from the bundled judge behind `mmreward-serve`, in another process, over HTTP. Measured is on
test pictures, by the truth about them (`measure`). What is finished in WORK is not done again, and
what was interrupted is resumed; the result is written anew after every seed.
"""

from __future__ import annotations

import json
import signal
import statistics
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any

import typer

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from measuring.machine import describe_machine
from measuring.report import RESULTS, write_result
from mmreward_client.file_replacement import replace_file

from loops.measure import measure
from loops.missing import Missing, missing_margins, missing_rewards
from loops.picture import draw
from loops.policy import PolicyTraining, build_policy
from loops.rows import (
    read_rows,
    saturate,
    write_corrections,
    write_preferences,
    write_questions,
)
from loops.short import start_service, step, told
from loops.tables import DIFFERENCE_HEADER, HEADER, difference, row
from loops.trainings import COMPARISONS, Size, annotate, train

FULL = Size(
    policy_steps=400, pairs=1216, dpo_steps=100, corrections=1200, dense_steps=100, questions=800,
    rl_steps=80, test_questions=400,
)  # fmt: skip
TITLES = {
    "mm_dpo": "MM-DPO: the same pairs, another β",
    "grouped": "Reinforcement learning: the same prompts, another reward",
    "dense_dpo": "Corrections: the same rows, other weights of tokens",
}
BEFORE = "before"


def main(
    work: Annotated[Path, typer.Option(help="folder of policies, rows and runs")],
    seeds: Annotated[str, typer.Option(help="comma-separated")] = "0,1,2",
    comparisons: Annotated[str, typer.Option(help="comma-separated")] = ",".join(COMPARISONS),
    scale: Annotated[float, typer.Option(help="of steps and rows", min=0.005)] = 1.0,
    url: Annotated[str | None, typer.Option(help="of a service that is running")] = None,
    output: Annotated[Path, typer.Option(help="JSON file")] = RESULTS / "loops_study.json",
) -> None:
    """Train, measure, compare."""
    # A study that is stopped takes its service with it.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    machine = describe_machine()
    wanted = comparisons.split(",")
    unknown = set(wanted) - set(COMPARISONS)
    if unknown:
        raise typer.BadParameter(f"no comparison {', '.join(sorted(unknown))}")
    size = FULL.scaled(scale)
    claim(work, size)
    results: list[dict[str, Any]] = []
    with ExitStack() as stack:
        address = start_service(work, url, stack)
        for seed in (int(one) for one in seeds.split(",")):
            results.append(one_seed(work / f"seed_{seed}", seed, size, wanted, address))
            report(machine, results, wanted, size, output)


def claim(work: Path, size: Size) -> None:
    """The folder is of this size and of these trainings; more may have been added at the end.

    Raises:
        typer.BadParameter: what is finished in it was made otherwise.
    """
    trainings = {
        name: [[arm, vars(training)] for arm, training in arms.items()]
        for name, arms in COMPARISONS.items()
    }
    # As it is read from the file again.
    wanted = json.loads(json.dumps({"size": vars(size), "trainings": trainings}))
    file = work / "study.json"
    if file.is_file():
        begun = json.loads(file.read_text(encoding="utf-8"))
        same = begun["size"] == wanted["size"] and all(
            begun["trainings"].get(name, []) == made[: len(begun["trainings"].get(name, []))]
            for name, made in wanted["trainings"].items()
        )
        if not same:
            raise typer.BadParameter(f"{work} holds a study of another size or of other trainings")
        if begun == wanted:  # seeds may run side by side
            return
    work.mkdir(parents=True, exist_ok=True)
    replace_file(file, json.dumps(wanted, indent=1) + "\n")


def one_seed(folder: Path, seed: int, size: Size, wanted: list[str], url: str) -> dict[str, Any]:
    """Everything of one seed."""
    policy, rows = folder / "policy", folder / "rows"
    step(f"seed {seed}: policy")
    build_policy(policy, seed, PolicyTraining(size.policy_steps), threads=1, on_step=told)
    make_rows(policy, rows, seed, size, url)
    found: dict[str, Any] = {
        "seed": seed,
        "corpus": json.loads((policy / "corpus.json").read_text(encoding="utf-8"))["corpus"],
        "margins": margins(rows / "annotated.jsonl"),
        BEFORE: measure(policy, "test", size.test_questions),
        "missing": {"margins": vars(missing_margins(rows / "annotated.jsonl"))},
    }
    for comparison in wanted:
        found[comparison] = {}
        for number, (name, training) in enumerate(COMPARISONS[comparison].items()):
            step(f"seed {seed}: {name}")
            output = folder / f"{comparison}_{number}"
            train(training, size, start=policy, rows=rows, output=output, seed=seed, url=url)
            found[comparison][name] = measure(output, "test", size.test_questions)
            if training.command == "grouped":
                lost = missing_rewards(output, size.completions_per_step)
                found["missing"][name] = vars(lost)
    return found


def make_rows(policy: Path, rows: Path, seed: int, size: Size, url: str) -> None:
    """All rows of one seed; those that are there are kept."""
    write_preferences(rows / "preferences.jsonl", policy, seed, size.pairs)
    write_corrections(rows / "corrections.jsonl", policy, seed, size.corrections)
    write_questions(rows / "questions.jsonl", "train", seed, size.questions)
    step(f"seed {seed}: margins from the service")
    annotate(rows / "preferences.jsonl", rows / "annotated.jsonl", url)
    saturate(rows / "annotated.jsonl", rows / "saturated.jsonl")


def margins(annotated: Path) -> dict[str, dict[str, float]]:
    """What the informative reward model says of right, swapped and tied labels: δ and β."""
    found: dict[str, dict[str, float]] = {}
    rows = [one for one in read_rows(annotated) if one["delta"] is not None]
    for label in ("right", "swapped", "tie"):
        own = [one for one in rows if one["label"] == label]
        if own:
            found[label] = {
                "pairs": len(own),
                "delta_mean": statistics.fmean(one["delta"] for one in own),
                "delta_above_1": statistics.fmean(one["delta"] > 1 for one in own),
                "delta_below_minus_1": statistics.fmean(one["delta"] < -1 for one in own),
                "beta_mean": statistics.fmean(one["beta"] for one in own),
            }
    return found


def report(
    machine: dict[str, Any],
    results: list[dict[str, Any]],
    wanted: list[str],
    size: Size,
    path: Path,
) -> None:
    """The result as JSON, tables of means and ranges over seeds, and a picture."""
    before = row(BEFORE, [one[BEFORE] for one in results])
    tables = [
        (
            f"{TITLES[comparison]} (per cent, {_over(len(results))})",
            HEADER,
            [
                before,
                *(
                    row(name, [one[comparison][name] for one in results])
                    for name in COMPARISONS[comparison]
                ),
            ],
        )
        for comparison in wanted
    ]
    arms = [
        difference(name, base, [one[comparison][name] for one in results],
                   [one[comparison][base] for one in results])
        for comparison in wanted
        for base, *others in [list(COMPARISONS[comparison])]
        for name in others
    ]  # fmt: skip
    tables.append(
        ("Hallucinated, paired by seed, in points; negative: fewer", DIFFERENCE_HEADER, arms)
    )
    tables.append(("δ and β of the informative reward model, by label", *_margins_table(results)))
    remarks = [
        f"{size.test_questions} questions about test pictures, four sampled answers each; greedy "
        "answers in brackets; 'false' is of statements, the others are of answers",
        *(f"{name}: {one}" for name, one in _missing(results).items()),
    ]
    draw(results, wanted, path.with_suffix(".png"))
    write_result(
        path, {"machine": machine, "size": vars(size), "seeds": results}, "The loops, compared",
        tables, remarks,
    )  # fmt: skip


def _over(seeds: int) -> str:
    return "one seed" if seeds == 1 else f"mean and range over {seeds} seeds"


def _missing(results: list[dict[str, Any]]) -> dict[str, Missing]:
    """Rewards that were missing, all seeds together."""
    names = results[0]["missing"]
    fields = {name: [one["missing"][name] for one in results] for name in names}
    return {
        name: Missing(**{field: sum(one[field] for one in seeds) for field in seeds[0]})
        for name, seeds in fields.items()
    }


def _margins_table(results: list[dict[str, Any]]) -> tuple[list[str], list[list[str]]]:
    header = ["label", "pairs", "mean δ", "δ > 1, %", "δ < -1, %", "mean β"]
    lines = []
    for label in ("right", "swapped", "tie"):
        own = [one["margins"][label] for one in results if label in one["margins"]]
        if own:
            mean = {name: statistics.fmean(one[name] for one in own) for name in own[0]}
            lines.append(
                [
                    label, f"{mean['pairs']:.0f}", f"{mean['delta_mean']:+.2f}",
                    f"{100 * mean['delta_above_1']:.1f}",
                    f"{100 * mean['delta_below_minus_1']:.1f}", f"{mean['beta_mean']:.4f}",
                ]
            )  # fmt: skip
    return header, lines


if __name__ == "__main__":
    typer.run(main)
