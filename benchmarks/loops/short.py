"""All three loops in short form, end to end: the service in another process, real HTTP.

    python benchmarks/loops/short.py                 make loops

A small policy learns answers that are partly false (`corpus`); while it does, the bundled judge
starts behind `mmreward-serve`. Then, each training a process of its own:

    MM-DPO      pairs of the policy's answers, δ by `mmreward annotate`, `align mm-dpo`
    dense DPO   the policy's answers and their corrections, `align dense-dpo`
    grouped RL  completions ranked by `POST /v1/groups` while it trains, `align grouped`

Printed is what each loop made of the policy on held-out pictures, decided by the truth about each
picture (`measure`). So few steps prove that the loops run, not what they are worth: that is
`study.py`. Judgements that cannot be read leave their answers without a reward; how many is
printed. Exit code 0 if every loop ran and every request of it had a reply; 1 otherwise.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from http_parts.processes import service
from measuring.machine import REPOSITORY, describe_machine
from measuring.report import console, write_result

from loops.measure import measure
from loops.missing import Missing, missing_margins, missing_rewards
from loops.policy import PolicyTraining, build_policy
from loops.rows import write_corrections, write_preferences, write_questions
from loops.tables import HEADER, row
from loops.trainings import DENSE, GROUPED, MM_DPO, Size, annotate, train

JUDGE = REPOSITORY / "models" / "digits-judge"
SHORT = Size(
    policy_steps=150, pairs=160, dpo_steps=16, corrections=128, dense_steps=16, questions=120,
    rl_steps=10, test_questions=120, pairs_per_step=16,
)  # fmt: skip
LOOPS = {
    "MM-DPO": MM_DPO["MM-DPO, informative δ"],
    "dense DPO": DENSE["dense DPO, released"],
    "grouped RL": GROUPED["grouped reward"],
}


def main(
    work: Annotated[Path | None, typer.Option(help="keeps rows, policies and logs")] = None,
    seed: Annotated[int, typer.Option()] = 0,
    url: Annotated[str | None, typer.Option(help="of a service that is running")] = None,
    scale: Annotated[float, typer.Option(help="of steps and rows", min=0.01)] = 1.0,
    output: Annotated[Path | None, typer.Option(help="JSON file of the result")] = None,
) -> None:
    """Run the loops."""
    # A run that is stopped takes its service with it.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    began = time.monotonic()
    machine = describe_machine()
    with ExitStack() as stack:
        folder = work or Path(stack.enter_context(TemporaryDirectory(prefix="loops-")))
        folder.mkdir(parents=True, exist_ok=True)
        try:
            missing = run_loops(folder, SHORT.scaled(scale), seed, url, stack)
        except (subprocess.CalledProcessError, RuntimeError) as error:
            console.print(f"a loop did not run: {error}", highlight=False)
            raise typer.Exit(1) from error
        size = SHORT.scaled(scale)
        found = {
            name: measure(path, "test", size.test_questions)
            for name, path in [
                ("before", folder / "policy"),
                *((name, folder / name) for name in LOOPS),
            ]
        }
    seconds = round(time.monotonic() - began, 1)
    result = {
        "machine": machine,
        "seed": seed,
        "seconds": seconds,
        "missing": {name: vars(one) for name, one in missing.items()},
        "policies": found,
    }
    remarks = [
        f"{seconds:.0f} s in all; seed {seed}, {size.test_questions} questions about test "
        "pictures, four sampled answers each",
        *(f"{name}: {one}" for name, one in missing.items()),
    ]
    caption = "In per cent of answers, of statements under 'false'; sampled, greedy in brackets"
    table = [row(name, [one]) for name, one in found.items()]
    target = output or folder / "loops.json"
    if work is None and output is None:
        target = REPOSITORY / "runs" / "loops" / "loops.json"
    write_result(target, result, "The loops in short form", [(caption, HEADER, table)], remarks)
    if any(one.is_broken for one in missing.values()):
        raise typer.Exit(1)


def run_loops(
    folder: Path, size: Size, seed: int, url: str | None, stack: ExitStack
) -> dict[str, Missing]:
    """Train all policies into `folder`; returns rewards that were missing, by loop.

    Raises:
        subprocess.CalledProcessError, RuntimeError: a training or the service failed.
    """
    pool = stack.enter_context(ThreadPoolExecutor(2))
    serving = pool.submit(start_service, folder, url, stack)
    policy, rows = folder / "policy", folder / "rows"
    step("policy: learning answers that are partly false")
    build_policy(policy, seed, PolicyTraining(size.policy_steps), threads=1, on_step=told)
    write_corrections(rows / "corrections.jsonl", policy, seed, size.corrections)
    write_preferences(rows / "preferences.jsonl", policy, seed, size.pairs)
    write_questions(rows / "questions.jsonl", "train", seed, size.questions)
    address = serving.result()

    def align(name: str) -> Path:
        step(f"{name}: training")
        return train(LOOPS[name], size, start=policy, rows=rows, output=folder / name, seed=seed,
                     url=address)  # fmt: skip

    dense: Future[Path] = pool.submit(align, "dense DPO")
    step("MM-DPO: margins from the service")
    annotate(rows / "preferences.jsonl", rows / "annotated.jsonl", address)
    align("MM-DPO")
    align("grouped RL")
    dense.result()
    return {
        "MM-DPO": missing_margins(rows / "annotated.jsonl"),
        "grouped RL": missing_rewards(folder / "grouped RL", size.completions_per_step),
    }


def start_service(folder: Path, url: str | None, stack: ExitStack) -> str:
    """The address of a service that judges and criticises, ready."""
    if url is not None:
        return url
    log = stack.enter_context((folder / "service.log").open("a", encoding="utf-8"))
    _, port = stack.enter_context(service(JUDGE, "float32", log, {"OMP_NUM_THREADS": "1"}))
    step(f"service: ready on port {port}")
    return f"http://127.0.0.1:{port}"


def told(number: int, loss: float) -> None:
    """Progress of the policy's own training."""
    if number % 25 == 0:
        step(f"policy: {number} steps, loss {loss:.3f}")


def step(text: str) -> None:
    console.print(f"{time.strftime('%H:%M:%S')}  {text}", highlight=False)


if __name__ == "__main__":
    typer.run(main)
