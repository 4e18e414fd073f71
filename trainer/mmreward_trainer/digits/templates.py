"""The prompt texts of the bundled model. They are stored in the checkpoint and read from there."""

from __future__ import annotations

from mmreward_service.reward.spec import Templates

# The picture comes last: the observation then stands at one distance from it, however long the
# question and the answer are. With the picture first, unusual wordings made the model misread it.
CRITIQUE = (
    "<|im_start|>user\nQuestion: {prompt}\nAnswer: {response}\n{media}<|im_end|>\n"
    "<|im_start|>assistant\n"
)

TEMPLATES = Templates(
    critique=CRITIQUE,
    image="<|vision_start|><|image_pad|><|vision_end|>",
    video="<|vision_start|><|video_pad|><|vision_end|>",
    end_of_turn="<|im_end|>",
    after_turn="<|im_end|>\n",
)
