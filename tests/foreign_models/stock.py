"""Models of the stock families with somebody else's head, and scores by that somebody's definition.

- A classifier as `AutoModelForSequenceClassification` makes one: transformers' own
  `GenericForSequenceClassification` mixed into the family, saved by transformers.
- TRL's `AutoModelForCausalLMWithValueHead`: the stock model, and `ValueHead` beside it (dropout and
  one matrix on the last hidden states), saved in one file or as LLaMA-Factory does, in two.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from tiny_models.build import FAMILIES, Family
from tiny_models.tokenizer import tiny_tokenizer
from transformers import (
    LlavaOnevisionPreTrainedModel,
    Qwen2_5_VLPreTrainedModel,
    Qwen2VLPreTrainedModel,
    Qwen3VLPreTrainedModel,
)
from transformers.modeling_layers import GenericForSequenceClassification

CHAT_TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n"
    "{% for c in m['content'] %}"
    "{% if c['type'] == 'image' %}IMAGE"
    "{% elif c['type'] == 'video' %}VIDEO"
    "{% else %}{{ c['text'] }}{% endif %}{% endfor %}<|im_end|>\n{% endfor %}"
)
PLACEHOLDERS = {
    "llava_onevision": ("<image>\n", "<video>\n"),
    "qwen": (
        "<|vision_start|><|image_pad|><|vision_end|>",
        "<|vision_start|><|video_pad|><|vision_end|>",
    ),
}


class Qwen2VLForSequenceClassification(GenericForSequenceClassification, Qwen2VLPreTrainedModel):
    pass


class Qwen2_5_VLForSequenceClassification(
    GenericForSequenceClassification, Qwen2_5_VLPreTrainedModel
):
    pass


class Qwen3VLForSequenceClassification(GenericForSequenceClassification, Qwen3VLPreTrainedModel):
    pass


class LlavaOnevisionForSequenceClassification(
    GenericForSequenceClassification, LlavaOnevisionPreTrainedModel
):
    pass


CLASSIFIERS: dict[str, Any] = {
    "qwen2_vl": Qwen2VLForSequenceClassification,
    "qwen2_5_vl": Qwen2_5_VLForSequenceClassification,
    "qwen3_vl": Qwen3VLForSequenceClassification,
    "llava_onevision": LlavaOnevisionForSequenceClassification,
}


def chat_template(family: str) -> str:
    image, video = PLACEHOLDERS.get(family, PLACEHOLDERS["qwen"])
    return CHAT_TEMPLATE.replace("IMAGE", image).replace("VIDEO", video)


def build_classifier(folder: Path, family: Family, labels: int = 1) -> Any:
    """Write a sequence classifier and return it, for the scores that it gives."""
    model, processor = _make(family)
    config = model.config
    config.num_labels = labels
    config.get_text_config().pad_token_id = processor.tokenizer.pad_token_id
    torch.manual_seed(1)
    classifier = CLASSIFIERS[family](config).eval()
    classifier.load_state_dict(model.state_dict(), strict=False)
    torch.nn.init.normal_(classifier.score.weight, std=0.3)
    classifier.save_pretrained(folder)
    processor.save_pretrained(folder)
    return classifier


def build_value_head(folder: Path, family: Family, *, apart: bool) -> tuple[Any, torch.nn.Linear]:
    """Write a model with TRL's value head; `apart` puts it into value_head.safetensors."""
    model, processor = _make(family)
    torch.manual_seed(2)
    summary = torch.nn.Linear(model.config.get_text_config().hidden_size, 1)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    head = {f"v_head.summary.{name}": t.detach() for name, t in summary.state_dict().items()}
    if apart:
        save_file(head, folder / "value_head.safetensors", metadata={"format": "pt"})
    else:
        file = folder / "model.safetensors"
        save_file({**load_file(file), **head}, file, metadata={"format": "pt"})
    return model, summary


def inputs(processor: Any, question: str, answer: str, picture: Image.Image) -> dict[str, Any]:
    """What the processor makes of a whole conversation, as a user of the source would call it."""
    messages = [
        {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": question}]},
        {"role": "assistant", "content": [{"type": "text", "text": answer}]},
    ]
    text = processor.apply_chat_template(messages, tokenize=False)
    made = dict(processor(text=[text], images=[picture], return_tensors="pt"))
    if "image_grid_thw" in made and "mm_token_type_ids" not in made:
        image = processor.tokenizer.convert_tokens_to_ids("<|image_pad|>")
        made["mm_token_type_ids"] = (made["input_ids"] == image).int()
    made.pop("token_type_ids", None)
    made.pop("batch_num_images", None)
    return made


@torch.inference_mode()
def classifier_score(classifier: Any, made: dict[str, Any]) -> float:
    return float(classifier(**made, use_cache=False).logits[0, 0])


@torch.inference_mode()
def value_score(model: Any, summary: torch.nn.Linear, made: dict[str, Any]) -> float:
    """The value at the last token that is not masked, where reward trainers read it."""
    states = model(**made, output_hidden_states=True, use_cache=False).hidden_states[-1]
    last = int(made["attention_mask"].sum()) - 1
    return float(summary(states)[0, last, 0])


def _make(family: Family) -> tuple[Any, Any]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model, processor = FAMILIES[family](tiny_tokenizer())
    processor.chat_template = chat_template(family)
    return model.eval(), processor
