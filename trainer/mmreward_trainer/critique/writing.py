"""The model under training writes critiques of answers, as it would when served."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from mmreward_trainer.critique.encoding import EncodedPair, PairEncoder
from mmreward_trainer.critique.model import media_tokens
from mmreward_trainer.critique.packing import joined
from mmreward_trainer.critique.sequences import Sequence

Written = tuple[list[int] | None, list[int] | None]
"""Critiques of chosen and rejected without end-of-turn; None where the limit cut one."""


@dataclass(frozen=True)
class Writer:
    """Writes critiques of pairs with a model.

    Attributes:
        max_critique_tokens: with end-of-turn, as the service counts them.
        never: ids that no critique may hold, see `MediaTokens.never_written`.
    """

    encoder: PairEncoder
    max_critique_tokens: int
    never: list[int]

    @torch.no_grad()
    def write(
        self, model: Any, pairs: list[EncodedPair], *, temperature: float, together: bool = False
    ) -> list[Written]:
        """Critiques of both answers of each pair, sampled, or greedy at temperature 0.

        Args:
            model: a plain or PEFT model, not one wrapped for several processes.
            together: other processes write as well and wait for each other (sharded weights).
        """
        was_training = model.training
        model.eval()  # gradient checkpointing would forbid the cache
        try:
            return self._write(model, pairs, temperature, together)
        finally:
            model.train(was_training)

    def _write(
        self, model: Any, pairs: list[EncodedPair], temperature: float, together: bool
    ) -> list[Written]:
        renderer = self.encoder.builder.renderer
        end = renderer.end_of_turn_id
        sampling: dict[str, Any] = {"do_sample": temperature > 0}
        if temperature > 0:
            sampling |= {"temperature": temperature, "top_k": 0, "top_p": 1.0}
        inputs = self._inputs(model, pairs)
        output = model.generate(
            **inputs,
            **sampling,
            repetition_penalty=1.0,
            max_new_tokens=self.max_critique_tokens,
            eos_token_id=end,
            pad_token_id=end,
            suppress_tokens=self.never or None,
            synced_gpus=together,
            use_cache=True,
        )
        critiques = [
            row[: row.index(end)] if end in row else None
            for row in output[:, inputs["input_ids"].shape[1] :].tolist()
        ]
        return list(zip(critiques[0::2], critiques[1::2], strict=True))

    def _inputs(self, model: Any, pairs: list[EncodedPair]) -> dict[str, Any]:
        """Prompts padded on the left; each picture stands twice, once for each answer."""
        prompts: list[list[int]] = []
        media = []
        for pair in pairs:
            for answer in pair.answers:
                ids = self.encoder.builder.prompt(answer)
                bare = Sequence(ids, len(ids), len(ids), None)
                prompts.append(self.encoder.media.expand(bare, pair.media).ids)
                media.append(pair.media)
        width = max(map(len, prompts))
        ids_of = torch.full((len(prompts), width), self.encoder.builder.renderer.end_of_turn_id)
        mask = torch.zeros_like(ids_of)
        for i, prompt in enumerate(prompts):
            ids_of[i, width - len(prompt) :] = torch.tensor(prompt)
            mask[i, width - len(prompt) :] = 1
        inputs: dict[str, Any] = {"input_ids": ids_of, "attention_mask": mask}
        if hasattr(model.config, "vision_start_token_id"):
            inputs["mm_token_type_ids"] = media_tokens(model.config).types(ids_of, mask)
        inputs |= joined(media)
        return {name: tensor.to(model.device) for name, tensor in inputs.items()}
