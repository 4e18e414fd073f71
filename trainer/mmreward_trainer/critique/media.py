"""Pictures and videos of a row -> the processor's tensors, and how long each placeholder becomes.

Bytes are bounded and decoded by the service's own functions, and every picture goes through the
processor by itself, as vLLM does it: trained on what will be served. (A processor given several
pictures at once may treat them otherwise: LLaVA-OneVision's then tiles none of them.)
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from mmreward_service.images import ImageLimits, check_payload, decode
from mmreward_service.reward.spec import Templates
from PIL import Image
from transformers.video_utils import VideoMetadata

from mmreward_trainer.critique.sequences import Sequence

_NOT_MEDIA = ("input_ids", "attention_mask", "mm_token_type_ids", "token_type_ids")


@dataclass(frozen=True)
class EncodedMedia:
    """The media of one row.

    Attributes:
        tensors: name of the processor -> tensor whose first dimension runs over pictures, or over
            the patches of all of them.
        pieces: token ids of each expanded placeholder, with whatever the processor writes around
            it, in order.
        kind: whether they are images or one video.
    """

    tensors: dict[str, torch.Tensor]
    pieces: list[list[int]]
    kind: str = "image"

    @property
    def count(self) -> int:
        return len(self.pieces)


@dataclass
class MediaEncoder:
    """Encodes media with one checkpoint's processor."""

    processor: Any
    templates: Templates
    limits: ImageLimits
    takes_video_metadata: bool
    _mark: dict[str, str] = field(default_factory=dict, init=False)
    _short: dict[str, list[int]] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        tokenizer = self.processor.tokenizer
        special = "|".join(map(re.escape, tokenizer.get_added_vocab()))
        for kind in ("image", "video"):
            # Text around the special tokens may share a token with its neighbours in a prompt.
            found = re.search(
                f"(?:{special})(?:.*(?:{special}))?", getattr(self.templates, kind), re.S
            )
            if found is None:
                raise ValueError(f"template {kind!r} holds no special token of the tokenizer")
            self._mark[kind] = found[0]
            self._short[kind] = tokenizer(found[0], add_special_tokens=False).input_ids

    def encode(self, pictures: list[bytes], fps: float | None) -> EncodedMedia:
        """Images if `fps` is None, else the frames of one video.

        Raises:
            ImageUnusable: a picture that serving would refuse, too.
            ValueError: frames of different sizes.
        """
        if not pictures:
            return EncodedMedia({}, [])
        decoded = [decode(check_payload(picture, self.limits)) for picture in pictures]
        if fps is not None:
            part = self._process("video", self._video_arguments(decoded, fps))
            return EncodedMedia(_tensors([part]), [part["input_ids"][0].tolist()], "video")
        parts = [self._process("image", {"images": [picture]}) for picture in decoded]
        return EncodedMedia(_tensors(parts), [part["input_ids"][0].tolist() for part in parts])

    def expand(self, sequence: Sequence, media: EncodedMedia) -> Sequence:
        """The sequence with each placeholder as long as its picture."""
        short = self._short[media.kind]
        ids = list(sequence.ids)
        start = 0
        for piece in media.pieces:
            start = _find(ids, short, start)
            ids[start : start + len(short)] = piece
            start += len(piece)
        return sequence.shifted(len(ids) - len(sequence.ids), ids)

    def _process(self, kind: str, arguments: dict[str, Any]) -> dict[str, Any]:
        text = self._mark[kind]
        return dict(self.processor(text=[text], return_tensors="pt", **arguments))

    def _video_arguments(self, frames: list[Image.Image], fps: float) -> dict[str, Any]:
        if len({frame.size for frame in frames}) > 1:
            raise ValueError("the frames of a video must have one size")
        arguments: dict[str, Any] = {"videos": [np.stack([np.asarray(frame) for frame in frames])]}
        if self.takes_video_metadata:
            count = len(frames)
            arguments["video_metadata"] = [
                VideoMetadata(total_num_frames=count, fps=fps, frames_indices=list(range(count)))
            ]
            # The frames are the sample: the processor must not thin them out again.
            arguments["do_sample_frames"] = False
        return arguments


def _tensors(parts: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
    names = [
        name
        for name, value in parts[0].items()
        if name not in _NOT_MEDIA and name != "video_metadata" and value is not None
    ]
    return {name: stack_media([torch.as_tensor(part[name]) for part in parts]) for name in names}


def stack_media(tensors: list[torch.Tensor]) -> torch.Tensor:
    """Joined along the first dimension; tiles (n, tiles, channels, height, width) are padded."""
    if tensors[0].ndim == 5 and len({t.shape[1] for t in tensors}) > 1:
        most = max(t.shape[1] for t in tensors)
        tensors = [torch.nn.functional.pad(t, (0, 0) * 3 + (0, most - t.shape[1])) for t in tensors]
    return torch.cat(tensors)


def _find(ids: list[int], part: list[int], start: int) -> int:
    for i in range(start, len(ids) - len(part) + 1):
        if ids[i : i + len(part)] == part:
            return i
    raise ValueError("fewer placeholders in the prompt than pictures in the row")
