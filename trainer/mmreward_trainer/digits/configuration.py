"""Every number of a training run, in one frozen object that is written beside its results."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class DigitsConfig:
    """Defaults are the bundled model's."""

    seed: int = 0
    threads: int = 2

    warm_up_steps: int = 1400  # of the vision tower, as a classifier of digits
    warm_up_cells: int = 256
    warm_up_learning_rate: float = 3e-3
    warm_up_weight_decay: float = 0.05
    warm_up_hard_share: float = 0.2

    critique_steps: int = 1000
    # Pairs of every kind in a step, in the order of `pairs.KINDS`: most for what is learned last.
    kind_pairs: tuple[int, ...] = (5, 6, 9, 6, 8, 8, 6)
    learning_rate: float = 3e-3
    learning_rate_warm_up: int = 40
    constant_share: float = 0.4  # then linear decay
    final_share: float = 0.1  # of the learning rate, where the critique phase ends
    far_list_share: float = 0.4  # of false lists that are any four digits, see `draw_pair`
    lookalike_share: float = 0.4  # of false digits that look like the true one

    refine_steps: int = 80  # with Bradley-Terry on self-written critiques
    refine_truth_pairs: int = 24  # whose true critiques are learned beside, so that none is lost
    refine_hard_share: float = 0.35

    weight_decay: float = 0.01
    betas: tuple[float, float] = (0.9, 0.95)
    clip: float = 1.0
    score_weight: float = 0.5  # of Bradley-Terry on true critiques
    refine_score_weight: float = 1.0  # of Bradley-Terry on self-written ones
    none_weight: float = 0.2  # of Bradley-Terry without a critique (mode `none`)
    centring_weight: float = 0.01
    label_smoothing: float = 0.01
    agreeing_work_weight: float = 0.2  # of work steps in critiques of true answers, see losses
    sum_work_weight: float = 4.0  # of additions, which are learned slowest
    list_work_weight: float = 4.0  # of the list an answer gives
    false_claim_weight: float = 4.0  # of "The answer says ..." in critiques of false answers
    critique_weight: float = 1.0  # 0 trains the baseline: scores alone, no critiques

    validate_every: int = 170
    validation_pairs: int = 240
    save_every_s: float = 60.0

    @property
    def total_steps(self) -> int:
        return self.critique_steps + self.refine_steps

    @property
    def pairs_per_step(self) -> int:
        return sum(self.kind_pairs)

    def rate(self, step: int) -> float:
        """Learning rate of a step: warm-up, constant, linear decay; while refining, to zero."""
        if step >= self.critique_steps:
            left = (self.total_steps - step) / max(self.refine_steps, 1)
            return self.learning_rate * self.final_share * left
        constant = int(self.constant_share * self.critique_steps)
        if step < self.learning_rate_warm_up:
            return self.learning_rate * (step + 1) / self.learning_rate_warm_up
        if step < constant:
            return self.learning_rate
        done = (step - constant) / max(self.critique_steps - constant, 1)
        return self.learning_rate * (1.0 - (1.0 - self.final_share) * done)
