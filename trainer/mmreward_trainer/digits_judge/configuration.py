"""Every number of the run that teaches the bundled model to judge, critiques beside it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from mmreward_trainer.digits.configuration import DigitsConfig

_SETTLE_WARM_UP = 10
_SETTLE_SEED = 1000


@dataclass(frozen=True)
class JudgeConfig(DigitsConfig):
    """Settings of both tasks; those of the critiques are inherited.

    `critique_steps` learn true critiques and true judgements, `refine_steps` go on with critiques
    the model writes itself, as in the run it starts from, and with true judgements. By then the
    critiques have lost a little; `settle_steps` at a small rate, with more critiques in each, win
    it back, the last `settle_refine_steps` of them again with critiques of its own.
    """

    seed: int = 100  # other rows than those of the start, whose seed is 0
    start: str = "models/digits"  # the critique model that is trained further
    picture_first: bool = False  # judge prompts with the picture before the question

    critique_steps: int = 420
    refine_steps: int = 40
    kind_pairs: tuple[int, ...] = (2, 2, 3, 2, 3, 3, 3)
    refine_truth_pairs: int = 10
    learning_rate: float = 2e-3
    learning_rate_warm_up: int = 20
    constant_share: float = 0.3

    kind_comparisons: tuple[int, ...] = (2, 4, 6, 5, 6, 5, 4)
    graded_share: float = 0.6  # of comparisons with graded answers; the others are pairs
    judge_weight: float = 1.0
    false_claim_judge_weight: float = 3.0  # of "The first says ..." of false answers
    compared_weight: float = 2.0  # of the steps that compare, and of their points
    frame_weight: float = 0.3  # of the words that stand in every judgement

    settle_steps: int = 140
    settle_refine_steps: int = 40
    settle_rate: float = 6e-4  # learning rate, decays to zero
    settle_kind_pairs: tuple[int, ...] = (4, 5, 6, 5, 6, 6, 5)
    settle_kind_comparisons: tuple[int, ...] = (1, 3, 4, 3, 5, 3, 2)
    settle_truth_pairs: int = 24

    validate_every: int = 140
    validation_pairs: int = 100
    snapshot_steps: tuple[int, ...] = (40, 70, 100, 130, 160, 200, 250, 460)
    """States kept on the way: the half-trained starts of reinforcement learning."""

    @property
    def settles_at(self) -> int:
        """The first step of the last phase."""
        return self.critique_steps + self.refine_steps

    @property
    def total_steps(self) -> int:
        return self.settles_at + self.settle_steps

    def is_settling(self, step: int) -> bool:
        return step >= self.settles_at

    def is_refining(self, step: int) -> bool:
        """Whether scores are learned on critiques of the model's own."""
        if self.is_settling(step):
            return step >= self.total_steps - self.settle_refine_steps
        return step >= self.critique_steps

    def rate(self, step: int) -> float:
        """Learning rate of a step; settling has its own, with a short warm-up."""
        if self.is_settling(step):
            done = step - self.settles_at
            left = (self.settle_steps - done) / self.settle_steps
            return self.settle_rate * min(1.0, (done + 1) / _SETTLE_WARM_UP) * left
        if step >= self.critique_steps:
            left = (self.settles_at - step) / max(self.refine_steps, 1)
            return self.learning_rate * self.final_share * left
        return super().rate(step)

    def of_step(self, step: int) -> JudgeConfig:
        """The settings by which the rows of a step are drawn."""
        if not self.is_settling(step):
            return self
        return replace(
            self,
            kind_pairs=self.settle_kind_pairs,
            kind_comparisons=self.settle_kind_comparisons,
            refine_truth_pairs=self.settle_truth_pairs,
            # Rows are numbered by step and size of step; another seed keeps them new.
            seed=self.seed + _SETTLE_SEED,
        )
