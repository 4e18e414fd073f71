"""Whole runs of `mmreward-train critique`, in processes of their own, as users start them."""

from __future__ import annotations

import json
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from mmreward_service.reward.checkpoint import load_spec, write_spec
from mmreward_trainer.critique.configuration import Data
from mmreward_trainer.critique.rows import build_rows
from mmreward_trainer.training_rows import holds, read_training_rows, write_training_rows
from mmreward_trainer.transformers_scorer import TransformersScorer
from PIL import Image
from safetensors.torch import load_file

from .commands import ROOT, TIMEOUT_S, Command
from .conftest import Checkpoints, colour_row, write_rows

pytestmark = pytest.mark.slow
SEEN_BEFORE = "ab" * 32
SHARDED = Path(__file__).with_name("sharded_on_cpus.py")


def _torchrun(program: tuple[str, ...], port: int) -> tuple[str, ...]:
    return ("-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", str(port),
            *program)  # fmt: skip


@pytest.fixture(scope="module")
def reference(
    checkpoints: Checkpoints, colours: Path, tmp_path_factory: pytest.TempPathFactory
) -> Command:
    """An uninterrupted run, with critiques of its own from the third step on.

    Its start tells what it was trained on: a row that is not among those of the run.
    """
    start = tmp_path_factory.mktemp("start") / "model"
    shutil.copytree(checkpoints("qwen2_5_vl"), start)
    listed = write_training_rows(start, [SEEN_BEFORE])
    write_spec(start, load_spec(start).model_copy(update={"training_rows": listed}))
    command = Command(
        start, colours, tmp_path_factory.mktemp("whole"),
        **{"own_critiques.from_step": 3},
    )  # fmt: skip
    command.run()
    return command


def test_a_run_leaves_a_checkpoint_curves_and_an_account(reference: Command) -> None:
    """Six steps, a loss that falls, a validation figure, and a folder that scores."""
    curve = reference.curve()
    assert [step for step, _ in curve] == [1, 2, 3, 4, 5, 6]
    assert curve[-1][1] < curve[0][1]
    run = reference.output / "run"
    with Image.open(run / "curves.png") as picture:
        assert picture.width > 600
    assert list((run / "tensorboard").glob("events.*"))
    result = json.loads((run / "result.json").read_text())
    assert result["rows"]["pairs"] == 24
    assert result["rows"]["without_reasons"] == 2
    assert result["validation"]["eval_pairs"] == 6
    spec = load_spec(reference.output)
    assert spec.training_rows["rows"] == 24 + 1
    assert "earlier" not in spec.training_rows
    assert holds(read_training_rows(reference.output, spec), SEEN_BEFORE)
    assert len(spec.golden) == 4
    assert "## Limits" in (reference.output / "README.md").read_text()
    [written] = TransformersScorer(reference.output).critique(
        [[Image.new("RGB", (56, 56), (200, 30, 30))]], ["What colour?"], ["It is red."]
    )
    assert isinstance(written.text, str)


def test_a_killed_run_goes_on_as_if_nothing_had_happened(
    reference: Command, checkpoints: Checkpoints, colours: Path, tmp_path: Path
) -> None:
    """kill -9 after the second save: the same losses to the last digit, sampled critiques too."""
    command = Command(
        checkpoints("qwen2_5_vl"), colours, tmp_path / "killed", **{"own_critiques.from_step": 3}
    )
    process = command.start()
    marker = command.output / "run" / "saves" / "checkpoint-4" / "trainer_state.json"
    deadline = time.monotonic() + TIMEOUT_S
    while not marker.is_file():
        assert process.poll() is None, process.stdout.read()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not (command.output / "config.json").exists()
    # A save that the kill cut short must not be taken up.
    half = command.output / "run" / "saves" / "checkpoint-5"
    half.mkdir()
    (half / "trainer_state.json").write_text('{"global_step": 5, "log_')
    assert "resumed from checkpoint-4" in command.run("--resume")
    assert command.curve() == reference.curve()
    weights = [(one.output / "model.safetensors").read_bytes() for one in (reference, command)]
    assert weights[0] == weights[1]


@pytest.fixture(scope="module")
def plain(
    checkpoints: Checkpoints, colours: Path, tmp_path_factory: pytest.TempPathFactory
) -> Command:
    """An uninterrupted run on one process without critiques of its own."""
    command = Command(
        checkpoints("qwen2_5_vl"), colours, tmp_path_factory.mktemp("plain"),
        **{"optimisation.max_steps": 3},
    )  # fmt: skip
    command.run()
    return command


@pytest.mark.parametrize("kind", ["whole weights", "shards"])
def test_two_processes_learn_what_one_does(
    plain: Command, checkpoints: Checkpoints, colours: Path, tmp_path: Path, kind: str
) -> None:
    """The same pairs in the same steps: the same losses, with weights whole or in parts."""
    command = Command(
        checkpoints("qwen2_5_vl"), colours, tmp_path / "two", **{"optimisation.max_steps": 3}
    )
    if kind == "shards":
        printed = command.run(
            launcher=_torchrun((str(SHARDED),), 29531),
            SHARDING_CONFIG=str(ROOT / "trainer" / "accelerate" / "fsdp2.yaml"),
        )
        assert "100% of the trained weights are in parts on 2 processes" in printed
    else:
        command.run(launcher=_torchrun(("-m", "mmreward_trainer"), 29532))
    for (step, loss), (expected_step, expected) in zip(command.curve(), plain.curve(), strict=True):
        assert step == expected_step
        assert loss == pytest.approx(expected, rel=1e-5)


def test_sharding_that_does_not_happen_stops_the_run(
    checkpoints: Checkpoints, colours: Path, tmp_path: Path
) -> None:
    """accelerate would train on whole weights without a word."""
    command = Command(checkpoints("qwen2_5_vl"), colours, tmp_path / "not_sharded")
    process = command.start(
        launcher=_torchrun(("-m", "mmreward_trainer"), 29533), ACCELERATE_USE_FSDP="true"
    )
    printed, _ = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode != 0
    assert "FSDP was asked for, but 0% of the trained weights are sharded" in printed


@pytest.mark.parametrize("kind", ["lora", "scalar", "after_turn", "vision"])
def test_variants_train_and_are_exported(
    checkpoints: Checkpoints, colours: Path, tmp_path: Path, kind: str
) -> None:
    """Adapters are merged, a scalar model needs no critiques, heads and read-outs can be chosen."""
    settings: dict[str, dict[str, Any]] = {
        "lora": {
            "lora.rank": 4,
            "run.gradient_checkpointing": "true",
            "optimisation.learning_rate": 2e-2,
        },
        "scalar": {"loss.critique": 0, "reward.head": "silu"},
        "after_turn": {"reward.read_out": "after_turn", "reward.head": "linear"},
        "vision": {"train_vision": "true", "run.precision": "bf16-mixed"},
    }
    command = Command(
        checkpoints("qwen2_5_vl"), colours, tmp_path / kind,
        **{"optimisation.warm_up_share": 0, **settings[kind]},
    )  # fmt: skip
    command.run()
    spec = load_spec(command.output)
    losses = [loss for _, loss in command.curve()]
    # The pairs differ from step to step; of a scalar model's 0.69 six steps change next to nothing.
    if kind != "scalar":
        assert sum(losses[3:]) < 0.9 * sum(losses[:3])
    moved = _moved(checkpoints("qwen2_5_vl"), command.output)
    assert ("visual" in moved) == (kind == "vision")
    assert "language_model" in moved
    if kind == "scalar":
        assert spec.head.type == "silu"
        assert "lm_head" not in moved
    if kind == "after_turn":
        assert (spec.read_out, spec.head.type) == ("after_turn", "linear")


def _moved(before: Path, after: Path) -> set[str]:
    """Parts of the model whose weights differ between two checkpoints (in bfloat16)."""
    old, new = (load_file(folder / "model.safetensors") for folder in (before, after))
    parts = {"visual": "visual.", "language_model": "model.layers.", "lm_head": "lm_head."}
    return {
        part
        for part, beginning in parts.items()
        for name, tensor in old.items()
        if name.startswith(beginning)
        and ".merger" not in name
        and not torch.equal(tensor.to(torch.bfloat16), new[name].to(torch.bfloat16))
    }


def test_a_run_that_stands_there_is_not_overwritten(reference: Command) -> None:
    """Another run needs another folder; a changed setting is no continuation."""
    process = reference.start()
    printed, _ = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 1
    assert "holds a run: resume it" in printed
    process = reference.start("--resume", "--set", "loss.centring=0.5")
    printed, _ = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 1
    assert "was written with other settings: loss" in printed


def test_rows_of_the_training_set_are_no_validation_rows(
    checkpoints: Checkpoints, tmp_path: Path
) -> None:
    """Found by content, not by id."""
    rows = [colour_row(i, tmp_path) for i in range(6)]
    write_rows(tmp_path / "train.jsonl", rows)
    write_rows(tmp_path / "validation.jsonl", [rows[0] | {"id": "other"}])
    process = Command(checkpoints("qwen2_5_vl"), tmp_path, tmp_path / "out").start()
    printed, _ = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 1
    assert "1 validation rows are training rows, too, the first of them row 1" in printed


@pytest.mark.parametrize("more", [(), ("--check",)])
def test_rows_of_the_start_are_no_validation_rows(
    checkpoints: Checkpoints, tmp_path: Path, more: tuple[str, ...]
) -> None:
    """Accuracy and calibration would be those on rows that the start has seen."""
    rows = [colour_row(i, tmp_path) for i in range(6)]
    write_rows(tmp_path / "train.jsonl", rows[:4])
    write_rows(tmp_path / "validation.jsonl", rows[4:])
    start = tmp_path / "start"
    shutil.copytree(checkpoints("qwen2_5_vl"), start)
    data = Data(train=[tmp_path / "train.jsonl"])
    seen = build_rows([tmp_path / "validation.jsonl"], data, tmp_path / "rows").fingerprints[1]
    listed = write_training_rows(start, [seen])
    write_spec(start, load_spec(start).model_copy(update={"training_rows": listed}))
    process = Command(start, tmp_path, tmp_path / "out").start(*more)
    printed, _ = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 1
    assert "1 of 2 validation rows are among the rows that" in printed
    assert "validation.jsonl:2" in printed


def test_a_loss_that_is_not_a_number_stops_the_run(
    checkpoints: Checkpoints, colours: Path, tmp_path: Path
) -> None:
    """A learning rate beyond reason; the message names step and rows."""
    process = Command(
        checkpoints("qwen2_5_vl"), colours, tmp_path / "nan",
        **{"optimisation.learning_rate": 1e30, "optimisation.max_grad_norm": 1e30,
           "optimisation.warm_up_share": 0},
    ).start()  # fmt: skip
    printed, _ = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 1
    assert "error: the loss is" in printed
    assert "train.jsonl:" in printed
