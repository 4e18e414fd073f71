"""One step of a trainer, and the same by plain transformers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from mmreward_trainer.align.margins import Row
from mmreward_trainer.align.trainer import PairTrainer
from transformers import AutoModelForImageTextToText, AutoProcessor
from trl import DPOTrainer

from .conftest import example

DELTAS = [0.7, None, -2.0, 4.0]
Log = dict[str, float]


def settings(folder: Path, **more: Any) -> dict[str, Any]:
    return {
        "output_dir": str(folder / "out"), "use_cpu": True, "bf16": False, "report_to": [],
        "per_device_train_batch_size": 2, "gradient_checkpointing": False,
        "dataloader_pin_memory": False, "disable_tqdm": True, "logging_steps": 1, **more,
    }  # fmt: skip


def moved(trainer: DPOTrainer, seed: int = 1) -> None:
    """Move the policy away from its reference, or every lead would be 0."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in trainer.model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.01 * torch.randn(parameter.shape, generator=generator))


def rows_of(count: int, pictures: Sequence[int] = (1,), **columns: Sequence[Any]) -> list[Row]:
    """Fresh each time: TRL's collator changes what it is given."""
    return [
        example(i, pictures=pictures[i % len(pictures)])
        | {name: values[i] for name, values in columns.items()}
        for i in range(count)
    ]


def loss_of(trainer: PairTrainer, rows: list[Row]) -> float:
    trainer.model.eval()
    with torch.no_grad():
        return float(trainer.compute_loss(trainer.model, trainer.data_collator(rows)))


def padded_left(batch: dict[str, Any]) -> dict[str, Any]:
    """The same rows with their padding in front."""
    widths = batch["attention_mask"].sum(1)
    full = batch["input_ids"].shape
    turned = dict(batch)
    for name, value in batch.items():
        if isinstance(value, torch.Tensor) and value.shape == full:
            turned[name] = torch.stack(
                [row.roll(int(full[1] - width)) for row, width in zip(value, widths, strict=True)]
            )
    return turned


def plain_token_log_probs(model: Any, folder: Path, row: Row, side: str) -> tuple[Any, list[int]]:
    """(log-probabilities, ids) of the tokens of one answer, alone, by transformers."""
    processor = AutoProcessor.from_pretrained(folder)
    content = [{"type": "image"}] * len(row["images"])
    content = [*content, {"type": "text", "text": row["prompt"][0]["content"]}]
    question = processor.apply_chat_template(
        [{"role": "user", "content": content}], add_generation_prompt=True, tokenize=False
    )
    answer = row[side][0]["content"] + "<|im_end|>\n"
    prompt = processor(images=[row["images"]], text=[question], return_tensors="pt")
    ids = processor.tokenizer(answer, add_special_tokens=False, return_tensors="pt").input_ids
    inputs = dict(prompt)
    start = inputs["input_ids"].shape[1]
    inputs["input_ids"] = torch.cat([inputs["input_ids"], ids], 1)
    inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
    if "mm_token_type_ids" in inputs:
        inputs["mm_token_type_ids"] = torch.cat(
            [inputs["mm_token_type_ids"], torch.zeros_like(ids)], 1
        )
    with torch.no_grad():
        logits = model(**inputs).logits[0, start - 1 : -1].float()
    return logits.log_softmax(-1).gather(1, ids[0, :, None])[:, 0], ids[0].tolist()


def plain_models(trainer: DPOTrainer, folder: Path) -> tuple[Any, Any]:
    """Policy and reference without anything of TRL in them."""
    policy, reference = (
        AutoModelForImageTextToText.from_pretrained(folder).eval() for _ in range(2)
    )
    policy.load_state_dict(trainer.model.state_dict())
    return policy, reference
