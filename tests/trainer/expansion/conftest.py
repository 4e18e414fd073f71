"""A real HTTP server that speaks the chat completions protocol, pair files, and the command."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from client_kit.scripted import ScriptedServer
from expansion_kit import KEY, expanding
from mmreward_trainer.cli.main import app
from service_kit import picture
from typer.testing import CliRunner, Result


@pytest.fixture
def chat() -> Iterator[ScriptedServer]:
    server = ScriptedServer()
    server.script = expanding
    yield server
    server.close()


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """The folder that the paths of `row` start from."""
    (tmp_path / "mcq").mkdir()
    for number in range(3):
        picture(shade=40 * number).save(tmp_path / "mcq" / f"{number}.png")
    return tmp_path


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Writes rows as a JSONL file."""

    def write(rows: list[Any], name: str = "pairs.jsonl") -> Path:
        path = tmp_path / name
        path.write_text("".join(json.dumps(one) + "\n" for one in rows))
        return path

    return write


@pytest.fixture
def expand(tmp_path: Path, chat: ScriptedServer) -> Callable[..., Result]:
    """Runs the command against the server; the file is written to `out.jsonl`."""

    def expand(file: Path, *options: Any, key: str | None = KEY) -> Result:
        fixed = {
            "--output": tmp_path / "out.jsonl",
            "--model": "writer",
            "--base-url": f"{chat.url}/v1",
            "--timeout": 5,
            "--retries": 1,
        }
        given = [str(option) for option in options]
        for name, value in fixed.items():
            if name not in given:
                given += [name, str(value)]
        if "--dry-run" not in given and "--ask" not in given:
            given.append("--yes")
        given = [option for option in given if option != "--ask"]
        return CliRunner().invoke(
            app,
            ["expand", str(file), *given],
            env={"OPENAI_API_KEY": key, "NO_COLOR": "1", "COLUMNS": "200"},
        )

    return expand
