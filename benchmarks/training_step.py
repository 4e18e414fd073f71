"""A training step on pairs: both answers in one row, in two rows, and as plain training does it.

    python benchmarks/training_step.py                 medium model (227 M parameters), real photos
    python benchmarks/training_step.py --device cuda --pairs 4

Each variant runs forward and backward on the same pairs (critiques of both answers, Bradley-Terry
on the head) with the same weights; their losses are compared before anything is timed. "Plain" is
the loop that transformers and the released code of MM-RLHF have: one forward pass for the chosen
and one for the rejected answers, `labels=` and `output_hidden_states=True`, each picture encoded
in both. Times are interleaved in one process; peak memory is measured in a process of its own.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from measuring.machine import describe_machine
from measuring.report import RESULTS, write_result
from measuring.rounds import interleave, ratio, spread
from workload import PHOTOS, Judgement, photo_judgements

from models import CACHE, checkpoint, parameters

LABELS = {
    "shared": "one row a pair: picture and prompt once",
    "rows": "two rows a pair: picture once",
    "plain": "plain loop: two forward passes",
}
BASELINE = "plain"
_MIB = 2**20


def main(
    model: Annotated[Path | None, typer.Option(help="another checkpoint than the medium")] = None,
    pairs: Annotated[int, typer.Option(help="in a step", min=1)] = 2,
    rounds: Annotated[int, typer.Option(help="counted rounds", min=1)] = 5,
    photos: Annotated[str, typer.Option(help="folder with groups.jsonl, or `drawn`")] = str(PHOTOS),
    dtype: Annotated[str, typer.Option(help="float32 or bfloat16")] = "float32",
    device: Annotated[str, typer.Option(help="cpu or cuda")] = "cpu",
    threads: Annotated[int, typer.Option(help="CPU threads", min=1)] = 2,
    cache: Annotated[Path, typer.Option(help="where built checkpoints are")] = CACHE,
    output: Annotated[Path | None, typer.Option(help="JSON file of the result")] = None,
    only: Annotated[str | None, typer.Option(help="print the peak memory of one variant")] = None,
) -> None:
    """Measure what a training step costs."""
    import torch

    torch.set_num_threads(threads)
    machine = describe_machine()
    folder = model or checkpoint("medium", cache)
    work = photo_judgements(Path(photos), 2 * pairs)
    bench = _Bench(folder, work, dtype, device)
    if only is not None:
        print(json.dumps(bench.peak(only)))
        return
    losses = {name: bench.step(name) for name in LABELS}
    seconds = asyncio.run(
        interleave({name: partial(_timed, bench, name) for name in LABELS}, rounds)
    )
    shared = ["--pairs", str(pairs), "--photos", photos, "--dtype", dtype, "--device", device,
              "--threads", str(threads), "--cache", str(cache)]  # fmt: skip
    memory = {
        name: _peak_of(name, shared + (["--model", str(model)] if model else [])) for name in LABELS
    }
    result = {
        "machine": machine,
        "size": "medium" if model is None else model.name,
        "parameters": parameters(folder),
        "dtype": dtype,
        "device": device,
        "threads": threads,
        "pairs_per_step": pairs,
        "pictures": "drawn" if photos == "drawn" else "photos",
        "tokens_of_both_answers": bench.tokens,
        "tokens_computed": bench.computed,
        "losses": losses,
        "seconds": {name: spread(values) for name, values in seconds.items()},
        "ratio_to_plain": {n: ratio(values, seconds[BASELINE]) for n, values in seconds.items()},
        "peak_mib_over_weights": memory,
    }
    report(result, output or RESULTS / f"training_step_{result['size']}.json")


class _Bench:
    """One model and one step's pairs, ready for every variant."""

    def __init__(self, folder: Path, work: list[Judgement], dtype: str, device: str) -> None:
        import torch
        from mmreward_service.images import ImageLimits
        from mmreward_service.reward.checkpoint import load_spec
        from mmreward_service.reward.prompt import PromptRenderer
        from mmreward_trainer.critique.media import MediaEncoder
        from mmreward_trainer.critique.model import load_reward_model, media_tokens, rope_index
        from mmreward_trainer.critique.packing import Group, Packer
        from mmreward_trainer.critique.sequences import Answer, SequenceBuilder
        from transformers import AutoProcessor

        from models import CRITIQUE_TEXT

        self.device = torch.device(device)
        spec = load_spec(folder)
        self.model = load_reward_model(folder, spec.head, dtype=getattr(torch, dtype))
        self.model.to(self.device).train()
        # As in training: the vision tower is frozen, all else is learned.
        self.model.model.visual.requires_grad_(False)
        builder = SequenceBuilder(PromptRenderer.from_checkpoint(folder, spec))
        media = MediaEncoder(
            AutoProcessor.from_pretrained(folder), spec.templates, ImageLimits(2**26, 2**26),
            takes_video_metadata=True,
        )  # fmt: skip
        self.groups = []
        for first, second in zip(work[0::2], work[1::2], strict=True):
            encoded = media.encode([first.image], None)
            sequences = [
                media.expand(
                    builder.critique(Answer(first.prompt, one.response, 1, False, CRITIQUE_TEXT)),
                    encoded,
                )
                for one in (first, second)
            ]
            self.groups.append(Group(sequences, encoded))
        rope, sizes = rope_index(self.model)
        self.packers = {
            name: Packer(
                media_tokens(self.model.config), builder.renderer.end_of_turn_id,
                rope_index=rope, rope_arguments=sizes, share=name == "shared",
            )
            for name in ("shared", "rows")
        }  # fmt: skip
        self.pad = builder.renderer.end_of_turn_id
        self.tokens = sum(len(s.ids) for group in self.groups for s in group.sequences)
        self.computed = {
            name: packer.pack(self.groups).tokens for name, packer in self.packers.items()
        } | {"plain": self.tokens}

    def step(self, name: str) -> float:
        """Forward and backward; returns the loss."""
        loss = self._plain() if name == "plain" else self._packed(name)
        loss.backward()
        self.model.zero_grad(set_to_none=True)
        return float(loss.detach())

    def _packed(self, name: str) -> Any:
        from mmreward_trainer.critique.packing import model_inputs
        from mmreward_trainer.losses import bradley_terry

        batch = self.packers[name].pack(self.groups)
        output = self.model(**model_inputs(batch, self.device))
        scores = output.scores.reshape(-1, 2)
        return output.token_losses.mean() + bradley_terry(scores[:, 0], scores[:, 1]).mean()

    def _plain(self) -> Any:
        """Two forward passes of the model's own, each over one side of all pairs."""
        import torch
        from mmreward_trainer.critique.packing import joined
        from mmreward_trainer.losses import bradley_terry

        scores, sums, learned = [], [], 0
        for side in (0, 1):
            rows = [group.sequences[side] for group in self.groups]
            width = max(len(row.ids) for row in rows)
            ids = torch.full((len(rows), width), self.pad)
            mask, labels = torch.zeros_like(ids), torch.full_like(ids, -100)
            for i, row in enumerate(rows):
                ids[i, : len(row.ids)] = torch.tensor(row.ids)
                mask[i, : len(row.ids)] = 1
                span = slice(row.learned_from, row.learned_to)
                labels[i, span] = ids[i, span]
            pictures = joined([group.media for group in self.groups])
            inputs = {
                "input_ids": ids, "attention_mask": mask, "labels": labels,
                "mm_token_type_ids": (ids == self.model.config.image_token_id).int() * mask,
                **pictures,
            }  # fmt: skip
            output = self.model(
                **{key: tensor.to(self.device) for key, tensor in inputs.items()},
                output_hidden_states=True, use_cache=False,
            )  # fmt: skip
            count = int((labels != -100).sum())
            sums.append(output.loss * count)
            learned += count
            at = torch.tensor([row.read_at for row in rows], device=self.device)
            last = output.hidden_states[-1]
            scores.append(self.model.reward_head(last[torch.arange(len(rows)), at]))
        return sum(sums) / learned + bradley_terry(scores[0], scores[1]).mean()

    def peak(self, name: str) -> float:
        """MiB of one step beyond what lay in memory before it, gradients included."""
        import torch

        if self.device.type == "cuda":
            self.step(name)
            torch.cuda.reset_peak_memory_stats()
            before = torch.cuda.memory_allocated()
            self.step(name)
            return round((torch.cuda.max_memory_allocated() - before) / _MIB, 1)
        # Linux keeps a high-water mark for the process, which writing 5 sets back to what is now.
        Path("/proc/self/clear_refs").write_text("5")
        before = _memory_kib("VmRSS")
        self.step(name)
        return round((_memory_kib("VmHWM") - before) / 1024, 1)


def _memory_kib(name: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1])
    raise OSError(f"/proc/self/status has no {name}")


async def _timed(bench: _Bench, name: str) -> float:
    import torch

    wait: Callable[[], None] = torch.cuda.synchronize if bench.device.type == "cuda" else int
    wait()
    began = time.perf_counter()
    bench.step(name)
    wait()
    return time.perf_counter() - began


def _peak_of(name: str, arguments: list[str]) -> float:
    command = [sys.executable, __file__, *arguments, "--only", name]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return float(json.loads(done.stdout.splitlines()[-1]))


def report(result: dict[str, Any], path: Path) -> None:
    """The result as JSON and as a table."""
    rows = []
    for name, label in LABELS.items():
        times, ratios = result["seconds"][name], result["ratio_to_plain"][name]
        rate = result["tokens_of_both_answers"] / times["median"]
        rows.append(
            [
                label,
                f"{times['median']:.3f} ({times['min']:.3f}-{times['max']:.3f})",
                f"{ratios['median']:.2f} ({ratios['min']:.2f}-{ratios['max']:.2f})",
                f"{rate:,.0f}",
                str(result["tokens_computed"][name]),
                f"{result['peak_mib_over_weights'][name]:,.0f}",
                f"{result['losses'][name]:.5f}",
            ]
        )
    header = ["variant", "s a step", "times plain", "tokens/s (both answers)", "tokens computed",
              "peak MiB over weights", "loss"]  # fmt: skip
    caption = (
        f"{result['parameters'] / 1e6:,.0f} M parameters, {result['pairs_per_step']} pairs, "
        f"{result['dtype']}, {result['device']}, {result['threads']} threads"
    )
    remarks = [
        "Forward and backward; no optimizer step. Tokens per second count both whole sequences of "
        "a pair in every variant, so they compare like the inverse of time.",
        "Peak memory: growth of the process' high-water mark over its weights in one first step "
        "(on a GPU: of allocated memory), gradients included.",
    ]
    write_result(path, result, "A training step on pairs", [(caption, header, rows)], remarks)


if __name__ == "__main__":
    typer.run(main)
