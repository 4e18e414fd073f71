from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from foreign_models import llava_next
from mmreward_trainer.importing.command import run_import
from mmreward_trainer.importing.conversion import Wishes

# Our own words. Blanks stand before the texts: tokens of the whole string reach over the borders.
TEMPLATES = {
    "critique": (
        "<|im_start|>system\nYou judge answers.<|im_end|>\n<|im_start|>user\n{media}\n"
        "The question says {prompt} The answer says {response}\n\nSo?<|im_end|>\n"
        "<|im_start|>assistant\n"
    ),
    "image": "<image>",
    "video": "<video>",
    "end_of_turn": "<|im_end|>",
    "after_turn": "<|im_end|>\n",
}


@pytest.fixture(scope="session")
def given_files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """What a user gives beside a LLaVA-NeXT folder: templates and a description of the tower."""
    folder = tmp_path_factory.mktemp("given")
    files = {"templates": folder / "templates.json", "vision_config": folder / "tower.json"}
    files["templates"].write_text(json.dumps(TEMPLATES))
    files["vision_config"].write_text(json.dumps(llava_next.TOWER))
    return files


@pytest.fixture(scope="session")
def llava_source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("a-reward-model")
    llava_next.build(folder, shards=3)
    return folder


@pytest.fixture(scope="session")
def imported_llava(
    llava_source: Path, given_files: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    output = tmp_path_factory.mktemp("imported") / "out"
    assert importing(Wishes(llava_source, **given_files), output) == 0
    return output


def importing(wishes: Wishes, output: Path, **options: Any) -> int:
    chosen = {"dry_run": False, "resume": False, "golden_dtype": "float32", **options}
    return run_import(wishes, output, **chosen)


@pytest.fixture
def edit_config(llava_copy: Path) -> Callable[..., None]:
    def edit(**changes: Any) -> None:
        file = llava_copy / "config.json"
        file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))

    return edit


@pytest.fixture
def llava_copy(tmp_path: Path) -> Path:
    """A source of its own, to be broken."""
    folder = tmp_path / "source"
    folder.mkdir()
    llava_next.build(folder)
    return folder
