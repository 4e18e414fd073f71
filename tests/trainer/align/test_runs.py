"""Runs of `mmreward-train align`: from rows to the policy's folder, killed and resumed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from mmreward_trainer.align.configuration import MMDPOSettings
from mmreward_trainer.align.control_tokens import control_tokens
from mmreward_trainer.align.preparation import make_trainer, prepare_parts
from mmreward_trainer.align.run import tables
from mmreward_trainer.cli.main import app
from PIL import Image
from safetensors.torch import load_file
from transformers import AddedToken, AutoModelForImageTextToText, AutoProcessor
from transformers.integrations import TensorBoardCallback
from typer.testing import CliRunner

from .conftest import Policies, write_pairs

EVENTS = "TENSORBOARD_LOGGING_DIR"
TIMEOUT_S = 400
ROOT = Path(__file__).parents[3]
SMALL = {
    "run.cpu": "true",
    "run.precision": "float32",
    "run.export_dtype": "float32",
    "run.save_every_steps": 2,
    "data.workers": 0,
    "optimisation.pairs_per_step": 4,
    "optimisation.pairs_per_batch": 2,
    "optimisation.learning_rate": 1e-3,
    "optimisation.max_steps": 6,
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pairs as `mmreward annotate` writes them, one in five without δ; corrections."""
    folder = tmp_path_factory.mktemp("pairs")

    def is_bad(number: int) -> bool:
        return number % 5 == 3

    columns: dict[str, Any] = {
        "delta": lambda n: None if is_bad(n) else n % 4 - 0.5,
        "delta_calibrated": lambda n: None if is_bad(n) else 2.0 * (n % 4),
        "beta": lambda n: None if is_bad(n) else 0.1 + 0.01 * (n % 4),
        "prob": lambda n: None if is_bad(n) else 0.6,
        "status": lambda n: "truncated" if is_bad(n) else "ok",
    }
    write_pairs(folder, "train.jsonl", range(20), **columns)
    write_pairs(folder, "validation.jsonl", range(30, 34), **columns)
    return folder


@pytest.fixture(autouse=True)
def _alone() -> Iterator[None]:
    """One thread, as the processes have: sums are then the same to the last bit."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def arguments(kind: str, model: Path, data: Path, output: Path, **more: Any) -> list[str]:
    """Of one run, with another value for some settings."""
    chosen = {**SMALL, **more}
    return [
        "align", kind, "--output", str(output), "--model", str(model),
        "--train", str(data / "train.jsonl"), "--validation", str(data / "validation.jsonl"),
        *(word for name, value in chosen.items() for word in ("--set", f"{name}={value}")),
    ]  # fmt: skip


def run(words: list[str], code: int = 0) -> str:
    """What it printed."""
    # A run names its folder of events there, for the length of its process.
    done = CliRunner().invoke(app, words, env={EVENTS: None})
    assert done.exit_code == code, done.output[-3000:]
    return done.output


def history(output: Path) -> list[dict[str, Any]]:
    return json.loads((output / "run" / "history.json").read_text())


def losses(output: Path) -> list[tuple[int, float, float]]:
    return [
        (one["step"], one["loss"], one["rewards/margins"])
        for one in history(output)
        if "rewards/margins" in one
    ]


@pytest.mark.slow
def test_a_killed_run_goes_on_as_if_nothing_had_happened(
    policies: Policies, data: Path, tmp_path: Path
) -> None:
    """kill -9 at the second save, whole or half: the same losses to the last digit, and weights."""
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    words = arguments("mm-dpo", policies(), data, killed)
    process = subprocess.Popen(
        [sys.executable, "-m", "mmreward_trainer", *words],
        env=os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=ROOT,
    )  # fmt: skip
    marker = killed / "run" / "saves" / "checkpoint-4" / "trainer_state.json"
    deadline = time.monotonic() + TIMEOUT_S
    while not marker.is_file():
        assert process.poll() is None, process.stdout.read()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not (killed / "config.json").exists()
    assert "resumed from checkpoint-" in run([*words, "--resume"])
    printed = run(arguments("mm-dpo", policies(), data, whole))
    assert "4 pairs have no margin (truncated): dropped" in printed
    assert losses(killed) == losses(whole)
    assert [step for step, *_ in losses(whole)] == [1, 2, 3, 4, 5, 6]
    for name, tensor in load_file(whole / "model.safetensors").items():
        assert torch.equal(tensor, load_file(killed / "model.safetensors")[name]), name
    _leaves_a_policy_and_an_account(whole, policies())


@pytest.mark.slow
def test_a_run_that_was_stopped_in_its_export_trains_no_further(
    policies: Policies, data: Path, tmp_path: Path
) -> None:
    """The last save is of the last step: what is resumed from it is exported, as it is."""
    output = tmp_path / "out"
    words = arguments("mm-dpo", policies(), data, output)
    words += ["--set", "optimisation.schedule=constant_with_warmup"]
    run(words)
    logged, weights = losses(output), load_file(output / "model.safetensors")
    for name in ("config.json", "model.safetensors", "run/result.json"):
        (output / name).unlink()
    shutil.rmtree(output / "run" / "final")
    assert "resumed from checkpoint-6" in run([*words, "--resume"])
    assert json.loads((output / "run" / "result.json").read_text())["steps"] == 6
    assert losses(output) == logged
    for name, tensor in load_file(output / "model.safetensors").items():
        assert torch.equal(tensor, weights[name]), name


def _leaves_a_policy_and_an_account(output: Path, base: Path) -> None:
    folder = output / "run"
    result = json.loads((folder / "result.json").read_text())
    assert result["rows"]["pairs"] == 20
    assert result["rows_without_margin"] == {"truncated": 4}
    assert result["validation"]["eval_pairs/dropped"] == 1
    resolved = json.loads((folder / "config.json").read_text())
    assert resolved["loss"]["k"] == 0.5
    assert list((folder / "tensorboard").glob("events.*"))
    with Image.open(folder / "curves.png") as picture:
        assert picture.width > 600
    # Five steps are all rows once.
    dropped = sum(one.get("pairs/dropped", 0) for one in history(output) if one["step"] <= 5)
    assert dropped == 4
    config = json.loads((output / "config.json").read_text())
    assert "reward" not in config
    assert (output / "chat_template.jinja").is_file()
    before, after = (
        AutoModelForImageTextToText.from_pretrained(one).state_dict() for one in (base, output)
    )
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert any("language_model" in name for name in moved)
    assert not [name for name in moved if "visual" in name and "merger" not in name]


@pytest.mark.soak
def test_two_processes_learn_what_one_does(policies: Policies, data: Path, tmp_path: Path) -> None:
    """The same pairs in the same steps, wherever a dropped pair stands; validation of odd size."""
    rows = (data / "validation.jsonl").read_text().splitlines()[:3]
    validation = data / "three.jsonl"
    validation.write_text("\n".join(rows) + "\n")
    found = []
    for processes in (1, 2):
        words = arguments(
            "mm-dpo", policies(), data, tmp_path / str(processes),
            **{"optimisation.pairs_per_batch": 1, "optimisation.max_steps": 3},
        )  # fmt: skip
        words[words.index("--validation") + 1] = str(validation)
        program = ["-m", "mmreward_trainer"]
        if processes == 2:
            launcher = ["-m", "torch.distributed.run", "--nproc-per-node", "2"]
            program = [*launcher, "--master-port", "29541", *program]
        done = subprocess.run(
            [sys.executable, *program, *words],
            env=os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
            capture_output=True, text=True, cwd=ROOT, timeout=TIMEOUT_S, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-3000:]
        lines = history(tmp_path / str(processes))
        found.append(
            [
                one[name]
                for one in lines
                for name in ("loss", "beta/mean", "pairs/dropped", "eval_loss", "eval_pairs/used")
                if name in one
            ]
        )
    assert found[1] == pytest.approx(found[0], rel=1e-5)


@pytest.mark.slow
def test_a_dense_run_with_adapters_is_merged_into_a_plain_policy(
    policies: Policies, data: Path, tmp_path: Path
) -> None:
    """RLHF-V's rows; gradient checkpointing; no adapter is left in the folder."""
    rows = [json.loads(line) for line in (data / "train.jsonl").read_text().splitlines()]
    names = {"idx": "id", "image": "images", "question": "prompt"}
    with (tmp_path / "corrections.jsonl").open("w") as file:
        for row in rows[:8]:
            one = {new: row[old] for new, old in names.items()}
            one |= {"image": row["images"][0], "chosen": row["chosen"], "rejected": row["rejected"]}
            file.write(json.dumps(one) + "\n")
    words = arguments(
        "dense-dpo", policies(), data, tmp_path / "out",
        **{"data.form": "rlhf-v", "data.image_root": data, "lora.rank": 2, "data.validation": "[]",
           "run.gradient_checkpointing": "true", "optimisation.max_steps": 2},
    )  # fmt: skip
    words[words.index("--train") + 1] = str(tmp_path / "corrections.jsonl")
    run(words)
    assert not (tmp_path / "out" / "adapter_config.json").exists()
    before, after = (
        AutoModelForImageTextToText.from_pretrained(one).state_dict()
        for one in (policies(), tmp_path / "out")
    )
    assert before.keys() == after.keys()
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved
    assert all("language_model.layers" in name for name in moved)
    assert history(tmp_path / "out")[0]["changed/rejected"] > 0


def test_a_second_run_of_a_process_has_its_own_events(
    policies: Policies, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each trainer writes below its own run, whatever an earlier one left in the environment."""
    monkeypatch.setenv(EVENTS, "")
    monkeypatch.delenv(EVENTS)
    settings = MMDPOSettings.model_validate(
        {"model": policies(), "data": {"train": [data / "train.jsonl"], "workers": 0},
         "run": {"cpu": True, "precision": "float32"}}
    )  # fmt: skip
    parts = prepare_parts(settings)
    for name in ("a", "b"):
        folder = tmp_path / name
        train, _ = tables(settings, parts, folder / "data", lambda line: None, None)
        trainer = make_trainer(settings, parts, train, None, folder, [])
        found = [
            one.logging_dir
            for one in trainer.callback_handler.callbacks
            if isinstance(one, TensorBoardCallback)
        ]
        assert found == [str(folder / "tensorboard")]


def test_a_check_names_rows_and_trains_nothing(
    policies: Policies, data: Path, tmp_path: Path
) -> None:
    """Too long, undecodable, spelling a special token; margins that are not there are counted."""
    rows = [json.loads(line) for line in (data / "train.jsonl").read_text().splitlines()]
    for row in rows:
        row["images"] = [str(data / row["images"][0])]
    rows[1]["chosen"] = "long " * 200
    rows[2]["prompt"] = "What is <|image_pad|>?"
    picture = tmp_path / "broken.png"
    picture.write_bytes((data / "3.png").read_bytes()[:60])
    for row in rows:
        copy = tmp_path / Path(row["images"][0]).name
        copy.write_bytes(Path(row["images"][0]).read_bytes())
        row["images"] = [copy.name]
    rows[4]["images"] = ["broken.png"]
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    words = arguments("mm-dpo", policies(), data, tmp_path / "out", **{"data.max_tokens": 300})
    words[words.index("--train") + 1] = str(tmp_path / "train.jsonl")
    printed = run([*words, "--check"], code=1)
    for line, what in ((2, "tokens, data.max_tokens is 300"), (3, "spells the special token"),
                       (5, "")):  # fmt: skip
        assert f"unusable: {tmp_path / 'train.jsonl'}:{line}: " in printed
        assert what in printed
    assert "3 rows cannot be trained on" in printed
    assert "4 without delta (truncated)" in printed
    assert not (tmp_path / "out").exists()
    printed = run([*words, "--check", "--set", "data.unusable=skip"])
    assert "train: 17 pairs" in printed
    # A text needs no encoding to be refused: it stops a run that was not checked before its start.
    printed = run(words, code=1)
    assert f"error: {tmp_path / 'train.jsonl'}:3: prompt spells the special token" in printed
    assert "parameters" not in printed


def test_a_broken_picture_stops_a_run_that_may_then_leave_it_out(
    policies: Policies, data: Path, tmp_path: Path
) -> None:
    """Its row is named when it is met; resumed with `skip`, the run goes on without it."""
    rows = [json.loads(line) for line in (data / "train.jsonl").read_text().splitlines()]
    (data / "broken.png").write_bytes((data / "3.png").read_bytes()[:60])
    rows[4]["images"] = ["broken.png"]
    file = data / "with_a_broken_one.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    words = arguments("dense-dpo", policies(), data, tmp_path / "out")
    words[words.index("--train") + 1] = str(file)
    assert f"error: {file}:5: " in run(words, code=1)
    printed = run([*words, "--resume", "--set", "data.unusable=skip"])
    assert "1 unusable" in printed
    assert (tmp_path / "out" / "config.json").is_file()
    # TRL's own card would say that nothing was fine-tuned.
    assert not list((tmp_path / "out").rglob("README.md"))


def test_tokens_of_control_may_not_be_spelled_and_added_words_may(policies: Policies) -> None:
    """`<think>` is a word that was added to the Qwen families, `<|im_end|>` ends a turn."""
    processor = AutoProcessor.from_pretrained(policies())
    words = [AddedToken(one, special=False, normalized=False) for one in ("<think>", "<pic>")]
    processor.tokenizer.add_tokens(words)
    processor.image_token = "<pic>"  # what stands for a picture need not be marked
    found = control_tokens(processor)
    assert {"<|im_end|>", "<|image_pad|>", "<pic>"} <= set(found)
    assert "<think>" not in found


def test_wrong_margins_and_settings_say_what_is_wrong(
    policies: Policies, data: Path, tmp_path: Path
) -> None:
    """A NaN names its line, a column that is not there its row, a setting its name."""
    write_pairs(tmp_path, "train.jsonl", range(4), delta=lambda n: float("nan") if n == 2 else 0.1)
    printed = run(arguments("mm-dpo", policies(), tmp_path, tmp_path / "a"), code=1)
    assert f"error: {tmp_path / 'train.jsonl'}:3: " in printed
    words = arguments("mm-dpo", policies(), data, tmp_path / "b", **{"loss.column": "margin"})
    assert "train.jsonl:1: no column 'margin'" in run(words, code=1)
    words = arguments("mm-dpo", policies(), data, tmp_path / "c", **{"loss.rule": "papers"})
    assert "loss.rule" in run(words, code=2)
    words = arguments("mm-dpo", policies(), data, tmp_path / "d", **{"loss.w": "-1"})
    assert "loss.w" in run(words, code=2)
