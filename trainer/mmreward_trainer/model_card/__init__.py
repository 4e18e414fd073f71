"""Model cards: what a checkpoint says of itself, with figures that were measured and no other."""

from __future__ import annotations

from mmreward_trainer.model_card.card import (
    TOPICS,
    Data,
    Evaluation,
    Figure,
    ModelCard,
)
from mmreward_trainer.model_card.writing import CARD_FILE, CardError, write_model_card

__all__ = [
    "CARD_FILE",
    "TOPICS",
    "CardError",
    "Data",
    "Evaluation",
    "Figure",
    "ModelCard",
    "write_model_card",
]
