"""A step of MM-DPO with live margins beside one with margins from a column.

    python benchmarks/loop.py                 the bundled model as a toy policy
    python benchmarks/loop.py --model FOLDER --chat-template own --pairs 2

One policy, the same pairs in the same order. Margins come from a column, from a service asked ahead
of the step, or from the same service asked in the step, which is what a plain collator would do.
The service is a process that waits and computes nothing: what is measured is the loop, not two
programs that share two cores. It is given two speeds, from the step time that was measured before:
an answer takes as long as a step, and ten times too slow, where it gives a tenth of the margins
that the loop could use. Steps that the first batches ahead had to wait for are not counted.
"""

from __future__ import annotations

import asyncio
import contextlib
import statistics
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from loop_service import serving
from measuring.machine import REPOSITORY, describe_machine
from measuring.report import RESULTS, write_result
from measuring.rounds import interleave, ratio, spread

WAYS = {
    "column": ("none", "δ from a column"),
    "ahead": ("as long as a step", "live, asked for ahead"),
    "in_step": ("as long as a step", "live, asked for in the step"),
    "ahead_slow": ("ten times too slow", "live, asked for ahead"),
    "in_step_slow": ("ten times too slow", "live, asked for in the step"),
}
BASELINE = "column"
GOAL = 1.05
"""Step time with live margins over that with a column, where the service keeps up."""
TOO_SLOW = 10
DIGITS = REPOSITORY / "models" / "digits"


def main(
    model: Annotated[Path, typer.Option(help="the policy")] = DIGITS,
    chat_template: Annotated[str, typer.Option(help="own, or `toy` for a model without")] = "toy",
    pairs: Annotated[int, typer.Option(help="in a step", min=1)] = 8,
    steps: Annotated[int, typer.Option(help="counted in a round", min=1)] = 16,
    rounds: Annotated[int, typer.Option(help="counted rounds", min=1)] = 5,
    look_ahead: Annotated[int, typer.Option(help="batches, and requests at once", min=1)] = 4,
    threads: Annotated[int, typer.Option(help="CPU threads", min=1)] = 2,
    output: Annotated[Path, typer.Option(help="JSON file of the result")] = RESULTS / "loop.json",
) -> None:
    """Measure what live margins cost a step."""
    import torch
    import transformers

    transformers.logging.set_verbosity_error()
    torch.set_num_threads(threads)
    machine = describe_machine()
    with tempfile.TemporaryDirectory() as scratch:
        bench = Bench(model, chat_template, pairs, steps, look_ahead, Path(scratch))
        column = bench.loop("column", None)
        column.run()  # what is built in a first step is built
        step_s = column.run()
        latency = {"": step_s, "_slow": TOO_SLOW * look_ahead * step_s}
        with contextlib.ExitStack() as services:
            loops = {"column": column}
            for speed, seconds in latency.items():
                url = services.enter_context(serving(seconds))
                for way in ("ahead", "in_step"):
                    loops[way + speed] = bench.loop(way + speed, url)
            seconds = asyncio.run(
                interleave(
                    {name: partial(_timed, loops[name]) for name in WAYS},
                    rounds,
                    # Of a service that is too slow a warm-up would only take long.
                    {name: partial(_timed, column) for name in WAYS if name.endswith("_slow")},
                )
            )
            waits = {name: loop.waits for name, loop in loops.items()}
    result = {
        "machine": machine,
        "policy": model.name,
        "parameters": bench.parameters,
        "pairs_per_step": pairs,
        "steps_counted_per_round": steps,
        "look_ahead": look_ahead,
        "concurrency": look_ahead,
        "threads": threads,
        "step_s_before": step_s,
        "service_latency_s": {"as long as a step": latency[""], "ten times too slow":
                              latency["_slow"]},
        "seconds_per_step": {name: spread(values) for name, values in seconds.items()},
        "ratio_to_column": {n: ratio(values, seconds[BASELINE]) for n, values in seconds.items()},
        "margin_wait_s": {name: spread(values) for name, values in waits.items() if values},
    }  # fmt: skip
    report(result, output)


class Bench:
    """Policy, processor and pairs, for every way."""

    def __init__(
        self, model: Path, chat_template: str, pairs: int, steps: int, look_ahead: int, folder: Path
    ) -> None:
        from transformers import AutoProcessor

        self.model, self.folder = model, folder
        self.pairs, self.steps, self.look_ahead = pairs, steps, look_ahead
        self.processor = AutoProcessor.from_pretrained(model)
        if chat_template == "toy":
            from loops.policy import CHAT_TEMPLATE

            self.processor.chat_template = CHAT_TEMPLATE
        self.rows = _rows(pairs * (look_ahead + 1 + steps))
        self.parameters = 0

    def loop(self, name: str, url: str | None) -> Loop:
        """A trainer of its own, ready to run any number of times."""
        from mmreward_trainer.align.live_margins import ServiceMargins

        source: Any = None
        if url is not None:
            options = {"look_ahead": self.look_ahead, "concurrency": self.look_ahead,
                       "timeout_s": 3600.0, "cache_pairs": 0}  # fmt: skip
            source = ServiceMargins([url], **options)
            if name.startswith("in_step"):
                source = _InStep(source)
        # A mean of a few steps that all wait alike needs no more of them.
        counted = min(self.steps, 4) if name == "in_step_slow" else self.steps
        skipped = self.look_ahead + 1 if name.startswith("ahead") else 1
        loop = Loop(self, name, source, skipped, counted)
        self.parameters = sum(one.numel() for one in loop.trainer.model.parameters())
        return loop


class _InStep:
    """A source as anybody would write it: asked by the collator, answered before it goes on."""

    def __init__(self, source: Any) -> None:
        self._source = source

    def margins(self, rows: Sequence[Any]) -> list[Any]:
        found: list[Any] = self._source.margins(rows)
        return found


class Loop:
    """One way of getting margins.

    Attributes:
        waits: mean `margin_wait_s` of the counted steps, per run.
    """

    def __init__(self, bench: Bench, name: str, source: Any, skipped: int, counted: int) -> None:
        from datasets import Dataset
        from mmreward_trainer.align.mm_dpo import MMDPOConfig, MMDPOTrainer
        from transformers import PrinterCallback, TrainerCallback

        class Stopwatch(TrainerCallback):  # type: ignore[misc]
            ends: list[float]

            def on_train_begin(self, args: Any, state: Any, control: Any, **named: Any) -> None:
                self.ends = []

            def on_step_end(self, args: Any, state: Any, control: Any, **named: Any) -> None:
                self.ends.append(time.perf_counter())

        self._skipped = skipped
        self.waits: list[float] = []
        self._stopwatch = Stopwatch()
        args = MMDPOConfig(
            str(bench.folder / name), per_device_train_batch_size=bench.pairs,
            max_steps=skipped + counted, learning_rate=1e-6, seed=1, logging_steps=1,
            save_strategy="no", report_to=[], use_cpu=True, bf16=False, disable_tqdm=True,
            gradient_checkpointing=False, dataloader_pin_memory=False,
        )  # fmt: skip
        self.trainer = MMDPOTrainer(
            model=str(bench.model),
            args=args,
            train_dataset=Dataset.from_list(bench.rows),
            processing_class=bench.processor,
            margin_source=source,
            callbacks=[self._stopwatch],
        )
        self.trainer.remove_callback(PrinterCallback)

    def run(self) -> float:
        """Mean seconds of a counted step."""
        self.trainer.train()
        ends = self._stopwatch.ends[self._skipped - 1 :]
        waits = [
            one["margin_wait_s"]
            for one in self.trainer.state.log_history
            if "margin_wait_s" in one and one["step"] > self._skipped
        ]
        if waits:
            self.waits.append(statistics.fmean(waits))
        return (ends[-1] - ends[0]) / (len(ends) - 1)


async def _timed(loop: Loop) -> float:
    return loop.run()


def _rows(count: int) -> list[dict[str, Any]]:
    """Pairs about digits, with some δ in a column."""
    from mmreward_trainer.digits.batches import render_pictures
    from mmreward_trainer.digits.pairs import draw_pair
    from PIL import Image

    drawn = [draw_pair("train", "trained", seed=1, index=i) for i in range(count)]
    return [
        {
            "images": [Image.fromarray(picture)],
            "prompt": [{"role": "user", "content": pair.prompt}],
            "chosen": [{"role": "assistant", "content": pair.chosen.text}],
            "rejected": [{"role": "assistant", "content": pair.rejected.text}],
            "delta": float(i % 5 - 1),
        }
        for i, (pair, picture) in enumerate(zip(drawn, render_pictures(drawn), strict=True))
    ]


def report(result: dict[str, Any], path: Path) -> None:
    """The result as JSON and as a table."""
    rows = []
    for name, (speed, label) in WAYS.items():
        times, ratios = result["seconds_per_step"][name], result["ratio_to_column"][name]
        wait = result["margin_wait_s"].get(name)
        rows.append(
            [
                label,
                speed,
                f"{times['median']:.3f} ({times['min']:.3f}-{times['max']:.3f})",
                f"{ratios['median']:.3f} ({ratios['min']:.3f}-{ratios['max']:.3f})",
                "" if wait is None else f"{wait['median']:.3f}",
            ]
        )
    header = ["margins", "an answer of the service", "s a step", "times the column",
              "of it waited for margins, s"]  # fmt: skip
    caption = (
        f"{result['parameters'] / 1e6:,.1f} M parameters, {result['pairs_per_step']} pairs a step, "
        f"{result['look_ahead']} batches ahead, as many requests at once, "
        f"{result['threads']} threads"
    )
    found = result["ratio_to_column"]["ahead"]["median"]
    slow = result["service_latency_s"]["ten times too slow"]
    remarks = [
        f"Asked for ahead, by a service that keeps up: {found:.3f} times the step with a column "
        f"(goal: at most {GOAL}).",
        f"Ten times too slow: an answer takes {slow:.2f} s, {TOO_SLOW} steps times the requests "
        f"under way at once. No way of asking can make a step faster than {TOO_SLOW} steps then; "
        "asked in the step it takes as long as an answer.",
        "Medians over rounds of the mean over steps; ratios are taken within a round.",
    ]
    write_result(path, result, "A step with live margins", [(caption, header, rows)], remarks)


if __name__ == "__main__":
    typer.run(main)
