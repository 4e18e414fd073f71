"""`mmreward-train align grouped`: a policy learns from rewards over HTTP, stops and goes on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from mmreward_client.testing import Fault, LocalService
from mmreward_trainer.align.grouped.configuration import GroupedSettings
from mmreward_trainer.align.grouped.preparation import prepare
from mmreward_trainer.align.grouped.run import WARNINGS_FILE, forget_warnings, warnings_of
from mmreward_trainer.cli.main import app
from PIL import Image
from safetensors.torch import load_file
from transformers import AutoModelForImageTextToText
from typer.testing import CliRunner

from .conftest import by_letter, write_prompts

EVENTS = "TENSORBOARD_LOGGING_DIR"
ROOT = Path(__file__).parents[4]
SMALL = {
    "run.cpu": "true",
    "run.precision": "float32",
    "run.export_dtype": "float32",
    "run.save_every_steps": 2,
    "rl.prompts_per_step": 2,
    "rl.completions": 8,
    "rl.completions_per_batch": 16,
    "rl.max_completion_tokens": 8,
    "rl.learning_rate": 3e-3,
    "rl.schedule": "constant_with_warmup",
    "rl.warm_up_share": 0,
    "rl.max_steps": 6,
    "service.wait_s": 5,
    "service.timeout_s": 120,
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("prompts")
    write_prompts(folder, "validation.jsonl", range(20, 22))
    write_prompts(folder, "train.jsonl", range(8))
    return folder


def arguments(model: Path, data: Path, output: Path, url: str, **more: Any) -> list[str]:
    """Of one run, with another value for some settings."""
    return [
        "align", "grouped", "--output", str(output), "--model", str(model), "--url", url,
        "--train", str(data / "train.jsonl"),
        *(word for name, to in {**SMALL, **more}.items() for word in ("--set", f"{name}={to}")),
    ]  # fmt: skip


def run(words: list[str], code: int = 0) -> str:
    """What it printed."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    done = CliRunner().invoke(app, words, env={EVENTS: None})
    torch.set_num_threads(threads)
    assert done.exit_code == code, (done.output[-3000:], done.exception)
    return done.output


def history(output: Path) -> list[dict[str, Any]]:
    """The lines of training, without what depends on the clock."""
    lines = json.loads((output / "run" / "history.json").read_text())
    clocks = ("step_time", "service/seconds")
    return [
        {name: value for name, value in line.items() if name not in clocks}
        for line in lines
        if "reward" in line
    ]


def test_a_stopped_run_goes_on_and_learns_what_a_whole_one_does(
    policies: Any, data: Path, tmp_path: Path
) -> None:
    """The service fails at step 5; on another replica the same log to the last digit, and weights.

    The reward has risen, and the held-out prompts have theirs.
    """
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    with LocalService(by_letter) as service:
        words = arguments(policies(), data, whole, service.url)
        printed = run([*words, "--validation", str(data / "validation.jsonl")])
        assert "8 prompts, 4 with answer" in printed
        assert all(len(one.items[0]["responses"]) == 8 for one in service.asked)
    # Two groups a step; a fault of the server is tried once more, and is then the end.
    with LocalService(by_letter, faults=[*[None] * 8, *[Fault("internal")] * 9]) as service:
        words = arguments(policies(), data, stopped, service.url, **{"service.max_in_flight": 1})
        words += ["--validation", str(data / "validation.jsonl")]
        assert "error: " in run(words, code=1)
        assert not (stopped / "config.json").exists()
    with LocalService(by_letter) as service:
        words[words.index("--url") + 1] = service.url
        assert "resumed from checkpoint-4" in run([*words, "--resume"])
        service.fingerprint = "other weights"
        assert "the run was begun with the fingerprint" in run([*words, "--resume"], code=1)
    assert history(stopped) == history(whole)
    for name, tensor in load_file(whole / "model.safetensors").items():
        assert torch.equal(tensor, load_file(stopped / "model.safetensors")[name]), name
    _leaves_a_policy_and_an_account(whole, policies())
    assert [one["event"] for one in events(whole)] == ["Began"]
    told = [one for one in events(stopped) if one["event"] in ("Began", "CallFailed")]
    assert [one.get("resumed") for one in told] == [False, None, True]
    assert told[1]["error"].startswith("ServerError")


def events(output: Path) -> list[dict[str, Any]]:
    """What the run's log of the service says."""
    lines = (output / "run" / "service-events.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def _leaves_a_policy_and_an_account(output: Path, base: Path) -> None:
    folder = output / "run"
    result = json.loads((folder / "result.json").read_text())
    assert result["steps"] == 6
    assert result["rows"]["prompts"] == 8
    assert result["fingerprint"] == "local-service"
    assert result["since_start_or_resume"]["completions"] == 6 * 16 + 2 * 8
    assert result["validation"]["eval_reward"] > 0
    assert "eval_hacking/accuracy" in result["validation"]
    assert list((folder / "tensorboard").glob("events.*"))
    with Image.open(folder / "curves.png") as picture:
        assert picture.width > 600
    rewards = [line["reward"] for line in history(output)]
    assert min(rewards[-2:]) > 2 * rewards[0]
    before, after = (
        AutoModelForImageTextToText.from_pretrained(one).state_dict() for one in (base, output)
    )
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert any("language_model" in name for name in moved)
    assert not [name for name in moved if "visual" in name and "merger" not in name]


def test_a_check_names_rows_and_trains_nothing(policies: Any, data: Path, tmp_path: Path) -> None:
    """Too long, undecodable, spelling a special token; and what the service is, if it is there."""
    rows = [json.loads(line) for line in (data / "train.jsonl").read_text().splitlines()]
    for row in rows:
        name = row["images"][0]
        (tmp_path / name).write_bytes((data / name).read_bytes())
    rows[1]["prompt"] = "long " * 200
    (tmp_path / "3.png").write_bytes((tmp_path / "3.png").read_bytes()[:60])
    rows.append(rows[0])
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    nobody = arguments(
        policies(), tmp_path, tmp_path / "out", "http://127.0.0.1:9", **{"data.max_tokens": 300}
    )
    printed = run([*nobody, "--check"], code=1)
    assert f"unusable: {tmp_path / 'train.jsonl'}:2: " in printed
    assert "tokens, data.max_tokens is 300" in printed
    assert f"unusable: {tmp_path / 'train.jsonl'}:4: " in printed
    assert "8 prompts, 4 with answer, 1 repeated" in printed
    assert "2 rows cannot be trained on" in printed
    assert "WARNING: service: not ready" in printed
    with LocalService() as service:
        words = [service.url if one == "http://127.0.0.1:9" else one for one in nobody]
        printed = run([*words, "--check", "--set", "data.unusable=skip"])
        assert "train: 6 prompts" in printed
        assert "service: local (critique, judge), local-service" in printed
        service.kinds = ["critique"]
        printed = run([*words, "--check", "--set", "data.unusable=skip"])
        assert "local is no judge" in printed
    rows[2]["prompt"] = "What is <|image_pad|>?"
    (tmp_path / "train.jsonl").write_text(json.dumps(rows[2]) + "\n")
    assert "1: prompt: spells the special token" in run([*nobody, "--check"], code=1)
    assert not (tmp_path / "out").exists()


def test_settings_that_cannot_work_are_refused_by_name(
    policies: Any, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before anything is read: sizes that do not divide, times that do not fit, unknown names."""
    words = arguments(policies(), data, tmp_path / "a", "http://127.0.0.1:9")
    assert "rl.completions" in run([*words, "--set", "rl.completions=1"], code=2)
    late = ["--set", "service.timeout_s=600"]
    assert "service.timeout_s 600 is not smaller than" in run([*words, *late], code=2)
    assert "reward.order" in run([*words, "--set", "reward.order=both"], code=2)
    secret = run(arguments(policies(), data, tmp_path / "a", "http://me:secret@a:1"), code=2)
    assert "the address of a:1 holds a user or a password" in secret
    assert "me:secret" not in secret
    assert not (tmp_path / "a").exists()
    settings = GroupedSettings.model_validate(
        {"model": policies(), "data": {"train": [data / "train.jsonl"]}, "rl": {"completions": 4}}
    )
    monkeypatch.setenv("WORLD_SIZE", "7")
    with pytest.raises(ValueError, match="prompts_per_step x completions"):
        prepare(settings)


def launched(*words: str) -> subprocess.CompletedProcess[str]:
    """Two processes, as people start them."""
    launcher = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone"]
    return subprocess.run(
        [sys.executable, *launcher, *words],
        env=os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True, text=True, timeout=900, cwd=ROOT,
    )  # fmt: skip


def test_a_prompt_that_is_too_long_stops_a_run_that_may_then_leave_it_out(
    policies: Any, data: Path, tmp_path: Path
) -> None:
    """The row is named when it is met; resumed with `skip`, the run goes on without it."""
    long = json.dumps({"images": ["3.png"], "prompt": "What is it? " * 80})
    file = data / "with_a_long_one.jsonl"
    file.write_text((data / "train.jsonl").read_text() + long + "\n")
    with LocalService(by_letter) as service:
        words = arguments(policies(), data, tmp_path / "out", service.url,
                          **{"data.max_tokens": 400, "run.save_every_steps": 1})  # fmt: skip
        words[words.index("--train") + 1] = str(file)
        printed = run(words, code=1)
        assert f"error: {file}:9: " in printed
        assert "tokens, data.max_tokens is 400" in printed
        assert "written with other settings" in run(
            [*words, "--resume", "--set", "data.max_tokens=900"], code=1
        )
        printed = run([*words, "--resume", "--set", "data.unusable=skip"])
    assert "8 prompts, 4 with answer" in printed
    assert "1 unusable" in printed
    assert len(history(tmp_path / "out")) == 6


def test_warnings_of_steps_that_are_done_again_are_forgotten(tmp_path: Path) -> None:
    """The account of a resumed run tells each of its steps once."""
    lines = [json.dumps({"step": step, "text": "crossed"}) for step in (2, 4, 7)]
    (tmp_path / WARNINGS_FILE).write_text("\n".join([*lines, lines[0][:9]]))
    forget_warnings(tmp_path, since=4)
    assert [one["step"] for one in warnings_of(tmp_path)] == [2, 4]
    forget_warnings(tmp_path / "none", since=0)


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_two_processes_of_trl_share_a_group(policies: Any, data: Path, tmp_path: Path) -> None:
    """Three prompts of four completions on two processes: every request holds one whole group."""
    sizes = {
        "rl.prompts_per_step": 3, "rl.completions": 4, "rl.completions_per_batch": 2,
        "rl.max_steps": 2,
    }  # fmt: skip
    with LocalService(by_letter) as service:
        words = arguments(policies(), data, tmp_path / "two", service.url, **sizes)
        done = launched("-m", "mmreward_trainer", *words)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
        assert len(service.asked) == 6
        assert all(len(one.items[0]["responses"]) == 4 for one in service.asked)
        refused = [*arguments(policies(), data, tmp_path / "no", service.url, **sizes)]
        refused += ["--set", "reward.split=refuse"]
        done = launched("-m", "mmreward_trainer", *refused)
        assert done.returncode != 0
        assert "no whole groups of 4" in done.stdout + done.stderr
        assert len(service.asked) == 6
    assert len(history(tmp_path / "two")) == 2


def test_a_step_without_any_reward_is_null_in_the_history(tmp_path: Path) -> None:
    """TRL logs NaN, which is no JSON."""
    from mmreward_trainer.align.grouped.curves import PANELS
    from mmreward_trainer.run_log import write_history

    log = [{"step": 1, "reward": float("nan")}, {"step": 2, "reward": 3.0}]
    write_history(log, tmp_path, PANELS)
    text = (tmp_path / "history.json").read_text()
    assert "NaN" not in text
    assert json.loads(text) == [{"step": 1, "reward": None}, {"step": 2, "reward": 3.0}]
    assert (tmp_path / "curves.png").is_file()
