"""The score by an independent road: transformers' own processor and forward pass, in float32.

Nothing of the serving path takes part: placeholders are expanded by the processor's text side, the
hidden states are the model's last ones, and the score is read without any slot.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmreward_service.engine.protocol import Media
from mmreward_service.reward.checkpoint import load_head, load_spec
from transformers import AutoModelForImageTextToText, AutoProcessor
from transformers.video_utils import VideoMetadata


class ReferenceForward:
    """Scores token sequences of one checkpoint."""

    def __init__(self, folder: Path, dtype: torch.dtype = torch.float32) -> None:
        self.spec = load_spec(folder)
        self.head = load_head(folder, self.spec)
        self.processor = AutoProcessor.from_pretrained(folder)
        self.model = AutoModelForImageTextToText.from_pretrained(
            folder, dtype=dtype, attn_implementation="eager"
        ).eval()

    @torch.inference_mode()
    def score(self, token_ids: list[int], media: Media) -> float:
        """Score at the last of `token_ids`, which hold one placeholder per picture or video."""
        ids, inputs = self._expand(token_ids, media)
        config = self.model.config
        input_ids = torch.tensor([ids])
        if "image_grid_thw" in inputs or "video_grid_thw" in inputs:
            inputs["mm_token_type_ids"] = (input_ids == config.image_token_id).int() + 2 * (
                input_ids == config.video_token_id
            ).int()
        output = self.model(
            input_ids=input_ids,
            attention_mask=torch.ones_like(input_ids),
            output_hidden_states=True,
            use_cache=False,
            **inputs,
        )
        return float(self.head(output.hidden_states[-1][0, -1]))

    def _expand(self, token_ids: list[int], media: Media) -> tuple[list[int], dict[str, Any]]:
        ids, inputs = list(token_ids), {}
        templates, start = self.spec.templates, 0
        for part in self._processed(media):
            template = templates.video if media.is_video else templates.image
            short = self.processor.tokenizer(template, add_special_tokens=False).input_ids
            start = _find(ids, short, start)
            long = part.pop("input_ids")[0].tolist()
            ids[start : start + len(short)] = long
            start += len(long)
            for name, tensor in part.items():
                inputs.setdefault(name, []).append(tensor)
        return ids, {name: _joined(tensors) for name, tensors in inputs.items()}

    def _processed(self, media: Media) -> list[dict[str, Any]]:
        """Processor output of each picture by itself, or of the one video."""
        if media.is_video:
            frames = np.stack([np.asarray(frame) for frame in media.images])
            arguments: dict[str, Any] = {"videos": [frames]}
            if hasattr(self.model.config, "vision_start_token_id"):
                count = len(media.images)
                arguments["video_metadata"] = [
                    VideoMetadata(
                        total_num_frames=count, fps=media.fps, frames_indices=list(range(count))
                    )
                ]
                arguments["do_sample_frames"] = False
            calls = [(self.spec.templates.video, arguments)]
        else:
            calls = [(self.spec.templates.image, {"images": [image]}) for image in media.images]
        parts = []
        for text, arguments in calls:
            part = dict(self.processor(text=[text], return_tensors="pt", **arguments))
            for name in ("attention_mask", "mm_token_type_ids", "token_type_ids", "video_metadata"):
                part.pop(name, None)
            parts.append(part)
        return parts


def _joined(tensors: list[torch.Tensor]) -> torch.Tensor:
    """Along the first dimension; pictures of fewer tiles (n, tiles, ...) get empty ones behind."""
    if tensors[0].ndim == 5:
        most = max(tensor.shape[1] for tensor in tensors)
        padded = [tensor.new_zeros(len(tensor), most, *tensor.shape[2:]) for tensor in tensors]
        for place, tensor in zip(padded, tensors, strict=True):
            place[:, : tensor.shape[1]] = tensor
        tensors = padded
    return torch.cat(tensors)


def _find(ids: list[int], part: list[int], start: int) -> int:
    for i in range(start, len(ids) - len(part) + 1):
        if ids[i : i + len(part)] == part:
            return i
    raise AssertionError(f"{part} is not among the ids from {start} on")
