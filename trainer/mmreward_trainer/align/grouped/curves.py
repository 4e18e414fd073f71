"""The panels of `curves.png`."""

from __future__ import annotations

from mmreward_trainer.critique.curves import Panels

_NAMES = ("grouped_reward", "critique_reward")
PANELS: Panels = (
    (
        "Reward",
        ("reward", "eval_reward", *(f"{one}/{at}" for one in _NAMES for at in ("p10", "p90"))),
    ),
    ("Share without a reward", tuple(f"{one}/null" for one in _NAMES)),
    ("Self-praise, accuracy", ("hacking/self_praise", "hacking/accuracy", "eval_hacking/accuracy")),
    ("Length against the first steps", ("hacking/length_ratio",)),
    ("Order consistency of the judge", ("grouped_reward/order_consistency",)),
    ("Divergence from the start", ("kl",)),
)
