"""config.json of a model with a head on it -> config.json of the stock model of its family."""

from __future__ import annotations

import copy
from typing import Any, cast, get_args

from mmreward_trainer.importing.names import Family
from mmreward_trainer.importing.refusal import ImportRefused

# Of a classifier, or of code in the folder, which is never run.
_LEFT_OUT = (
    "num_labels",
    "id2label",
    "label2id",
    "problem_type",
    "auto_map",
    "_name_or_path",
    "summary_dropout_prob",
    "transformers_version",
)


def family_of(config: dict[str, Any]) -> Family:
    """The model family that config.json names.

    Raises:
        ImportRefused: not a family that is served.
    """
    name = config.get("model_type")
    for family in get_args(Family):
        if name == family:
            return cast(Family, family)
    raise ImportRefused(
        f"model_type {name!r} is not served; served are {', '.join(get_args(Family))}"
    )


def refuse_several_labels(config: dict[str, Any]) -> None:
    """A head with several outputs has no single score, and which of them is meant is not ours to
    guess."""
    labels = config.get("id2label")
    count = config.get("num_labels") or (len(labels) if isinstance(labels, dict) else 1)
    if count != 1:
        raise ImportRefused(
            f"config.json names {count} labels: one output per answer is a score, several are not"
        )


def stock_config(config: dict[str, Any], *, tie: bool) -> dict[str, Any]:
    """The config without its classifier.

    Args:
        tie: the source has no output layer, and the embedding stands in for it.
    """
    stock = copy.deepcopy(config)
    for part in (stock, stock.get("text_config")):
        if isinstance(part, dict):
            for name in _LEFT_OUT:
                part.pop(name, None)
            if tie:
                part["tie_word_embeddings"] = True
    return stock
