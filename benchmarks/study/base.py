"""The base model of the study: a vision tower that has seen digits, a language model that has not.

The architecture, tokenizer and vision warm-up of the bundled model. The language model is random,
so that everything it can do afterwards comes from the variant's training. Pictures may be larger
than a digit mosaic here, up to MAX_PIXELS.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from mmreward_trainer.digits.architecture import save_model
from mmreward_trainer.digits.configuration import DigitsConfig
from mmreward_trainer.digits.run import start
from mmreward_trainer.digits.templates import TEMPLATES
from mmreward_trainer.digits.warm_up import warm_up

MAX_PIXELS = 28 * 28 * 64
MAX_POSITIONS = 4096


def build_base(folder: Path, seed: int, steps: int, threads: int) -> None:
    """Write the base of one seed, and the bundled model's templates beside it."""
    if (folder / "templates.json").is_file():
        return
    torch.set_num_threads(threads)
    config = DigitsConfig(seed=seed, threads=threads, warm_up_steps=steps)
    run = start(config)
    model = run.digit_model.model
    digit_tokens = run.tokenizer.convert_tokens_to_ids([f"Ġ{digit}" for digit in range(10)])
    embeddings = model.get_input_embeddings().weight
    warm_up(model.model.visual, embeddings, digit_tokens, config, lambda step, loss: None)
    folder.mkdir(parents=True, exist_ok=True)
    save_model(folder, model, run.tokenizer)
    _change(
        folder / "processor_config.json", ("image_processor", "size", "longest_edge"), MAX_PIXELS
    )
    _change(folder / "config.json", ("text_config", "max_position_embeddings"), MAX_POSITIONS)
    (folder / "templates.json").write_text(TEMPLATES.model_dump_json(indent=2), encoding="utf-8")


def _change(file: Path, names: tuple[str, ...], value: int) -> None:
    content = json.loads(file.read_text(encoding="utf-8"))
    place = content
    for name in names[:-1]:
        place = place[name]
    place[names[-1]] = value
    file.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
