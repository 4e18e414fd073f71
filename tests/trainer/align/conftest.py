"""A tiny policy with a chat template, and pairs about colours with margins."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tiny_models import Family, build_tiny_checkpoint

COLOURS = {"red": (200, 30, 30), "green": (30, 200, 30), "blue": (30, 30, 200)}
CHAT_TEMPLATE = """{% for m in messages %}<|im_start|>{{ m['role'] }}
{% for p in m['content'] %}{% if p['type'] == 'image' %}\
IMAGE\
{% else %}{{ p['text'] }}{% endif %}{% endfor %}<|im_end|>
{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""
IMAGE_TEXTS: dict[str, str] = {"llava_onevision": "<image>"}

Policies = Callable[..., Path]


@pytest.fixture(scope="session")
def policies(tmp_path_factory: pytest.TempPathFactory) -> Policies:
    """Builds a tiny model with a chat template, once per family."""
    built: dict[str, Path] = {}

    def build(family: Family = "qwen2_5_vl") -> Path:
        if family not in built:
            folder = built[family] = tmp_path_factory.mktemp(f"policy_{family}")
            build_tiny_checkpoint(folder, family)
            image = IMAGE_TEXTS.get(family, "<|vision_start|><|image_pad|><|vision_end|>")
            template = CHAT_TEMPLATE.replace("IMAGE", image)
            (folder / "chat_template.jinja").write_text(template)
        return built[family]

    return build


@pytest.fixture(scope="session")
def mm_dpo(policies: Policies, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Any]:
    """Builds trainers of MM-DPO whose policies have moved."""
    from datasets import Dataset
    from mmreward_trainer.align.mm_dpo import MMDPOConfig, MMDPOTrainer

    from .steps import DELTAS, moved, rows_of, settings

    def build(family: Family = "qwen2_5_vl", pictures: Sequence[int] = (1,), **more: Any) -> Any:
        trainer = MMDPOTrainer(
            model=str(policies(family)),
            args=MMDPOConfig(**settings(tmp_path_factory.mktemp("mm"), **more)),
            train_dataset=Dataset.from_list(rows_of(4, pictures, delta=DELTAS)),
        )
        moved(trainer)
        return trainer

    return build


def coloured(name: str, seed: int, size: int = 56) -> Image.Image:
    """A square of one colour with a little noise."""
    noise = np.random.default_rng(seed).integers(0, 20, (size, size, 3))
    return Image.fromarray((np.array(COLOURS[name]) + noise).astype(np.uint8))


def example(number: int, *, pictures: int = 1, **more: Any) -> dict[str, Any]:
    """A pair as TRL takes it, with answers of unequal length."""
    names = list(COLOURS)
    true, false = names[number % 3], names[(number + 1) % 3]
    tail = " It fills the whole picture." if number % 2 else ""
    return {
        "images": [coloured(true, number + 50 * i) for i in range(pictures)],
        "prompt": [{"role": "user", "content": "What colour?" + " Say it." * (number % 3)}],
        "chosen": [{"role": "assistant", "content": f"The square is {true}.{tail}"}],
        "rejected": [{"role": "assistant", "content": f"The square is {false}."}],
        **more,
    }


def write_pairs(folder: Path, name: str, numbers: range, **columns: Any) -> Path:
    """JSON lines of pairs; a column is a value or a function of the number."""
    rows = []
    for number in numbers:
        one = example(number)
        file = folder / f"{number}.png"
        stream = io.BytesIO()
        one["images"][0].save(stream, format="PNG")
        file.write_bytes(stream.getvalue())
        texts = {key: one[key][0]["content"] for key in ("prompt", "chosen", "rejected")}
        values = {key: to(number) if callable(to) else to for key, to in columns.items()}
        rows.append({"id": str(number), "images": [file.name], **texts, **values})
    (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder / name
