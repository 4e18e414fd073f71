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

    critique_steps: int = 850
    pairs_per_step: int = 48
    learning_rate: float = 3e-3
    learning_rate_warm_up: int = 40
    constant_share: float = 0.4  # then linear decay
    final_share: float = 0.1  # of the learning rate, where the critique phase ends

    contrast_steps: int = 260  # critiques again, with more lists, and lists that deceive
    contrast_share: float = 0.5  # of the learning rate, where the contrast phase starts
    contrast_list_pairs: int = 18  # of the pairs of a step, at least
    list_weight: float = 10.0  # of the list an answer gives, from that phase on
    far_list_share: float = 0.25  # of false lists that are any four digits, from then on
    lookalike_share: float = 0.6  # of false digits that look like the true one, from then on

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
    critique_weight: float = 1.0  # 0 trains the no-critique baseline

    validate_every: int = 170
    validation_pairs: int = 240
    save_every_s: float = 60.0

    @property
    def total_steps(self) -> int:
        return self.refine_from + self.refine_steps

    @property
    def refine_from(self) -> int:
        """The first step of refining."""
        return self.critique_steps + self.contrast_steps

    def rate(self, step: int) -> float:
        """Learning rate of a step: warm-up, constant, linear decay; then one decay per phase."""
        if step >= self.refine_from:
            left = (self.total_steps - step) / max(self.refine_steps, 1)
            return self.learning_rate * self.final_share * left
        if step >= self.critique_steps:
            left = (self.refine_from - step) / max(self.contrast_steps, 1)
            fall = self.contrast_share - self.final_share
            return self.learning_rate * (self.final_share + fall * left)
        constant = int(self.constant_share * self.critique_steps)
        if step < self.learning_rate_warm_up:
            return self.learning_rate * (step + 1) / self.learning_rate_warm_up
        if step < constant:
            return self.learning_rate
        done = (step - constant) / max(self.critique_steps - constant, 1)
        return self.learning_rate * (1.0 - (1.0 - self.final_share) * done)
