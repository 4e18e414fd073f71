"""Critiques and judgements learned together, at a tiny size: exact resume, states, the folder."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from mmreward_service.reward.checkpoint import load_head, load_spec, weights_fingerprint
from mmreward_trainer.digits.run import Run
from mmreward_trainer.digits.scoring import load_digit_model
from mmreward_trainer.digits_judge.command import write_snapshot
from mmreward_trainer.digits_judge.configuration import JudgeConfig
from mmreward_trainer.digits_judge.judging import MAX_JUDGEMENT_TOKENS
from mmreward_trainer.digits_judge.steps import train_step, training_comparisons
from mmreward_trainer.digits_judge.templates import JUDGE, PICTURE_FIRST
from mmreward_trainer.digits_judge.train import snapshot_file, start, train

DIGITS = Path(__file__).parents[3] / "models" / "digits"
TINY = JudgeConfig(
    threads=1,
    start=str(DIGITS),
    critique_steps=3,
    refine_steps=1,
    kind_pairs=(1, 0, 0, 1, 0, 0, 0),
    refine_truth_pairs=1,
    kind_comparisons=(0, 1, 0, 1, 0, 0, 0),
    settle_steps=2,
    settle_refine_steps=1,
    settle_kind_pairs=(1, 0, 0, 0, 0, 1, 0),
    settle_kind_comparisons=(0, 0, 0, 0, 0, 1, 0),
    settle_truth_pairs=1,
    snapshot_steps=(2,),
    validate_every=100,
    validation_pairs=2,
)


def silent(phase: str, step: int, steps: int, numbers: dict[str, Any]) -> None:
    """Shows nothing."""


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Path]:
    """A tiny run that was never interrupted, and its folder."""
    folder = tmp_path_factory.mktemp("whole")
    return train(TINY, folder, resume=False, report=silent), folder


def weights(run: Run) -> dict[str, torch.Tensor]:
    return dict(run.digit_model.model.state_dict())


def test_interrupted_run_resumes_exactly(finished: tuple[Run, Path], tmp_path: Path) -> None:
    """Stopped in the middle and resumed, weights and head are those of a whole run."""

    def interrupt(phase: str, step: int, steps: int, numbers: dict[str, Any]) -> None:
        if phase == "settle" and step == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(TINY, tmp_path, resume=False, report=interrupt)
    resumed = train(TINY, tmp_path, resume=True, report=silent)
    whole, _ = finished
    assert all(torch.equal(one, weights(whole)[name]) for name, one in weights(resumed).items())
    head = whole.digit_model.head.state_dict()
    for name, one in resumed.digit_model.head.state_dict().items():
        assert torch.equal(one, head[name]), name
    with pytest.raises(ValueError, match="judge_weight"):
        train(replace(TINY, judge_weight=2.0), tmp_path, resume=True, report=silent)


def test_run_starts_from_the_critique_model_and_freezes_its_vision(
    finished: tuple[Run, Path],
) -> None:
    """Before the first step the weights are the start's; afterwards its tower still is."""
    before, after = weights(start(TINY)), weights(finished[0])
    published = load_digit_model(DIGITS).model.state_dict()
    assert all(torch.equal(before[name], one) for name, one in published.items())
    moved = {name for name, one in before.items() if not torch.equal(one, after[name])}
    assert moved
    assert not [name for name in moved if "visual" in name]


def test_judge_weight_alone_moves_judgements() -> None:
    """Without weight the judgements add nothing to the loss; with weight they do."""
    plain = train_step(start(replace(TINY, judge_weight=0.0)))
    both = train_step(start(TINY))
    assert both["judge"] == plain["judge"] > 0
    assert both["loss"] == pytest.approx(plain["loss"] + both["judge"], abs=1e-4)


def test_phases_follow_each_other() -> None:
    """Own critiques twice; each phase's rate decays to its end; settling draws its own rows."""
    config = JudgeConfig()
    phases = "".join(
        ("S" if config.is_settling(step) else "J") + ("o" if config.is_refining(step) else "")
        for step in range(config.total_steps)
    )
    assert phases == "J" * 420 + "Jo" * 40 + "S" * 100 + "So" * 40
    rates = [config.rate(step) for step in range(config.total_steps)]
    assert max(rates) == rates[100] == config.learning_rate
    assert 0 < rates[459] < rates[421] < config.learning_rate * config.final_share
    assert 0 < rates[-1] < max(rates[460:]) <= config.settle_rate
    last = config.total_steps - 1
    drawn = training_comparisons(config.of_step(last), last)
    assert len(drawn) == sum(config.settle_kind_comparisons)
    assert config.of_step(459) == config


def test_prompt_with_the_picture_first() -> None:
    """The setting decides where the judge prompt holds the picture; critiques keep theirs."""
    last, first = (
        start(replace(TINY, picture_first=is_first)).digit_model.renderer.spec.templates
        for is_first in (False, True)
    )
    assert (last.judge, first.judge) == (JUDGE, PICTURE_FIRST)
    assert last.critique == first.critique


def test_published_folder_does_both(finished: tuple[Run, Path], tmp_path: Path) -> None:
    """Both kinds, prompts, the head, golden critique scores; a kept state is the state then."""
    run, folder = finished
    write_snapshot(TINY, folder, 2, tmp_path)
    spec = load_spec(tmp_path)
    assert spec.kinds == ["critique", "judge"]
    assert spec.templates.judge == JUDGE
    assert spec.score_range == (1.0, 10.0)
    assert spec.max_tokens("judge") == MAX_JUDGEMENT_TOKENS > spec.max_tokens("critique")
    assert len(spec.golden) == 8
    assert spec.training_rows["started_from"] == weights_fingerprint(DIGITS)
    record = json.loads((tmp_path / "training_record.json").read_text())
    assert record["critique_model"] == json.loads((DIGITS / "training_record.json").read_text())
    half = torch.load(snapshot_file(folder, 2), weights_only=True)
    head = load_head(tmp_path, spec).state_dict()
    assert half["step"] == 2
    assert all(torch.equal(one, half["head"][name]) for name, one in head.items())
    end = run.digit_model.head.state_dict()
    assert not all(torch.equal(one, half["head"][name]) for name, one in end.items())
