"""Completions as TRL hands them to a reward function, a service on a real port, a tiny trainer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from mmreward_client.testing import LocalService
from mmreward_client.testing.answers import Side, good
from PIL import Image

END = 2
Answer = Callable[[Side], Any]


def by_letter(side: Side) -> Any:
    """Ten times the share of the letter e: what a policy can learn in a few steps."""
    return good(10.0 * side.response.count("e") / max(1, len(side.response)))


@pytest.fixture
def service() -> Iterator[LocalService]:
    with LocalService(by_letter) as running:
        yield running


def picture(number: int) -> Image.Image:
    return Image.new("RGB", (56, 56), (40 * number % 255, 20, 200))


def prompt(number: int, text: str = "What is it?") -> list[dict[str, Any]]:
    """A prompt with its picture, as TRL makes it of a dataset with `images`."""
    content = [{"type": "image", "image": picture(number)}, {"type": "text", "text": text}]
    return [{"role": "user", "content": content}]


def step(texts: list[str], size: int, *, cut: set[int] = frozenset(), **more: Any) -> Any:
    """Arguments of a reward function: `size` completions of each prompt; those in `cut` are cut."""
    numbers = [i // size for i in range(len(texts))]
    return {
        "prompts": [prompt(number) for number in numbers],
        "completions": [[{"role": "assistant", "content": text}] for text in texts],
        "completion_ids": [[5, 9] if i in cut else [5, END] for i in range(len(texts))],
        "images": [[picture(number)] for number in numbers],
        **more,
    }


def call(reward: Any, **arguments: Any) -> list[float | None]:
    """One call, in an event loop of its own."""

    async def once() -> Any:
        try:
            return await reward(**arguments)
        finally:
            await reward.client.aclose()

    return asyncio.run(once())


def logged(reward: Any, **arguments: Any) -> dict[str, float]:
    """What one call logs."""
    values: dict[str, float] = {}
    call(reward, **arguments, log_metric=values.__setitem__)
    return values


@pytest.fixture(scope="session")
def grpo(policies: Any, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Any]:
    """Builds a trainer of two prompts with four completions each; `mixed` has our mixin."""
    from datasets import Dataset
    from mmreward_trainer.align.grouped.missing import LeavesMissingOut
    from mmreward_trainer.judge.trl_import import import_trl

    base, make = import_trl(with_vllm=False)

    def build(
        rewards: Any, *, mixed: bool = True, mixin: Any = LeavesMissingOut, **more: Any
    ) -> Any:
        trainer = type("Mixed", (mixin, base), {}) if mixed else base
        settings = {
            "output_dir": str(tmp_path_factory.mktemp("grpo")), "use_cpu": True, "bf16": False,
            "report_to": [], "per_device_train_batch_size": 8, "num_generations": 4,
            "max_completion_length": 6, "disable_tqdm": True, "logging_steps": 1,
            "dataloader_pin_memory": False, "gradient_checkpointing": False,
            "learning_rate": 1e-3, "max_steps": 1, "beta": 0.02, "seed": 3, **more,
        }  # fmt: skip
        rows = [
            {"prompt": [{"role": "user", "content": f"What is {i}?"}], "images": [picture(i)]}
            for i in range(4)
        ]
        return trainer(
            model=str(policies()),
            reward_funcs=rewards,
            args=make(**settings),
            train_dataset=Dataset.from_list(rows),
        )

    return build


def write_prompts(folder: Path, name: str, numbers: range) -> Path:
    """JSON lines of prompts of unequal length with pictures; every second has a known answer."""
    import json

    rows = []
    for number in numbers:
        picture(number).save(folder / f"{number}.png")
        row = {
            "images": [f"{number}.png"],
            "prompt": f"What is {number}?" + " Say it." * (number % 3),
        }
        rows.append(row | ({"answer": "e"} if number % 2 else {}))
    (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder / name
