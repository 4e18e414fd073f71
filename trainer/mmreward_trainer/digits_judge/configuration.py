"""Every number of the run that teaches the bundled model to judge, critiques beside it."""

from __future__ import annotations

from dataclasses import dataclass

from mmreward_trainer.digits.configuration import DigitsConfig


@dataclass(frozen=True)
class JudgeConfig(DigitsConfig):
    """Settings of both tasks; those of the critiques are inherited.

    `critique_steps` learn true critiques and true judgements, `refine_steps` go on with critiques
    the model writes itself, as in the run it starts from, and with true judgements.
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

    validate_every: int = 140
    validation_pairs: int = 100
    snapshot_steps: tuple[int, ...] = (40, 70, 100, 130, 160, 200, 250)
    """States kept on the way: the half-trained starts of reinforcement learning."""
