"""Every setting of a run of `mmreward-train judge`; the resolved ones are written beside it.

Defaults of the second stage are those of the paper where it names them (Generative RLHF-V,
arXiv 2505.18531, table 5, column GRM-RL): 2 epochs, learning rate 1e-6, cosine, warm-up 0.03,
weight decay 0.01, 8 rollouts, temperature 1, KL coefficient 0.02, clipping 0.2. Where we differ,
the comment says so.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from mmreward_trainer.critique.configuration import (
    Count,
    Data,
    Lora,
    NotNegative,
    Positive,
    Run,
    _Part,
)

StageName = Literal["sft", "rl"]


class JudgeData(Data):
    """What is trained on, and where the rows hold judgements."""

    judgement_column: str = "judgement"  # with the preferred answer first
    swapped_column: str = "judgement_swapped"  # with the preferred answer second

    @model_validator(mode="after")
    def _has_no_margins(self) -> JudgeData:
        if self.margin_column is not None:
            raise ValueError("margin_column: a judge learns no margins")
        return self


class Judge(_Part):
    """The prompt and the scores. None: as the model folder says, or the default."""

    templates: Path | None = None  # a JSON object, see docs/judge-training.md
    principles: Path | None = None  # a text file, put into the default prompt
    max_judgement_tokens: Count | None = None
    score_range: tuple[float, float] | None = None

    @model_validator(mode="after")
    def _one_prompt(self) -> Judge:
        if self.templates is not None and self.principles is not None:
            raise ValueError("principles go into the default prompt: write them into templates")
        return self


class Composed(_Part):
    """A judgement made of a row's two reasons, for rows that hold none."""

    criteria: str = "agreement with what is shown, 60 %; a complete answer to what was asked, 40 %."
    chosen_score: float = 8.0
    rejected_score: float = 3.0

    @model_validator(mode="after")
    def _prefers_the_chosen(self) -> Composed:
        if not self.chosen_score > self.rejected_score:
            raise ValueError("chosen_score must be above rejected_score")
        return self


class _Stage(_Part):
    epochs: Positive = 1.0
    max_steps: Count | None = None
    learning_rate: Positive = 1e-6
    schedule: Literal["cosine", "linear", "constant_with_warmup"] = "cosine"
    warm_up_share: Annotated[float, Field(ge=0, lt=1)] = 0.03
    weight_decay: NotNegative = 0.01
    betas: tuple[float, float] = (0.9, 0.999)
    max_grad_norm: Positive = 1.0


class Sft(_Stage):
    """The supervised warm start. `pairs_per_step` is over all processes."""

    learning_rate: Positive = 1e-5
    pairs_per_step: Count = 24
    pairs_per_batch: Count = 1  # of one process, each in both orders, in one forward pass
    composed: Composed = Composed()


class Rewards(_Part):
    """What a judgement is worth. The paper: 1 for the right order and 0 for everything else."""

    right: float = 1.0
    wrong: float = 0.0  # -1 tells a wrong order from one that cannot be read
    tie: float = 0.0
    failed: float = 0.0  # no two scores, or cut off before its end
    format: NotNegative = 0.0  # added wherever two scores were read

    @model_validator(mode="after")
    def _right_is_best(self) -> Rewards:
        if not self.right > max(self.wrong, self.tie):
            raise ValueError("right must be worth more than wrong and tie")
        if not self.right + self.format > self.failed:
            raise ValueError("right must be worth more than failed")
        return self


class Rl(_Stage):
    """Reinforcement learning. A comparison is a pair in one order of its answers."""

    epochs: Positive = 2.0  # in one epoch each pair is shown in both orders
    # Of all processes. The paper has 360, for 16 GPUs, and updates in parts of 128.
    comparisons_per_step: Count = 32
    rollouts: Annotated[int, Field(ge=2)] = 8  # judgements sampled of each comparison
    rollouts_per_batch: Count = 8  # of one process, in one forward pass
    updates: Count = 1  # passes over the same rollouts; clipping has an effect from 2 on
    temperature: Positive = 1.0
    kl: NotNegative = 0.02  # coefficient of the divergence from the start; 0: no reference model
    clip: Positive = 0.2
    # `grpo` is the paper's mean over each text; the others are TRL's, see its documentation.
    loss: Literal["grpo", "bnpo", "dr_grpo", "dapo"] = "grpo"
    scale: Literal["group", "batch", "none"] = "group"  # what advantages are divided by
    rewards: Rewards = Rewards()
    use_vllm: bool = False  # rollouts by vLLM in the same process
    vllm_memory_share: Annotated[float, Field(gt=0, lt=1)] = 0.3


class JudgeConfig(_Part):
    """One run of `mmreward-train judge`."""

    model: Path
    data: JudgeData
    stages: tuple[StageName, ...] = ("sft", "rl")
    judge: Judge = Judge()
    sft: Sft = Sft()
    rl: Rl = Rl()
    train_vision: bool = False
    lora: Lora | None = None
    run: Run = Run()

    @model_validator(mode="after")
    def _fits(self) -> JudgeConfig:
        if self.stages not in (("sft",), ("rl",), ("sft", "rl")):
            raise ValueError('stages: one of ["sft"], ["rl"], ["sft", "rl"]')
        if self.lora is not None and self.train_vision:
            raise ValueError("train_vision: adapters are put into the language model only")
        return self
