"""The trainings that are compared, each one `mmreward-train align ...` in a process of its own.

Of one comparison all trainings start from the same policy with the same seed, steps and learning
rate, and read the same rows in the same order; what differs stands in its settings here.

What is not finished is resumed, what is finished is not repeated: `OUTPUT/run/result.json` tells.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from loops.policy import MAX_ANSWER_TOKENS
from loops.rows import read_rows

Settings = Mapping[str, Any]
_SCALED = (
    "policy_steps", "pairs", "dpo_steps", "corrections", "dense_steps", "questions", "rl_steps",
    "test_questions",
)  # fmt: skip
# A policy of fewer steps does not answer in the grammar yet, so that no rows can be made of it.
_FEWEST = {"policy_steps": 30}


@dataclass(frozen=True)
class Training:
    """One training of a comparison.

    Attributes:
        command: of `mmreward-train align`.
        rows: the file that it reads, by its stem.
        settings: what makes it different from the others.
        mean_beta: β of all pairs is the mean of what the formula makes of the rows' δ.
    """

    command: str
    rows: str
    settings: Settings
    mean_beta: bool = False


MM_DPO = {
    "plain DPO": Training("mm-dpo", "annotated", {"loss.rule": "plain"}),
    "released implicit β": Training("mm-dpo", "annotated", {"loss.rule": "released-implicit"}),
    "MM-DPO, saturated δ": Training("mm-dpo", "saturated", {}),
    "MM-DPO, informative δ": Training("mm-dpo", "annotated", {}),
    # As much β as the one before, but none of it by δ.
    "plain DPO, that mean β": Training(
        "mm-dpo", "annotated", {"loss.rule": "plain"}, mean_beta=True
    ),
}
GROUPED = {
    "scalar reward": Training("grouped", "questions", {"reward.kind": "scores"}),
    "grouped reward": Training("grouped", "questions", {"reward.kind": "groups"}),
}
DENSE = {
    "DPO on corrections": Training("mm-dpo", "corrections", {"loss.rule": "plain"}),
    "dense DPO, paper": Training("dense-dpo", "corrections", {"loss.form": "paper"}),
    "dense DPO, released": Training("dense-dpo", "corrections", {"loss.form": "released"}),
}
COMPARISONS = {"mm_dpo": MM_DPO, "grouped": GROUPED, "dense_dpo": DENSE}


@dataclass(frozen=True)
class Size:
    """How much is trained. Learning rates suit a model of a million parameters.

    Pairs are whole steps: the rule `released-implicit` leaves out what is less than a batch, and
    would from the second epoch on see other pairs in a step than the trainings beside it.

    Raises:
        ValueError: they are not.
    """

    policy_steps: int
    pairs: int
    dpo_steps: int
    corrections: int
    dense_steps: int
    questions: int
    rl_steps: int
    test_questions: int
    pairs_per_step: int = 32
    dpo_rate: float = 2e-4
    prompts_per_step: int = 8
    completions: int = 4
    rl_rate: float = 2e-4

    def __post_init__(self) -> None:
        if self.pairs % self.pairs_per_step:
            raise ValueError(f"{self.pairs} pairs are no whole steps of {self.pairs_per_step}")

    @property
    def completions_per_step(self) -> int:
        return self.prompts_per_step * self.completions

    def scaled(self, scale: float) -> Size:
        """Steps and rows times `scale`; what belongs to one step stays."""
        scaled = {
            name: max(_FEWEST.get(name, 2), round(scale * getattr(self, name))) for name in _SCALED
        }
        scaled["pairs"] = max(1, round(scaled["pairs"] / self.pairs_per_step)) * self.pairs_per_step
        return replace(self, **scaled)

    def settings(self, training: Training, seed: int, url: str | None) -> dict[str, Any]:
        """All settings of one training.

        Raises:
            ValueError: reinforcement learning without a service.
        """
        settings: dict[str, Any] = {
            "run.cpu": "true",
            "run.precision": "float32",
            "run.export_dtype": "float32",
            "run.seed": seed,
            "run.save_every_steps": 20,
            "data.max_tokens": 400,
        }
        if training.command == "grouped":
            if url is None:
                raise ValueError("rewards come from a service")
            settings |= {
                "service.urls": json.dumps([url]),
                "data.match": "exact",
                "rl.max_steps": self.rl_steps,
                "rl.epochs": 1000,
                "rl.prompts_per_step": self.prompts_per_step,
                "rl.completions": self.completions,
                "rl.completions_per_batch": self.completions_per_step,
                "rl.max_completion_tokens": MAX_ANSWER_TOKENS,
                "rl.learning_rate": self.rl_rate,
                "rl.schedule": "constant_with_warmup",
            }
        else:
            is_dense = training.rows == "corrections"
            settings |= {
                "data.workers": 0,
                "loss.sft": 0,
                "optimisation.max_steps": self.dense_steps if is_dense else self.dpo_steps,
                "optimisation.epochs": 1000,
                "optimisation.pairs_per_step": self.pairs_per_step,
                "optimisation.pairs_per_batch": self.pairs_per_step,
                "optimisation.learning_rate": self.dpo_rate,
                "optimisation.schedule": "linear",
            }
        return settings | dict(training.settings)


def train(
    training: Training,
    size: Size,
    *,
    start: Path,
    rows: Path,
    output: Path,
    seed: int,
    url: str | None = None,
) -> Path:
    """Run or resume one training; returns the policy's folder, its log is `log.txt` there.

    Args:
        rows: folder of the rows' files.

    Raises:
        subprocess.CalledProcessError: it failed; the end of its log is on stderr.
    """
    if (output / "run" / "result.json").is_file():
        return output
    file = rows / f"{training.rows}.jsonl"
    settings = size.settings(training, seed, url)
    if training.mean_beta:
        settings["loss.beta"] = mean_beta(file)
    command = [
        "mmreward_trainer", "align", training.command, "--output", str(output),
        "--model", str(start), "--train", str(file),
        *(word for name, value in settings.items() for word in ("--set", f"{name}={value}")),
    ]  # fmt: skip
    if (output / "run").is_dir():
        command.append("--resume")
    run(command, output / "log.txt")
    return output


def mean_beta(annotated: Path) -> float:
    """Of all pairs that have a δ, as `annotate` wrote it."""
    return statistics.fmean(row["beta"] for row in read_rows(annotated) if row["beta"] is not None)


def annotate(pairs: Path, output: Path, url: str) -> None:
    """δ of all pairs, by `mmreward annotate` over HTTP; what is there is gone on with.

    Raises:
        subprocess.CalledProcessError: it failed.
    """
    if output.with_name(f"{output.stem}.summary.json").is_file():
        return
    command = [
        "mmreward_client.cli.main",
        "annotate",
        str(pairs),
        "--output",
        str(output),
        "--url",
        url,
    ]
    run([*command, "--no-picture"], output.with_name("annotate.log"))


def run(module_and_words: list[str], log: Path) -> None:
    """`python -m ...` on one thread, its output added to a log.

    Raises:
        subprocess.CalledProcessError: it failed; the end of the log is on stderr.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", *module_and_words]
    with log.open("a", encoding="utf-8") as stream:
        done = subprocess.run(
            command, stdout=stream, stderr=stream, check=False,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )  # fmt: skip
    if done.returncode:
        tail = log.read_text(encoding="utf-8").splitlines()[-30:]
        print("\n".join(tail), file=sys.stderr)
        raise subprocess.CalledProcessError(done.returncode, command[1:4])
