"""Training with margins that are asked for ahead of the step: the same run as with a column."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from mmreward_client.testing import Fault, LocalService
from mmreward_trainer.align.live_margins import MarginServiceError, ServiceMargins
from mmreward_trainer.align.mm_dpo import MMDPOConfig, MMDPOTrainer

from .conftest import Policies, write_pairs
from .steps import rows_of, settings
from .test_live_margins import truth
from .test_runs import ROOT, SMALL, TIMEOUT_S, history, run

PAIRS = 10
Build = Callable[..., MMDPOTrainer]


@pytest.fixture
def service() -> Iterator[LocalService]:
    with LocalService() as service:
        yield service


@pytest.fixture
def build(policies: Policies, tmp_path: Path) -> Build:
    """A trainer over the same pairs in the same order."""

    def make(source: ServiceMargins | None, folder: str = "a", **more: Any) -> MMDPOTrainer:
        columns = {} if source is not None else {"delta": more.pop("delta")}
        options = {
            "learning_rate": 1e-3, "seed": 3, "save_strategy": "no", "max_steps": 4,
            "gradient_accumulation_steps": 2, "dataloader_num_workers": 0, **more,
        }  # fmt: skip
        return MMDPOTrainer(
            model=str(policies()),
            args=MMDPOConfig(**settings(tmp_path / folder, **options)),
            train_dataset=Dataset.from_list(rows_of(PAIRS, **columns)),
            eval_dataset=Dataset.from_list(rows_of(3, **columns_of(columns, 3))),
            margin_source=source,
        )

    return make


def columns_of(columns: dict[str, Any], count: int) -> dict[str, Any]:
    return {name: values[:count] for name, values in columns.items()}


def losses(trainer: MMDPOTrainer) -> list[float]:
    """Step, loss and mean δ of each log line, in a row."""
    return [
        one[name]
        for one in trainer.state.log_history
        for name in ("step", "loss", "delta/mean")
        if "delta/mean" in one
    ]


@pytest.mark.parametrize("workers", [0, 2])
def test_it_is_the_run_of_a_column(service: LocalService, build: Build, workers: int) -> None:
    """Accumulated passes, an epoch's end, validation: the same δ for the same pair, every time."""
    torch.manual_seed(0)
    by_column = build(None, "a", delta=truth(service, rows_of(PAIRS)))
    by_column.train()
    expected = by_column.evaluate()
    service.asked.clear()
    source = ServiceMargins([service.url], look_ahead=3)
    live = build(source, "b", dataloader_num_workers=workers)
    live.train()
    assert losses(live) == pytest.approx(losses(by_column), rel=1e-6)
    found = live.evaluate()
    for name in ("eval_loss", "eval_delta/mean", "eval_beta/mean", "eval_pairs/used"):
        assert found[name] == pytest.approx(expected[name], rel=1e-6), name
    waits = [one["margin_wait_s"] for one in live.state.log_history if "margin_wait_s" in one]
    assert len(waits) == 4
    assert min(waits) >= 0
    # Four steps of four pairs are more than an epoch: no pair was asked about twice, and those
    # for validation are among them.
    assert source.asked == PAIRS
    assert {asked.pin for asked in service.asked} == {service.fingerprint}
    source.close()


def test_a_resumed_run_asks_for_what_is_left(
    service: LocalService, build: Build, tmp_path: Path
) -> None:
    """Not for batches that were trained on; and from the model that the run began with."""
    first = ServiceMargins([service.url], look_ahead=2, concurrency=1)
    whole = build(first, save_strategy="steps", save_steps=2)
    whole.train()
    first.close()
    batches = [asked.items for asked in service.asked]
    service.asked.clear()
    source = ServiceMargins([service.url], look_ahead=2, concurrency=1)
    resumed = build(source)
    save = str(tmp_path / "a" / "out" / "checkpoint-2")
    resumed.train(resume_from_checkpoint=save)
    assert losses(resumed) == losses(whole)
    # After two steps of four pairs one batch of the epoch is left; what follows is of the next.
    assert len(batches) == PAIRS / 2
    assert service.asked[0].items == batches[-1]
    source.close()
    service.fingerprint = "new weights"
    other = ServiceMargins([service.url])
    trainer = build(other)
    with pytest.raises(MarginServiceError, match="PinMismatch"):
        trainer.train(resume_from_checkpoint=save)
    assert trainer.state.global_step == 2
    other.close()


def test_validation_before_resuming_keeps_the_model_of_the_run(
    service: LocalService, build: Build, tmp_path: Path
) -> None:
    """Held-out pairs may be judged by the new model; the training goes on with the old or not."""
    first = ServiceMargins([service.url])
    build(first, max_steps=2, save_strategy="steps", save_steps=1).train()
    first.close()
    service.fingerprint = "new weights"
    source = ServiceMargins([service.url])
    trainer = build(source)
    assert trainer.evaluate()["eval_pairs/used"] == 3
    with pytest.raises(MarginServiceError, match="begun with margins of the model local-service"):
        trainer.train(resume_from_checkpoint=str(tmp_path / "a" / "out" / "checkpoint-1"))
    source.close()
    kept = json.loads((tmp_path / "a" / "out" / "margin-model.json").read_text())
    assert kept == {"fingerprint": "local-service"}


def test_a_changed_model_stops_before_a_wrong_step(
    service: LocalService, build: Build, tmp_path: Path
) -> None:
    """In the middle of a run; what was trained on until then is of the first model."""
    source = ServiceMargins([service.url], look_ahead=0, cache_pairs=0)
    trainer = build(source, max_steps=8, gradient_accumulation_steps=1)
    step = trainer.training_step

    def training_step(*arguments: Any) -> Any:
        if trainer.state.global_step == 2:
            service.fingerprint = "new weights"
        return step(*arguments)

    trainer.training_step = training_step
    with pytest.raises(MarginServiceError, match="PinMismatch"):
        trainer.train()
    assert trainer.state.global_step == 3
    events = (tmp_path / "a" / "out" / "service-events.jsonl").read_text().splitlines()
    lines = [json.loads(line) for line in events]
    assert lines[0]["event"] == "Began"
    assert lines[0]["fingerprint"] == "local-service"
    assert "PinMismatch" in lines[-1]["error"]
    source.close()


def test_pairs_without_margin_are_dropped_and_counted(service: LocalService, build: Build) -> None:
    """Nulls and lost calls alike, by reason; the log line of the step counts them, too."""
    # One request at a time: which fault meets which batch is then certain.
    source = ServiceMargins([service.url], look_ahead=1, concurrency=1, timeout_s=30.0)
    trainer = build(source, max_steps=3, gradient_accumulation_steps=1)
    service.script(Fault("null", status="truncated"), None, Fault("overloaded", retry_after_s=60))
    trainer.train()
    assert trainer.lacking == {"truncated": 2, "Overloaded": 2}
    counts = [one["pairs/dropped"] for one in trainer.state.log_history if "beta/mean" in one
              or "pairs/dropped" in one]  # fmt: skip
    assert counts == [2, 0, 2]
    source.close()


def test_settings_that_do_not_fit_are_refused(service: LocalService, build: Build) -> None:
    """A rule that reads no δ, another basis than the source has."""
    source = ServiceMargins([service.url])
    with pytest.raises(ValueError, match="beta_rule plain"):
        build(source, beta_rule="plain")
    with pytest.raises(ValueError, match="basis calibrated of the configuration, raw of"):
        build(source, basis="calibrated")


def words(model: Path, data: Path, output: Path, url: str) -> list[str]:
    """Of a run with margins from the service."""
    chosen = {**SMALL, "optimisation.max_steps": 3, "margins.source": "service",
              "margins.urls": f'["{url}"]', "margins.look_ahead": 2}  # fmt: skip
    return [
        "align", "mm-dpo", "--output", str(output), "--model", str(model),
        "--train", str(data / "train.jsonl"),
        *(word for name, value in chosen.items() for word in ("--set", f"{name}={value}")),
    ]  # fmt: skip


def test_the_command_asks_a_service(
    policies: Policies, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows without any column; the key comes from the environment and is written nowhere."""
    write_pairs(tmp_path, "train.jsonl", range(12))
    monkeypatch.setenv("MMREWARD_API_KEY", "sk-secret")
    output = tmp_path / "out"
    with LocalService(api_key="sk-secret") as service:
        arguments = words(policies(), tmp_path, output, service.url)
        assert "serve the model local-service" in run([*arguments, "--check"])
        assert "2 batches ahead" in run(arguments)
        assert all("margin_wait_s" in one for one in history(output) if "beta/mean" in one)
    result = json.loads((output / "run" / "result.json").read_text())
    assert result["margins"]["fingerprint"] == "local-service"
    assert result["margins"]["pairs_asked"] == 12
    assert (output / "run" / "saves" / "service-events.jsonl").is_file()
    for file in (output / "run").rglob("*.json*"):
        assert "sk-secret" not in file.read_text()
    # The service is gone now.
    printed = run([*words(policies(), tmp_path, tmp_path / "b", service.url), "--set",
                   "margins.timeout_s=2"], code=1)  # fmt: skip
    assert "does not say which model it serves" in printed


def test_settings_of_margins_are_checked(policies: Policies, tmp_path: Path) -> None:
    """What would not be read is refused, and an address has to be there."""
    write_pairs(tmp_path, "train.jsonl", range(4), delta=1.0)
    good = words(policies(), tmp_path, tmp_path / "out", "http://127.0.0.1:9")
    for change, said in (
        ("margins.urls=[]", "urls"),
        ("margins.source=column", "would not be read"),
        ("loss.rule=given", "reads no δ"),
        ("loss.column=delta", "reads no column"),
    ):
        assert said in run([*good, "--set", change], code=2)


@pytest.mark.soak
def test_two_processes_agree_and_learn_what_one_does(policies: Policies, tmp_path: Path) -> None:
    """Each asks for its own pairs, and all of the same model."""
    write_pairs(tmp_path, "train.jsonl", range(12))
    found = []
    with LocalService() as service:
        for processes in (1, 2):
            service.asked.clear()
            arguments = words(policies(), tmp_path, tmp_path / str(processes), service.url)
            arguments += ["--set", "optimisation.pairs_per_batch=1"]
            program = ["-m", "mmreward_trainer"]
            if processes == 2:
                launcher = ["-m", "torch.distributed.run", "--nproc-per-node", "2"]
                program = [*launcher, "--master-port", "29543", *program]
            done = subprocess.run(
                [sys.executable, *program, *arguments],
                env=os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
                capture_output=True, text=True, cwd=ROOT, timeout=TIMEOUT_S, check=False,
            )  # fmt: skip
            assert done.returncode == 0, done.stderr[-3000:]
            lines = history(tmp_path / str(processes))
            found.append([one["loss"] for one in lines if "beta/mean" in one])
            asked = [item["chosen"] for one in service.asked for item in one.items]
            assert len(asked) == len(service.asked) == 12
            assert {one.pin for one in service.asked} == {service.fingerprint}
    assert found[1] == pytest.approx(found[0], rel=1e-5)
    for name in ("service-events.jsonl", "rank1-service-events.jsonl"):
        assert (tmp_path / "2" / "run" / "saves" / name).is_file()
