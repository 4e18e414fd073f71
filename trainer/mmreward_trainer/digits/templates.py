"""The prompt texts of the bundled model. They are stored in the checkpoint and read from there."""

from __future__ import annotations

from mmreward_service.reward.spec import Templates

CRITIQUE = (
    "<|im_start|>user\n{media}\nQuestion: {prompt}\nAnswer: {response}<|im_end|>\n"
    "<|im_start|>assistant\n"
)

TEMPLATES = Templates(
    critique=CRITIQUE,
    image="<|vision_start|><|image_pad|><|vision_end|>",
    video="<|vision_start|><|video_pad|><|vision_end|>",
    end_of_turn="<|im_end|>",
    after_turn="<|im_end|>\n",
)
