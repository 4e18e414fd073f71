"""Critiques and scores by plain transformers: what the engine's scores are compared with.

Any family whose processor and model load by the Auto classes (Qwen2-VL, Qwen2.5-VL, Qwen3-VL,
LLaVA-OneVision), from the checkpoint folder alone. Generate, then read the score in a second
forward pass, as the released evaluation of MM-RLHF does. Images only; video is left out.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from mmreward_service.reward.checkpoint import load_head, load_spec
from mmreward_service.reward.prompt import PromptRenderer
from PIL import Image

Images = Sequence[Image.Image]


@dataclass(frozen=True)
class ScoredCritique:
    """A written critique without its end-of-turn token; score None if it never came to one."""

    text: str
    token_ids: list[int]
    score: float | None


class TransformersScorer:
    """Loads a reward checkpoint and scores with it, batch by batch.

    Raises:
        CheckpointError: the folder is no valid reward checkpoint.
    """

    def __init__(self, folder: Path, dtype: torch.dtype = torch.float32) -> None:
        from transformers import AutoModelForImageTextToText, AutoProcessor

        folder = Path(folder)
        self.spec = load_spec(folder)
        self.head = load_head(folder, self.spec)
        self.renderer = PromptRenderer.from_checkpoint(folder, self.spec)
        self.processor = AutoProcessor.from_pretrained(folder)
        self.model = AutoModelForImageTextToText.from_pretrained(folder, dtype=dtype).eval()
        config = self.model.config
        self.image_token = int(getattr(config, "image_token_id", None) or config.image_token_index)
        self._vocabulary = int(config.get_text_config().vocab_size)
        accepted = inspect.signature(self.model.forward).parameters
        self._takes_token_types = "mm_token_type_ids" in accepted

    def critique(
        self, images: Sequence[Images], prompts: Sequence[str], responses: Sequence[str]
    ) -> list[ScoredCritique]:
        """Greedy critiques of one batch, each with the score the checkpoint's read-out gives."""
        rendered = [
            self.renderer.render(prompt=prompt, response=response, images=len(pictures))
            for pictures, prompt, response in zip(images, prompts, responses, strict=True)
        ]
        written = self.generate(rendered, images)
        ended = [i for i, (_, is_finished) in enumerate(written) if is_finished]
        after = self.renderer.after_turn_ids if self.spec.read_out == "after_turn" else []
        scores = self.read(
            [rendered[i] + written[i][0] + after for i in ended], [images[i] for i in ended]
        )
        by_item = dict(zip(ended, scores, strict=True))
        return [
            ScoredCritique(self.renderer.decode(ids), ids, by_item.get(i))
            for i, (ids, _) in enumerate(written)
        ]

    @torch.inference_mode()
    def generate(
        self, prompts: Sequence[list[int]], images: Sequence[Images]
    ) -> list[tuple[list[int], bool]]:
        """Greedy continuations of rendered prompts: (ids without end-of-turn, whether it came).

        The limit is the checkpoint's `max_critique_tokens`, end-of-turn included.
        """
        inputs = self._inputs(prompts, images, padding="left")
        end = self.renderer.end_of_turn_id
        output = self.model.generate(
            **inputs,
            do_sample=False,
            max_new_tokens=self.spec.max_critique_tokens,
            eos_token_id=end,
            pad_token_id=end,
            # Ids beyond the tokenizer are padding of the vocabulary; serving masks them, too.
            suppress_tokens=list(range(self.renderer.tokenizer_size, self._vocabulary)) or None,
        )
        written = []
        for row in output[:, inputs["input_ids"].shape[1] :].tolist():
            is_finished = end in row
            written.append((row[: row.index(end)] if is_finished else row, is_finished))
        return written

    @torch.inference_mode()
    def read(self, token_ids: Sequence[list[int]], images: Sequence[Images]) -> list[float]:
        """Scores at the last token of rendered sequences (critique and after_turn included)."""
        if not token_ids:
            return []
        inputs = self._inputs(token_ids, images, padding="right")
        states = self.model.model(**inputs, use_cache=False).last_hidden_state
        ends = inputs["attention_mask"].sum(1) - 1
        scores: list[float] = self.head(states[torch.arange(len(ends)), ends]).tolist()
        return scores

    def _inputs(
        self, token_ids: Sequence[list[int]], images: Sequence[Images], padding: str
    ) -> dict[str, Any]:
        """Model inputs: placeholders expanded to the size of each picture, rows padded."""
        expanded = [
            self._expand(ids, pictures) for ids, pictures in zip(token_ids, images, strict=True)
        ]
        width = max(map(len, expanded))
        ids = torch.full((len(expanded), width), self.renderer.end_of_turn_id)
        mask = torch.zeros_like(ids)
        for row, sequence in enumerate(expanded):
            start = width - len(sequence) if padding == "left" else 0
            span = slice(start, start + len(sequence))
            ids[row, span] = torch.tensor(sequence)
            mask[row, span] = 1
        inputs: dict[str, Any] = {"input_ids": ids, "attention_mask": mask}
        if self._takes_token_types:
            inputs["mm_token_type_ids"] = (ids == self.image_token).int()
        flat = [picture.convert("RGB") for pictures in images for picture in pictures]
        if flat:
            features = self.processor.image_processor(images=flat, return_tensors="pt")
            features.pop("batch_num_images", None)
            inputs.update(features)
            inputs["pixel_values"] = inputs["pixel_values"].to(self.model.dtype)
        return inputs

    def _expand(self, ids: list[int], images: Images) -> list[int]:
        sizes = [(picture.height, picture.width) for picture in images]
        counts = iter(
            self.processor._get_num_multimodal_tokens(image_sizes=sizes)["num_image_tokens"]
            if sizes
            else []
        )
        expanded: list[int] = []
        for token in ids:
            expanded += [token] * next(counts) if token == self.image_token else [token]
        if next(counts, None) is not None:
            raise ValueError(f"{len(sizes)} images for fewer placeholders")
        return expanded
