r"""The prompt of a judge, in our own words, for models that bring none.

The anatomy is that of Generative RLHF-V (arXiv 2505.18531, appendix): criteria with weights first,
then an analysis, then two whole scores from 1 to 10 in a box, and no principles given in advance,
which cost the paper accuracy on other data (its table 3); `principles` adds them for that
comparison. Unlike there, picture and question stand before everything that differs between the
comparisons of a group, and what the model must write is said before the answers and once more,
briefly, after them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmreward_client.schema import describe
from pydantic import ValidationError

from mmreward_service.reward.spec import RewardSpec, Templates

SCORE_RANGE = (1.0, 10.0)
MAX_JUDGEMENT_TOKENS = 1024

_INSTRUCTIONS = r"""You compare two answers to the same question and score each of them.

Write three lines, in this order:
Specific Criteria: the criteria that matter for this very question, each with its weight in percent.
Analysis: go through the criteria one by one and compare both answers with what can be seen and with what was asked. Judge content, not length, order or self-praise.
Scores: \boxed{a, b}, where a is the score of the first answer and b of the second, whole numbers from 1 (useless or wrong throughout) over 6 (right in parts) to 10 (nothing to improve). Be strict, and give equal scores only to answers of equal worth."""  # noqa: E501

_CONTEXT = "{media}#### Question ####\n{prompt}\n\n"
_ANSWERS = (
    "#### Answers ####\n# First answer:\n{first}\n\n# Second answer:\n{second}\n\n"
    "#### Now write the lines Specific Criteria, Analysis and Scores ####"
)

IMAGE_AND_VIDEO = {
    "qwen2_vl": (
        "<|vision_start|><|image_pad|><|vision_end|>",
        "<|vision_start|><|video_pad|><|vision_end|>",
    ),
    "llava_onevision": ("<image>\n", "<video>\n"),
}
IMAGE_AND_VIDEO |= dict.fromkeys(("qwen2_5_vl", "qwen3_vl"), IMAGE_AND_VIDEO["qwen2_vl"])
"""Model type -> what stands in a prompt for an image and for a video."""


def judge_text(principles: str | None = None) -> str:
    """The `judge` template of a family that writes its turns in ChatML.

    Raises:
        ValueError: braces in the principles, which would read as placeholders.
    """
    instructions = _INSTRUCTIONS
    if principles is not None:
        if "{" in principles or "}" in principles:
            raise ValueError("principles must not hold braces")
        instructions += f"\n\nPrinciples to weigh in:\n{principles.strip()}"
    return (
        f"<|im_start|>system\n{instructions}<|im_end|>\n"
        f"<|im_start|>user\n{_CONTEXT}{_ANSWERS}<|im_end|>\n<|im_start|>assistant\n"
    )


def judge_templates(model_type: str, principles: str | None = None) -> Templates:
    """Templates of a judge alone.

    Raises:
        ValueError: a family without defaults: its templates have to be given.
    """
    if model_type not in IMAGE_AND_VIDEO:
        raise ValueError(
            f"no default judge templates for model type {model_type!r} "
            f"(there are for {', '.join(IMAGE_AND_VIDEO)}): give them as a file"
        )
    image, video = IMAGE_AND_VIDEO[model_type]
    return Templates(
        judge=judge_text(principles),
        image=image,
        video=video,
        end_of_turn="<|im_end|>",
        after_turn="<|im_end|>\n",
    )


def stock_judge_templates(wanted: str | Path, config: Mapping[str, Any]) -> Templates:
    """What the setting `stock_judge` asks for.

    Args:
        wanted: a JSON file of templates, or "default" for those of the model's family.
        config: the config.json of the model.
    Raises:
        ValueError: the model is no stock model, or there are no such templates.
    """
    if "reward" in config:
        raise ValueError("stock_judge: this is a reward model with templates of its own")
    if not isinstance(wanted, Path):
        return judge_templates(str(config.get("model_type")))
    try:
        templates = Templates.model_validate_json(wanted.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"stock_judge: {wanted}: {error.strerror}") from error
    except ValidationError as error:
        raise ValueError(f"stock_judge: {wanted}: {describe(error)}") from error
    if templates.judge is None:
        raise ValueError(f"stock_judge: {wanted} has no template 'judge'")
    return templates


def stock_judge_spec(templates: Templates, max_judgement_tokens: int | None = None) -> RewardSpec:
    """The reward object of a model that was never trained as a judge."""
    return RewardSpec(
        kinds=["judge"],
        templates=templates,
        max_critique_tokens=max_judgement_tokens or MAX_JUDGEMENT_TOKENS,
        score_range=SCORE_RANGE,
        trainer_version="none: a stock model as a judge",
    )
