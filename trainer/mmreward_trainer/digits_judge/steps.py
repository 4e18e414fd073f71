"""One optimizer step of both tasks: critiques as before, and true judgements."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from mmreward_trainer.digits.batches import (
    encode_pictures,
    group_pictures,
    make_items,
    render_pictures,
)
from mmreward_trainer.digits.pairs import KINDS, draw_pair
from mmreward_trainer.digits.run import Run
from mmreward_trainer.digits.steps import (
    Row,
    own_rows,
    row_losses,
    training_pairs,
    true_rows,
    update,
    weigh,
)
from mmreward_trainer.digits_judge.configuration import JudgeConfig
from mmreward_trainer.digits_judge.groups import Comparison, draw_comparison
from mmreward_trainer.digits_judge.judgements import Part, judgement_parts
from mmreward_trainer.digits_judge.judging import make_judge_items


def train_step(run: Run) -> dict[str, float]:
    """One step; returns the parts of its loss, `judge` beside those of the critiques."""
    assert isinstance(run.config, JudgeConfig)
    config, refining = run.config.of_step(run.step), run.config.is_refining(run.step)
    pairs = training_pairs(config, run.step)
    comparisons = training_comparisons(config, run.step)
    pictures = pairs + [comparison.pair for comparison in comparisons]
    with torch.no_grad():
        features = encode_pictures(
            run.digit_model.model.model.visual, group_pictures(render_pictures(pictures))
        )
    items = make_items(run.digit_model.renderer, run.digit_model.image_token, pairs)
    if refining:
        rows = own_rows(run, items, features)
        rows += true_rows(run, pairs[: config.refine_truth_pairs], items, learn_score=False)
    else:
        rows = true_rows(run, pairs, items, learn_score=True)
    parts = row_losses(run, rows, features)
    judge_rows = _judge_rows(run, comparisons, first_picture=len(pairs))
    judge_loss = row_losses(run, judge_rows, features)["critique"]
    loss = weigh(config, parts, refining) + config.judge_weight * judge_loss
    return update(run, loss, parts | {"judge": judge_loss})


def training_comparisons(config: JudgeConfig, step: int) -> list[Comparison]:
    """The comparisons of a step: all different, either answer first as often as the other."""
    kinds = [kind for kind, n in zip(KINDS, config.kind_comparisons, strict=True) for _ in range(n)]
    drawn = []
    for place, kind in enumerate(kinds):
        index = step * len(kinds) + place
        if (index * config.graded_share) % 1.0 < config.graded_share:
            comparison = draw_comparison(
                "train", "trained", config.seed, index, kind,
                lookalike_share=config.lookalike_share,
            )  # fmt: skip
        else:
            # Rows of a seed of their own: the critiques of this step are of other pairs.
            pair = draw_pair(
                "train", "trained", 10_000 + config.seed, index, kind=kind,
                far_list_share=config.far_list_share, lookalike_share=config.lookalike_share,
            )  # fmt: skip
            comparison = Comparison(pair, pair.chosen, pair.rejected)
        flip = np.random.default_rng((19, config.seed, index)).random() < 0.5
        drawn.append(comparison.swap() if flip else comparison)
    return drawn


def _judge_rows(run: Run, comparisons: list[Comparison], first_picture: int) -> list[Row]:
    renderer, config = run.digit_model.renderer, run.config
    assert isinstance(config, JudgeConfig)
    weigh_part = _weights(config)
    pictures = list(range(first_picture, first_picture + len(comparisons)))
    items = make_judge_items(renderer, run.digit_model.image_token, comparisons, pictures)
    rows = []
    for comparison, item in zip(comparisons, items, strict=True):
        ids: list[int] = []
        weights: list[float] = []
        for part in judgement_parts(comparison):
            tokens = renderer.encode_user_text(part.text)
            ids += tokens
            weights += [weigh_part(comparison, part)] * len(tokens)
        rows.append(Row(item, [*ids, renderer.end_of_turn_id], [*weights, 1.0], learn_score=False))
    return rows


def _weights(config: JudgeConfig) -> Callable[[Comparison, Part], float]:
    """How much a token of each part counts: most where a wrong source would often do as well."""

    def weigh_part(comparison: Comparison, part: Part) -> float:
        match part.kind:
            case "frame":
                # The last line of all is such words, too, but its two numbers are what counts.
                return 1.0 if "boxed" in part.text else config.frame_weight
            case "claim":
                is_false = part.claim is not None and not part.claim.is_true
                return config.false_claim_judge_weight if is_false else 1.0
            case "compared":
                return config.compared_weight
            case "work":
                # Copying the result from an answer must not pay.
                both_false = not comparison.first.is_true and not comparison.second.is_true
                weight = config.sum_work_weight if comparison.pair.kind == "sum" else 1.0
                return weight * (1.0 if both_false else 0.5)
            case _:
                return 1.0

    return weigh_part
