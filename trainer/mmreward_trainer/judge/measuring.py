"""Held-out figures before, while and after a stage is trained, and the stage's log on disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers import Trainer

from mmreward_trainer.critique.curves import Panels
from mmreward_trainer.judge.validation import JudgedPair, Validation, figures
from mmreward_trainer.run_log import RunLog, Say

SFT_PANELS: Panels = (
    ("Loss of judgements", ("loss",)),
    ("Held-out accuracy", ("eval_accuracy", "eval_accuracy_both", "eval_accuracy_one_order")),
    ("Held-out: order consistency", ("eval_order_consistency",)),
    ("Held-out: shares of judgements", ("eval_share/parsed", "eval_share/tie")),
    ("Held-out: won by the first answer", ("eval_share/first_wins",)),
    ("Learning rate", ("learning_rate",)),
)
RL_PANELS: Panels = (
    ("Reward", ("reward", "share/right")),
    ("Shares of rollouts", ("share/parsed", "share/tie", "share/truncated",
                            "frac_reward_zero_std")),
    ("Won by the first answer", ("share/first_wins", "eval_share/first_wins")),
    ("Tokens of a judgement", ("completions/mean_length",)),
    ("Held-out accuracy", ("eval_accuracy", "eval_accuracy_both", "eval_accuracy_one_order",
                           "eval_order_consistency")),
    ("Divergence from the start", ("kl",)),
)  # fmt: skip


class Measure(RunLog):
    """Judges held-out pairs at a stage's beginning, every so many steps and at its end.

    Attributes:
        judged: pairs as judged last.
    """

    def __init__(
        self,
        validation: Validation | None,
        folder: Path,
        panels: Panels,
        every_steps: int | None,
        say: Say,
        *,
        at_end: bool,
    ) -> None:
        super().__init__(folder, panels, say)
        self._validation = validation
        self._every_steps = every_steps
        self._at_end = at_end
        self.judged: list[JudgedPair] = []
        self.trainer: Trainer | None = None  # the Trainer is made after its callbacks

    def on_train_begin(self, args: Any, state: Any, control: Any, **named: Any) -> None:
        super().on_train_begin(args, state, control, **named)
        # A run that is resumed has its beginning in its log.
        if not any("eval_pairs" in one for one in state.log_history):
            self._measure()

    def on_step_end(self, args: Any, state: Any, control: Any, **named: Any) -> None:
        every = self._every_steps
        if (
            every is not None
            and state.global_step % every == 0 < state.max_steps - state.global_step
        ):
            self._measure()

    def on_train_end(self, args: Any, state: Any, control: Any, **named: Any) -> None:
        if self._at_end:
            self._measure()
        self.on_save(args, state, control)

    def _measure(self) -> None:
        trainer = self.trainer
        if self._validation is None or trainer is None:
            return
        model = trainer.accelerator.unwrap_model(trainer.model, keep_torch_compile=False)
        together = bool(trainer.is_fsdp_enabled or trainer.is_deepspeed_enabled)
        self.judged = self._validation.judge(model, together=together)
        metrics = {f"eval_{name}": value for name, value in figures(self.judged).items()}
        # Not `trainer.log`: TRL's would empty what it collects for the next training step.
        Trainer.log(trainer, metrics)
        accuracy = metrics.get("eval_accuracy")
        self._say(
            f"step {trainer.state.global_step}: held-out accuracy "
            + ("none" if accuracy is None else f"{accuracy:.3f}")
            + f" of {metrics['eval_judged']:g} judged pairs ({metrics['eval_pairs']:g} in all)"
        )
