"""One optimizer step: its pairs, the sequences made of them, and the parts of its loss."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from mmreward_trainer import losses
from mmreward_trainer.digits.batches import (
    Item,
    encode_pictures,
    group_pictures,
    hidden_states,
    make_items,
    pad_sequences,
    render_pictures,
)
from mmreward_trainer.digits.configuration import DigitsConfig
from mmreward_trainer.digits.critiques import critique_parts
from mmreward_trainer.digits.generation import write_critiques
from mmreward_trainer.digits.pairs import HARD_SHARE, KINDS, Claim, Pair, draw_pair
from mmreward_trainer.digits.run import Run

_CHUNKS = 3


@dataclass(frozen=True)
class Row:
    """One sequence of a step and what is learned from it."""

    item: Item
    critique: list[int]  # with its end-of-turn
    weights: list[float]  # of the critique's tokens in the critique loss; [] learns none
    learn_score: bool


def train_step(run: Run) -> dict[str, float]:
    """One optimizer step; returns the parts of its loss."""
    config, refining = run.config, run.step >= run.config.critique_steps
    model = run.digit_model.model
    pairs = training_pairs(config, run.step)
    with torch.no_grad():
        features = encode_pictures(model.model.visual, group_pictures(render_pictures(pairs)))
    items = make_items(run.digit_model.renderer, run.digit_model.image_token, pairs)
    if not config.critique_weight:
        end_of_turn = run.digit_model.renderer.end_of_turn_id
        rows = [Row(item, [end_of_turn], [], learn_score=True) for item in items]
    elif refining:
        rows = own_rows(run, items, features)
        rows += true_rows(run, pairs[: config.refine_truth_pairs], items, learn_score=False)
    else:
        rows = true_rows(run, pairs, items, learn_score=True)
    parts = row_losses(run, rows, features)
    return update(run, weigh(config, parts, refining), parts)


def weigh(config: DigitsConfig, parts: dict[str, torch.Tensor], refining: bool) -> torch.Tensor:
    """The loss of critiques and scores: its parts by their weights."""
    weight = config.refine_score_weight if refining else config.score_weight
    return (
        config.critique_weight * parts["critique"]
        + weight * parts["score"]
        + config.none_weight * parts["none"]
        + config.centring_weight * parts["centring"]
    )


def update(run: Run, loss: torch.Tensor, parts: dict[str, torch.Tensor]) -> dict[str, float]:
    """Move the weights at the learning rate of this step; returns the loss and its parts."""
    rate = run.config.rate(run.step)
    groups = [group for optimizer in run.optimizers for group in optimizer.param_groups]
    for group in groups:
        group["lr"] = rate
    for optimizer in run.optimizers:
        optimizer.zero_grad()
    loss.backward()
    weights = [weight for group in groups for weight in group["params"]]
    torch.nn.utils.clip_grad_norm_(weights, run.config.clip)
    for optimizer in run.optimizers:
        optimizer.step()
    run.step += 1
    numbers = {name: round(float(value.detach()), 5) for name, value in parts.items()}
    return {"loss": round(float(loss.detach()), 5), **numbers, "rate": rate}


def training_pairs(config: DigitsConfig, step: int) -> list[Pair]:
    """The pairs of a step: all different, all from training digits and trained wordings."""
    first = step * config.pairs_per_step
    kinds = [kind for kind, n in zip(KINDS, config.kind_pairs, strict=True) for _ in range(n)]
    pairs = [
        draw_pair(
            "train",
            "trained",
            config.seed,
            first + i,
            kind=kind,
            hard_share=config.refine_hard_share if step >= config.critique_steps else HARD_SHARE,
            far_list_share=config.far_list_share,
            lookalike_share=config.lookalike_share,
        )
        for i, kind in enumerate(kinds)
    ]
    # Refining learns true critiques of the first pairs only: of every kind some.
    order = np.random.default_rng((11, config.seed, step)).permutation(len(pairs))
    return [pairs[i] for i in order]


def true_rows(run: Run, pairs: list[Pair], items: list[Item], learn_score: bool) -> list[Row]:
    encode = run.digit_model.renderer.encode_user_text
    end_of_turn = run.digit_model.renderer.end_of_turn_id
    rows = []
    for i, pair in enumerate(pairs):
        for side, claim in enumerate((pair.chosen, pair.rejected)):
            seen, work, claimed, compared = map(encode, critique_parts(pair, claim))
            work_weight = _work_weight(run, pair, claim)
            claim_weight = 1.0 if claim.is_true else run.config.false_claim_weight
            ids = [*seen, *work, *claimed, *compared, end_of_turn]
            weights = [1.0] * len(seen) + [work_weight] * len(work)
            weights += [claim_weight] * len(claimed) + [1.0] * (len(compared) + 1)
            rows.append(Row(items[2 * i + side], ids, weights, learn_score))
    return rows


def _work_weight(run: Run, pair: Pair, claim: Claim) -> float:
    """Weight of the steps that a model could get from the wrong place, see `losses`.

    A result could be copied from an answer that is true, the list that an answer gives from the
    observation: learned from false answers, both can only come from the right place. So does
    what an answer claims, which could be copied from the result (`false_claim_weight`).
    """
    config = run.config
    weight = config.agreeing_work_weight if claim.is_true else 1.0
    if pair.kind == "list":
        return weight * config.list_work_weight
    return weight * config.sum_work_weight if pair.kind == "sum" else weight


def own_rows(run: Run, items: list[Item], features: dict[int, torch.Tensor]) -> list[Row]:
    """Critiques sampled from the model as it is; a pair with an unfinished one is left out."""
    renderer = run.digit_model.renderer
    written = write_critiques(
        run.digit_model.model, run.digit_model.head, items, features,
        end_of_turn=renderer.end_of_turn_id, tokenizer_size=renderer.tokenizer_size,
        temperature=1.0, generator=run.generator,
    )  # fmt: skip
    rows: list[Row] = []
    for i in range(0, len(items), 2):
        sides = [written[i][0], written[i + 1][0]]
        if all(side.score is not None for side in sides):
            rows += [
                Row(items[i + j], [*side.token_ids, renderer.end_of_turn_id], [], True)
                for j, side in enumerate(sides)
            ]
    return rows


def row_losses(
    run: Run, rows: list[Row], features: dict[int, torch.Tensor]
) -> dict[str, torch.Tensor]:
    """All parts of the loss; rows go through the model in chunks of similar length."""
    model, head = run.digit_model.model, run.digit_model.head
    order = sorted(range(len(rows)), key=lambda i: len(rows[i].item.prompt_ids + rows[i].critique))
    logits, targets, weights = [], [], []
    scores: dict[int, torch.Tensor] = {}
    bare: dict[int, torch.Tensor] = {}
    for chunk in range(_CHUNKS):
        members = order[chunk * len(order) // _CHUNKS : (chunk + 1) * len(order) // _CHUNKS]
        if not members:
            continue
        sequences = pad_sequences(
            [rows[i].item for i in members],
            [rows[i].critique for i in members],
            run.digit_model.image_token,
        )
        states = hidden_states(model, sequences, features)
        spans = [
            (place, sequences.prompt_lengths[place], sequences.lengths[place])
            for place in range(len(members))
        ]
        learned = [span for span, i in zip(spans, members, strict=True) if rows[i].weights]
        weights += [weight for i in members for weight in rows[i].weights]
        if learned:
            at = torch.cat([torch.full((end - begin,), place) for place, begin, end in learned])
            columns = torch.cat([torch.arange(begin, end) for _, begin, end in learned])
            logits.append(model.lm_head(states[at, columns - 1]))
            targets.append(sequences.ids[at, columns])
        # The state that predicts end-of-turn is that of the last critique token.
        ends = torch.tensor([end - 2 for _, _, end in spans])
        begins = torch.tensor([begin - 1 for _, begin, _ in spans])
        places = torch.arange(len(members))
        for kept, where in ((scores, ends), (bare, begins)):
            kept.update(zip(members, head(states[places, where]).unbind(), strict=True))
    parts = {"critique": torch.zeros(())}
    if logits:
        parts["critique"] = losses.critique_loss(
            torch.cat(logits), torch.cat(targets), torch.tensor(weights)
        )
    judged = [i for i in range(len(rows)) if rows[i].learn_score]
    if not judged:
        # A model that finishes no critique of its own has no scores to learn from.
        return parts | dict.fromkeys(("score", "none", "centring"), torch.zeros(()))
    chosen, rejected = _sides(scores, judged)
    smoothing = run.config.label_smoothing
    return parts | {
        "score": losses.score_loss(chosen, rejected, smoothing),
        "none": losses.score_loss(*_sides(bare, judged), smoothing),
        "centring": losses.centring_loss(chosen, rejected),
    }


def _sides(scores: dict[int, torch.Tensor], judged: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
    """Scores of chosen and rejected answers, which stand next to each other."""
    return (
        torch.stack([scores[i] for i in judged[0::2]]),
        torch.stack([scores[i] for i in judged[1::2]]),
    )
