"""The judge's prompt of the bundled model, stored in the checkpoint beside the critique's.

Picture and question first would let the comparisons of a group share what is computed of them. This
model is too small for that: as in its critiques the picture comes last, at one distance from where
the judgement begins (`docs/bundled-judge.md` has the figures of both).
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
