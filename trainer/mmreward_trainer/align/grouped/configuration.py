"""Every setting of `mmreward-train align grouped`.

Defaults are those of the paper's policy training where it names them (Generative RLHF-V, arXiv
2505.18531, table 5, column policy-RL): 2 epochs, learning rate 1e-6, cosine, warm-up 0.03, weight
decay 0.01, 5 completions of each prompt of at most 512 tokens, temperature 1, KL coefficient 0.02,
clipping 0.2. Where we differ, the comment says so.
"""

from __future__ import annotations

from typing import Annotated, Literal

from mmreward_client.schema import Aggregate, Orders
from pydantic import BaseModel, ConfigDict, Field, model_validator

from mmreward_trainer.align.configuration import Address, AlignData, AlignRun, AlignSettings
from mmreward_trainer.critique.configuration import Count, NotNegative, Positive
from mmreward_trainer.judge.configuration import _Stage

Share = Annotated[float, Field(ge=0, le=1)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class GroupedData(AlignData):
    """What is trained on: prompts with pictures, in any file of docs/data.md.

    With the form `pairs` only the prompt is needed, answers of pairs are not read; the published
    forms of preference data give their prompts. `max_tokens` is of a prompt with its pictures.
    """

    answer_column: str = "answer"  # what is known to be right, where a row says it
    match: Literal["contains", "exact"] = "contains"  # how a completion is compared with it
    workers: Annotated[int, Field(ge=0)] = 0  # rows are prompts: generation takes the time


class Service(_Part):
    """Where the rewards come from. The key is read from the environment, MMREWARD_API_KEY."""

    urls: list[Address] = ["http://127.0.0.1:8000"]  # replicas
    model: str | None = None
    timeout_s: Positive = 300.0  # of a step's requests together
    silence_timeout_s: Positive | None = None  # of one of several replicas, see ClientConfig
    max_in_flight: Count = 16  # requests of one process under way at once
    wait_s: NotNegative = 60.0  # until it is ready, at the start
    on_failure: Literal["raise", "none"] = "raise"  # of a call without an answer, see docs
    patience: Count = 3  # with `none`: steps in a row without any answer


class Reward(_Part):
    """What is asked."""

    kind: Literal["groups", "scores"] = "groups"  # a judge, or a critique model
    orders: Orders = "both"
    comparisons: Literal["all"] | Count = "all"
    aggregate: Aggregate = "mean"
    critiques: Count = 1  # of each comparison, or of each completion
    mode: Literal["generate", "none"] = "generate"  # of `scores`
    partial: Literal["keep", "drop"] = "keep"
    split: Literal["gather", "refuse"] = "gather"
    # The paper gives 0 to a completion that was cut; None leaves it out.
    incomplete: float | None = None


class Rl(_Stage):
    """Reinforcement learning. `prompts_per_step` is over all processes and accumulated batches."""

    epochs: Positive = 2.0
    prompts_per_step: Count = 24  # the paper has 360, for 14 GPUs, and updates in parts of 128
    completions: Annotated[int, Field(ge=2)] = 5  # of each prompt
    completions_per_batch: Count = 5  # of one process, in one forward pass
    max_completion_tokens: Count = 512
    temperature: Positive = 1.0
    kl: NotNegative = 0.02  # coefficient of the divergence from the start; 0: no reference model
    clip: Positive = 0.2
    # `grpo` is the mean over each text; the others are TRL's, see its documentation.
    loss: Literal["grpo", "bnpo", "dr_grpo", "dapo"] = "grpo"
    scale: Literal["group", "batch", "none"] = "group"  # what advantages are divided by
    use_vllm: bool = False  # completions by vLLM in the same process
    vllm_memory_share: Annotated[float, Field(gt=0, lt=1)] = 0.3


class Watched(_Part):
    """When to warn, see `watch`; false switches a detector off."""

    self_praise: Share | Literal[False] = 0.1
    phrases: tuple[str, ...] = ()  # beside those that come with the package
    length_ratio: Annotated[float, Field(gt=1)] | Literal[False] = 2.0
    null: Share | Literal[False] = 0.2
    order_consistency: Share | Literal[False] = 0.5
    accuracy_drop: Share | Literal[False] = 0.1
    recent_lines: Count = 5
    first_lines: Count = 10


class GroupedRun(AlignRun):
    """How it runs."""

    # NCCL's own timeout: a step's requests must be over before the other processes give up.
    process_group_timeout_s: Positive = 600.0


class GroupedSettings(AlignSettings):
    """One run of `mmreward-train align grouped`."""

    data: GroupedData
    service: Service = Service()
    reward: Reward = Reward()
    rl: Rl = Rl()
    watch: Watched = Watched()
    run: GroupedRun = GroupedRun()

    @model_validator(mode="after")
    def _fits(self) -> GroupedSettings:
        if self.service.timeout_s >= self.run.process_group_timeout_s:
            raise ValueError(
                f"service.timeout_s {self.service.timeout_s:g} is not smaller than "
                f"run.process_group_timeout_s {self.run.process_group_timeout_s:g}: the other "
                "processes would give up first"
            )
        return self
