"""Whole runs of `mmreward-train judge`."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from mmreward_service.reward.checkpoint import load_head, load_spec, write_spec
from mmreward_service.reward.spec import Calibration
from mmreward_trainer.cli.main import app
from mmreward_trainer.critique.configuration import ConfigError
from mmreward_trainer.critique.rows import build_rows
from mmreward_trainer.judge.check import check_run
from mmreward_trainer.judge.run import train_judge
from mmreward_trainer.training_rows import holds, read_training_rows, write_training_rows
from PIL import Image
from safetensors.torch import load_file
from tiny_models import build_tiny_checkpoint
from typer.testing import CliRunner

from .conftest import Stock, Trained, colour_row, judge_config, write_rows

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[3]
TIMEOUT_S = 400


def test_a_run_leaves_a_judge_curves_and_an_account(trained: Trained) -> None:
    """A falling loss, rewards, figures before and after, and a folder that is a judge."""
    losses = [one["loss"] for one in trained.history("sft") if "loss" in one]
    assert len(losses) == 18
    assert losses[-1] < losses[0]
    log = trained.history("rl")
    assert [one["step"] for one in log if "reward" in one] == [1, 2, 3, 4]
    assert [one["step"] for one in log if "eval_pairs" in one] == [0, 4]
    # Some groups differ in their rewards: there is something to learn from.
    assert any(one.get("reward_std", 0) > 0 for one in log)
    run = trained.output / "run"
    for stage in ("sft", "rl"):
        with Image.open(run / stage / "curves.png") as picture:
            assert picture.width > 600
        assert list((run / stage / "tensorboard").glob("events.*"))
    result = json.loads((run / "result.json").read_text())
    assert result["rows"]["pairs"] == 12
    # Neither the bare pair nor the tie can be learned from; of the second stage only the tie not.
    assert (result["stages"]["sft"]["pairs"], result["stages"]["sft"]["left_out"]) == (10, 2)
    assert (result["stages"]["rl"]["pairs"], result["stages"]["rl"]["left_out"]) == (11, 1)
    stages = result["stages"]
    assert [stages[one][when]["step"] for one, when in (
        ("sft", "before"), ("sft", "after"), ("rl", "before"), ("rl", "after")
    )] == [0, 18, 0, 4]  # fmt: skip
    assert stages["rl"]["before"]["eval_pairs"] == 4
    assert (
        stages["sft"]["after"]["eval_accuracy_one_order"]
        == (stages["rl"]["before"]["eval_accuracy_one_order"])
    )
    assert result["validation"]["eval_pairs"] == 4
    spec = load_spec(trained.output)
    assert (spec.kinds, spec.head, spec.golden) == (["judge"], None, [])
    assert spec.training_rows["rows"] == 12
    assert spec.max_tokens("judge") == 16
    weights = load_file(trained.output / "model.safetensors")
    assert not any(name.startswith("reward_head.") for name in weights)
    card = (trained.output / "README.md").read_text()
    assert "mmreward-train judge" in card
    assert json.loads((run / "config.json").read_text())["rl"]["kl"] == 0.02


def test_a_killed_run_goes_on_as_if_nothing_had_happened(trained: Trained, tmp_path: Path) -> None:
    """kill -9 in the second stage: the same rollouts, rewards and weights to the last bit."""
    output = tmp_path / "killed"
    # The first stage is done, as it is in the run to compare with.
    shutil.copytree(trained.output / "run", output / "run", ignore=shutil.ignore_patterns("rl"))
    file = tmp_path / "settings.json"
    file.write_text(trained.config.model_dump_json())
    program = (
        "import json, sys\n"
        "from pathlib import Path\n"
        "from mmreward_trainer.judge.configuration import JudgeConfig\n"
        "from mmreward_trainer.judge.run import train_judge\n"
        "config = JudgeConfig.model_validate_json(Path(sys.argv[1]).read_text())\n"
        "train_judge(config, Path(sys.argv[2]), resume=True, say=print)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(file), str(output)],
        env=os.environ | {"CUDA_VISIBLE_DEVICES": ""},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=ROOT,
    )  # fmt: skip
    marker = output / "run" / "rl" / "saves" / "checkpoint-2" / "trainer_state.json"
    deadline = time.monotonic() + TIMEOUT_S
    while not marker.is_file():
        assert process.poll() is None, process.stdout.read() if process.stdout else ""
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not (output / "config.json").exists()
    said: list[str] = []
    train_judge(trained.config, output, resume=True, say=said.append)
    assert "sft: done before" in said
    assert "rl: resumed from checkpoint-2" in said
    again = Trained(trained.config, output, said)
    assert again.history("rl") == trained.history("rl")
    weights = [(one.output / "model.safetensors").read_bytes() for one in (trained, again)]
    assert weights[0] == weights[1]


def test_a_critique_model_becomes_a_judge_as_well(colours: Path, tmp_path: Path) -> None:
    """Head and slot stay; what was measured of the old weights goes, and the run says so loudly."""
    start, output = tmp_path / "start", tmp_path / "both"
    start.mkdir()
    old = build_tiny_checkpoint(start, "qwen2_5_vl")
    seen = "ab" * 32
    stale = Calibration(mode="generate", temperature=2.0, interval_95=(1, 3), errors=5, pairs=50)
    update = {"calibration": [stale], "training_rows": write_training_rows(start, [seen])}
    write_spec(start, old.model_copy(update=update))
    config = judge_config(
        start, colours, stages=["sft"], sft__max_steps=1, data__validation=[], lora={"rank": 2},
        run__gradient_checkpointing=True, sft__warm_up_share=0.0, sft__learning_rate=1e-2,
    )  # fmt: skip
    said: list[str] = []
    train_judge(config, output, resume=False, say=said.append)
    spec = load_spec(output)
    assert spec.kinds == ["critique", "judge"]
    assert (spec.head, spec.score_slot) == (old.head, old.score_slot)
    assert spec.calibration == []
    assert len(spec.golden) == 4
    # Each warning once.
    assert sum("WARNING" in line and "calibration" in line for line in said) == 1
    assert sum("WARNING" in line and "golden" in line for line in said) == 1
    old_head, new_head = load_head(start, old), load_head(output, spec)
    for name, tensor in old_head.state_dict().items():
        assert torch.equal(tensor, new_head.state_dict()[name])
    known = read_training_rows(output, spec)
    assert holds(known, seen)
    assert len(known) == 13
    assert "earlier" not in spec.training_rows
    # Adapters are merged: the language model has moved, the vision tower has not.
    before, after = (load_file(folder / "model.safetensors") for folder in (start, output))
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert any("layers" in name for name in moved)
    assert not any("visual" in name for name in moved)


def test_adapters_are_reinforced(trained: Trained, colours: Path, tmp_path: Path) -> None:
    """With adapters the reference is the model without them, and the export has them merged."""
    # A start that writes scores: without any, all rewards are equal and nothing is learned.
    start = trained.output / "run" / "sft" / "model"
    config = judge_config(
        start, colours, stages=["rl"], rl__max_steps=2, data__validation=[], lora={"rank": 2},
        rl__warm_up_share=0.0, rl__learning_rate=1e-2, run__gradient_checkpointing=True,
        rl__updates=2,
    )  # fmt: skip
    said: list[str] = []
    train_judge(config, tmp_path / "out", resume=False, say=said.append)
    log = Trained(config, tmp_path / "out", []).history("rl")
    first, second = [one for one in log if "kl" in one]
    assert first["reward_std"] > 0
    assert first["kl"] == pytest.approx(0, abs=1e-6)
    assert second["kl"] > 1e-6
    assert "reward" not in second  # another update by the same rollouts
    before, after = (load_file(f / "model.safetensors") for f in (start, tmp_path / "out"))
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved
    assert all("layers" in name and "visual" not in name for name in moved)
    # What is between the stages of another run lists no rows: that is said, and carried on.
    assert sum("not all known" in line for line in said) == 1
    listed = load_spec(tmp_path / "out").training_rows
    assert (listed["rows"], listed["earlier"]) == (12, "unknown")


def test_check_names_every_row_that_would_stop_a_run(stock: Stock, tmp_path: Path) -> None:
    """Both a contradicting judgement and one without scores, with file and line."""
    rows = [colour_row(i, tmp_path) for i in range(4)]
    rows[1]["judgement"] = "\\boxed{1, 9}"
    rows[2]["judgement_swapped"] = "It is better."
    write_rows(tmp_path / "train.jsonl", rows)
    said: list[str] = []
    config = judge_config(stock("qwen2_5_vl"), tmp_path, data__validation=[])
    with pytest.raises(ConfigError, match="2 rows cannot be trained on"):
        check_run(config, said.append)
    assert said[0].startswith("train: 4 pairs, 4 with a judgement, 0 ties")
    assert any("train.jsonl:2: judgement: the scores 1 and 9" in line for line in said)
    assert any("train.jsonl:3: judgement_swapped: the judgement holds no" in line for line in said)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rl__rollouts_per_batch": 3}, "no multiple of rollouts_per_batch"),
        ({"sft__pairs_per_batch": 3}, "no multiple of pairs_per_batch"),
        ({"sft__composed": {"chosen_score": 11}}, "composed.chosen_score is 11, outside of"),
        ({"judge__score_range": (5, 9)}, "composed.rejected_score is 3, outside of"),
    ],
)
def test_settings_that_cannot_be_used_are_named_before_a_run_begins(
    stock: Stock, colours: Path, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    """Those of the second stage as well: no run is left that could not be resumed corrected."""
    config = judge_config(stock("qwen2_5_vl"), colours, stages=["sft", "rl"], **changes)
    with pytest.raises(ConfigError, match=message):
        train_judge(config, tmp_path / "out", resume=False, say=lambda line: None)
    assert not (tmp_path / "out").exists()
    with pytest.raises(ConfigError, match=message):
        check_run(config, lambda line: None)


def test_rows_of_the_second_stage_are_looked_at_before_the_first(
    stock: Stock, tmp_path: Path
) -> None:
    """Ties with judgements can be learned from, but not be reinforced."""
    even = {"judgement": "\\boxed{5, 5}", "judgement_swapped": "\\boxed{5, 5}"}
    rows = [colour_row(i, tmp_path, is_tie=True, **even) for i in range(5)]
    write_rows(tmp_path / "train.jsonl", rows)
    config = judge_config(stock("qwen2_5_vl"), tmp_path, data__validation=[])
    with pytest.raises(ConfigError, match="rl: every row is a tie"):
        train_judge(config, tmp_path / "out", resume=False, say=lambda line: None)
    assert not (tmp_path / "out" / "run" / "sft").exists()
    with pytest.raises(ConfigError, match="rl: every row is a tie"):
        check_run(config, lambda line: None)


def test_a_row_of_both_sets_does_not_pass_the_check(stock: Stock, tmp_path: Path) -> None:
    """The run refuses it in the same words."""
    rows = [colour_row(i, tmp_path) for i in range(5)]
    write_rows(tmp_path / "train.jsonl", rows)
    write_rows(tmp_path / "validation.jsonl", [colour_row(7, tmp_path), rows[3]])
    config = judge_config(stock("qwen2_5_vl"), tmp_path)
    message = "1 validation rows are training rows, too, the first of them row 2"
    with pytest.raises(ConfigError, match=message):
        check_run(config, lambda line: None)
    with pytest.raises(ConfigError, match=message):
        train_judge(config, tmp_path / "out", resume=False, say=lambda line: None)


def test_a_row_that_the_start_was_trained_on_is_not_held_out(colours: Path, tmp_path: Path) -> None:
    """Number and place of what would be measured on its own training rows."""
    start = tmp_path / "start"
    start.mkdir()
    spec = build_tiny_checkpoint(start, "qwen2_5_vl")
    settings = judge_config(start, colours).data
    rows = build_rows(settings.validation, settings, tmp_path / "rows")
    seen = rows.fingerprints
    listed = write_training_rows(start, [seen[1], seen[3], "ab" * 32])
    write_spec(start, spec.model_copy(update={"training_rows": listed}))
    config = judge_config(start, colours)
    message = r"2 of 4 validation rows are among .* first of them .*validation.jsonl:2"
    with pytest.raises(ConfigError, match=message):
        check_run(config, lambda line: None)
    with pytest.raises(ConfigError, match=message):
        train_judge(config, tmp_path / "out", resume=False, say=lambda line: None)
    assert not (tmp_path / "out" / "run" / "sft").exists()


def test_rows_without_judgements_cannot_be_learned_from(stock: Stock, tmp_path: Path) -> None:
    """The message says what is missing; reinforcement needs none of it."""
    rows = [colour_row(i, tmp_path, judgement=None, judgement_swapped=None) for i in range(2)]
    write_rows(tmp_path / "train.jsonl", rows)
    config = judge_config(stock("qwen2_5_vl"), tmp_path, data__validation=[])
    with pytest.raises(ConfigError, match="sft: no row has a judgement or two reasons"):
        train_judge(config, tmp_path / "out", resume=False, say=lambda line: None)


def test_the_command_checks_and_names_what_it_does_not_know(
    stock: Stock, colours: Path, tmp_path: Path
) -> None:
    """0 where a run could begin, 2 for an unknown setting, 1 for a folder without a model."""
    given = ["judge", "--output", str(tmp_path / "out"), "--train", str(colours / "train.jsonl")]
    model = ["--model", str(stock("qwen2_5_vl"))]
    done = CliRunner().invoke(app, [*given, *model, "--stage", "rl", "--check"])
    assert done.exit_code == 0, done.output
    assert "train: 12 pairs, 10 with a judgement, 1 ties" in done.stderr
    assert not (tmp_path / "out").exists()
    for wrong in (["--set", "rl.rolouts=4"], ["--stage", "rl", "--stage", "sft"]):
        done = CliRunner().invoke(app, [*given, *model, *wrong])
        assert done.exit_code == 2
        assert wrong[1].split(".")[-1].split("=")[0] in done.stderr
    done = CliRunner().invoke(app, [*given, "--model", str(tmp_path)])
    assert done.exit_code == 1
    assert "config.json does not exist" in done.stderr
