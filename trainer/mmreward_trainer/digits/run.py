"""A training run between two steps: what it consists of, and how it is saved and taken up again."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from mmreward_client.file_replacement import replacing
from mmreward_service.reward.head import RewardHead
from mmreward_service.reward.prompt import PromptRenderer
from mmreward_service.reward.spec import RewardSpec

from mmreward_trainer.digits.architecture import HEAD, HIDDEN_SIZE, build_model
from mmreward_trainer.digits.configuration import DigitsConfig
from mmreward_trainer.digits.generation import MAX_CRITIQUE_TOKENS
from mmreward_trainer.digits.scoring import DigitModel
from mmreward_trainer.digits.templates import CRITIQUE, TEMPLATES
from mmreward_trainer.digits.tokenizer import SCORE_SLOT, train_tokenizer


@dataclass
class Run:
    """A training run between two steps: everything that `resume.pt` holds."""

    config: DigitsConfig
    digit_model: DigitModel
    tokenizer: Any
    optimizers: list[torch.optim.Optimizer]
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
    optimizers = build_optimizers(model.model.language_model, head, config)
    generator = torch.Generator().manual_seed(config.seed)
    return Run(config, DigitModel(model, head, renderer), tokenizer, optimizers, generator)


def build_optimizers(
    language_model: torch.nn.Module, head: RewardHead, config: DigitsConfig
) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of the layers, AdamW for embeddings, norms, biases and the head.

    Muon learns reading the picture in less than half the steps of AdamW (docs/bundled-model.md);
    with updates of AdamW's root mean square, both take the same learning rate.
    """
    layers: Any = language_model.layers
    matrices = [parameter for parameter in layers.parameters() if parameter.ndim == 2]
    in_layers = {id(parameter) for parameter in matrices}
    others = [p for p in language_model.parameters() if id(p) not in in_layers]
    rate, decay = config.learning_rate, config.weight_decay
    return [
        torch.optim.Muon(matrices, lr=rate, weight_decay=decay, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(
            [*others, *head.parameters()], lr=rate, weight_decay=decay, betas=config.betas
        ),
    ]


def save_state(run: Run, path: Path) -> None:
    """Write everything needed to go on; replaced in one move, so a crash leaves the last one."""
    state = {
        "config": asdict(run.config),
        "model": run.digit_model.model.state_dict(),
        "head": run.digit_model.head.state_dict(),
        "optimizers": [optimizer.state_dict() for optimizer in run.optimizers],
        "generator": run.generator.get_state(),
        "step": run.step,
        "seconds": run.seconds,
        "curve": run.curve,
        "validations": run.validations,
        "vision": run.vision,
    }
    with replacing(path) as file:
        torch.save(state, file)


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
    for optimizer, saved_state in zip(run.optimizers, state["optimizers"], strict=True):
        optimizer.load_state_dict(saved_state)
    run.generator.set_state(state["generator"])
    run.step, run.seconds = state["step"], state["seconds"]
    run.curve, run.validations, run.vision = state["curve"], state["validations"], state["vision"]
