"""Muon beside AdamW as one optimizer."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from mmreward_trainer.critique.optimizer import MuonWithAdamW, is_layer_matrix, muon_with_adamw


class Tiny(torch.nn.Module):
    """The parts whose names and shapes decide: embedding, two layers, a head."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embed = torch.nn.Embedding(7, 4)
        self.layers = torch.nn.ModuleList([torch.nn.Linear(4, 4) for _ in range(2)])
        self.reward_head = torch.nn.Linear(4, 1)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """Token ids (batch,) -> scores (batch, 1)."""
        states = self.embed(ids)
        for layer in self.layers:
            states = torch.tanh(layer(states))
        return self.reward_head(states)


def build(model: Tiny) -> MuonWithAdamW:
    return muon_with_adamw(
        model.named_parameters(), {"layers.0.weight", "embed.weight"}, 0.01, 0.05, 0.1, (0.9, 0.95)
    )


def train(model: Tiny, optimizer: MuonWithAdamW, steps: range) -> None:
    for step in steps:
        generator = torch.Generator().manual_seed(step)
        ids = torch.randint(7, (5,), generator=generator)
        optimizer.zero_grad()
        model(ids).square().mean().backward()
        optimizer.step()


def numbers(model: Tiny) -> Iterator[list[float]]:
    for parameter in model.parameters():
        yield parameter.detach().flatten().tolist()


def test_matrices_of_layers_alone_go_to_muon() -> None:
    """Biases, embeddings and the head are AdamW's; the head has its own rate."""
    model = Tiny()
    found = {name for name, p in model.named_parameters() if is_layer_matrix(name, p)}
    assert found == {"layers.0.weight", "layers.1.weight"}
    optimizer = build(model)
    assert [p.shape for p in optimizer.muon.param_groups[0]["params"]] == [(4, 4), (4, 4)]
    rates = {id(p): g["lr"] for g in optimizer.param_groups for p in g["params"]}
    assert rates[id(model.reward_head.weight)] == 0.05
    assert rates[id(model.embed.weight)] == 0.01
    assert len(rates) == len(list(model.parameters()))


def test_a_schedule_reaches_both_parts() -> None:
    """A learning rate of 0 set on the groups stops every parameter; and they did move before."""
    model = Tiny()
    optimizer = build(model)
    start = list(numbers(model))
    train(model, optimizer, range(2))
    moved = list(numbers(model))
    assert all(a != b for a, b in zip(start, moved, strict=True))
    for group in optimizer.param_groups:
        group["lr"] = 0.0
    train(model, optimizer, range(2, 4))
    assert list(numbers(model)) == moved


def test_a_restored_state_goes_on_as_if_nothing_had_been() -> None:
    """Three steps, save, load into a new optimizer, two steps = five steps, bit for bit."""
    whole, cut = Tiny(), Tiny()
    train(whole, build(whole), range(5))
    first = build(cut)
    train(cut, first, range(3))
    resumed = build(cut)
    resumed.load_state_dict(first.state_dict())
    for group in resumed.param_groups:  # the restored groups are the parts' own
        assert any(
            group is one for one in [*resumed.muon.param_groups, *resumed.adamw.param_groups]
        )
    train(cut, resumed, range(3, 5))
    assert list(numbers(cut)) == list(numbers(whole))


def test_without_a_layer_there_is_nothing_for_muon() -> None:
    """A run that trains no layer's matrix is refused by the setting's name."""
    head = torch.nn.Linear(4, 1)
    with pytest.raises(ValueError, match=r"optimisation\.optimizer"):
        muon_with_adamw(head.named_parameters(), set(), 0.01, 0.01, 0.0, (0.9, 0.99))
