"""Decoded pictures -> the multimodal part of a vLLM prompt.

Content hashes become vLLM's item ids, so that a picture that several items share is preprocessed
and encoded once and its prompt prefix is found again.
"""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

from mmreward_service.engine.protocol import ImageRefused, Media


def prompt_fields(media: Media, *, video_metadata: bool) -> dict[str, Any]:
    """`multi_modal_data` and `multi_modal_uuids` of a prompt; empty without media.

    Args:
        video_metadata: whether the model wants to know when each frame was taken (the Qwen
            families) or takes bare frames (LLaVA-OneVision).
    Raises:
        ImageRefused: frames of different sizes.
    """
    if not media.images:
        return {}
    if not media.is_video:
        fields: dict[str, Any] = {"multi_modal_data": {"image": list(media.images)}}
        if media.hashes:
            fields["multi_modal_uuids"] = {"image": list(media.hashes)}
        return fields
    fields = {"multi_modal_data": {"video": [_video(media, video_metadata)]}}
    if media.hashes:
        fields["multi_modal_uuids"] = {"video": [_video_id(media)]}
    return fields


def _video(media: Media, video_metadata: bool) -> Any:
    if len({image.size for image in media.images}) > 1:
        raise ImageRefused("the frames of a video must have one size")
    frames = np.stack([np.asarray(image) for image in media.images])
    if not video_metadata:
        return frames
    count = len(media.images)
    fps = media.fps or 1.0
    return frames, {
        "fps": fps,
        "duration": count / fps,
        "total_num_frames": count,
        "frames_indices": list(range(count)),
        "video_backend": "frames",
        # The frames are the sample: the processor must not thin them out again.
        "do_sample_frames": False,
    }


def _video_id(media: Media) -> str:
    # The frame rate moves positions in time, so it is part of the identity.
    return hashlib.sha256(f"{media.fps}|{'|'.join(media.hashes)}".encode()).hexdigest()
