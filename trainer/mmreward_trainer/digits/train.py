"""Trains the bundled model: vision warm-up, true critiques and scores, then its own critiques.

Every batch is a function of (seed, step), and all random state is saved about once a minute, so an
interrupted run goes on exactly as it would have.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from mmreward_service.reward.head import RewardHead
from mmreward_service.reward.prompt import PromptRenderer
from mmreward_service.reward.spec import RewardSpec

from mmreward_trainer import losses
from mmreward_trainer.digits.architecture import HEAD, HIDDEN_SIZE, build_model
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
from mmreward_trainer.digits.generation import MAX_CRITIQUE_TOKENS, write_critiques
from mmreward_trainer.digits.metrics import quick_summary
from mmreward_trainer.digits.pairs import Claim, Pair, draw_pair
from mmreward_trainer.digits.scoring import DigitModel
from mmreward_trainer.digits.templates import CRITIQUE, TEMPLATES
from mmreward_trainer.digits.tokenizer import SCORE_SLOT, train_tokenizer
from mmreward_trainer.digits.warm_up import warm_up

SETTINGS_FILE = "settings.json"
STATE_FILE = "resume.pt"
CRITIQUE_STATE_FILE = "before_refining.pt"
_CHUNKS = 3

Report = Callable[[str, int, int, dict[str, float]], None]
"""Called as report(phase, step, steps, numbers)."""


@dataclass
class Run:
    """A training run between two steps: everything that `resume.pt` holds."""

    config: DigitsConfig
    digit_model: DigitModel
    tokenizer: Any
    optimizer: torch.optim.Optimizer
    generator: torch.Generator
    step: int = 0
    seconds: float = 0.0
    curve: list[dict[str, float]] = field(default_factory=list)
    validations: list[dict[str, Any]] = field(default_factory=list)
    vision: dict[str, float] = field(default_factory=dict)


def base_spec(trainer_version: str) -> RewardSpec:
    """The reward object before calibration and golden items are known."""
    return RewardSpec(
        kinds=["critique"],
        head=HEAD,
        read_out="last_critique_token",
        score_slot=SCORE_SLOT,
        templates=TEMPLATES,
        max_critique_tokens=MAX_CRITIQUE_TOKENS,
        trainer_version=trainer_version,
    )


def start(config: DigitsConfig) -> Run:
    """A run before its first step: tokenizer, fresh weights."""
    torch.manual_seed(config.seed)
    tokenizer = train_tokenizer((CRITIQUE.replace("{media}", ""),))
    model = build_model(tokenizer)
    head = RewardHead(HIDDEN_SIZE, HEAD)
    renderer = PromptRenderer(tokenizer.backend_tokenizer.to_str(), base_spec("training"))
    parameters = [*model.model.language_model.parameters(), *head.parameters()]
    optimizer = torch.optim.AdamW(
        parameters, lr=config.learning_rate, betas=config.betas, weight_decay=config.weight_decay
    )
    generator = torch.Generator().manual_seed(config.seed)
    return Run(config, DigitModel(model, head, renderer), tokenizer, optimizer, generator)


def train(config: DigitsConfig, output: Path, *, resume: bool, report: Report) -> Run:
    """Train to the end, or until KeyboardInterrupt, which saves the state and is raised again."""
    torch.set_num_threads(config.threads)
    output.mkdir(parents=True, exist_ok=True)
    (output / SETTINGS_FILE).write_text(json.dumps(asdict(config), indent=2) + "\n")
    run = start(config)
    if resume and (output / STATE_FILE).exists():
        load_state(run, output / STATE_FILE)
    else:
        _warm_up(run, report)
    saved = time.monotonic()
    try:
        while run.step < config.total_steps:
            began = time.monotonic()
            numbers = train_step(run)
            run.seconds += time.monotonic() - began
            phase = _phase(config, run.step - 1)
            report(phase, run.step, config.total_steps, numbers)
            if run.step % 10 == 0 or run.step == config.total_steps:
                run.curve.append({"step": run.step, **numbers})
            if run.step % config.validate_every == 0 or run.step == config.total_steps:
                validate(run, report)
            if run.step == config.refine_from:
                save_state(run, output / CRITIQUE_STATE_FILE)
            if time.monotonic() - saved > config.save_every_s:
                save_state(run, output / STATE_FILE)
                saved = time.monotonic()
    finally:
        save_state(run, output / STATE_FILE)
    return run


def _warm_up(run: Run, report: Report) -> None:
    config = run.config
    began = time.monotonic()
    model = run.digit_model.model
    digit_tokens = run.tokenizer.convert_tokens_to_ids([f"Ġ{digit}" for digit in range(10)])
    run.vision = warm_up(
        model.model.visual,
        model.get_input_embeddings().weight,
        digit_tokens,
        config,
        lambda step, loss: report("vision", step + 1, config.warm_up_steps, {"loss": loss}),
    )
    run.seconds += time.monotonic() - began
    report("vision", config.warm_up_steps, config.warm_up_steps, run.vision)


def _phase(config: DigitsConfig, step: int) -> str:
    if step >= config.refine_from:
        return "refine"
    return "contrast" if step >= config.critique_steps else "critique"


@dataclass(frozen=True)
class _Row:
    """One sequence of a step and what is learned from it."""

    item: Item
    critique: list[int]  # with its end-of-turn
    weights: list[float]  # of the critique's tokens in the critique loss; [] learns none
    learn_score: bool


def train_step(run: Run) -> dict[str, float]:
    """One optimizer step; returns the parts of its loss."""
    config, refining = run.config, run.step >= run.config.refine_from
    model = run.digit_model.model
    rate = config.rate(run.step)
    run.optimizer.param_groups[0]["lr"] = rate
    pairs = training_pairs(config, run.step)
    with torch.no_grad():
        features = encode_pictures(model.model.visual, group_pictures(render_pictures(pairs)))
    items = make_items(run.digit_model.renderer, run.digit_model.image_token, pairs)
    rows = _own_rows(run, items, features) if refining else []
    truths = min(len(pairs), config.refine_truth_pairs) if refining else len(pairs)
    rows += _true_rows(run, pairs[:truths], items, learn_score=not refining)
    parts = _losses(run, rows, features)
    weight = config.refine_score_weight if refining else config.score_weight
    loss = (
        config.critique_weight * parts["critique"]
        + weight * parts["score"]
        + config.none_weight * parts["none"]
        + config.centring_weight * parts["centring"]
    )
    run.optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(run.optimizer.param_groups[0]["params"], config.clip)
    run.optimizer.step()
    run.step += 1
    numbers = {name: round(float(value.detach()), 5) for name, value in parts.items()}
    return {"loss": round(float(loss.detach()), 5), **numbers, "rate": rate}


def training_pairs(config: DigitsConfig, step: int) -> list[Pair]:
    """The pairs of a step: all different, all from training digits and trained wordings."""
    options: dict[str, float] = {}
    lists = 0
    if step >= config.critique_steps:
        options["far_list_share"] = config.far_list_share
        options["lookalike_share"] = config.lookalike_share
        lists = config.contrast_list_pairs if step < config.refine_from else 0
    if step >= config.refine_from:
        options["hard_share"] = config.refine_hard_share
    first = step * config.pairs_per_step
    return [
        draw_pair(
            "train",
            "trained",
            config.seed,
            first + i,
            kind="list" if i < lists else None,
            **options,
        )
        for i in range(config.pairs_per_step)
    ]


def _true_rows(run: Run, pairs: list[Pair], items: list[Item], learn_score: bool) -> list[_Row]:
    encode = run.digit_model.renderer.encode_user_text
    end_of_turn = run.digit_model.renderer.end_of_turn_id
    rows = []
    for i, pair in enumerate(pairs):
        for side, claim in enumerate((pair.chosen, pair.rejected)):
            seen, work, compared = map(encode, critique_parts(pair, claim))
            weight = _work_weight(run, pair, claim)
            weights = [1.0] * len(seen) + [weight] * len(work) + [1.0] * (len(compared) + 1)
            ids = [*seen, *work, *compared, end_of_turn]
            rows.append(_Row(items[2 * i + side], ids, weights, learn_score))
    return rows


def _work_weight(run: Run, pair: Pair, claim: Claim) -> float:
    """Weight of the steps that a model could get from the wrong place, see `losses`.

    A result could be copied from an answer that is true. The list an answer gives could be copied
    from the observation; that is only seen to be learned late, and is corrected late.
    """
    config = run.config
    weight = config.agreeing_work_weight if claim.is_true else 1.0
    if pair.kind == "list":
        return weight * config.list_weight if run.step >= config.critique_steps else 1.0
    return weight * config.sum_work_weight if pair.kind == "sum" else weight


def _own_rows(run: Run, items: list[Item], features: dict[int, torch.Tensor]) -> list[_Row]:
    """Critiques sampled from the model as it is; a pair with an unfinished one is left out."""
    renderer = run.digit_model.renderer
    written = write_critiques(
        run.digit_model.model, run.digit_model.head, items, features,
        end_of_turn=renderer.end_of_turn_id, tokenizer_size=renderer.tokenizer_size,
        temperature=1.0, generator=run.generator,
    )  # fmt: skip
    rows: list[_Row] = []
    for i in range(0, len(items), 2):
        sides = [written[i][0], written[i + 1][0]]
        if all(side.score is not None for side in sides):
            rows += [
                _Row(items[i + j], [*side.token_ids, renderer.end_of_turn_id], [], True)
                for j, side in enumerate(sides)
            ]
    return rows


def _losses(
    run: Run, rows: list[_Row], features: dict[int, torch.Tensor]
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
    parts = {
        "critique": losses.critique_loss(
            torch.cat(logits), torch.cat(targets), torch.tensor(weights)
        )
    }
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


def validate(run: Run, report: Report) -> None:
    """Self-written greedy critiques of validation pairs, trained and held wordings."""
    began = time.monotonic()
    record: dict[str, Any] = {"step": run.step}
    count = run.config.validation_pairs
    for wording in ("trained", "held"):
        number = count if wording == "trained" else count // 2
        pairs = [draw_pair("validation", wording, 0, i) for i in range(number)]
        record[wording] = quick_summary(run.digit_model.score_pairs(pairs))
    pairs = [draw_pair("validation", "trained", 0, i) for i in range(count)]
    record["none"] = quick_summary(run.digit_model.score_without_critique(pairs))["all"]
    record["seconds"] = round(time.monotonic() - began, 1)
    run.validations.append(record)
    report("validation", run.step, run.config.total_steps, record)


def save_state(run: Run, path: Path) -> None:
    """Write everything needed to go on; replaced in one move, so a crash leaves the last one."""
    state = {
        "config": asdict(run.config),
        "model": run.digit_model.model.state_dict(),
        "head": run.digit_model.head.state_dict(),
        "optimizer": run.optimizer.state_dict(),
        "generator": run.generator.get_state(),
        "step": run.step,
        "seconds": run.seconds,
        "curve": run.curve,
        "validations": run.validations,
        "vision": run.vision,
    }
    part = path.with_suffix(".part")
    torch.save(state, part)
    part.replace(path)


def load_state(run: Run, path: Path) -> None:
    """Continue from a saved state. Raises ValueError if it was made with other settings."""
    state = torch.load(path, weights_only=True)
    saved, wanted = dict(state["config"]), asdict(run.config)
    for name in ("threads", "save_every_s"):
        saved.pop(name), wanted.pop(name)
    if saved != wanted:
        changed = [name for name in wanted if wanted[name] != saved.get(name)]
        raise ValueError(f"{path} was written with other settings: {changed}")
    run.digit_model.model.load_state_dict(state["model"])
    run.digit_model.model.model.visual.requires_grad_(False)
    run.digit_model.head.load_state_dict(state["head"])
    run.optimizer.load_state_dict(state["optimizer"])
    run.generator.set_state(state["generator"])
    run.step, run.seconds = state["step"], state["seconds"]
    run.curve, run.validations, run.vision = state["curve"], state["validations"], state["vision"]
