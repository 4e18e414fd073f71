"""docs/calibration.md and docs/model-card.md against the commands and the format."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import typer
from mmreward_service.reward.spec import Calibration
from mmreward_trainer.cli.main import app

DOCS = Path(__file__).parents[3] / "docs"
PAGES = {"calibrate": "calibration.md", "card": "model-card.md"}
OTHER_COMMANDS = {"--output", "--json", "--frames", "--fps"}


@pytest.mark.parametrize("command", PAGES)
def test_every_option_of_the_page_is_there(command: str) -> None:
    """Those of `mmreward evaluate` apart, which the pages name too."""
    page = (DOCS / PAGES[command]).read_text()
    group = typer.main.get_command(app)
    known = {
        name
        for parameter in group.commands[command].params  # type: ignore[attr-defined]
        for name in parameter.opts
    }
    told = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", page))
    assert told - OTHER_COMMANDS <= known
    assert told & known


@pytest.mark.parametrize("page", PAGES.values())
def test_the_examples_run(page: str) -> None:
    """Every Python block: its imports are there, its functions are defined."""
    blocks = re.findall(r"```python\n(.*?)```", (DOCS / page).read_text(), re.DOTALL)
    assert blocks
    for block in blocks:
        exec(compile(block, page, "exec"), {})


def test_the_fields_of_a_calibration_are_all_told() -> None:
    """The table names each field of the format, and no other."""
    page = (DOCS / "calibration.md").read_text()
    table = page.split("| field | meaning |", 1)[1].split("\n\n", 1)[0]
    told = {name for line in table.splitlines()[2:] for name in re.findall(r"`(\w+)`", cell(line))}
    assert told == set(Calibration.model_fields)


def cell(line: str) -> str:
    return line.strip("|").split("|")[0]
