"""The judge's prompt of the bundled model, stored in the checkpoint beside the critique's.

Picture and question first would let the comparisons of a group share what is computed of them.
Here the picture comes last, as in the critique's prompt, where the model misread it otherwise: it
goes on from weights that have only ever seen it there. `PICTURE_FIRST` is the other way.
"""

from __future__ import annotations

from mmreward_trainer.digits.templates import TEMPLATES

JUDGE = (
    "<|im_start|>user\nQuestion: {prompt}\nThe first answer: {first}\n"
    "The second answer: {second}\n{media}<|im_end|>\n<|im_start|>assistant\n"
)
PICTURE_FIRST = (
    "<|im_start|>user\n{media}\nQuestion: {prompt}\nThe first answer: {first}\n"
    "The second answer: {second}<|im_end|>\n<|im_start|>assistant\n"
)
TEMPLATES_OF_BOTH = TEMPLATES.model_copy(update={"judge": JUDGE})
"""Critiques and judgements by one checkpoint."""
