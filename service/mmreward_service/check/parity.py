"""The golden scores, computed again from the folder's own weights by transformers on the CPU.

The same question that the service asks itself at its start, without an engine and without a GPU:
weights that were cut, exchanged or converted wrongly are found here. It loads the whole model. The
way to the score is a plain one: placeholders expanded by the processor's text side, one forward
pass per item, the hidden state of the last token into the head.
"""

from __future__ import annotations

import math
from typing import Any

import torch

from mmreward_service.check.findings import Findings
from mmreward_service.check.folder import Folder
from mmreward_service.errors import boundary
from mmreward_service.images import ImageLimits, decode, read_payload
from mmreward_service.reward.checkpoint import load_head
from mmreward_service.reward.prompt import PromptRenderer
from mmreward_service.reward.spec import GoldenItem
from mmreward_service.startup import FULL_PRECISION_TOLERANCE, HALF_PRECISION_TOLERANCE

_LIMITS = ImageLimits(max_bytes=1 << 26, max_pixels=1 << 26)


class ParityFailed(Exception):
    """The scores could not be computed; the message says what transformers said."""


def check_parity(
    folder: Folder, dtype: str, tolerance: float | None, findings: Findings
) -> float | None:
    """Compare all golden items; returns the largest difference, None where there is none.

    Args:
        dtype: "float32", "bfloat16" or "float16"; "auto" is float32 here.
        tolerance: largest allowed difference; None takes the service's own for this dtype.
    """
    spec = folder.spec
    if spec is None or not spec.golden:
        findings.note("parity", "not checked: there are no golden items")
        return None
    dtype = "float32" if dtype == "auto" else dtype
    if tolerance is None:
        full = dtype == "float32"
        tolerance = FULL_PRECISION_TOLERANCE if full else HALF_PRECISION_TOLERANCE
    try:
        with boundary(lambda error: ParityFailed(f"{type(error).__name__}: {error}")):
            forward = _Forward(folder, dtype)
            differences = [abs(forward.score(item) - item.score) for item in spec.golden]
    except ParityFailed as error:
        findings.problem("parity", f"the scores could not be computed: {error}")
        return None
    worst = largest(differences)
    text = f"{len(differences)} golden items, largest difference {worst:.3g}, in {dtype}"
    if worst <= tolerance:
        findings.ok("parity", text)
    else:
        findings.problem("parity", f"{text}; the tolerance is {tolerance:.3g}")
    return worst


def largest(differences: list[float]) -> float:
    """The largest difference; a NaN, which max() may pass over, is worse than any number."""
    return max(math.inf if math.isnan(one) else one for one in differences)


class _Forward:
    """One checkpoint in transformers."""

    def __init__(self, folder: Folder, dtype: str) -> None:
        from transformers import AutoModelForImageTextToText, AutoProcessor
        from transformers.utils import logging

        # The head's tensors, which transformers does not know, are no news here.
        logging.set_verbosity_error()
        assert folder.spec is not None
        self.spec = folder.spec
        self.head = load_head(folder.path, self.spec)
        self.renderer = PromptRenderer.from_checkpoint(folder.path, self.spec)
        self.processor = AutoProcessor.from_pretrained(folder.path, local_files_only=True)
        model, loading = AutoModelForImageTextToText.from_pretrained(
            folder.path,
            dtype=getattr(torch, dtype),
            local_files_only=True,
            output_loading_info=True,
        )
        if missing := sorted(loading["missing_keys"]):
            raise ParityFailed(f"transformers misses {', '.join(missing[:5])}")
        self.model = model.eval()

    @torch.inference_mode()
    def score(self, item: GoldenItem) -> float:
        picture = decode(read_payload(item.image, _LIMITS))
        part = dict(
            self.processor(text=[self.spec.templates.image], images=[picture], return_tensors="pt")
        )
        for name in ("attention_mask", "mm_token_type_ids", "token_type_ids"):
            part.pop(name, None)
        ids = self.renderer.render(
            prompt=item.prompt,
            response=item.response,
            images=1,
            mode="given",
            critique=item.critique,
        )
        long = part.pop("input_ids")[0].tolist()
        config = self.model.config
        image = int(getattr(config, "image_token_id", None) or config.image_token_index)
        position = ids.index(image)
        input_ids = torch.tensor([ids[:position] + _run_of(image, long) + ids[position + 1 :]])
        inputs: dict[str, Any] = {name: _as(value, self.model) for name, value in part.items()}
        inputs["attention_mask"] = torch.ones_like(input_ids)
        if "image_grid_thw" in inputs:
            inputs["mm_token_type_ids"] = (input_ids == image).int()
        states = self.model.model(input_ids=input_ids, use_cache=False, **inputs).last_hidden_state
        return float(self.head(states[0, -1]))


def _run_of(image: int, ids: list[int]) -> list[int]:
    return [token for token in ids if token == image]


def _as(value: Any, model: Any) -> Any:
    is_float = isinstance(value, torch.Tensor) and value.is_floating_point()
    return value.to(model.dtype) if is_float else value
