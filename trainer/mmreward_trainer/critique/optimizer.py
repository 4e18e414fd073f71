"""Optimizers: AdamW for everything, or Muon for the matrices of the layers beside it.

Muon orthogonalises the update of a matrix (K. Jordan et al., 2024, "Muon: an optimizer for hidden
layers in neural networks"). For a language model that starts from nothing it needed less than half
the steps of AdamW here (docs/bundled-model.md); for fine-tuning we have measured nothing, so AdamW
stays the default.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import torch

from mmreward_trainer.critique.configuration import ConfigError

_OF_LAYER = re.compile(r"(^|\.)(layers|blocks|h)\.\d+\.")
"""Names of the repeated layers of a model; embeddings, norms and heads are elsewhere."""


def is_layer_matrix(name: str, parameter: torch.nn.Parameter) -> bool:
    """Whether Muon is meant for it: a matrix inside a repeated layer, but no head."""
    return parameter.ndim == 2 and "reward_head" not in name and bool(_OF_LAYER.search(name))


class MuonWithAdamW(torch.optim.Optimizer):
    """Both as one optimizer, so that schedules, clipping and saves see a single one.

    The parameter groups are those of the two parts, by identity: a schedule that changes a group's
    learning rate changes the part's. Updates of Muon are scaled to AdamW's root mean square
    (Liu et al., 2025, arXiv 2502.16982), so that one learning rate serves both.

    Args:
        matrices: groups for Muon, each with `lr` and `weight_decay`.
        others: groups for AdamW.
        betas: of AdamW.
    """

    def __init__(
        self,
        matrices: list[dict[str, Any]],
        others: list[dict[str, Any]],
        betas: tuple[float, float],
    ) -> None:
        self.muon = torch.optim.Muon(matrices, adjust_lr_fn="match_rms_adamw")
        self.adamw = torch.optim.AdamW(others, betas=betas)
        super().__init__([*self.muon.param_groups, *self.adamw.param_groups], {})
        # The base class copies each group; the parts must read the very same ones.
        self.muon.param_groups = self.param_groups[: len(matrices)]
        self.adamw.param_groups = self.param_groups[len(matrices) :]

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        """One update of both; closures are not supported."""
        if closure is not None:
            raise ValueError("a closure cannot be evaluated for two optimizers at once")
        self.muon.step()
        self.adamw.step()

    def state_dict(self) -> dict[str, Any]:
        """Both states by name."""
        return {"muon": self.muon.state_dict(), "adamw": self.adamw.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore both; raises ValueError if the groups differ."""
        self.muon.load_state_dict(state_dict["muon"])
        self.adamw.load_state_dict(state_dict["adamw"])
        self.param_groups = [*self.muon.param_groups, *self.adamw.param_groups]


def muon_with_adamw(
    named: Iterable[tuple[str, torch.nn.Parameter]],
    decayed: set[str],
    rate: float,
    head_rate: float,
    weight_decay: float,
    betas: tuple[float, float],
) -> MuonWithAdamW:
    """Muon for layer matrices, AdamW for the rest, the head with a rate of its own.

    Raises:
        ConfigError: no matrix of a layer is trained.
    """
    matrices: list[torch.nn.Parameter] = []
    groups: dict[tuple[bool, bool], list[torch.nn.Parameter]] = {}
    for name, parameter in named:
        if not parameter.requires_grad:
            continue
        if is_layer_matrix(name, parameter):
            matrices.append(parameter)
        else:
            groups.setdefault(("reward_head" in name, name in decayed), []).append(parameter)
    if not matrices:
        raise ConfigError("optimisation.optimizer: muon, but no matrix of a layer is trained")
    return MuonWithAdamW(
        [{"params": matrices, "lr": rate, "weight_decay": weight_decay}],
        [
            {
                "params": parameters,
                "lr": head_rate if is_head else rate,
                "weight_decay": weight_decay if decays else 0.0,
            }
            for (is_head, decays), parameters in groups.items()
        ],
        betas,
    )
